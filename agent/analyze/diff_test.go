package analyze

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// regressed is a program of which one kernel takes length, one is launched count times, and which waits for the GPU in each
// step if it is told to; its clock is as given.
func regressed(t *testing.T, length int64, count int, wait bool, clock int32, throttle int64) *Inspection {
	t.Helper()
	p := scene.New()
	th := p.Thread()
	for range 40 {
		th.Launch("embedding_kernel", 5_000)
		for range 10 {
			th.Launch("nvjet_gemm", length)
		}
		for range count {
			th.Launch("vectorized_elementwise_kernel", 20_000)
		}
		if wait {
			th.Sync()
			th.Host(300_000)
		}
		th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
	}
	for i := range 20 {
		p.Sample(p.Info.StartTime+event.Time(i)*1_000_000, clock, throttle)
	}
	a := New(Config{Parts: PartAccount | PartIdle})
	a.Provenance(&event.Provenance{Command: p.Info.Command, Driver: "580.1"})
	if err := p.Feed(a); err != nil {
		t.Fatal(err)
	}
	return a.Inspect()
}

func TestDifferenceNamesTheCause(t *testing.T) {
	before := regressed(t, 100_000, 10, false, 1980, 1)
	kernel := func(d *Difference, name string) DiffKernel {
		for _, k := range d.Rows[0].Kernels {
			if k.Name == name {
				return k
			}
		}
		t.Fatalf("no kernel %s", name)
		return DiffKernel{}
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.02*max(math.Abs(want), 1000) {
			t.Errorf("%s is %g, want %g", what, got, want)
		}
	}

	// Kernels that take longer.
	d := Compare(before, regressed(t, 120_000, 10, false, 1980, 1))
	k := kernel(d, "nvjet_gemm")
	calls, length := k.Cause()
	near("more calls", calls, 0)
	near("longer calls", length, 200_000)
	near("the step", d.Rows[0].Delta, 200_000)

	// More of them.
	d = Compare(before, regressed(t, 100_000, 25, false, 1980, 1))
	k = kernel(d, "vectorized_elementwise_kernel")
	calls, length = k.Cause()
	near("more calls", calls, 15*20_000)
	near("longer calls", length, 0)

	// A wait.
	d = Compare(before, regressed(t, 100_000, 10, true, 1980, 1))
	r := d.Rows[0]
	if len(r.Places) == 0 || r.Places[0].Cause != "sync" || r.Places[0].A != 0 || r.Places[0].Delta < 250_000 || r.Lines[0].ID != "idle-sync" {
		t.Errorf("a wait: %+v", r.Places)
	}
	if len(d.Settings) != 0 {
		t.Errorf("settings: %+v", d.Settings)
	}

	// A clock that is held down, on another driver.
	slow := regressed(t, 140_000, 10, false, 1400, 4)
	slow.Provenance.Driver = "590.2"
	d = Compare(before, slow)
	if c := d.Rows[0].Clock; c != (DiffClock{A: 1980, B: 1400, ThrottledB: "power cap"}) {
		t.Errorf("clock %+v", c)
	}
	if len(d.Settings) != 1 || d.Settings[0] != (DiffSetting{"driver", "580.1", "590.2"}) {
		t.Errorf("settings: %+v", d.Settings)
	}

	// A trace and itself.
	d = Compare(before, before)
	if r := d.Rows[0]; r.Delta != 0 || r.Lines[0].Delta != 0 || r.Kernels[0].Delta != 0 || len(d.Settings) != 0 {
		t.Errorf("itself: %+v", r)
	}
}
