package analyze

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
	"github.com/warpscope/warpscope/agent/trace"
)

// real analyses a trace recorded on a GPU.
func real(t *testing.T, name string, c Config) *Analysis {
	t.Helper()
	r, err := trace.Open("../../testdata/real/" + name + ".wscope")
	must(t, err)
	defer func() { must(t, r.Close()) }()
	a := New(c)
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return a
		}
		must(t, err)
		switch {
		case item.Provenance != nil:
			a.Provenance(item.Provenance)
		case item.Definitions != nil:
			must(t, a.Define(item.Definitions))
		case item.Batch != nil:
			must(t, a.Batch(item.Batch))
		case item.Summary != nil:
			a.Summary(item.Summary)
		}
	}
}

// steps inspects a made-up program.
func steps(t *testing.T, p *scene.Program, c Config) *Inspection {
	t.Helper()
	if c.Parts == 0 {
		c.Parts = PartsOfSteps
	}
	a := New(c)
	must(t, p.Feed(a))
	return a.Inspect()
}

func phaseCount(r *StepRow, phase string) int {
	for _, p := range r.Phases {
		if p.Phase == phase {
			return p.Count
		}
	}
	return 0
}

// TestRealTraining: ten steps have an NVTX range, two warm-up steps before them have none; the sequence
// of kernels alone finds all twelve, and each range's step begins where one of them does.
func TestRealTraining(t *testing.T) {
	byRange := real(t, "gpt-train", Config{Parts: PartsOfSteps}).Inspect().Steps.Rows[0]
	byKernels := real(t, "gpt-train", Config{Parts: PartsOfSteps, IgnoreRanges: true}).Inspect().Steps.Rows[0]
	if byRange.Source != StepsByRange || byRange.Marker != "step #" || byRange.Found != 10 || byRange.Repeats != 12 {
		t.Errorf("by ranges: %s %q, %d steps, %d repeats; want nvtx, step #, 10, 12", byRange.Source, byRange.Marker, byRange.Found, byRange.Repeats)
	}
	if byKernels.Source != StepsByPeriod || byKernels.Found != 12 {
		t.Errorf("by kernels: %s, %d steps; want kernels, 12", byKernels.Source, byKernels.Found)
	}
	if n := phaseCount(&byKernels, PhaseWarmUp); n != 1 {
		t.Errorf("%d warm-up steps by kernels, want the one that makes the optimizer's state", n)
	}
	for _, r := range []StepRow{byRange, byKernels} {
		if r.Unit != "training step" {
			t.Errorf("unit %q, want training step", r.Unit)
		}
	}
	for _, s := range byRange.Steps {
		if !slices.ContainsFunc(byKernels.Steps, func(k StepTime) bool { return k.StartNS == s.StartNS }) {
			t.Errorf("the step at %d ns by its range begins nowhere by kernels", s.StartNS)
		}
	}
}

// TestRealGeneration: 64 tokens are a prompt and 63 single tokens.
func TestRealGeneration(t *testing.T) {
	r := real(t, "generate", Config{Parts: PartsOfSteps}).Inspect().Steps.Rows[0]
	if r.Unit != "token" || r.Source != StepsByPeriod {
		t.Errorf("%s by %s, want token by kernels", r.Unit, r.Source)
	}
	prefill, tokens := phaseCount(&r, PhasePrefill), phaseCount(&r, PhaseSteady)+phaseCount(&r, PhaseWarmUp)
	if prefill != 1 || tokens != 63 {
		t.Errorf("%d prefills and %d tokens, want 1 and 63", prefill, tokens)
	}
}

// A gpt trains: layers inside steps, an optimizer at the end.
func train(th *scene.Thread, layers int, cost int64) {
	th.Launch("embedding_kernel", cost)
	for range layers {
		for _, name := range []string{"layer_norm", "qkv_gemm", "flash_fwd_kernel", "out_gemm"} {
			th.Launch(name, cost)
		}
	}
	th.Launch("nll_loss_forward", cost)
	for range layers {
		for _, name := range []string{"dgrad_gemm", "wgrad_gemm", "flash_bwd_kernel"} {
			th.Launch(name, cost)
		}
	}
	th.Launch("multi_tensor_apply_kernel", cost)
	th.Launch("multi_tensor_apply_kernel", cost)
}

