package kernels

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// products is a GPU with the families that multiply and verify.
type products struct {
	t               *testing.T
	d               *cuda.Driver
	stream          *cuda.Stream
	matmul, verify  *cuda.Module
	major, minor    int
	multiprocessors int
}

func (p *products) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// run launches and waits: an error of the kernel belongs to this launch.
func (p *products) run(m *cuda.Module, l Launch) {
	p.t.Helper()
	f, err := l.Prepare(m)
	p.must(err)
	p.must(errors.Join(l.Run(p.stream, f), p.stream.Synchronize()))
}

func (p *products) alloc(bytes int) cuda.Pointer {
	p.t.Helper()
	at, err := p.d.Alloc(uint64(bytes))
	p.must(err)
	return at
}

func (p *products) words(values []uint32) cuda.Pointer {
	p.t.Helper()
	bytes := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(bytes[4*i:], v)
	}
	at := p.alloc(len(bytes))
	p.must(p.d.CopyToDevice(at, bytes))
	return at
}

func (p *products) zeroes(bytes int) cuda.Pointer {
	p.t.Helper()
	at := p.alloc(bytes)
	p.must(p.d.CopyToDevice(at, make([]byte, bytes)))
	return at
}

func (p *products) doubles(at cuda.Pointer, n int) []float64 {
	p.t.Helper()
	bytes, out := make([]byte, 8*n), make([]float64, n)
	p.must(p.d.CopyToHost(bytes, at))
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(bytes[8*i:]))
	}
	return out
}

// problem makes fresh random operands and a poisoned result.
func (p *products) problem(e Element, m, n, k int) Product {
	p.t.Helper()
	q := Product{Element: e, M: m, N: n, K: k, A: p.alloc(m * k * e.Bytes()), B: p.alloc(n * k * e.Bytes()), C: p.alloc(m * n * e.Result().Bytes())}
	p.run(p.verify, Fill(e, q.A, m*k, rand.Uint64(), 1))
	p.run(p.verify, Fill(e, q.B, n*k, rand.Uint64(), 1))
	p.poison(q)
	return q
}

// poison makes every float of the result a NaN.
func (p *products) poison(q Product) {
	p.t.Helper()
	bytes := make([]byte, q.M*q.N*q.Element.Result().Bytes())
	for i := range bytes {
		bytes[i] = 0xff
	}
	p.must(p.d.CopyToDevice(q.C, bytes))
}

// distance is the relative norm of the error of the result, all rows; infinite if an element is not finite.
func (p *products) distance(q Product) float64 {
	p.t.Helper()
	all := make([]uint32, q.M)
	for i := range all {
		all[i] = uint32(i)
	}
	rows, want := p.words(all), p.alloc(8*q.M*q.N)
	p.run(p.verify, WantProduct(q, want, rows, q.M))
	out := p.compare(q.Element.Result(), q.C, want, rows, q.M, q.N)
	p.must(errors.Join(p.d.Free(rows), p.d.Free(want)))
	return out
}

// compare is the relative norm of the error of `count` rows of n elements.
func (p *products) compare(e Element, got, want, rows cuda.Pointer, count, n int) float64 {
	p.t.Helper()
	totals := p.alloc(24)
	p.must(p.d.CopyToDevice(totals, make([]byte, 24)))
	p.run(p.verify, Compare(e, got, want, rows, count, n, totals))
	sums := p.doubles(totals, 3)
	p.must(p.d.Free(totals))
	if sums[2] != 0 || !(sums[1] > 0) {
		return math.Inf(1)
	}
	return math.Sqrt(sums[0] / sums[1])
}

func (p *products) free(q Product) {
	p.t.Helper()
	for _, at := range []cuda.Pointer{q.A, q.B, q.C} {
		p.must(p.d.Free(at))
	}
}

// bounds are the largest relative errors: the rounding of a result of 16 bits, of operands to tf32, of fp8's sums.
func bounds(e Element) float64 {
	return map[Element]float64{Float32: 2e-3, BFloat16: 4e-3, Float16: 6e-4, Float8: 1e-2, Int8: 1e-12}[e]
}

// onGPU gives body the first GPU, its context current, with the family that verifies.
func onGPU(t *testing.T, body func(p *products, device cuda.Device)) {
	d, device := gpu(t)
	c, err := device.PrimaryContext()
	if err != nil {
		t.Fatal(err)
	}
	p := &products{t: t, d: d}
	p.must(c.Do(func() error {
		p.major, p.minor, err = device.ComputeCapability()
		p.must(err)
		p.multiprocessors, err = device.Attribute(cuda.Multiprocessors)
		p.must(err)
		p.verify, err = Verify().Load(d, device)
		p.must(err)
		p.stream, err = d.NewStream(cuda.StreamConfig{})
		p.must(err)
		body(p, device)
		return errors.Join(p.stream.Close(), p.verify.Close())
	}))
	p.must(c.Close())
}

