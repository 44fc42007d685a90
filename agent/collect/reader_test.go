package collect

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// newTestReader reads a target into a journal, on a clock that stands still.
func newTestReader(t testing.TB, l *target, change func(*Config)) (*Reader, *journal, *fakeClock) {
	t.Helper()
	j, c := &journal{t: t}, newFakeClock(1e9)
	config := Config{Sink: j, Now: c.time}
	if change != nil {
		change(&config)
	}
	r, err := NewReader(l.bytes, config)
	if err != nil {
		t.Fatal(err)
	}
	return r, j, c
}

func mustDrain(t testing.TB, r *Reader) int {
	t.Helper()
	n, err := r.Drain()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustClose(t testing.TB, r *Reader) event.Summary {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r.Summary()
}

func TestReaderDecodesEveryKind(t *testing.T) {
	l := makeTarget(t, smallSizes, abi.FlagSimulated)
	l.device(1, 0xab)
	l.clock(10_000, 20_000)
	ring := l.timeline
	l.kernel(11_000, 11_500, l.launch("_Z4gemmv", 132), 1)
	ring.write(abi.RecCopy, abi.CopyAsync|abi.CopyPeer, body(abi.Copy{Start: 1, End: 2, Bytes: 4096, Device: 1, Peer: 3}))
	ring.write(abi.RecCopy, 0, body(abi.Copy{Start: 1, End: 2, Bytes: 8, Device: 1, Peer: 3}))
	ring.write(abi.RecSet, 0, body(abi.Set{Start: 1, End: 2, Bytes: 77}))
	ring.write(abi.RecSync, 0, body(abi.Sync{Start: 12_000, End: 13_000, Stream: event.NoStream}))
	ring.write(abi.RecApi, 0, body(abi.Api{Enter: 10_900, Exit: 10_950, Name: l.text("cuLaunchKernel"), Thread: 99, Correlation: 1}))
	ring.write(abi.RecMarker, abi.MarkerStart, body(abi.Marker{Time: 10_500, Id: 5, Text: l.text("step"), Kind: abi.PayloadText, Payload: uint64(l.text("payload"))}))
	ring.write(abi.RecMarker, 0, body(abi.Marker{Time: 10_500}))
	ring.write(abi.RecGraph, 0, body(abi.Graph{Start: 10_100, Graph: 6}))
	ring.write(abi.RecOverhead, 0, body(abi.Overhead{Start: 10_000, End: 10_030}))
	ring.write(abi.RecContext, 1, body(abi.Context{Time: 7, Stream: 13}))
	ring.write(abi.RecModule, 1, body(abi.Module{Time: 7, Bytes: 1 << 20}))
	ring.write(abi.RecPool, 0, body(abi.Pool{Time: 7, Bytes_reserved: 2 << 20}))
	ring.write(abi.RecState, 0, body(abi.StateChange{Time: 7, State: abi.StatePaused}))
	l.malloc(0x7000, 512, 0)
	l.header.State = abi.StateFinished

	r, j, _ := newTestReader(t, l, nil)
	if n := mustDrain(t, r); n != 17 {
		t.Errorf("read %d records, want 17", n)
	}
	s := mustClose(t, r)
	e := &j.events
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("kernel start", e.Kernels.Start[0], event.Time(21_000))
	check("kernel duration", e.Kernels.Duration[0], int64(500))
	launch := j.tables.Launch(e.Kernels.Launch[0])
	check("kernel name", j.tables.String(launch.Name), "_Z4gemmv")
	check("grid", launch.Grid, [3]uint32{132, 1, 1})
	check("peer", e.Copies.Peer[0], uint32(3))
	check("no peer", e.Copies.Peer[1], uint32(1))
	check("async", e.Copies.Async[0] && !e.Copies.Async[1], true)
	check("set", e.Sets.Bytes[0], uint64(77))
	check("sync", e.Syncs.Start[0], event.Time(22_000))
	check("call", j.tables.String(e.Calls.Name[0]), "cuLaunchKernel")
	check("call enter", e.Calls.Enter[0], event.Time(20_900))
	check("marker", j.tables.String(e.Markers.Text[0]), "step")
	check("payload", j.tables.String(event.StringID(e.Markers.Payload[0])), "payload")
	check("markers", len(e.Markers.Time), 1)
	check("graph", e.Graphs.Graph[0], uint32(6))
	check("overhead", e.Overheads.Duration[0], int64(30))
	check("context", e.Contexts.NullStream[0], uint32(13))
	check("module", e.Modules.Bytes[0], uint64(1<<20))
	check("pool", e.Pools.Reserved[0], uint64(2<<20))
	check("states", slices.Equal(e.States.State, []event.State{event.StateArmed, event.StatePaused, event.StateFinished}), true)
	check("allocation", e.Allocations.Size[0], uint64(512))
	check("allocation enter", e.Allocations.Enter[0], event.Time(5001))

	p := j.tables.Processes()[0]
	check("PID", p.PID, int32(4242))
	check("executable", p.Executable, "/usr/bin/python3")
	check("command", slices.Equal(p.Command, []string{"python3", "train.py"}), true)
	check("simulated", p.Simulated, true)
	check("rank", p.Rank, int32(-1))
	check("mode", p.Mode, "timeline")
	check("devices", len(p.Devices) == 2 && p.Devices[0] == 0 && p.Devices[1] == 1, true)
	check("GPU", j.tables.GPU(1).UUID, "GPU-ab000000-0000-0000-0000-000000000000")

	check("recorded kernels", s.Recorded[event.KindKernel], uint64(1))
	check("recorded copies", s.Recorded[event.KindCopy], uint64(2))
	check("recorded states", s.Recorded[event.KindState], uint64(3))
	// The marker that is no marker.
	check("losses", lossOf(s.Losses, event.KindMarker, event.LossUnknownKind), uint64(1))
	check("all losses", total(s.Losses), uint64(1))
}

func TestReaderWrapsAround(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(1, 1)
	l.device(0, 1)
	r, j, _ := newTestReader(t, l, nil)
	launch := l.launch("k", 1)
	var correlation uint32
	for round := range 500 {
		for range 1 + round%100 {
			correlation++
			if !l.kernel(uint64(correlation), uint64(correlation)+1, launch, correlation) {
				t.Fatal("the ring is full")
			}
			if correlation%3 == 0 {
				l.malloc(uint64(correlation)<<8, 1, 0)
				l.free(uint64(correlation) << 8)
			}
		}
		mustDrain(t, r)
	}
	s := mustClose(t, r)
	if got := j.events.Kernels.Correlation; len(got) != int(correlation) || !slices.IsSorted(got) {
		t.Errorf("%d kernels, want %d in order", len(got), correlation)
	}
	if got := j.events.Allocations.Sequence; len(got) != int(correlation)/3*2 || !slices.IsSorted(got) {
		t.Errorf("%d allocations, want %d in order", len(got), correlation/3*2)
	}
	if total(s.Losses) != 0 {
		t.Errorf("losses: %+v", s.Losses)
	}
}

func TestReaderManyWriters(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.device(0, 1)
	r, j, _ := newTestReader(t, l, nil)
	launch := l.launch("k", 1)
	const writers, each = 8, 3000
	var work sync.WaitGroup
	for w := range uint32(writers) {
		work.Go(func() {
			for i := range uint32(each) {
				for !l.kernel(1, 2, launch, w*each+i) {
					time.Sleep(time.Microsecond)
				}
				address := uint64(w+1)<<32 | uint64(i)<<8
				if i%50 == 0 {
					l.malloc(address, 64, 0)
					if i%100 == 0 {
						l.free(address)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		mustDrain(t, r)
	}
	s := mustClose(t, r)
	got := slices.Clone(j.events.Kernels.Correlation)
	slices.Sort(got)
	for i, c := range got {
		if c != uint32(i) {
			t.Fatalf("kernel %d is missing or double", i)
		}
	}
	if len(got) != writers*each {
		t.Errorf("%d kernels, want %d", len(got), writers*each)
	}
	live := j.lives[len(j.lives)-1].Live
	if len(live.Address) != writers*each/100 {
		t.Errorf("%d live at the end, want %d", len(live.Address), writers*each/100)
	}
	lost := lossOf(s.Losses, event.KindAllocation, event.LossRingFull)
	if n := len(j.events.Allocations.Sequence); uint64(n)+lost != writers*each/50*3/2 {
		t.Errorf("%d allocation calls and %d lost, want %d together", n, lost, writers*each/50*3/2)
	}
}

func TestReaderFullRingCountsAndResyncs(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.device(0, 1)
	r, j, c := newTestReader(t, l, nil)
	l.sequence = func() uint64 { return uint64(c.now.Add(1)) }
	fits := int(smallSizes.AllocRing / 128)
	for i := range fits + 20 {
		l.malloc(uint64(i+1)<<12, 100, 0)
	}
	mustDrain(t, r)
	c.pass(2 * time.Second)
	mustDrain(t, r) // plans the live set …
	l.malloc(0xffff000, 100, 0)
	mustDrain(t, r) // … and writes it before later calls
	s := mustClose(t, r)
	if lost := lossOf(s.Losses, event.KindAllocation, event.LossRingFull); lost != 20 {
		t.Errorf("%d lost, want 20", lost)
	}
	if len(j.lives) != 2 {
		t.Fatalf("%d live sets, want one after the loss and one at the end", len(j.lives))
	}
	if n := len(j.lives[0].Live.Address); n != fits+20 {
		t.Errorf("%d live after the loss, want %d", n, fits+20)
	}
	if n := len(j.lives[1].Live.Address); n != fits+21 {
		t.Errorf("%d live at the end, want %d", n, fits+21)
	}
	if at := slices.Index(j.order, "live"); at != fits {
		t.Errorf("the live set comes after %d calls, want %d", at, fits)
	}
	if j.lives[0].Process != 1 || len(j.lives[0].Live.Stack) != fits+20 {
		t.Errorf("live set of process %d with %d stacks", j.lives[0].Process, len(j.lives[0].Live.Stack))
	}
}

func TestReaderTornSlots(t *testing.T) {
	for _, tight := range []bool{false, true} {
		l := makeTarget(t, smallSizes, 0)
		l.clock(1, 1)
		l.device(0, 1)
		r, j, c := newTestReader(t, l, nil)
		launch := l.launch("k", 1)
		l.kernel(1, 2, launch, 1)
		l.timeline.reserve(1) // a writer that dies here
		later := uint32(3)
		if tight {
			later = 200
		}
		for i := range later {
			l.kernel(1, 2, launch, 2+i)
		}
		l.alloc.reserve(2)
		l.malloc(0x1000, 1, 0)
		mustDrain(t, r)
		c.pass(600 * time.Millisecond)
		mustDrain(t, r)
		want := 1
		if tight {
			want = int(later) + 1
		}
		if n := r.Status().Recorded[event.KindKernel]; n != uint64(want) {
			t.Errorf("tight %v: %d kernels after 600 ms, want %d", tight, n, want)
		}
		c.pass(5 * time.Second)
		mustDrain(t, r)
		l.kernel(1, 2, launch, 1000)
		s := mustClose(t, r)
		if n := len(j.events.Kernels.Start); n != int(later)+2 {
			t.Errorf("tight %v: %d kernels, want %d", tight, n, later+2)
		}
		if n := len(j.events.Allocations.Sequence); n != 1 {
			t.Errorf("tight %v: %d allocations, want 1", tight, n)
		}
		if total(s.Losses) != 2 || lossOf(s.Losses, event.KindAllocation, event.LossTorn) != 1 {
			t.Errorf("tight %v: losses %+v, want two torn records", tight, s.Losses)
		}
	}
}

func TestReaderDeadWriter(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(1, 1)
	l.device(0, 1)
	l.kernel(1, 2, l.launch("k", 1), 1)
	l.timeline.reserve(1)
	l.kernel(1, 2, l.launch("k", 1), 2)
	l.timeline.reserve(1)
	r, j, _ := newTestReader(t, l, nil)
	r.finish(true)
	s := r.Summary()
	if len(j.events.Kernels.Start) != 2 || lossOf(s.Losses, event.KindUnknown, event.LossTorn) != 2 {
		t.Errorf("%d kernels and losses %+v, want 2 and two torn", len(j.events.Kernels.Start), s.Losses)
	}
	if !slices.Equal(j.events.States.State, []event.State{event.StateArmed, event.StateKilled}) || r.Status().State != event.StateKilled || r.Status().Running {
		t.Errorf("states %v, status %+v; want killed", j.events.States.State, r.Status())
	}
}

func TestReaderHoldsBackUntilClockAndDevices(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	r, j, c := newTestReader(t, l, nil)
	launch := l.launch("k", 1)
	l.kernel(5000, 5100, launch, 1)
	mustDrain(t, r)
	c.pass(2 * time.Second)
	mustDrain(t, r)
	if len(j.tables.Processes()) != 0 || len(j.events.Kernels.Start) != 0 {
		t.Error("rows were written before their times and GPUs are known")
	}
	l.device(0, 1)
	l.clock(4000, 104_000)
	l.kernel(6000, 6100, launch, 2)
	c.pass(2 * time.Second)
	mustDrain(t, r)
	if want := []event.Time{105_000, 106_000}; !slices.Equal(j.events.Kernels.Start, want) {
		t.Errorf("starts %v, want %v", j.events.Kernels.Start, want)
	}
	if d := j.tables.Processes()[0].Devices; len(d) != 1 || d[0] != 1 {
		t.Errorf("devices %v", d)
	}
}

func TestReaderWithoutClockGuesses(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.kernel(uint64(l.header.Wall_start)+500, uint64(l.header.Wall_start)+600, l.launch("k", 1), 1)
	r, j, _ := newTestReader(t, l, nil)
	mustClose(t, r)
	if want := event.Time(l.header.Mono_start + 500); j.events.Kernels.Start[0] != want {
		t.Errorf("start %d, want %d", j.events.Kernels.Start[0], want)
	}
}

func TestReaderUnknownAndMalformed(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(1, 1)
	l.device(0, 1)
	raw := func(kind, slots uint8, room uint64) {
		p, _ := l.timeline.reserve(room)
		r := record{}
		*r.head() = abi.Rec{Type: kind, Slots: slots}
		l.timeline.fill(p, &r, 1)
		l.timeline.commit(p)
	}
	raw(20, 3, 3)  // of a later version
	raw(200, 1, 1) // likewise
	raw(abi.RecKernel, 0, 1)
	raw(abi.RecKernel, 255, 1)
	l.kernel(1, 2, l.launch("k", 1), 1)
	l.kernel(1, 2, 77777, 2) // no such launch
	r, j, _ := newTestReader(t, l, nil)
	mustDrain(t, r)
	s := mustClose(t, r)
	if len(j.events.Kernels.Start) != 2 || j.events.Kernels.Launch[1] != 0 {
		t.Errorf("kernels %+v", j.events.Kernels)
	}
	for _, want := range []struct {
		kind  event.Kind
		cause event.LossCause
		n     uint64
	}{
		{event.KindUnknown, event.LossUnknownKind, 2},
		{event.KindUnknown, event.LossTorn, 2},
		{event.KindKernel, event.LossArenaFull, 1},
	} {
		if n := lossOf(s.Losses, want.kind, want.cause); n != want.n {
			t.Errorf("kind %d cause %d: %d, want %d", want.kind, want.cause, n, want.n)
		}
	}
}

func TestReaderSinkFails(t *testing.T) {
	l := makeTarget(t, smallSizes, 0)
	l.clock(1, 1)
	l.device(0, 1)
	r, j, _ := newTestReader(t, l, nil)
	j.fail = errors.New("disk full")
	l.kernel(1, 2, l.launch("k", 1), 1)
	if err := r.Close(); !errors.Is(err, j.fail) {
		t.Errorf("close: %v, want the sink's error", err)
	}
	s := r.Summary()
	if s.Recorded[event.KindKernel] != 0 || lossOf(s.Losses, event.KindKernel, event.LossDisk) != 1 {
		t.Errorf("recorded %v, losses %+v; want the kernel lost", s.Recorded, s.Losses)
	}
}

func TestNewReaderRefuses(t *testing.T) {
	for name, change := range map[string]func(*target){
		"foreign":     func(l *target) { l.header.Magic = 1 },
		"not ready":   func(l *target) { l.header.Magic = 0 },
		"version":     func(l *target) { l.header.Abi_version = 9 },
		"header size": func(l *target) { l.header.Header_size = 8 },
		"capacity":    func(l *target) { l.alloc.control.Capacity = 12345 },
		"large":       func(l *target) { l.timeline.control.Capacity = 1 << 40 },
	} {
		l := makeTarget(t, smallSizes, 0)
		change(l)
		_, err := NewReader(l.bytes, Config{Sink: &journal{t: t}})
		if !errors.Is(err, ErrNotCapture) && !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewReader(nil, Config{Sink: &journal{t: t}}); !errors.Is(err, ErrNotCapture) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := NewReader(nil, Config{}); err == nil {
		t.Error("no sink: no error")
	}
}
