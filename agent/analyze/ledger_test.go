package analyze

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// tape builds columns of allocations.
type tape struct {
	event.Allocations
	sequence uint64
	now      event.Time
}

func (p *tape) add(op event.AllocOp, space event.Space, address, size, handle uint64, result int32) *tape {
	p.sequence++
	p.now += 1000
	return p.at(p.sequence, p.now, op, space, address, size, handle, result)
}

func (p *tape) at(sequence uint64, enter event.Time, op event.AllocOp, space event.Space, address, size, handle uint64, result int32) *tape {
	a := &p.Allocations
	a.Sequence = append(a.Sequence, sequence)
	a.Enter = append(a.Enter, enter)
	a.Duration = append(a.Duration, 10)
	a.Op = append(a.Op, op)
	a.Space = append(a.Space, space)
	a.Address = append(a.Address, address)
	a.Size = append(a.Size, size)
	a.Handle = append(a.Handle, handle)
	a.Device = append(a.Device, 0)
	a.Context = append(a.Context, 1)
	a.Stream = append(a.Stream, event.NoStream)
	a.Thread = append(a.Thread, 1)
	a.API = append(a.API, 0)
	a.Result = append(a.Result, result)
	a.Known = append(a.Known, true)
	a.Stack = append(a.Stack, 0)
	return p
}

func (p *tape) alloc(address, size uint64) *tape {
	return p.add(event.OpAlloc, event.SpaceDevice, address, size, 0, 0)
}

func (p *tape) free(address uint64) *tape {
	return p.add(event.OpFree, event.SpaceDevice, address, 0, 0, 0)
}

// row returns row i alone.
func (p *tape) row(i int) *event.Allocations {
	one := &tape{}
	a := &p.Allocations
	one.at(a.Sequence[i], a.Enter[i], a.Op[i], a.Space[i], a.Address[i], a.Size[i], a.Handle[i], a.Result[i])
	return &one.Allocations
}

// memoryOf computes the memory of one process whose batches are given.
func memoryOf(t *testing.T, config Config, feed func(a *Analysis)) ProcessMemory {
	t.Helper()
	config.Parts = PartMemory
	a := New(config)
	must(t, a.Define(&event.Definitions{Processes: []event.Process{{PID: 1, StartTime: 1, Rank: -1}}}))
	feed(a)
	m := a.Inspect().Memory
	if len(m.Processes) != 1 {
		t.Fatalf("%d processes have memory, want 1", len(m.Processes))
	}
	return m.Processes[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// deviceBytes returns the figures of device memory.
func deviceBytes(m *ProcessMemory) Bytes {
	for _, t := range m.Totals {
		if t.Kind == DeviceMemory {
			return t.Bytes
		}
	}
	return Bytes{}
}

func TestLedger(t *testing.T) {
	type want struct {
		live, count, peak uint64
		counts            LedgerCounts
		failed            uint64
	}
	tests := []struct {
		name string
		tape *tape
		want want
	}{
		{"take and give back", (&tape{}).alloc(0x10, 100).alloc(0x20, 50).free(0x10), want{live: 50, count: 1, peak: 150}},
		{"failed calls change nothing",
			(&tape{}).alloc(0x10, 100).add(event.OpAlloc, event.SpaceDevice, 0, 900, 0, 2).add(event.OpFree, event.SpaceDevice, 0x10, 0, 0, 1),
			want{live: 100, count: 1, peak: 100, failed: 2}},
		{"release of what was allocated before the capture", (&tape{}).alloc(0x10, 100).free(0x99), want{live: 100, count: 1, peak: 100, counts: LedgerCounts{UnknownReleases: 1}}},
		{"an address that is still live", (&tape{}).alloc(0x10, 100).alloc(0x10, 70), want{live: 70, count: 1, peak: 100, counts: LedgerCounts{Replaced: 1}}},
		{"registered host memory may have the address of device memory",
			(&tape{}).alloc(0x10, 100).add(event.OpAlloc, event.SpaceRegistered, 0x10, 7, 0, 0).add(event.OpFree, event.SpaceRegistered, 0x10, 0, 0, 0),
			want{live: 100, count: 1, peak: 100}},
		{"address space is no memory", (&tape{}).add(event.OpReserve, event.SpaceVirtual, 0x1000, 1<<40, 0, 0), want{}},
		{"physical memory lives while it is mapped",
			(&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 5, 0).
				add(event.OpFree, event.SpaceHandle, 5, 0, 0, 0),
			want{live: 64, count: 1, peak: 64}},
		{"physical memory lives while it is held",
			(&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 5, 0).
				add(event.OpUnmap, event.SpaceVirtual, 0x1000, 64, 5, 0),
			want{live: 64, count: 1, peak: 64}},
		{"released and unmapped",
			(&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 5, 0).
				add(event.OpFree, event.SpaceHandle, 5, 0, 0, 0).add(event.OpUnmap, event.SpaceVirtual, 0x1000, 64, 5, 0),
			want{peak: 64}},
		{"retained once more than released",
			(&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpRetain, event.SpaceHandle, 5, 0, 0, 0).
				add(event.OpFree, event.SpaceHandle, 5, 0, 0, 0),
			want{live: 64, count: 1, peak: 64}},
		{"mapped twice, unmapped in one call",
			(&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpAlloc, event.SpaceHandle, 6, 32, 0, 0).
				add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 5, 0).add(event.OpMap, event.SpaceVirtual, 0x1040, 32, 6, 0).
				add(event.OpFree, event.SpaceHandle, 5, 0, 0, 0).add(event.OpFree, event.SpaceHandle, 6, 0, 0, 0).
				add(event.OpUnmap, event.SpaceVirtual, 0x1000, 96, 0, 0),
			want{peak: 96}},
		{"mapping of memory created before the capture",
			(&tape{}).add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 77, 0).add(event.OpUnmap, event.SpaceVirtual, 0x1000, 64, 77, 0),
			want{counts: LedgerCounts{UnknownMaps: 1}}},
		{"a release recorded late belongs to the earlier allocation",
			(&tape{}).at(1, 10, event.OpAlloc, event.SpaceDevice, 0x10, 100, 0, 0).at(3, 30, event.OpAlloc, event.SpaceDevice, 0x10, 70, 0, 0).
				at(2, 20, event.OpFree, event.SpaceDevice, 0x10, 0, 0, 0),
			want{live: 70, count: 1, peak: 100}},
	}
	for _, test := range tests {
		for _, way := range []string{"in one batch", "one by one"} {
			t.Run(test.name+" "+way, func(t *testing.T) {
				m := memoryOf(t, Config{}, func(a *Analysis) {
					if way == "in one batch" {
						must(t, a.Batch(&event.Batch{Process: 1, Allocations: test.tape.Allocations}))
						return
					}
					for i := range test.tape.Sequence {
						must(t, a.Batch(&event.Batch{Process: 1, Allocations: *test.tape.row(i)}))
					}
				})
				b := deviceBytes(&m)
				got := want{b.LiveBytes, b.LiveCount, b.PeakBytes, m.LedgerCounts, m.FailedCalls}
				if got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			})
		}
	}
}

