package analyze

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// sweepLimit is how many markers, calls and pieces of GPU work wait to be put in order of
	// time, about 40 MB a process; half of them are settled at a time, so that records which
	// arrive within half that many of each other are joined exactly.
	sweepLimit = 1 << 20
	// maxNodes bounds the distinct nestings of ranges.
	maxNodes = 1 << 20
	// maxThreads and maxOpen bound what is open at a time.
	maxThreads = 1 << 14
	maxOpen    = 1 << 9
)

// marker is an NVTX record that waits for its turn.
type marker struct {
	time         event.Time
	kind         event.MarkerKind
	id, thread   uint32
	text, domain event.StringID
}

// work is something that ran on a GPU and waits for the call that started it.
type work struct {
	correlation uint32
	launch      event.LaunchID
	duration    int64
	kernel      bool
	age         uint8
	bytes       uint64 // taken from the driver, of an allocation
}

// origin of a launch: a call, or, where calls were not recorded, the work's own start.
type launchCall struct {
	time        event.Time
	correlation uint32
	thread      uint32
	self        bool // work is what ran, placed by its own start
	work        work
}

// place is where in the ranges a launch was made.
type place struct {
	node   uint32 // innermost range of the thread
	set    uint32 // start/end ranges open in the process
	byTime bool   // the range belongs to another thread
}

// openRange is a range that has begun.
type openRange struct {
	id    uint32
	key   uint32
	node  uint32
	start event.Time
}

type rangeThread struct {
	index uint32
	stack []openRange
}

// sweep joins one process's ranges, calls and GPU work.
type sweep struct {
	table    *rangeTable
	process  *process
	markers  []marker
	calls    []launchCall
	work     []work
	threads  map[uint32]*rangeThread
	byIndex  []*rangeThread
	busy     int                     // threads with open ranges
	busyXor  uint32                  // of their indices: with one such thread, its index
	loose    []openRange             // ranges of no thread that are open
	began    map[uint32]*rangeThread // open ranges of threads, by id
	set      uint32
	resolved [2]map[uint32]place // by correlation: this turn's and the last one's
}

func newSweep(t *rangeTable, p *process) *sweep {
	return &sweep{table: t, process: p, threads: make(map[uint32]*rangeThread), began: make(map[uint32]*rangeThread), resolved: [2]map[uint32]place{{}, {}}}
}

func (s *sweep) add(b *event.Batch) {
	m := &b.Markers
	for i, kind := range m.Kind {
		if kind != event.MarkerData && s.table.takes(m, i) {
			s.markers = append(s.markers, marker{m.Time[i], kind, m.ID[i], m.Thread[i], m.Text[i], m.Domain[i]})
		}
	}
	c := &b.Calls
	for i, correlation := range c.Correlation {
		if c.Enter[i] > 0 {
			s.calls = append(s.calls, launchCall{time: c.Enter[i], correlation: correlation, thread: c.Thread[i]})
		}
	}
	if s.table.operators != nil {
		a := &b.Allocations
		for i, enter := range a.Enter {
			if a.Op[i] == event.OpAlloc && a.Space[i] != event.SpaceHost && enter > 0 {
				s.calls = append(s.calls, launchCall{time: enter, thread: a.Thread[i], self: true, work: work{bytes: a.Size[i]}})
			}
		}
	}
	for i, correlation := range b.Kernels.Correlation {
		s.ran(b.Kernels.Start[i], b.Kernels.Duration[i], work{correlation: correlation, launch: b.Kernels.Launch[i], kernel: true})
	}
	for i, correlation := range b.Copies.Correlation {
		s.ran(b.Copies.Start[i], b.Copies.Duration[i], work{correlation: correlation})
	}
	for i, correlation := range b.Sets.Correlation {
		s.ran(b.Sets.Start[i], b.Sets.Duration[i], work{correlation: correlation})
	}
	if s.process.info.Graphs != "node" && !s.process.nodes {
		for i, correlation := range b.Graphs.Correlation {
			s.ran(b.Graphs.Start[i], b.Graphs.Duration[i], work{correlation: correlation})
		}
	}
	if len(s.markers)+len(s.calls)+len(s.work) > sweepLimit {
		s.turn(false)
	}
}

func (s *sweep) ran(start event.Time, duration int64, w work) {
	if !s.table.a.span.has(start) {
		return
	}
	w.duration = duration
	if s.process.info.API != "none" {
		s.work = append(s.work, w)
	} else if start > 0 {
		s.calls = append(s.calls, launchCall{time: start, self: true, work: w})
	}
}

