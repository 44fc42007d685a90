package bench

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/event"
)

// did is one thing that the GPU did: a kernel by its name, or a copy without one.
type did struct {
	name        string
	start, took int64 // ns, after the burst's beginning
}

// every is a kernel again and again, each so long, with a gap of 10 ns after it.
func every(n int, took int64, names ...string) (out []did) {
	for i := range n {
		out = append(out, did{names[i%len(names)], int64(i) * (took + 10), took})
	}
	return out
}

// play tells a SelfTrace of one row's bursts and of what the GPU did in each.
func play(t *testing.T, r *result.Row, ran []Burst, work [][]did) {
	t.Helper()
	const between = 1 << 20 // ns
	s := &SelfTrace{}
	d, b := &event.Definitions{}, &event.Batch{}
	ids := map[string]event.LaunchID{}
	add := func(w did, begin event.Time) {
		start := begin + event.Time(w.start)
		if w.name == "" {
			b.Copies.Start, b.Copies.Duration = append(b.Copies.Start, start), append(b.Copies.Duration, w.took)
			return
		}
		if ids[w.name] == 0 {
			d.Strings = append(d.Strings, w.name)
			d.Launches = append(d.Launches, event.Launch{Name: event.StringID(len(d.Strings))})
			ids[w.name] = event.LaunchID(len(d.Launches))
		}
		k := &b.Kernels
		k.Start, k.Duration, k.Launch = append(k.Start, start), append(k.Duration, w.took), append(k.Launch, ids[w.name])
	}
	for i := range ran {
		if err := s.Begin(r); err != nil {
			t.Fatal(err)
		}
		if err := s.End(r, ran[i]); err != nil {
			t.Fatal(err)
		}
		begin := s.bursts[0].from + event.Time(i)*between
		s.bursts[i].from, s.bursts[i].to = begin, begin+between/2
		for _, w := range work[i] {
			add(w, begin)
		}
		add(did{"between", between / 2, 10}, begin)
	}
	add(did{"before", -10, 5}, s.bursts[0].from)
	if err := s.Define(d); err != nil {
		t.Fatal(err)
	}
	if err := s.Batch(b); err != nil {
		t.Fatal(err)
	}
	s.Compare()
}

func TestSelfTracePairsEachSampleWithItself(t *testing.T) {
	two := Burst{Warm: 1, Runs: 1, Seconds: []float64{1.25e-6, 1.25e-6}}
	for _, c := range []struct {
		name string
		row  result.Row
		ran  []Burst
		work [][]did
		want float64 // ns of a run; 0: not compared
		part float64 // of the time by events
		n    int
	}{
		{name: "a kernel a run", ran: []Burst{two}, work: [][]did{every(3, 1000, "a")}, want: 1000, part: 0.8, n: 2},
		{name: "two runs a sample, with their gap", ran: []Burst{{Warm: 1, Runs: 2, Seconds: []float64{2.01e-6}}}, work: [][]did{every(3, 1000, "a")}, want: 1005, part: 1, n: 1},
		{name: "two kernels a run", ran: []Burst{two}, work: [][]did{every(6, 500, "p", "s")}, want: 1010, part: 0.808, n: 2},
		{name: "held by the engine", ran: []Burst{two}, work: [][]did{every(6, 1000, "latency_spin", "a")}, want: 1000, part: 0.8, n: 2},
		{name: "pieces of copies", ran: []Burst{two}, work: [][]did{every(9, 400, "")}, want: 1220, part: 0.976, n: 2},
		{name: "both ways at once", ran: []Burst{two}, work: [][]did{{{"", 0, 900}, {"", 5, 1000}, {"", 2000, 900}, {"", 2005, 1000}, {"", 4000, 1005}, {"", 4005, 900}}}, want: 1005, part: 0.804, n: 2},
		// The GPU slows down on the way, and the first run, which warms up, is the fastest: each sample is compared with its own time.
		{name: "slower and slower", ran: []Burst{{Warm: 1, Runs: 1, Seconds: []float64{2e-6, 4e-6}}}, work: [][]did{{{"a", 0, 500}, {"a", 1000, 2000}, {"a", 4000, 4000}}},
			want: 3000, part: 1, n: 2},
		{name: "two bursts", ran: []Burst{two, two}, work: [][]did{every(3, 1000, "a"), every(3, 1000, "a")}, want: 1000, part: 0.8, n: 4},
		{name: "a record lost in one of two", ran: []Burst{two, two}, work: [][]did{every(2, 1000, "a"), every(3, 1000, "a")}, want: 1000, part: 0.8, n: 2},
		{name: "links of a chase", row: result.Row{Steps: 4}, ran: []Burst{two}, work: [][]did{every(3, 1000, "c")}, want: 250, part: 0.8, n: 2},
		{name: "one missing", ran: []Burst{two}, work: [][]did{every(5, 500, "p", "s")}},
		{name: "nothing seen", ran: []Burst{two}, work: [][]did{nil}},
		{name: "timed by the host", ran: []Burst{{}}, work: [][]did{every(3, 1000, "a")}},
		{name: "launching", row: result.Row{Suite: "latency"}, ran: []Burst{two}, work: [][]did{every(3, 1000, "a")}},
	} {
		r := c.row
		play(t, &r, c.ran, c.work)
		switch {
		case c.want == 0:
			if r.Traced != nil || r.TracedPart != nil {
				t.Errorf("%s: %+v, want nothing", c.name, *r.Traced)
			}
		case r.Traced == nil || r.TracedPart == nil:
			t.Errorf("%s: nothing, want %g ns", c.name, c.want)
		case math.Abs(r.Traced.Median*1e9-c.want) > 1e-6 || r.Traced.N != c.n || math.Abs(r.TracedPart.Median-c.part) > 1e-9 || r.TracedPart.N != c.n:
			t.Errorf("%s: %+v, %+v, want %d of %g ns, %g of the events'", c.name, *r.Traced, *r.TracedPart, c.n, c.want, c.part)
		}
	}
}
