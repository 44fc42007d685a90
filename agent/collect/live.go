package collect

import (
	"sync/atomic"
	"unsafe"

	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	liveSize  = uint64(unsafe.Sizeof(abi.Live{}))
	liveWords = int(liveSize / 8)
	// liveRetries bounds how often an entry under change is looked at again; a writer that died
	// while it changed one leaves it busy for ever.
	liveRetries = 64
)

// liveTable reads the shared table of what is allocated.
type liveTable struct {
	data     []byte  // the entries
	capacity uint64  // entries
	version  *uint64 // odd while an entry is being changed
	copied   []abi.Live
	offset   uint64 // of data in the whole memory

	// extents returns the next part of the memory, from an offset on, that was ever written
	// (the table is sparse, and reading a hole would allocate it); nil: read everything.
	extents func(from, to uint64) (start, end uint64, ok bool)
}

func openLiveTable(region []byte) liveTable {
	if len(region) < abi.Page {
		return liveTable{}
	}
	data := region[abi.Page:]
	// Whatever the capacity says, there are no entries behind the end.
	capacity := min(loadUint64((*uint64)(unsafe.Pointer(&region[0]))), uint64(len(data))/liveSize)
	return liveTable{data: data[:capacity*liveSize], capacity: capacity, version: (*uint64)(unsafe.Pointer(&region[16]))}
}

// copyAttempts bounds how often the table is read until nothing changed meanwhile: a program that
// allocates without a pause, or died in the middle of a change, is read as it comes.
const copyAttempts = 16

// each calls f with a copy of every entry in use, as they were at one moment.
func (t *liveTable) each(f func(*abi.Live)) {
	if t.capacity == 0 {
		return
	}
	for range copyAttempts {
		t.copied = t.copied[:0]
		before := atomic.LoadUint64(t.version)
		t.read(func(live *abi.Live) { t.copied = append(t.copied, *live) })
		if before%2 == 0 && atomic.LoadUint64(t.version) == before {
			break
		}
	}
	for i := range t.copied {
		f(&t.copied[i])
	}
}

// read calls f with every entry in use. Entries that change meanwhile are seen before or after the
// change; one that moves may be seen twice or not at all.
func (t *liveTable) read(f func(*abi.Live)) {
	if t.extents == nil {
		t.scan(0, t.capacity, f)
		return
	}
	end := t.offset + t.capacity*liveSize
	for from := t.offset; from < end; {
		start, stop, ok := t.extents(from, end)
		if !ok || start < from || stop <= start {
			return
		}
		first := (max(start, t.offset) - t.offset) / liveSize
		last := (min(stop, end) - t.offset + liveSize - 1) / liveSize
		t.scan(first, min(last, t.capacity), f)
		from = stop
	}
}

func (t *liveTable) scan(first, last uint64, f func(*abi.Live)) {
	var words [liveWords]uint64
	for i := first; i < last; i++ {
		entry := t.data[i*liveSize:][:liveSize]
		shared := (*[liveWords]uint64)(unsafe.Pointer(&entry[0]))
		for range liveRetries {
			key := atomic.LoadUint64(&shared[0])
			if key == abi.LiveEmpty || key == abi.LiveDead {
				break
			}
			if key == abi.LiveBusy {
				continue
			}
			for w := range words {
				words[w] = atomic.LoadUint64(&shared[w])
			}
			live := (*abi.Live)(unsafe.Pointer(&words))
			// The sequence number tells a slot that was released and taken again for the same address.
			if words[0] == key && atomic.LoadUint64(&shared[0]) == key &&
				atomic.LoadUint64(&shared[2]) == live.Seq {
				f(live)
				break
			}
		}
	}
}
