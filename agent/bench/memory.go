package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// The memory suite: streams, patterns of access, levels of the hierarchy and their latency.

// streamBytes is the size of an array of the streams: far more than any cache.
const streamBytes = 2 << 30

// wordBytes is the unit of the streaming kernels.
const wordBytes = 16

// array is the size of the suite's arrays, a multiple of what every kernel wants; a power of two for the gathering kernel.
func array(g *GPU, o Options, arrays int) (bytes uint64, note string) {
	want := uint64(streamBytes)
	if o.Bytes > 0 {
		want = o.Bytes
	}
	bytes, note = g.Fit(max(want, 1<<20), arrays)
	return bytes / kernels.BulkChunk * kernels.BulkChunk, note
}

// cached is how many times the size of L2 arrays must be so that their rate is that of memory behind it.
const cached = 4

// kind is the ceiling of a stream over so many bytes; none where caches could hold them.
func (g *GPU) kind(k ceilings.Kind, bytes uint64) ceilings.Kind {
	if bytes < cached*g.Info.L2 {
		return ""
	}
	return k
}

func memoryCases(g *GPU, o Options) ([]Case, error) {
	var cases []Case
	for _, f := range []func(*GPU, Options) []Case{streamCases, patternCases, levelCases, chaseCases} {
		cases = append(cases, f(g, o)...)
	}
	return cases, nil
}

// memoryRow is a row of the suite over an array.
func (g *GPU) memoryRow(what, note, kernel string, k ceilings.Kind, array, moved uint64) result.Row {
	r := result.Row{Suite: "memory", What: what, Shape: size(array), Kernel: kernel, Bytes: float64(moved), Memory: g.kind(k, array)}
	if note != "" {
		r.Notes = append(r.Notes, note)
	}
	if r.Memory == "" {
		r.Notes = append(r.Notes, fmt.Sprintf("less than %d times the L2 cache: not judged by memory's ceiling", cached))
	}
	return r
}

func size(bytes uint64) string {
	switch {
	case bytes >= 1<<30 && bytes%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}

// CopyProblem is a copy on the device, for partners.
type CopyProblem struct {
	From, To cuda.Pointer
	Bytes    uint64
}

func streamCases(g *GPU, o Options) []Case {
	s := kernels.Streams{Multiprocessors: g.Info.Multiprocessors}
	one, note1 := array(g, o, 1)
	two, note2 := array(g, o, 2)
	three, note3 := array(g, o, 3)
	cases := []Case{
		{
			Row: g.memoryRow("read", note1, "memory_read", ceilings.Read, one, one), Sustain: true, Needs: one,
			Prepare: func(g *GPU) (*Work, error) {
				return g.reading(one, 0, one/4, 1, func(x, sum cuda.Pointer) kernels.Launch { return s.Read(x, one/wordBytes, sum) })
			},
		},
		{
			Row: g.memoryRow("write", note1, "memory_write", ceilings.Write, one, one), Sustain: true, Needs: one,
			Prepare: func(g *GPU) (*Work, error) { return g.writing(s, one) },
		},
		{
			Row: g.memoryRow("copy", note2, "memory_copy", ceilings.Copy, two, 2*two), Sustain: true, Needs: 2 * two,
			Prepare: func(g *GPU) (*Work, error) {
				return g.copying(two, func(x, y cuda.Pointer) kernels.Launch { return s.Copy(x, y, two/wordBytes) })
			},
		},
		{
			Row: g.memoryRow("copy, TMA", note2, "memory_sm90_copy", ceilings.Copy, two, 2*two), Needs: 2 * two,
			Prepare: func(g *GPU) (*Work, error) {
				if !g.Hopper {
					return nil, unsupported("it needs compute capability 9.0")
				}
				return g.copying(two, func(x, y cuda.Pointer) kernels.Launch { return s.BulkCopy(x, y, two) })
			},
		},
		{
			Row: g.memoryRow("triad", note3, "memory_triad", ceilings.Triad, three, 3*three), Needs: 3 * three,
			Prepare: func(g *GPU) (*Work, error) { return g.triad(s, three) },
		},
	}
	return cases
}

// reading prepares a kernel that adds up n u32 from the first-th on, `times` times each.
func (g *GPU) reading(bytes, first, n uint64, times uint32, launch func(x, sum cuda.Pointer) kernels.Launch) (*Work, error) {
	x, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	sums, err := g.Alloc(8)
	if err != nil {
		return nil, err
	}
	sum, reference := sums, sums+4
	if err := errors.Join(g.zero(reference, 4), g.Do(kernels.Verify(), kernels.Sum(x+cuda.Pointer(4*first), n, reference))); err != nil {
		return nil, err
	}
	want, err := g.word(reference)
	if err != nil {
		return nil, err
	}
	if want == 0 { // of random words once in four billion times
		return nil, errors.New("wrong result, not timed: the reference adds up random words to 0")
	}
	run, err := g.Runs(kernels.Memory(), launch(x, sum))
	return &Work{Run: run, Verify: g.summed(sum, want*times, "sum of all words, modulo 2^32")}, err
}

func (g *GPU) writing(s kernels.Streams, bytes uint64) (*Work, error) {
	y, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	value, words := uint32(g.Seed()), bytes/wordBytes
	run, err := g.Runs(kernels.Memory(), s.Write(y, words, value))
	return &Work{Run: run, Verify: g.whole(y, bytes, func(bad cuda.Pointer) kernels.Launch { return kernels.Written(y, words, value, bad) })}, err
}

func (g *GPU) copying(bytes uint64, launch func(x, y cuda.Pointer) kernels.Launch) (*Work, error) {
	x, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	y, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Memory(), launch(x, y))
	return &Work{
		Run: run, Problem: CopyProblem{From: x, To: y, Bytes: bytes},
		Verify: g.whole(y, bytes, func(bad cuda.Pointer) kernels.Launch { return kernels.Same(x, y, bytes/wordBytes, bad) }),
	}, err
}
