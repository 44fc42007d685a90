package trace

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// place is where the file of a trace that is made shorter.
type place struct {
	t       *testing.T
	path    string
	mu      sync.Mutex
	renewed int
	fail    func(call string) error // nil: nothing fails
}

func (d *place) open() *os.File {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { f.Close() })
	return f
}

type heir struct {
	*os.File
	place *place
}

func (d *place) failing(call string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(call)
}

func (d *place) create() (Successor, error) {
	if err := d.failing("create"); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(d.path), "new-*")
	if err != nil {
		return nil, err
	}
	d.t.Cleanup(func() { f.Close() })
	return &heir{f, d}, nil
}

func (h *heir) Write(b []byte) (int, error) {
	if err := h.place.failing("write"); err != nil {
		return 0, err
	}
	return h.File.Write(b)
}

func (h *heir) Succeed() error {
	if err := h.place.failing("succeed"); err != nil {
		return err
	}
	h.place.mu.Lock()
	h.place.renewed++
	h.place.mu.Unlock()
	return os.Rename(h.Name(), h.place.path)
}

func (h *heir) Abandon() { os.Remove(h.Name()) }

// now is a clock that tests set: CLOCK_MONOTONIC, ns.
type clock struct {
	mu sync.Mutex
	t  event.Time
}

func (c *clock) now() event.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t += event.Time(d)
}

// written is what a test has given to the writer.
type written struct {
	kernels []event.Time         // their starts
	live    [3]map[uint64]uint64 // by process: address → sequence
	rows    map[event.ProcessID]map[event.Kind]uint64
	next    uint64
}

