package collect

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// target plays the capture library: it lays out memory and writes records as ws_abi.h says.
type target struct {
	bytes    []byte
	header   *abi.Header
	alloc    *writerRing
	timeline *writerRing
	table    []abi.Live
	arena    []byte
	texts    sync.Map // string → arena id
	// sequence returns the next sequence number: by default a counter.
	sequence func() uint64
}

// smallSizes are small, so that tests reach every edge quickly.
var smallSizes = Sizes{AllocRing: 16 << 10, TimelineRing: 16 << 10, LiveTable: 64 << 10, Arena: 256 << 10}

// newTarget lays out b, which must be large enough.
func newTarget(b []byte, s Sizes, flags uint32) *target {
	l := &target{bytes: b, header: (*abi.Header)(unsafe.Pointer(&b[0]))}
	h := l.header
	var calls atomic.Uint64
	l.sequence = func() uint64 { return calls.Add(1) }
	offset := uint64(abi.Page)
	region := func(size uint64) abi.Region {
		r := abi.Region{Offset: offset, Size: size}
		offset += size
		return r
	}
	h.Alloc_ring, h.Timeline_ring = region(abi.Page+s.AllocRing), region(abi.Page+s.TimelineRing)
	h.Live_table, h.Arena = region(abi.Page+s.LiveTable), region(s.Arena)
	h.Abi_version, h.Header_size, h.Total_size = abi.AbiVersion, uint32(unsafe.Sizeof(*h)), offset
	h.Pid, h.Ppid, h.Mode, h.Api, h.Flags = 4242, 4241, abi.ModeTimeline, abi.ApiLaunch, flags
	h.Cupti_version, h.Driver_version, h.Mono_start, h.Wall_start = 28, 12090, 1000, 1_700_000_000_000_000_000
	l.alloc = newWriterRing(b[h.Alloc_ring.Offset:], s.AllocRing, flags)
	l.timeline = newWriterRing(b[h.Timeline_ring.Offset:], s.TimelineRing, flags)
	table := (*abi.LiveTable)(unsafe.Pointer(&b[h.Live_table.Offset]))
	table.Capacity = s.LiveTable / 64
	l.table = unsafe.Slice((*abi.Live)(unsafe.Pointer(&b[h.Live_table.Offset+abi.Page])), table.Capacity)
	l.arena = b[h.Arena.Offset:][:h.Arena.Size]
	h.Arena_used = 8
	h.Executable, h.Command = uint64(l.text("/usr/bin/python3")), uint64(l.text("python3\x00train.py\x00"))
	h.State = abi.StateArmed
	atomic.StoreUint64(&h.Magic, abi.AbiMagic)
	return l
}

// memorySize is what newTarget needs.
func memorySize(s Sizes) int {
	return int(4*abi.Page + s.AllocRing + s.TimelineRing + s.LiveTable + s.Arena)
}

// makeTarget lays out fresh memory.
func makeTarget(t testing.TB, s Sizes, flags uint32) *target {
	t.Helper()
	b, err := unix.Mmap(-1, 0, memorySize(s), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return newTarget(b, s, flags)
}

// writerRing is the writing end of a ring; any number of goroutines may use it.
type writerRing struct {
	control *abi.Ring
	data    []byte
	fixed   bool
}

func newWriterRing(region []byte, capacity uint64, flags uint32) *writerRing {
	w := &writerRing{control: (*abi.Ring)(unsafe.Pointer(&region[0])), data: region[abi.Page:][:capacity]}
	w.control.Capacity, w.control.Limit = capacity, ^uint64(0)
	w.fixed = flags&abi.FlagFile != 0
	if w.fixed {
		w.control.Limit = capacity
	}
	return w
}

// reserve hands out room for a record, with a filler before it where it would not fit before the
// end of the ring.
func (w *writerRing) reserve(slots uint64) (position uint64, ok bool) {
	size, capacity := slots*abi.Slot, uint64(len(w.data))
	for {
		p := atomic.LoadUint64(&w.control.Reserved)
		fill := uint64(0)
		if rest := capacity - p%capacity; rest < size {
			fill = rest
		}
		end := p + fill + size
		if end > atomic.LoadUint64(&w.control.Tail)+capacity || end > atomic.LoadUint64(&w.control.Limit) {
			return 0, false
		}
		if atomic.CompareAndSwapUint64(&w.control.Reserved, p, end) {
			if fill > 0 {
				pad := record{}
				pad.head().Type = abi.RecPad
				w.fill(p, &pad, 1)
				w.commit(p)
			}
			return p + fill, true
		}
	}
}

// fill writes a record but for its commit word.
func (w *writerRing) fill(p uint64, r *record, slots int) {
	at := p % uint64(len(w.data))
	source := unsafe.Slice((*byte)(unsafe.Pointer(r)), slots*abi.Slot)
	copy(w.data[at+4:], source[4:])
}

func (w *writerRing) commit(p uint64) {
	at := p % uint64(len(w.data))
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&w.data[at])), uint32(p/abi.Slot)+1)
}

