package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/demo"
)

// demoFlags are the flags of demo, as they were given.
type demoFlags struct {
	steps   int
	device  string
	capture string
	output  string
	counts  string
	force   bool
	probe   bool
}

func newDemo(env *Env) *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a small training loop on the GPU, to have something to trace",
		Long: "Run a small training loop: copies, kernels, a CUDA graph, allocations of every kind. It uses the GPU where there is\n" +
			"one, else a simulated device, which computes nothing and whose traces say so everywhere. The loop counts by itself\n" +
			"what it does, so that a trace of it can be checked.",
		Example: "  warpscope run -- warpscope demo\n" +
			"  warpscope demo --capture in-process -o demo.wscope\n" +
			"  warpscope run -o t.wscope -- warpscope demo --counts count.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("demo takes no argument")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.validate(c.Flags().Changed); err != nil {
				return err
			}
			if f.probe {
				return probe(env)
			}
			ctx, cancel := signal.NotifyContext(c.Context(), os.Interrupt, unix.SIGTERM)
			defer cancel()
			return env.leave(f.run(ctx, env))
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.steps, "steps", 50, "training steps")
	flags.StringVar(&f.device, "device", "auto", "gpu, sim (the simulated device), or auto: the GPU where there is one")
	flags.StringVar(&f.capture, "capture", "none", "in-process: record this process itself, without run")
	flags.StringVarP(&f.output, "output", "o", "demo.wscope", "trace file of --capture in-process")
	flags.BoolVar(&f.force, "force", false, "overwrite the trace file if there is one")
	flags.StringVar(&f.counts, "counts", "", "write what the loop counted to this file, as JSON; - is standard output")
	flags.BoolVar(&f.probe, "probe", false, "only say which GPU there is; status 1: none")
	return c
}

func (f *demoFlags) validate(given func(flag string) bool) error {
	switch f.device {
	case "auto", "gpu", "sim":
	default:
		return usagef("--device %q: give auto, gpu or sim", f.device)
	}
	switch f.capture {
	case "none", "in-process":
	default:
		return usagef("--capture %q: give none or in-process", f.capture)
	}
	if f.steps < 1 {
		return usagef("--steps %d: give 1 or more", f.steps)
	}
	if f.capture == "none" && (given("output") || given("force")) {
		return usagef("--output and --force are about --capture in-process, which was not given")
	}
	if f.output == "" || f.output == "-" {
		return usagef("--output %q: name the trace file", f.output)
	}
	return nil
}

func (f *demoFlags) run(ctx context.Context, env *Env) error {
	counts, err := openCounts(f.counts, env.Stdout)
	if err != nil {
		return err
	}
	driver, release, err := openDevice(env, f.device)
	if err != nil {
		return errors.Join(err, counts.Close())
	}
	defer release()
	config := demo.Config{Driver: driver, Steps: f.steps, Progress: showProgress(env.Stderr, driver.Simulated())}
	var capture *inProcess
	if f.capture == "in-process" {
		capture = newInProcess(env, driver, f.output, f.force)
		config.Capture = capture
	}
	done, err := demo.Run(ctx, config)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("demo: interrupted after %d steps", done.Steps)
	}
	err = errors.Join(err, json.NewEncoder(counts).Encode(done), counts.Close())
	if err != nil {
		return err
	}
	if f.counts != "-" {
		tellCounts(env.Stdout, &done)
	}
	if capture != nil {
		capture.tell(env.Stderr)
	}
	return nil
}

// showProgress tells of some twenty steps.
func showProgress(w io.Writer, simulated bool) func(demo.Step) {
	return func(s demo.Step) {
		if s.Index != 1 && s.Index != s.Of && s.Index%max(s.Of/20, 1) != 0 {
			return
		}
		if simulated {
			fmt.Fprintf(w, "step %d of %d\n", s.Index, s.Of)
			return
		}
		fmt.Fprintf(w, "step %d of %d   loss %.4f\n", s.Index, s.Of, s.Loss)
	}
}

func tellCounts(w io.Writer, c *demo.Counts) {
	fmt.Fprintf(w, "%d steps on %s: %d kernels, %d graph launches of %d kernels in all, %d copies, %d sets, %d allocations, %d releases\n",
		c.Steps, c.Device, c.Kernels, c.GraphLaunches, c.GraphNodes, c.Copies, c.Sets, c.Allocations, c.Releases)
}

// countsFile is where the counts go.
type countsFile struct {
	io.Writer
	file *os.File // nil: not ours to close
}

// openCounts opens it before the work, so that a file that cannot be written stops nothing half-way.
func openCounts(path string, stdout io.Writer) (*countsFile, error) {
	switch path {
	case "":
		return &countsFile{Writer: io.Discard}, nil
	case "-":
		return &countsFile{Writer: stdout}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write the counts: %w", err)
	}
	return &countsFile{Writer: f, file: f}, nil
}

// Close closes the file; a second call does nothing.
func (c *countsFile) Close() error {
	if c.file == nil {
		return nil
	}
	f := c.file
	c.file = nil
	return f.Close()
}
