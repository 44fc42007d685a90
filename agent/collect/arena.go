package collect

import (
	"sync/atomic"
	"unsafe"

	"github.com/warpscope/warpscope/cupti/abi"
)

// arena reads objects of the append-only arena of one process. An id is an offset / 8.
type arena struct {
	data []byte
	used *uint64 // nil: unknown
}

// objectHeader is the size of an object's header in bytes.
const objectHeader = uint64(unsafe.Sizeof(abi.Object{}))

// object returns the bytes of a finished object of the given type, nil if id does not name one.
// The bytes are shared: a hostile writer may change them.
func (a *arena) object(id uint64, kind uint32) []byte {
	if id == 0 || id >= uint64(len(a.data))/8 {
		return nil
	}
	offset := id * 8
	end := uint64(len(a.data))
	if a.used != nil {
		// Not behind what was handed out: reading a hole would allocate its page.
		end = min(end, loadUint64(a.used))
	}
	if offset+objectHeader > end || atomic.LoadUint32(wordAt(a.data, offset)) != kind {
		return nil
	}
	size := uint64(*wordAt(a.data, offset+4))
	if size > end-offset-objectHeader {
		return nil
	}
	return a.data[offset+objectHeader:][:size:size]
}

// maxText bounds one string; mangled names of templates reach some ten thousand bytes.
const maxText = 1 << 20

// text copies a string, "" if id does not name one. Overlapping objects would let a hostile program
// make the agent copy its arena over and over: the budget, in bytes, ends that.
func (a *arena) text(id uint64, budget *int) string {
	b := a.object(id, abi.ObjString)
	b = b[:min(len(b), maxText)]
	if len(b) > *budget {
		return ""
	}
	*budget -= len(b)
	return string(b)
}

// limit returns how many bytes the arena can hold: honest objects do not overlap, so that their copies
// together are not larger.
func (a *arena) limit() int { return len(a.data) }

// dense maps arena ids to identifiers of the trace. It is an array in pieces, so that a lookup
// is two loads and an arena that is hardly used costs little.
type dense struct {
	pieces []*[densePiece]uint32
}

const densePiece = 4096

// get returns the value of id, 0 if there is none.
func (d *dense) get(id uint32) uint32 {
	if i := id / densePiece; uint64(i) < uint64(len(d.pieces)) && d.pieces[i] != nil {
		return d.pieces[i][id%densePiece]
	}
	return 0
}

// set stores the value of id, which must be below the arena's number of ids.
func (d *dense) set(id, value uint32) {
	i := int(id / densePiece)
	for len(d.pieces) <= i {
		d.pieces = append(d.pieces, nil)
	}
	if d.pieces[i] == nil {
		d.pieces[i] = new([densePiece]uint32)
	}
	d.pieces[i][id%densePiece] = value
}
