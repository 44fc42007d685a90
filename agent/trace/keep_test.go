package trace

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

func TestKeep(t *testing.T) {
	for _, every := range []int{3, 10, 1000} { // seconds between live sets
		t.Run(fmt.Sprintf("live set every %d s", every), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(every), 1))
			d := &place{t: t, path: filepath.Join(t.TempDir(), "t.wscope")}
			c := &clock{t: base}
			w, err := NewWriter(d.open(), event.Provenance{}, WithKeep(20*time.Second, c.now, d.create))
			if err != nil {
				t.Fatal(err)
			}
			x := newWritten()
			var largest int64
			for i := range 300 {
				x.second(t, w, rng, c.now(), i%every == every-1)
				c.pass(time.Second)
				waitRewriting(w)
				if info, err := os.Stat(d.path); err != nil {
					t.Fatal(err)
				} else if i > 40 {
					largest = max(largest, info.Size())
				}
				if i%17 == 0 { // whoever opens it now
					file, err := os.Open(d.path)
					if err != nil {
						t.Fatal(err)
					}
					f := look(t, file)
					f.same(t, x)
					f.newest(t, x.kernels, c.now(), 20*time.Second, 1.6)
					file.Close()
				}
			}
			if err := w.Close(event.Summary{}); err != nil {
				t.Fatal(err)
			}
			if d.renewed < 300/15-5 {
				t.Errorf("the file was made shorter %d times", d.renewed)
			}
			b, err := os.ReadFile(d.path)
			if err != nil {
				t.Fatal(err)
			}
			f := look(t, bytes.NewReader(b))
			f.same(t, x)
			f.newest(t, x.kernels, c.now(), 20*time.Second, 1.15)
			// How far the last rewriting had come is the machine's affair.
			if every < 100 && int64(len(b)) > largest+largest/20 {
				t.Errorf("%d bytes at the end, %d before", len(b), largest)
			}
			if f.strings != 600 {
				t.Errorf("%d strings are defined, want all 600", f.strings)
			}
			if len(f.notes) != 1 {
				t.Errorf("notes %q", f.notes)
			}
			// Nothing is lost silently, and nothing is counted twice.
			total := map[event.Kind]uint64{}
			for _, kinds := range x.rows {
				for kind, n := range kinds {
					total[kind] += n
				}
			}
			for _, l := range f.summary.Losses {
				if l.Cause != event.LossAged {
					t.Errorf("loss %+v", l)
				}
				total[l.Kind] -= l.Count
			}
			for _, kind := range []event.Kind{event.KindKernel, event.KindAllocation, event.KindState, event.KindContext} {
				if got := f.summary.Recorded[kind]; got != f.rows[kind] {
					t.Errorf("kind %d: %d recorded, %d in the file", kind, got, f.rows[kind])
				}
				if kind != event.KindState && total[kind] != f.rows[kind] {
					t.Errorf("kind %d: %d in the file, %d not dropped", kind, f.rows[kind], total[kind])
				}
			}
			// The index of the last file is right.
			got, report := collectBytes(t, b, WithKinds(event.KindKernel))
			n := uint64(0)
			for _, b := range got.batches {
				n += uint64(len(b.Kernels.Start))
			}
			if n != f.rows[event.KindKernel] || report.Err() != nil {
				t.Errorf("%d kernels by the index, want %d; %v", n, f.rows[event.KindKernel], report.Err())
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(d.path), "new-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("files are left: %v, %v", left, err)
			}
		})
	}
}

