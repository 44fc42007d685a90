package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
)

// fakeClock gives each work a fixed pace.
type fakeClock struct {
	pace    map[*Work]float64 // seconds of a run
	usual   float64
	batches []int // sizes that were asked for
	steadys []int
	order   []*Work
	err     error
}

func (c *fakeClock) of(w *Work) float64 {
	if p, ok := c.pace[w]; ok {
		return p
	}
	return c.usual
}

func (c *fakeClock) batch(w *Work, n int) (float64, error) {
	c.batches, c.order = append(c.batches, n), append(c.order, w)
	return c.of(w) * float64(n), c.err
}

func (c *fakeClock) steady(_ context.Context, w *Work, n int, d time.Duration) ([]float64, error) {
	c.steadys = append(c.steadys, n)
	each := c.of(w) * float64(n)
	out := []float64{}
	for total := 0.0; total < d.Seconds(); total += each {
		out = append(out, each)
	}
	return out, c.err
}

func right(func(int) error) (result.Verification, error) {
	return result.Verification{Method: "fake"}, nil
}

// fake is a case that passes.
func fake(what string) Case {
	return Case{
		Row:     result.Row{Suite: "fake", What: what, Operations: 1e6, Bytes: 1e3},
		Prepare: func(*GPU) (*Work, error) { return &Work{Run: func(int) error { return nil }, Verify: right}, nil },
	}
}

func newFake(c *fakeClock) *bench {
	return &bench{clock: c, config: Config{Now: time.Now}, result: &result.Result{}}
}

func TestBurstsAreSamplesOfAMillisecondForFiftyTogether(t *testing.T) {
	for _, c := range []struct {
		once    float64
		samples int
		runs    int
		warm    []int
	}{
		{1e-6, 20, 500, []int{1, 32}}, // half a millisecond: no more launches fit into a stream
		{20e-6, 20, 50, []int{1, 32}},
		{0.3e-3, 20, 4, []int{1}},
		{5e-3, 10, 1, []int{1}},
		{200e-3, 5, 1, []int{1}},
	} {
		clock := &fakeClock{usual: c.once}
		ran, err := burst(clock, &Work{}, usualPlan)
		got, warm := ran.each(), 0
		for _, n := range c.warm {
			warm += n
		}
		if err != nil || len(got) != c.samples || ran.Runs != c.runs || ran.Warm != warm {
			t.Errorf("%g: %d samples of %d runs after %d, %v, want %d of %d after %d", c.once, len(got), ran.Runs, ran.Warm, err, c.samples, c.runs, warm)
		}
		if !slices.Equal(clock.batches[:len(c.warm)], c.warm) || clock.batches[len(c.warm)] != c.runs {
			t.Errorf("%g: batches of %v", c.once, clock.batches)
		}
		for _, v := range got {
			if math.Abs(v-c.once) > 1e-12 {
				t.Errorf("%g: a run takes %g", c.once, v)
			}
		}
	}
	cold := &fakeClock{usual: 1e-6}
	if _, err := burst(cold, &Work{Before: func() error { return nil }}, watchedPlan); err != nil || slices.Max(cold.batches) != 1 {
		t.Errorf("with a cold cache each sample is one run: %v", cold.batches)
	}
}

