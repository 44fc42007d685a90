package doctor_test

import (
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
	"github.com/warpscope/warpscope/agent/trace"
)

const n = 40 // steps of a made-up program

// play runs a program of n steps and judges it.
func play(t *testing.T, p *scene.Program, step func(th *scene.Thread, i int)) *doctor.Diagnosis {
	t.Helper()
	th := p.Thread()
	for i := range n {
		th.Launch("embedding_kernel", 5_000)
		step(th, i)
		th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
	}
	return judge(t, p)
}

func judge(t *testing.T, p *scene.Program) *doctor.Diagnosis {
	t.Helper()
	a := analyze.New(analyze.Config{Parts: doctor.Parts, Ceilings: func(_, product string) (ceilings.GPU, error) {
		set, err := ceilings.OfDatasheet(product)
		return ceilings.GPU{Datasheet: set}, err
	}})
	a.Provenance(&event.Provenance{Command: p.Info.Command})
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	return doctor.Diagnose(a.Inspect())
}

func find(d *doctor.Diagnosis, id string) *doctor.Finding {
	for i := range d.Findings {
		if d.Findings[i].ID == id {
			return &d.Findings[i]
		}
	}
	return nil
}

// dense is a step that keeps the GPU busy with what should dominate.
func dense(th *scene.Thread, _ int) {
	for range 20 {
		th.Launch("nvjet_gemm", 400_000)
	}
}

func copies(kind event.MemoryKind, stream uint32) func(th *scene.Thread, i int) {
	return func(th *scene.Thread, i int) {
		th.Copy(stream, event.CopyHostToDevice, kind, event.MemoryDevice, 16<<20, 700_000)
		dense(th, i)
		th.Sync()
	}
}

