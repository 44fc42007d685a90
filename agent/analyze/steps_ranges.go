package analyze

import (
	"regexp"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// stepText is what people write on the range around a step: "step 12", "iteration", "ProfilerStep#3".
const stepText = `(?i)(^|[^a-z])(train(ing)?[ _-]?|profiler|global[ _-]?)?(step|iter|iteration|train[ _-]?batch|decode|token)s?([^a-z]|$)`

const (
	// maxPause is how many times a step's length the time to the next one may be, to be counted to it:
	// waiting for data is part of a step, an evaluation is not.
	maxPause = 5
	// minRangeCoverage is the part of the stream's work that ranges must hold to be steps.
	minRangeCoverage = 0.3
)

// byRanges makes steps of NVTX ranges, and says whether there were any.
func (ln *lane) byRanges() bool {
	if len(ln.main) == 0 || !ln.known && len(ln.l.ranges) < minRepeats {
		return false
	}
	byText := make(map[uint32][]stepRange)
	for _, r := range ln.l.ranges {
		if ln.known && r.text == ln.text || !ln.known && ln.l.isStep(r.text) {
			byText[r.text] = append(byText[r.text], r)
		}
	}
	launched := ln.launchTimes()
	if ln.known {
		ln.fromRanges(disjoint(byText[ln.text]), launched)
		return true
	}
	var best []stepRange
	bestWork := 0
	for _, ranges := range byText {
		ranges = disjoint(ranges)
		if len(ranges) < minRepeats {
			continue
		}
		work := 0
		for _, r := range ranges {
			from, to := between(launched, r.start, r.end)
			work += to - from
		}
		// Of nested ranges the outermost are the steps; they hold as much work in fewer ranges.
		if work > bestWork || work == bestWork && len(ranges) < len(best) {
			best, bestWork = ranges, work
		}
	}
	if float64(bestWork) < minRangeCoverage*float64(len(ln.main)) {
		return false
	}
	ln.text = best[0].text
	ln.marker = ln.l.texts[ln.text]
	ln.fromRanges(best, launched)
	if len(ln.fresh()) >= minRepeats {
		return true
	}
	ln.steps = ln.steps[:ln.settled]
	return false
}

// isStep says whether a text of ranges is that of steps.
func (l *timeline) isStep(text uint32) bool {
	for len(l.isSteps) <= int(text) {
		l.isSteps = append(l.isSteps, regexp.MustCompile(stepText).MatchString(l.texts[len(l.isSteps)]))
	}
	return l.isSteps[text]
}

// disjoint leaves out ranges that begin inside the one before: another thread's, or nested ones.
func disjoint(ranges []stepRange) []stepRange {
	out := ranges[:0:0]
	for _, r := range ranges {
		if len(out) == 0 || r.start >= out[len(out)-1].end {
			out = append(out, r)
		}
	}
	return out
}

// launchTimes returns for each piece of work on the main stream when the CPU launched it, made
// ascending; where the call is not in the trace, when it began.
func (ln *lane) launchTimes() []event.Time {
	out := make([]event.Time, len(ln.main))
	calls := callCursor{callIndex: ln.calls}
	var last event.Time
	for i, n := range ln.main {
		w := &ln.work[n]
		t := w.start
		if at := calls.of(w.correlation); at >= 0 {
			t = ln.calls.cpu[at].start
		}
		last = max(last, t)
		out[i] = last
	}
	return out
}

// between returns the positions whose launch lies from start up to end.
func between(launched []event.Time, start, end event.Time) (from, to int) {
	from = sort.Search(len(launched), func(i int) bool { return launched[i] >= start })
	to = sort.Search(len(launched), func(i int) bool { return launched[i] >= end })
	return from, to
}

// fromRanges turns ranges on the CPU into steps on the GPU: each begins with the first work that was
// launched in it.
func (ln *lane) fromRanges(ranges []stepRange, launched []event.Time) {
	lengths := make([]int64, len(ranges))
	for i, r := range ranges {
		lengths[i] = int64(r.end - r.start)
	}
	usual := event.Time(median(lengths))
	for i, r := range ranges {
		from, to := between(launched, r.start, r.end)
		if from == to {
			continue
		}
		s := step{start: ln.work[ln.main[from]].start}
		for _, n := range ln.main[from:to] {
			s.end = max(s.end, ln.work[n].end)
		}
		if i+1 < len(ranges) && ranges[i+1].start-r.end <= maxPause*max(usual, r.end-r.start) {
			if next, end := between(launched, ranges[i+1].start, ranges[i+1].end); next < end {
				s.end = ln.work[ln.main[next]].start
			}
		}
		ln.steps = append(ln.steps, s)
	}
	fresh := ln.fresh()
	slices.SortFunc(fresh, func(x, y step) int { return int(min(max(x.start-y.start, -1), 1)) })
	for i := 1; i < len(fresh); i++ { // work of two steps at once belongs to the one that began first
		fresh[i-1].end = min(fresh[i-1].end, fresh[i].start)
	}
}
