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
	slowStart := steady // CUPTI sets itself up
	slowStart.once = 250e6
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
		"steady, launch-bound": steady, "steady, GPU-bound": gpuBound, "switching stalls it": costly, "drifting": drifting, "slow at first": slowStart,
		"changing its phase": phases, "bursty": bursty, "with a period like the windows'": aliasing, "serving, uneven": serving,
		"costing nothing": free,
	}
}

// minimum is the shortest run that the promise is made for at a budget of 1 % and more, from the first regular call
// on; programs that pause at random take longer, because the measure scatters.
func minimum(name string) int64 {
	if name == "bursty" {
		return 240 * second
	}
	return 60 * second
}

func TestBudgetIsKept(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 30
	}
	for name, p := range programs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, share := range []float64{0.01, 0.05} {
				var bound, truth, cover, cases, stopped int
				var worst, sum, recorded, slow float64
				for seed := range uint64(runs) {
					r := simulate(p, share, minimum(name)+int64(seed%7)*5*second, seed+1)
					m := r.result.Processes[0]
					real := r.lost / (float64(r.wall) - r.lost)
					slow += real / float64(runs)
					worst = max(worst, real)
					sum += m.Bound / float64(runs)
					recorded += r.share / float64(runs)
					if m.Bound <= share {
						bound++
					}
					if real <= share {
						truth++
					}
					for k, e := range r.estimates {
						if e.Windows == 0 {
							continue
						}
						cases++
						if e.Low <= r.truth[k] && r.truth[k] <= e.High {
							cover++
						}
					}
					if r.result.Stopped != "" {
						stopped++
					}
				}
				t.Logf("budget %g %%: bound kept in %d, truth in %d of %d runs, given up in %d; slowdown %.2f %%, worst %.2f %%, bound %.2f %%; recorded %.1f %%; %d of %d intervals held the truth",
					share*100, bound, truth, runs, stopped, 100*slow, 100*worst, 100*sum, 100*recorded, cover, cases)
				if bound < runs*95/100 {
					t.Errorf("budget %g %%: the bound was kept in %d of %d runs", share*100, bound, runs)
				}
				if truth < runs*95/100 {
					t.Errorf("budget %g %%: the slowdown was below it in %d of %d runs", share*100, truth, runs)
				}
				if cover < cases*93/100 {
					t.Errorf("budget %g %%: %d of %d intervals held the truth", share*100, cover, cases)
				}
				if stopped > runs/20 {
					t.Errorf("budget %g %%: given up in %d of %d runs without a reason", share*100, stopped, runs)
				}
			}
		})
	}
}

// TestTotalsAreUnbiased: over many runs the errors of regular kernels average out.
func TestTotalsAreUnbiased(t *testing.T) {
	runs := 100
	if testing.Short() {
		runs = 40
	}
	for _, name := range []string{"steady, launch-bound", "drifting", "changing its phase"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := programs()[name]
			for k := range 3 {
				var errs []float64
				for seed := range uint64(runs) {
					r := simulate(p, 0.05, 60*second, 1000+seed)
					errs = append(errs, r.estimates[k].Value/r.truth[k]-1)
				}
				mean, sd := moments(errs)
				limit := 3*sd/math.Sqrt(float64(runs)) + edges
				t.Logf("kernel %d: mean error %+.2f %%, limit %.2f %%", k, 100*mean, 100*limit)
				if math.Abs(mean) > limit {
					t.Errorf("kernel %d: mean error %+.2f %%", k, 100*mean)
				}
			}
		})
	}
}

// TestFallsBack: where what stays behind after recording exceeds the budget, recording ends.
func TestFallsBack(t *testing.T) {
	steady := programs()["steady, launch-bound"]
	for _, test := range []struct {
		name    string
		lasting float64
		share   float64
		want    bool
	}{
		{"all stays behind", 0.08, 0.01, true},
		{"less than the budget", 0.005, 0.01, false},
		{"within a large budget", 0.03, 0.10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			const runs = 40
			stopped := 0
			for seed := range uint64(runs) {
				p := steady
				p.lasting = test.lasting
				r := simulate(p, test.share, 180*second, seed+1)
				if r.result.Stopped != "" {
					stopped++
				}
			}
			t.Logf("given up in %d of %d runs", stopped, runs)
			if test.want && stopped < runs*9/10 || !test.want && stopped > runs/20 {
				t.Errorf("given up in %d of %d runs", stopped, runs)
			}
		})
	}
}

