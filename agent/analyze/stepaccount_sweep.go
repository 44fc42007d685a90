package analyze

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// classOrder decides to which class a moment belongs in which kernels of several run.
var classOrder = [...]Class{
	ClassMatmul, ClassAttention, ClassConvolution, ClassOptimizer, ClassReduction, ClassGather, ClassElementwise, ClassMemory, ClassOther, ClassGraph,
}

// maxCarry bounds the work that runs across the beginning of a step: a damaged trace can have
// everything run at once.
const maxCarry = 1 << 12

// edge is where a piece of work begins or ends within a step.
type edge struct {
	t    event.Time
	work int32 // index in lane.work
	open bool
}

// accountSweep goes through the steps of a lane in the order of time and puts each moment into one
// line: what computes comes before communication, that before copies, that before idleness.
type accountSweep struct {
	a     *Analysis
	ln    *lane
	idle  *idleTable
	edges []edge
	// carry holds work that began before a step and may reach into it.
	carry  []int32
	passed int // how much of the work has been looked at for that

	overlappedComm, overlappedCopy int64
	small                          int64
	smallKnown                     bool
	multiprocessors                uint32
}

func newAccountSweep(a *Analysis, ln *lane, idle *idleTable) *accountSweep {
	s := &accountSweep{a: a, ln: ln, idle: idle}
	s.multiprocessors = a.tables.GPU(a.devices.list[ln.device].gpu).Multiprocessors
	s.smallKnown = s.multiprocessors > 0
	return s
}

// begin begins with a part of the lane's work.
func (s *accountSweep) begin() { s.carry, s.passed = s.carry[:0], 0 }

// state counts what is running.
type state struct {
	class  [classes]int
	copies [copyDevice + 1]int
	small  int // kernels with blocks for no more than half of the multiprocessors
	all    int
}

func (s *state) change(w *gpuWork, small bool, by int) {
	s.all += by
	if w.kind == workCopy || w.kind == workSet {
		s.copies[w.how] += by
		return
	}
	s.class[w.class] += by
	if small {
		s.small += by
	}
}

// line returns where the moment belongs, false if nothing runs.
func (s *state) line() (lineID, bool) {
	for _, c := range classOrder {
		if s.class[c] > 0 {
			return lineID(c), true
		}
	}
	if s.class[ClassCommunication] > 0 {
		return lineID(ClassCommunication), true
	}
	for how, line := range [...]lineID{lineCopyPageable, lineCopyPinned, lineCopyDevice} {
		if s.copies[how] > 0 {
			return line, true
		}
	}
	return lineIdle, false
}

// computing counts kernels that are not communication.
func (s *state) computing() int {
	n := 0
	for _, c := range classOrder {
		n += s.class[c]
	}
	return n
}

// step accounts for one step: the lines add up to its wall time.
func (s *accountSweep) step(st *step) (lines [lineCount]int64) {
	s.collect(st)
	var now state
	at := st.start
	var last *gpuWork // what ended last
	for _, e := range s.edges {
		if e.t > at {
			s.moment(&lines, &now, st, at, e, last)
			at = e.t
		}
		w := &s.ln.work[e.work]
		by := 1
		if !e.open {
			by = -1
			last = w
		}
		now.change(w, s.isSmall(w), by)
	}
	if st.end > at {
		s.moment(&lines, &now, st, at, edge{t: st.end, work: -1}, last)
	}
	return lines
}

// moment puts the time from at to the next edge into its line.
func (s *accountSweep) moment(lines *[lineCount]int64, now *state, st *step, at event.Time, next edge, last *gpuWork) {
	ns := int64(next.t - at)
	line, busy := now.line()
	if !busy {
		w := next.work
		if w < 0 && st.to < len(s.ln.work) && s.ln.work[st.to].start == st.end {
			w = int32(st.to) // the next step's first work ends the gap
		}
		s.idle.gap(lines, at, next.t, last, w)
		return
	}
	lines[line] += ns
	if n := now.computing(); n > 0 {
		if now.class[ClassCommunication] > 0 {
			s.overlappedComm += ns
		}
		if now.copies[0]+now.copies[1]+now.copies[2] > 0 {
			s.overlappedCopy += ns
		}
		if n == 1 && now.small == 1 {
			s.small += ns
		}
	}
}

// collect gathers the edges in a step, in order; what ends comes before what begins at the same time.
func (s *accountSweep) collect(st *step) {
	s.edges = s.edges[:0]
	s.carryTo(st)
	add := func(n int32) {
		w := &s.ln.work[n]
		start, end := max(w.start, st.start), min(w.end, st.end)
		if end <= start {
			return
		}
		s.edges = append(s.edges, edge{start, n, true}, edge{end, n, false})
	}
	for _, n := range s.carry {
		add(n)
	}
	for n := st.from; n < st.to; n++ {
		add(int32(n))
	}
	slices.SortStableFunc(s.edges, func(x, y edge) int {
		switch {
		case x.t != y.t:
			return int(min(max(x.t-y.t, -1), 1))
		case x.open == y.open:
			return 0
		case x.open:
			return 1
		}
		return -1
	})
}

// carryTo finds the work that began before a step and still runs in it. Work is in the order of its
// start, so that what reaches far must be looked for as far back as the longest piece is long; a kept
// list makes that one pass over all.
func (s *accountSweep) carryTo(st *step) {
	kept := s.carry[:0]
	for _, n := range s.carry {
		if s.ln.work[n].end > st.start && int(n) < st.from {
			kept = append(kept, n)
		}
	}
	s.carry = kept
	for s.passed < st.from {
		n := s.passed
		s.passed++
		if s.ln.work[n].end > st.start && len(s.carry) < maxCarry {
			s.carry = append(s.carry, int32(n))
		}
	}
}

// isSmall says whether a kernel leaves half of the multiprocessors without work.
func (s *accountSweep) isSmall(w *gpuWork) bool {
	if !s.smallKnown || w.kind != workKernel || w.class == ClassCommunication {
		return false
	}
	g := s.a.tables.Launch(event.LaunchID(w.id)).Grid
	return uint64(g[0])*uint64(max(g[1], 1))*uint64(max(g[2], 1))*2 <= uint64(s.multiprocessors)
}
