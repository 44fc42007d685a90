package kernels

import (
	"fmt"
	"math"

	"github.com/warpscope/warpscope/cuda"
)

// Naive is attention in three steps, with all scores in memory: scores has room for ScoreElements bf16, across holds the
// values of each head transposed (D by Keys). Keys and D are multiples of 16.
func (a Attend) Naive(scores, across cuda.Pointer) []Launch {
	const rows, columns, stages = 256, 128, 4
	heads := uint32(a.Batch * a.Heads)
	product := func(x, y, z cuda.Pointer, m, n, bytes, group int) Launch {
		return Launch{
			Kernel: "attention_product",
			Config: cuda.LaunchConfig{
				Grid: cuda.Dim{uint32(ceil(m, rows) * ceil(n, columns)), heads}, Block: cuda.Dim{256}, Shared: stages * (rows + columns) * 64,
			},
			Args: []cuda.Arg{cuda.Address(x), cuda.Address(y), cuda.Address(z), cuda.Int32(int32(m)), cuda.Int32(int32(n)), cuda.Int64(int64(bytes)),
				cuda.Int32(int32(group))},
		}
	}
	causal := int32(0)
	if a.Causal {
		causal = 1
	}
	return []Launch{
		product(a.Q, a.K, scores, a.Queries, a.Keys, 2*a.D, a.group()),
		{
			Kernel: "attention_softmax",
			Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(a.Queries), heads}, Block: cuda.Dim{256}},
			Args:   []cuda.Arg{cuda.Address(scores), cuda.Int32(int32(a.Queries)), cuda.Int32(int32(a.Keys)), cuda.Int32(causal), cuda.Float32(a.scale())},
		},
		product(scores, across, a.O, a.Queries, a.D, 2*a.Keys, a.group()),
	}
}

// ScoreElements is how many scores there are.
func (a Attend) ScoreElements() uint64 {
	return uint64(a.Batch*a.Heads) * uint64(a.Queries) * uint64(a.Keys)
}

// decodeShared is the dynamic shared memory of a decoding block: a ring of three stages of 16 keys and values for each of four warps.
func (a Attend) decodeShared() int { return 4 * 3 * 2 * 16 * a.D * 2 }

// Splits is into how many parts decoding should cut the keys: the fewest that keep the device nearly as busy as any number
// would. resident is how many of its blocks run at once.
func (a Attend) Splits(resident int) int {
	const most, enough = 64, 0.85
	heads, blocks := a.Batch*a.KeyHeads, ceil(a.Keys, 64)
	efficiency := func(splits int) float64 {
		waves := float64(heads*splits) / float64(resident)
		return waves / math.Ceil(waves)
	}
	best := 0.0
	for s := 1; s <= min(most, blocks); s++ {
		best = max(best, efficiency(s))
	}
	for s := 1; s < min(most, blocks); s++ {
		if efficiency(s) >= enough*best {
			return s
		}
	}
	return min(most, blocks)
}

// DecodeResident is how many decoding blocks a multiprocessor with so many bytes of shared memory holds.
func (a Attend) DecodeResident(shared int) int {
	const reserved = 1 << 10 // a block
	return max(1, shared/(a.decodeShared()+reserved))
}

// PartBytes is the room that `splits` parts of Decode's results take: of rows, then of their maxima and sums.
func (a Attend) PartBytes(splits int) (rows, ends uint64) {
	n := uint64(a.Batch*a.Heads) * uint64(splits)
	return n * uint64(a.D) * 4, n * 8
}

// Decode is attention of one query a head (Queries is 1) to all keys, cut into splits; at most 16 query heads share a key
// head. parts and ends have room for PartBytes.
func (a Attend) Decode(splits int, parts, ends cuda.Pointer) []Launch {
	heads := uint32(a.Batch * a.KeyHeads)
	launches := []Launch{{
		Kernel: fmt.Sprintf("attention_decode_%d", a.D),
		Config: cuda.LaunchConfig{Grid: cuda.Dim{heads * uint32(splits)}, Block: cuda.Dim{128}, Shared: uint32(a.decodeShared())},
		Args: []cuda.Arg{cuda.Address(a.Q), cuda.Address(a.K), cuda.Address(a.V), cuda.Address(a.O), cuda.Address(parts), cuda.Address(ends),
			cuda.Int32(int32(a.Keys)), cuda.Int32(int32(a.group())), cuda.Int32(int32(splits)), cuda.Float32(a.scale())},
	}}
	if splits > 1 {
		launches = append(launches, Launch{
			Kernel: "attention_merge",
			Config: cuda.LaunchConfig{Grid: cuda.Dim{heads, uint32(a.group())}, Block: cuda.Dim{uint32(a.D)}},
			Args:   []cuda.Arg{cuda.Address(parts), cuda.Address(ends), cuda.Address(a.O), cuda.Int32(int32(splits))},
		})
	}
	return launches
}

// WantAttention computes `count` rows of the output in double precision; rows holds their numbers (u32), counted through all
// heads, scores is room for count * Keys doubles.
func WantAttention(a Attend, want, scores, rows cuda.Pointer, count int) Launch {
	causal := int32(0)
	if a.Causal {
		causal = 1
	}
	return Launch{
		Kernel: "verify_attention",
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(count)}, Block: cuda.Dim{256}},
		Args: []cuda.Arg{cuda.Address(a.Q), cuda.Address(a.K), cuda.Address(a.V), cuda.Address(want), cuda.Address(scores), cuda.Address(rows),
			cuda.Int32(int32(a.Queries)), cuda.Int32(int32(a.Keys)), cuda.Int32(int32(a.D)), cuda.Int32(int32(a.group())), cuda.Int32(causal),
			cuda.Float64(1 / math.Sqrt(float64(a.D))), cuda.Int32(int32(BFloat16))},
	}
}
