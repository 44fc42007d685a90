package analyze

import (
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	testMiB = uint64(1) << 20
	testSec = event.Time(1e9)
)

// accountTrace is a trace of one process on one GPU: what it allocates, what NVML says.
type accountTrace struct {
	t       *testing.T
	strings []string
	defs    event.Definitions
	batches []*event.Batch
	seq     uint64
}

func newAccountTrace(t *testing.T) *accountTrace {
	return &accountTrace{t: t, defs: event.Definitions{
		GPUs:      []event.GPU{{UUID: "GPU-1", Name: "Test", Memory: 80 << 30, Index: 0}},
		Processes: []event.Process{{PID: 100, InnerPID: 10, Devices: []event.GPUID{1}, Rank: -1, StartTime: testSec}},
	}}
}

func (a *accountTrace) str(s string) event.StringID {
	for i, known := range a.strings {
		if known == s {
			return event.StringID(i + 1)
		}
	}
	a.strings = append(a.strings, s)
	return event.StringID(len(a.strings))
}

// stack defines a stack of one caller in a library.
func (a *accountTrace) stack(library string) event.StackID {
	a.defs.Frames = append(a.defs.Frames, event.Frame{Module: a.str("/usr/lib/" + library)})
	a.defs.Stacks = append(a.defs.Stacks, event.Stack{event.FrameID(len(a.defs.Frames))})
	return event.StackID(len(a.defs.Stacks))
}

func (a *accountTrace) call(at event.Time, op event.AllocOp, space event.Space, address, size uint64, result int32, stack event.StackID) {
	a.seq++
	b := &event.Batch{Process: 1}
	b.Allocations = event.Allocations{
		Sequence: []uint64{a.seq}, Enter: []event.Time{at}, Duration: []int64{0}, Op: []event.AllocOp{op}, Space: []event.Space{space}, Address: []uint64{address},
		Size: []uint64{size}, Handle: []uint64{0}, Device: []int32{0}, Context: []uint32{1}, Stream: []uint32{event.NoStream}, Thread: []uint32{1},
		API: []event.StringID{a.str("cuMemAlloc_v2")}, Result: []int32{result}, Known: []bool{true}, Stack: []event.StackID{stack},
	}
	a.batches = append(a.batches, b)
}

// look is a reading of NVML: used, and what processes have.
func (a *accountTrace) look(at event.Time, used uint64, processes map[int32]uint64) {
	b := &event.Batch{}
	b.GPUSamples = event.GPUSamples{
		Time: []event.Time{at}, GPU: []event.GPUID{1}, UsedMemory: []int64{int64(used)}, ReservedMemory: []int64{500 << 20}, Utilization: []int32{-1}, MemoryActivity: []int32{-1},
		SMClock: []int32{-1}, MemoryClock: []int32{-1}, Power: []int32{-1}, Temperature: []int32{-1}, Throttle: []int64{-1},
	}
	for pid, bytes := range processes {
		b.Usages.Time = append(b.Usages.Time, at)
		b.Usages.GPU = append(b.Usages.GPU, 1)
		b.Usages.PID = append(b.Usages.PID, pid)
		b.Usages.Bytes = append(b.Usages.Bytes, int64(bytes))
	}
	a.batches = append(a.batches, b)
}

func (a *accountTrace) fact(at event.Time, name string, pid int32, value int64, text string) {
	b := &event.Batch{}
	id := event.StringID(0)
	if text != "" {
		id = a.str(text)
	}
	b.Facts = event.Facts{Time: []event.Time{at}, GPU: []event.GPUID{1}, PID: []int32{pid}, Name: []event.StringID{a.str(name)}, Value: []int64{value}, Text: []event.StringID{id}}
	a.batches = append(a.batches, b)
}

