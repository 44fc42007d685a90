package cuda

import (
	"fmt"
	"unsafe"
)

type tensorMapCalls struct {
	tensorMapEncodeTiled func(m unsafe.Pointer, element int32, rank uint32, address addr, dims, strides *uint64, box, steps *uint32, interleave, swizzle, promotion, fill int32) rc `cuda:"cuTensorMapEncodeTiled" since:"12000"`
}

// ElementType is a CUtensorMapDataType.
type ElementType int32

// The element types of a tensor that TMA copies.
const (
	ElementUint8    ElementType = 0 // every 8-bit type
	ElementInt32    ElementType = 3
	ElementFloat16  ElementType = 6
	ElementFloat32  ElementType = 7
	ElementBFloat16 ElementType = 9
)

// Tensor describes a tensor in device memory to the tensor memory accelerator (compute capability 9.0). All slices begin
// with the innermost dimension.
type Tensor struct {
	Address Pointer
	Element ElementType
	Dims    []uint64 // elements; at most 5 dimensions
	Strides []uint64 // bytes, of all dimensions but the first; multiples of 16
	Box     []uint32 // elements that one copy takes, at most 256 in a dimension
}

// NewTensorMap makes the parameter that a kernel takes as a `const __grid_constant__ CUtensorMap`, for boxes whose rows of 128
// bytes are swizzled in shared memory; what lies outside of the tensor reads as zero. It needs no context.
func (d *Driver) NewTensorMap(t Tensor) (Arg, error) {
	const (
		size             = 128
		interleaveNone   = 0
		swizzle128       = 3
		promotionL2of256 = 3
		fillZero         = 0
	)
	if len(t.Dims) == 0 || len(t.Dims) > 5 || len(t.Strides) != len(t.Dims)-1 || len(t.Box) != len(t.Dims) {
		return Arg{}, fmt.Errorf("make tensor map: %d dimensions, %d strides, box of %d: %w", len(t.Dims), len(t.Strides), len(t.Box), ErrInvalidValue)
	}
	// CUDA 13 wants the map at a multiple of 128 bytes, which Go's allocator does not promise. Slices do not move.
	room := make([]byte, 2*size-1)
	skip := -uintptr(unsafe.Pointer(&room[0])) % size
	m := room[skip : skip+size : skip+size]
	steps := make([]uint32, len(t.Dims))
	for i := range steps {
		steps[i] = 1
	}
	strides := append(t.Strides[:len(t.Strides):len(t.Strides)], 0) // never empty: its first element is passed
	code := d.fn.tensorMapEncodeTiled(unsafe.Pointer(&m[0]), int32(t.Element), uint32(len(t.Dims)), t.Address, &t.Dims[0], &strides[0],
		&t.Box[0], &steps[0], interleaveNone, swizzle128, promotionL2of256, fillZero)
	if err := d.check("cuTensorMapEncodeTiled", code); err != nil {
		return Arg{}, fmt.Errorf("make tensor map of %v in boxes of %v: %w", t.Dims, t.Box, err)
	}
	return Struct(m), nil
}
