package analyze

import (
	"cmp"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// launchPause is how long a thread may do something else between two calls and still count as
	// launching: the framework's own work for one operation. PyTorch's eager operations take 5 to
	// 60 µs on an H100 machine, cuBLAS's choice of a kernel up to 150 µs.
	launchPause = 250_000
	// afterSync is how long after a wait the thread's own code counts to the wait: without it, the
	// thread would have done this while the GPU was still busy.
	afterSync = 1_000_000
	// latency is how long a launch may take to reach an idle GPU; CUDA's takes 2 to 10 µs.
	latency = 20_000
	// maxWalk bounds the calls that are looked at for one gap, maxBack those that are passed over in
	// search of the thread that was at work before a launch.
	maxWalk = 1 << 12
	maxBack = 64
)

// part is a part of a gap and its cause.
type part struct {
	cause  cause
	call   event.StringID
	thread uint32
	ns     int64
	// after: the program's own code after a wait. It is the wait's fault as far as the CPU would have been ahead without it;
	// otherwise is the cause of the rest.
	after     bool
	otherwise cause
}

// cpuWalk finds out what the CPU did while a GPU was idle.
type cpuWalk struct {
	l        *timeline
	calls    callCursor
	byThread map[uint32][]int32 // indices of cpu work, in the order of its start
	parts    []part
	spans    []cpuWork
}

func newCPUWalk(l *timeline, calls *callIndex) *cpuWalk {
	return &cpuWalk{l: l, calls: callCursor{callIndex: calls}, byThread: calls.threads()}
}

// explain divides the time from g0 to g1, in which a GPU was idle until next began, into parts with
// a cause each. The parts add up to all of it. They are valid until the next call.
func (w *cpuWalk) explain(g0, g1 event.Time, next *gpuWork) []part {
	w.parts = w.parts[:0]
	if next == nil {
		w.python(0, 0, g0, g1)
		return w.parts
	}
	at := w.calls.of(next.correlation)
	if at < 0 {
		w.add(causeUnrecorded, 0, 0, g0, g1)
		return w.parts
	}
	launch := &w.calls.cpu[at]
	if launch.start > g1 {
		// Clocks that disagree by more than a launch takes: nothing can be said.
		w.add(causeUnrecorded, launch.name, launch.thread, g0, g1)
		return w.parts
	}
	from := g0
	if launch.start > g0 {
		w.late(g0, launch.start, launch, at)
		from = launch.start
	}
	w.launching(from, g1, launch, launch.start > g0, next)
	return w.parts
}

// launching explains the time from where the next piece of work was being launched, or queued.
func (w *cpuWalk) launching(from, g1 event.Time, launch *cpuWork, late bool, next *gpuWork) {
	if from >= g1 {
		return
	}
	// Within the call, code may be loaded, and the tracing may work.
	inside := min(launch.end, g1)
	if inside > from {
		c := causeLaunch
		switch {
		case launch.kind == cpuSync:
			c = causeSync // it copies a value that the program reads
		case launch.kind == cpuCopy && next.how == copyPageable:
			c = causeCopy
		}
		w.cover(from, inside, launch.thread, c, launch.name)
		from = inside
	}
	if from >= g1 {
		return
	}
	if late {
		// On its way to an idle GPU: the price of having been late, whatever it was late for.
		reach := min(g1, max(launch.end, launch.start)+latency)
		if reach > from {
			w.add(causeLaunch, launch.name, launch.thread, from, reach)
			from = reach
		}
	} else if g1-from <= latency {
		w.add(causeGap, 0, launch.thread, from, g1)
		return
	}
	w.add(causeDependency, launch.name, launch.thread, from, g1)
}

// cover explains time inside a call: what was recorded inside it comes first.
func (w *cpuWalk) cover(from, to event.Time, thread uint32, otherwise cause, name event.StringID) {
	w.gather(from, to, thread, thread, func(c *cpuWork) bool { return c.kind == cpuCode || c.kind == cpuCapture || c.kind == cpuAlloc })
	at := from
	for i := range w.spans {
		s := &w.spans[i]
		if start := min(max(s.start, at), to); start > at {
			w.add(otherwise, name, thread, at, start)
			at = start
		}
		if end := min(s.end, to); end > at {
			w.add(causeOf(s.kind), w.nameOr(s, name), thread, at, end)
			at = end
		}
	}
	w.add(otherwise, name, thread, at, to)
}

func (w *cpuWalk) nameOr(s *cpuWork, name event.StringID) event.StringID {
	if s.name != 0 {
		return s.name
	}
	return name
}

func causeOf(k cpuKind) cause {
	switch k {
	case cpuSync:
		return causeSync
	case cpuCopy:
		return causeCopy
	case cpuAlloc:
		return causeAllocator
	case cpuCode:
		return causeCode
	case cpuCapture:
		return causeCapture
	}
	return causeLaunch
}

