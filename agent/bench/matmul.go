package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// number is a type of matrix elements as people name it.
type number struct {
	name    string
	element kernels.Element
	peak    ceilings.Kind
	allowed float64 // relative error: the rounding of a result of 16 bits, of operands to tf32, of fp8's sums
	sizes   []int   // on the kernels that reach the ceiling
	sustain []int
	older   int // the size on the mma.sync kernels
}

func numbers() []number {
	return []number{
		{"bf16", kernels.BFloat16, ceilings.BFloat16, 4e-3, []int{4096, 8192, 16384}, []int{8192, 16384}, 8192},
		{"fp16", kernels.Float16, ceilings.Float16, 6e-4, []int{4096, 8192}, []int{8192}, 8192},
		{"fp8", kernels.Float8, ceilings.Float8, 1e-2, []int{8192, 16384}, []int{8192}, 8192},
		{"int8", kernels.Int8, ceilings.Int8, 1e-12, []int{8192}, []int{8192}, 8192},
		{"tf32", kernels.Float32, ceilings.TF32, 2e-3, []int{8192}, []int{8192}, 4096},
	}
}

// coresName, coresAllowed and coresSize are of products of floats on the CUDA cores.
const (
	coresName    = "fp32"
	coresAllowed = 1e-5
	coresSize    = 4096
)

// ElementNames are the types that --dtype takes.
func ElementNames() []string {
	var names []string
	for _, n := range numbers() {
		names = append(names, n.name)
	}
	return append(names, coresName)
}

// wants reports whether a type was asked for.
func (o Options) wants(name string) bool {
	return len(o.Elements) == 0 || slices.Contains(o.Elements, name)
}

// byOlderProducts bounds what uses mma.sync on a GPU with wgmma: the tensor cores take operands from registers at about six tenths of their rate.
const byOlderProducts = "mma.sync"

// path is a way to multiply.
type path struct {
	what   string
	prefix string // of its kernels' names
	kernel func(g *GPU, p kernels.Product) (kernels.Launch, error)
}

func hopperPath(g *GPU, p kernels.Product) (kernels.Launch, error) {
	w := p.HopperWork(g.Info.Multiprocessors)
	list, err := g.upload(w.List)
	if err != nil {
		return kernels.Launch{}, err
	}
	scratch, err := g.Alloc(w.Scratch)
	if err == nil && w.Scratch > 0 {
		err = g.zero(scratch, w.Scratch)
	}
	if err != nil {
		return kernels.Launch{}, err
	}
	return p.Hopper(g.Driver, w, list, scratch)
}

func amperePath(g *GPU, p kernels.Product) (kernels.Launch, error) {
	if p.Element == kernels.Float8 && (g.Info.Major != 8 || g.Info.Minor != 9) {
		return kernels.Launch{}, unsupported("fp8 by mma.sync needs compute capability 8.9")
	}
	return p.Ampere(g.Info.Major, g.Info.Minor), nil
}

func coresPath(_ *GPU, p kernels.Product) (kernels.Launch, error) { return p.Cores(), nil }

func matmulCases(g *GPU, o Options) ([]Case, error) {
	var cases []Case
	best, older := path{"matmul", "matmul_sm80_", amperePath}, path{"matmul, mma.sync", "matmul_sm80_", amperePath}
	if g.Hopper {
		best.prefix, best.kernel = "matmul_sm90_", hopperPath
	}
	cube := func(n int) [3]int { return [3]int{n, n, n} }
	given := o.Shape != [3]int{}
	add := func(p path, n number, shape [3]int, sustain bool) {
		if given {
			shape = o.Shape
		}
		cases = append(cases, productCase(g, p, n, shape, sustain))
	}
	for _, n := range numbers() {
		if !o.wants(n.name) {
			continue
		}
		for _, size := range n.sizes {
			add(best, n, cube(size), slices.Contains(n.sustain, size))
			if given {
				break
			}
		}
		if n.name == "bf16" && !given {
			add(best, n, [3]int{4096, 14336, 4096}, false) // of a model's feed-forward layer
		}
		if g.Hopper && n.element != kernels.Float8 {
			add(older, n, cube(n.older), false)
			cases[len(cases)-1].Row.Limit = byOlderProducts
		}
	}
	if o.wants(coresName) {
		cores := number{name: coresName, element: kernels.Float32, peak: ceilings.Float32, allowed: coresAllowed}
		add(path{"matmul, CUDA cores", "matmul_", coresPath}, cores, cube(coresSize), false)
	}
	if len(o.Elements) == 0 && !given {
		cases = append(cases, transposeCases(g)...)
	}
	return cases, nil
}

// productCase halves a shape until it fits.
func productCase(g *GPU, p path, n number, shape [3]int, sustain bool) Case {
	product := kernels.Product{Element: n.element, M: shape[0], N: shape[1], K: shape[2]}
	r := result.Row{Suite: "matmul", What: p.what, Element: n.name, Peak: n.peak, Memory: ceilings.Read}
	for free := g.Free(); float64(free) < product.Bytes() && min(product.M, product.N, product.K) >= 512; {
		product.M, product.N, product.K = product.M/32*16, product.N/32*16, product.K/32*16
		r.Notes = []string{fmt.Sprintf("smaller than %s: only %d MiB are free", shapeOf(shape), free>>20)}
	}
	r.Shape = shapeOf([3]int{product.M, product.N, product.K})
	r.Operations, r.Bytes = product.Operations(), product.Bytes()
	r.Kernel = kernelName(p, n)
	return Case{Row: r, Sustain: sustain, Needs: uint64(product.Bytes()), Prepare: func(g *GPU) (*Work, error) {
		return g.product(p, n, product)
	}}
}

