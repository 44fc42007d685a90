package cli

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// usageAge is how old NVML's reading of a process may be to count for a moment.
const usageAge = event.Time(3e9)

// usageRound is how far apart readings of one round are at most. Who is not in the last round has ended.
const usageRound = event.Time(20e6)

// usageKey is a process on a GPU.
type usageKey struct {
	gpu event.GPUID
	pid int32
}

// usageAt is NVML's last reading of a process before a moment.
type usageAt struct {
	time  event.Time
	bytes int64
}

// others tells a process's snapshot which other processes held memory on its GPU when it failed, by the
// NVML readings in the trace. It leaves that unknown unless the process itself is among them: then
// NVML and the trace number processes alike.
func others(file string, t *analyze.Tensors) error {
	if t.Added == nil || t.Added.MonotonicNS == 0 {
		return nil
	}
	self, last, err := usages(file, t.Added.PID, event.Time(t.Added.MonotonicNS))
	if err != nil || self == nil || t.Device < 0 || int(t.Device) >= len(self.Devices) || self.Devices[t.Device] == 0 {
		return err
	}
	gpu := self.Devices[t.Device]
	if own, ok := last[usageKey{gpu, self.PID}]; !ok || own.bytes <= 0 {
		return nil
	}
	t.OthersKnown = true
	for key, u := range last {
		if key.gpu == gpu && key.pid != self.PID && u.bytes > 0 {
			t.Others = append(t.Others, analyze.OtherProcess{PID: key.pid, Bytes: uint64(u.bytes), Command: commandOf(key.pid)})
		}
	}
	slices.SortFunc(t.Others, func(x, y analyze.OtherProcess) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.PID, y.PID))
	})
	return nil
}

// usages reads NVML's last round of readings before a moment, and who a process is by its own number.
func usages(file string, pid int32, at event.Time) (self *event.Process, last map[usageKey]usageAt, err error) {
	r, err := trace.Open(file, trace.WithKinds(event.KindUsage))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }() // it was read only
	last = map[usageKey]usageAt{}
	for {
		item, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			newest := map[event.GPUID]event.Time{}
			for key, u := range last {
				newest[key.gpu] = max(newest[key.gpu], u.time)
			}
			maps.DeleteFunc(last, func(key usageKey, u usageAt) bool { return u.time < newest[key.gpu]-usageRound })
			return self, last, nil
		case err != nil:
			return nil, nil, err
		}
		if d := item.Definitions; d != nil {
			for i := range d.Processes {
				// A number may be used again: the last one that began before counts.
				if p := &d.Processes[i]; p.InnerPID == pid && p.StartTime <= at {
					self = p
				}
			}
		}
		if item.Batch == nil {
			continue
		}
		u := &item.Batch.Usages
		for i, time := range u.Time {
			key := usageKey{u.GPU[i], u.PID[i]}
			if time <= at && time > at-usageAge && time >= last[key].time {
				last[key] = usageAt{time, u.Bytes[i]}
			}
		}
	}
}

// commandOf returns what a process runs, if it still does; "" unknown.
func commandOf(pid int32) string {
	const most = 120
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/cmdline")
	if err != nil {
		return ""
	}
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
	return oneLine(string(text[:min(len(text), most)]))
}
