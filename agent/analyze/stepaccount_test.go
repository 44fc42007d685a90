package analyze

import (
	"math"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// exact checks that the lines of each step add up to its wall time to the nanosecond, and that all other
// sums agree with them.
func exact(t *testing.T, in *Inspection) {
	t.Helper()
	for i := range in.Account.Rows {
		r := &in.Account.Rows[i]
		for n, lines := range r.lines {
			var sum int64
			for l, ns := range lines {
				if ns < 0 {
					t.Errorf("step %d: line %d is %d ns", n, l, ns)
				}
				sum += ns
			}
			if sum != r.walls[n] {
				t.Errorf("step %d: the lines add up to %d ns, it took %d", n, sum, r.walls[n])
			}
		}
		var sum int64
		for _, l := range r.Lines {
			sum += l.TotalNS
		}
		if sum != r.WallNS {
			t.Errorf("%s: the lines add up to %d ns of %d", r.Name, sum, r.WallNS)
		}
		idle := &in.Idle.Rows[i]
		sum = 0
		for _, c := range idle.Causes {
			sum += c.TotalNS
		}
		if sum != idle.IdleNS || sum != r.Group(GroupIdle) {
			t.Errorf("%s: causes add up to %d ns, idle is %d, in the account %d", r.Name, sum, idle.IdleNS, r.Group(GroupIdle))
		}
	}
}

func TestAccountOfRealTraces(t *testing.T) {
	for _, c := range []struct {
		name, line string // the largest line of idleness
		steps      int
	}{{"gpt-train", "launch-bound", 10}, {"generate", "code", 62}} {
		t.Run(c.name, func(t *testing.T) {
			in := real(t, c.name, Config{Parts: PartsOfSteps}).Inspect()
			exact(t, in)
			r := &in.Account.Rows[0]
			if r.Steps != c.steps {
				t.Errorf("%d steps measured, want %d", r.Steps, c.steps)
			}
			if got := in.Idle.Rows[0].Causes[0].ID; got != c.line {
				t.Errorf("the GPU is mostly idle for %s, want %s", got, c.line)
			}
			if other := r.Line("other").Share; other > 0.01 {
				t.Errorf("%.1f%% of the time in kernels of no known class", other*100)
			}
			if host := r.Line("idle-host").Share + r.Line("idle-unrecorded").Share; host > 0.05 {
				t.Errorf("%.1f%% of the time idle for reasons unknown", host*100)
			}
			// Busy time by the account is that of the union of intervals, found another way.
			var busy int64
			for _, s := range in.Steps.Rows[0].Steps {
				if s.Phase == PhaseSteady {
					busy += s.BusyNS
				}
			}
			if got := r.WallNS - r.Group(GroupIdle); got != busy {
				t.Errorf("busy for %d ns by the account, %d by the union", got, busy)
			}
		})
	}
}

// TestOverlap: what computes hides communication and copies; only what is left of them costs.
func TestOverlap(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	const n = 10
	for range n {
		th.LaunchOn(scene.Stream, "gemm", 1024, 1_000_000)
		th.LaunchOn(20, "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 24, 1_400_000)
		th.Copy(21, event.CopyHostToDevice, event.MemoryPinned, event.MemoryDevice, 1<<20, 300_000)
		th.LaunchOn(scene.Stream, "fused_adam_kernel", 1024, 100_000)
		th.Sync()
	}
	in := steps(t, p, Config{})
	exact(t, in)
	r := &in.Account.Rows[0]
	if r.Steps < n-1 {
		t.Fatalf("%d steps, want %d or %d", r.Steps, n-1, n)
	}
	about := func(id string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.02*want+3000 {
			t.Errorf("%s is %.0f ns a step, want about %.0f", id, got, want)
		}
	}
	about("matmul", r.Line("matmul").PerStep.Mean, 1_000_000)
	about("optimizer", r.Line("optimizer").PerStep.Mean, 100_000)
	about("exposed communication", r.Line("communication").PerStep.Mean, 300_000)
	about("hidden communication", float64(r.OverlappedCommunicationNS)/float64(r.Steps), 1_100_000)
	about("hidden copies", float64(r.OverlappedCopiesNS)/float64(r.Steps), 300_000)
	if l := r.Line("copies-pinned"); l.TotalNS != 0 {
		t.Errorf("copies are exposed for %d ns, want none", l.TotalNS)
	}
}

// TestGraphNodes: a graph's own interval counts only where the kernels in it do not.
func TestGraphNodes(t *testing.T) {
	p := scene.New()
	th := p.Thread()
	for range 8 {
		th.Graph(3, 500_000)
		th.Sync()
	}
	in := steps(t, p, Config{})
	exact(t, in)
	if r := &in.Account.Rows[0]; r.Line("graph").PerStep.Median != 500_000 {
		t.Errorf("graphs take %d ns a step, want 500000: %+v", r.Line("graph").PerStep.Median, r.Lines)
	}
}