// scenarios: each rule finds what it is for, and says nothing where that is not.
var scenarios = []struct {
	id      string
	yes, no func(th *scene.Thread, i int)
	cost    float64 // seconds a step that yes costs
	samples [2][2]int64
	watch   [2]scene.Activity
}{
	{id: "time.launch-bound", cost: 20 * 42e-6,
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Host(40_000)
				th.Launch("nvjet_gemm", 5_000)
			}
		},
		no: dense},
	{id: "time.sync", cost: 0.3e-3,
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("nvjet_gemm", 50_000)
			}
			th.Sync()
			th.Host(300_000)
		},
		// A wait that ends with the program's own work is none that costs.
		no: func(th *scene.Thread, i int) {
			dense(th, i)
			th.Sync()
		}},
	{id: "time.warmup", cost: 5e-3,
		yes: func(th *scene.Thread, _ int) {
			th.Launch("nvjet_gemm", 50_000)
			th.Host(5_000_000)
			th.Load(40_000)
			th.Launch("cudnn_generated_sdpa", 50_000)
		},
		// Code is loaded in the first step alone.
		no: func(th *scene.Thread, i int) {
			if i == 0 {
				th.Host(5_000_000)
				th.Load(40_000)
			}
			dense(th, i)
		}},
	{id: "time.allocator", cost: 3.6e-3,
		yes: func(th *scene.Thread, _ int) {
			for range 4 {
				th.Alloc(900_000)
				th.Launch("nvjet_gemm", 50_000)
			}
		},
		// The same calls behind a full queue cost nothing.
		no: func(th *scene.Thread, i int) {
			dense(th, i)
			th.Alloc(900_000)
		}},
	{id: "time.pageable-copy", cost: 0.7e-3 + 16<<20/10*1e-9, yes: copies(event.MemoryPageable, scene.Stream), no: copies(event.MemoryPinned, scene.Stream)},
	{id: "time.copy-overlap", cost: 0.7e-3, yes: copies(event.MemoryPinned, scene.Stream), no: func(th *scene.Thread, _ int) {
		for k := range 20 {
			th.Launch("nvjet_gemm", 400_000)
			if k == 2 {
				th.Copy(9, event.CopyHostToDevice, event.MemoryPinned, event.MemoryDevice, 16<<20, 700_000)
			}
		}
	}},
	{id: "time.communication", cost: 2e-3,
		yes: func(th *scene.Thread, i int) {
			dense(th, i)
			th.LaunchOn(scene.Stream, "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 24, 2_000_000)
		},
		no: func(th *scene.Thread, i int) {
			th.LaunchOn(20, "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 24, 2_000_000)
			dense(th, i)
		}},
	{id: "time.serialised", cost: -1, // kernels that leave the GPU half empty
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.LaunchOn(scene.Stream, "nvjet_gemm", 16, 400_000)
			}
		},
		no: dense},
	{id: "time.throttled", cost: 20 * 0.4e-3 * 0.3, yes: dense, no: dense, samples: [2][2]int64{{1400, 4}, {2000, 1}}},
	{id: "time.unfused", cost: 20 * 3 * 0.1e-3,
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("nvjet_gemm", 100_000)
				for range 4 {
					th.Launch("vectorized_elementwise_kernel", 100_000)
				}
			}
		},
		// As much time, but never two in a row.
		no: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("nvjet_gemm", 100_000)
				th.Launch("vectorized_elementwise_kernel", 400_000)
			}
		}},
	{id: "time.bandwidth", cost: -1, yes: dense, no: dense, watch: [2]scene.Activity{
		{SM: 0.9, Tensor: 0.1, DRAM: 0.85, DRAMPeak: 3_352_320_000_000}, {SM: 0.9, Tensor: 0.7, DRAM: 0.5, DRAMPeak: 3_352_320_000_000},
	}},
	{id: "time.input", cost: 9e-3,
		yes: func(th *scene.Thread, i int) {
			dense(th, i)
			end := th.Python("warpscope", "input", 0)
			th.Host(8_000_000 + 9_000_000)
			th.Moment("warpscope.stack", "/job/train.py:30 <module>", 8000<<32)
			end()
		},
		// A wait that the GPU works through costs nothing.
		no: func(th *scene.Thread, i int) {
			dense(th, i)
			end := th.Python("warpscope", "input", 0)
			th.Host(3_000_000)
			th.Moment("warpscope.stack", "/job/train.py:30 <module>", 8000<<32)
			end()
		}},
	{id: "time.gc", cost: 9e-3,
		yes: func(th *scene.Thread, i int) {
			dense(th, i)
			end := th.Python("warpscope", "gc", 2)
			th.Host(8_000_000 + 9_000_000)
			th.Moment("warpscope.stack", "/job/train.py:31 step", 8000<<32)
			end()
		},
		no: func(th *scene.Thread, i int) {
			dense(th, i)
			end := th.Python("warpscope", "gc", 0)
			th.Host(1_000_000)
			th.Moment("warpscope.stack", "/job/train.py:31 step", 1000<<32)
			end()
		}},
	{id: "time.tensor-cores-idle", cost: 20 * 0.4e-3 * (1 - 1/(4*0.75)),
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize128x128x8_stage3_warpsize2x2x1_ffma_aligna4_alignc4_execute_kernel__51_cublas", 400_000)
			}
		},
		no: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32_stage4_warpsize2x2x1_tensor16x8x8_kernel", 400_000)
			}
		}},
	{id: "time.unfused-attention", cost: 20 * 0.4e-3,
		yes: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("nvjet_gemm", 100_000)
				th.Launch("vectorized_elementwise_kernel", 100_000)
				th.Launch("masked_fill_kernel", 100_000)
				th.Launch("softmax_warp_forward", 200_000)
				th.Launch("nvjet_gemm", 100_000)
				th.Launch("silu_kernel", 10_000)
			}
		},
		// The softmax of a loss, and one that chooses experts.
		no: func(th *scene.Thread, _ int) {
			for range 20 {
				th.Launch("nvjet_gemm", 100_000)
				th.Launch("cunn_SoftMaxForward<LogSoftMaxForwardEpilogue>", 200_000)
				th.Launch("nll_loss_forward_reduce_cuda_kernel_2d", 50_000)
				th.Launch("cunn_SoftMaxBackward<LogSoftMaxBackwardEpilogue>", 200_000)
				th.Launch("nvjet_gemm", 100_000)
				th.Launch("softmax_warp_forward", 100_000)
				th.Launch("gatherTopK", 100_000)
				th.Launch("nvjet_gemm", 100_000)
			}
		}},
	{id: "time.compute", cost: -1, yes: dense, no: func(th *scene.Thread, _ int) {
		th.Host(3_000_000)
		th.Launch("nvjet_gemm", 400_000)
	}},
}

