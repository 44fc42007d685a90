package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
)

// Config says what Run does.
type Config struct {
	Driver  *cuda.Driver
	Device  cuda.Device
	Suites  []Suite
	Options Options
	// Sustain is how long the rows that are also measured without a pause run for; 0: none is.
	Sustain  time.Duration
	Known    ceilings.GPU // what was saved, and the datasheet
	Partners []Partner    // libraries to measure beside
	Watcher  Watcher      // nil: nobody watches
	Progress func(Progress)
	Seed     uint64 // of the inputs
	Now      func() time.Time
}

// Progress is where a run is.
type Progress struct {
	Done, Of int
	Row      *result.Row // that comes next
}

// mostSustained is how many rows are measured without a pause.
const mostSustained = 12

// Run measures. A row that fails says so in itself; the error is of what keeps all of them from being measured. Where ctx ends
// first, the rows so far are returned with its error.
func Run(ctx context.Context, c Config) (*result.Result, error) {
	began := c.Now()
	uuid, err := c.Device.UUID()
	if err != nil {
		return nil, err
	}
	r := &result.Result{Version: result.Schema, Taken: began.UTC().Truncate(time.Second), Datasheet: c.Known.Datasheet}
	var m *meter
	var found start
	if !c.Driver.Simulated() {
		if m, found, err = startMeter(uuid.String()); err != nil {
			r.Notes = append(r.Notes, "no clocks, power or throttling: "+err.Error())
		}
	}
	b := &bench{config: c, result: r}
	held, err := c.Device.PrimaryContext()
	if err == nil {
		err = held.Do(func() error { return b.withGPU(ctx, held) })
		err = errors.Join(err, held.Close())
	}
	if closeErr := m.close(); closeErr != nil {
		r.Notes = append(r.Notes, closeErr.Error())
	}
	for _, t := range b.timed {
		*t.conditions(r) = m.between(t.from, t.to)
		t.conditions(r).Busy = found.busy()
	}
	r.GPU.Driver, r.Others = found.driver, found.others
	r.Judge(c.Known.Measured)
	r.Took = c.Now().Sub(began).Seconds()
	return r, err
}

// bench is a run under way.
type bench struct {
	config  Config
	result  *result.Result
	gpu     *GPU
	clock   clock
	alive   func() error // says what broke the GPU's context; nil: nothing can
	timed   []span
	done, n int
}

// withGPU measures with the context current.
func (b *bench) withGPU(ctx context.Context, held *cuda.Context) (err error) {
	b.gpu, err = open(b.config.Driver, b.config.Device, held, b.config.Seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.gpu.close()) }()
	b.result.GPU = b.gpu.Info
	events, err := newEventClock(b.gpu)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.close()) }()
	b.clock, b.alive = events, b.gpu.Driver.Synchronize
	var cases []Case
	for _, s := range b.config.Suites {
		of, err := s.Cases(b.gpu, b.config.Options)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		cases = append(cases, of...)
	}
	return b.measure(ctx, cases)
}

// measure makes all bursts first, while the GPU is cool, then what is sustained.
func (b *bench) measure(ctx context.Context, cases []Case) error {
	var sustained []int
	for i := range cases {
		if cases[i].Sustain && b.config.Sustain > 0 && len(sustained) < mostSustained {
			sustained = append(sustained, i)
		}
	}
	b.n = len(cases) + len(sustained)
	b.result.Rows = make([]result.Row, len(cases))
	for i := range cases {
		b.result.Rows[i] = cases[i].Row
	}
	for i := range cases {
		if err := b.one(ctx, &cases[i], i, false); err != nil {
			if b.result.Rows[i].Failure == "" { // interrupted
				b.result.Rows = b.result.Rows[:i]
			}
			return err
		}
	}
	for _, i := range sustained {
		if r := &b.result.Rows[i]; r.Failure != "" || r.Skipped != "" {
			b.done++
			continue
		}
		if err := b.one(ctx, &cases[i], i, true); err != nil {
			return err
		}
	}
	return nil
}

// one makes one row, or its sustained part. The error is one after which no other row can be measured.
func (b *bench) one(ctx context.Context, c *Case, at int, sustain bool) error {
	r := &b.result.Rows[at]
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("interrupted after %d of %d measurements", b.done, b.n)
	}
	if b.config.Progress != nil {
		b.config.Progress(Progress{Done: b.done, Of: b.n, Row: r})
	}
	b.done++
	began := b.config.Now()
	defer func() { r.Took += b.config.Now().Sub(began).Seconds() }()
	err := b.prepared(c, r, func(w *Work) error {
		if sustain {
			return b.sustain(ctx, w, at)
		}
		return b.burst(w, at)
	})
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted after %d of %d measurements", b.done, b.n)
	case errors.Is(err, errUnsupported), errors.Is(err, cuda.ErrUnsupported):
		r.Skipped = err.Error()
	case errors.Is(err, cuda.ErrOutOfMemory):
		r.Skipped = "too little free memory: " + err.Error()
	default:
		r.Failure = err.Error()
	}
	if b.alive == nil {
		return nil
	}
	// What a kernel broke does not heal: every later call fails with the same error.
	dead := b.alive()
	if dead == nil {
		return nil
	}
	r.Failure = dead.Error()
	if err != nil && !errors.Is(err, dead) {
		r.Failure = err.Error() + "; " + r.Failure
	}
	if !sustain {
		for i := at + 1; i < len(b.result.Rows); i++ {
			b.result.Rows[i].Skipped = fmt.Sprintf("not run: the GPU's context broke at %s %s", r.What, r.Shape)
		}
	}
	return fmt.Errorf("%s %s: %w", r.What, r.Shape, dead)
}

