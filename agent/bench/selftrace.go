package bench

import (
	"cmp"
	"slices"
	"sync"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/kernels"
)

// SelfTrace sets what a profiler saw of each row's timed runs beside the times that the engine took with events. It is told of the
// rows as a Watcher, and of the process's own events as an event.Sink, late and from another goroutine; Compare comes last.
type SelfTrace struct {
	mu     sync.Mutex
	tables event.Tables
	seen   []deviceWork
	rows   []watchedRow
}

// deviceWork is one thing that the GPU did.
type deviceWork struct {
	start    event.Time
	duration int64          // ns
	name     event.StringID // of a kernel
	bytes    uint64         // of a copy
	kind     event.Kind
	stream   uint32
}

// watchedRow is a row, and when its timed runs were made.
type watchedRow struct {
	row      *result.Row
	from, to event.Time
}

// Begin implements Watcher: the stream is empty now.
func (s *SelfTrace) Begin(r *result.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, watchedRow{row: r, from: monotonic()})
	return nil
}

// End implements Watcher: the stream is empty again.
func (s *SelfTrace) End(*result.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[len(s.rows)-1].to = monotonic()
	return nil
}

// Define implements event.Sink.
func (s *SelfTrace) Define(d *event.Definitions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables.Apply(d)
	return nil
}

// Batch implements event.Sink.
func (s *SelfTrace) Batch(b *event.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Kernels.Start {
		k := &b.Kernels
		s.add(deviceWork{start: k.Start[i], duration: k.Duration[i], name: s.tables.Launch(k.Launch[i]).Name, kind: event.KindKernel, stream: k.Stream[i]})
	}
	for i := range b.Copies.Start {
		c := &b.Copies
		s.add(deviceWork{start: c.Start[i], duration: c.Duration[i], bytes: c.Bytes[i], kind: event.KindCopy, stream: c.Stream[i]})
	}
	return nil
}

// add keeps what may belong to a row.
func (s *SelfTrace) add(w deviceWork) {
	if w.duration > 0 && len(s.rows) > 0 && w.start >= s.rows[0].from {
		s.seen = append(s.seen, w)
	}
}

// Live implements event.Sink.
func (s *SelfTrace) Live(*event.LiveSet) error { return nil }

// Compare writes what the profiler saw into the rows, once all events have come. Rows whose time is of launching, or of
// several streams at once, are left out: no duration on the device is the same thing.
func (s *SelfTrace) Compare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.seen, func(a, b deviceWork) int { return cmp.Compare(a.start, b.start) })
	for _, w := range s.rows {
		if w.row.Suite == "latency" || !(w.row.Times.Median > 0) {
			continue
		}
		if runs := s.runs(w); len(runs) > 0 {
			t := result.TimesOf(perStep(runs, w.row.Steps))
			w.row.Traced = &t
		}
	}
}

// runs are the seconds of the row's runs: of all that the GPU did in each. nil: that cannot be told.
func (s *SelfTrace) runs(w watchedRow) []float64 {
	first, _ := slices.BinarySearchFunc(s.seen, w.from, func(a deviceWork, t event.Time) int { return cmp.Compare(a.start, t) })
	var in []deviceWork
	for _, a := range s.seen[first:] {
		if a.start > w.to {
			break
		}
		// The engine's own kernel, which keeps the stream busy while it is filled.
		if a.kind == event.KindKernel && s.tables.String(a.name) == kernels.Spin(0, 0).Kernel {
			continue
		}
		if len(in) > 0 && a.stream != in[0].stream {
			return nil
		}
		in = append(in, a)
	}
	each := period(in, uint64(w.row.Bytes))
	if each == 0 {
		return nil
	}
	var runs []float64
	for i := 0; i < len(in); i += each {
		seconds := 0.0
		for _, a := range in[i : i+each] {
			seconds += float64(a.duration) / nanoseconds
		}
		runs = append(runs, seconds)
	}
	return runs
}

// period is of how many things a run consists, each like the one of the run before; 0: runs cannot be told apart. A run of
// copies alone moves so many bytes: the driver may cut a copy into pieces.
func period(in []deviceWork, bytes uint64) int {
	same := func(a, b deviceWork) bool { return a.name == b.name && a.bytes == b.bytes && a.kind == b.kind }
	moved := uint64(0)
next:
	for p := 1; p <= len(in)/2; p++ {
		moved += in[p-1].bytes
		if len(in)%p != 0 || moved > 0 && moved != bytes {
			continue
		}
		for i := p; i < len(in); i++ {
			if !same(in[i], in[i-p]) {
				continue next
			}
		}
		return p
	}
	return 0
}