func TestNothingWrongIsTimed(t *testing.T) {
	verified := func(v result.Verification, err error) Case {
		c := fake("x")
		c.Prepare = func(*GPU) (*Work, error) {
			return &Work{Verify: func(func(int) error) (result.Verification, error) { return v, err }}, nil
		}
		return c
	}
	failing := fake("x")
	failing.Prepare = func(*GPU) (*Work, error) { return nil, errors.New("no tensor map") }
	absent := fake("x")
	absent.Prepare = func(*GPU) (*Work, error) { return nil, unsupported("it is too old") }
	small := fake("x")
	small.Prepare = func(*GPU) (*Work, error) { return nil, cuda.ErrOutOfMemory }
	for name, c := range map[string]struct {
		of               Case
		failure, skipped string
	}{
		"too far":      {verified(result.Verification{Method: "m", Error: 0.5, Allowed: 0.1}, nil), "wrong result, not timed: relative error 0.5", ""},
		"NaN":          {verified(result.Verification{Method: "m", Error: result.Distance(math.NaN()), Allowed: 1}, nil), "wrong result, not timed", ""},
		"not compared": {verified(result.Verification{}, nil), "not verified", ""},
		"a crash":      {verified(result.Verification{}, errors.New("illegal address")), "illegal address", ""},
		"no launch":    {failing, "no tensor map", ""},
		"an old GPU":   {absent, "", "it is too old"},
		"too little":   {small, "", "too little free memory"},
	} {
		clock := &fakeClock{usual: 1e-3}
		b := newFake(clock)
		if err := b.measure(context.Background(), []Case{c.of, fake("next")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r, next := b.result.Rows[0], b.result.Rows[1]
		if !strings.Contains(r.Failure, c.failure) || !strings.Contains(r.Skipped, c.skipped) || (r.Failure == "") != (c.failure == "") || (r.Skipped == "") != (c.skipped == "") {
			t.Errorf("%s: failure %q, skipped %q", name, r.Failure, r.Skipped)
		}
		if r.Times.N != 0 || next.Times.N == 0 || next.Failure != "" {
			t.Errorf("%s: timed %+v, the next one %+v", name, r.Times, next)
		}
	}
}

func TestAtMostTwelveRowsAreSustainedAndAfterAllBursts(t *testing.T) {
	var cases []Case
	for range 15 {
		c := fake("x")
		c.Sustain = true
		cases = append(cases, c)
	}
	cases[3].Prepare = func(*GPU) (*Work, error) { return nil, errors.New("broken") }
	clock := &fakeClock{usual: 2e-3}
	b := newFake(clock)
	b.config.Sustain = 2 * time.Second
	last := Progress{}
	b.config.Progress = func(p Progress) {
		if p.Done < last.Done || p.Of != 15+12 {
			t.Errorf("after %d of %d comes %d of %d", last.Done, last.Of, p.Done, p.Of)
		}
		last = p
	}
	if err := b.measure(context.Background(), cases); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, r := range b.result.Rows {
		if s := r.Sustained; s != nil {
			n++
			if s.Seconds < 2 || math.Abs(s.Times.Median-2e-3) > 1e-9 {
				t.Errorf("row %d: %+v", i, s)
			}
		}
	}
	if n != 11 || !slices.Equal(slices.Compact(clock.steadys), []int{25}) || len(b.timed) != 14+11 {
		t.Errorf("%d rows were sustained, in batches of %v, %d spans", n, clock.steadys, len(b.timed))
	}
}

func TestTimesAreOfOneStep(t *testing.T) {
	chain := fake("chain")
	chain.Row.Steps = 4
	host := fake("host")
	host.Row.Steps = 10
	host.Prepare = func(*GPU) (*Work, error) {
		return &Work{Verify: right, Time: func() ([]float64, error) { return []float64{10, 20, 30}, nil }, After: func(r *result.Row) error {
			r.Notes = append(r.Notes, "done")
			return nil
		}}, nil
	}
	b := newFake(&fakeClock{usual: 8e-3})
	if err := b.measure(context.Background(), []Case{chain, host}); err != nil {
		t.Fatal(err)
	}
	if got := b.result.Rows[0].Times.Median; math.Abs(got-2e-3) > 1e-9 {
		t.Errorf("a step takes %g", got)
	}
	if r := b.result.Rows[1]; r.Times.Median != 2 || r.Times.N != 3 || len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
}

// fakePartner takes twice as long, or is wrong, or knows nothing.
type fakePartner struct {
	err      error
	wrong    bool
	first    bool // it would choose another way
	released int
}

func (p *fakePartner) Name() string { return "fakeBLAS" }

func (p *fakePartner) Prepare(_ *GPU, _ any) (Prepared, error) {
	if p.err != nil {
		return Prepared{}, p.err
	}
	run := func(int) error { return nil }
	if p.wrong {
		run = func(int) error { return errors.New("it computes something else") }
	}
	made := Prepared{Run: run, Release: func() error { p.released++; return nil }}
	if p.first {
		made.First = func(int) error { return nil }
	}
	return made, nil
}

func TestALibraryIsTimedInTurns(t *testing.T) {
	var ours *Work
	c := fake("product")
	c.Prepare = func(*GPU) (*Work, error) {
		ours = &Work{Problem: 1, Run: func(int) error { return nil }, Verify: func(run func(int) error) (result.Verification, error) {
			return result.Verification{Method: "m"}, run(1)
		}}
		return ours, nil
	}
	for name, p := range map[string]struct {
		partner fakePartner
		failure string
	}{
		"well":   {fakePartner{}, ""},
		"choosy": {fakePartner{first: true}, ""},
		"wrong":  {fakePartner{wrong: true}, "it computes something else"},
		"absent": {fakePartner{err: errors.New("no such library")}, "no such library"},
	} {
		clock := &fakeClock{usual: 2e-3, pace: map[*Work]float64{}}
		b := newFake(clock)
		b.config.Partners = []Partner{&fakePartner{err: ErrNoPartner}, &p.partner}
		if err := b.measure(context.Background(), []Case{c}); err != nil {
			t.Fatal(err)
		}
		ref := b.result.Rows[0].Reference
		if ref == nil || !strings.Contains(ref.Failure, p.failure) || (ref.Failure == "") != (p.failure == "") {
			t.Fatalf("%s: %+v", name, ref)
		}
		if p.failure != "" {
			continue
		}
		const rounds, firstRounds = 16, 9 // 0.4 and 0.2 s of four turns of 6 ms, but 9 at least
		if (ref.First != nil) != p.partner.first || ref.First != nil && ref.First.N != 2*firstRounds {
			t.Errorf("%s: the library's own choice: %+v", name, ref.First)
		}
		last := len(clock.order)
		if p.partner.first {
			last -= 4*firstRounds + 1
		}
		turns := clock.order[last-4*rounds : last]
		for i, who := range turns {
			if mine := i%4 == 0 || i%4 == 3; (who == ours) != mine {
				t.Fatalf("turn %d is not in the order A B B A", i)
			}
		}
		if ref.Ratio.N != 2*rounds || ref.Ratio.Median != 1 || p.partner.released != 1 {
			t.Errorf("%+v, released %d times", ref, p.partner.released)
		}
	}
}

func TestAWatcherSeesTheTimedPartAlone(t *testing.T) {
	w := &fakeWatcher{}
	b := newFake(&fakeClock{usual: 1e-3})
	b.config.Watcher = w
	if err := b.measure(context.Background(), []Case{fake("a"), fake("b")}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.seen, " "); got != "begin a end a begin a end a begin b end b begin b end b" {
		t.Error(got)
	}
	// Of each burst it learns what ran: here 5 runs of a millisecond a sample.
	if ran := w.ran[0]; ran.Warm != 1 || ran.Runs != 5 || len(ran.Seconds) != 20 || ran.Seconds[0] != 5e-3 {
		t.Errorf("%+v", ran)
	}
	w.err = errors.New("no CUPTI")
	b = newFake(&fakeClock{usual: 1e-3})
	b.config.Watcher = w
	if err := b.measure(context.Background(), []Case{fake("a")}); err != nil || !strings.Contains(b.result.Rows[0].Failure, "no CUPTI") {
		t.Errorf("%v, %+v", err, b.result.Rows[0])
	}
}

type fakeWatcher struct {
	seen []string
	ran  []Burst
	err  error
}

func (w *fakeWatcher) Begin(r *result.Row) error {
	w.seen = append(w.seen, "begin", r.What)
	return w.err
}

func (w *fakeWatcher) End(r *result.Row, ran Burst) error {
	w.seen, w.ran = append(w.seen, "end", r.What), append(w.ran, ran)
	return nil
}

func TestWhatComputesRestsAroundItsBursts(t *testing.T) {
	clock := &fakeClock{usual: 2e-3}
	b := newFake(clock)
	var rests []time.Duration
	at := []int{} // how many batches there had been
	b.rest = func(d time.Duration) { rests, at = append(rests, d), append(at, len(clock.batches)) }
	mhz := 1755.4
	b.pace = func() (float64, error) { return mhz, nil }
	moves := fake("copy")
	moves.Row.Operations = 0
	if err := b.measure(context.Background(), []Case{fake("product"), moves}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rests, []time.Duration{coolTime, coolTime, staleTime}) || !slices.Equal(at, []int{0, 21, 42}) {
		t.Errorf("rests of %v after %v batches", rests, at)
	}
	for _, r := range b.result.Rows {
		if r.Times.N != 2*20 || r.Conditions.ClockAfter != 1755 {
			t.Errorf("%s: %+v, %+v", r.What, r.Times, r.Conditions)
		}
	}
	b.pace = func() (float64, error) { return 0, errors.New("no answer") }
	if err := b.measure(context.Background(), []Case{moves}); err != nil || !strings.Contains(b.result.Rows[0].Failure, "no answer") {
		t.Errorf("%v, %+v", err, b.result.Rows[0])
	}
}

func TestAnInterruptLeavesTheRowsSoFar(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	second := fake("second")
	inner := second.Prepare
	second.Prepare = func(g *GPU) (*Work, error) {
		cancel()
		return inner(g)
	}
	b := newFake(&fakeClock{usual: 1e-3})
	err := b.measure(ctx, []Case{fake("first"), second, fake("third")})
	if err == nil || !strings.Contains(err.Error(), "interrupted after 2 of 3") || len(b.result.Rows) != 2 || b.result.Rows[0].Times.N == 0 {
		t.Errorf("%v, %d rows", err, len(b.result.Rows))
	}
}

func TestABrokenContextEndsTheRun(t *testing.T) {
	broken := error(nil)
	second := fake("second")
	second.Prepare = func(*GPU) (*Work, error) {
		broken = errors.New("an illegal address was accessed")
		return nil, errors.New("launch second: it failed")
	}
	b := newFake(&fakeClock{usual: 1e-3})
	b.alive = func() error { return broken }
	err := b.measure(context.Background(), []Case{fake("first"), second, fake("third")})
	if !errors.Is(err, broken) || len(b.result.Rows) != 3 {
		t.Fatalf("%v, %d rows", err, len(b.result.Rows))
	}
	rows := b.result.Rows
	if rows[0].Failure != "" || !strings.Contains(rows[1].Failure, "it failed; an illegal address") || !strings.Contains(rows[2].Skipped, "broke at second") {
		t.Errorf("%+v", rows)
	}
}
