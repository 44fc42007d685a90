package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// TestAttention compares every way to compute attention with the definition in double precision, on shapes that fill no
// tile, with shared key heads and with fewer queries than keys.
func TestAttention(t *testing.T) {
	onGPU(t, func(p *products, device cuda.Device) {
		module, err := Attention().Load(p.d, device)
		p.must(err)
		for _, d := range []int{64, 128} {
			for _, causal := range []bool{false, true} {
				for _, a := range []Attend{
					{Batch: 1, Heads: 2, KeyHeads: 2, Queries: 128, Keys: 128},
					{Batch: 2, Heads: 4, KeyHeads: 2, Queries: 208, Keys: 336},
					{Batch: 1, Heads: 3, KeyHeads: 1, Queries: 200, Keys: 333},
				} {
					a.D, a.Causal = d, causal
					p.attend(module, a)
				}
			}
			for _, keys := range []int{50, 777} {
				p.decode(module, Attend{Batch: 2, Heads: 8, KeyHeads: 2, Queries: 1, Keys: keys, D: d})
			}
		}
		p.must(module.Close())
	})
}

// operands fills Q, K and V, and gives what frees them and O, and the check of a way to compute O.
func (p *products) operands(a *Attend) (check func(name string, allowed float64, run func()), free func()) {
	outputs, keys := int(a.QueryElements()), int(a.KeyElements())
	a.Q, a.K, a.V, a.O = p.alloc(2*outputs), p.alloc(2*keys), p.alloc(2*keys), p.alloc(2*outputs)
	p.run(p.verify, Fill(BFloat16, a.Q, outputs, rand.Uint64(), 1))
	p.run(p.verify, Fill(BFloat16, a.K, keys, rand.Uint64(), 1))
	p.run(p.verify, Fill(BFloat16, a.V, keys, rand.Uint64(), 1))
	all := make([]uint32, a.Batch*a.Heads*a.Queries)
	for i := range all {
		all[i] = uint32(i)
	}
	rows, want, scores := p.words(all), p.alloc(8*outputs), p.alloc(8*len(all)*a.Keys)
	p.run(p.verify, WantAttention(*a, want, scores, rows, len(all)))
	check = func(name string, allowed float64, run func()) {
		p.must(p.d.Set8(a.O, 0xff, uint64(2*outputs)))
		run()
		if got := p.compare(BFloat16, a.O, want, rows, len(all), a.D); !(got <= allowed) {
			p.t.Errorf("%s of %+v: relative error %g, allowed %g", name, *a, got, allowed)
		}
	}
	return check, func() {
		for _, at := range []cuda.Pointer{a.Q, a.K, a.V, a.O, rows, want, scores} {
			p.must(p.d.Free(at))
		}
	}
}

const attentionBound = 6e-3 // outputs of 16 bits

func (p *products) attend(module *cuda.Module, a Attend) {
	check, free := p.operands(&a)
	defer free()
	if p.major == 9 && p.minor == 0 {
		list := a.HopperOrder(p.multiprocessors)
		order := p.words(list)
		l, err := a.Hopper(p.d, p.multiprocessors, order, len(list))
		p.must(err)
		check(l.Kernel, attentionBound, func() { p.run(module, l) })
		p.must(p.d.Free(order))
	}
	check(a.Ampere().Kernel, attentionBound, func() { p.run(module, a.Ampere()) })
	if a.Keys%16 != 0 {
		return
	}
	scores, across := p.alloc(int(2*a.ScoreElements())), p.alloc(int(2*a.KeyElements()))
	p.across(a, across)
	check("naive attention", 2e-2, func() {
		for _, l := range a.Naive(scores, across) {
			p.run(module, l)
		}
	})
	p.must(p.d.Free(scores))
	p.must(p.d.Free(across))
}

// across transposes the values of each head on the host.
func (p *products) across(a Attend, to cuda.Pointer) {
	n := a.Keys * a.D
	in, out := make([]byte, 2*a.KeyElements()), make([]byte, 2*a.KeyElements())
	p.must(p.d.CopyToHost(in, a.V))
	for head := range a.Batch * a.KeyHeads {
		for key := range a.Keys {
			for i := range a.D {
				copy(out[2*(head*n+i*a.Keys+key):][:2], in[2*(head*n+key*a.D+i):])
			}
		}
	}
	p.must(p.d.CopyToDevice(to, out))
}

func (p *products) decode(module *cuda.Module, a Attend) {
	check, free := p.operands(&a)
	defer free()
	for _, splits := range []int{1, 3} {
		rows, ends := a.PartBytes(splits)
		parts, tails := p.alloc(int(rows)), p.alloc(int(ends))
		check(fmt.Sprintf("decoding in %d parts", splits), attentionBound, func() {
			for _, l := range a.Decode(splits, parts, tails) {
				p.run(module, l)
			}
		})
		p.must(p.d.Free(parts))
		p.must(p.d.Free(tails))
	}
}
