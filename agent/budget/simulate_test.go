package budget

import (
	"math"
	"math/rand/v2"
)

// program is a made-up program: steps of work, each of segments in which kernels are launched.
type program struct {
	// step returns how long step i takes without recording, in ns, at a moment of work done.
	step func(r *rand.Rand, i int, work int64) float64
	// wait returns how long the program waits before step i for its own reasons, in ns; nil: never.
	wait func(r *rand.Rand, i int) float64
	// launches returns how many kernels of each name a segment of a step launches.
	launches func(i, segment int, counts *[kernelNames]int)
	slow     float64 // slowdown while recording: 0.3 takes 1.3 times as long
	stall    float64 // ns lost at each switch
	once     float64 // ns lost at the first
	lasting  float64 // slowdown that stays once anything has been recorded
	ticks    int     // calls of the ruler a step
	noRuler  bool
}

const (
	segments    = 20
	kernelNames = 4
)

// run is what a simulated run was, in truth and as estimated.
type run struct {
	wall      int64   // ns since measuring began
	lost      float64 // ns, in truth
	result    Result
	truth     [kernelNames]float64 // launches since planning began
	estimates [kernelNames]Estimate
	share     float64
	windows   int
}

// simulate runs a program for a time under a Controller.
func simulate(p program, share float64, length int64, seed uint64) run {
	c, err := New(Config{Share: share, Seed: seed})
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var out run
	var recorded []launch
	now, work := int64(1000)*second, int64(0)
	start := now
	on, want, ever := false, false, false
	var switchAt, poll int64
	var count uint64
	var began int64
	// While CUPTI is being switched the program waits for it.
	stall := func(working bool, ns float64) float64 {
		if !working {
			return 0
		}
		now += int64(ns)
		out.lost += ns
		return ns
	}
	advance := func(ns float64, working bool) float64 { // returns the time that it took
		took := 0.0
		for ns > 0 {
			slow := 1.0
			if working && on {
				slow += p.slow
			}
			if working && ever {
				slow *= 1 + p.lasting
			}
			next := poll
			if switchAt > 0 {
				next = min(next, switchAt)
			}
			part := min(ns, max(0, float64(next-now))/slow)
			if part > 0 {
				now += int64(math.Round(part * slow))
				ns -= part
				took += part * slow
				if c.begun > 0 && working {
					out.lost += part * (slow - 1)
				}
				if ns <= 1e-3 {
					break
				}
			}
			if switchAt > 0 && now >= switchAt {
				switchAt = 0
				if on != want {
					began = now
					on = want
					took += stall(working, p.stall)
					if !ever {
						took += stall(working, p.once)
					}
					ever = true
					c.Switch(1, Switch{On: on, Began: began, Taken: began + 200_000, Ended: now + 400_000})
				}
			}
			if now >= poll {
				poll = now + 20*millisecond
				w, again := c.Next(now)
				poll = min(poll, max(again, now+millisecond))
				if w != want {
					want = w
					switchAt = now + millisecond + int64(r.Float64()*float64(20*millisecond))
				}
			}
		}
		return took
	}
	for i := 0; now < start+length; i++ {
		if p.wait != nil {
			advance(p.wait(r, i), false)
		}
		d := p.step(r, i, work)
		work += int64(d)
		for s := range segments {
			advance(d/segments, true)
			var counts [kernelNames]int
			p.launches(i, s, &counts)
			for k, n := range counts {
				if n == 0 {
					continue
				}
				if c.from > 0 {
					out.truth[k] += float64(n)
				}
				if on {
					recorded = append(recorded, launch{now, k, float64(n)})
				}
			}
			if !p.noRuler && p.ticks > 0 && (s+1)%(segments/p.ticks) == 0 {
				count++
				c.Tick(1, "cuCtxSynchronize", now, count)
			}
		}
	}
	c.Next(now)
	c.Close(now)
	out.result = c.Result(now)
	if c.begun > 0 {
		out.wall = now - c.begun
	}
	out.estimate(c.Windows(), recorded)
	return out
}

type launch struct {
	at     int64
	kernel int
	n      float64
}

// estimate does what agent/analyze does with a trace.
func (o *run) estimate(rows []Window, recorded []launch) {
	var d Design
	var sums [kernelNames]Sum
	at := 0
	for i := range rows {
		w := &rows[i]
		d.Span(float64(w.SpanWork))
		if w.Length == 0 {
			continue
		}
		d.Window(w.Weight(), float64(w.Work))
		end := int64(math.MaxInt64)
		for j := i + 1; j < len(rows); j++ {
			if rows[j].Length > 0 {
				end = rows[j].Begin
				break
			}
		}
		var seen [kernelNames]float64
		for ; at < len(recorded) && recorded[at].at < end; at++ {
			seen[recorded[at].kernel] += recorded[at].n
		}
		for k := range seen {
			sums[k].Add(w.Weight(), float64(w.Work), seen[k])
		}
	}
	o.windows, o.share = d.Windows(), d.Share()
	for k := range sums {
		o.estimates[k] = d.Estimate(&sums[k])
	}
}
