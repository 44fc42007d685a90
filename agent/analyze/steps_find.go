package analyze

import (
	"cmp"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// lane is what one process ran on one GPU: what steps are found in, and accounts made of.
type lane struct {
	l      *timeline
	device uint16
	work   []gpuWork // in the order of time
	main   []int32   // indices of work on the stream with most of it
	calls  *callIndex

	source, marker, unit string
	repeats              int
	optimizer            bool // an optimizer's kernels were seen
	steps                []step
}

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

// lanes splits a timeline by GPU.
func (l *timeline) lanes() []*lane {
	l.sort()
	calls := newCallIndex(l.cpu)
	var out []*lane
	if n := len(l.gpu); n > 0 && !slices.ContainsFunc(l.gpu, func(w gpuWork) bool { return w.device != l.gpu[0].device }) {
		ln := &lane{l: l, device: l.gpu[0].device, calls: calls, work: l.gpu}
		ln.findMain()
		return []*lane{ln}
	}
	at := make(map[uint16]*lane)
	for _, w := range l.gpu {
		ln := at[w.device]
		if ln == nil {
			ln = &lane{l: l, device: w.device, calls: calls}
			at[w.device] = ln
			out = append(out, ln)
		}
		ln.work = append(ln.work, w)
	}
	slices.SortFunc(out, func(x, y *lane) int { return cmp.Compare(x.device, y.device) })
	for _, ln := range out {
		ln.findMain()
	}
	return out
}

// findMain chooses the stream that steps are looked for in: the one with most computing, since
// communication and copies run ahead or behind.
func (ln *lane) findMain() {
	busy := make(map[uint32]int64)
	for i := range ln.work {
		if w := &ln.work[i]; w.class != ClassCommunication && (w.kind == workKernel || w.kind == workGraph) {
			busy[w.stream] += int64(w.end-w.start) + 1
		}
	}
	best, most := ^uint32(0), int64(-1)
	for stream, ns := range busy {
		if ns > most || ns == most && stream < best {
			best, most = stream, ns
		}
	}
	for i := range ln.work {
		if ln.work[i].stream == best || most < 0 {
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
func (ln *lane) active() int64 {
	if len(ln.work) == 0 {
		return 0
	}
	return int64(ln.last() - ln.work[0].start)
}

func (ln *lane) last() event.Time {
	var last event.Time
	for i := range ln.work {
		last = max(last, ln.work[i].end)
	}
	return last
}

// find finds the steps.
func (ln *lane) find(a *Analysis) {
	seq := ln.sequence(a)
	period := findPeriod(seq)
	ln.repeats, ln.optimizer = len(period.starts), period.training
	switch {
	case !a.config.IgnoreRanges && ln.byRanges(a, seq):
		ln.source = StepsByRange
	case len(period.starts) > 0:
		ln.source = StepsByPeriod
		ln.marker = ln.workName(a, &ln.work[ln.main[period.starts[0]]])
		ln.byPeriod(period.starts)
	default:
		ln.source, ln.unit = StepsByNone, "trace"
		ln.whole()
		return
	}
	ln.measure()
	ln.phases(a)
}

// whole makes all that was recorded one step.
func (ln *lane) whole() {
	if len(ln.work) == 0 {
		return
	}
	ln.steps = []step{{start: ln.work[0].start, end: ln.last(), phase: PhaseSteady}}
	ln.measure()
}

// byPeriod makes steps that begin at positions of the main stream's sequence.
func (ln *lane) byPeriod(starts []int) {
	lengths := make([]int64, 0, len(starts))
	for i := 1; i < len(starts); i++ {
		lengths = append(lengths, int64(starts[i]-starts[i-1]))
	}
	usual := int(median(lengths))
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

// measure fills in what runs in each step.
func (ln *lane) measure() {
	ln.steps = slices.DeleteFunc(ln.steps, func(s step) bool { return s.end <= s.start })
	for i := range ln.steps {
		s := &ln.steps[i]
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
		s.fine = uint64(w.kind)<<56 | uint64(w.id)
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

// callIndex finds calls by their correlation.
type callIndex struct {
	cpu  []cpuWork
	keys []uint64 // correlation << 32 | index, in order
}

func newCallIndex(cpu []cpuWork) *callIndex {
	c := &callIndex{cpu: cpu}
	for i := range cpu {
		if w := &cpu[i]; w.correlation != 0 && (w.kind == cpuLaunch || w.kind == cpuCopy || w.kind == cpuSync || w.kind == cpuOther) {
			c.keys = append(c.keys, uint64(w.correlation)<<32|uint64(uint32(i)))
		}
	}
	slices.Sort(c.keys)
	return c
}

// of returns the index of the call with a correlation, -1 if there is none.
func (c *callIndex) of(correlation uint32) int {
	if correlation == 0 {
		return -1
	}
	at := sort.Search(len(c.keys), func(i int) bool { return c.keys[i] >= uint64(correlation)<<32 })
	if at < len(c.keys) && uint32(c.keys[at]>>32) == correlation {
		return int(uint32(c.keys[at]))
	}
	return -1
}
