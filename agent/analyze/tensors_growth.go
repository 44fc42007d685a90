package analyze

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// growthSteps is how many repetitions growth is told from.
	growthSteps = 6
	// growthRows is how many repetitions are compared.
	growthRows = 200
	// growthSpread is how much longer than the median most repetitions may be.
	growthSpread = 3.0
	// growthLate is the least part of the growth that the later half must have: what fills and stays has less.
	growthLate = 0.30
	// growthSteady is the part of the repetitions in which it grows or stays.
	growthSteady = 0.75
	// growthChurn is the least part of what a repetition allocates that it gives back, unless it shows
	// otherwise that it is a step: the layers of one forward pass keep most.
	growthChurn = 0.6
)

// Growth is how the live bytes change from step to step, looked at at the same place of each.
type Growth struct {
	// Unknown says why steps could not be told; "" if they could.
	Unknown string `json:"unknown,omitempty"`
	Steps   uint64 `json:"steps"`
	Marker  []Line `json:"marker,omitempty"` // the allocation that comes once a step, innermost first
	// PerStep is the slope over the later steps (Theil and Sen's: half the pairs rise faster), in bytes.
	PerStep float64 `json:"per_step_bytes"`
	Rise    int64   `json:"rise_bytes"` // over the steps looked at
	Late    float64 `json:"late_share"` // of the rise, in the later half of them
	Grows   bool    `json:"grows"`
	// Stacks are those whose survivors grow, the fastest first.
	Stacks []StackGrowth `json:"stacks"`
}

// StackGrowth is how what one stack holds grows.
type StackGrowth struct {
	PerStep   float64 `json:"per_step_bytes"`
	Rise      int64   `json:"rise_bytes"`
	Survivors float64 `json:"survivors_per_step"` // blocks
	Role      Role    `json:"role"`
	Stack     []Line  `json:"stack"`
	Guilty    int     `json:"guilty"`
}

func growthOf(s *event.Snapshot, d *event.DeviceSnapshot, h *holder) Growth {
	marker, why := stepMarker(s, d)
	if why != "" {
		return Growth{Unknown: why, Stacks: []StackGrowth{}}
	}
	g := Growth{Stacks: []StackGrowth{}, Steps: uint64(len(marker.at)), Marker: linesOf(s, marker.stack)}
	// The first steps are warm-up: caches, the optimizer's state, compilation.
	at := marker.at[min(len(marker.at)/4, 10):]
	// A few hundred of them show as much as all, and must not cost a table of stacks each.
	stride := (len(at) + growthRows - 1) / growthRows
	if stride > 1 {
		var thin []int
		for i := 0; i < len(at); i += stride {
			thin = append(thin, at[i])
		}
		at = thin
	}
	per := 1 / float64(max(stride, 1))
	live := liveAt(d, at)
	total := make([]float64, len(at))
	for i := range live {
		for _, b := range live[i] {
			total[i] += float64(b.bytes)
		}
	}
	g.PerStep, g.Rise, g.Late = per*slope(total), int64(total[len(total)-1]-total[0]), late(total)
	g.Grows = growing(total)
	stacks := map[uint32]bool{}
	for i := range live {
		for id := range live[i] {
			stacks[id] = true
		}
	}
	for id := range stacks {
		bytes, blocks := make([]float64, len(at)), make([]float64, len(at))
		for i := range live {
			bytes[i], blocks[i] = float64(live[i][id].bytes), float64(live[i][id].blocks)
		}
		if !growing(bytes) {
			continue
		}
		g.Stacks = append(g.Stacks, StackGrowth{PerStep: per * slope(bytes), Rise: int64(bytes[len(at)-1] - bytes[0]), Survivors: per * slope(blocks), Role: h.role(id), Stack: linesOf(s, id)})
	}
	slices.SortFunc(g.Stacks, func(x, y StackGrowth) int {
		return cmp.Or(cmp.Compare(y.PerStep, x.PerStep), cmp.Compare(fmt.Sprint(x.Stack), fmt.Sprint(y.Stack)))
	})
	g.Stacks = g.Stacks[:min(len(g.Stacks), stackRows)]
	for i := range g.Stacks {
		g.Stacks[i].Guilty = GuiltyLine(g.Stacks[i].Stack)
	}
	return g
}

// growing says whether a row rises steadily, and goes on rising.
func growing(row []float64) bool {
	if len(row) < growthSteps-1 {
		return false
	}
	steady := 0
	for i := 1; i < len(row); i++ {
		if row[i] >= row[i-1] {
			steady++
		}
	}
	rise := row[len(row)-1] - row[0]
	return rise > 0 && slope(row) > 0 && float64(steady) >= growthSteady*float64(len(row)-1) && late(row) >= growthLate
}

// late returns which part of a row's rise its later half has.
func late(row []float64) float64 {
	n := len(row)
	if n < 2 || row[n-1] == row[0] {
		return 0
	}
	return (row[n-1] - row[n/2]) / (row[n-1] - row[0])
}

