package kernels

import (
	"time"

	"github.com/warpscope/warpscope/cuda"
)

// Latency is the family of kernels whose work is nothing, or known, and of the elementwise chain; see latency.cu.
func Latency() Family { return Family{"latency"} }

// Empty does nothing.
func Empty() Launch { return Launch{Kernel: "latency_empty"} }

// Count adds one to the u32 at count.
func Count(count cuda.Pointer) Launch {
	return Launch{Kernel: "latency_count", Args: []cuda.Arg{cuda.Address(count)}}
}

// Spin takes a time of the GPU, on one thread, and adds one to the u32 at count.
func Spin(d time.Duration, count cuda.Pointer) Launch {
	return Launch{Kernel: "latency_spin", Args: []cuda.Arg{cuda.Int64(d.Nanoseconds()), cuda.Address(count)}}
}

// The factors of the chain: y = max(0, x * A + B) * C.
const (
	ChainA float32 = 1.5
	ChainB float32 = -0.25
	ChainC float32 = 3
)

// each covers n groups of 4 floats; multiprocessors is the device's number of them.
func each(kernel string, multiprocessors int, args ...cuda.Arg) Launch {
	return Launch{Kernel: kernel, Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(16 * multiprocessors)}, Block: cuda.Dim{512}}, Args: args}
}

// Chain computes the elementwise chain from x to y, n groups of 4 floats, by four kernels that each read and write everything.
func Chain(multiprocessors int, x, y cuda.Pointer, n uint64) []Launch {
	step := func(kernel string, from cuda.Pointer, more ...cuda.Arg) Launch {
		return each(kernel, multiprocessors, append([]cuda.Arg{cuda.Address(from), cuda.Address(y), cuda.Int64(int64(n))}, more...)...)
	}
	return []Launch{
		step("chain_scale", x, cuda.Float32(ChainA)), step("chain_shift", y, cuda.Float32(ChainB)), step("chain_rectify", y), step("chain_scale", y, cuda.Float32(ChainC)),
	}
}

// ChainFused computes the same by one kernel, bit for bit.
func ChainFused(multiprocessors int, x, y cuda.Pointer, n uint64) Launch {
	return each("chain_fused", multiprocessors, cuda.Address(x), cuda.Address(y), cuda.Int64(int64(n)), cuda.Float32(ChainA), cuda.Float32(ChainB), cuda.Float32(ChainC))
}
