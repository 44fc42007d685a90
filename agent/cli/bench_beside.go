package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/bench"
	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/cuda"
)

// benchBeside is what bench sets beside its own times: those of the machine's libraries, and those of CUPTI.
type benchBeside struct {
	reference bool
	path      string
	trace     string
	force     bool
}

func (b *benchBeside) flags(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&b.reference, "reference", false, "measure NVIDIA's libraries in turns with ours, where the machine has them: cuBLASLt, cuDNN, the driver's copy")
	flags.StringVar(&b.path, "reference-path", "", "where they are: a `FOLDER` (a virtual environment, a toolkit) or a library; otherwise the loader, Python's\n"+
		"packages and toolkits are searched (also: WARPSCOPE_REFERENCE)")
	flags.StringVar(&b.trace, "trace", "", "record this process's own kernels and allocations through CUPTI into this trace `FILE`, and set\n"+
		"CUPTI's times beside ours")
	flags.BoolVar(&b.force, "force", false, "overwrite the trace file if there is one")
}

func (b *benchBeside) validate(given func(flag string) bool) error {
	switch {
	case b.path != "" && !b.reference:
		return usagef("--reference-path is about --reference, which was not given")
	case given("trace") && (b.trace == "" || b.trace == "-"):
		return usagef("--trace %q: name the trace file", b.trace)
	case b.force && b.trace == "":
		return usagef("--force is about --trace, which was not given")
	}
	return nil
}

// partners are the libraries to measure.
func (b *benchBeside) partners(env *Env) []bench.Partner {
	if !b.reference {
		return nil
	}
	path := b.path
	if path == "" {
		path = env.Getenv("WARPSCOPE_REFERENCE")
	}
	return bench.References(cuda.Search{Path: path, Getenv: env.Getenv})
}

// record begins to record this process, which has no context yet; end completes the rows, once everything has run. Without --trace
// both do nothing.
func (b *benchBeside) record(env *Env, c *bench.Config) (end func() error, err error) {
	if b.trace == "" {
		return func() error { return nil }, nil
	}
	w := &selfWatch{device: c.Device}
	capture := newInProcess(env, c.Driver, b.trace, b.force)
	capture.also = &w.SelfTrace
	if err := capture.Start(); err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	c.Watcher = w
	return func() error {
		err := errors.Join(capture.Stop(), w.release())
		w.Compare()
		if err == nil {
			capture.tell(env.Stderr)
		}
		return err
	}, nil
}

// selfWatch keeps the context that is measured until CUPTI has delivered everything of it.
type selfWatch struct {
	bench.SelfTrace
	device cuda.Device
	held   *cuda.Context
}

// Begin implements bench.Watcher.
func (w *selfWatch) Begin(r *result.Row) (err error) {
	if w.held == nil {
		if w.held, err = w.device.PrimaryContext(); err != nil {
			return err
		}
	}
	return w.SelfTrace.Begin(r)
}

func (w *selfWatch) release() error {
	if w.held == nil {
		return nil
	}
	return w.held.Close()
}
