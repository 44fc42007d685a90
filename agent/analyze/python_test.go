package analyze

import (
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// value is a value of a stack's sample, as the module makes it.
func value(waitedUS, usedUS uint64) uint64 { return usedUS<<32 | waitedUS }

const (
	loopStack = "/job/my data/train.py:12 step\n/usr/lib/python3.11/runpy.py:88 _run_code\n/job/train.py:30 <module>"
	deepStack = "/opt/site-packages/torch/nn/modules/linear.py:114 forward\n/job/my data/train.py:12 step"
	hogStack  = "/job/train.py:50 <listcomp>\n/job/train.py:49 hog"
)

// idle plays a program of 40 steps and returns why its GPU is idle.
func idleOf(t *testing.T, play func(p *scene.Program, th *scene.Thread)) IdleRow {
	t.Helper()
	p := scene.New()
	play(p, p.Thread())
	a := New(Config{Parts: PartsOfSteps})
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	in := a.Inspect()
	exact(t, in)
	return in.Idle.Rows[0]
}

func forty(th *scene.Thread, host func(i int)) {
	for i := range 40 {
		for range 20 {
			th.Launch("gemm", 50_000)
		}
		th.Launch("embedding_kernel", 5_000)
		th.Sync()
		host(i)
	}
}

func TestPythonWhileIdle(t *testing.T) {
	r := idleOf(t, func(_ *scene.Program, th *scene.Thread) {
		forty(th, func(i int) {
			th.Host(4_000_000)
			th.Moment("warpscope.stack", loopStack, value(10, 9000))
			if i%2 == 0 {
				th.Moment("warpscope.stack", deepStack, value(10, 0))
			}
			th.Host(4_000_000)
		})
	})
	host := r.Cause("python")
	if host.Python == nil || host.Python.Samples < 35 || host.Python.GILSamples != 0 {
		t.Fatalf("host code: %+v", host.Python)
	}
	s := host.Python.Stacks[0]
	if len(host.Python.Stacks) != 1 || s.Samples != host.Python.Samples || s.Line() != (Line{"step", "/job/my data/train.py", 12}) {
		t.Errorf("stacks %+v", host.Python.Stacks)
	}
	if g := r.Longest[0].Python; g == nil || g.Line().Line != 12 {
		t.Errorf("the longest gap: %+v", r.Longest[0])
	}
	if r.GIL == nil || r.GIL.HeldByOthers != 0 || r.GIL.MeanNS != 10_000 {
		t.Errorf("GIL %+v", r.GIL)
	}
}

// TestPythonCauses plays waits of which only the Python module knows.
func TestPythonCauses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		play       func(p *scene.Program, th *scene.Thread)
	}{
		{"a wait for input", "input", func(_ *scene.Program, th *scene.Thread) {
			forty(th, func(int) { end := th.Python("warpscope", "input", 0); th.Host(9_000_000); end() })
		}},
		{"another thread's wait for input", "host", func(p *scene.Program, th *scene.Thread) {
			other := p.Thread()
			forty(th, func(int) {
				other.Until(th.Now)
				end := other.Python("warpscope", "input", 0)
				other.Host(9_000_000)
				end()
				th.Host(9_000_000)
			})
		}},
		{"a pause of the collector in another thread", "gc", func(p *scene.Program, th *scene.Thread) {
			other := p.Thread()
			forty(th, func(int) {
				other.Until(th.Now)
				end := other.Python("warpscope", "gc", 2)
				other.Host(9_000_000)
				end()
				th.Host(9_000_000)
			})
		}},
		{"another thread keeps the GIL", "gil", func(p *scene.Program, th *scene.Thread) {
			other := p.Thread()
			forty(th, func(int) {
				th.Host(5_000_000)
				other.Until(th.Now)
				th.Moment("warpscope.stack", loopStack, value(5000, 500))
				other.Moment("warpscope.stack", hogStack, value(5000, 9000))
				th.Host(5_000_000)
			})
		}},
		{"a thread that keeps the GIL from the one that launches, which computes itself", "python", func(p *scene.Program, th *scene.Thread) {
			other := p.Thread()
			forty(th, func(int) {
				th.Host(5_000_000)
				other.Until(th.Now)
				th.Moment("warpscope.stack", loopStack, value(5000, 9500))
				other.Moment("warpscope.stack", hogStack, value(5000, 9500))
				th.Host(5_000_000)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := idleOf(t, c.play)
			if got := r.Causes[0]; got.ID != c.want || float64(got.TotalNS) < 0.8*float64(r.IdleNS) {
				t.Errorf("idle because of %+v, want %s", r.Causes, c.want)
			}
			if p := r.Cause("gil").Python; c.want == "gil" && (p == nil || len(p.Holders) != 1 || p.Holders[0].Line().Line != 50 || p.GILSamples < p.Samples-1) {
				t.Errorf("holders %+v", p)
			}
		})
	}
}

// TestSampledStepsAreNotMeasured: they are slower than the others for the recording's sake.
func TestSampledStepsAreNotMeasured(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	forty(th, func(i int) {
		switch i {
		case 19:
			th.Moment("warpscope.operators", "sampled", 3_000_000)
			th.Host(3_000_000)
		case 20:
			th.Moment("warpscope.operators", "published", 1_500_000)
			th.Moment("warpscope.operators", "cost", 60_000_000_000)
		}
	})
	a := New(Config{Parts: PartsOfSteps})
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	in := a.Inspect()
	exact(t, in)
	phases := map[string]int{}
	for _, p := range in.Steps.Rows[0].Phases {
		phases[p.Phase] = p.Count
	}
	if n := phases[PhaseSampled]; n < 2 || n > 4 || phases[PhaseSteady] < 30 {
		t.Errorf("phases %v", phases)
	}
}

func TestParseStack(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Line
	}{
		{"", nil},
		{"a.py:1 f", []Line{{"f", "a.py", 1}}},
		{"/a b:c/x.py:12 g\n<string>:1 <module>", []Line{{"g", "/a b:c/x.py", 12}, {"<module>", "<string>", 1}}},
		{"nothing", []Line{{"", "nothing", 0}}},
		{"a.py:99999999999 f", []Line{{"f", "a.py:99999999999", 0}}},
		{"\n\n", []Line{{}, {}}},
	} {
		if got := parseStack(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.text, got, c.want)
		}
	}
}

