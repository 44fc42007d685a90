package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// hidden is what all query heads have together: the shapes of FlashAttention's own charts, with 16k tokens in each batch.
const (
	hidden = 2048
	tokens = 16384
)

// Relative errors of outputs of 16 bits; probabilities of 16 bits in the naive way.
const (
	attentionAllowed = 6e-3
	naiveAllowed     = 2e-2
)

// way is a way to compute attention.
type way struct {
	allowed       float64
	queries, keys int // of the awkward shape on which it is tried first
	// prepare takes what scratch memory it needs and says how much that is.
	prepare func(g *GPU, a kernels.Attend) (run func(n int) error, scratch uint64, err error)
}

func flash() way       { return way{attentionAllowed, 200, 333, (*GPU).flash} }
func flashAmpere() way { return way{attentionAllowed, 200, 333, (*GPU).flashAmpere} }
func naive() way       { return way{naiveAllowed, 208, 336, (*GPU).naive} }
func decode() way      { return way{attentionAllowed, 1, 1000, (*GPU).decode} }

func attentionCases(g *GPU, o Options) ([]Case, error) {
	lengths, few := []int{2048, 8192, 16384}, []int{1024, 2048, 4096, 8192}
	if o.Shape[0] > 0 {
		lengths, few = []int{o.Shape[0]}, []int{o.Shape[0]}
	}
	var cases []Case
	add := func(what string, a kernels.Attend, w way, sustain bool) *result.Row {
		cases = append(cases, attentionCase(g, what, a, w, sustain))
		return &cases[len(cases)-1].Row
	}
	fits := func(a kernels.Attend, more uint64) bool {
		return 2*(2*a.QueryElements()+2*a.KeyElements())+more < g.Free()
	}
	for _, d := range []int{64, 128} {
		for _, causal := range []bool{false, true} {
			for _, s := range lengths {
				a := kernels.Attend{Batch: max(1, tokens/s), Heads: hidden / d, KeyHeads: hidden / d, Queries: s, Keys: s, D: d, Causal: causal}
				add(flashName(causal), a, flash(), d == 128 && s == 16384)
			}
		}
	}
	last := lengths[len(lengths)-1]
	shared := kernels.Attend{Batch: max(1, tokens/last), Heads: 32, KeyHeads: 8, Queries: last, Keys: last, D: 128, Causal: true}
	add(flashName(true)+", GQA", shared, flash(), false)
	if g.Hopper {
		a := kernels.Attend{Batch: max(1, tokens/last), Heads: 16, KeyHeads: 16, Queries: last, Keys: last, D: 128}
		r := add("flash, mma.sync", a, flashAmpere(), false)
		r.Kernel, r.Limit = "attention_sm80_128", byOlderProducts
	}
	for _, s := range few {
		a := kernels.Attend{Batch: max(1, tokens/s), Heads: 16, KeyHeads: 16, Queries: s, Keys: s, D: 128}
		note := ""
		for a.Batch > 1 && !fits(a, naiveScratch(a)) {
			a.Batch /= 2
			note = fmt.Sprintf("a smaller batch: only %d MiB are free", g.Free()>>20)
		}
		r := add("naive, full", a, naive(), false)
		r.Kernel = "attention_product"
		// Scores are written, read and written again as probabilities, and read.
		r.Bytes += 4 * 2 * float64(a.ScoreElements())
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	if o.Shape[0] > 0 {
		cases = append(cases, decodeCase(g, 32, 32, 8, o.Shape[0], 128))
		return cases, nil
	}
	return append(cases, decodeCase(g, 32, 32, 8, 8192, 128), decodeCase(g, 1, 32, 8, 32768, 128), decodeCase(g, 32, 64, 8, 8192, 64)), nil
}

func flashName(causal bool) string {
	if causal {
		return "flash, causal"
	}
	return "flash, full"
}

func attentionCase(g *GPU, what string, a kernels.Attend, w way, sustain bool) Case {
	heads := fmt.Sprint(a.Heads)
	if a.KeyHeads != a.Heads {
		heads = fmt.Sprintf("%d:%d", a.Heads, a.KeyHeads)
	}
	kernel := a.Ampere().Kernel
	if g.Hopper {
		kernel = a.HopperKernel()
	}
	r := result.Row{
		Suite: "attention", What: what, Shape: fmt.Sprintf("%d×%s×%d d%d", a.Batch, heads, a.Keys, a.D), Element: "bf16", Kernel: kernel,
		Operations: a.Operations(), Bytes: a.Bytes(), Peak: ceilings.BFloat16, Memory: ceilings.Read,
	}
	return Case{Row: r, Sustain: sustain, Needs: uint64(a.Bytes()), Prepare: func(g *GPU) (*Work, error) {
		return g.attention(a, w)
	}}
}

// attention prepares attention, after the same way was right on a shape that is awkward.
func (g *GPU) attention(a kernels.Attend, w way) (*Work, error) {
	odd := kernels.Attend{Batch: 2, Heads: 4, KeyHeads: 2, Queries: w.queries, Keys: w.keys, D: a.D, Causal: a.Causal}
	small, err := g.oneAttention(odd, w, odd.Batch*odd.Heads*odd.Queries)
	if err != nil {
		return nil, err
	}
	v, err := small.Verify(small.Run)
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("wrong result at %d queries and %d keys, not timed: %w", odd.Queries, odd.Keys, err)
	}
	return g.oneAttention(a, w, mostRows)
}