func TestRules(t *testing.T) {
	covered := map[string]bool{"time.gil": true, "time.tensor-shapes": true} // TestLock, TestShapes
	for _, s := range scenarios {
		covered[s.id] = true
		t.Run(s.id, func(t *testing.T) {
			run := func(step func(*scene.Thread, int), sample [2]int64, watch scene.Activity) *doctor.Diagnosis {
				p := scene.New()
				if watch.SM > 0 {
					monitored(p, watch)
				}
				if sample[0] > 0 {
					// The highest clock is seen before the work, the others while it runs.
					p.Sample(1e9-5e6, 2000, 1)
					for i := range 30 {
						p.Sample(1e9+event.Time(i)*10_000_000, int32(sample[0]), sample[1])
					}
				}
				return play(t, p, step)
			}
			f := find(run(s.yes, s.samples[0], s.watch[0]), s.id)
			if f == nil {
				t.Fatalf("not found where it is")
			}
			if s.cost >= 0 && math.Abs(f.Cost.SecondsPerStep-s.cost) > 0.15*s.cost {
				t.Errorf("costs %.3g s a step, want about %.3g", f.Cost.SecondsPerStep, s.cost)
			}
			if len(f.Evidence) == 0 || f.Title == "" || f.Confidence == "" || f.Severity == "" || f.Where == "" {
				t.Errorf("incomplete: %+v", f)
			}
			if len(f.Fix) == 0 && s.id != "time.compute" {
				t.Error("no change to make")
			}
			for _, fix := range f.Fix {
				if fix.Change == "" || fix.Gain == "" || !slices.Contains([]string{"add", "remove", "replace", "raise", "lower"}, fix.Direction) {
					t.Errorf("incomplete change: %+v", fix)
				}
			}
			no := run(s.no, s.samples[1], s.watch[1])
			if f := find(no, s.id); f != nil {
				t.Errorf("found where it is not: %+v", f)
			}
			if !slices.ContainsFunc(no.RuledOut, func(c doctor.Clear) bool { return c.ID == s.id && c.Text != "" }) {
				t.Errorf("not ruled out where it is not: %+v", no.RuledOut)
			}
		})
	}
	for _, r := range doctor.Rules() {
		if !covered[r.ID] {
			t.Errorf("%s has no scenario", r.ID)
		}
		if !doctor.Known(r.ID) || !strings.HasPrefix(r.ID, "time.") || r.What == "" {
			t.Errorf("%q: not a complete rule", r.ID)
		}
	}
}

func TestDependency(t *testing.T) {
	p := scene.New()
	d := play(t, p, func(th *scene.Thread, _ int) {
		th.LaunchOn(9, "nvjet_gemm", 1024, 100_000)
		p.Delay(9, 2_000_000)
		th.WaitFor(scene.Stream, 9)
		th.Launch("nvjet_gemm", 100_000)
	})
	f := find(d, "time.serialised")
	if f == nil || f.Cost.SecondsPerStep < 1.5e-3 || f.Severity != doctor.Error {
		t.Errorf("%+v, want an error of about 2 ms a step", f)
	}
}

