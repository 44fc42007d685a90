package collect

import (
	"sync/atomic"
	"unsafe"
)

// Access to words that another process changes. All fields of the ABI are aligned to their size,
// and every region begins at a page of a mapping.

func loadUint64(p *uint64) uint64 { return atomic.LoadUint64(p) }

func loadUint32(p *uint32) uint32 { return atomic.LoadUint32(p) }

// wordAt returns the 32-bit word at an offset that the caller has checked.
func wordAt(b []byte, offset uint64) *uint32 {
	_ = b[offset+3]
	return (*uint32)(unsafe.Pointer(&b[offset]))
}

// readAs copies a T from the beginning of b, which must be long enough.
func readAs[T any](b []byte) (v T) {
	_ = b[unsafe.Sizeof(v)-1]
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), b)
	return v
}
