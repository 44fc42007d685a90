package analyze

import (
	"math"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// lookAhead is how many steps beyond those that are settled must be known: what a step is depends on the next ones.
	lookAhead = 4
	// maxSteps bounds the steps of a lane.
	maxSteps = 1 << 20
)

// settle accounts for the steps that have ended, and lets their events go. Records arrive somewhat out of
// order, and a call far from what it launched: the last quarter stays.
func (t *timelines) settle(l *timeline) {
	l.sort()
	keep := event.Time(math.MaxInt64)
	if until := l.until(); until > 0 {
		for _, ln := range l.split() {
			if from, ok := ln.part(t.a, until); ok {
				keep = min(keep, from)
			}
		}
	}
	if keep < math.MaxInt64 {
		l.keep(keep)
		return
	}
	if l.limit < l.most {
		l.limit = min(2*l.limit, l.most)
		return
	}
	l.drop()
}

// until returns up to when all is likely to be there, 0 if nothing is.
func (l *timeline) until() event.Time {
	if len(l.gpu) == 0 || len(l.cpu) == 0 && l.p.info.API != "none" {
		return 0
	}
	t := l.gpu[len(l.gpu)*3/4].start
	if n := len(l.cpu); n > 0 {
		t = min(t, l.cpu[n*3/4].start)
	}
	return t
}

// keep drops what is not needed for steps that begin at a time or later, and what came right before.
func (l *timeline) keep(from event.Time) {
	l.gpu = slices.DeleteFunc(l.gpu, func(w gpuWork) bool { return w.start < from && w.end <= from })
	// The CPU is ahead of the GPU: what is kept may have been launched long before.
	calls := from
	if len(l.lanes) > 0 {
		index := callCursor{callIndex: l.lanes[0].calls}
		for i := range l.gpu {
			if at := index.of(l.gpu[i].correlation); at >= 0 {
				calls = min(calls, l.cpu[at].start)
			}
		}
	}
	calls -= afterSync
	l.cpu = slices.DeleteFunc(l.cpu, func(c cpuWork) bool { return c.end < calls })
	l.ranges = slices.DeleteFunc(l.ranges, func(r stepRange) bool { return r.end < calls })
	for _, ln := range l.lanes {
		if !ln.known {
			ln.cut = from
		}
	}
	if len(l.gpu) > l.limit*7/8 || len(l.cpu) > l.limit*7/8 {
		l.drop()
	}
}

// drop drops the oldest half, of which no steps are known: the end of a long run is steadier than its beginning.
func (l *timeline) drop() {
	cut := event.Time(0)
	if n := len(l.gpu); n > l.limit/2 {
		cut = l.gpu[n/2].start
	}
	if n := len(l.cpu); n > l.limit/2 {
		cut = max(cut, l.cpu[n/2].start)
	}
	l.cut = max(l.cut, cut)
	l.gpu = slices.DeleteFunc(l.gpu, func(w gpuWork) bool { return w.start < cut })
	l.cpu = slices.DeleteFunc(l.cpu, func(c cpuWork) bool { return c.start < cut })
}

// sort brings everything into the order of time.
func (l *timeline) sort() {
	l.gpu = slices.DeleteFunc(l.gpu, func(w gpuWork) bool { return w.start < l.cut || l.p.nodes && w.kind == workGraph })
	inOrder(l.gpu, func(w *gpuWork) event.Time { return w.start })
	inOrder(l.cpu, func(c *cpuWork) event.Time { return c.start })
	inOrder(l.ranges, func(r *stepRange) event.Time { return r.start })
	slices.Sort(l.loads)
	l.results()
	l.python.sort()
}

// split hands what is there to the lanes, by GPU.
func (l *timeline) split() []*lane {
	calls := newCallIndex(l.cpu)
	for _, ln := range l.lanes {
		ln.work, ln.calls = nil, calls
	}
	of := func(device uint16) *lane {
		at, ok := slices.BinarySearchFunc(l.lanes, device, func(ln *lane, device uint16) int { return int(ln.device) - int(device) })
		if !ok {
			l.lanes = slices.Insert(l.lanes, at, newLane(l, device))
			l.lanes[at].calls = calls
		}
		return l.lanes[at]
	}
	switch n := len(l.gpu); {
	case n == 0:
	case !slices.ContainsFunc(l.gpu, func(w gpuWork) bool { return w.device != l.gpu[0].device }):
		of(l.gpu[0].device).work = l.gpu
	default:
		for i := range l.gpu {
			ln := of(l.gpu[i].device)
			ln.work = append(ln.work, l.gpu[i])
		}
	}
	return l.lanes
}

// part accounts for the steps that end by a time, and returns from when on events are still needed; false: there are
// no such steps.
func (ln *lane) part(a *Analysis, until event.Time) (from event.Time, ok bool) {
	if len(ln.work) == 0 {
		return 0, false
	}
	ln.begin()
	ln.find(a, false)
	fresh := ln.fresh()
	n := sort.Search(len(fresh), func(i int) bool { return fresh[i].end > until }) - lookAhead
	if n <= 0 {
		ln.steps = ln.steps[:ln.settled]
		return ln.nothing(a, until)
	}
	ln.known, ln.ignored = true, 0
	ln.done = fresh[n].start
	from = fresh[n-1].start
	ln.steps = ln.steps[:ln.settled+n]
	ln.count(ln.done)
	ln.finishPart(a)
	if ln.settled > maxSteps {
		ln.restart(ln.done)
	}
	return from, true
}

// nothing passes over work without steps in a lane that had some, unless it has become more than that which had:
// then they are looked for anew.
func (ln *lane) nothing(a *Analysis, until event.Time) (from event.Time, ok bool) {
	if !ln.known || ln.done >= until {
		return 0, false
	}
	at := func(t event.Time) int {
		return sort.Search(len(ln.work), func(i int) bool { return ln.work[i].start >= t })
	}
	passed := at(until) - at(ln.done)
	if len(ln.steps) == 0 || passed == 0 {
		return 0, false
	}
	// A step may still be going on that is longer than what was kept.
	if ln.l.limit < ln.l.most {
		return 0, false
	}
	ln.ignored += passed
	ln.done = until
	if ln.ignored > ln.counted {
		ln.restart(until)
	}
	return until, true
}

// restart forgets all steps that were found.
func (ln *lane) restart(cut event.Time) {
	again := newLane(ln.l, ln.device)
	again.work, again.calls, again.cut, again.done = ln.work, ln.calls, cut, cut
	again.first, again.end = ln.first, ln.end
	*ln = *again
}

// finish looks at what is left.
func (ln *lane) finish(a *Analysis) {
	ln.begin()
	ln.find(a, true)
	ln.count(math.MaxInt64)
	ln.finishPart(a)
}

// finishPart measures the steps that were found since begin.
func (ln *lane) finishPart(a *Analysis) {
	fresh := ln.fresh()
	if ln.source != StepsByNone {
		ln.phases(a)
	}
	ln.useTensors(a)
	if a.config.Parts&(PartAccount|PartIdle) != 0 {
		ln.account(a)
	}
	for i := range fresh {
		ln.counted += fresh[i].to - fresh[i].from
	}
	ln.settled = len(ln.steps)
}