func kernelName(p path, n number) string {
	switch n.element {
	case kernels.Float8, kernels.Int8:
		return p.prefix + n.element.String()
	}
	return p.prefix + n.name
}

func shapeOf(s [3]int) string {
	if s[0] == s[1] && s[1] == s[2] {
		return fmt.Sprintf("%d³", s[0])
	}
	return fmt.Sprintf("%d×%d×%d", s[0], s[1], s[2])
}

// oddProduct fills no tile and is not square.
var oddProduct = [3]int{1040, 784, 2064}

// mostRows is how many rows of a result are compared with the reference; a smaller result is compared whole.
const mostRows = 128

// product prepares a product, after the same kernel was right on a shape that is awkward.
func (g *GPU) product(p path, n number, q kernels.Product) (*Work, error) {
	odd := kernels.Product{Element: n.element, M: oddProduct[0], N: oddProduct[1], K: oddProduct[2]}
	w, err := g.oneProduct(p, n, odd, odd.M)
	if err != nil {
		return nil, err
	}
	v, err := w.Verify(w.Run)
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("wrong result at %s, not timed: %w", shapeOf(oddProduct), err)
	}
	return g.oneProduct(p, n, q, mostRows)
}

func (g *GPU) oneProduct(p path, n number, q kernels.Product, rows int) (*Work, error) {
	var err error
	resultBytes := uint64(q.M) * uint64(q.N) * uint64(q.Element.Result().Bytes())
	for _, a := range []struct {
		at    *cuda.Pointer
		bytes uint64
	}{{&q.A, uint64(q.M) * uint64(q.K) * uint64(q.Element.Bytes())}, {&q.B, uint64(q.N) * uint64(q.K) * uint64(q.Element.Bytes())}, {&q.C, resultBytes}} {
		if *a.at, err = g.Alloc(a.bytes); err != nil {
			return nil, err
		}
	}
	err = errors.Join(g.fill(q.Element, q.A, uint64(q.M)*uint64(q.K), 1), g.fill(q.Element, q.B, uint64(q.N)*uint64(q.K), 1))
	if err != nil {
		return nil, err
	}
	launch, err := p.kernel(g, q)
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Matmuls(), launch)
	if err != nil {
		return nil, err
	}
	c, err := g.comparison(q.M, min(q.M, rows), q.N)
	if err != nil {
		return nil, err
	}
	if err := g.Do(kernels.Verify(), kernels.WantProduct(q, c.want, c.rows, c.count)); err != nil {
		return nil, err
	}
	w := &Work{Run: run, Problem: q, Verify: func(run func(int) error) (result.Verification, error) {
		var v result.Verification
		// Twice: what the first run leaves in scratch memory must not be in the way of the second.
		for range 2 {
			err := errors.Join(g.poison(q.C, resultBytes), g.Once(run))
			if err == nil {
				v, err = g.distance(q.Element.Result(), q.C, c, n.allowed)
			}
			if err != nil || v.Err() != nil {
				return v, err
			}
		}
		return v, nil
	}}
	if n.name == coresName {
		w.Problem = FullProduct(q)
	}
	return w, nil
}

// comparison is some rows of a result, and what they should be in double precision.
type comparison struct {
	rows, want, totals cuda.Pointer
	count, columns     int
}

// comparison chooses `count` of `all` rows.
func (g *GPU) comparison(all, count, columns int) (comparison, error) {
	c := comparison{count: count, columns: columns}
	numbers := chosenRows(all, count, rand.New(rand.NewPCG(g.Seed(), g.Seed())))
	var err, err2, err3 error
	c.rows, err = g.upload(numbers)
	c.want, err2 = g.Alloc(8 * uint64(count) * uint64(columns))
	c.totals, err3 = g.Alloc(24)
	return c, errors.Join(err, err2, err3)
}

// chosenRows is one row of each of `count` equal stretches of `all` rows, chosen at random, so that no part of a result goes unseen; the first
// and the last row are always among them.
func chosenRows(all, count int, random *rand.Rand) []uint32 {
	numbers := make([]uint32, count)
	for i := range numbers {
		from, to := i*all/count, (i+1)*all/count
		switch i {
		case 0:
		case count - 1:
			numbers[i] = uint32(all - 1)
		default:
			numbers[i] = uint32(from) + random.Uint32N(uint32(to-from))
		}
	}
	return numbers
}

// distance is how far a result is from what was wanted.
func (g *GPU) distance(e kernels.Element, got cuda.Pointer, c comparison, allowed float64) (result.Verification, error) {
	v := result.Verification{Method: fmt.Sprintf("%d rows in double precision, relative norm", c.count), Allowed: result.Distance(allowed)}
	err := errors.Join(g.zero(c.totals, 24), g.Do(kernels.Verify(), kernels.Compare(e, got, c.want, c.rows, c.count, c.columns, c.totals)))
	if err != nil {
		return v, err
	}
	sums, err := g.doubles(c.totals, 3)
	if err != nil {
		return v, err
	}
	v.Bad = uint64(sums[2])
	v.Error = result.Distance(math.Sqrt(sums[0] / sums[1])) // NaN where nothing was wanted, which never passes
	return v, nil
}
