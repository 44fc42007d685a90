package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// TestStreams holds the streams, patterns and walks of memory against Go, on sizes that fill no block.
func TestStreams(t *testing.T) {
	onGPU(t, func(p *products, device cuda.Device) {
		module, err := Memory().Load(p.d, device)
		p.must(err)
		m := &streams{products: p, module: module, s: Streams{Multiprocessors: 8}}
		const words = 3*BulkChunk/16*8 + 1100*8
		data := make([]uint32, 4*words)
		for i := range data {
			data[i] = rand.Uint32()
		}
		x, y := p.words(data), p.alloc(16*words)
		m.sums(data, x)
		m.copies(x, y, words)
		m.walks()
		p.must(p.d.Free(x))
		p.must(p.d.Free(y))
		p.must(module.Close())
	})
}

type streams struct {
	*products
	module *cuda.Module
	s      Streams
}

func (m *streams) number(at cuda.Pointer) uint64 {
	m.t.Helper()
	var b [8]byte
	m.must(m.d.CopyToHost(b[:], at))
	return binary.LittleEndian.Uint64(b[:])
}

// sums are the kernels that add up what they read.
func (m *streams) sums(data []uint32, x cuda.Pointer) {
	words := uint64(len(data) / 4)
	sum := m.alloc(8)
	total := func(n, stride, offset uint64) (s uint32) {
		for i := range n {
			s += data[i*stride+offset]
		}
		return s
	}
	const power = 1 << 12
	unit := uint64(4 * L2Threads)
	for _, c := range []struct {
		l    Launch
		want uint32
	}{
		{m.s.Read(x, words, sum), total(4*words, 1, 0)},
		{m.s.ReadBy(4, x, 4*words-3, sum), total(4*words-3, 1, 0)},
		{m.s.ReadBy(8, x, 2*words-1, sum), total(4*words-2, 1, 0)},
		{m.s.ReadBy(16, x, words, sum), total(4*words, 1, 0)},
		{m.s.Stride(x, words/4, 13, 5, sum), total(words/4, 13, 5)},
		{m.s.Gather(x, power, sum), total(power, 1, 0)},
		{m.s.L2(x, unit, 3, sum), uint32(3*m.s.Multiprocessors) * total(4*unit, 1, 0)},
		{m.s.L1(x, 2, sum), 2 * total(uint64(4*L1Words*m.s.Multiprocessors), 1, 0)},
		// Thread t reads two words of four times t a round.
		{m.s.Shared(2, sum), uint32(2 * m.s.Multiprocessors * 8 * (L2Threads * (L2Threads - 1) / 2))},
	} {
		m.must(m.d.Set8(sum, 0, 8))
		m.run(m.module, c.l)
		if got := uint32(m.number(sum)); got != c.want {
			m.t.Errorf("%s: the sum is %d, want %d", c.l.Kernel, got, c.want)
		}
	}
	m.must(m.d.Free(sum))
}

func (m *streams) copies(x, y cuda.Pointer, words uint64) {
	bad := m.alloc(8)
	check := func(what string, l Launch, verify Launch) {
		m.must(m.d.Set8(y, 0xff, 16*words))
		m.must(m.d.Set8(bad, 0, 8))
		m.run(m.module, l)
		m.run(m.verify, verify)
		if n := m.number(bad); n != 0 {
			m.t.Errorf("%s: %d of %d words are wrong", what, n, words)
		}
	}
	check("copy", m.s.Copy(x, y, words), Same(x, y, words, bad))
	check("write", m.s.Write(y, words, 7), Written(y, words, 7, bad))
	// Small whole numbers, so that the sum is exact however it is rounded on the way.
	b, c, want := make([]uint32, 4*words), make([]uint32, 4*words), make([]uint32, 4*words)
	for i := range b {
		v, w := float32(rand.IntN(1000)), float32(rand.IntN(1000))
		b[i], c[i], want[i] = math.Float32bits(v), math.Float32bits(w), math.Float32bits(v+3*w)
	}
	onB, onC, onWant := m.words(b), m.words(c), m.words(want)
	check("triad", m.s.Triad(onB, onC, y, words, 3), Same(y, onWant, words, bad))
	if m.major == 9 && m.minor == 0 {
		some := words * 16 / BulkChunk * BulkChunk
		check("bulk copy", m.s.BulkCopy(x, y, some), Same(x, y, some/16, bad))
	}
	for _, at := range []cuda.Pointer{onB, onC, onWant, bad} {
		m.must(m.d.Free(at))
	}
}

// walks follow links in memory and in shared memory.
func (m *streams) walks() {
	const links, steps = 1000, 2500
	order := rand.Perm(links)
	next, at := make([]uint32, links), uint32(0)
	for i, from := range order {
		next[from] = uint32(order[(i+1)%links])
	}
	for range steps {
		at = next[at]
	}
	on, end := m.words(next), m.alloc(16)
	for _, l := range []Launch{Chase(on, steps, false, end, end+8), Chase(on, steps, true, end, end+8), ChaseShared(on, links, steps, end, end+8)} {
		m.must(m.d.Set8(end, 0xff, 16))
		m.run(m.module, l)
		if got := uint32(m.number(end)); got != at || m.number(end+8) == 0 {
			m.t.Errorf("%s: stands at %d, want %d, after %d clocks", l.Kernel, got, at, m.number(end+8))
		}
	}
	m.must(m.d.Free(on))
	m.must(m.d.Free(end))
}
