package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// References are the libraries that a machine may have, each loaded when the first row asks for it: NVIDIA's of matrix products
// and of attention, and the driver's copy. They stay loaded until the process ends.
func References(where cuda.Search) []Partner {
	return []Partner{&blasPartner{where: where}, &dnnPartner{where: where}, driverCopy{}}
}

// The best of so many algorithms counts, each with so much memory to work in.
const (
	mostAlgorithms = 16
	mostPlans      = 2 // of each kind; preparing one compiles kernels
	blasWorkspace  = 64 << 20
)

// once opens something at the first call. That it cannot be had is said once: afterwards there is no partner.
type once[T any] struct {
	done  bool
	value T
	err   error
}

func (o *once[T]) get(open func() (T, error)) (T, error) {
	if o.done && o.err != nil {
		return o.value, ErrNoPartner
	}
	if !o.done {
		o.done = true
		o.value, o.err = open()
	}
	return o.value, o.err
}

// FullProduct is a product of floats that a partner must not round to tf32.
type FullProduct kernels.Product

// blasPartner is cuBLASLt with the fastest algorithm that its heuristics offer.
type blasPartner struct {
	where   cuda.Search
	library once[*cuda.BLAS]
}

func (p *blasPartner) Name() string {
	if l := p.library.value; l != nil {
		return "cuBLASLt " + l.Version()
	}
	return "cuBLASLt"
}

// scalar is the type of elements as NVIDIA's libraries number it.
func scalar(e kernels.Element) cuda.ScalarType {
	return [...]cuda.ScalarType{cuda.ScalarFloat32, cuda.ScalarBFloat16, cuda.ScalarFloat16, cuda.ScalarFloat8, cuda.ScalarInt8, cuda.ScalarInt32}[e]
}

func (p *blasPartner) Prepare(g *GPU, problem any) (Prepared, error) {
	var c kernels.Product
	tf32 := true
	switch q := problem.(type) {
	case kernels.Product:
		c = q
	case FullProduct:
		c, tf32 = kernels.Product(q), false
	default:
		return Prepared{}, ErrNoPartner
	}
	l, err := p.library.get(func() (*cuda.BLAS, error) { return cuda.OpenBLAS(p.where) })
	if err != nil {
		return Prepared{}, err
	}
	space, err := g.Alloc(blasWorkspace)
	if err != nil {
		return Prepared{}, err
	}
	product, err := l.NewProduct(cuda.BLASConfig{
		Operands: scalar(c.Element), Result: scalar(c.Element.Result()), TF32: tf32,
		M: c.M, N: c.N, K: c.K, A: c.A, B: c.B, C: c.C,
		Workspace: space, WorkspaceBytes: blasWorkspace, Algorithms: mostAlgorithms,
	})
	if err != nil {
		return Prepared{}, err
	}
	run := func(i int) error { return product.Run(g.Stream, i) }
	best, err := g.fastest(product.Algorithms(), run)
	if err != nil {
		return Prepared{}, errors.Join(err, product.Close())
	}
	return chosen(best, run, product.Close), nil
}

// chosen is way number best of a library; its own first choice is number 0.
func chosen(best int, run func(i int) error, release func() error) Prepared {
	p := Prepared{Run: repeat(func() error { return run(best) }), Release: release}
	if best != 0 {
		p.First = repeat(func() error { return run(0) })
	}
	return p
}

// dnnPartner is cuDNN with the fastest plan that its heuristics offer.
type dnnPartner struct {
	where   cuda.Search
	library once[*cuda.DNN]
}

func (p *dnnPartner) Name() string {
	if l := p.library.value; l != nil {
		return "cuDNN " + l.Version()
	}
	return "cuDNN"
}

func (p *dnnPartner) Prepare(g *GPU, problem any) (Prepared, error) {
	a, ok := problem.(kernels.Attend)
	if !ok || a.Causal && a.Queries != a.Keys {
		return Prepared{}, ErrNoPartner
	}
	l, err := p.library.get(func() (*cuda.DNN, error) { return cuda.OpenDNN(p.where) })
	if err != nil {
		return Prepared{}, err
	}
	attention, err := l.NewAttention(cuda.DNNConfig{
		Element: cuda.ScalarBFloat16, Batch: a.Batch, Heads: a.Heads, KeyHeads: a.KeyHeads, Dimension: a.D, Queries: a.Queries, Keys: a.Keys,
		Causal: a.Causal, Scale: float32(1 / math.Sqrt(float64(a.D))), Q: a.Q, K: a.K, V: a.V, O: a.O, MostPlans: mostPlans,
	})
	if err != nil {
		return Prepared{}, err
	}
	run := func(i int) error { return attention.Run(g.Stream, i) }
	best, err := func() (int, error) {
		space, err := g.Alloc(attention.Workspace())
		if err != nil {
			return 0, err
		}
		if err := attention.SetWorkspace(space); err != nil {
			return 0, err
		}
		return g.fastest(attention.Plans(), run)
	}()
	if err != nil {
		return Prepared{}, errors.Join(err, attention.Close())
	}
	return chosen(best, run, attention.Close), nil
}

// driverCopy is the driver's own copy on the device.
type driverCopy struct{}

func (driverCopy) Name() string { return "cuMemcpyDtoD" }

func (driverCopy) Prepare(g *GPU, problem any) (Prepared, error) {
	c, ok := problem.(CopyProblem)
	if !ok {
		return Prepared{}, ErrNoPartner
	}
	return Prepared{Run: repeat(func() error { return g.Stream.CopyOnDevice(c.To, c.From, c.Bytes) }), Release: func() error { return nil }}, nil
}

func repeat(once func() error) func(n int) error {
	return func(n int) error {
		for range n {
			if err := once(); err != nil {
				return err
			}
		}
		return nil
	}
}

// fastest tries n ways to do the same and returns the number of the one that took least; ways that fail are passed over.
func (g *GPU) fastest(n int, run func(i int) error) (best int, err error) {
	const (
		enough  = 2e-3 // seconds that a sample lasts at least
		samples = 5    // of the best few, in turns, once all have had one
		few     = 4
	)
	type way struct {
		number int
		took   float64 // seconds of one run, the best sample
	}
	var ways []way
	var failures []error
	for i := range n {
		t, err := g.sample(1, func() error { return run(i) }) // loads what it needs, too
		if err == nil {
			t, err = g.sample(runsFor(t, enough), func() error { return run(i) })
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		ways = append(ways, way{i, t})
	}
	if len(ways) == 0 {
		return 0, fmt.Errorf("none of %d algorithms works: %w", n, errors.Join(failures...))
	}
	slices.SortStableFunc(ways, func(a, b way) int { return cmp.Compare(a.took, b.took) })
	ways = ways[:min(few, len(ways))]
	for range samples {
		for i := range ways {
			t, err := g.sample(runsFor(ways[i].took, enough), func() error { return run(ways[i].number) })
			if err != nil {
				return 0, err
			}
			ways[i].took = min(ways[i].took, t)
		}
	}
	slices.SortStableFunc(ways, func(a, b way) int { return cmp.Compare(a.took, b.took) })
	return ways[0].number, nil
}

// sample is the seconds that one of n runs takes.
func (g *GPU) sample(n int, run func() error) (seconds float64, err error) {
	c := &eventClock{g: g, once: map[*Work]float64{}}
	seconds, err = c.batch(&Work{Run: repeat(run)}, n)
	return seconds / float64(n), err
}