// TestProducts compares every product with the plain one in double precision, and that one with Go.
func TestProducts(t *testing.T) {
	onGPU(t, func(p *products, device cuda.Device) {
		var err error
		p.matmul, err = Matmuls().Load(p.d, device)
		p.must(err)
		p.reference()
		// The last but one is cut along K on 4 multiprocessors.
		shapes := [][3]int{{16, 16, 16}, {128, 256, 64}, {272, 528, 144}, {16, 528, 4096}, {1040, 784, 2064}}
		if testing.Short() { // the last one takes a sanitizer minutes
			shapes = shapes[:4]
		}
		for _, shape := range shapes {
			for _, e := range []Element{BFloat16, Float16, Float32, Int8, Float8} {
				p.shape(e, shape)
			}
		}
		p.must(p.matmul.Close())
	})
}

func (p *products) shape(e Element, shape [3]int) {
	q := p.problem(e, shape[0], shape[1], shape[2])
	defer p.free(q)
	check := func(name string, l Launch, bound float64) {
		p.poison(q)
		p.run(p.matmul, l)
		if got := p.distance(q); !(got <= bound) {
			p.t.Errorf("%s of %v: relative error %g, allowed %g", name, shape, got, bound)
		}
	}
	if p.major == 9 && p.minor == 0 {
		for _, multiprocessors := range []int{p.multiprocessors, 4} {
			p.hopper(q, multiprocessors, check)
		}
	}
	if e != Float8 || p.major == 8 && p.minor == 9 {
		l := q.Ampere(p.major, p.minor)
		check(l.Kernel, l, bounds(e))
	}
	if e == Float32 {
		check(q.Cores().Kernel, q.Cores(), 1e-5)
	}
}

// hopper runs a product twice where it leaves sums in scratch memory: the first launch must leave it as the second one needs it.
func (p *products) hopper(q Product, multiprocessors int, check func(name string, l Launch, bound float64)) {
	w := q.HopperWork(multiprocessors)
	list, scratch := p.words(w.List), p.zeroes(int(w.Scratch)+1)
	l, err := q.Hopper(p.d, w, list, scratch)
	p.must(err)
	if w.Scratch > 0 {
		p.run(p.matmul, l)
	}
	check(fmt.Sprintf("%s on %d multiprocessors", l.Kernel, multiprocessors), l, bounds(q.Element))
	p.must(errors.Join(p.d.Free(list), p.d.Free(scratch)))
}

// reference checks the plain product and the comparison against Go, on floats.
func (p *products) reference() {
	const m, n, k = 16, 32, 48
	q := p.problem(Float32, m, n, k)
	defer p.free(q)
	floats := func(at cuda.Pointer, n int) []float64 {
		bytes, out := make([]byte, 4*n), make([]float64, n)
		p.must(p.d.CopyToHost(bytes, at))
		for i := range out {
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:])))
		}
		return out
	}
	a, b := floats(q.A, m*k), floats(q.B, n*k)
	rows, want := p.words([]uint32{3, 15}), p.alloc(8*2*n)
	p.run(p.verify, WantProduct(q, want, rows, 2))
	got := p.doubles(want, 2*n)
	for i, row := range []int{3, 15} {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += a[row*k+l] * b[j*k+l]
			}
			if math.Abs(sum-got[i*n+j]) > 1e-12*float64(k) {
				p.t.Fatalf("row %d, column %d of the plain product is %g, want %g", row, j, got[i*n+j], sum)
			}
		}
	}
	if err := spreadOf(a); err != nil {
		p.t.Error(err)
	}
	if got := p.distance(q); !math.IsInf(got, 1) {
		p.t.Errorf("a poisoned result is at distance %g", got)
	}
	p.must(errors.Join(p.d.Free(rows), p.d.Free(want)))
}

// spreadOf wants what a normal distribution looks like.
func spreadOf(x []float64) error {
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
		square += v * v / float64(len(x))
	}
	if math.Abs(mean) > 0.2 || math.Abs(square-1) > 0.3 {
		return fmt.Errorf("%d random numbers have mean %g and mean square %g", len(x), mean, square)
	}
	return nil
}
