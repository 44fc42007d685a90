package bench

import (
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// GPU is an opened device with what suites need. Its methods are for the goroutine inside Context.Do alone.
type GPU struct {
	Driver  *cuda.Driver
	Device  cuda.Device
	Context *cuda.Context
	Stream  *cuda.Stream
	Info    result.GPU
	Hopper  bool // compute capability 9.0: the sm_90a kernels run

	modules map[kernels.Family]*cuda.Module
	held    []cuda.Pointer // of the case that runs
	undo    []func() error // at its end
	seed    uint64
}

// open describes the device, whose context is current.
func open(d *cuda.Driver, v cuda.Device, c *cuda.Context, seed uint64) (*GPU, error) {
	g := &GPU{Driver: d, Device: v, Context: c, modules: map[kernels.Family]*cuda.Module{}, seed: seed}
	name, err := v.Name()
	uuid, err2 := v.UUID()
	major, minor, err3 := v.ComputeCapability()
	multiprocessors, err4 := v.Attribute(cuda.Multiprocessors)
	l2, err5 := v.Attribute(cuda.L2CacheSize)
	free, total, err6 := d.MemInfo()
	stream, err7 := d.NewStream(cuda.StreamConfig{NonBlocking: true})
	if err := errors.Join(err, err2, err3, err4, err5, err6, err7); err != nil {
		return nil, err
	}
	g.Stream = stream
	g.Info = result.GPU{
		Name: name, UUID: uuid.String(), CUDA: d.Version(), Major: major, Minor: minor, Multiprocessors: multiprocessors,
		L2: uint64(l2), Memory: total, Free: free, Simulated: d.Simulated(),
	}
	g.Hopper = major == 9 && minor == 0
	return g, nil
}

// images says what is to be said of the kernels for this GPU: "" where there is machine code. Without any kernels nothing can be measured.
func (g *GPU) images() (note string, err error) {
	image, _, err := kernels.Verify().Select(g.Info.Major, g.Info.Minor)
	if err != nil {
		return "", fmt.Errorf("measure %s: %w", g.Info.Name, err)
	}
	if image.Kind == "cubin" {
		return "", nil
	}
	return fmt.Sprintf("there is no machine code for compute capability %d.%d: the driver compiles the kernels for %s, which products and attention are not made for",
		g.Info.Major, g.Info.Minor, image.Target), nil
}

// close gives everything back.
func (g *GPU) close() error {
	err := g.release()
	for _, m := range g.modules {
		err = errors.Join(err, m.Close())
	}
	return errors.Join(err, g.Stream.Close())
}

// Alloc takes device memory until the case is over.
func (g *GPU) Alloc(bytes uint64) (cuda.Pointer, error) {
	p, err := g.Driver.Alloc(max(bytes, 256))
	if err != nil {
		return 0, fmt.Errorf("take %d bytes: %w", bytes, err)
	}
	g.held = append(g.held, p)
	return p, nil
}

// Defer has f called when the case is over, before its memory is given back.
func (g *GPU) Defer(f func() error) { g.undo = append(g.undo, f) }

// release ends a case: it undoes what Defer says, the last one first, and gives back what Alloc took.
func (g *GPU) release() error {
	var err error
	for i := len(g.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, g.undo[i]())
	}
	g.undo = nil
	for _, p := range g.held {
		err = errors.Join(err, g.Driver.Free(p))
	}
	g.held = nil
	return err
}

// Free is the device memory that nobody uses, less what the driver needs for itself.
func (g *GPU) Free() uint64 {
	const spare = 256 << 20
	free, _, err := g.Driver.MemInfo()
	if err != nil {
		return 0
	}
	return free - min(spare, free/2) // on a card that is nearly full a small array is better than none
}

// Fit halves a size until `arrays` of it fit into free memory; note says so, "" if the size may stay.
func (g *GPU) Fit(bytes uint64, arrays int) (fits uint64, note string) {
	fits, free := bytes, g.Free()
	for fits > 1<<20 && fits*uint64(arrays) > free {
		fits /= 2
	}
	if fits != bytes {
		note = fmt.Sprintf("%d MiB instead of %d: only %d MiB are free", fits>>20, bytes>>20, free>>20)
	}
	return fits, note
}

// Seed is a fresh one for each input.
func (g *GPU) Seed() uint64 {
	g.seed += 0x9e3779b97f4a7c15
	return g.seed
}

// module is a family's kernels, loaded once.
func (g *GPU) module(f kernels.Family) (*cuda.Module, error) {
	if m := g.modules[f]; m != nil {
		return m, nil
	}
	m, err := f.Load(g.Driver, g.Device)
	if err == nil {
		g.modules[f] = m
	}
	return m, err
}

// Loop makes a launch ready for repetition.
func (g *GPU) Loop(f kernels.Family, l kernels.Launch) (*kernels.Loop, error) {
	m, err := g.module(f)
	if err != nil {
		return nil, err
	}
	function, err := l.Prepare(m)
	if err != nil {
		return nil, err
	}
	return l.Loop(g.Stream, function)
}

// Runs makes launches ready that are one run, in order.
func (g *GPU) Runs(f kernels.Family, launches ...kernels.Launch) (func(n int) error, error) {
	loops := make([]*kernels.Loop, len(launches))
	for i, l := range launches {
		var err error
		if loops[i], err = g.Loop(f, l); err != nil {
			return nil, err
		}
	}
	if len(loops) == 1 { // C repeats it
		return func(n int) error {
			_, err := loops[0].Run(n)
			return err
		}, nil
	}
	return func(n int) error {
		for range n {
			for _, l := range loops {
				if _, err := l.Run(1); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

// Do launches once and waits: an error of the kernel belongs to this launch.
func (g *GPU) Do(f kernels.Family, launches ...kernels.Launch) error {
	run, err := g.Runs(f, launches...)
	if err != nil {
		return err
	}
	return g.Once(run)
}

// Once runs once and waits.
func (g *GPU) Once(run func(n int) error) error {
	return errors.Join(run(1), g.Stream.Synchronize())
}
