package analyze

import (
	"github.com/warpscope/warpscope/agent/event"
)

// MemoryKind tells totals apart that must not be added up.
type MemoryKind string

// The kinds of memory of a total.
const (
	DeviceMemory  MemoryKind = "device"  // on one GPU
	ManagedMemory MemoryKind = "managed" // on a GPU or the host, wherever it was touched last
	HostMemory    MemoryKind = "host"    // pinned host memory
	SharedMemory  MemoryKind = "shared"  // another process's memory, opened here
)

func kindOf(o *open) MemoryKind {
	if o.imported {
		return SharedMemory
	}
	switch o.Space {
	case event.SpaceHost, event.SpaceRegistered:
		return HostMemory
	case event.SpaceManaged:
		return ManagedMemory
	}
	return DeviceMemory
}

// sum follows a number of bytes over time.
type sum struct {
	live, peak     uint64 // bytes
	liveCount      uint64
	peakTime       event.Time
	opened, closed uint64 // in the span
	openedBytes    uint64
}

func (s *sum) open(size uint64, t event.Time, counted bool) {
	s.live += size
	s.liveCount++
	if counted {
		s.opened++
		s.openedBytes += size
	}
	if s.live > s.peak {
		s.peak, s.peakTime = s.live, t
	}
}

func (s *sum) close(size uint64, counted bool) {
	s.live -= min(size, s.live)
	if s.liveCount > 0 {
		s.liveCount--
	}
	if counted {
		s.closed++
	}
}

// begin makes now the start of what is looked at.
func (s *sum) begin(t event.Time) { s.peak, s.peakTime = s.live, t }

// total is the memory of one kind on one device, or on the host.
type total struct {
	kind    MemoryKind
	device  int32
	all     sum
	atPeak  bool // live is the peak, and libraries' shares of it are not noted yet
	spaces  [int(event.SpaceGraph) + 1]sum
	askers  map[event.StringID]*askerSum
	ordered []*askerSum
	byStack map[event.StackID]*askerSum
}

type askerSum struct {
	module event.StringID
	other  bool
	sum
	share uint64 // of the total's peak, bytes
}

type failure struct {
	Allocation
	count uint64
	first event.Time
	last  event.Time
}

type failureKey struct {
	api    event.StringID
	size   uint64
	result int32
	op     event.AllocOp
	space  event.Space
	device int32
	stack  event.StackID
}

// maxFailures bounds the failures that are told apart.
const maxFailures = 1024

// account adds up what a ledger tells of. Outside the span it follows, but does not count.
type account struct {
	span     *span
	tables   *event.Tables
	began    bool
	totals   []*total
	failures map[failureKey]*failure
	failing  []*failure
	failedN  uint64
	stacks   map[event.StackID]event.StringID // who asked
	// changed is told what a device holds in all, of device memory.
	changed func(device int32, t event.Time, bytes uint64)
}

func newAccount(s *span, tables *event.Tables) *account {
	return &account{span: s, tables: tables, failures: make(map[failureKey]*failure), stacks: make(map[event.StackID]event.StringID)}
}

// enter notes that time has come to t, and says whether t is in the span.
func (a *account) enter(t event.Time) bool {
	if a.span.all {
		return true
	}
	if t < a.span.from {
		return false
	}
	if !a.began {
		a.began = true
		for _, total := range a.totals {
			total.all.begin(t)
			total.atPeak = true
			for i := range total.spaces {
				total.spaces[i].begin(t)
			}
			for _, asker := range total.ordered {
				asker.begin(t)
			}
		}
	}
	return t < a.span.to
}

func (a *account) total(kind MemoryKind, device int32) *total {
	if kind == HostMemory {
		device = -1
	}
	for _, t := range a.totals {
		if t.kind == kind && t.device == device {
			return t
		}
	}
	if len(a.totals) >= maxDevices {
		return a.totals[maxDevices-1]
	}
	t := &total{kind: kind, device: device, askers: make(map[event.StringID]*askerSum), byStack: make(map[event.StackID]*askerSum)}
	a.totals = append(a.totals, t)
	return t
}

func (a *account) asker(t *total, stack event.StackID) *askerSum {
	s := t.byStack[stack]
	if s == nil {
		s = a.askerOf(t, stack)
		t.byStack[stack] = s
	}
	return s
}

func (a *account) askerOf(t *total, stack event.StackID) *askerSum {
	module, ok := a.stacks[stack]
	if !ok {
		module = asker(a.tables, stack)
		a.stacks[stack] = module
	}
	if s := t.askers[module]; s != nil {
		return s
	}
	if len(t.ordered) > maxLibraries {
		return t.ordered[maxLibraries]
	}
	s := &askerSum{module: module, other: len(t.ordered) == maxLibraries}
	t.ordered = append(t.ordered, s)
	if !s.other {
		t.askers[module] = s
	}
	return s
}

func (t *total) space(s event.Space) *sum {
	if int(s) >= len(t.spaces) {
		s = event.SpaceUnknown
	}
	return &t.spaces[s]
}

func (a *account) opened(o *open, time event.Time, call bool) {
	counted := a.enter(time) && call
	t := a.total(kindOf(o), o.Device)
	peak := t.all.peak
	t.all.open(o.Size, time, counted)
	t.space(o.Space).open(o.Size, time, counted)
	a.asker(t, o.Stack).open(o.Size, time, counted)
	if t.all.peak > peak {
		t.atPeak = true
	}
	a.tell(t, time)
}

// tell passes on what a device holds.
func (a *account) tell(t *total, time event.Time) {
	if t.kind == DeviceMemory && t.device >= 0 && a.changed != nil && a.enter(time) {
		a.changed(t.device, time, t.all.live)
	}
}

func (a *account) closed(o *open, time event.Time, call bool) {
	counted := a.enter(time) && call
	t := a.total(kindOf(o), o.Device)
	t.note()
	t.all.close(o.Size, counted)
	t.space(o.Space).close(o.Size, counted)
	a.asker(t, o.Stack).close(o.Size, counted)
	a.tell(t, time)
}

// note notes what each library holds at the peak. It is put off until the total falls: while it
// grows, the next allocation would make it out of date.
func (t *total) note() {
	if !t.atPeak {
		return
	}
	t.atPeak = false
	for _, s := range t.ordered {
		s.share = s.live
	}
}

func (a *account) failed(row *Allocation) {
	if !a.enter(row.Time) {
		return
	}
	a.failedN++
	key := failureKey{row.API, row.Size, row.Result, row.Op, row.Space, row.Device, row.Stack}
	f := a.failures[key]
	if f == nil {
		if len(a.failing) >= maxFailures {
			return
		}
		f = &failure{Allocation: *row, first: row.Time}
		a.failures[key] = f
		a.failing = append(a.failing, f)
	}
	f.count++
	f.last = row.Time
}
