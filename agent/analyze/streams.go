package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// maxStreams bounds the streams kept apart; the last stands for all beyond.
const maxStreams = 1 << 14

// streamUnionLimit bounds the open intervals of one stream: work on a stream runs in order, so
// that little arrives late.
const streamUnionLimit = 1 << 15

// Key says what a row stands for, in words and, where it applies, in the trace's own numbers.
type Key struct {
	Name    string  `json:"name"`
	PID     int32   `json:"pid,omitempty"`
	Rank    *int32  `json:"rank,omitempty"`
	GPU     string  `json:"gpu,omitempty"` // as GPUName, or "device 0" by the process's ordinal
	UUID    string  `json:"gpu_uuid,omitempty"`
	Context *uint32 `json:"context,omitempty"`
	Stream  *uint32 `json:"stream,omitempty"`
	Domain  string  `json:"domain,omitempty"` // of an NVTX range
}

// StreamSummary says what ran on each stream.
type StreamSummary struct {
	// BusyNS is what BusyShare is a share of.
	BusyNS int64 `json:"gpu_busy_ns"`
	// Streams is in descending order of busy time.
	Streams []StreamRow `json:"streams"`
	Omitted int         `json:"omitted"`
}

// StreamRow is one stream of one process.
type StreamRow struct {
	Key
	Default bool   `json:"default"` // a context's null stream
	Kernels uint64 `json:"kernels"`
	Copies  uint64 `json:"copies"`
	Sets    uint64 `json:"sets"`
	Graphs  uint64 `json:"graph_launches"`
	// BusyNS is the time in which something ran on the stream, each moment counted once.
	BusyNS    int64   `json:"busy_ns"`
	BusyShare float64 `json:"busy_share"`
	FirstNS   int64   `json:"first_ns"` // since the start of the trace
	LastNS    int64   `json:"last_ns"`
}

type streamKey struct {
	process         event.ProcessID
	context, stream uint32
}

type stream struct {
	key         streamKey
	other       bool
	device      *device
	busy        Union
	first, last event.Time
	counts      [4]uint64 // kernels, copies, sets, graphs
}

// streams numbers the streams of all processes.
type streams struct {
	list   []*stream
	byKey  map[streamKey]uint32
	memo   streamKey
	memoAt uint32
	filled bool
}

func (t *streams) index(a *Analysis, p *process, context, id, ordinal uint32) uint32 {
	key := streamKey{p.id, context, id}
	if t.filled && key == t.memo {
		return t.memoAt
	}
	at, ok := t.byKey[key]
	if !ok {
		if len(t.list) > maxStreams {
			return maxStreams
		}
		at = uint32(len(t.list))
		if t.byKey == nil {
			t.byKey = make(map[streamKey]uint32)
		}
		t.byKey[key] = at
		s := &stream{key: key, device: a.devices.of(p, ordinal), other: at == maxStreams}
		s.busy.limit = streamUnionLimit
		t.list = append(t.list, s)
	}
	t.memo, t.memoAt, t.filled = key, at, true
	return at
}

// streamWork adds everything a batch says about what ran on streams.
func (a *Analysis) streamWork(p *process, b *event.Batch) {
	a.alongStream(p, 0, b.Kernels.Start, b.Kernels.Duration, b.Kernels.Device, b.Kernels.Context, b.Kernels.Stream)
	a.alongStream(p, 1, b.Copies.Start, b.Copies.Duration, b.Copies.Device, b.Copies.Context, b.Copies.Stream)
	a.alongStream(p, 2, b.Sets.Start, b.Sets.Duration, b.Sets.Device, b.Sets.Context, b.Sets.Stream)
	a.alongStream(p, 3, b.Graphs.Start, b.Graphs.Duration, b.Graphs.Device, b.Graphs.Context, b.Graphs.Stream)
}