// Whatever the order of arrival, records are applied by sequence number.
func TestLedgerOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	p := &tape{}
	live := map[uint64]uint64{}
	var bytes, peak uint64
	for range 20_000 {
		address := uint64(1 + random.IntN(50))
		if size, ok := live[address]; ok {
			p.free(address)
			delete(live, address)
			bytes -= size
			continue
		}
		size := uint64(1 + random.IntN(1000))
		p.alloc(address, size)
		live[address] = size
		bytes += size
		peak = max(peak, bytes)
	}
	// Records move by up to 1000 places, across batches.
	order := make([]int, len(p.Sequence))
	for i := range order {
		order[i] = i
	}
	for i := range order {
		j := min(i+random.IntN(500), len(order)-1)
		order[i], order[j] = order[j], order[i]
	}
	m := memoryOf(t, Config{}, func(a *Analysis) {
		for _, i := range order {
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: *p.row(i)}))
		}
	})
	b := deviceBytes(&m)
	if b.LiveBytes != bytes || b.PeakBytes != peak || m.LedgerCounts != (LedgerCounts{}) {
		t.Errorf("live %d, peak %d, %+v; want %d, %d and nothing odd", b.LiveBytes, b.PeakBytes, m.LedgerCounts, bytes, peak)
	}
}

// A record that never comes must not hold up those after it for ever.
func TestLedgerGap(t *testing.T) {
	p := &tape{}
	p.alloc(0x1, 10)
	p.sequence += 5 // lost
	for i := range uint64(3 * reorderLimit) {
		p.alloc(0x100+i, 1)
	}
	l := newLedger(newAccount(&span{all: true}, &event.Tables{}), math.MaxInt64)
	for i := range p.Sequence {
		l.Add(p.row(i))
		if len(l.pending) > reorderLimit {
			t.Fatalf("%d records wait", len(l.pending))
		}
	}
	if len(l.pending) != 0 {
		t.Errorf("%d records wait although the gap has been given up", len(l.pending))
	}
}

