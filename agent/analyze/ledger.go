package analyze

import (
	"cmp"
	"maps"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// reorderLimit is how many allocation records wait for one with a smaller sequence number.
	// Threads publish within microseconds of each other; numbers need not be without gaps.
	reorderLimit = 8192
	// liveLimit bounds the open allocations that are followed. Programs allocate from the driver
	// in large pieces; those beyond are counted.
	liveLimit = 1 << 20
)

// Allocation is one allocation record, as a row.
type Allocation struct {
	Sequence uint64
	Time     event.Time // when it took effect: allocations when they returned, releases when they began
	Op       event.AllocOp
	Space    event.Space
	Address  uint64
	Size     uint64 // bytes
	Handle   uint64
	Device   int32 // ordinal; -1 unknown
	API      event.StringID
	Result   int32
	Stack    event.StackID
}

// keyClass tells apart things whose numbers may be equal. It is as wide as they are: keys without gaps are hashed in one piece.
type keyClass uint64

const (
	classAddress keyClass = iota // device, managed, pool and driver-pinned memory: one address space
	classHandle
	classMapping
	classReservation
	classRegistered
	classArray
	classImport
)

type liveKey struct {
	class  keyClass
	number uint64
}

// open is an allocation that is live.
type open struct {
	Allocation
	imported bool
	refs     int // of a handle: creations and retains not yet released
	maps     int // of a handle: mappings
}

// observer is told of what changes in a ledger, in order.
type observer interface {
	// opened and closed say by call whether a call did it, or a checkpoint told of it.
	opened(o *open, t event.Time, call bool)
	closed(o *open, t event.Time, call bool)
	failed(row *Allocation)
}

// LedgerCounts says what a ledger met that a perfect record would not hold.
type LedgerCounts struct {
	// UnknownReleases were of memory not seen allocated: it was taken before the capture began.
	UnknownReleases uint64 `json:"releases_of_unknown"`
	// Replaced allocations were at an address still live: their release was not seen in time.
	Replaced uint64 `json:"implied_releases"`
	// UnknownMaps were of physical memory that was not seen created.
	UnknownMaps uint64 `json:"maps_of_unknown"`
	// Corrected entries were added or dropped because a checkpoint knew better.
	Corrected uint64 `json:"corrected_by_checkpoint"`
	// Untracked allocations were beyond the bound on what is followed.
	Untracked uint64 `json:"untracked"`
}

// Ledger follows what one process has allocated. Records may arrive out of order; they are
// applied by sequence number.
type Ledger struct {
	watch    observer
	live     map[liveKey]*open
	gone     map[liveKey]*open // what the last checkpoint no longer had: its release may follow
	pending  []Allocation      // sorted by sequence
	next     uint64            // sequence number expected
	applied  uint64            // records
	now      event.Time        // of the last record applied
	counts   LedgerCounts
	reserved uint64 // bytes of address ranges
	quiet    bool   // a checkpoint is being taken over
	until    event.Time
}

// newLedger returns a ledger that ignores what takes effect at until or later.
func newLedger(watch observer, until event.Time) *Ledger {
	return &Ledger{watch: watch, live: make(map[liveKey]*open), next: 1, until: until}
}

// rowOf returns row i of a.
func rowOf(a *event.Allocations, i int) Allocation {
	row := Allocation{
		Sequence: a.Sequence[i], Time: a.Enter[i], Op: a.Op[i], Space: a.Space[i], Address: a.Address[i], Size: a.Size[i],
		Handle: a.Handle[i], Device: a.Device[i], API: a.API[i], Result: a.Result[i], Stack: a.Stack[i],
	}
	switch row.Op {
	case event.OpFree, event.OpUnmap, event.OpUnreserve:
	default:
		if d := a.Duration[i]; row.Time > 0 && uint64(d) < maxDuration {
			row.Time += event.Time(d)
		}
	}
	return row
}