// TestOperators plays two sampled steps and one that is not.
func TestOperators(t *testing.T) {
	p := scene.New()
	main, autograd := p.Thread(), p.Thread()
	kernel := func(th *scene.Thread, op string, ns int64) {
		end := th.Python("warpscope.op", op, 0)
		th.Host(2_000)
		th.Launch("gemm", ns)
		th.Host(2_000)
		end()
	}
	step := func() {
		region := main.Python("warpscope.region", "loss", 0)
		module := main.Python("warpscope.module", "(model)\tGPT", 4<<20)
		inner := main.Python("warpscope.module", "h.0\tLinear", 3<<20)
		outer := main.Python("warpscope.op", "aten::linear\t[8, 16], [32, 16]", 0)
		kernel(main, "aten::addmm\t[32], [8, 16], [16, 32]", 1_000_000)
		outer()
		main.Alloc(50_000)
		inner()
		kernel(main, "aten::add\t[8, 32]", 100_000)
		module()
		region()
		autograd.Until(main.Now)
		inner = autograd.Python("warpscope.module", "h.0\tLinear", 1<<63)
		outer = autograd.Python("warpscope.op", "AddmmBackward0\t[8, 32]", 0)
		kernel(autograd, "aten::mm\t[8, 32], [32, 16]", 2_000_000)
		outer()
		inner()
		main.Until(autograd.Now)
		main.Moment("warpscope.operators", "sampled", 4_000_000)
		main.Moment("warpscope.operators", "cost", 500_000)
		main.Sync()
	}
	step()
	main.Launch("gemm", 3_000_000) // in a step that is not sampled
	main.Sync()
	step()

	rows := func(by GroupBy) (*OperatorSummary, map[string]OperatorRow) {
		a := New(Config{Parts: PartOperators | PartRanges, Operators: by})
		if err := p.Feed(a); err != nil {
			t.Fatal(err)
		}
		in := a.Inspect()
		if len(in.Ranges.Ranges) != 0 {
			t.Errorf("ranges of the program: %+v", in.Ranges.Ranges)
		}
		byName := map[string]OperatorRow{}
		var sum int64
		for _, r := range in.Operators.Rows {
			byName[r.Name] = r
			sum += r.SelfNS
		}
		if s := in.Operators; sum != s.GPUNS || s.GPUNS != 2*3_100_000 || s.Sampled != 2 || s.SampledNS != 8_000_000 || s.CostNS != 1_000_000 {
			t.Errorf("by %s: %+v, rows add up to %d", by, s, sum)
		}
		return in.Operators, byName
	}
	ops, byName := rows(ByOperator)
	if ops.Rows[0].Name != "aten::mm" || ops.Rows[0].Detail != "[8, 32], [32, 16]" || ops.Rows[0].Count != 2 || ops.Rows[0].SelfNS != 4_000_000 {
		t.Errorf("first operator %+v", ops.Rows[0])
	}
	if r := byName["aten::linear"]; r.SelfNS != 0 || r.GPUNS != 2_000_000 || r.Kernels != 0 {
		t.Errorf("aten::linear, which launches through another: %+v", r)
	}
	if r := byName["aten::addmm"]; len(r.Modules) != 1 || r.Modules[0] != (OperatorPart{"h.0", 2_000_000}) {
		t.Errorf("aten::addmm is in %+v", r.Modules)
	}
	_, byName = rows(ByModule)
	linear, model := byName["h.0"], byName["(model)"]
	if linear.SelfNS != 6_000_000 || linear.BackwardNS != 4_000_000 || linear.Count != 2 || *linear.KeptBytes != 3<<20 || linear.DriverBytes != 4<<20 {
		t.Errorf("h.0: %+v, kept %d", linear, *linear.KeptBytes)
	}
	if model.SelfNS != 200_000 || model.GPUNS != 2_200_000 || model.BackwardNS != 0 {
		t.Errorf("the model: %+v", model)
	}
	_, byName = rows(ByRegion)
	if byName["loss"].SelfNS != 2_200_000 || byName[""].SelfNS != 4_000_000 {
		t.Errorf("regions %+v", byName)
	}
}