// second writes what two processes do in a second.
func (x *written) second(t *testing.T, w *Writer, rng *rand.Rand, at event.Time, checkpoint bool) {
	t.Helper()
	for process := event.ProcessID(1); process <= 2; process++ {
		b := &event.Batch{Process: process}
		for i := range 20 {
			start := at + event.Time(i)*1000
			k := &b.Kernels
			k.Start, k.Duration, k.Launch = append(k.Start, start), append(k.Duration, 500), append(k.Launch, 1)
			k.Correlation, k.Device, k.Context = append(k.Correlation, uint32(i)), append(k.Device, 0), append(k.Context, 1)
			k.Stream, k.Graph, k.GraphNode = append(k.Stream, 7), append(k.Graph, 0), append(k.GraphNode, 0)
			if process == 1 {
				x.kernels = append(x.kernels, start)
			}
		}
		live := x.live[process]
		for range rng.IntN(6) {
			x.next++
			address, op := x.next, event.OpAlloc
			if len(live) > 0 && rng.IntN(3) > 0 {
				op = event.OpFree
				for address = range live {
					break
				}
				delete(live, address)
			} else {
				live[address] = x.next
			}
			allocate(&b.Allocations, uint64(at)+x.next, op, address)
		}
		b.States = event.States{Time: []event.Time{at}, State: []event.State{event.StateArmed}, Reason: []uint32{0}}
		if rng.IntN(5) == 0 {
			b.Contexts = event.Contexts{Time: []event.Time{at}, Created: []bool{true}, Context: []uint32{1}, Device: []int32{0}, NullStream: []uint32{7}}
		}
		if err := errors.Join(w.Define(&event.Definitions{Strings: []string{fmt.Sprint("at ", at)}}), w.Batch(b), w.Flush()); err != nil {
			t.Fatal(err)
		}
		x.count(b)
		if checkpoint {
			l := &event.LiveSet{Process: process, Time: at}
			for address, sequence := range live {
				allocate(&l.Live, sequence, event.OpAlloc, address)
			}
			if err := w.Live(l); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (x *written) count(b *event.Batch) {
	if x.rows[b.Process] == nil {
		x.rows[b.Process] = map[event.Kind]uint64{}
	}
	n := x.rows[b.Process]
	n[event.KindKernel] += uint64(len(b.Kernels.Start))
	n[event.KindAllocation] += uint64(len(b.Allocations.Sequence))
	n[event.KindState] += uint64(len(b.States.Time))
	n[event.KindContext] += uint64(len(b.Contexts.Time))
}

func allocate(a *event.Allocations, sequence uint64, op event.AllocOp, address uint64) {
	a.Sequence, a.Enter, a.Duration = append(a.Sequence, sequence), append(a.Enter, 0), append(a.Duration, 1)
	a.Op, a.Space, a.Address = append(a.Op, op), append(a.Space, event.SpaceDevice), append(a.Address, address)
	a.Size, a.Handle, a.Device = append(a.Size, 64), append(a.Handle, 0), append(a.Device, 0)
	a.Context, a.Stream, a.Thread = append(a.Context, 1), append(a.Stream, 0), append(a.Thread, 1)
	a.API, a.Result, a.Stack, a.Known = append(a.API, 0), append(a.Result, 0), append(a.Stack, 0), append(a.Known, true)
}

// holding is what a reader of the file knows.
type holding struct {
	kernels []event.Time
	live    [3]map[uint64]bool
	rows    map[event.Kind]uint64
	summary *event.Summary
	notes   []string
	strings int
}

func look(t *testing.T, src io.Reader) *holding {
	t.Helper()
	f := &holding{rows: map[event.Kind]uint64{}}
	for i := range f.live {
		f.live[i] = map[uint64]bool{}
	}
	r, err := NewReader(src)
	if err != nil {
		t.Fatal(err)
	}
	begun := map[event.ProcessID]bool{} // its allocations have been told of
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case item.Provenance != nil:
			f.notes = item.Provenance.Notes
		case item.Definitions != nil:
			f.strings += len(item.Definitions.Strings)
		case item.Summary != nil:
			f.summary = item.Summary
		case item.Live != nil:
			before := f.live[item.Live.Process]
			if begun[item.Live.Process] && len(before) != len(item.Live.Live.Address) {
				t.Errorf("process %d: %d allocations are live at %d, the live set has %d", item.Live.Process, len(before), item.Live.Time, len(item.Live.Live.Address))
			}
			begun[item.Live.Process] = true
			clear(before)
			for _, address := range item.Live.Live.Address {
				f.live[item.Live.Process][address] = true
			}
		case item.Batch != nil:
			b := item.Batch
			if b.Process == 1 {
				f.kernels = append(f.kernels, b.Kernels.Start...)
			}
			for i, address := range b.Allocations.Address {
				begun[b.Process] = true
				if b.Allocations.Op[i] == event.OpAlloc {
					f.live[b.Process][address] = true
				} else {
					delete(f.live[b.Process], address)
				}
			}
			f.rows[event.KindKernel] += uint64(len(b.Kernels.Start))
			f.rows[event.KindAllocation] += uint64(len(b.Allocations.Sequence))
			f.rows[event.KindState] += uint64(len(b.States.Time))
			f.rows[event.KindContext] += uint64(len(b.Contexts.Time))
		}
	}
	report := r.Report()
	if len(report.Damages) > 0 || report.LostFrames > 0 || report.LostDefinitions > 0 {
		t.Errorf("damage %+v", report)
	}
	return f
}

// same compares what is allocated.
func (f *holding) same(t *testing.T, x *written) {
	t.Helper()
	for process := 1; process <= 2; process++ {
		if len(f.live[process]) != len(x.live[process]) {
			t.Errorf("process %d: %d allocations are live, want %d", process, len(f.live[process]), len(x.live[process]))
		}
		for address := range x.live[process] {
			if !f.live[process][address] {
				t.Errorf("process %d: %d is not known to be allocated", process, address)
			}
		}
	}
}

// newest checks that the last kernels are there: those of the span, and of half as much at most before.
func (f *holding) newest(t *testing.T, all []event.Time, now event.Time, span time.Duration, slack float64) {
	t.Helper()
	if n := len(f.kernels); n > len(all) {
		t.Fatalf("%d kernels of %d", n, len(all))
	}
	for i, start := range f.kernels {
		if want := all[len(all)-len(f.kernels)+i]; start != want {
			t.Fatalf("kernel %d starts at %d, want %d", i, start, want)
		}
	}
	within := 0
	for _, start := range all {
		if start >= now-event.Time(span) {
			within++
		}
	}
	if n := len(f.kernels); n < within || float64(n) > float64(within)*slack {
		t.Errorf("%d kernels are kept, %d began in the last %v", n, within, span)
	}
}

func newWritten() *written {
	x := &written{rows: map[event.ProcessID]map[event.Kind]uint64{}}
	for i := range x.live {
		x.live[i] = map[uint64]uint64{}
	}
	return x
}

const base = event.Time(1_000_000_000_000)
