package kernels

import "github.com/warpscope/warpscope/cuda"

// Element is a type of matrix elements.
type Element int

// The types, by the numbers that verify.cu uses.
const (
	Float32  Element = 0 // on the CUDA cores, or as tf32 on the tensor cores
	BFloat16 Element = 1
	Float16  Element = 2
	Float8   Element = 3 // e4m3
	Int8     Element = 4
	Int32    Element = 5 // of results only
)

// String is the type's name as kernels and tables spell it.
func (e Element) String() string { return [...]string{"fp32", "bf16", "fp16", "e4m3", "s8", "s32"}[e] }

// Bytes is the size of an element.
func (e Element) Bytes() int { return [...]int{4, 2, 2, 1, 1, 4}[e] }

// Result is the type of a product's elements.
func (e Element) Result() Element {
	switch e {
	case Float8:
		return BFloat16
	case Int8:
		return Int32
	}
	return e
}

// tma is the type as tensor maps name it.
func (e Element) tma() cuda.ElementType {
	return [...]cuda.ElementType{cuda.ElementFloat32, cuda.ElementBFloat16, cuda.ElementFloat16, cuda.ElementUint8, cuda.ElementUint8, cuda.ElementInt32}[e]
}

// tensorCore is the type's name in the kernels of the tensor cores, which round floats to tf32.
func (e Element) tensorCore() string {
	if e == Float32 {
		return "tf32"
	}
	return e.String()
}