// TestOperatorsOfUnnamedThreads: what PyTorch's own numbers name is joined with the thread that has no ranges.
func TestOperatorsOfUnnamedThreads(t *testing.T) {
	p := scene.New()
	main := p.Thread()
	region := main.Python("warpscope.region", "step", 0)
	end := main.Python("warpscope.op", "aten::mm\t[8, 8]", 0)
	m := &p.Events.Markers
	m.Thread[len(m.Thread)-1] = 1<<31 | 2
	backward := p.Thread()
	backward.Until(main.Now + 1000)
	backward.Launch("gemm", 1_000_000)
	main.Until(backward.Now + 1000)
	end()
	m.Thread[len(m.Thread)-1] = 1<<31 | 2
	region()
	main.Moment("warpscope.operators", "sampled", 4_000_000)
	a := New(Config{Parts: PartOperators})
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	if s := a.Inspect().Operators; len(s.Rows) != 1 || s.Rows[0].Name != "aten::mm" || s.Rows[0].SelfNS != 1_000_000 {
		t.Errorf("%+v", s.Rows)
	}
}

// TestPythonBounds: what a damaged trace holds does not grow without end.
func TestPythonBounds(t *testing.T) {
	var r pythonRecord
	var tables event.Tables
	tables.Apply(&event.Definitions{Strings: []string{"warpscope.stack", "a.py:1 f"}})
	m := event.Markers{}
	for i := range 1 << 16 {
		m.Time, m.Kind = append(m.Time, event.Time(i+1)), append(m.Kind, event.MarkerInstant)
		m.ID, m.Thread, m.Text, m.Domain = append(m.ID, 0), append(m.Thread, 1), append(m.Text, 2), append(m.Domain, 1)
		m.Payload = append(m.Payload, 0)
	}
	for range maxSamples>>16 + 2 {
		for i := range m.Time {
			r.add(&tables, &m, i)
		}
	}
	if len(r.samples) > maxSamples {
		t.Errorf("%d samples are kept", len(r.samples))
	}
	var counts stackCounts
	for i := range 2 * maxStackCounts {
		counts.add(event.StringID(i))
	}
	if len(counts) != maxStackCounts {
		t.Errorf("%d stacks are told apart", len(counts))
	}
}
