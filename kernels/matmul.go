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

// The tile of the Hopper kernels, as matmul_sm90.cuh instantiates them.
const (
	hopperRows, hopperColumns = 128, 256
	hopperStages              = 4
	hopperCluster             = 2 // blocks, along M
	hopperGroup               = 8 // clusters' tiles along M that are in use together
)

// HopperOrder is the order in which clusters take tiles: groups of rows, inside them column by column, so that what is
// in use at one time fits in L2. It goes to the device as the kernel's `order`.
func (p Product) HopperOrder() []uint32 {
	rows, columns := ceil(p.M, hopperRows*hopperCluster), ceil(p.N, hopperColumns)
	order := make([]uint32, 0, rows*columns)
	for first := 0; first < rows; first += hopperGroup {
		for c := range columns {
			for r := first; r < min(first+hopperGroup, rows); r++ {
				order = append(order, uint32(r)<<16|uint32(c))
			}
		}
	}
	return order
}

// Hopper is the product by wgmma, for compute capability 9.0: multiprocessors is the device's number of them, order the
// address of HopperOrder.
func (p Product) Hopper(d *cuda.Driver, multiprocessors int, order cuda.Pointer) (Launch, error) {
	const row = 128 // bytes of a stage's rows
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
	tiles := len(p.HopperOrder())
	// As many clusters as finish in the same number of rounds: when the last round is not full, the others may as well rest.
	clusters := min(multiprocessors/hopperCluster, tiles)
	clusters = ceil(tiles, ceil(tiles, clusters))
	return Launch{
		Kernel: "matmul_sm90_" + element.tensorCore(),
		Config: cuda.LaunchConfig{
			Grid: cuda.Dim{uint32(clusters * hopperCluster)}, Block: cuda.Dim{3 * 128},
			// Stages, two buffers of 64 rows for each of two warpgroups, barriers, and room to align.
			Shared: hopperStages*(hopperRows+hopperColumns)*row + 2*2*64*row + 2*8*hopperStages + 1024,
		},
		Args: []cuda.Arg{a, b, c, cuda.Address(order), cuda.Int32(int32(tiles)), cuda.Int32(int32(ceil(p.K*element.Bytes(), row)))},
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