func (a *Analysis) alongStream(p *process, what int, starts []event.Time, durations []int64, ordinals, contexts, ids []uint32) {
	for i, start := range starts {
		if !a.span.has(start) {
			continue
		}
		s := a.streams.list[a.streamIndex(p, contexts[i], ids[i], ordinals[i])]
		s.counts[what]++
		if !known(start, durations[i]) {
			continue
		}
		end := start + event.Time(durations[i])
		if !a.span.all {
			start, end = a.span.clip(start, end)
		}
		if s.first == 0 || start < s.first {
			s.first = start
		}
		s.last = max(s.last, end)
		if what == 3 && (p.nodes || p.info.Graphs == "node") {
			continue
		}
		s.busy.Add(start, end)
	}
}

func (a *Analysis) streamIndex(p *process, context, id, ordinal uint32) uint32 {
	return a.streams.index(a, p, context, id, ordinal)
}

// key describes a stream.
func (a *Analysis) streamKey(at uint32) Key {
	s := a.streams.list[at]
	if s.other {
		return Key{Name: "(other streams)"}
	}
	k := a.processKey(s.key.process)
	d := a.deviceKey(s.device.index)
	k.GPU, k.UUID = d.GPU, d.UUID
	k.Context, k.Stream = &s.key.context, &s.key.stream
	k.Name = fmt.Sprintf("stream %d", s.key.stream)
	if s.key.stream == event.NoStream {
		k.Name = "no stream"
	}
	return k
}

// processKey describes a process.
func (a *Analysis) processKey(id event.ProcessID) Key {
	if id == 0 {
		return Key{Name: "(unknown process)"}
	}
	info := a.tables.Process(id)
	k := Key{PID: info.PID, Name: fmt.Sprintf("process %d", info.PID)}
	if info.Rank >= 0 {
		k.Rank = &info.Rank
		k.Name = fmt.Sprintf("rank %d", info.Rank)
	}
	return k
}

// deviceKey describes a device.
func (a *Analysis) deviceKey(index int) Key {
	d := a.devices.list[index]
	if d.other {
		return Key{Name: "(other devices)", GPU: "(other devices)"}
	}
	if d.gpu == 0 {
		k := a.processKey(d.process)
		k.GPU = fmt.Sprintf("device %d", d.ordinal)
		k.Name = k.GPU + " of " + k.Name
		return k
	}
	k := Key{UUID: a.tables.GPU(d.gpu).UUID, GPU: GPUName(&a.tables, d.gpu)}
	k.Name = k.GPU
	return k
}

// shortUUID is the first group of "GPU-01234567-…".
const shortUUID = 12

// GPUName names a GPU by NVML's index, or, where that is not known, by the beginning of its UUID
// if that is enough to tell it from the others.
func GPUName(tables *event.Tables, id event.GPUID) string {
	gpu := tables.GPU(id)
	if gpu.Index >= 0 {
		return fmt.Sprintf("GPU %d", gpu.Index)
	}
	if len(gpu.UUID) <= shortUUID {
		return gpu.UUID
	}
	short := gpu.UUID[:shortUUID]
	for i, other := range tables.GPUs() {
		if event.GPUID(i+1) != id && strings.HasPrefix(other.UUID, short) {
			return gpu.UUID
		}
	}
	return short
}

// streamSummary computes the result.
func (a *Analysis) streamSummary(busy int64) *StreamSummary {
	sum := &StreamSummary{BusyNS: busy, Streams: []StreamRow{}}
	for i, s := range a.streams.list {
		if s.counts == [4]uint64{} {
			continue
		}
		row := StreamRow{
			Key: a.streamKey(uint32(i)), Kernels: s.counts[0], Copies: s.counts[1], Sets: s.counts[2], Graphs: s.counts[3],
			BusyNS: s.busy.Total(),
		}
		if p := a.processes[s.key.process]; p != nil {
			null, ok := p.null[s.key.context]
			row.Default = ok && null == s.key.stream
		}
		row.BusyShare = share(row.BusyNS, busy)
		if s.first != 0 {
			row.FirstNS, row.LastNS = int64(s.first-a.clock.Origin()), int64(s.last-a.clock.Origin())
		}
		sum.Streams = append(sum.Streams, row)
	}
	slices.SortStableFunc(sum.Streams, func(x, y StreamRow) int {
		return cmp.Or(cmp.Compare(y.BusyNS, x.BusyNS), cmp.Compare(y.Kernels, x.Kernels))
	})
	return sum
}
