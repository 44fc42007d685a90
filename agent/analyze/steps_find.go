package analyze

import (
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// lane is what one process ran on one GPU: what steps are found in, and accounts made of. The events of long traces
// come and go in parts; steps and sums stay.
type lane struct {
	l      *timeline
	device uint16
	work   []gpuWork // in the order of time
	main   []int32   // indices of work on the stream with most of it
	stream uint32    // that stream
	calls  *callIndex

	source, marker, unit string
	repeats              int
	optimizer            bool  // an optimizer's kernels were seen
	once                 bool  // but too rarely to tell steps
	named                bool  // it is known that steps or tokens repeat
	steady, others       int64 // ns of measured steps, and of those after the warm-up that are not
	training             bool  // or others that only training has
	decode               bool  // there was a prompt
	steps                []step

	known     bool       // source and marker are
	mark      mark       // what steps begin with, by the sequence of kernels
	starts    []int      // where it is, in main
	text      uint32     // of the ranges that are steps
	usualGap  int        // work from one mark to the next
	settled   int        // steps that are accounted for
	done      event.Time // and up to when
	counted   int        // work in them
	countedTo event.Time // up to when repetitions are counted
	ignored   int        // work passed over since
	cut       event.Time // where steps were looked for from; 0: the timeline says
	long      int        // steps many times as long as usual
	lastKind  stepKind   // of the last part with enough steps
	first     event.Time // of all work
	end       event.Time
	tensors   [2]int64 // ns of kernels that use tensor cores, and of those on TF32

	sweep   *accountSweep
	idle    *idleTable
	row     AccountRow
	kernels map[event.StringID]*AccountKernel
	factSum *factSums
}

func newLane(l *timeline, device uint16) *lane {
	return &lane{l: l, device: device, kernels: make(map[event.StringID]*AccountKernel)}
}

// fresh returns the steps that are not accounted for.
func (ln *lane) fresh() []step { return ln.steps[ln.settled:] }

// step is one step on one GPU: it begins with its first work there, and ends where the next one
// begins.
type step struct {
	start, end event.Time
	from, to   int // indices of the work that begins in it
	busy       int64
	kernels    int
	phase      string
}

func (s *step) wall() int64 { return int64(s.end - s.start) }

// begin takes a part of the work.
func (ln *lane) begin() {
	for i := range ln.work {
		w := &ln.work[i]
		if ln.first == 0 || w.start < ln.first {
			ln.first = w.start
		}
		ln.end = max(ln.end, w.end)
	}
	ln.findMain()
}

// findMain chooses the stream that steps are looked for in: the one with most computing, since
// communication and copies run ahead or behind.
func (ln *lane) findMain() {
	busy := make([]int64, len(ln.l.streams)+1)
	computes := false
	for i := range ln.work {
		if w := &ln.work[i]; w.class != ClassCommunication && (w.kind == workKernel || w.kind == workGraph) {
			busy[min(int(w.stream), len(busy)-1)] += int64(w.end-w.start) + 1
			computes = true
		}
	}
	best := 0
	for stream, ns := range busy {
		if ns > busy[best] {
			best = stream
		}
	}
	if !ln.known || busy[min(int(ln.stream), len(busy)-1)] == 0 {
		ln.stream = uint32(best)
	}
	ln.main = ln.main[:0]
	for i := range ln.work {
		if ln.work[i].stream == ln.stream || !computes {
			ln.main = append(ln.main, int32(i))
		}
	}
}

func (ln *lane) key(a *Analysis) Key {
	k := a.processKey(ln.l.p.id)
	d := a.deviceKey(int(ln.device))
	k.GPU, k.UUID = d.GPU, d.UUID
	return k
}

// active is the time from the first work to the end of the last.
func (ln *lane) active() int64 { return int64(ln.end - ln.first) }

func (ln *lane) last() event.Time {
	var last event.Time
	for i := range ln.work {
		last = max(last, ln.work[i].end)
	}
	return last
}

// find finds the steps in what is there of the work; all says that nothing more comes. Once it is known what
// marks them, that is looked for.
func (ln *lane) find(a *Analysis, all bool) {
	ln.starts = ln.starts[:0]
	if ln.known {
		ln.again(a)
	} else {
		ln.findFirst(a)
	}
	if ln.source == "" && all && !ln.known {
		ln.source, ln.unit = StepsByNone, "trace"
		ln.whole()
		return
	}
	fresh := ln.fresh()
	ln.steps = append(ln.steps[:ln.settled], slices.DeleteFunc(fresh, func(s step) bool { return s.start < ln.done })...)
	ln.measure()
}

func (ln *lane) findFirst(a *Analysis) {
	period := findPeriod(ln.sequence(a))
	ln.starts, ln.mark = append(ln.starts, period.starts...), period.mark
	ln.optimizer, ln.once = period.training && !period.once, period.once
	ln.named = period.named
	ln.source = ""
	switch {
	case !a.config.IgnoreRanges && ln.byRanges():
		ln.source = StepsByRange
	case len(period.starts) > 0:
		ln.source = StepsByPeriod
		ln.marker = ln.workName(a, &ln.work[ln.main[period.starts[0]]])
		ln.byPeriod()
	}
}

// again finds steps as before.
func (ln *lane) again(a *Analysis) {
	ln.findMark(a)
	if ln.source == StepsByRange {
		ln.byRanges()
		return
	}
	if len(ln.starts) == 0 {
		// The same may have been launched otherwise: what repeats now are steps if they are of the same length.
		if p := findPeriod(ln.sequence(a)); len(p.starts) > 1 {
			gap := gapOf(p.starts)
			if d := gap - ln.usualGap; 4*max(d, -d) <= ln.usualGap {
				ln.starts, ln.mark = append(ln.starts, p.starts...), p.mark
			}
		}
	}
	if len(ln.starts) > 0 {
		ln.byPeriod()
	}
}

// findMark finds what steps begin with.
func (ln *lane) findMark(a *Analysis) {
	if ln.mark.key == 0 {
		return
	}
	before := ^uint64(0)
	for i, n := range ln.main {
		w := &ln.work[n]
		fine, coarse := w.fine(), w.fine()
		if !ln.mark.fine {
			coarse = w.coarse(a)
		}
		if coarse == ln.mark.key && (fine != before || ln.mark.each) {
			ln.starts = append(ln.starts, i)
		}
		before = fine
	}
}

// count counts the repetitions that begin up to a time.
func (ln *lane) count(until event.Time) {
	for _, at := range ln.starts {
		if start := ln.work[ln.main[at]].start; start < until && start >= ln.countedTo {
			ln.repeats++
		}
	}
	ln.countedTo = until
}

// whole makes all that was recorded one step.
func (ln *lane) whole() {
	if len(ln.work) == 0 {
		return
	}
	ln.steps = []step{{start: ln.work[0].start, end: ln.last(), phase: PhaseSteady}}
	ln.measure()
}

// gapOf returns the usual distance between positions.
func gapOf(starts []int) int {
	lengths := make([]int64, 0, len(starts))
	for i := 1; i < len(starts); i++ {
		lengths = append(lengths, int64(starts[i]-starts[i-1]))
	}
	return int(median(lengths))
}

// byPeriod makes steps that begin at the marks in the main stream's sequence.
func (ln *lane) byPeriod() {
	starts := ln.starts
	if len(starts) > 1 {
		ln.usualGap = gapOf(starts)
	}
	usual := max(ln.usualGap, 1)
	for i, at := range starts {
		s := step{start: ln.work[ln.main[at]].start}
		if i+1 < len(starts) {
			s.end = ln.work[ln.main[starts[i+1]]].start
		} else {
			// Nobody says where the last step ends: with as much work as the others have.
			n := min(at+usual, len(ln.main)) - 1
			s.end = ln.until(ln.main[n])
			if n-at+1 < usual*9/10 {
				s.phase = PhaseTail
			}
		}
		ln.steps = append(ln.steps, s)
	}
}

// until returns when everything has ended that began no later than a piece of work ends.
func (ln *lane) until(n int32) event.Time {
	end := ln.work[n].end
	for i := range ln.work {
		if w := &ln.work[i]; w.start < ln.work[n].end {
			end = max(end, w.end)
		}
	}
	return end
}

// measure fills in what runs in each fresh step.
func (ln *lane) measure() {
	ln.steps = append(ln.steps[:ln.settled], slices.DeleteFunc(ln.fresh(), func(s step) bool { return s.end <= s.start })...)
	fresh := ln.fresh()
	for i := range fresh {
		s := &fresh[i]
		s.from = sort.Search(len(ln.work), func(n int) bool { return ln.work[n].start >= s.start })
		s.to = sort.Search(len(ln.work), func(n int) bool { return ln.work[n].start >= s.end })
		var busy Union
		for n := s.from; n < s.to; n++ {
			w := &ln.work[n]
			busy.Add(w.start, min(w.end, s.end))
			if w.kind == workKernel {
				s.kernels++
			}
		}
		s.busy = busy.Total()
	}
}

// sequence describes the work on the main stream for the search for a period.
func (ln *lane) sequence(a *Analysis) []symbol {
	seq := make([]symbol, len(ln.main))
	embeds := make(map[event.StringID]bool)
	for i, n := range ln.main {
		w := &ln.work[n]
		s := &seq[i]
		s.class, s.ns = w.class, int64(w.end-w.start)
		s.kernel = w.kind == workKernel || w.kind == workGraph
		s.result = w.kind == workCopy && event.CopyKind(w.id) == event.CopyDeviceToHost
		s.fine = w.fine()
		s.coarse = s.fine | 1<<48
		if w.kind != workKernel {
			s.class = ClassMemory
			if w.kind == workGraph {
				s.class = ClassGraph
			}
			continue
		}
		name := a.tables.Launch(event.LaunchID(w.id)).Name
		s.coarse = 1<<48 | uint64(name)
		if w.class == ClassGather {
			embeds[name] = embeds[name] || embedding(a.tables.String(name))
			s.embed = embeds[name]
		}
	}
	return seq
}

// fine tells pieces of work apart, and how they were launched.
func (w *gpuWork) fine() uint64 { return uint64(w.kind)<<56 | uint64(w.id) }

// coarse tells pieces of work apart.
func (w *gpuWork) coarse(a *Analysis) uint64 {
	if w.kind == workKernel {
		return 1<<48 | uint64(a.tables.Launch(event.LaunchID(w.id)).Name)
	}
	return w.fine() | 1<<48
}

// workName names a piece of work as reports show it.
func (ln *lane) workName(a *Analysis, w *gpuWork) string {
	switch w.kind {
	case workCopy:
		return CopyKindName(event.CopyKind(w.id)) + " copy"
	case workSet:
		return "fill"
	case workGraph:
		return "CUDA graph"
	}
	return a.demangle.name(a.tables.String(a.tables.Launch(event.LaunchID(w.id)).Name))
}
