package bench

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// clock times work. Tests stand in for it.
type clock interface {
	// batch is the seconds that n runs take together.
	batch(w *Work, n int) (float64, error)
	// steady runs batches of n without a pause between them for at least d, and returns the seconds of each.
	steady(ctx context.Context, w *Work, n int, d time.Duration) ([]float64, error)
}

// plan says of what samples a burst is made: each lasts so long at least, or one run; together about so long. Seconds.
type plan struct{ sample, total float64 }

// Bursts last 50 ms: what the GPU does before its power control has answered. Those that somebody else times, too, have longer samples, in
// which what lies between an event and the work beside it, some microseconds, is little.
var (
	usualPlan   = plan{sample: 1e-3, total: 50e-3}
	watchedPlan = plan{sample: 5e-3, total: 100e-3}
)

const (
	fewestBurst  = 5
	mostBurst    = 20
	mostRuns     = 500 // a stream takes about a thousand launches before the host has to wait
	steadyBatch  = 50e-3
	launchTime   = 6e-6 // at most, for the host to launch once more
	shortRun     = 5e-3 // up to which a few microseconds of launching would show in a ratio
	mostHold     = 20e-3
	holdAhead    = 50e-6
	nanoseconds  = 1e9
	fewestSteady = 3
	mostKnown    = 16 // works whose length is remembered: those of one case
)

// Burst is what ran in a burst, in this order.
type Burst struct {
	Warm    int       // runs before the first sample
	Runs    int       // of a sample
	Seconds []float64 // of each sample: of all its runs together
}

// each is the seconds of one run, sample by sample.
func (b Burst) each() []float64 {
	out := make([]float64, len(b.Seconds))
	for i, s := range b.Seconds {
		out[i] = s / float64(b.Runs)
	}
	return out
}

// burst measures.
func burst(c clock, w *Work, p plan) (b Burst, err error) {
	// The first batch warms up and says how many runs make a sample.
	once, err := c.batch(w, 1)
	b.Warm = 1
	if err == nil && once < p.sample/10 && w.Before == nil {
		const some = 32
		once, err = c.batch(w, some)
		once /= some
		b.Warm += some
	}
	if err != nil {
		return b, err
	}
	b.Runs = runsFor(once, p.sample)
	if w.Before != nil {
		b.Runs = 1
	}
	samples := mostBurst
	if once > 0 {
		samples = int(min(max(p.total/(once*float64(b.Runs)), fewestBurst), mostBurst))
	}
	for range samples {
		t, err := c.batch(w, b.Runs)
		if err != nil {
			return b, err
		}
		b.Seconds = append(b.Seconds, t)
	}
	return b, nil
}

// runsFor is how many runs of a length fill a time.
func runsFor(once, fill float64) int {
	if !(once > 0) {
		return mostRuns
	}
	return int(min(max(math.Ceil(fill/once), 1), mostRuns))
}

// eventClock is the device's own clock: events around the runs.
type eventClock struct {
	g    *GPU
	ran  cuda.Pointer      // where the kernel that holds the stream says that it ran
	once map[*Work]float64 // seconds of a run, of the work at hand and of what it is compared with
}

func newEventClock(g *GPU) (*eventClock, error) {
	p, err := g.Driver.Alloc(4)
	return &eventClock{g: g, ran: p, once: map[*Work]float64{}}, err
}

func (c *eventClock) close() error { return c.g.Driver.Free(c.ran) }

// hold, of work whose length is known, keeps the stream busy until the host has put n short runs into it: otherwise the host's pace is measured.
func (c *eventClock) hold(w *Work, n int) error {
	if once, known := c.once[w]; !known || once > shortRun || w.Before != nil {
		return nil
	}
	seconds := min(holdAhead+float64(n)*launchTime, mostHold)
	loop, err := c.g.Loop(kernels.Latency(), kernels.Spin(time.Duration(seconds*nanoseconds), c.ran))
	if err != nil {
		return err
	}
	_, err = loop.Run(1)
	return err
}

func (c *eventClock) batch(w *Work, n int) (seconds float64, err error) {
	begin, err := c.g.Driver.NewEvent()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, begin.Close()) }()
	end, err := c.g.Driver.NewEvent()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end.Close()) }()
	if w.Before != nil {
		err = w.Before()
	}
	if err == nil {
		err = c.hold(w, n)
	}
	if err = errors.Join(err, begin.Record(c.g.Stream)); err != nil {
		return 0, err
	}
	if err = errors.Join(w.Run(n), end.Record(c.g.Stream)); err != nil {
		return 0, err
	}
	if err = end.Synchronize(); err != nil {
		return 0, err
	}
	took, err := cuda.Elapsed(begin, end)
	if _, known := c.once[w]; !known && len(c.once) > 1 {
		clear(c.once)
	}
	c.once[w] = took.Seconds() / float64(n)
	return took.Seconds(), err
}

func (c *eventClock) steady(ctx context.Context, w *Work, n int, d time.Duration) (out []float64, err error) {
	// Three events in turn: one batch runs while the next one is put into the stream.
	var marks [3]*cuda.Event
	for i := range marks {
		if marks[i], err = c.g.Driver.NewEvent(); err != nil {
			return nil, err
		}
		defer func(e *cuda.Event) { err = errors.Join(err, e.Close()) }(marks[i])
	}
	if err = marks[0].Record(c.g.Stream); err != nil {
		return nil, err
	}
	total := 0.0
	put := func(i int) error { return errors.Join(w.Run(n), marks[i%3].Record(c.g.Stream)) }
	if err = put(1); err != nil {
		return nil, err
	}
	for i := 1; ctx.Err() == nil; i++ {
		last := total >= d.Seconds() && len(out) >= fewestSteady
		if !last {
			if err = put(i + 1); err != nil {
				return nil, err
			}
		}
		if err = marks[i%3].Synchronize(); err != nil {
			return nil, err
		}
		took, err := cuda.Elapsed(marks[(i-1)%3], marks[i%3])
		if err != nil {
			return nil, err
		}
		out = append(out, took.Seconds())
		total += took.Seconds()
		if last {
			return out, nil
		}
	}
	return out, errors.Join(ctx.Err(), c.g.Stream.Synchronize())
}