// write appends a record of a known kind; false: no room.
func (w *writerRing) write(kind uint8, flags uint16, body record) bool {
	slots := int(recordSlots[kind])
	*body.head() = abi.Rec{Type: kind, Slots: uint8(slots), Flags: flags}
	p, ok := w.reserve(uint64(slots))
	if ok {
		w.fill(p, &body, slots)
		w.commit(p)
	}
	return ok
}

// body makes a record of one of the structures of the ABI.
func body[T any](v T) (r record) {
	*(*T)(unsafe.Pointer(&r)) = v
	return r
}

// object appends an object to the arena and returns its id, 0 if it is full.
func (l *target) object(kind uint32, content []byte) uint32 {
	size := (8 + uint64(len(content)) + 7) &^ 7
	offset := atomic.AddUint64(&l.header.Arena_used, size) - size
	if offset+size > uint64(len(l.arena)) {
		return 0
	}
	copy(l.arena[offset+8:], content)
	*(*uint32)(unsafe.Pointer(&l.arena[offset+4])) = uint32(len(content))
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&l.arena[offset])), kind)
	return uint32(offset / 8)
}

func (l *target) text(s string) uint32 {
	if id, ok := l.texts.Load(s); ok {
		return id.(uint32)
	}
	id := l.object(abi.ObjString, []byte(s))
	l.texts.Store(s, id)
	return id
}

