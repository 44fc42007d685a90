package kernels

import "github.com/warpscope/warpscope/cuda"

// Verify is the family of inputs, references and comparisons; see verify.cu.
func Verify() Family { return Family{"verify"} }

// spread covers n elements by blocks that go on with the next ones until there are none.
func spread(kernel string, args ...cuda.Arg) Launch {
	return Launch{Kernel: kernel, Config: cuda.LaunchConfig{Grid: cuda.Dim{1024}, Block: cuda.Dim{256}}, Args: args}
}

// Fill writes n normally distributed elements of a deviation; 8-bit integers are even from -100 to 100.
func Fill(e Element, x cuda.Pointer, n int, seed uint64, deviation float32) Launch {
	return spread("verify_fill", cuda.Address(x), cuda.Int64(int64(n)), cuda.Int32(int32(e)), cuda.Int64(int64(seed)), cuda.Float32(deviation))
}

// WantProduct computes `count` rows of the product in double precision; rows holds their numbers (u32).
func WantProduct(p Product, want, rows cuda.Pointer, count int) Launch {
	return Launch{
		Kernel: "verify_matmul",
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(ceil(p.N, 8)), uint32(count)}, Block: cuda.Dim{256}},
		Args: []cuda.Arg{cuda.Address(p.A), cuda.Address(p.B), cuda.Address(want), cuda.Address(rows),
			cuda.Int32(int32(p.N)), cuda.Int32(int32(p.K)), cuda.Int32(int32(p.Element))},
	}
}

// Compare adds to three doubles at totals: the squared distance of `count` rows of got from want, the square of want, and how many elements
// of got are not finite. Rows have n elements.
func Compare(e Element, got, want, rows cuda.Pointer, count, n int, totals cuda.Pointer) Launch {
	return Launch{
		Kernel: "verify_compare",
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(min(ceil(n, 256), 64)), uint32(count)}, Block: cuda.Dim{256}},
		Args:   []cuda.Arg{cuda.Address(got), cuda.Address(want), cuda.Address(rows), cuda.Int32(int32(n)), cuda.Int32(int32(e)), cuda.Address(totals)},
	}
}

// Same adds to the u64 at bad how many of n words of 16 bytes differ between x and y.
func Same(x, y cuda.Pointer, words uint64, bad cuda.Pointer) Launch {
	return spread("verify_same", cuda.Address(x), cuda.Address(y), cuda.Int64(int64(words)), cuda.Address(bad))
}

// Written adds to the u64 at bad how many of n words are not what Streams.Write leaves.
func Written(y cuda.Pointer, words uint64, value uint32, bad cuda.Pointer) Launch {
	return spread("verify_written", cuda.Address(y), cuda.Int64(int64(words)), cuda.Uint32(value), cuda.Address(bad))
}

// Sum adds n u32 to *sum, one at a time.
func Sum(x cuda.Pointer, n uint64, sum cuda.Pointer) Launch {
	return spread("verify_sum", cuda.Address(x), cuda.Int64(int64(n)), cuda.Address(sum))
}
