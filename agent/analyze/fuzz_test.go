package analyze

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// bytesSource hands out numbers from fuzzed bytes, small ones and extreme ones.
type bytesSource struct{ rest []byte }

func (s *bytesSource) next() uint64 {
	if len(s.rest) == 0 {
		return 0
	}
	how := s.rest[0]
	s.rest = s.rest[1:]
	switch {
	case how < 200:
		return uint64(how % 16)
	case how < 210:
		return math.MaxUint64 - uint64(how-200)
	case how < 220:
		return 1 << (how - 200) << 40
	}
	var b [8]byte
	n := copy(b[:], s.rest)
	s.rest = s.rest[min(n, int(how)%8+1):]
	return binary.LittleEndian.Uint64(b[:])
}

func fill[T ~uint8 | ~uint32 | ~uint64 | ~int32 | ~int64](s *bytesSource, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = T(s.next())
	}
	return out
}

func bools(n int) []bool { return make([]bool, n) }

func hostileBatch(s *bytesSource) *event.Batch {
	n := func() int { return int(s.next() % 12) }
	b := &event.Batch{Process: event.ProcessID(s.next())}
	k := n()
	b.Kernels = event.Kernels{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Launch: fill[event.LaunchID](s, k), Correlation: fill[uint32](s, k),
		Device: fill[uint32](s, k), Context: fill[uint32](s, k), Stream: fill[uint32](s, k), Graph: fill[uint32](s, k), GraphNode: fill[uint64](s, k)}
	k = n()
	b.Copies = event.Copies{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Bytes: fill[uint64](s, k), Kind: fill[event.CopyKind](s, k),
		Source: fill[event.MemoryKind](s, k), Target: fill[event.MemoryKind](s, k), Async: bools(k), Correlation: fill[uint32](s, k), Device: fill[uint32](s, k),
		Peer: fill[uint32](s, k), Context: fill[uint32](s, k), Stream: fill[uint32](s, k), Graph: fill[uint32](s, k), GraphNode: fill[uint64](s, k)}
	k = n()
	b.Sets = event.Sets{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Bytes: fill[uint64](s, k), Value: fill[uint32](s, k),
		Memory: fill[event.MemoryKind](s, k), Correlation: fill[uint32](s, k), Device: fill[uint32](s, k), Context: fill[uint32](s, k),
		Stream: fill[uint32](s, k), Graph: fill[uint32](s, k), GraphNode: fill[uint64](s, k)}
	k = n()
	b.Syncs = event.Syncs{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Type: fill[event.SyncType](s, k), Correlation: fill[uint32](s, k),
		Context: fill[uint32](s, k), Stream: fill[uint32](s, k), Event: fill[uint32](s, k)}
	k = n()
	b.Calls = event.Calls{Enter: fill[event.Time](s, k), Duration: fill[int64](s, k), Name: fill[event.StringID](s, k), Domain: fill[event.Domain](s, k),
		Thread: fill[uint32](s, k), Correlation: fill[uint32](s, k), Result: fill[int32](s, k)}
	k = n()
	b.Markers = event.Markers{Time: fill[event.Time](s, k), Kind: fill[event.MarkerKind](s, k), ID: fill[uint32](s, k), Thread: fill[uint32](s, k),
		Text: fill[event.StringID](s, k), Domain: fill[event.StringID](s, k), PayloadKind: fill[event.PayloadKind](s, k), Payload: fill[uint64](s, k),
		Color: fill[uint32](s, k), Category: fill[uint32](s, k)}
	k = n()
	b.Graphs = event.Graphs{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Graph: fill[uint32](s, k), Correlation: fill[uint32](s, k),
		Device: fill[uint32](s, k), Context: fill[uint32](s, k), Stream: fill[uint32](s, k)}
	k = n()
	b.Overheads = event.Overheads{Start: fill[event.Time](s, k), Duration: fill[int64](s, k), Kind: fill[event.OverheadKind](s, k), Thread: fill[uint32](s, k), Correlation: fill[uint32](s, k)}
	b.Allocations = hostileAllocations(s, n())
	k = n()
	b.Contexts = event.Contexts{Time: fill[event.Time](s, k), Created: bools(k), Context: fill[uint32](s, k), Device: fill[int32](s, k), NullStream: fill[uint32](s, k)}
	k = n()
	b.Pools = event.Pools{Time: fill[event.Time](s, k), Device: fill[int32](s, k), Pool: fill[uint64](s, k), Reserved: fill[uint64](s, k), Used: fill[uint64](s, k),
		ReservedHigh: fill[uint64](s, k), UsedHigh: fill[uint64](s, k)}
	k = n()
	b.GPUSamples = event.GPUSamples{Time: fill[event.Time](s, k), GPU: fill[event.GPUID](s, k), UsedMemory: fill[int64](s, k), ReservedMemory: fill[int64](s, k),
		Utilization: fill[int32](s, k), MemoryActivity: fill[int32](s, k), SMClock: fill[int32](s, k), MemoryClock: fill[int32](s, k), Power: fill[int32](s, k),
		Temperature: fill[int32](s, k), Throttle: fill[int64](s, k)}
	k = n()
	b.Usages = event.Usages{Time: fill[event.Time](s, k), GPU: fill[event.GPUID](s, k), PID: fill[int32](s, k), Bytes: fill[int64](s, k)}
	k = n()
	b.States = event.States{Time: fill[event.Time](s, k), State: fill[event.State](s, k), Reason: fill[uint32](s, k)}
	k = n()
	b.Windows = event.Windows{Begin: fill[event.Time](s, k), Length: fill[int64](s, k), Planned: fill[int64](s, k), Start: fill[event.Time](s, k),
		Span: fill[int64](s, k), Work: fill[int64](s, k), SpanWork: fill[int64](s, k), Loss: fill[int64](s, k), Measured: bools(k)}
	return b
}