func asBytes[T any](v T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

func (l *target) launch(kernel string, grid uint32) uint32 {
	return l.object(abi.ObjLaunch, asBytes(abi.Launch{Name: l.text(kernel), Grid: [3]uint32{grid, 1, 1}, Block: [3]uint32{256, 1, 1}}))
}

func (l *target) maps(list ...abi.Map) uint32 {
	b := asBytes(abi.Maps{Count: uint32(len(list)), Generation: 1})
	for _, m := range list {
		b = append(b, asBytes(m)...)
	}
	return l.object(abi.ObjMaps, b)
}

func (l *target) stack(maps uint32, pcs ...uint64) uint32 {
	b := asBytes(abi.Stack{Maps: maps, Count: uint32(len(pcs))})
	for _, pc := range pcs {
		b = append(b, asBytes(pc)...)
	}
	return l.object(abi.ObjStack, b)
}

func (l *target) clock(cupti, mono uint64) {
	l.timeline.write(abi.RecClock, 0, body(abi.Clock{Cupti: cupti, Before: mono - 100, After: mono + 100}))
}

func (l *target) device(ordinal int32, uuid byte) {
	l.timeline.write(abi.RecDevice, 0, body(abi.Device{Uuid: [16]uint8{uuid}, Device: ordinal, Name: l.text("NVIDIA H100")}))
}

func (l *target) kernel(start, end uint64, launch, correlation uint32) bool {
	return l.timeline.write(abi.RecKernel, 0, body(abi.Kernel{Start: start, End: end, Launch: launch, Correlation: correlation, Stream: 7}))
}

// malloc records an allocation and enters it into the live table; a full ring is a counted loss.
func (l *target) malloc(address, size uint64, stack uint32) {
	seq := l.sequence()
	l.insert(abi.Live{Key: address, Size: size, Seq: seq, Stack: stack, Api: l.text("cuMemAlloc_v2"), Space: abi.SpaceDevice})
	if !l.alloc.write(abi.RecAlloc, 0, body(abi.Alloc{
		Seq: seq, Enter: 5000 + seq, Exit: 6000 + seq, Address: address, Size: size, Stack: stack,
		Api: l.text("cuMemAlloc_v2"), Op: abi.OpAlloc, Space: abi.SpaceDevice, Stream: event.NoStream,
	})) {
		atomic.AddUint64(&l.header.Lost[abi.RecAlloc][abi.LossRingFull], 1)
	}
}

// free is the reverse of malloc.
func (l *target) free(address uint64) {
	seq := l.sequence()
	size, known := l.remove(address)
	if !l.alloc.write(abi.RecAlloc, 0, body(abi.Alloc{
		Seq: seq, Enter: 5000 + seq, Exit: 6000 + seq, Address: address, Size: size,
		Api: l.text("cuMemFree_v2"), Op: abi.OpFree, Space: abi.SpaceDevice, Known: known, Stream: event.NoStream,
	})) {
		atomic.AddUint64(&l.header.Lost[abi.RecAlloc][abi.LossRingFull], 1)
	}
}

func (l *target) slot(i uint64) *[8]uint64 {
	return (*[8]uint64)(unsafe.Pointer(&l.table[i%uint64(len(l.table))]))
}

func (l *target) insert(e abi.Live) {
	words := *(*[8]uint64)(unsafe.Pointer(&e))
	for i := e.Key >> 8; ; i++ {
		s := l.slot(i)
		old := atomic.LoadUint64(&s[0])
		if (old == abi.LiveEmpty || old == abi.LiveDead) && atomic.CompareAndSwapUint64(&s[0], old, abi.LiveBusy) {
			for w := 1; w < 8; w++ {
				atomic.StoreUint64(&s[w], words[w])
			}
			atomic.StoreUint64(&s[0], words[0])
			return
		}
	}
}

func (l *target) remove(address uint64) (size uint64, known uint8) {
	for i := address >> 8; i < address>>8+uint64(len(l.table)); i++ {
		s := l.slot(i)
		switch atomic.LoadUint64(&s[0]) {
		case abi.LiveEmpty:
			return 0, 0
		case address:
			size = atomic.LoadUint64(&s[1])
			atomic.StoreUint64(&s[0], abi.LiveDead)
			return size, 1
		}
	}
	return 0, 0
}

// journal is a sink that keeps everything. It fails the test where a batch uses what is not defined.
type journal struct {
	t      testing.TB
	mu     sync.Mutex
	tables event.Tables
	events event.Batch // the rows of all batches
	lives  []event.LiveSet
	order  []string // "batch", "live", with the highest sequence number
	fail   error
}

func (j *journal) Define(d *event.Definitions) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	j.tables.Apply(d)
	return nil
}

func (j *journal) Batch(b *event.Batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	texts, launches, _, stacks, gpus, processes := j.tables.Counts()
	if int(b.Process) > processes {
		j.t.Errorf("batch of process %d before its definition", b.Process)
	}
	for _, id := range b.Kernels.Launch {
		if int(id) > launches {
			j.t.Errorf("launch %d before its definition", id)
		}
	}
	for _, id := range b.Allocations.Stack {
		if int(id) > stacks {
			j.t.Errorf("stack %d before its definition", id)
		}
	}
	for _, id := range b.Calls.Name {
		if int(id) > texts {
			j.t.Errorf("string %d before its definition", id)
		}
	}
	for _, id := range b.GPUSamples.GPU {
		if int(id) > gpus {
			j.t.Errorf("GPU %d before its definition", id)
		}
	}
	if n := len(b.Allocations.Sequence); n != len(b.Allocations.Stack) {
		j.t.Errorf("%d allocations with %d stacks", n, len(b.Allocations.Stack))
	}
	j.add(b)
	return nil
}