// slope returns the median of the slopes between pairs: a few outliers do not move it.
func slope(row []float64) float64 {
	var all []float64
	for i := range row {
		for j := i + 1; j < len(row); j++ {
			all = append(all, (row[j]-row[i])/float64(j-i))
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

type held struct{ bytes, blocks int64 }

// liveAt returns what each stack holds at some events, of what the history allocates.
func liveAt(d *event.DeviceSnapshot, at []int) []map[uint32]held {
	out := make([]map[uint32]held, 0, len(at))
	now := map[uint32]held{}
	type block struct {
		stack uint32
		size  int64
	}
	blocks := map[uint64]block{}
	next := 0
	for i := range d.Events {
		if next < len(at) && at[next] == i {
			copied := make(map[uint32]held, len(now))
			for id, b := range now {
				copied[id] = b
			}
			out = append(out, copied)
			next++
		}
		e := &d.Events[i]
		switch e.Action {
		case event.TensorAlloc:
			blocks[e.Address] = block{e.Stack, int64(e.Size)}
			b := now[e.Stack]
			now[e.Stack] = held{b.bytes + int64(e.Size), b.blocks + 1}
		case event.TensorFreeRequested:
			if old, ok := blocks[e.Address]; ok {
				delete(blocks, e.Address)
				b := now[old.stack]
				if b.blocks == 1 {
					delete(now, old.stack)
				} else {
					now[old.stack] = held{b.bytes - old.size, b.blocks - 1}
				}
			}
		}
	}
	return out
}

// stepMark is an allocation that comes once a step.
type stepMark struct {
	stack uint32
	at    []int // events
}

// stepMarker finds the stack that allocates at even distances, from near the beginning to near the end,
// and least often: that of an outer loop.
func stepMarker(s *event.Snapshot, d *event.DeviceSnapshot) (stepMark, string) {
	if len(d.Events) == 0 {
		return stepMark{}, "the snapshot has no history of allocations"
	}
	// The distance is counted in allocations, since frees may come in bulk.
	times := map[uint32][]int{}
	order := make([]int, len(d.Events)) // allocations before an event
	n := 0
	stacks := false
	for i := range d.Events {
		order[i] = n
		if e := &d.Events[i]; e.Action == event.TensorAlloc {
			n++
			if e.Stack != 0 {
				times[e.Stack] = append(times[e.Stack], i)
				stacks = true
			}
		}
	}
	switch {
	case n == 0:
		return stepMark{}, "the snapshot has no history of allocations, only what was live at the end"
	case !stacks:
		return stepMark{}, "the allocations have no stacks"
	}
	best := stepMark{}
	ids := make([]uint32, 0, len(times))
	for id, at := range times {
		if len(at) >= growthSteps {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(x, y uint32) int { return cmp.Or(cmp.Compare(len(times[x]), len(times[y])), cmp.Compare(x, y)) })
	for _, id := range ids {
		switch roleOf(s, id) {
		case RoleOptimizer, RoleStep, RoleParameters:
			continue // it comes once a parameter, within one step
		}
		if at := times[id]; even(at, order, n) && isStep(s, d, at) {
			best = stepMark{id, at}
			break
		}
	}
	if best.at == nil {
		return best, fmt.Sprintf("nothing in the history repeats like a step at least %d times", growthSteps)
	}
	return best, ""
}

// even says whether events lie at even distances over most of the history.
func even(at, order []int, n int) bool {
	// What fills a cache comes once a step as well, but stops.
	last := order[at[len(at)-1]]
	if float64(last-order[at[0]]) < 0.5*float64(n) || float64(last) < 0.85*float64(n) {
		return false
	}
	gaps := make([]float64, 0, len(at)-1)
	for i := 1; i < len(at); i++ {
		gaps = append(gaps, float64(order[at[i]]-order[at[i-1]]))
	}
	sorted := slices.Clone(gaps)
	slices.Sort(sorted)
	median := sorted[len(sorted)/2]
	// The first steps may do more than the others: one in eight may be longer.
	return sorted[len(sorted)*7/8] <= growthSpread*math.Max(median, 1)
}

// isStep says whether what lies between events gives back most of what it takes, or is a training step
// by the names in it: the layers of one pass repeat as well.
func isStep(s *event.Snapshot, d *event.DeviceSnapshot, at []int) bool {
	var taken, given float64
	train := 0
	known := map[uint32]bool{}
	trains := func(stack uint32) bool {
		is, ok := known[stack]
		if !ok {
			for _, i := range s.Stacks[stack] {
				l := &s.Lines[i]
				if l.Function == "zero_grad" || l.Function == "backward" || strings.Contains(l.Function, "_engine_run_backward") || l.Function == "step" && strings.Contains(l.File, "optim") {
					is = true
				}
			}
			known[stack] = is
		}
		return is
	}
	for k := 0; k+1 < len(at); k++ {
		found := false
		for i := at[k]; i < at[k+1]; i++ {
			switch e := &d.Events[i]; e.Action {
			case event.TensorAlloc:
				taken += float64(e.Size)
				found = found || trains(e.Stack)
			case event.TensorFreeRequested:
				given += float64(e.Size)
				found = found || trains(e.Stack)
			}
		}
		if found {
			train++
		}
	}
	return float64(train) >= 0.8*float64(len(at)-1) || given >= growthChurn*taken
}