func TestLedgerCheckpoint(t *testing.T) {
	alloc := (&tape{}).alloc(0x10, 100).alloc(0x20, 50)
	t.Run("agrees", func(t *testing.T) {
		m := memoryOf(t, Config{}, func(a *Analysis) {
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: alloc.Allocations}))
			must(t, a.Live(&event.LiveSet{Process: 1, Time: 5000, Live: alloc.Allocations}))
		})
		if b := deviceBytes(&m); b.LiveBytes != 150 || b.Allocated != 2 || m.Corrected != 0 {
			t.Errorf("%+v, %+v", b, m.LedgerCounts)
		}
	})
	t.Run("was read after a release that follows", func(t *testing.T) {
		m := memoryOf(t, Config{}, func(a *Analysis) {
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: alloc.Allocations}))
			must(t, a.Live(&event.LiveSet{Process: 1, Time: 5000, Live: *alloc.row(0)}))
			release := (&tape{sequence: 7}).free(0x20)
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: release.Allocations}))
		})
		if b := deviceBytes(&m); b.LiveBytes != 100 || b.LiveCount != 1 || b.Allocated != 2 || b.Freed != 1 || b.PeakBytes != 150 || m.LedgerCounts != (LedgerCounts{}) {
			t.Errorf("%+v, %+v", b, m.LedgerCounts)
		}
	})
	t.Run("puts right what was lost", func(t *testing.T) {
		m := memoryOf(t, Config{}, func(a *Analysis) {
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: *alloc.row(0)}))
			lost := (&tape{sequence: 7}).alloc(0x30, 7)
			must(t, a.Live(&event.LiveSet{Process: 1, Time: 5000, Live: lost.Allocations}))
		})
		if b := deviceBytes(&m); b.LiveBytes != 7 || b.Allocated != 1 || b.Freed != 0 || m.Corrected != 2 {
			t.Errorf("%+v, %+v", b, m.LedgerCounts)
		}
	})
	t.Run("begins a trace whose first part was dropped", func(t *testing.T) {
		m := memoryOf(t, Config{}, func(a *Analysis) {
			must(t, a.Live(&event.LiveSet{Process: 1, Time: 5000, Live: alloc.Allocations}))
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: (&tape{sequence: 9}).free(0x20).Allocations}))
		})
		if b := deviceBytes(&m); b.LiveBytes != 100 || b.PeakBytes != 150 || b.Allocated != 0 || b.Freed != 1 || m.Corrected != 0 {
			t.Errorf("%+v, %+v", b, m.LedgerCounts)
		}
	})
	t.Run("knows that mapped memory was released", func(t *testing.T) {
		m := memoryOf(t, Config{}, func(a *Analysis) {
			p := (&tape{}).add(event.OpAlloc, event.SpaceHandle, 5, 64, 0, 0).add(event.OpMap, event.SpaceVirtual, 0x1000, 64, 5, 0)
			rows := p.Allocations
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: rows}))
			p.Allocations = event.Allocations{}
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: p.add(event.OpFree, event.SpaceHandle, 5, 0, 0, 0).Allocations}))
			must(t, a.Live(&event.LiveSet{Process: 1, Time: 4000, Live: rows}))
			p.Allocations = event.Allocations{}
			must(t, a.Batch(&event.Batch{Process: 1, Allocations: p.add(event.OpUnmap, event.SpaceVirtual, 0x1000, 64, 5, 0).Allocations}))
		})
		if b := deviceBytes(&m); b.LiveBytes != 0 || b.PeakBytes != 64 || m.Corrected != 0 {
			t.Errorf("%+v, %+v", b, m.LedgerCounts)
		}
	})
}

// In a window, what was live before it counts for its peak, but not as allocated in it.
func TestMemoryWindow(t *testing.T) {
	p := &tape{}
	p.alloc(0x1, 1000).free(0x1).alloc(0x2, 10).alloc(0x3, 20).free(0x3).alloc(0x4, 500)
	// Rows take effect at 1010, 2000, 3010, 4010, 5000 and 6010; the trace starts at 1.
	window := Window{From: Moment{Set: true, NS: 3500}, To: Moment{Set: true, NS: 5500}}
	m := memoryOf(t, Config{Window: window}, func(a *Analysis) {
		must(t, a.Batch(&event.Batch{Process: 1, Allocations: p.Allocations}))
	})
	want := Bytes{PeakBytes: 30, PeakNS: 4009, LiveBytes: 10, LiveCount: 1, Allocated: 1, Freed: 1, AllocatedBytes: 20}
	if b := deviceBytes(&m); b != want {
		t.Errorf("got %+v, want %+v", b, want)
	}
}

func TestAsker(t *testing.T) {
	var tables event.Tables
	tables.Apply(&event.Definitions{
		Strings: []string{"/usr/lib/libcuda.so.1", "/venv/libcudart.so.12", "/home/me/libwarpscope.so", "/venv/libnccl.so.2", "/usr/bin/python3"},
		Frames:  []event.Frame{{Module: 1}, {Module: 2}, {Module: 3}, {Module: 4}, {Module: 5}, {}},
		Stacks:  []event.Stack{{3, 1, 2, 4, 5}, {1, 5}, {1, 2}, {6, 4}, {}},
	})
	for stack, want := range map[event.StackID]string{1: "/venv/libnccl.so.2", 2: "/usr/bin/python3", 3: "", 4: "/venv/libnccl.so.2", 5: "", 0: "", 99: ""} {
		if got := tables.String(asker(&tables, stack)); got != want {
			t.Errorf("stack %d: %q asked, want %q", stack, got, want)
		}
	}
}