func (a *accountTrace) modules(at event.Time, n int) {
	b := &event.Batch{Process: 1}
	b.Contexts = event.Contexts{Time: []event.Time{at}, Created: []bool{true}, Context: []uint32{1}, Device: []int32{0}, NullStream: []uint32{7}}
	for i := range n {
		b.Modules.Time = append(b.Modules.Time, at)
		b.Modules.Loaded = append(b.Modules.Loaded, true)
		b.Modules.Module = append(b.Modules.Module, uint32(i+1))
		b.Modules.Context = append(b.Modules.Context, 1)
		b.Modules.Bytes = append(b.Modules.Bytes, testMiB)
		b.Modules.Thread = append(b.Modules.Thread, 1)
	}
	a.batches = append(a.batches, b)
}

func (a *accountTrace) inspect(w Window) *MemorySummary {
	a.t.Helper()
	x := New(Config{Parts: PartMemory, Window: w})
	a.defs.Strings = a.strings
	if err := x.Define(&a.defs); err != nil {
		a.t.Fatal(err)
	}
	for _, b := range a.batches {
		if err := x.Batch(b); err != nil {
			a.t.Fatal(err)
		}
	}
	return x.Inspect().Memory
}

// failing is a process with two libraries beside PyTorch's allocator, a neighbour, and an allocation that fails at 4 s.
func failing(t *testing.T) *accountTrace {
	a := newAccountTrace(t)
	torch, cublas, own := a.stack("libc10_cuda.so"), a.stack("libcublas.so.13"), a.stack("app")
	a.modules(2*testSec, 5)
	a.look(2*testSec, 600*testMiB, map[int32]uint64{100: 592 * testMiB})
	a.call(3*testSec, event.OpAlloc, event.SpaceDevice, 0x100000, 1024*testMiB, 0, torch)
	a.call(3*testSec, event.OpAlloc, event.SpaceDevice, 0x200000, 64*testMiB, 0, cublas)
	a.call(3*testSec, event.OpAlloc, event.SpaceDevice, 0x300000, 3*testMiB, 0, own)
	a.call(3*testSec, event.OpAlloc, event.SpaceManaged, 0x400000, 8*testMiB, 0, own)
	a.call(3*testSec, event.OpAlloc, event.SpaceHost, 0x500000, 16*testMiB, 0, own)
	a.call(4*testSec, event.OpAlloc, event.SpaceDevice, 0, 90<<30, 2, torch)
	a.look(4*testSec+event.Time(7e6), (1724+300+8)*testMiB, map[int32]uint64{100: 1724 * testMiB, 200: 300 * testMiB})
	a.call(5*testSec, event.OpFree, event.SpaceDevice, 0x100000, 1024*testMiB, 0, torch)
	a.look(6*testSec, (700+300+8)*testMiB, map[int32]uint64{100: 700 * testMiB, 200: 300 * testMiB})
	for name, value := range map[string]int64{event.FactContext: 518 << 20, event.FactKernels: 92 << 20, event.FactCapture: 12 << 20, event.FactUnowned: 8 << 20} {
		a.fact(7*testSec, name, 0, value, "driver 1.0")
	}
	a.fact(7*testSec, event.FactCommand, 200, 0, "hog --all")
	a.fact(7*testSec, event.FactContainer, 200, 0, "docker 0123")
	return a
}

