package collect

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/warpscope/warpscope/cupti/abi"
)

var (
	// ErrNotReady says that the memory has not been laid out (yet).
	ErrNotReady = errors.New("capture has not begun")
	// ErrVersion says that the memory was laid out by a library of another version.
	ErrVersion = errors.New("capture library and agent are of different versions")
	// ErrNotCapture says that the bytes are no capture.
	ErrNotCapture = errors.New("not a warpscope capture")
)

// memory is a view of the shared memory of one process. What is needed to stay inside the bytes
// (offsets, sizes, capacities) was copied and checked once: the other side may change it any time.
type memory struct {
	bytes    []byte
	header   *abi.Header
	alloc    ring
	timeline ring
	live     liveTable
	arena    arena
}

// openMemory checks the layout of b. With fixed set, b is a capture file: nothing in it is written, and
// parts that lie behind its end (it was truncated) are cut off.
func openMemory(b []byte, fixed bool) (*memory, error) {
	if len(b) < abi.Page {
		return nil, fmt.Errorf("%w: %d bytes are less than a header", ErrNotCapture, len(b))
	}
	if uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		return nil, errors.New("open capture: memory is not aligned to 8 bytes")
	}
	m := &memory{bytes: b, header: (*abi.Header)(unsafe.Pointer(&b[0]))}
	switch magic := loadUint64(&m.header.Magic); magic {
	case abi.AbiMagic:
	case 0:
		return nil, ErrNotReady
	default:
		return nil, fmt.Errorf("%w: it begins with %#x", ErrNotCapture, magic)
	}
	if v := m.header.Abi_version; v != abi.AbiVersion {
		return nil, fmt.Errorf("%w: the capture has ABI version %d, this agent reads %d", ErrVersion, v, abi.AbiVersion)
	}
	if n := m.header.Header_size; n < uint32(unsafe.Sizeof(abi.Header{})) || n > abi.Page {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrNotCapture, n)
	}
	// Copied once: the other side may change them between a check and a use.
	alloc, timeline := m.header.Alloc_ring, m.header.Timeline_ring
	live, objects := m.header.Live_table, m.header.Arena
	var err error
	if m.alloc, err = openRing(m.region(alloc), fixed); err != nil {
		return nil, fmt.Errorf("open allocation ring: %w", err)
	}
	if m.timeline, err = openRing(m.region(timeline), fixed); err != nil {
		return nil, fmt.Errorf("open timeline ring: %w", err)
	}
	m.alloc.offset, m.timeline.offset = alloc.Offset+abi.Page, timeline.Offset+abi.Page
	m.live = openLiveTable(m.region(live))
	m.live.offset = live.Offset + abi.Page
	m.arena = arena{data: m.region(objects), used: &m.header.Arena_used}
	return m, nil
}

// region returns the bytes of r, as far as they exist.
func (m *memory) region(r abi.Region) []byte {
	if r.Offset < abi.Page || r.Offset%abi.Page != 0 || r.Offset >= uint64(len(m.bytes)) {
		return nil
	}
	b := m.bytes[r.Offset:]
	return b[:min(r.Size, uint64(len(b)))]
}