// TestSharedGPU: what one stream waits for is not in the program.
func TestSharedGPU(t *testing.T) {
	p := scene.New()
	d := play(t, p, func(th *scene.Thread, _ int) {
		th.Launch("nvjet_gemm", 100_000)
		p.Delay(scene.Stream, 2_000_000)
		th.Launch("nvjet_gemm", 100_000)
	})
	f := find(d, "time.serialised")
	if f == nil || !strings.Contains(f.Title, "another program") || f.Confidence != doctor.Low || f.Cost.SecondsPerStep < 1.5e-3 {
		t.Errorf("%+v, want another program's fault", f)
	}
}

// TestMissingEvidence: without it there is no finding, but a note that names the run that brings it.
func TestMissingEvidence(t *testing.T) {
	slow := func(th *scene.Thread, _ int) {
		for range 20 {
			th.Host(40_000)
			th.Launch("nvjet_gemm", 5_000)
		}
	}
	for _, c := range []struct {
		name, id, rerun string
		change          func(p *scene.Program)
		step            func(th *scene.Thread, i int)
	}{
		{"no calls", "time.launch-bound", "warpscope run --api launch -o again.wscope -- python3 train.py", func(p *scene.Program) { p.Silent = true }, slow},
		{"no calls: waits", "time.sync", "warpscope run --api launch -o again.wscope -- python3 train.py", func(p *scene.Program) { p.Silent = true }, slow},
		{"no clocks", "time.throttled", "warpscope run -o again.wscope -- python3 train.py   # for a minute or more", func(*scene.Program) {}, dense},
		{"graphs", "time.unfused", "warpscope run --graphs node -o again.wscope -- python3 train.py", func(*scene.Program) {}, func(th *scene.Thread, _ int) { th.Graph(1, 900_000) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := scene.New()
			c.change(p)
			d := play(t, p, c.step)
			if f := find(d, c.id); f != nil {
				t.Errorf("a finding without evidence: %+v", f)
			}
			at := slices.IndexFunc(d.Notes, func(n doctor.Note) bool { return n.ID == c.id })
			if at < 0 {
				t.Fatalf("no note: %+v", d.Notes)
			}
			if d.Notes[at].Rerun != c.rerun {
				t.Errorf("rerun %q, want %q", d.Notes[at].Rerun, c.rerun)
			}
		})
	}
}

func TestUnknownMultiprocessors(t *testing.T) {
	p := scene.New()
	p.GPU.Multiprocessors = 0
	d := play(t, p, func(th *scene.Thread, _ int) {
		for range 20 {
			th.LaunchOn(scene.Stream, "nvjet_gemm", 16, 400_000)
		}
	})
	if f := find(d, "time.serialised"); f != nil {
		t.Errorf("judged without the number of multiprocessors: %+v", f)
	}
}

// TestHostCode: what nobody can know is a note, never a finding.
func TestHostCode(t *testing.T) {
	d := play(t, scene.New(), func(th *scene.Thread, i int) {
		dense(th, i)
		th.Sync()
		th.Host(20_000_000)
	})
	for _, f := range d.Findings {
		if f.Cost.SecondsPerStep > 1e-3 {
			t.Errorf("%s costs %g s: 20 ms of host code are nobody's", f.ID, f.Cost.SecondsPerStep)
		}
	}
	if !slices.ContainsFunc(d.Notes, func(n doctor.Note) bool { return strings.Contains(n.Text, "code outside CUDA") && n.Rerun != "" }) {
		t.Errorf("no note on host code: %+v", d.Notes)
	}
}

func TestNothingRan(t *testing.T) {
	a := analyze.New(analyze.Config{Parts: doctor.Parts})
	d := doctor.Diagnose(a.Inspect())
	if len(d.Findings) != 0 || !strings.Contains(d.Verdict, "Nothing ran") || len(d.Notes) != 1 {
		t.Errorf("%+v", d)
	}
}