// turn puts what waits in order and settles the older half of it, or all at the end.
func (s *sweep) turn(last bool) {
	slices.SortStableFunc(s.markers, func(x, y marker) int { return compareTimes(x.time, y.time) })
	slices.SortStableFunc(s.calls, func(x, y launchCall) int { return compareTimes(x.time, y.time) })
	markers, calls := len(s.markers), len(s.calls)
	if !last {
		until := event.Time(0)
		switch {
		case calls > 1:
			until = s.calls[calls/2].time
		case markers > 1:
			until = s.markers[markers/2].time
		}
		markers, _ = slices.BinarySearchFunc(s.markers, until, func(m marker, t event.Time) int { return compareTimes(m.time, t) })
		calls, _ = slices.BinarySearchFunc(s.calls, until, func(c launchCall, t event.Time) int { return compareTimes(c.time, t) })
	}
	s.resolved[1], s.resolved[0] = s.resolved[0], make(map[uint32]place, calls)
	m := 0
	for c := range s.calls[:calls] {
		call := &s.calls[c]
		for m < markers && s.markers[m].time <= call.time {
			s.mark(&s.markers[m])
			m++
		}
		at := s.place(call.thread)
		if call.self {
			at.byTime = at.byTime || call.work.bytes == 0
			s.table.attribute(at, &call.work)
		} else {
			s.resolved[0][call.correlation] = at
		}
	}
	for ; m < markers; m++ {
		s.mark(&s.markers[m])
	}
	s.markers = append(s.markers[:0], s.markers[markers:]...)
	s.calls = append(s.calls[:0], s.calls[calls:]...)
	s.join(last)
}

func compareTimes(x, y event.Time) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// join attributes the work whose call is known by now. What has waited for two turns has none.
func (s *sweep) join(last bool) {
	kept := s.work[:0]
	for _, w := range s.work {
		at, ok := s.resolved[0][w.correlation]
		if !ok {
			at, ok = s.resolved[1][w.correlation]
		}
		switch {
		case ok:
			s.table.attribute(at, &w)
		case last || w.age == 2:
			s.table.orphan(&w)
		default:
			w.age++
			kept = append(kept, w)
		}
	}
	s.work = kept
}

// place says which ranges are open around a launch by a thread. A thread with no range of its
// own, as those that run PyTorch's backward pass, is counted to the only other thread that has one
// open.
func (s *sweep) place(thread uint32) place {
	at := place{set: s.set}
	if t := s.threads[thread]; t != nil && len(t.stack) > 0 {
		at.node = t.stack[len(t.stack)-1].node
		return at
	}
	if s.busy > 1 && s.table.operators != nil {
		if t := s.unnamed(); t != nil {
			at.node, at.byTime = t.stack[len(t.stack)-1].node, true
		}
	}
	if s.busy == 1 {
		t := s.byIndex[s.busyXor]
		at.node, at.byTime = t.stack[len(t.stack)-1].node, true
	}
	return at
}

// unnamed returns the only thread with open ranges that PyTorch alone has a number for; nil if there are several.
func (s *sweep) unnamed() *rangeThread {
	var one *rangeThread
	for id, t := range s.threads {
		if id&unnamedThread == 0 || len(t.stack) == 0 {
			continue
		}
		if one != nil {
			return nil
		}
		one = t
	}
	return one
}

func (s *sweep) mark(m *marker) {
	switch m.kind {
	case event.MarkerInstant:
		if s.table.a.span.has(m.time) {
			s.table.group(m.domain, m.text).marks++
		}
	case event.MarkerStart:
		s.start(m)
	case event.MarkerEnd:
		s.end(m)
	}
}

func (s *sweep) start(m *marker) {
	key := s.table.key(m.domain, m.text)
	if m.thread == 0 {
		if len(s.loose) < maxOpen {
			s.loose = append(s.loose, openRange{id: m.id, key: key, start: m.time})
			s.set = s.table.internSet(s.loose)
		}
		return
	}
	t := s.threads[m.thread]
	if t == nil {
		if len(s.threads) >= maxThreads {
			return
		}
		t = &rangeThread{index: uint32(len(s.byIndex))}
		s.threads[m.thread] = t
		s.byIndex = append(s.byIndex, t)
	}
	parent := uint32(0)
	if n := len(t.stack); n > 0 {
		parent = t.stack[n-1].node
	} else {
		s.busy++
		s.busyXor ^= t.index
	}
	if len(t.stack) < maxOpen {
		s.began[m.id] = t
		t.stack = append(t.stack, openRange{id: m.id, key: key, node: s.table.child(parent, key), start: m.time})
	}
}

func (s *sweep) end(m *marker) {
	// A start/end range may end on another thread than it began on, and before ranges that began
	// after it.
	if t := s.began[m.id]; t != nil {
		delete(s.began, m.id)
		for i := len(t.stack) - 1; i >= 0; i-- {
			if t.stack[i].id != m.id {
				continue
			}
			s.table.closed(&t.stack[i], m.time)
			t.stack = slices.Delete(t.stack, i, i+1)
			if len(t.stack) == 0 {
				s.busy--
				s.busyXor ^= t.index
			}
			return
		}
	}
	for i := range s.loose {
		if s.loose[i].id == m.id {
			s.table.closed(&s.loose[i], m.time)
			s.loose = slices.Delete(s.loose, i, i+1)
			s.set = s.table.internSet(s.loose)
			return
		}
	}
	s.table.unmatched++
}

// finish settles everything, and counts what is still open.
func (s *sweep) finish() {
	s.turn(true)
	for _, t := range s.byIndex {
		for i := range t.stack {
			s.table.open(&t.stack[i])
		}
	}
	for i := range s.loose {
		s.table.open(&s.loose[i])
	}
}