// Add adds records.
func (l *Ledger) Add(a *event.Allocations) {
	if len(a.Sequence) == 0 {
		return
	}
	known := max(len(l.pending)-1, 0) // up to there they are sorted
	for i := range a.Sequence {
		l.pending = append(l.pending, rowOf(a, i))
	}
	bySequence := func(x, y Allocation) int {
		switch {
		case x.Sequence < y.Sequence:
			return -1
		case x.Sequence > y.Sequence:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(l.pending[known:], bySequence) {
		slices.SortStableFunc(l.pending, bySequence)
	}
	n := 0
	for n < len(l.pending) {
		if l.pending[n].Sequence > l.next && len(l.pending)-n <= reorderLimit {
			break
		}
		l.apply(&l.pending[n])
		n++
	}
	if n > 0 {
		l.pending = append(l.pending[:0], l.pending[n:]...)
	}
}

// Flush applies what still waits for records that have not come.
func (l *Ledger) Flush() {
	for i := range l.pending {
		l.apply(&l.pending[i])
	}
	l.pending = l.pending[:0]
}

func classOf(s event.Space) keyClass {
	switch s {
	case event.SpaceHandle:
		return classHandle
	case event.SpaceVirtual:
		return classReservation
	case event.SpaceRegistered:
		return classRegistered
	case event.SpaceArray:
		return classArray
	case event.SpaceIPC:
		return classImport
	}
	return classAddress
}

func (l *Ledger) apply(row *Allocation) {
	l.next = max(l.next, row.Sequence+1)
	if row.Time >= l.until {
		return
	}
	l.applied++
	if row.Time > l.now {
		l.now = row.Time
	}
	if row.Result != 0 {
		l.watch.failed(row)
		return
	}
	switch row.Op {
	case event.OpAlloc:
		l.open(liveKey{classOf(row.Space), row.Address}, row, row.Space == event.SpaceIPC)
	case event.OpImport:
		l.open(liveKey{classOf(row.Space), row.Address}, row, true)
	case event.OpReserve:
		l.open(liveKey{classReservation, row.Address}, row, false)
	case event.OpMap:
		l.open(liveKey{classMapping, row.Address}, row, false)
	case event.OpRetain:
		if h := l.live[liveKey{classHandle, row.Address}]; h != nil {
			h.refs++
		}
	case event.OpFree, event.OpUnreserve:
		l.release(row)
	case event.OpUnmap:
		l.unmap(row)
	}
}

func (l *Ledger) open(key liveKey, row *Allocation, imported bool) {
	if old := l.live[key]; old != nil {
		if old.Sequence >= row.Sequence {
			return // a checkpoint has told of it already
		}
		l.counts.Replaced++
		l.close(key, old, row.Time)
	}
	if len(l.live) >= liveLimit {
		l.counts.Untracked++
		return
	}
	o := &open{Allocation: *row, imported: imported, refs: 1}
	l.live[key] = o
	switch key.class {
	case classReservation:
		l.reserved += row.Size
	case classMapping:
		h := l.live[liveKey{classHandle, row.Handle}]
		if h == nil {
			l.counts.UnknownMaps++
			return
		}
		h.maps++
	default:
		l.watch.opened(o, row.Time, !l.quiet)
	}
}

func (l *Ledger) close(key liveKey, o *open, t event.Time) {
	delete(l.live, key)
	switch key.class {
	case classReservation:
		l.reserved -= o.Size
	case classMapping:
		handle := liveKey{classHandle, o.Handle}
		if h := l.live[handle]; h != nil {
			h.maps--
			l.drop(handle, h, t)
		}
	default:
		l.watch.closed(o, t, !l.quiet)
	}
}

// drop closes a handle that is neither held nor mapped any more.
func (l *Ledger) drop(key liveKey, h *open, t event.Time) {
	if h.refs <= 0 && h.maps <= 0 {
		l.close(key, h, t)
	}
}

func (l *Ledger) release(row *Allocation) {
	key := liveKey{classOf(row.Space), row.Address}
	if row.Op == event.OpUnreserve {
		key.class = classReservation
	}
	o := l.live[key]
	switch {
	case o == nil && row.Address == 0:
		// Releasing nothing is allowed, and libraries do it.
	case o == nil:
		if !l.late(key, row) {
			l.counts.UnknownReleases++
		}
	case o.Sequence > row.Sequence:
		// It released what was at this address before: that was implied by the newer allocation.
	case key.class == classHandle:
		o.refs--
		l.drop(key, o, row.Time)
	default:
		l.close(key, o, row.Time)
	}
}

// late takes the release of what the last checkpoint had lost already: it is as of one moment, was read
// a little later, and lacks what was released in between. The release that follows is the call that did it.
func (l *Ledger) late(key liveKey, row *Allocation) bool {
	o := l.gone[key]
	if o == nil || o.Sequence > row.Sequence {
		return false
	}
	delete(l.gone, key)
	l.counts.Corrected--
	if key.class != classReservation && key.class != classMapping {
		l.watch.opened(o, row.Time, false)
		l.watch.closed(o, row.Time, true)
	}
	return true
}

// unmap ends the mappings in a range: one call may end several that lie side by side.
func (l *Ledger) unmap(row *Allocation) {
	address, end := row.Address, row.Address+row.Size
	found := false
	for {
		key := liveKey{classMapping, address}
		o := l.live[key]
		if was := l.gone[key]; o == nil && was != nil && l.late(key, row) {
			o = was
		} else if o == nil || o.Sequence > row.Sequence {
			break
		} else {
			l.close(key, o, row.Time)
		}
		found = true
		if o.Size == 0 || address+o.Size < address {
			break
		}
		address += o.Size
		if address >= end {
			break
		}
	}
	if !found {
		l.counts.UnknownReleases++
	}
}

// Checkpoint replaces the ledger's state by a live set. Where nothing was lost they agree.
func (l *Ledger) Checkpoint(s *event.LiveSet) {
	l.Flush()
	if s.Time >= l.until {
		return
	}
	l.quiet = true
	defer func() { l.quiet = false }()
	first := l.applied == 0 && len(l.live) == 0
	have := make(map[liveKey]Allocation, len(s.Live.Sequence))
	var keys []liveKey // in the set's order, so that one trace gives one result
	for i := range s.Live.Sequence {
		row := rowOf(&s.Live, i)
		key := liveKey{classOf(row.Space), row.Address}
		if row.Op == event.OpMap {
			key.class = classMapping
		}
		if _, again := have[key]; !again && len(have) < liveLimit {
			keys = append(keys, key)
		} else if !again {
			continue
		}
		have[key] = row
	}
	now := max(s.Time, l.now)
	corrected := l.counts.Corrected
	l.gone = make(map[liveKey]*open)
	for _, mappings := range []bool{true, false} {
		for _, key := range l.oldestFirst() {
			o := l.live[key]
			if o == nil || (key.class == classMapping) != mappings {
				continue // closing a mapping may have closed what it mapped
			}
			if row, ok := have[key]; ok && row.Sequence == o.Sequence {
				continue
			}
			l.counts.Corrected++
			l.gone[key] = o
			l.close(key, o, now)
		}
	}
	// Physical memory before the mappings that refer to it.
	for _, mappings := range []bool{false, true} {
		for _, key := range keys {
			row := have[key]
			if (key.class == classMapping) != mappings || l.live[key] != nil {
				continue
			}
			l.counts.Corrected++
			l.open(key, &row, row.Op == event.OpImport || row.Space == event.SpaceIPC)
		}
	}
	if first {
		l.counts.Corrected = corrected
		l.gone = nil
	}
	l.now = now
}

// oldestFirst returns the keys of what is live.
func (l *Ledger) oldestFirst() []liveKey {
	keys := slices.Collect(maps.Keys(l.live))
	slices.SortFunc(keys, func(x, y liveKey) int {
		return cmp.Or(cmp.Compare(l.live[x].Sequence, l.live[y].Sequence), cmp.Compare(x.class, y.class), cmp.Compare(x.number, y.number))
	})
	return keys
}