// late explains the time from g0 to the launch at L0 of what the GPU waited for: the thread was not
// there yet.
func (w *cpuWalk) late(g0, l0 event.Time, launch *cpuWork, at int) {
	thread := launch.thread
	other := w.before(at, launch)
	w.gather(g0-afterSync, l0, thread, other, func(c *cpuWork) bool {
		// What another thread waits for beyond the launch is not what held the launch up.
		return c.thread == thread || c.kind != cpuSync || c.end <= l0
	})
	pos := event.Time(0) // how far the calls reach
	var prev *cpuWork
	at0 := g0
	for i := range w.spans {
		s := &w.spans[i]
		if start := min(s.start, l0); start > at0 && start > pos {
			w.host(max(at0, pos), start, pos, start, prev, s, thread)
			at0 = start
		}
		if end := min(s.end, l0); end > at0 {
			w.add(causeOf(s.kind), w.nameOr(s, launch.name), s.thread, at0, end)
			at0 = end
		}
		if s.end > pos {
			pos, prev = s.end, s
		}
	}
	if l0 > at0 {
		w.host(at0, l0, pos, l0, prev, launch, thread)
	}
}

// host explains time in which no call was running: from and to lie in a pause between prev, which
// ended at begin, and next, which started at end.
func (w *cpuWalk) host(from, to, begin, end event.Time, prev, next *cpuWork, thread uint32) {
	if begin == 0 {
		begin = from
	}
	pause := end - begin
	switch {
	case next.kind == cpuCode && pause > launchPause, w.loaded(begin, end) && pause > launchPause:
		// A long pause that ends with new code for the GPU being loaded was spent on making it.
		w.add(causeCode, next.name, thread, from, to)
	case prev != nil && prev.kind == cpuSync && pause <= afterSync:
		w.afterWait(prev.name, prev.thread, pause, from, to)
	case prev != nil && pause <= launchPause && (prev.kind == cpuAlloc || next.kind == cpuAlloc):
		// What the framework does around such a call, it does for its sake: to look for memory of its own, to book what it got.
		w.add(causeAllocator, next.name, thread, from, to)
	case prev != nil && pause <= launchPause:
		w.add(causeLaunch, next.name, thread, from, to)
	default:
		var name event.StringID
		if prev != nil {
			name = prev.name
		}
		w.python(name, thread, from, to)
	}
}

// loaded says whether a module was loaded in an interval.
func (w *cpuWalk) loaded(from, to event.Time) bool {
	at := sort.Search(len(w.l.loads), func(i int) bool { return w.l.loads[i] >= from })
	return at < len(w.l.loads) && w.l.loads[at] < to
}

// before returns the thread of the last call before a launch that is not still waiting: where a
// launching thread takes over from another one, that one says why it was late.
func (w *cpuWalk) before(at int, launch *cpuWork) uint32 {
	for i := at - 1; i >= 0 && i >= at-maxBack; i-- {
		if c := &w.calls.cpu[i]; c.kind != cpuCapture && (c.thread == launch.thread || c.end <= launch.start) {
			return c.thread
		}
	}
	return launch.thread
}

// gather collects what two threads did from one moment to another, and the last thing before.
func (w *cpuWalk) gather(from, to event.Time, thread, other uint32, take func(*cpuWork) bool) {
	w.spans = w.spans[:0]
	for n, id := range [2]uint32{thread, other} {
		if n == 1 && other == thread {
			break
		}
		list := w.byThread[id]
		at := sort.Search(len(list), func(i int) bool { return w.calls.cpu[list[i]].start >= from })
		// A long call may have begun earlier, with short ones inside it.
		for i := max(at-4, 0); i < len(list) && len(w.spans) < maxWalk; i++ {
			c := &w.calls.cpu[list[i]]
			if c.start >= to {
				break
			}
			if take(c) {
				w.spans = append(w.spans, *c)
			}
		}
	}
	slices.SortStableFunc(w.spans, func(x, y cpuWork) int { return cmp.Compare(x.start, y.start) })
	w.flatten()
}

// flatten makes what was gathered not overlap: of calls inside others, the inner ones count.
func (w *cpuWalk) flatten() {
	inner := func(k cpuKind) bool { return k == cpuCode || k == cpuCapture || k == cpuAlloc }
	for i := 0; i+1 < len(w.spans); i++ {
		x, y := &w.spans[i], &w.spans[i+1]
		if y.start >= x.end || x.thread != y.thread || !inner(y.kind) || len(w.spans) >= 2*maxWalk {
			continue
		}
		rest := *x
		x.end = y.start
		if rest.end > y.end {
			rest.start = y.end
			at := i + 2
			for at < len(w.spans) && w.spans[at].start < rest.start {
				at++
			}
			w.spans = slices.Insert(w.spans, at, rest)
		}
	}
}

// add adds a part, or makes the last one longer.
func (w *cpuWalk) add(c cause, call event.StringID, thread uint32, from, to event.Time) {
	if to <= from {
		return
	}
	if n := len(w.parts); n > 0 && w.parts[n-1].cause == c && w.parts[n-1].call == call && !w.parts[n-1].after {
		w.parts[n-1].ns += int64(to - from)
		return
	}
	w.parts = append(w.parts, part{cause: c, call: call, thread: thread, ns: int64(to - from)})
}

// afterWait adds the program's own code after a wait.
func (w *cpuWalk) afterWait(call event.StringID, thread uint32, pause, from, to event.Time) {
	if to <= from {
		return
	}
	otherwise := causeLaunch
	if pause > launchPause {
		otherwise = w.running(thread, from, to)
	}
	w.parts = append(w.parts, part{causeSync, call, thread, int64(to - from), true, otherwise})
}