// prepared makes a case ready, verifies it and hands it on.
func (b *bench) prepared(c *Case, r *result.Row, use func(w *Work) error) (err error) {
	if b.gpu != nil {
		if free := b.gpu.Free(); c.Needs > free {
			return unsupported("it needs %d MiB of free memory, there are %d", c.Needs>>20, free>>20)
		}
		defer func() { err = errors.Join(err, b.gpu.release()) }()
	}
	w, err := c.Prepare(b.gpu)
	if err != nil {
		return err
	}
	if r.Verified, err = w.Verify(w.Run); err != nil {
		return err
	}
	if err := r.Verified.Err(); err != nil {
		return fmt.Errorf("wrong result, not timed: %w", err)
	}
	return use(w)
}

// burst times a row.
func (b *bench) burst(w *Work, at int) error {
	r := &b.result.Rows[at]
	begin := monotonic()
	times, err := b.times(w, r)
	if err != nil {
		return err
	}
	b.timed = append(b.timed, span{at, false, begin, monotonic()})
	r.Times = result.TimesOf(perStep(times, r.Steps))
	for _, p := range b.config.Partners {
		if w.Problem == nil || r.Reference != nil {
			break
		}
		if err := b.compare(w, r, p); err != nil {
			return err
		}
	}
	if w.After != nil {
		return w.After(r)
	}
	return nil
}

func (b *bench) times(w *Work, r *result.Row) (times []float64, err error) {
	if b.config.Watcher != nil {
		if err := b.config.Watcher.Begin(r); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.config.Watcher.End(r)) }()
	}
	if w.Time != nil {
		return w.Time()
	}
	return burst(b.clock, w)
}

func perStep(seconds []float64, steps int) []float64 {
	if steps > 1 {
		for i := range seconds {
			seconds[i] /= float64(steps)
		}
	}
	return seconds
}

// sustain runs a row without a pause.
func (b *bench) sustain(ctx context.Context, w *Work, at int) error {
	r := &b.result.Rows[at]
	n := runsFor(r.Times.Median*float64(max(r.Steps, 1)), steadyBatch)
	begin := monotonic()
	times, err := b.clock.steady(ctx, w, n, b.config.Sustain)
	if err != nil {
		return err
	}
	b.timed = append(b.timed, span{at, true, begin, monotonic()})
	s := &result.Sustained{}
	for i, t := range times {
		s.Seconds += t
		times[i] = t / float64(n)
	}
	s.Times = result.TimesOf(perStep(times, r.Steps))
	r.Sustained = s
	return nil
}

// rounds are those of a comparison: ours, theirs, theirs, ours.
const rounds = 9

// compare times a library in turns with ours, on the same buffers.
func (b *bench) compare(w *Work, r *result.Row, p Partner) error {
	run, release, err := p.Prepare(b.gpu, w.Problem)
	if errors.Is(err, ErrNoPartner) {
		return nil
	}
	ref := &result.Reference{Library: p.Name()}
	r.Reference = ref
	if err != nil {
		ref.Failure = err.Error()
		return nil
	}
	fail := func(err error) error {
		ref.Failure = err.Error()
		return release()
	}
	if ref.Verified, err = w.Verify(run); err == nil {
		err = ref.Verified.Err()
	}
	if err != nil {
		return fail(fmt.Errorf("wrong result: %w", err))
	}
	theirs := &Work{Run: run, Before: w.Before}
	n := runsFor(r.Times.Median*float64(max(r.Steps, 1)), sampleTime)
	if _, err := b.clock.batch(theirs, n); err != nil { // warms up, and says how long it takes
		return fail(err)
	}
	var a, z []float64
	for range rounds {
		for _, who := range []*Work{w, theirs, theirs, w} {
			t, err := b.clock.batch(who, n)
			if err != nil {
				return fail(err)
			}
			if who == w {
				a = append(a, t/float64(n))
			} else {
				z = append(z, t/float64(n))
			}
		}
	}
	ref.Ours, ref.Theirs, ref.Ratio = result.TimesOf(a), result.TimesOf(z), result.RatioOf(a, z)
	// What the library left in the buffers must not pass for ours.
	return release()
}
