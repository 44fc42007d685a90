package bench

import (
	"cmp"
	"slices"
	"sync"
	"time"

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
	bursts []watchedBurst
}

// deviceWork is one thing that the GPU did.
type deviceWork struct {
	start    event.Time
	duration int64 // ns
}

// watchedBurst is a burst of a row, and when it was made.
type watchedBurst struct {
	row      *result.Row
	from, to event.Time
	ran      Burst
}

// apart is what lies between a burst and what the GPU did before and does after it: far more than the profiler's clock, which becomes the host's, may be wrong.
const apart = 500 * time.Microsecond

// Begin implements Watcher: the stream is empty now.
func (s *SelfTrace) Begin(r *result.Row) error {
	time.Sleep(apart)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bursts = append(s.bursts, watchedBurst{row: r, from: monotonic() - event.Time(apart/2)})
	return nil
}

// End implements Watcher: the stream is empty again.
func (s *SelfTrace) End(_ *result.Row, ran Burst) error {
	s.mu.Lock()
	last := &s.bursts[len(s.bursts)-1]
	last.to, last.ran = monotonic()+event.Time(apart/2), ran
	s.mu.Unlock()
	time.Sleep(apart)
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
		// The engine's own kernel keeps the stream busy while it is filled.
		if s.tables.String(s.tables.Launch(k.Launch[i]).Name) != kernels.Spin(0, 0).Kernel {
			s.add(deviceWork{start: k.Start[i], duration: k.Duration[i]})
		}
	}
	for i := range b.Copies.Start {
		s.add(deviceWork{start: b.Copies.Start[i], duration: b.Copies.Duration[i]})
	}
	return nil
}

// add keeps what may belong to a row.
func (s *SelfTrace) add(w deviceWork) {
	if w.duration > 0 && len(s.bursts) > 0 && w.start >= s.bursts[0].from {
		s.seen = append(s.seen, w)
	}
}

// Live implements event.Sink.
func (s *SelfTrace) Live(*event.LiveSet) error { return nil }

// Compare writes what the profiler saw into the rows, once all events have come. Rows whose time is of launching are left out: no
// duration on the device is the same thing.
func (s *SelfTrace) Compare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.seen, func(a, b deviceWork) int { return cmp.Compare(a.start, b.start) })
	for first := 0; first < len(s.bursts); {
		next := first + 1
		for next < len(s.bursts) && s.bursts[next].row == s.bursts[first].row {
			next++
		}
		s.compare(s.bursts[first:next])
		first = next
	}
}

// compare is of all bursts of a row.
func (s *SelfTrace) compare(bursts []watchedBurst) {
	r := bursts[0].row
	if r.Suite == "latency" {
		return
	}
	var traced, parts []float64
	for _, b := range bursts {
		for i, seconds := range s.samples(b) {
			traced = append(traced, seconds/float64(b.ran.Runs))
			parts = append(parts, seconds/b.ran.Seconds[i])
		}
	}
	if len(traced) > 0 {
		t, p := result.TimesOf(perStep(traced, r.Steps)), result.TimesOf(parts)
		r.Traced, r.TracedPart = &t, &p
	}
}

// samples are the seconds of each sample of a burst as the profiler saw it: from the start of its first kernel or copy to the end of its last. nil: what
// ran does not fit to what was seen.
func (s *SelfTrace) samples(b watchedBurst) []float64 {
	first, _ := slices.BinarySearchFunc(s.seen, b.from, func(a deviceWork, t event.Time) int { return cmp.Compare(a.start, t) })
	last, _ := slices.BinarySearchFunc(s.seen, b.to, func(a deviceWork, t event.Time) int { return cmp.Compare(a.start, t) })
	in := s.seen[first:max(first, last)]
	runs := b.ran.Warm + b.ran.Runs*len(b.ran.Seconds)
	if runs == 0 || len(in) == 0 || len(in)%runs != 0 {
		return nil
	}
	// Each run consists of the same: a copy that the driver cuts into pieces is cut alike each time.
	each := len(in) / runs
	in = in[b.ran.Warm*each:]
	var out []float64
	for range b.ran.Seconds {
		end := event.Time(0)
		for _, a := range in[:b.ran.Runs*each] {
			end = max(end, a.start+event.Time(a.duration))
		}
		out = append(out, float64(end-in[0].start)/nanoseconds)
		in = in[b.ran.Runs*each:]
	}
	return out
}