func TestAccountOfAFailureAddsUp(t *testing.T) {
	a := failing(t)
	all := a.inspect(Window{})
	if len(all.Moments) != 2 || all.Moments[0].What != "failure" || all.Moments[1].What != "peak" {
		t.Fatalf("moments %+v", all.Moments)
	}
	at := all.Moments[0]
	if at.FailureNS != int64(3*testSec) || at.TimeNS-at.FailureNS != 7e6 { // the trace starts with the process, at 1 s
		t.Errorf("the failure is read at %+v", at)
	}
	g := a.inspect(Window{To: Moment{Set: true, NS: at.TimeNS + 1}}).Accounts[0].GPUs[0]
	if *g.Residual != int64(testMiB)*(1724-(518+92+12)-(1024+64+3)-1)-int64(0) {
		// 3 MiB take a page of 2 MiB more: 1 MiB of rounding
		t.Errorf("residual %d MiB", *g.Residual>>20)
	}
	if *g.Before-*g.Residual != int64((518+92+12+8)*testMiB) {
		t.Errorf("before calibration %d MiB, after %d", *g.Before>>20, *g.Residual>>20)
	}
	if len(g.Others) != 1 || g.Others[0] != (OtherAccount{PID: 200, Bytes: 300 << 20, Command: "hog --all", Container: "docker 0123"}) {
		t.Errorf("others %+v", g.Others)
	}
	want := map[string]uint64{
		"CUDA context": 518, "for device code with assertions, as measured": 92, "CUPTI, which records this trace": 12, "device code that has run": 0,
		"PyTorch's caching allocator": 1024, "cuBLAS's workspaces": 64, "allocations of app": 3, "managed memory, of it what is on the GPU: allocations of app": 0,
		"the driver's rounding to pages of 2 MiB": 1,
	}
	p := g.Traced[0]
	for _, l := range p.Lines {
		if n, ok := want[l.Name]; !ok || n*testMiB != l.Bytes {
			t.Errorf("line %+v", l)
		}
		delete(want, l.Name)
	}
	if len(want) > 0 || p.TorchBytes != 1024*testMiB {
		t.Errorf("missing lines: %v; PyTorch has %d", want, p.TorchBytes)
	}
	if g.Foreign || g.Calibrated != "driver 1.0" || *g.Used != int64(2032*testMiB) {
		t.Errorf("%+v", g)
	}
}

func TestNobodyHasMoreThanTheReadingLeaves(t *testing.T) {
	a := failing(t)
	a.fact(8*testSec, event.FactUnowned, 0, 48<<20, "driver 1.0")
	g := a.inspect(Window{}).Accounts[0].GPUs[0]
	if g.Unowned == nil || *g.Unowned != 8<<20 {
		t.Errorf("%+v of 48 MiB, where 8 are in no process", g.Unowned)
	}
}

func TestAccountWithoutMeasuredContextsSaysSo(t *testing.T) {
	a := failing(t)
	a.batches = a.batches[:len(a.batches)-6]
	g := a.inspect(Window{}).Accounts[0].GPUs[0]
	if g.Calibrated != "" || g.Unowned != nil || *g.Before != *g.Residual {
		t.Errorf("%+v", g)
	}
}

func TestForeignNumbersAreNotTakenForOthers(t *testing.T) {
	a := newAccountTrace(t)
	a.call(2*testSec, event.OpAlloc, event.SpaceDevice, 0x100000, 1024*testMiB, 0, a.stack("app"))
	a.look(3*testSec, 1600*testMiB, map[int32]uint64{54321: 1592 * testMiB})
	g := a.inspect(Window{}).Accounts[0].GPUs[0]
	if !g.Foreign || *g.Residual != int64(576*testMiB) {
		t.Errorf("foreign %v, residual %d MiB", g.Foreign, *g.Residual>>20)
	}
}

func TestSnapshotJoinsItsProcess(t *testing.T) {
	a := failing(t)
	account := a.inspect(Window{}).Accounts[0]
	p := &account.GPUs[0].Traced[0]
	p.TorchBytes = 1024 * testMiB
	tensors := &Tensors{Added: &AddedFailure{PID: 10}, Failed: &Holding{
		Reserved: 1024 * testMiB, Live: 700 * testMiB, Requested: 690 * testMiB, Pending: 24 * testMiB,
		Roles: []RoleHolding{{Role: RoleForward, Bytes: 690 * testMiB}}, Pools: []PoolHolding{{Pool: "default", Stream: 3, FreePartly: 300 * testMiB}},
	}}
	if !account.TensorsJoin(tensors) || p.Tensors == nil {
		t.Fatal("the process was not found")
	}
	if got := p.Tensors; got.Rounding != 10*testMiB || got.Difference != 0 || len(got.Free) != 1 || got.Free[0] != (PoolFree{"default, large", 3, 300 * testMiB}) {
		t.Errorf("%+v", got)
	}
	if account.TensorsJoin(tensors) {
		t.Error("joined twice")
	}
	if account.TensorsJoin(&Tensors{Added: &AddedFailure{PID: 11}, Failed: &Holding{}}) {
		t.Error("joined a process that is not there")
	}
}

