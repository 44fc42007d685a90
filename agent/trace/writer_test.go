package trace

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		file, want := sample(t, rng, 1+rng.IntN(5), 1+rng.IntN(200))
		for _, ahead := range []int{0, 3} {
			got, report := collectBytes(t, file, WithReadAhead(ahead))
			compare(t, want, got)
			if err := report.Err(); err != nil {
				t.Errorf("seed %d, ahead %d: %v", seed, ahead, err)
			}
		}
	}
}

// TestLargeBatches checks the splitting of what exceeds a frame.
func TestLargeBatches(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{}, WithCallResolution(1))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	want := &collected{provenance: &event.Provenance{}}
	var b event.Batch
	newGPT(1, 32).fill(&b, 2*writeRows+17)
	l := &event.LiveSet{Process: 1, Time: 99}
	randomTable(rng, reflect.ValueOf(&l.Live).Elem(), writeTotal+5)
	d := &event.Definitions{Strings: make([]string, 2*writeDefined+3), Stacks: make([]event.Stack, writeDefined+1)}
	for i := range d.Strings {
		d.Strings[i] = fmt.Sprint("string ", i)
	}
	for i := range d.Stacks {
		d.Stacks[i] = event.Stack{event.FrameID(i), 7}
	}
	for _, sink := range []event.Sink{w, want} {
		if err := errors.Join(sink.Define(d), sink.Batch(&b), sink.Live(l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	want.summary = &event.Summary{Recorded: map[event.Kind]uint64{event.KindKernel: 2*writeRows + 17, event.KindCall: 2*writeRows + 17}}
	got, report := collectBytes(t, file.Bytes())
	compare(t, want, got)
	if report.Err() != nil {
		t.Error(report.Err())
	}
}

// TestIndexFrames checks the chain of index frames of a long trace.
func TestIndexFrames(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{})
	if err != nil {
		t.Fatal(err)
	}
	const frames = 2*writeEntries + 100
	for i := range frames {
		b := event.Batch{States: event.States{Time: []event.Time{event.Time(1000 + i)}, State: []event.State{event.StateArmed}, Reason: []uint32{0}}}
		if err := errors.Join(w.Batch(&b), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	got, report := collectBytes(t, file.Bytes(), WithRange(1000+5, 1000+frames-2))
	if n := len(got.batches[0].States.Time); n != frames-6 {
		t.Errorf("%d events through the index, want %d", n, frames-6)
	}
	if report.Frames != frames-6+2 || report.Err() != nil {
		t.Errorf("read %d frames, %v", report.Frames, report.Err())
	}
}

func TestFlushByAge(t *testing.T) {
	clock := &manual{t: time.Unix(1000, 0)}
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{}, WithClock(clock.now), WithMaxAge(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	b := &event.Batch{Process: 5}
	newGPT(1, 0).fill(b, 10)
	sizes := []int{file.Len()}
	for range 3 {
		if err := w.Batch(b); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, file.Len())
		clock.t = clock.t.Add(600 * time.Millisecond)
	}
	if sizes[1] != sizes[0] || sizes[2] != sizes[0] || sizes[3] == sizes[0] {
		t.Errorf("file sizes after batches 600 ms apart: %v", sizes)
	}
}

// TestDefinitionsComeFirst checks that a killed writer leaves no event whose names are missing.
func TestDefinitionsComeFirst(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{})
	if err != nil {
		t.Fatal(err)
	}
	g := newGPT(1, 0)
	b := &event.Batch{}
	g.fill(b, 100)
	if err := errors.Join(w.Define(g.definitions()), w.Batch(b), w.Flush()); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(file.Bytes())) // no Close: the writer was killed
	if err != nil {
		t.Fatal(err)
	}
	var order string
	for {
		item, err := r.Next()
		if err != nil {
			break
		}
		switch {
		case item.Provenance != nil:
			order += "p"
		case item.Definitions != nil:
			order += "d"
		case item.Batch != nil:
			order += "b"
		}
	}
	if order != "pdb" {
		t.Errorf("order of items is %q", order)
	}
	report := r.Report()
	if err := report.Err(); !errors.Is(err, ErrTruncated) {
		t.Errorf("report of an unfinished trace: %v", err)
	}
}

// TestMaxSize checks that a limit is kept and used, whatever the size of frames.
func TestMaxSize(t *testing.T) {
	for _, c := range []struct{ limit, batch, notes int }{
		{64 << 10, 500, 1}, {64 << 10, 40_000, 1}, {64 << 10, 40_000, 9000},
		{200 << 10, 1000, 1}, {200 << 10, 30_000, 1}, {200 << 10, writeRows, 1},
		{1 << 20, 1000, 1}, {1 << 20, writeRows, 3},
	} {
		t.Run(fmt.Sprintf("%d by %d", c.limit, c.batch), func(t *testing.T) {
			var file bytes.Buffer
			w, err := NewWriter(&file, event.Provenance{}, WithMaxSize(int64(c.limit)))
			if err != nil {
				t.Fatal(err)
			}
			g := newGPT(1, 32)
			if err := w.Define(g.definitions()); err != nil {
				t.Fatal(err)
			}
			given, refused := 0, 0
			for given < c.limit*2/5+c.batch {
				b := &event.Batch{}
				g.fill(b, c.batch)
				given += c.batch
				err := w.Batch(b)
				if err == nil {
					err = w.Flush()
				}
				if errors.Is(err, ErrFull) {
					refused++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			notes := make([]string, c.notes)
			for i := range notes {
				notes[i] = fmt.Sprint("note ", i*i*i)
			}
			if err := w.Close(event.Summary{Notes: notes}); err != nil {
				t.Fatal(err)
			}
			if refused == 0 || file.Len() > c.limit || file.Len() < c.limit*9/10 {
				t.Errorf("%d batches refused, file of %d bytes, %.1f%% of its limit", refused, file.Len(), 100*float64(file.Len())/float64(c.limit))
			}
			got, report := collectBytes(t, file.Bytes())
			if report.Err() != nil {
				t.Error(report.Err())
			}
			checkLosses(t, got, given, event.LossTraceFull)
			if n := len(got.batches[1].Kernels.Start); n < c.limit/10 {
				t.Errorf("%d kernels in the file", n)
			}
		})
	}
}

// TestMaxSizeLive checks that a live set for which there is no room is counted as lost, and costs nothing else.
func TestMaxSizeLive(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{}, WithMaxSize(100<<10))
	if err != nil {
		t.Fatal(err)
	}
	l := &event.LiveSet{Process: 1, Time: 99}
	rng := rand.New(rand.NewPCG(8, 8))
	randomTable(rng, reflect.ValueOf(&l.Live).Elem(), 30_000)
	for i := range l.Live.Address {
		l.Live.Address[i] = rng.Uint64()
	}
	if err := w.Live(l); !errors.Is(err, ErrFull) {
		t.Errorf("a live set larger than the file: %v", err)
	}
	b := &event.Batch{}
	newGPT(1, 32).fill(b, 1000)
	if err := errors.Join(w.Batch(b), w.Close(event.Summary{})); err != nil {
		t.Fatal(err)
	}
	got, _ := collectBytes(t, file.Bytes())
	want := event.Loss{Process: 1, Kind: event.KindAllocation, Cause: event.LossTraceFull, Count: 30_000}
	if n := got.summary.Recorded[event.KindKernel]; n != 1000 || len(got.lives) != 0 || len(got.summary.Losses) != 1 || got.summary.Losses[0] != want {
		t.Errorf("%d kernels, losses %+v", n, got.summary.Losses)
	}
}

// checkLosses adds up what was recorded and what was lost.
func checkLosses(t *testing.T, got *collected, given int, cause event.LossCause) {
	t.Helper()
	for _, kind := range []event.Kind{event.KindKernel, event.KindCall} {
		lost := 0
		for _, l := range got.summary.Losses {
			if l.Cause != cause || l.Process != 1 {
				t.Errorf("unexpected loss %+v", l)
			}
			if l.Kind == kind {
				lost += int(l.Count)
			}
		}
		if recorded := int(got.summary.Recorded[kind]); lost == 0 || recorded+lost != given {
			t.Errorf("kind %d: %d recorded and %d lost of %d", kind, recorded, lost, given)
		}
	}
	if n := len(got.batches[1].Kernels.Start); n != int(got.summary.Recorded[event.KindKernel]) {
		t.Errorf("%d kernels in the file, summary says %d", n, got.summary.Recorded[event.KindKernel])
	}
}

var errNoSpace = errors.New("no space left on device")

// disk is a file on a disk that is full at times: a write into a full one stores a part.
type disk struct {
	*os.File
	full bool
}

func (d *disk) Write(p []byte) (int, error) {
	if d.full {
		n, _ := d.File.Write(p[:len(p)/2])
		return n, errNoSpace
	}
	return d.File.Write(p)
}

// pipe is the same without a way to take anything back.
type pipe struct{ d *disk }

func (p pipe) Write(b []byte) (int, error) { return p.d.Write(b) }

func TestDiskFull(t *testing.T) {
	for _, kind := range []string{"file", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.wscope")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			d := &disk{File: f}
			var w *Writer
			if kind == "file" {
				w, err = NewWriter(d, event.Provenance{})
			} else {
				w, err = NewWriter(pipe{d}, event.Provenance{})
			}
			if err != nil {
				t.Fatal(err)
			}
			g := newGPT(1, 0)
			given := 0
			var failures []error
			for i := range 30 {
				d.full = i >= 10 && i < 20
				b := &event.Batch{}
				g.fill(b, 500)
				given += 500
				definitions := &event.Definitions{Strings: []string{fmt.Sprint("string ", i)}}
				for _, err := range []error{w.Define(definitions), w.Batch(b), w.Flush()} {
					if err != nil {
						failures = append(failures, err)
					}
				}
			}
			if len(failures) != 1 || failures[0] != errNoSpace { //nolint:errorlint // exactly as it was
				t.Errorf("errors returned: %v", failures)
			}
			if err := w.Close(event.Summary{}); err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, report := collectBytes(t, file)
			checkLosses(t, got, given, event.LossDisk)
			if len(got.definitions.Strings) != 30 || got.definitions.Strings[15] != "string 15" {
				t.Errorf("definitions after a failure: %q", got.definitions.Strings)
			}
			if damaged := report.DamageCount > 0; damaged != (kind == "pipe") || !report.Complete {
				t.Errorf("report: %s", report.String())
			}
			ranged, _ := collectBytes(t, file, WithRange(1, 1<<62))
			if ranged.rows() != got.rows() {
				t.Errorf("%d events through the index, %d without", ranged.rows(), got.rows())
			}
		})
	}
}

func TestWriterRefuses(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Batch(&event.Batch{Kernels: event.Kernels{Start: []event.Time{1}}}); err == nil {
		t.Error("columns of different length were accepted")
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := w.Batch(&event.Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("batch after close: %v", err)
	}
	if _, err := NewWriter(&file, event.Provenance{}, WithMaxSize(1)); err == nil {
		t.Error("a maximum of one byte was accepted")
	}
	full := &disk{full: true}
	full.File, _ = os.Open(os.DevNull)
	defer func() { _ = full.Close() }()
	if _, err := NewWriter(full, event.Provenance{}); !errors.Is(err, errNoSpace) {
		t.Errorf("full disk at the beginning: %v", err)
	}
}
