package analyze

import (
	"math"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// watched is a program of 40 steps of 50 ms, after a warm-up of three slow ones.
func watched(t *testing.T) (p *scene.Program, begin, steady, end event.Time) {
	t.Helper()
	p = scene.New()
	p.GPU.Capability = [2]uint32{9, 0}
	p.GPU.Name = "NVIDIA H100 80GB HBM3"
	th := p.Thread()
	begin = th.Now
	for i := range 43 {
		if i == 3 {
			th.Sync()
			steady = p.Done()
		}
		th.Launch("embedding_kernel", 5_000)
		each := int64(5_000_000)
		if i < 3 {
			each = 60_000_000
		}
		for range 10 {
			th.Launch("nvjet_gemm", each)
		}
		th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
	}
	return p, begin, steady, p.Done()
}

const window = 100_000_000

func inspectWatched(t *testing.T, p *scene.Program, config Config) *Inspection {
	t.Helper()
	config.Parts = PartsOfSteps
	a := New(config)
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	return a.Inspect()
}

func TestActivityIsOfWindowsInOnePhase(t *testing.T) {
	p, begin, steady, end := watched(t)
	// What the windows over the border and beside the steps hold must be nowhere.
	p.Watch(begin-5*window, begin, window, scene.Activity{SM: 0.01})
	p.Watch(begin+2*window, steady-window/2, window, scene.Activity{SM: 0.3, Tensor: 0.1})
	p.Watch(steady-window/2, steady+window, window, scene.Activity{SM: 0.77})
	p.Watch(steady+2*window, end-window, window, scene.Activity{SM: 0.9, Tensor: 0.5, DRAM: 0.25, DRAMPeak: 4e12, FP32: 0.1})
	for i := range 20 {
		p.Sample(steady+event.Time(i)*window, 1500, 1)
	}
	in := inspectWatched(t, p, Config{})
	if len(in.Activity.Rows) != 1 {
		t.Fatalf("%d rows", len(in.Activity.Rows))
	}
	r := in.Activity.Rows[0]
	if len(r.Phases) != 2 || r.Phases[0].Phase != PhaseSteady || r.Phases[1].Phase != PhaseWarmUp {
		t.Fatalf("phases %+v", r.Phases)
	}
	s := r.Phase(PhaseSteady)
	if s.SM.Min != 0.9 || s.SM.Max != 0.9 || math.Abs(s.SM.Mean-0.9) > 1e-9 || s.DRAMBytes.Mean != 1e12 || s.Clock.Mean != 1500 || s.Tensor.Mean != 0.5 {
		t.Errorf("steady: %+v %+v", s, s.SM)
	}
	if s.Windows < 12 || s.NS != int64(s.Windows)*window {
		t.Errorf("%d windows, %d ns", s.Windows, s.NS)
	}
	if s.NVLinkIn != nil || s.Integer != nil {
		t.Error("what was not read is known")
	}
	if w := r.Phase(PhaseWarmUp); w.SM.Max != 0.3 {
		t.Errorf("warm-up: %+v", w.SM)
	}
}

func TestRooflineOfSteps(t *testing.T) {
	p, _, steady, end := watched(t)
	p.Watch(steady+2*window, end, window, scene.Activity{SM: 0.9, Tensor: 0.5, DRAM: 0.25, DRAMPeak: 3_352_320_000_000})
	for i := range 20 {
		p.Sample(steady+event.Time(i)*window, 1500, 1)
	}
	in := inspectWatched(t, p, Config{Ceilings: func(uuid, product string) (ceilings.GPU, error) {
		set, err := ceilings.OfDatasheet(product)
		if uuid != p.GPU.UUID {
			t.Errorf("asked for %q", uuid)
		}
		return ceilings.GPU{Datasheet: set}, err
	}})
	r := in.Roofline.Rows[0]
	if len(r.Points) != 1 || len(r.Missing) != 0 {
		t.Fatalf("%+v", r)
	}
	point := r.Points[0]
	// Half of 4096 operations a clock, on 132 multiprocessors at 1500 MHz.
	if want := 0.5 * 4096 * 132 * 1500e6; math.Abs(point.Operations/want-1) > 1e-6 || point.OperationsFrom != SourceEstimated {
		t.Errorf("%g operations, %s; want %g", point.Operations, point.OperationsFrom, want)
	}
	if math.Abs(point.Bytes/838.08e9-1) > 1e-6 || point.BytesFrom != SourceMeasured || point.Ceiling != string(ceilings.BFloat16) {
		t.Errorf("%+v", point)
	}
	if c := r.Ceiling(ceilings.BFloat16); c == nil || c.PerSecond != 989.4e12 || c.Source != "datasheet" {
		t.Errorf("ceiling %+v", c)
	}
}

// TestTF32CountsHalf: NVML does not tell it from 16-bit types, names of kernels do.
func TestTF32CountsHalf(t *testing.T) {
	p := scene.New()
	p.GPU.Capability, p.GPU.Name = [2]uint32{9, 0}, "NVIDIA H100 80GB HBM3"
	th := p.Thread()
	begin := th.Now
	for range 60 {
		th.Launch("embedding_kernel", 5_000)
		for range 10 {
			th.Launch("sm90_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x256x32", 3_000_000)
		}
		th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
	}
	p.Watch(begin, p.Done(), window, scene.Activity{SM: 0.9, Tensor: 0.5, DRAM: 0.25, DRAMPeak: 3_352_320_000_000})
	for i := range 15 {
		p.Sample(begin+event.Time(i)*window, 1500, 1)
	}
	r := inspectWatched(t, p, Config{}).Roofline.Rows[0]
	if want := 0.5 * 2048 * 132 * 1500e6; len(r.Points) != 1 || math.Abs(r.Points[0].Operations/want-1) > 1e-6 || r.Points[0].Ceiling != string(ceilings.TF32) {
		t.Errorf("%+v, want %g", r.Points, want)
	}
}

// TestRooflineSaysWhatIsMissing: what is not known is said, never guessed.
func TestRooflineSaysWhatIsMissing(t *testing.T) {
	unknown := func(string, string) (ceilings.GPU, error) { return ceilings.GPU{}, ceilings.ErrUnknown }
	for name, c := range map[string]struct {
		prepare func(p *scene.Program, steady, end event.Time)
		want    string
	}{
		"never watched": {func(*scene.Program, event.Time, event.Time) {}, "did is not in the trace"},
		"refused":       {func(p *scene.Program, _, _ event.Time) { p.Fact(event.FactUnmonitored, "no permission") }, "was not read: no permission"},
		"an older GPU":  {func(p *scene.Program, _, _ event.Time) { p.GPU.Capability = [2]uint32{8, 0} }, "for Hopper and newer"},
		"too short": {func(p *scene.Program, steady, end event.Time) {
			p.Watch(steady-window/2, steady+window/2, window, scene.Activity{SM: 1})
		}, "a longer run tells"},
		"an unknown GPU": {func(p *scene.Program, steady, end event.Time) {
			p.GPU.Capability = [2]uint32{13, 0}
			p.Watch(steady+2*window, end, window, scene.Activity{SM: 1, Tensor: 1})
		}, "compute capability 13.0"},
		"no ceilings": {func(*scene.Program, event.Time, event.Time) {}, "warpscope bench measures them"},
	} {
		p, _, steady, end := watched(t)
		c.prepare(p, steady, end)
		r := inspectWatched(t, p, Config{Ceilings: unknown}).Roofline.Rows[0]
		if !strings.Contains(strings.Join(r.Missing, "\n"), c.want) {
			t.Errorf("%s: %q, want %q", name, r.Missing, c.want)
		}
		for _, point := range r.Points {
			if point.Operations != 0 {
				t.Errorf("%s: guessed %g operations", name, point.Operations)
			}
		}
	}
}
