package collect

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/warpscope/warpscope/cupti/abi"
)

// record is the copy of one record, aligned for every field; 128 bytes are the largest kind's.
type record [16]uint64

func (r *record) head() *abi.Rec { return (*abi.Rec)(unsafe.Pointer(r)) }

// recordSlots is the length of each kind that this version reads, in slots; 0: unknown.
var recordSlots = [256]uint8{
	abi.RecKernel: 1, abi.RecCopy: 1, abi.RecSet: 1, abi.RecSync: 1, abi.RecApi: 1, abi.RecMarker: 1,
	abi.RecGraph: 1, abi.RecOverhead: 1, abi.RecAlloc: 2, abi.RecContext: 1, abi.RecModule: 1,
	abi.RecClock: 1, abi.RecDevice: 1, abi.RecPool: 1, abi.RecState: 1, abi.RecTick: 1,
}

// outcome is what ring.next found.
type outcome int

const (
	gotRecord    outcome = iota
	gotUnknown           // a whole record of a kind that this version does not read
	gotMalformed         // a committed slot whose length makes no sense
	gotNothing           // everything handed out has been read
	gotStall             // the slot at the tail is handed out but not committed
)

// punchChunk is how much of a sparse ring is given back at a time: one call for 512 allocations.
const punchChunk = 64 << 10

// ring is the reading end of one ring. Positions are bytes that only grow.
type ring struct {
	control  *abi.Ring // nil: the ring is not there
	data     []byte
	capacity uint64
	fixed    bool   // a capture file: positions are offsets, nothing is given back
	offset   uint64 // of data in the whole memory

	tail     uint64 // next position to read
	end      uint64 // handed out to writers, as last seen
	released uint64 // position up to which writers may write again
	missing  uint64 // bytes handed out that lie behind the end of a truncated file

	// punch gives the pages of a part of the memory back to the system; nil: they are kept.
	punch func(offset, length uint64) error
	// unmap takes the pages of a part of the memory out of this process's address space; nil: they stay.
	unmap     func(offset, length uint64) error
	forgotten uint64 // position up to which that was done
}

// openRing checks the control page of a ring. An empty region is a ring without records.
func openRing(region []byte, fixed bool) (ring, error) {
	if len(region) < abi.Page {
		return ring{}, nil
	}
	control := (*abi.Ring)(unsafe.Pointer(&region[0]))
	r := ring{control: control, data: region[abi.Page:], capacity: loadUint64(&control.Capacity), fixed: fixed}
	switch {
	case r.capacity < abi.Page || r.capacity&(r.capacity-1) != 0:
		return ring{}, fmt.Errorf("%w: a ring of %d bytes", ErrNotCapture, r.capacity)
	case fixed:
		return r, nil
	case r.capacity > uint64(len(r.data)):
		return ring{}, fmt.Errorf("%w: a ring of %d bytes in %d", ErrNotCapture, r.capacity, len(r.data))
	}
	r.data = r.data[:r.capacity]
	r.tail = loadUint64(&control.Tail) &^ (abi.Slot - 1)
	r.released, r.end, r.forgotten = r.tail, r.tail, r.tail
	return r, nil
}

// refresh looks how far writers have got.
func (r *ring) refresh() {
	if r.control == nil {
		return
	}
	reserved := loadUint64(&r.control.Reserved) &^ (abi.Slot - 1)
	if r.fixed {
		reserved = min(reserved, r.capacity)
		there := min(reserved, uint64(len(r.data))&^(abi.Slot-1))
		r.end, r.missing = max(r.tail, there), reserved-there
		return
	}
	switch ahead := reserved - r.tail; {
	case int64(ahead) < 0: // only a hostile writer goes backwards
		r.end = r.tail
	case ahead > r.capacity:
		r.end = r.tail + r.capacity
	default:
		r.end = reserved
	}
}

// backlog returns the bytes that were handed out and not yet read.
func (r *ring) backlog() uint64 { return r.end - r.tail }

// committed tells whether a record begins at position p, which must be in [tail, end).
func (r *ring) committed(p uint64) bool {
	// Punched pages are zeros, so there the commit word 0 (one slot in 2^32) cannot be trusted.
	commit := atomic.LoadUint32(wordAt(r.data, p&(r.capacity-1)))
	return commit == uint32(p/abi.Slot)+1 && (commit != 0 || r.punch == nil)
}

// next copies the record at the tail to into and moves on. Fillers are skipped.
func (r *ring) next(into *record) outcome {
	for r.tail < r.end {
		if !r.committed(r.tail) {
			return gotStall
		}
		at := r.tail & (r.capacity - 1)
		*(*[8]uint64)(into[:8]) = *(*[8]uint64)(unsafe.Pointer(&r.data[at : at+abi.Slot][0]))
		head := *into.head()
		length := uint64(head.Slots) * abi.Slot
		if head.Type == abi.RecPad {
			if length == 0 || length > r.capacity-at {
				length = r.capacity - at
			}
			r.tail = min(r.tail+length, r.end)
			continue
		}
		slots := recordSlots[head.Type]
		if length == 0 || head.Slots < slots || length > r.capacity-at || length > r.end-r.tail {
			r.tail += abi.Slot
			return gotMalformed
		}
		r.tail += length
		if slots == 0 {
			return gotUnknown
		}
		if slots == 2 {
			*(*[8]uint64)(into[8:]) = *(*[8]uint64)(unsafe.Pointer(&r.data[at+abi.Slot : at+2*abi.Slot][0]))
		}
		return gotRecord
	}
	return gotNothing
}

// skip moves the tail over slots that nobody commits, to the next one that looks like the beginning
// of a record. Where there is none it stays, or with all set goes to the end. It returns
// how many slots were skipped.
func (r *ring) skip(all bool) uint64 {
	p := r.tail
	for p < r.end && !r.plausible(p) {
		p += abi.Slot
	}
	if p == r.end && !all {
		return 0
	}
	slots := (p - r.tail) / abi.Slot
	r.tail = p
	return slots
}

// plausible tells a committed record from payload that happens to equal a commit word.
func (r *ring) plausible(p uint64) bool {
	if !r.committed(p) {
		return false
	}
	head := readAs[abi.Rec](r.data[p&(r.capacity-1):])
	if head.Type == abi.RecPad {
		return true
	}
	return head.Type < abi.RecTypes && head.Slots >= max(1, recordSlots[head.Type])
}

// release lets writers have what was read. A sparse ring is punched first, in whole chunks: once a
// position is released it may be written again at any moment.
func (r *ring) release() {
	if r.control == nil || r.fixed || r.released == r.tail {
		return
	}
	to := r.tail
	if chunk := min(punchChunk, r.capacity/4); r.punch != nil && chunk >= abi.Page {
		to &^= chunk - 1
		if to <= r.released {
			return
		}
		r.hole(r.released, to)
	}
	r.released = to
	atomic.StoreUint64(&r.control.Tail, to)
	r.forget()
}

// hole punches the positions [from, to), which are whole pages but for the very first ones.
func (r *ring) hole(from, to uint64) {
	from = (from + abi.Page - 1) &^ (abi.Page - 1)
	for from < to {
		at := from & (r.capacity - 1)
		n := min(to-from, r.capacity-at)
		if err := r.punch(r.offset+at, n); err != nil {
			r.punch = nil // not supported here: the ring keeps its pages, nothing else changes
			return
		}
		from += n
	}
}