func (j *journal) Live(l *event.LiveSet) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fail != nil {
		return j.fail
	}
	j.lives = append(j.lives, *l)
	j.order = append(j.order, "live")
	return nil
}

func (j *journal) add(b *event.Batch) {
	e := &j.events
	e.Kernels.Start = append(e.Kernels.Start, b.Kernels.Start...)
	e.Kernels.Duration = append(e.Kernels.Duration, b.Kernels.Duration...)
	e.Kernels.Launch = append(e.Kernels.Launch, b.Kernels.Launch...)
	e.Kernels.Correlation = append(e.Kernels.Correlation, b.Kernels.Correlation...)
	e.Calls.Enter = append(e.Calls.Enter, b.Calls.Enter...)
	e.Calls.Name = append(e.Calls.Name, b.Calls.Name...)
	e.Calls.Thread = append(e.Calls.Thread, b.Calls.Thread...)
	e.Calls.Correlation = append(e.Calls.Correlation, b.Calls.Correlation...)
	e.Markers.Time = append(e.Markers.Time, b.Markers.Time...)
	e.Markers.Kind = append(e.Markers.Kind, b.Markers.Kind...)
	e.Markers.Text = append(e.Markers.Text, b.Markers.Text...)
	e.Markers.Payload = append(e.Markers.Payload, b.Markers.Payload...)
	e.Copies.Bytes = append(e.Copies.Bytes, b.Copies.Bytes...)
	e.Copies.Peer = append(e.Copies.Peer, b.Copies.Peer...)
	e.Copies.Async = append(e.Copies.Async, b.Copies.Async...)
	e.Syncs.Start = append(e.Syncs.Start, b.Syncs.Start...)
	e.Syncs.Stream = append(e.Syncs.Stream, b.Syncs.Stream...)
	e.Sets.Bytes = append(e.Sets.Bytes, b.Sets.Bytes...)
	e.Graphs.Start = append(e.Graphs.Start, b.Graphs.Start...)
	e.Graphs.Graph = append(e.Graphs.Graph, b.Graphs.Graph...)
	e.Overheads.Duration = append(e.Overheads.Duration, b.Overheads.Duration...)
	e.Contexts.NullStream = append(e.Contexts.NullStream, b.Contexts.NullStream...)
	e.Modules.Bytes = append(e.Modules.Bytes, b.Modules.Bytes...)
	e.Pools.Reserved = append(e.Pools.Reserved, b.Pools.Reserved...)
	e.GPUSamples.GPU = append(e.GPUSamples.GPU, b.GPUSamples.GPU...)
	e.States.State = append(e.States.State, b.States.State...)
	e.States.Time = append(e.States.Time, b.States.Time...)
	for i := range b.Allocations.Sequence {
		appendRow(&e.Allocations, &b.Allocations, i)
		e.Allocations.Stack = append(e.Allocations.Stack, b.Allocations.Stack[i])
		j.order = append(j.order, "call")
	}
}

// fakeClock is a clock that tests move.
type fakeClock struct{ now atomic.Int64 }

func (c *fakeClock) time() event.Time       { return event.Time(c.now.Load()) }
func (c *fakeClock) pass(d time.Duration)   { c.now.Add(int64(d)) }
func newFakeClock(at event.Time) *fakeClock { c := &fakeClock{}; c.now.Store(int64(at)); return c }
func total(losses []event.Loss) (sum uint64) {
	for _, l := range losses {
		sum += l.Count
	}
	return sum
}

// lossOf returns the count of one kind and cause.
func lossOf(losses []event.Loss, kind event.Kind, cause event.LossCause) (n uint64) {
	for _, l := range losses {
		if l.Kind == kind && l.Cause == cause {
			n += l.Count
		}
	}
	return n
}