func (g *GPU) oneAttention(a kernels.Attend, w way, rows int) (*Work, error) {
	out := 2 * a.QueryElements()
	for _, t := range []struct {
		at     *cuda.Pointer
		n      uint64
		output bool
	}{{&a.Q, a.QueryElements(), false}, {&a.K, a.KeyElements(), false}, {&a.V, a.KeyElements(), false}, {&a.O, a.QueryElements(), true}} {
		var err error
		if *t.at, err = g.Alloc(2 * t.n); err == nil && !t.output {
			err = g.fill(kernels.BFloat16, *t.at, t.n, 1)
		}
		if err != nil {
			return nil, err
		}
	}
	run, scratch, err := w.prepare(g, a)
	if err != nil {
		return nil, err
	}
	all := a.Batch * a.Heads * a.Queries
	c, err := g.comparison(all, min(all, rows), a.D)
	if err != nil {
		return nil, err
	}
	scores, err := g.Alloc(8 * uint64(c.count) * uint64(a.Keys))
	if err == nil {
		err = g.Do(kernels.Verify(), kernels.WantAttention(a, c.want, scores, c.rows, c.count))
	}
	if err != nil {
		return nil, err
	}
	return &Work{Run: run, Problem: a, Verify: func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.poison(a.O, out), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		return g.distance(kernels.BFloat16, a.O, c, w.allowed)
	}, After: func(r *result.Row) error {
		r.Scratch = scratch
		return nil
	}}, nil
}

func (g *GPU) flash(a kernels.Attend) (run func(int) error, scratch uint64, err error) {
	if !g.Hopper {
		return g.flashAmpere(a)
	}
	order := a.HopperOrder(g.Info.Multiprocessors)
	at, err := g.upload(order)
	if err != nil {
		return nil, 0, err
	}
	launch, err := a.Hopper(g.Driver, g.Info.Multiprocessors, at, len(order))
	if err != nil {
		return nil, 0, err
	}
	run, err = g.Runs(kernels.Attention(), launch)
	return run, uint64(4 * len(order)), err
}

func (g *GPU) flashAmpere(a kernels.Attend) (run func(int) error, scratch uint64, err error) {
	run, err = g.Runs(kernels.Attention(), a.Ampere())
	return run, 0, err
}

// naiveScratch is what the scores and the transposed values take.
func naiveScratch(a kernels.Attend) uint64 { return 2 * (a.ScoreElements() + a.KeyElements()) }

func (g *GPU) naive(a kernels.Attend) (run func(int) error, scratch uint64, err error) {
	scores, err := g.Alloc(2 * a.ScoreElements())
	if err != nil {
		return nil, 0, err
	}
	across, err := g.Alloc(2 * a.KeyElements())
	if err != nil {
		return nil, 0, err
	}
	// The layout of the values is the caller's: it is made once, outside of what is timed.
	each := cuda.Pointer(2 * a.Keys * a.D)
	for head := range a.Batch * a.KeyHeads {
		if err := g.Do(kernels.Matmuls(), kernels.Transpose(true, a.Keys, a.D, a.V+each*cuda.Pointer(head), across+each*cuda.Pointer(head))); err != nil {
			return nil, 0, err
		}
	}
	run, err = g.Runs(kernels.Attention(), a.Naive(scores, across)...)
	return run, naiveScratch(a), err
}

// decodeCase is one query a head against a long cache: bound by reading the keys and values once.
func decodeCase(g *GPU, batch, heads, keyHeads, keys, d int) Case {
	a := kernels.Attend{Batch: batch, Heads: heads, KeyHeads: keyHeads, Queries: 1, Keys: keys, D: d}
	c := attentionCase(g, "decode", a, decode(), batch == 32 && d == 128)
	c.Row.Kernel = fmt.Sprintf("attention_decode_%d", d)
	return c
}

func (g *GPU) decode(a kernels.Attend) (run func(int) error, scratch uint64, err error) {
	shared, err := g.Device.Attribute(cuda.SharedMemoryPerProcessor)
	if err != nil {
		return nil, 0, err
	}
	splits := a.Splits(g.Info.Multiprocessors * a.DecodeResident(shared))
	rows, ends := a.PartBytes(splits)
	parts, err := g.Alloc(rows + ends)
	if err != nil {
		return nil, 0, err
	}
	if splits > 1 {
		scratch = rows + ends
	}
	run, err = g.Runs(kernels.Attention(), a.Decode(splits, parts, parts+cuda.Pointer(rows))...)
	return run, scratch, err
}
