package bench

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/event"
)

// play tells a SelfTrace of one row and of what the GPU did meanwhile: kernels by name, each `took` ns, all in a stream unless
// streams says otherwise.
func play(t *testing.T, r *result.Row, names []string, took int64, streams ...uint32) {
	t.Helper()
	s := &SelfTrace{}
	if err := s.Begin(r); err != nil {
		t.Fatal(err)
	}
	begin := s.rows[0].from
	d := &event.Definitions{}
	ids := map[string]event.LaunchID{}
	b := &event.Batch{}
	add := func(name string, start event.Time, stream uint32) {
		if ids[name] == 0 {
			d.Strings = append(d.Strings, name)
			d.Launches = append(d.Launches, event.Launch{Name: event.StringID(len(d.Strings))})
			ids[name] = event.LaunchID(len(d.Launches))
		}
		k := &b.Kernels
		k.Start, k.Duration, k.Launch = append(k.Start, start), append(k.Duration, took), append(k.Launch, ids[name])
		k.Stream = append(k.Stream, stream)
	}
	add("before", begin-10, 7)
	for i, n := range names {
		add(n, begin+event.Time(i), append(streams, make([]uint32, len(names))...)[i])
	}
	s.rows[0].to = begin + event.Time(len(names))
	add("after", s.rows[0].to+10, 7)
	if err := s.Define(d); err != nil {
		t.Fatal(err)
	}
	if err := s.Batch(b); err != nil {
		t.Fatal(err)
	}
	s.Compare()
}

func TestSelfTraceTellsRunsApart(t *testing.T) {
	for _, c := range []struct {
		name    string
		row     result.Row
		names   []string
		streams []uint32
		want    float64 // ns of a run; 0: not compared
		runs    int
	}{
		{name: "a kernel a run", names: []string{"a", "a", "a"}, want: 1000, runs: 3},
		{name: "held by the engine", names: []string{"a", "latency_spin", "a", "a"}, want: 1000, runs: 3},
		{name: "the first again inside a run", names: []string{"p", "s", "p", "p", "s", "p"}, want: 3000, runs: 2},
		{name: "links of a chase", row: result.Row{Steps: 4}, names: []string{"c", "c"}, want: 250, runs: 2},
		{name: "one missing", names: []string{"p", "s", "p", "p", "p"}},
		{name: "once only", names: []string{"a"}},
		{name: "nothing", names: nil},
		{name: "two streams", names: []string{"a", "a"}, streams: []uint32{1, 2}},
		{name: "launching", row: result.Row{Suite: "latency"}, names: []string{"a", "a"}},
	} {
		r := c.row
		r.Times = result.Times{Median: 1e-6}
		play(t, &r, c.names, 1000, c.streams...)
		switch {
		case c.want == 0:
			if r.Traced != nil {
				t.Errorf("%s: %+v, want nothing", c.name, *r.Traced)
			}
		case r.Traced == nil:
			t.Errorf("%s: nothing, want %g ns", c.name, c.want)
		case math.Abs(r.Traced.Median*1e9-c.want) > 1e-6 || r.Traced.N != c.runs:
			t.Errorf("%s: %+v, want %d runs of %g ns", c.name, *r.Traced, c.runs, c.want)
		}
	}
	pieces := make([]deviceWork, 8)
	for i := range pieces {
		pieces[i] = deviceWork{bytes: 100, kind: event.KindCopy}
	}
	if p := period(pieces, 200); p != 2 {
		t.Errorf("runs of 200 bytes in pieces of 100: %d pieces each", p)
	}
	if p := period(pieces, 150); p != 0 {
		t.Errorf("runs of 150 bytes in pieces of 100: %d pieces each", p)
	}
	r := result.Row{} // failed before it was timed
	play(t, &r, []string{"a", "a"}, 1000)
	if r.Traced != nil {
		t.Errorf("a row without times: %+v", *r.Traced)
	}
}
