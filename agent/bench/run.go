package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/agent/event"
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
	var all []*result.Conditions
	for _, t := range b.timed {
		onGPU := t.into.ClockAfter
		*t.into = m.between(t.from, t.to)
		t.into.Busy, t.into.ClockAfter = found.busy(), onGPU
		all = append(all, t.into)
	}
	result.Lowered(all)
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
	pace    func() (mhz float64, err error) // measures the clock that the GPU runs at now; nil: nobody does
	rest    func(d time.Duration)           // lets the GPU cool down; nil: it need not
	alive   func() error                    // says what broke the GPU's context; nil: nothing can
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
	compiled, err := b.gpu.images()
	if err != nil {
		return err
	}
	if compiled != "" {
		b.result.Notes = append(b.result.Notes, compiled)
	}
	events, err := newEventClock(b.gpu)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.close()) }()
	b.clock, b.rest, b.alive = events, time.Sleep, b.gpu.Driver.Synchronize
	pace, noPace := newPace(b.gpu)
	if noPace != nil { // on a GPU for which there are no kernels; the rows will say so
		b.result.Notes = append(b.result.Notes, "no clocks measured on the GPU itself: "+noPace.Error())
	} else {
		b.pace = pace.mhz
		defer func() { err = errors.Join(err, pace.close()) }()
	}
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
	case errors.Is(err, errUnsupported), errors.Is(err, errLittleMemory), errors.Is(err, cuda.ErrUnsupported):
		r.Skipped = err.Error()
	case errors.Is(err, cuda.ErrOutOfMemory):
		r.Skipped = fmt.Sprintf("%v: %v", errLittleMemory, err)
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
			return fmt.Errorf("%w: it needs %d MiB, %d are free", errLittleMemory, c.Needs>>20, free>>20)
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

// Rows that compute reach the power cap within a burst. They rest before each one, so that it begins with the clock at its highest, and
// after the last, until NVML, whose readings are up to a tenth of a second old, has told of it.
const (
	bursts    = 2
	coolTime  = 300 * time.Millisecond
	staleTime = 120 * time.Millisecond
)

// burst times a row.
func (b *bench) burst(w *Work, at int) error {
	r := &b.result.Rows[at]
	hot := r.Operations > 0
	var times []float64
	var begin event.Time
	for i := range bursts {
		if hot {
			b.pause(coolTime)
		}
		if i == 0 {
			begin = monotonic()
		}
		more, err := b.times(w, r)
		if err != nil {
			return err
		}
		if times = append(times, more...); w.Time != nil { // the host's clock took enough
			break
		}
	}
	if w.Time == nil {
		if err := b.clockAfter(&r.Conditions); err != nil {
			return err
		}
	}
	if hot {
		b.pause(staleTime)
	}
	b.timed = append(b.timed, span{&r.Conditions, begin, monotonic()})
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

func (b *bench) pause(d time.Duration) {
	if b.rest != nil {
		b.rest(d)
	}
}

// clockAfter measures the clock that what just ran has left behind.
func (b *bench) clockAfter(c *result.Conditions) error {
	if b.pace == nil {
		return nil
	}
	mhz, err := b.pace()
	if err != nil {
		return fmt.Errorf("measure the clock: %w", err)
	}
	c.ClockAfter = int32(math.Round(mhz))
	return nil
}

// times are those of one burst, one for each sample.
func (b *bench) times(w *Work, r *result.Row) (times []float64, err error) {
	var ran Burst
	p := usualPlan
	if b.config.Watcher != nil {
		p = watchedPlan
		if err := b.config.Watcher.Begin(r); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.config.Watcher.End(r, ran)) }()
	}
	if w.Time != nil {
		return w.Time()
	}
	ran, err = burst(b.clock, w, p)
	return ran.each(), err
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
	b.pause(coolTime)
	begin := monotonic()
	if b.config.Sustain > 2*staleTime { // what NVML says at first is of the row before
		begin += event.Time(staleTime)
	}
	times, err := b.clock.steady(ctx, w, n, b.config.Sustain)
	if err != nil {
		return err
	}
	s := &result.Sustained{}
	b.timed = append(b.timed, span{&s.Conditions, begin, monotonic()})
	if err := b.clockAfter(&s.Conditions); err != nil {
		return err
	}
	for i, t := range times {
		s.Seconds += t
		times[i] = t / float64(n)
	}
	s.Times = result.TimesOf(perStep(times, r.Steps))
	r.Sustained = s
	return nil
}