func hostileAllocations(s *bytesSource, k int) event.Allocations {
	return event.Allocations{Sequence: fill[uint64](s, k), Enter: fill[event.Time](s, k), Duration: fill[int64](s, k), Op: fill[event.AllocOp](s, k),
		Space: fill[event.Space](s, k), Address: fill[uint64](s, k), Size: fill[uint64](s, k), Handle: fill[uint64](s, k), Device: fill[int32](s, k),
		Context: fill[uint32](s, k), Stream: fill[uint32](s, k), Thread: fill[uint32](s, k), API: fill[event.StringID](s, k), Result: fill[int32](s, k),
		Known: bools(k), Stack: fill[event.StackID](s, k)}
}

// FuzzAnalysis feeds events that no collector would write: analysis must neither panic nor hang.
func FuzzAnalysis(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 3, 200, 201, 250, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 215, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 255, 255, 255, 255, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip("longer inputs find nothing more")
		}
		runHostile(t, data)
	})
}

func runHostile(t *testing.T, data []byte) {
	s := &bytesSource{data}
	by := []GroupBy{ByName, ByStream, ByDevice, ByProcess, ByRange}[s.next()%5]
	c := Config{Parts: ^Part(0), GroupBy: by}
	if s.next()%2 == 1 {
		c.Window = Window{From: Moment{Set: true, Wall: s.next()%2 == 1, NS: int64(s.next())}, To: Moment{Set: s.next()%2 == 1, NS: int64(s.next())}}
	}
	a := New(c)
	if n := int(s.next()); n > 0 {
		a.timelines.limit, a.timelines.most = n, 4*n
	}
	a.Provenance(&event.Provenance{MonoTime: event.Time(s.next()), WallTime: int64(s.next())})
	for len(s.rest) > 0 {
		switch s.next() % 4 {
		case 0:
			d := twoProcesses()
			d.Frames = []event.Frame{{Module: event.StringID(s.next()), Symbol: event.StringID(s.next())}}
			d.Stacks = []event.Stack{{event.FrameID(s.next()), 1}}
			d.Processes[0].StartTime = event.Time(s.next())
			must(t, a.Define(d))
		case 1:
			must(t, a.Live(&event.LiveSet{Process: event.ProcessID(s.next()), Time: event.Time(s.next()), Live: hostileAllocations(s, int(s.next()%12))}))
		default:
			must(t, a.Batch(hostileBatch(s)))
		}
	}
	a.Summary(&event.Summary{End: event.Time(s.next()), Losses: []event.Loss{{Process: 9, Kind: event.Kind(s.next()), Cause: event.LossCause(s.next()), Count: s.next()}}})
	in := a.Inspect()
	exact(t, in)
	must(t, in.Arrange(SortTotal, 3))
}
