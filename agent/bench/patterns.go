package bench

import (
	"fmt"
	"math/bits"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// sectorBytes is the unit in which memory moves.
const sectorBytes = 32

const gatherName = "random gather, 4 B"

// strides are in floats.
var strides = []int{1, 2, 4, 8, 16, 32, 64, 128}

// patternCases show what the pattern of accesses costs: useful bytes beside those that move.
func patternCases(g *GPU, o Options) []Case {
	s := kernels.Streams{Multiprocessors: g.Info.Multiprocessors}
	bytes, note := array(g, o, 1)
	words := bytes / 4
	var cases []Case
	add := func(what, kernel string, useful, moved uint64, launch func(x, sum cuda.Pointer) kernels.Launch, first, step uint64) {
		r := g.memoryRow(what, note, kernel, ceilings.Read, bytes, moved)
		if useful != moved {
			r.Useful = float64(useful)
		}
		if step*4 > sectorBytes || what == gatherName {
			r.Limit = result.ByPattern
		}
		cases = append(cases, Case{Row: r, Needs: bytes, Prepare: func(g *GPU) (*Work, error) {
			return g.strided(bytes, useful/4, first, step, launch)
		}})
	}
	for _, size := range []int{4, 8, 16} {
		add(fmt.Sprintf("read, %d B a thread", size), fmt.Sprintf("memory_read_%d", size), bytes, bytes,
			func(x, sum cuda.Pointer) kernels.Launch { return s.ReadBy(size, x, bytes/uint64(size), sum) }, 0, 1)
	}
	for _, stride := range strides {
		n := words / uint64(stride)
		what := "coalesced"
		if stride > 1 {
			what = fmt.Sprintf("stride %d", stride)
		}
		add(what, "memory_stride", 4*n, n*min(uint64(4*stride), sectorBytes),
			func(x, sum cuda.Pointer) kernels.Launch { return s.Stride(x, n, stride, 0, sum) }, 0, uint64(stride))
	}
	const offset = 1
	n := words - sectorBytes
	add("misaligned by 4 B", "memory_stride", 4*n, 4*n, func(x, sum cuda.Pointer) kernels.Launch { return s.Stride(x, n, 1, offset, sum) }, offset, 1)
	// A power of two, so that the order without pattern meets each element once.
	elements := uint64(1) << (bits.Len64(words) - 1)
	add(gatherName, "memory_gather", 4*elements, sectorBytes*elements,
		func(x, sum cuda.Pointer) kernels.Launch { return s.Gather(x, elements, sum) }, 0, 1)
	return cases
}

// strided prepares a kernel that adds up n u32, one `step` after the other from `first` on.
func (g *GPU) strided(bytes, n, first, step uint64, launch func(x, sum cuda.Pointer) kernels.Launch) (*Work, error) {
	if step == 1 {
		return g.reading(bytes, first, n, 1, launch)
	}
	x, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	sum, err := g.Alloc(4)
	if err != nil {
		return nil, err
	}
	// Which elements were read shows in the sum if each of them tells its place: word w is value + w, then value three times.
	value := uint32(g.Seed())
	s := kernels.Streams{Multiprocessors: g.Info.Multiprocessors}
	if err := g.Do(kernels.Memory(), s.Write(x, bytes/wordBytes, value)); err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Memory(), launch(x, sum))
	return &Work{Run: run, Verify: g.summed(sum, stridedSum(value, n, step), "sum of elements that tell their place")}, err
}

// stridedSum is the sum, modulo 2^32, of n elements, one `step` (a power of two above 1) after the other, of what Streams.Write wrote.
func stridedSum(value uint32, n, step uint64) uint32 {
	places, each := n, step/4
	if step == 2 { // every other element is at the beginning of a word, and the words follow each other
		places, each = (n+1)/2, 1
	}
	return value*uint32(n) + uint32(each*(places*(places-1)/2))
}
