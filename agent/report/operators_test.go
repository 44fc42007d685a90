package report

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// written is a document as it is printed to a wide terminal.
func written(t *testing.T, write func(d *Document)) string {
	t.Helper()
	var b strings.Builder
	d := &Document{}
	write(d)
	if err := d.Write(&b, Style{Width: 160}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// has checks that lines are there, whatever the spaces in them.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	got := strings.Join(strings.Fields(text), " ")
	for _, line := range lines {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}

func TestOperatorsAreWritten(t *testing.T) {
	kept := int64(3 << 20)
	in := &analyze.Inspection{Operators: &analyze.OperatorSummary{
		GroupBy: analyze.ByModule, Sampled: 2, SampledNS: 4e6, CostNS: 5e6, GPUNS: 4e6, Rows: []analyze.OperatorRow{
			{Name: "h.0.\x1battn", Detail: "Attention bfloat16", Count: 2, GPUNS: 3e6, SelfNS: 3e6, GPUShare: 0.75, Kernels: 7, BackwardNS: 2e6, KeptBytes: &kept,
				Operators: []analyze.OperatorPart{{Name: "aten::mm", GPUNS: 2e6}, {Name: "aten::addmm", GPUNS: 1e6}}},
			{GPUNS: 1e6, SelfNS: 1e6, GPUShare: 0.25, Kernels: 3},
		},
	}}
	text := written(t, func(d *Document) { d.operators(in) })
	has(t, text, "Modules in 2 sampled steps, 4.00 ms of GPU time", "75.0% 3.00 ms 3.00 ms 7 2", "h.0.\uFFFDattn Attention bfloat16 aten::mm, aten::addmm", "25.0% 1.00 ms",
		"(none)", "sampling cost the program 5.00 ms in all", "+3 MiB")
	in.Operators = &analyze.OperatorSummary{GroupBy: analyze.ByOperator}
	has(t, written(t, func(d *Document) { d.operators(in) }), "Operators", "no step was sampled")
	in.Provenance.Imported = "PyTorch's profiler"
	has(t, written(t, func(d *Document) { d.operators(in) }), "not in a trace of PyTorch's profiler")
}

func TestPythonIsWritten(t *testing.T) {
	stack := func(samples int, guilty int, lines ...analyze.Line) analyze.PythonStack {
		return analyze.PythonStack{Samples: samples, Stack: lines, Guilty: guilty}
	}
	r := &analyze.IdleRow{Causes: []analyze.IdleCause{
		{ID: "host", Share: 0.3, Python: &analyze.PythonIdle{Samples: 40, GILSamples: 4,
			Stacks: []analyze.PythonStack{
				stack(30, 1, analyze.Line{Function: "forward", File: "/x/site-packages/torch/nn.py", Line: 4}, analyze.Line{Function: "step", File: "/job/train.py", Line: 12}, analyze.Line{Function: "main", File: "/job/train.py", Line: 40}),
				stack(10, -1, analyze.Line{Function: "f", File: "??"}),
			},
			Holders: []analyze.PythonStack{stack(4, 0, analyze.Line{Function: "hog", File: "/job/hog.py", Line: 7})},
		}},
		{ID: "gc", Share: 0.001, Python: &analyze.PythonIdle{Samples: 1, Stacks: []analyze.PythonStack{stack(1, 0, analyze.Line{Function: "small", File: "/job/s.py", Line: 1})}}},
	}, GIL: &analyze.GILEstimate{Samples: 100, MeanNS: 40_000, MaxNS: 5_000_000, HeldByOthers: 0.04}}
	text := written(t, func(d *Document) { d.pythonIdle(r) })
	has(t, text, "75.0% 30 host train.py:12 in step train.py:40 in main", "25.0% 10 host code that is not Python", "10.0% 4 holds the GIL hog.py:7 in hog",
		"by 40 samples of stacks", "waits 40.0 µs on average, 5.00 ms at most; 4.0% of the samples")
	if strings.Contains(text, "s.py:1") {
		t.Errorf("a cause of a thousandth is told:\n%s", text)
	}
	if text := written(t, func(d *Document) { d.pythonIdle(&analyze.IdleRow{}) }); strings.TrimSpace(text) != "" {
		t.Errorf("without samples: %q", text)
	}
}
