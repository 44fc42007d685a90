package trace

import (
	"unsafe"

	"github.com/warpscope/warpscope/agent/event"
)

// cells give access to one column of a batch as 64-bit patterns, whatever its Go type.
// Signed values are sign-extended.
type cells interface {
	rows(b *event.Batch) int
	// load fills dst with the rows from first on.
	load(b *event.Batch, first int, dst []uint64)
	// store replaces the column by src.
	store(b *event.Batch, src []uint64)
	// fill replaces the column by n times v.
	fill(b *event.Batch, n int, v uint64)
	// spread replaces the column by base and what the bytes of a plane add to it.
	spread(b *event.Batch, plane []byte, base uint64)
	// room makes the column n rows long and returns it, to be written to; nil if its values are not of 64 bits.
	room(b *event.Batch, n int) []uint64
	// move appends rows [from, to) of src to dst.
	move(dst, src *event.Batch, from, to int)
	reset(b *event.Batch)
}

type integer interface {
	~uint8 | ~uint32 | ~uint64 | ~int32 | ~int64
}

// ints are the cells of a column of integers.
type ints[T integer] func(*event.Batch) *[]T

func (c ints[T]) rows(b *event.Batch) int { return len(*c(b)) }

func (c ints[T]) load(b *event.Batch, first int, dst []uint64) {
	src := (*c(b))[first:]
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = uint64(int64(v))
	}
}

func (c ints[T]) store(b *event.Batch, src []uint64) {
	p := c(b)
	dst := resize(*p, len(src))
	for i, v := range src {
		dst[i] = T(v)
	}
	*p = dst
}

func (c ints[T]) fill(b *event.Batch, n int, v uint64) {
	p := c(b)
	*p = resize(*p, n)
	fill(*p, T(v))
}

func (c ints[T]) spread(b *event.Batch, plane []byte, base uint64) {
	p := c(b)
	dst, low := resize(*p, len(plane)), T(base)
	for i, v := range plane {
		dst[i] = low + T(v)
	}
	*p = dst
}

func (c ints[T]) room(b *event.Batch, n int) []uint64 {
	var v T
	if unsafe.Sizeof(v) != 8 || n == 0 {
		return nil
	}
	p := c(b)
	*p = resize(*p, n)
	return unsafe.Slice((*uint64)(unsafe.Pointer(&(*p)[0])), n)
}

func (c ints[T]) move(dst, src *event.Batch, from, to int) {
	p := c(dst)
	*p = append(*p, (*c(src))[from:to]...)
}

func (c ints[T]) reset(b *event.Batch) {
	p := c(b)
	*p = (*p)[:0]
}

// bools are the cells of a column of truth values.
type bools func(*event.Batch) *[]bool

func (c bools) rows(b *event.Batch) int { return len(*c(b)) }

func (c bools) load(b *event.Batch, first int, dst []uint64) {
	src := (*c(b))[first:]
	for i := range dst {
		dst[i] = bit(src[i])
	}
}

func (c bools) store(b *event.Batch, src []uint64) {
	p := c(b)
	*p = resize(*p, len(src))
	for i, v := range src {
		(*p)[i] = v != 0
	}
}

func (c bools) fill(b *event.Batch, n int, v uint64) {
	p := c(b)
	*p = resize(*p, n)
	fill(*p, v != 0)
}

func (c bools) spread(b *event.Batch, plane []byte, base uint64) {
	p := c(b)
	*p = resize(*p, len(plane))
	for i, v := range plane {
		(*p)[i] = base+uint64(v) != 0
	}
}

func (c bools) room(*event.Batch, int) []uint64 { return nil }

func (c bools) move(dst, src *event.Batch, from, to int) {
	p := c(dst)
	*p = append(*p, (*c(src))[from:to]...)
}

func (c bools) reset(b *event.Batch) {
	p := c(b)
	*p = (*p)[:0]
}

func bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

// uniform tells whether all values are equal, and to what. There must be one.
func uniform(s []uint64) (uint64, bool) {
	first := s[0]
	for _, v := range s {
		if v != first {
			return 0, false
		}
	}
	return first, true
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// resize returns s with n elements of unspecified value, in the same array if it is large enough.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