func TestCallbacksAloneExceedTheBudget(t *testing.T) {
	c, err := New(Config{Share: 0.01, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	now := 100 * second
	for i := range int64(600) {
		now += 10 * millisecond
		c.Tick(1, "cuStreamSynchronize", now, uint64(i+1))
		c.Cost(1, float64(now-100*second)*0.02) // of allocations
		if on, _ := c.Next(now); on {
			t.Fatalf("on after %d ms", i*10)
		}
	}
	if r := c.Result(now); r.Stopped == "" {
		t.Error("nothing is said of callbacks that cost twice the budget")
	}
}

func TestProgramWithoutARulerIsNotRecorded(t *testing.T) {
	p := programs()["steady, launch-bound"]
	p.noRuler = true
	r := simulate(p, 0.05, 60*second, 1)
	if r.windows != 0 || len(r.result.Processes) != 0 {
		t.Errorf("%d windows, %+v", r.windows, r.result)
	}
	// Calls by the ten thousand are no ruler either: counting them costs.
	p.noRuler = false
	p.step = jitter(1, 0.01)
	p.ticks = segments
	r = simulate(p, 0.05, 20*second, 1)
	if r.windows != 0 || r.result.Processes[0].Call != "" {
		t.Errorf("%d windows, %+v", r.windows, r.result)
	}
}

func TestShortRunIsHardlyRecordedAndNotCertain(t *testing.T) {
	for name, p := range programs() {
		for seed := range uint64(20) {
			r := simulate(p, 0.01, 8*second, seed+1)
			m := r.result.Processes[0]
			if m.Certain() {
				t.Errorf("%s: certain after 8 s: %+v", name, m)
			}
			if limit := int64(0.02 * 8e9 * 1.5); m.On > limit {
				t.Errorf("%s: recorded for %d ns of 8 s", name, m.On)
			}
		}
	}
}

// TestProcessesShareWindows: the slowest of several processes decides.
func TestProcessesShareWindows(t *testing.T) {
	c, err := New(Config{Share: 0.02, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	now, on := 100*second, false
	counts, next, left := [3]uint64{}, [3]int64{now, now, now}, 0
	for now < 260*second {
		now += millisecond
		for pid := range int32(3) {
			for next[pid] <= now && (pid != 2 || now <= 150*second) {
				step := 10 * millisecond
				if on {
					step += int64(pid+1) * millisecond // 10, 20 and 30 % slower
				}
				counts[pid]++
				c.Tick(pid+1, "cuCtxSynchronize", next[pid], counts[pid])
				next[pid] += step
			}
		}
		if now > 150*second && left == 0 {
			left = 1
			c.Gone(3)
		}
		want, _ := c.Next(now)
		if want != on {
			on = want
			for pid := range int32(3 - left) {
				c.Switch(pid+1, Switch{On: on, Began: now, Taken: now, Ended: now})
			}
		}
	}
	c.Close(now)
	r := c.Result(now)
	rows := map[int32]int{}
	for _, w := range c.Windows() {
		if w.Length > 0 {
			rows[w.PID]++
		}
	}
	for i, m := range r.Processes {
		t.Logf("%+v, %d windows", m, rows[m.PID])
		loss := m.Loss / float64(m.On)
		want := float64(i+1) / float64(i+11)
		if math.Abs(loss-want) > 0.03 {
			t.Errorf("process %d lost %.3f of its windows, not %.3f", m.PID, loss, want)
		}
		if m.Bound > 0.02 {
			t.Errorf("process %d: bound %.4f", m.PID, m.Bound)
		}
	}
	if rows[1] != rows[2] || rows[3] == 0 || rows[3] >= rows[1] {
		t.Errorf("windows by process: %v", rows)
	}
}

func TestShareIsChecked(t *testing.T) {
	for _, share := range []float64{0, -0.1, 1, 1.5, math.NaN(), math.Inf(1)} {
		if _, err := New(Config{Share: share}); err == nil {
			t.Errorf("a budget of %g was taken", share)
		}
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