func TestHostTellsWhoWasKilled(t *testing.T) {
	a := newAccountTrace(t)
	for i, kills := range []int64{3, 3, 4} {
		at := event.Time(i+2) * testSec
		a.fact(at, event.FactResident, 100, int64(i+1)<<30, "")
		a.fact(at, event.FactResident, 101, 1<<30, "")
		a.fact(at, event.FactGroupUsed, 0, int64(i+5)<<30, "/job")
		a.fact(at, event.FactGroupLimit, 0, 8<<30, "/job")
		a.fact(at, event.FactKills, 0, kills, "/job")
		a.fact(at, event.FactKills, 0, 9, "machine")
	}
	h := a.inspect(Window{}).Accounts[0].Host
	if h == nil || h.Kills != 1 || h.KillsIn != "/job" || h.PeakBytes != 4<<30 || h.Limit != 8<<30 || h.PeakUsed != 7<<30 {
		t.Fatalf("%+v", h)
	}
	if len(h.Resident) != 2 || h.Resident[0].PID != 100 || h.Resident[0].Bytes != 3<<30 {
		t.Errorf("resident %+v", h.Resident)
	}
}

func TestSeriesKeepsTheHighest(t *testing.T) {
	var s series
	for i := range 100_000 {
		value := uint64(i % 7)
		if i == 77_777 {
			value = 1000
		}
		s.add(event.Time(i)*event.Time(1e6)+5, value)
	}
	points := s.points()
	if len(points) > seriesBuckets || len(points) < seriesBuckets/4 {
		t.Fatalf("%d points", len(points))
	}
	if at := int(event.Time(77_777e6) / s.step); points[at] != 1000 {
		t.Errorf("the highest is not at %d: %v", at, points)
	}
	s.add(1, 5000) // before the first: a late record
	if s.points()[0] != 5000 {
		t.Error("a late record is lost")
	}
}

func TestProgressTellsALeakFromWarmUp(t *testing.T) {
	series := func(of func(step int) uint64) *Progress {
		p := &event.Progress{Steps: 60, Every: 1}
		for i := range 60 {
			p.Live = append(p.Live, of(i))
		}
		return progressOf(p)
	}
	for _, c := range []struct {
		name  string
		of    func(step int) uint64
		grows bool
	}{
		{"a leak", func(i int) uint64 { return 1000 + 32*uint64(i) }, true},
		{"flat", func(int) uint64 { return 1000 }, false},
		{"warm-up", func(i int) uint64 { return 1000 + 100*uint64(min(i, 10)) }, false},
		{"a cache that fills", func(i int) uint64 { return 1000 + 32*uint64(min(i, 25)) }, false},
		{"other lengths", func(i int) uint64 { return 1000 + 500*uint64(i*7919%13) }, false},
		{"one jump", func(i int) uint64 { return 1000 + 4000*uint64(i/50) }, false},
	} {
		if p := series(c.of); p.Grows != c.grows {
			t.Errorf("%s: %v a step, late %.2f, grows %v", c.name, p.PerStep, p.Late, p.Grows)
		}
	}
	if p := progressOf(&event.Progress{Steps: 3, Live: []uint64{1, 2, 3}}); p.Grows {
		t.Error("three steps tell nothing")
	}
	if p := series(func(i int) uint64 { return 32 * uint64(i) }); p.PerStep != 32 {
		t.Errorf("%v a step, want 32", p.PerStep)
	}
}

func TestPeakIsOfTheTracedProcess(t *testing.T) {
	a := newAccountTrace(t)
	a.look(2*testSec, 70<<30, map[int32]uint64{200: 70 << 30}) // another program, before this one has anything
	a.call(3*testSec, event.OpAlloc, event.SpaceDevice, 0x100000, 1024*testMiB, 0, a.stack("app"))
	a.look(3*testSec, 1600*testMiB, map[int32]uint64{100: 1592 * testMiB})
	a.look(4*testSec, 1500*testMiB, map[int32]uint64{100: 1492 * testMiB})
	m := a.inspect(Window{}).Moments
	if len(m) != 1 || m[0].What != "peak" || m[0].TimeNS != int64(2*testSec) { // the trace starts with the process, at 1 s
		t.Errorf("%+v", m)
	}
}
