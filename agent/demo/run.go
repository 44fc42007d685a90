package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// Capture records this process's own GPU work. Start is called with the driver initialised and no context
// made yet; Stop when the last work is done, before the context goes.
type Capture interface {
	Start() error
	Stop() error
}

// Config says what the demo runs on and for how long.
type Config struct {
	Driver   *cuda.Driver
	Steps    int
	Capture  Capture    // nil: none
	Progress func(Step) // called after each step; nil: nobody
}

// Step is one finished step.
type Step struct {
	Index int // from 1
	Of    int
	Loss  float32 // mean squared error; without meaning on a simulated device
}

// Run trains for config.Steps steps, or until ctx is done, which is no error: the counts say how far it came.
// The counts are those of what was done also when an error is returned.
func Run(ctx context.Context, config Config) (counts Counts, err error) {
	d := config.Driver
	counts = Counts{
		Source:        "warpscope demo, counted by the program itself",
		Simulated:     d.Simulated(),
		KernelsByName: map[string]uint64{},
		CopiesByKind:  map[string]Moved{},
	}
	device, err := d.Device(0)
	if err != nil {
		return counts, err
	}
	if counts.Device, err = device.Name(); err != nil {
		return counts, err
	}
	if config.Capture != nil {
		if err := config.Capture.Start(); err != nil {
			return counts, err
		}
	}
	stopped := config.Capture == nil
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		return config.Capture.Stop()
	}
	defer func() { err = errors.Join(err, stop()) }()
	c, err := device.PrimaryContext()
	if err != nil {
		return counts, err
	}
	err = c.Do(func() error { return errors.Join(train(ctx, config, device, &counts), stop()) })
	return counts, errors.Join(err, c.Close())
}

// train does everything that needs a context, and gives everything back.
func train(ctx context.Context, config Config, device cuda.Device, counts *Counts) (err error) {
	d := config.Driver
	module, err := kernels.Demo().Load(d, device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, module.Close()) }()
	stream, err := d.NewStream(cuda.StreamConfig{NonBlocking: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	w := &work{driver: d, stream: stream, kernels: map[string]*cuda.Function{}, counts: counts, live: map[cuda.Pointer]bool{}}
	for _, name := range kernels.DemoKernels() {
		if w.kernels[name], err = module.Function(name); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, w.freeAll()) }()
	m, err := newModel(w)
	if m != nil {
		defer func() { err = errors.Join(err, m.close()) }()
	}
	if err != nil {
		return err
	}
	for i := 1; i <= config.Steps && ctx.Err() == nil; i++ {
		loss, err := m.step(i)
		if err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		counts.Steps = i
		if config.Progress != nil {
			config.Progress(Step{Index: i, Of: config.Steps, Loss: loss})
		}
	}
	return stream.Synchronize()
}