func TestPeriod(t *testing.T) {
	for _, c := range []struct {
		name  string
		play  func(p *scene.Program, th *scene.Thread)
		steps int
		unit  string
		check func(*testing.T, *StepRow)
	}{
		{name: "layers inside steps", steps: 20, unit: "training step", play: func(_ *scene.Program, th *scene.Thread) {
			for range 20 {
				train(th, 24, 20_000)
			}
		}},
		{name: "a log line in ten steps", steps: 60, unit: "training step", play: func(_ *scene.Program, th *scene.Thread) {
			for i := range 60 {
				train(th, 12, 20_000)
				if i%10 == 9 {
					th.Launch("mean_kernel", 1000)
					th.Copy(scene.Stream, event.CopyDeviceToHost, event.MemoryDevice, event.MemoryPinned, 4, 1000)
				}
			}
		}},
		{name: "gradient accumulation", steps: 12, unit: "training step", play: func(_ *scene.Program, th *scene.Thread) {
			for range 12 {
				for range 4 {
					th.Launch("embedding_kernel", 9000)
					for range 6 {
						th.Launch("gemm", 20_000)
						th.Launch("gelu_kernel", 9000)
					}
					th.Launch("gemm_backward", 20_000)
				}
				th.Launch("fused_adam_kernel", 50_000)
			}
		}},
		{name: "an evaluation now and then", steps: 40, unit: "training step", play: func(_ *scene.Program, th *scene.Thread) {
			for i := range 40 {
				train(th, 12, 20_000)
				if i%10 == 9 {
					for range 30 {
						th.Launch("eval_gemm", 20_000)
						th.Launch("layer_norm", 20_000)
					}
				}
			}
		}, check: func(t *testing.T, r *StepRow) {
			if n := phaseCount(r, PhaseSteady); n < 34 {
				t.Errorf("%d measured, want those without an evaluation", n)
			}
		}},
		{name: "requests with prompts", steps: 36, unit: "token", play: func(_ *scene.Program, th *scene.Thread) {
			for range 3 {
				for i := range 12 {
					kind := "gemv"
					if i == 0 {
						kind = "prompt_gemm"
					}
					th.Launch("embedding_kernel", 2000)
					for range 32 {
						for _, name := range []string{"rms_norm", kind, "attention_kernel", kind} {
							th.Launch(name, 3000)
						}
					}
					th.Launch("lm_head_gemm", 9000)
					th.Launch("argmax_kernel", 2000)
				}
			}
		}, check: func(t *testing.T, r *StepRow) {
			if p, n := phaseCount(r, PhasePrefill), phaseCount(r, PhaseSteady); p != 3 || n != 33 {
				t.Errorf("%d prefills and %d tokens measured, want 3 and 33: %+v", p, n, r.Phases)
			}
		}},
		{name: "one CUDA graph a step", steps: 9, unit: "step", play: func(_ *scene.Program, th *scene.Thread) {
			for range 9 {
				th.Graph(5, 900_000)
				th.Launch("sample_kernel", 9000)
			}
		}},
		{name: "a slow start and a pause", steps: 30, unit: "training step", play: func(_ *scene.Program, th *scene.Thread) {
			for i := range 30 {
				if i < 3 {
					th.Host(20_000_000)
				}
				if i == 20 {
					th.Host(400_000_000)
				}
				train(th, 12, 20_000)
				th.Sync()
			}
		}, check: func(t *testing.T, r *StepRow) {
			if w, x := phaseCount(r, PhaseWarmUp), phaseCount(r, PhaseInterrupted); w < 2 || w > 3 || x != 1 {
				t.Errorf("%d warm-up and %d interrupted steps, want 2 or 3 and 1: %+v", w, x, r.Phases)
			}
		}},
		{name: "noise", steps: 0, unit: "trace", play: func(_ *scene.Program, th *scene.Thread) {
			random := rand.New(rand.NewPCG(1, 2))
			for range 400 {
				th.Launch(fmt.Sprint("kernel_", random.IntN(200)), 1000+random.Int64N(9000))
			}
		}},
		{name: "copies alone", steps: 0, unit: "trace", play: func(_ *scene.Program, th *scene.Thread) {
			for range 40 {
				th.Copy(scene.Stream, event.CopyHostToDevice, event.MemoryPageable, event.MemoryDevice, 1<<20, 90_000)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			c.play(p, p.Thread())
			in := steps(t, p, Config{})
			r := &in.Steps.Rows[0]
			if r.Found != c.steps || r.Unit != c.unit {
				t.Errorf("%d of %q, want %d of %q: %+v", r.Found, r.Unit, c.steps, c.unit, r.Phases)
			}
			if c.check != nil {
				c.check(t, r)
			}
		})
	}
}

// TestStepRanges: the outermost ranges that people call steps count, however else they use NVTX.
func TestStepRanges(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	other := p.Thread()
	for i := range 15 {
		other.Until(th.Now)
		end := th.Range(fmt.Sprintf("train_step %d", i))
		busy := other.Range("decode batch") // of a data loader, which launches nothing
		forward := th.Range("forward")
		train(th, 3, 20_000)
		forward()
		end()
		other.Host(1000)
		busy()
		th.Host(50_000) // between the steps
	}
	r := steps(t, p, Config{}).Steps.Rows[0]
	if r.Source != StepsByRange || r.Marker != "train_step #" || r.Found != 15 {
		t.Fatalf("%s %q: %d steps, want nvtx, train_step #, 15", r.Source, r.Marker, r.Found)
	}
	for i := 1; i < len(r.Steps); i++ {
		if end := r.Steps[i-1].StartNS + r.Steps[i-1].WallNS; end != r.Steps[i].StartNS {
			t.Errorf("step %d ends at %d, the next begins at %d", i-1, end, r.Steps[i].StartNS)
		}
	}
	if r := steps(t, p, Config{IgnoreRanges: true}).Steps.Rows[0]; r.Source != StepsByPeriod || r.Found != 15 {
		t.Errorf("without ranges: %s, %d steps, want kernels, 15", r.Source, r.Found)
	}
}

func TestFigure(t *testing.T) {
	f := figureOf([]int64{5, 1, 4, 2, 3, 100, 6, 7, 8, 9})
	want := Figure{Mean: 14.5, Median: 5, P10: 1, P90: 9, Min: 1, Max: 100}
	if f != want {
		t.Errorf("%+v, want %+v", f, want)
	}
}