// TestOrder: the most important first, and --fail-on's meaning.
func TestOrder(t *testing.T) {
	d := play(t, scene.New(), func(th *scene.Thread, i int) {
		th.Copy(scene.Stream, event.CopyHostToDevice, event.MemoryPinned, event.MemoryDevice, 16<<20, 700_000)
		th.Launch("nvjet_gemm", 1_000_000)
		th.Alloc(6_000_000)
	})
	if len(d.Findings) < 2 || d.Findings[0].ID != "time.allocator" || d.Findings[0].Severity != doctor.Error {
		t.Fatalf("%+v", d.Findings)
	}
	for i := 1; i < len(d.Findings); i++ {
		if d.Findings[i].Severity == d.Findings[i-1].Severity && d.Findings[i].Cost.SecondsPerStep > d.Findings[i-1].Cost.SecondsPerStep {
			t.Errorf("finding %d costs more than the one before", i)
		}
	}
	for on, want := range map[string]bool{"time.allocator": true, "time.sync": false, "error": true, "warning": true, "note": true} {
		if d.Fails(on) != want {
			t.Errorf("fails on %s: %t, want %t", on, !want, want)
		}
	}
	healthy := play(t, scene.New(), dense)
	if healthy.Fails("warning") || !healthy.Fails("note") {
		t.Errorf("a healthy program: %+v", healthy.Findings)
	}
	if find(healthy, "time.compute") == nil || !strings.Contains(healthy.Verdict, "Nothing found") {
		t.Errorf("a healthy program: %s", healthy.Verdict)
	}
}

func diagnoseReal(t *testing.T, name string) *doctor.Diagnosis {
	t.Helper()
	r, err := trace.Open("../../testdata/real/" + name + ".wscope")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	a := analyze.New(analyze.Config{Parts: doctor.Parts})
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return doctor.Diagnose(a.Inspect())
		}
		switch {
		case err != nil:
		case item.Provenance != nil:
			a.Provenance(item.Provenance)
		case item.Definitions != nil:
			err = a.Define(item.Definitions)
		case item.Batch != nil:
			err = a.Batch(item.Batch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRealGeneration: of 52 ms a token, 41 pass between the last call before an attention kernel of
// cuDNN and the loading of that kernel, new for each length of the cache; the launches take most of
// the rest.
func TestRealGeneration(t *testing.T) {
	d := diagnoseReal(t, "generate")
	if len(d.Findings) < 2 || d.Findings[0].ID != "time.warmup" || d.Findings[1].ID != "time.launch-bound" {
		t.Fatalf("%+v", d.Findings)
	}
	for _, f := range d.Findings[:2] {
		if f.Severity != doctor.Error {
			t.Errorf("%s is a %s, want an error: it is most of what the others leave", f.ID, f.Severity)
		}
	}
	if !strings.Contains(d.Findings[0].Fix[0].Paste, "enable_cudnn_sdp(False)") {
		t.Errorf("the change is %q", d.Findings[0].Fix[0].Paste)
	}
}

// TestRealTraining: the GPU computes for four fifths of the time; there is no error, and what would help
// most is fewer passes over the data.
func TestRealTraining(t *testing.T) {
	d := diagnoseReal(t, "gpt-train")
	if d.Fails("error") || len(d.Findings) == 0 || d.Findings[0].ID != "time.unfused" || find(d, "time.launch-bound") == nil {
		t.Errorf("%s\n%+v", d.Verdict, d.Findings)
	}
	for _, id := range []string{"time.sync", "time.warmup", "time.allocator", "time.throttled", "time.tensor-cores-idle", "time.unfused-attention"} {
		// The wait at the end of each step costs what the CPU could have worked ahead: 1.2 ms of 33.6.
		if f := find(d, id); f != nil && (id != "time.sync" || f.Severity != doctor.NoteSev) {
			t.Errorf("found %s where it is not", id)
		}
	}
}
