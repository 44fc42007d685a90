package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
)

// allocatorEvent is an event of a memory snapshot, for programs.
type allocatorEvent struct {
	Device   int32  `json:"device"`
	UnixNS   int64  `json:"unix_ns,omitempty"`
	Action   string `json:"action"`
	Bytes    uint64 `json:"bytes"`
	Address  string `json:"address,omitempty"`
	Free     uint64 `json:"device_free_bytes,omitempty"` // of "oom"
	Stream   uint32 `json:"stream"`
	Line     string `json:"line,omitempty"` // the program's own
	Metadata string `json:"metadata,omitempty"`
}

// actionNames are PyTorch's own.
var actionNames = [...]string{
	event.TensorUnknown: "unknown", event.TensorAlloc: "alloc", event.TensorFreeRequested: "free_requested", event.TensorFreeCompleted: "free_completed",
	event.TensorSegmentAlloc: "segment_alloc", event.TensorSegmentFree: "segment_free", event.TensorSegmentMap: "segment_map", event.TensorSegmentUnmap: "segment_unmap",
	event.TensorSnapshot: "snapshot", event.TensorOOM: "oom",
}

// AllocatorEvents writes the events of a memory snapshot as they were recorded: at most limit of them, 0: all.
func AllocatorEvents(w io.Writer, s *event.Snapshot, format EventFormat, limit int) error {
	out := bufio.NewWriter(w)
	written := 0
	lines := map[uint32]string{}
	for i := range s.Devices {
		d := &s.Devices[i]
		begin := int64(0)
		for k := range d.Events {
			if limit > 0 && written == limit {
				return out.Flush()
			}
			written++
			e := allocatorEventOf(s, d, &d.Events[k], lines)
			if begin == 0 {
				begin = e.UnixNS
			}
			if err := writeAllocatorEvent(out, e, format, begin); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

func allocatorEventOf(s *event.Snapshot, d *event.DeviceSnapshot, from *event.TensorEvent, lines map[uint32]string) *allocatorEvent {
	e := &allocatorEvent{Device: d.Device, UnixNS: from.Time, Action: actionNames[event.TensorUnknown], Bytes: from.Size, Stream: from.Stream}
	if int(from.Action) < len(actionNames) {
		e.Action = actionNames[from.Action]
	}
	if from.Action == event.TensorOOM {
		e.Free = from.Address
	} else {
		e.Address = fmt.Sprintf("%#x", from.Address)
	}
	line, ok := lines[from.Stack]
	if !ok {
		stack := analyze.StackLines(s, from.Stack)
		if g := analyze.GuiltyLine(stack); g >= 0 {
			line = stack[g].String()
		}
		lines[from.Stack] = line
	}
	e.Line = line
	if int(from.Metadata) < len(s.Texts) {
		e.Metadata = s.Texts[from.Metadata]
	}
	return e
}

func writeAllocatorEvent(out *bufio.Writer, e *allocatorEvent, format EventFormat, begin int64) error {
	if format == EventJSONL {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = out.Write(append(text, '\n'))
		return err
	}
	when := dash
	if e.UnixNS != 0 {
		when = Offset(e.UnixNS - begin)
	}
	place := e.Address
	if e.Free > 0 || e.Action == actionNames[event.TensorOOM] {
		place = Bytes(e.Free) + " free"
	}
	_, err := fmt.Fprintf(out, "%14s  GPU %d  %-14s  %10s  %-16s  stream %d  %s\n", when, e.Device, e.Action, Bytes(e.Bytes), place, e.Stream, Clean(e.Line))
	return err
}
