package kernels

import (
	"fmt"

	"github.com/warpscope/warpscope/cuda"
)

// Matmuls is the family of matrix products; see matmul.cu, matmul_sm80.cuh and matmul_sm90.cuh.
func Matmuls() Family { return Family{"matmul"} }

// Product is C = A times the transpose of B: A is M by K, B is N by K, C is M by N, all row by row. M, N and K are
// multiples of 16.
type Product struct {
	Element Element
	M, N, K int
	A, B, C cuda.Pointer
}

// Operations is how many additions and multiplications the product is.
func (p Product) Operations() float64 { return 2 * float64(p.M) * float64(p.N) * float64(p.K) }

// Bytes is the least that moves: every element of the operands read once, of the result written once.
func (p Product) Bytes() float64 {
	operands := float64(p.M)*float64(p.K) + float64(p.N)*float64(p.K)
	return operands*float64(p.Element.Bytes()) + float64(p.M)*float64(p.N)*float64(p.Element.Result().Bytes())
}

// Hopper is the product by wgmma, for compute capability 9.0: list is where w.List is on the device, scratch are w.Scratch zeroes there, which
// the kernel leaves as zeroes where it must. Launches that share scratch may not run at once.
func (p Product) Hopper(d *cuda.Driver, w HopperWork, list, scratch cuda.Pointer) (Launch, error) {
	const row = hopperDepth
	element, result := p.Element, p.Element.Result()
	matrix := func(e Element, at cuda.Pointer, rows, columns, boxRows int) (cuda.Arg, error) {
		return d.NewTensorMap(cuda.Tensor{
			Address: at, Element: e.tma(),
			Dims: []uint64{uint64(columns), uint64(rows)}, Strides: []uint64{uint64(columns * e.Bytes())},
			Box: []uint32{uint32(row / e.Bytes()), uint32(boxRows)},
		})
	}
	a, err := matrix(element, p.A, p.M, p.K, hopperRows)
	if err != nil {
		return Launch{}, fmt.Errorf("operand A: %w", err)
	}
	b, err := matrix(element, p.B, p.N, p.K, hopperColumns/hopperCluster)
	if err != nil {
		return Launch{}, fmt.Errorf("operand B: %w", err)
	}
	c, err := matrix(result, p.C, p.M, p.N, 64)
	if err != nil {
		return Launch{}, fmt.Errorf("result: %w", err)
	}
	return Launch{
		Kernel: "matmul_sm90_" + element.tensorCore(),
		Config: cuda.LaunchConfig{
			Grid: cuda.Dim{uint32(w.Clusters * hopperCluster)}, Block: cuda.Dim{3 * 128},
			// Stages, two buffers of 64 rows for each of two warpgroups, barriers, and room to align.
			Shared: hopperStages*(hopperRows+hopperColumns)*row + 2*2*64*row + 2*8*hopperStages + 1024,
		},
		Args: []cuda.Arg{a, b, c, cuda.Address(list), cuda.Int32(int32(len(w.List) / workWords)), cuda.Address(scratch)},
	}, nil
}

// Ampere is the product by mma.sync, for compute capability 8.0 and newer; e4m3 only on 8.9. The device's own capability decides how much
// shared memory the image for it uses.
func (p Product) Ampere(major, minor int) Launch {
	const rows, columns, stages = 256, 128, 4
	row := 64 // bytes of a stage's rows
	if major == 9 && minor == 0 {
		row = 128
	}
	return Launch{
		Kernel: "matmul_sm80_" + p.Element.tensorCore(),
		Config: cuda.LaunchConfig{
			Grid: cuda.Dim{uint32(ceil(p.M, rows) * ceil(p.N, columns))}, Block: cuda.Dim{256},
			Shared: uint32(stages * (rows + columns) * row),
		},
		Args: []cuda.Arg{cuda.Address(p.A), cuda.Address(p.B), cuda.Address(p.C), cuda.Int32(int32(p.M)), cuda.Int32(int32(p.N)),
			cuda.Int64(int64(p.K * p.Element.Bytes()))},
	}
}

// Cores is the product of floats on the CUDA cores.
func (p Product) Cores() Launch {
	return Launch{
		Kernel: "matmul_fp32",
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(ceil(p.N, 128)), uint32(ceil(p.M, 128))}, Block: cuda.Dim{256}},
		Args:   []cuda.Arg{cuda.Address(p.A), cuda.Address(p.B), cuda.Address(p.C), cuda.Int32(int32(p.M)), cuda.Int32(int32(p.N)), cuda.Int32(int32(p.K))},
	}
}

// Transpose is out[columns][rows] = the transpose of in[rows][columns], 16-bit elements, through shared memory or naively.
func Transpose(tiled bool, rows, columns int, in, out cuda.Pointer) Launch {
	kernel, tile := "transpose_naive", 32
	if tiled {
		kernel, tile = "transpose_tiled", 64
	}
	return Launch{
		Kernel: kernel,
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(ceil(columns, tile)), uint32(ceil(rows, tile))}, Block: cuda.Dim{32, 8}},
		Args:   []cuda.Arg{cuda.Address(in), cuda.Address(out), cuda.Int32(int32(rows)), cuda.Int32(int32(columns))},
	}
}

func ceil(n, size int) int { return (n + size - 1) / size }
