package analyze

import (
	"math"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// Bounds of what a timeline keeps of a process, in records: 40 and 32 bytes each. Beyond them, the steps are
// accounted for that have ended, and their events go.
const (
	usualTimeline = 1 << 19 // of work on GPUs, and of calls
	maxTimeline   = 1 << 20 // the same, where no steps are found in less
	maxStepRanges = 1 << 20
	maxLoads      = 1 << 20
	maxOpenRanges = 1 << 14
)

// workKind tells what ran on a GPU.
type workKind uint8

const (
	workKernel workKind = iota
	workCopy
	workSet
	workGraph
)

// How a copy moves its bytes: what an exposed copy's line in the account is.
const (
	copyPageable uint8 = iota // to or from pageable host memory
	copyPinned                // to or from pinned host memory
	copyDevice                // on the device, to another one, or with managed memory
)

// gpuWork is something that ran on a GPU.
type gpuWork struct {
	start, end  event.Time
	correlation uint32
	id          uint32 // of kernels: LaunchID; of graphs: the graph; of copies: size class and direction
	stream      uint32 // index in process timeline
	device      uint16 // index in devices
	kind        workKind
	class       Class
	how         uint8  // of copies
	kib         uint32 // of copies: bytes in KiB, rounded up
}

// cpuKind tells what a thread did.
type cpuKind uint8

const (
	cpuLaunch  cpuKind = iota // handed work to a GPU
	cpuSync                   // waited for a GPU
	cpuCopy                   // handed a copy to a GPU; a blocking one waits in it
	cpuAlloc                  // took or gave back memory
	cpuCode                   // loaded or built code for the GPU
	cpuCapture                // was held up by the tracing itself
	cpuOther                  // any other API call
	cpuKinds
)

// cpuWork is something that a thread did.
type cpuWork struct {
	start, end  event.Time
	correlation uint32
	name        event.StringID
	thread      uint32
	kind        cpuKind
}

// stepRange is an NVTX range that may be a step.
type stepRange struct {
	start, end event.Time
	text       uint32 // index in texts: the text, its numbers replaced
	thread     uint32
}

// timeline is what the account of a process's steps is made of.
type timeline struct {
	p          *process
	gpu        []gpuWork
	cpu        []cpuWork
	loads      []event.Time // of modules
	streams    []int64      // busy ns by stream index
	streamAt   map[streamKey]uint32
	lastKey    streamKey // the stream that was asked for last, and its index
	lastStream uint32
	ranges     []stepRange
	open       map[uint32]stepRange // by marker id
	texts      []string
	isSteps    []bool // of texts: they are those of steps
	textAt     map[string]uint32
	textOf     map[event.StringID]uint32
	cut        event.Time // what began before was dropped; 0: nothing was
	python     pythonRecord
	lateRanges uint64  // ranges that no longer fit
	limit      int     // of gpu and cpu each
	most       int     // up to where limit may grow
	lanes      []*lane // in the order of devices; they outlive the events
}

// timelines collects what the account is made of, of all processes.
type timelines struct {
	a        *Analysis
	byID     map[event.ProcessID]*timeline
	inOrder  []*timeline
	classes  classTable
	kinds    []uint8 // by StringID of a call's name: cpuKind + 1
	readings []clockReading
	activity []activityWindow
	facts    map[event.GPUID]gpuFacts
	timeless uint64 // work without usable times
	// limit and most are those of new timelines.
	limit, most int
}

func newTimelines(a *Analysis) *timelines {
	return &timelines{a: a, byID: make(map[event.ProcessID]*timeline), limit: usualTimeline, most: maxTimeline}
}

func (t *timelines) of(p *process) *timeline {
	l := t.byID[p.id]
	if l == nil {
		l = &timeline{
			p: p, streamAt: make(map[streamKey]uint32), open: make(map[uint32]stepRange), textAt: make(map[string]uint32),
			textOf: make(map[event.StringID]uint32), limit: t.limit, most: t.most,
		}
		t.byID[p.id] = l
		t.inOrder = append(t.inOrder, l)
	}
	return l
}

// add adds the events of one process.
func (t *timelines) add(p *process, b *event.Batch) {
	t.addReadings(&b.GPUSamples)
	t.addActivity(&b.Activities)
	t.addFacts(&b.Facts)
	if p.id == 0 {
		return // the machine's
	}
	l := t.of(p)
	t.addKernels(l, &b.Kernels)
	t.addCopies(l, &b.Copies, &b.Sets)
	t.addGraphs(l, &b.Graphs)
	t.addCalls(l, b)
	t.addMarkers(l, &b.Markers)
	if len(l.gpu) > l.limit || len(l.cpu) > l.limit {
		t.settle(l)
	}
}

// work begins a gpuWork; false: it has no times, or is not looked at.
func (t *timelines) work(l *timeline, start event.Time, duration int64, ordinal, context, stream uint32) (gpuWork, bool) {
	if !known(start, duration) {
		t.timeless++
		return gpuWork{}, false
	}
	if !t.a.span.has(start) {
		return gpuWork{}, false
	}
	w := gpuWork{start: start, end: start + event.Time(duration), device: uint16(t.a.devices.of(l.p, ordinal).index)}
	w.stream = l.stream(streamKey{l.p.id, context, stream})
	l.streams[w.stream] += duration
	return w, true
}

func (l *timeline) stream(k streamKey) uint32 {
	if k == l.lastKey {
		return l.lastStream
	}
	l.lastKey, l.lastStream = k, l.findStream(k)
	return l.lastStream
}

func (l *timeline) findStream(k streamKey) uint32 {
	at, ok := l.streamAt[k]
	if !ok {
		if len(l.streams) > maxStreams {
			return maxStreams
		}
		at = uint32(len(l.streams))
		l.streamAt[k] = at
		l.streams = append(l.streams, 0)
	}
	return at
}

func (t *timelines) addKernels(l *timeline, k *event.Kernels) {
	for i, start := range k.Start {
		w, ok := t.work(l, start, k.Duration[i], k.Device[i], k.Context[i], k.Stream[i])
		if !ok {
			continue
		}
		w.kind, w.id, w.correlation = workKernel, uint32(k.Launch[i]), k.Correlation[i]
		w.class = t.classes.of(&t.a.tables, t.a.tables.Launch(k.Launch[i]).Name)
		l.gpu = append(l.gpu, w)
	}
}

func (t *timelines) addCopies(l *timeline, c *event.Copies, s *event.Sets) {
	for i, start := range c.Start {
		w, ok := t.work(l, start, c.Duration[i], c.Device[i], c.Context[i], c.Stream[i])
		if !ok {
			continue
		}
		w.kind, w.class, w.correlation = workCopy, ClassMemory, c.Correlation[i]
		w.id = uint32(c.Kind[i])
		w.kib = uint32(min((c.Bytes[i]+1023)>>10, math.MaxUint32))
		switch {
		case c.Source[i] == event.MemoryPageable || c.Target[i] == event.MemoryPageable:
			w.how = copyPageable
		case c.Source[i] == event.MemoryPinned || c.Target[i] == event.MemoryPinned:
			w.how = copyPinned
		default:
			w.how = copyDevice
		}
		l.gpu = append(l.gpu, w)
	}
	for i, start := range s.Start {
		if w, ok := t.work(l, start, s.Duration[i], s.Device[i], s.Context[i], s.Stream[i]); ok {
			w.kind, w.class, w.how, w.correlation = workSet, ClassMemory, copyDevice, s.Correlation[i]
			l.gpu = append(l.gpu, w)
		}
	}
}

// addGraphs adds launches of whole graphs, where their nodes are not recorded one by one.
func (t *timelines) addGraphs(l *timeline, g *event.Graphs) {
	if l.p.nodes || l.p.info.Graphs == "node" {
		return
	}
	for i, start := range g.Start {
		if w, ok := t.work(l, start, g.Duration[i], g.Device[i], g.Context[i], g.Stream[i]); ok {
			w.kind, w.class, w.id, w.correlation = workGraph, ClassGraph, g.Graph[i], g.Correlation[i]
			l.gpu = append(l.gpu, w)
		}
	}
}

func (t *timelines) addCalls(l *timeline, b *event.Batch) {
	add := func(start event.Time, duration int64, thread, correlation uint32, name event.StringID, kind cpuKind) {
		if known(start, duration) {
			l.cpu = append(l.cpu, cpuWork{start, start + event.Time(duration), correlation, name, thread, kind})
		}
	}
	c := &b.Calls
	for i, enter := range c.Enter {
		add(enter, c.Duration[i], c.Thread[i], c.Correlation[i], c.Name[i], t.callKind(c.Name[i]))
	}
	a := &b.Allocations
	for i, enter := range a.Enter {
		add(enter, a.Duration[i], a.Thread[i], 0, a.API[i], cpuAlloc)
	}
	o := &b.Overheads
	for i, start := range o.Start {
		add(start, o.Duration[i], o.Thread[i], o.Correlation[i], 0, overheadKind(o.Kind[i]))
	}
	for i, at := range b.Modules.Time {
		if b.Modules.Loaded[i] && at > 0 && len(l.loads) < maxLoads {
			l.loads = append(l.loads, at)
		}
	}
}

// overheadKind tells the driver's preparing of code from the tracing's own work.
func overheadKind(k event.OverheadKind) cpuKind {
	switch k {
	case 1, 4 << 16, 5 << 16: // the driver's compiler, module loading, lazy function loading
		return cpuCode
	case 6 << 16: // the queue of commands is full: the thread waits for the GPU
		return cpuSync
	}
	return cpuCapture
}

func (t *timelines) callKind(name event.StringID) cpuKind {
	strings, _, _, _, _, _ := t.a.tables.Counts()
	if uint64(name) > uint64(strings) {
		return cpuOther
	}
	if uint64(len(t.kinds)) <= uint64(name) {
		t.kinds = append(t.kinds, make([]uint8, int(name)+1-len(t.kinds))...)
	}
	if t.kinds[name] == 0 {
		t.kinds[name] = uint8(kindOfCall(t.a.tables.String(name))) + 1
	}
	return cpuKind(t.kinds[name] - 1)
}

// kindOfCall tells what a call of the driver or the runtime does, from its name.
func kindOfCall(name string) cpuKind {
	has := func(part string) bool { return strings.Contains(name, part) }
	switch {
	case has("Synchronize"):
		return cpuSync
	case has("Memcpy"):
		return cpuCopy
	case has("Launch"), has("Memset"):
		return cpuLaunch
	case has("Malloc"), has("Free"), has("MemAlloc"), has("MemCreate"), has("MemMap"), has("MemUnmap"), has("MemRelease"), has("HostAlloc"),
		has("HostRegister"), has("HostUnregister"), has("MemSetAccess"), has("AddressReserve"):
		return cpuAlloc
	case has("ModuleLoad"), has("LibraryLoad"), has("LinkAddData"), has("LinkComplete"), has("GetFunction"), has("GraphInstantiate"):
		return cpuCode
	}
	return cpuOther
}

// addMarkers pairs the ends of ranges.
func (t *timelines) addMarkers(l *timeline, m *event.Markers) {
	for i, at := range m.Time {
		if l.python.add(&t.a.tables, m, i) {
			continue
		}
		switch m.Kind[i] {
		case event.MarkerStart:
			if len(l.open) < maxOpenRanges {
				l.open[m.ID[i]] = stepRange{start: at, text: l.text(m.Text[i], &t.a.tables), thread: m.Thread[i]}
			}
		case event.MarkerEnd:
			r, ok := l.open[m.ID[i]]
			if !ok {
				continue
			}
			delete(l.open, m.ID[i])
			if r.end = at; r.end <= r.start || r.start <= 0 || !t.a.span.has(r.start) {
				continue
			}
			if len(l.ranges) >= maxStepRanges {
				l.lateRanges++
				continue
			}
			l.ranges = append(l.ranges, r)
		}
	}
}

// text returns the number of a range's text without its numbers: "step 12" and "step 13" are one.
func (l *timeline) text(id event.StringID, tables *event.Tables) uint32 {
	if at, ok := l.textOf[id]; ok {
		return at
	}
	text := withoutNumbers(tables.String(id))
	at, ok := l.textAt[text]
	if !ok {
		at = uint32(len(l.texts))
		l.texts = append(l.texts, text)
		l.textAt[text] = at
	}
	l.textOf[id] = at
	return at
}

// withoutNumbers writes each number of a text as "#", and "#12" too.
func withoutNumbers(text string) string {
	var b strings.Builder
	digits, last := false, rune(0)
	for _, r := range text {
		if r >= '0' && r <= '9' {
			if !digits && last != '#' {
				b.WriteByte('#')
			}
			digits, last = true, '#'
			continue
		}
		digits, last = false, r
		b.WriteRune(r)
	}
	return b.String()
}