func waitRewriting(w *Writer) {
	for {
		w.mu.Lock()
		running := w.options.keep.running
		w.mu.Unlock()
		if !running {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestKeepWhileWriting has the file made shorter while others write as fast as they can.
func TestKeepWhileWriting(t *testing.T) {
	d := &place{t: t, path: filepath.Join(t.TempDir(), "t.wscope")}
	c := &clock{t: base}
	w, err := NewWriter(d.open(), event.Provenance{}, WithKeep(time.Second, c.now, d.create))
	if err != nil {
		t.Fatal(err)
	}
	x := newWritten()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 1000 {
		x.second(t, w, rng, c.now(), i%10 == 0)
		c.pass(5 * time.Millisecond)
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := look(t, file)
	f.same(t, x)
	f.newest(t, x.kernels, c.now(), time.Second, 1.2)
	if d.renewed < 1 {
		t.Errorf("the file was made shorter %d times", d.renewed)
	}
}

// TestKeepFails lets each part of the rewriting fail: the file is whole all the same, and says it.
func TestKeepFails(t *testing.T) {
	for _, call := range []string{"create", "write", "succeed"} {
		t.Run(call, func(t *testing.T) {
			full := errors.New("no space left on device")
			d := &place{t: t, path: filepath.Join(t.TempDir(), "t.wscope")}
			d.fail = func(c string) error {
				if c == call {
					return full
				}
				return nil
			}
			c := &clock{t: base}
			w, err := NewWriter(d.open(), event.Provenance{}, WithKeep(5*time.Second, c.now, d.create))
			if err != nil {
				t.Fatal(err)
			}
			x := newWritten()
			rng := rand.New(rand.NewPCG(2, 1))
			for i := range 40 {
				x.second(t, w, rng, c.now(), i%10 == 0)
				c.pass(time.Second)
				waitRewriting(w)
			}
			if err := w.Close(event.Summary{}); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(d.path)
			if err != nil {
				t.Fatal(err)
			}
			f := look(t, bytes.NewReader(b))
			f.same(t, x)
			if len(f.kernels) != len(x.kernels) || len(f.summary.Losses) != 0 || len(f.summary.Notes) != 1 {
				t.Errorf("%d kernels of %d, losses %v, notes %q", len(f.kernels), len(x.kernels), f.summary.Losses, f.summary.Notes)
			}
		})
	}
}

// TestKeepStates checks that the account of windows begins where what is kept does.
func TestKeepStates(t *testing.T) {
	type row = stateRow
	armed, paused, finished := event.StateArmed, event.StatePaused, event.StateFinished
	for _, test := range []struct {
		name string
		rows []row
		want []row
	}{
		{"none", nil, nil},
		{"always on", []row{{10, armed, 0}}, []row{{10, paused, 0}, {100, armed, 0}}},
		{"off in the end", []row{{10, armed, 0}, {50, paused, 4}}, []row{{10, paused, 0}}},
		{"on late", []row{{10, paused, 0}, {120, armed, 4}}, []row{{10, paused, 0}, {120, armed, 4}}},
		{"ended", []row{{10, armed, 0}, {60, finished, 2}}, []row{{10, paused, 0}, {60, finished, 2}}},
		{"refused", []row{{10, event.StateRefused, 8}}, []row{{10, event.StateRefused, 8}}},
	} {
		m := &remainder{}
		b := &event.Batch{}
		for _, r := range test.rows {
			b.States.Time, b.States.State, b.States.Reason = append(b.States.Time, r.time), append(b.States.State, r.state), append(b.States.Reason, r.reason)
		}
		m.add(schema(), b)
		got := m.batch(3, 100).States
		if len(got.Time) != len(test.want) {
			t.Errorf("%s: %+v", test.name, got)
			continue
		}
		for i, want := range test.want {
			if got.Time[i] != want.time || got.State[i] != want.state || got.Reason[i] != want.reason {
				t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
			}
		}
	}
}

// TestKeepLargeLiveSets has live sets of several parts, and time passing between them.
func TestKeepLargeLiveSets(t *testing.T) {
	d := &place{t: t, path: filepath.Join(t.TempDir(), "t.wscope")}
	c := &clock{t: base}
	tick := func() event.Time {
		c.pass(300 * time.Millisecond)
		return c.now()
	}
	w, err := NewWriter(d.open(), event.Provenance{}, WithKeep(4*time.Second, tick, d.create))
	if err != nil {
		t.Fatal(err)
	}
	l := &event.LiveSet{Process: 1, Time: base}
	for i := range 2*writeTotal + 1 {
		allocate(&l.Live, uint64(i+1), event.OpAlloc, uint64(i+1))
	}
	for i := range 12 {
		l.Time = c.now()
		if err := w.Live(l); err != nil {
			t.Fatal(err)
		}
		waitRewriting(w)
		b := &event.Batch{Process: 1, States: event.States{Time: []event.Time{c.now()}, State: []event.State{event.StateArmed}, Reason: []uint32{0}}}
		if err := errors.Join(w.Batch(b), w.Flush()); err != nil {
			t.Fatal(err)
		}
		waitRewriting(w)
		if i%6 != 5 {
			continue
		}
		file, err := os.Open(d.path)
		if err != nil {
			t.Fatal(err)
		}
		if f := look(t, file); len(f.live[1]) != len(l.Live.Address) {
			t.Errorf("%d allocations are known, want %d", len(f.live[1]), len(l.Live.Address))
		}
		file.Close()
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	if d.renewed < 2 {
		t.Errorf("the file was made shorter %d times", d.renewed)
	}
}

// BenchmarkKeep makes a file of half a minute shorter by a third, again and again: kernels and calls at 30,000 a second.
func BenchmarkKeep(b *testing.B) {
	path := filepath.Join(b.TempDir(), "t.wscope")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	c := &clock{t: base}
	var copied int64
	create := func() (Successor, error) {
		f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		return &benchHeir{f, &copied}, err
	}
	w, err := NewWriter(f, event.Provenance{}, WithKeep(20*time.Second, c.now, create))
	if err != nil {
		b.Fatal(err)
	}
	g := newGPT(1, 32)
	for range 30 {
		var batch event.Batch
		g.fill(&batch, 30_000)
		if err := errors.Join(w.Batch(&batch), w.Flush()); err != nil {
			b.Fatal(err)
		}
		c.pass(time.Second)
	}
	for b.Loop() {
		if err := w.rewrite(); !errors.Is(err, errBench) {
			b.Fatal(err)
		}
	}
	b.SetBytes(copied / int64(b.N))
}

var errBench = errors.New("the benchmark wants the old file again")

type benchHeir struct {
	*os.File
	copied *int64
}

func (h *benchHeir) Write(b []byte) (int, error) {
	*h.copied += int64(len(b))
	return h.File.Write(b)
}
func (h *benchHeir) Succeed() error { return errBench }
func (h *benchHeir) Abandon()       { h.Close() }
