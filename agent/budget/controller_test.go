package budget

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// jitter returns a step that scatters by a share around its mean, in ms.
func jitter(ms, share float64) func(*rand.Rand, int, int64) float64 {
	return func(r *rand.Rand, _ int, _ int64) float64 {
		return ms * 1e6 * max(0.2, 1+share*r.NormFloat64())
	}
}

// training launches kernels as a training step does: one name all the time, one in the last quarter, one every
// fourth step, one in every fiftieth.
func training(i, segment int, n *[kernelNames]int) {
	n[0] = 20
	if segment >= segments*3/4 {
		n[1] = 30
	}
	if i%4 == 0 && segment < 5 {
		n[2] = 4
	}
	if i%50 == 0 {
		n[3] = 10
	}
}

// programs are the kinds of programs that the promise is made for.
func programs() map[string]program {
	steady := program{step: jitter(21, 0.03), launches: training, slow: 0.3, ticks: 1}
	gpuBound := steady
	gpuBound.step, gpuBound.slow = jitter(29, 0.005), 0.03
	costly := steady
	costly.slow, costly.stall = 0.2, 10e6
	drifting := steady
	drifting.step = func(r *rand.Rand, _ int, work int64) float64 {
		drift := 1 + 0.15*math.Sin(2*math.Pi*float64(work)/float64(40*second))
		return 21e6 * drift * (1 + 0.03*r.NormFloat64())
	}
	phases := steady
	phases.step = func(r *rand.Rand, _ int, work int64) float64 {
		ms := 21.0
		if work/(7*second)%2 == 1 {
			ms = 55
		}
		return ms * 1e6 * (1 + 0.03*r.NormFloat64())
	}
	phases.launches = func(i, segment int, n *[kernelNames]int) {
		training(i, segment, n)
		if i%600 < 200 {
			n[1] += 20
		}
	}
	bursty := steady
	bursty.wait = func(r *rand.Rand, i int) float64 {
		if i%60 == 59 {
			return 1.2e9 * r.ExpFloat64()
		}
		return 0
	}
	aliasing := steady // its own period is the length of a window, and of a span
	aliasing.launches = func(i, segment int, n *[kernelNames]int) {
		n[0] = 20
		if i%14 < 2 {
			n[1] = 100
		}
		if i%280 < 14 {
			n[2] = 40
		}
		if i%2 == 0 && segment == 3 {
			n[3] = 5
		}
	}
	serving := steady // several waits a step, unevenly
	serving.ticks, serving.slow = 4, 0.15
	serving.step = func(r *rand.Rand, _ int, _ int64) float64 { return 8e6 + 12e6*r.ExpFloat64() }
	free := steady
	free.slow = 0
	return map[string]program{
		"steady, launch-bound": steady, "steady, GPU-bound": gpuBound, "switching stalls it": costly, "drifting": drifting,
		"changing its phase": phases, "bursty": bursty, "with a period like the windows'": aliasing, "serving, uneven": serving,
		"costing nothing": free,
	}
}

// minimum is the shortest run that the promise is made for at a budget of 1 %.
const minimum = 60 * second

func TestBudgetIsKept(t *testing.T) {
	runs := 120
	if testing.Short() {
		runs = 30
	}
	for name, p := range programs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, share := range []float64{0.01, 0.05} {
				var bound, truth, certain, cover, cases int
				var worst, sum, recorded, slow float64
				var names [kernelNames]int
				var bias, half [kernelNames]float64
				for seed := range uint64(runs) {
					r := simulate(p, share, minimum+int64(seed%7)*5*second, seed+1)
					m := r.result.Processes[0]
					real := r.lost / (float64(r.wall) - r.lost)
					slow += real
					worst = max(worst, real)
					sum += m.Bound
					recorded += r.share
					if m.Bound <= share {
						bound++
					}
					if false {
					}
					if real <= share {
						truth++
					}
					if m.Certain() {
						certain++
					}
					for k, e := range r.estimates {
						if e.Windows == 0 {
							continue
						}
						bias[k] += (e.Value/r.truth[k] - 1) / float64(runs) * 100
						half[k] += e.PlusMinus() / r.truth[k] / float64(runs) * 100
						cases++
						if e.Low <= r.truth[k] && r.truth[k] <= e.High {
							cover++
							names[k]++
						}
					}
					if r.result.Stopped != "" {
						t.Errorf("seed %d: %s", seed, r.result.Stopped)
					}
				}
				t.Logf(name+": budget %g %%: bound kept %d, truth kept %d, certain %d of %d; slowdown mean %.2f %% worst %.2f %%, bound mean %.2f %%; recorded %.1f %%; covered %d of %d %v, bias %.2f %% half %.1f %%",
					share*100, bound, truth, certain, runs, 100*slow/float64(runs), 100*worst, 100*sum/float64(runs), 100*recorded/float64(runs), cover, cases, names, bias, half)
				if bound < runs*95/100 {
					t.Errorf("budget %g %%: the bound was kept in %d of %d runs", share*100, bound, runs)
				}
				if truth < runs*95/100 {
					t.Errorf("budget %g %%: the slowdown was below it in %d of %d runs", share*100, truth, runs)
				}
				if cover < cases*93/100 {
					t.Errorf("budget %g %%: %d of %d intervals held the truth", share*100, cover, cases)
				}
			}
		})
	}
}

func ExampleController_Next() {
	c, err := New(Config{Share: 0.01, Seed: 1})
	if err != nil {
		panic(err)
	}
	on, _ := c.Next(1)
	fmt.Println(on) // nothing is known of any program yet
	// Output: false
}
