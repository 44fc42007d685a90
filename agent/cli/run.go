package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/agent/version"
)

// runFlags are the flags of run, as they were given.
type runFlags struct {
	output            string
	mode, api, graphs string
	startAfter        string
	duration          string
	maxSize           string
	capture, keep     string
	budget            string
	callTimes         string
	force, quiet      bool
	noPython          bool
	stacks, operators string
	allocStacks       string
	snapshotSteps     []int
	doctor            bool
	failOn            []string
}

// smallestTrace is the least --max-size: less holds no useful trace.
const smallestTrace = 64 << 10

// mostSnapshotSteps is how many snapshots a process is asked for: each stops it for a moment, and takes room.
const mostSnapshotSteps = 16

// shortestKept is the least --keep: a trace is written in pieces of a second.
const shortestKept = 2 * time.Second

func newRun(env *Env) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT…]",
		Short: "Run a program and record what it does with CUDA",
		Long: "Run a program, with all processes that it starts, and record what they do with CUDA into one trace.\n\n" +
			"The program keeps its terminal, its signals and its exit status: a signal that ends it ends warpscope likewise\n" +
			"(shells show 128 plus its number). Where nothing could be run the status is 127 (no such program), 126 (it\n" +
			"cannot be executed), 1 (the trace cannot be written) or 2 (a mistake in the command line).",
		Example: "  warpscope run -- python train.py\n" +
			"  warpscope run -o rank%r.wscope -- python train.py          %r rank, %h host, %p PID\n" +
			"  warpscope run --start-after 2m --duration 10s -- python serve.py\n" +
			"  warpscope run --capture steps:100-110 -- python train.py\n" +
			"  warpscope run --budget 1% -- python train.py               a timeline in windows, at a price that is kept\n" +
			"  warpscope run --mode ledger -- python train.py             memory only, for less than a timeline costs\n" +
			"  warpscope run --doctor -- python train.py                  why it ran out of memory, or why a step is slow\n" +
			"  warpscope run --fail-on memory.leak -- pytest tests        a test for leaks",
		Args: atLeast(1, "the program to run"),
		RunE: func(c *cobra.Command, args []string) error {
			config, err := f.validate(c.Flags().Changed)
			if err != nil {
				return err
			}
			config.Command = args
			return run(env, config, f.quiet, f.judge(c.Context(), env))
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.SetInterspersed(false) // what follows the program is the program's
	flags.StringVarP(&f.output, "output", "o", session.DefaultOutput, "trace `FILE`: %r is the rank, %h the host, %p the program's PID")
	flags.StringVar(&f.mode, "mode", "timeline", "`MODE`: ledger (allocations) or timeline (kernels, copies, waits, calls as well)")
	flags.StringVar(&f.api, "api", "launch", "`LEVEL` of CPU-side calls: none, launch (launches, copies, waits) or all")
	flags.StringVar(&f.graphs, "graphs", "graph", "`LEVEL` of CUDA graphs: graph (each launch as a whole) or node (each kernel, and so wherever recording begins later than the program)")
	flags.StringVar(&f.startAfter, "start-after", "", "record the timeline only after the program has run for `TIME`, like 90s or 2m")
	flags.StringVar(&f.duration, "duration", "", "record the timeline for `TIME`; allocations are recorded to the end")
	flags.StringVar(&f.capture, "capture", "", "record the timeline only `WHEN`: cuda-profiler-api, nvtx:NAME[@DOMAIN], steps:A-B, call or signal")
	flags.StringVar(&f.budget, "budget", "", "record the timeline in random windows, so that the program is slowed by `PERCENT` at most, like 1%")
	flags.StringVar(&f.maxSize, "max-size", "", "stop recording when the trace has this `SIZE`, like 500M or 2G")
	flags.StringVar(&f.callTimes, "call-times", "16ns", "times of API calls: `RESOLUTION` 16ns, below what reading the clock takes, or exact, in a larger trace")
	flags.BoolVar(&f.noPython, "no-python", false, "leave Python alone: no steps, collector pauses, input waits and snapshots from inside")
	flags.StringVar(&f.stacks, "python-sampling", "50", "samples a second, `RATE`, of what Python is doing; off: none, and no operators either")
	flags.StringVar(&f.allocStacks, "alloc-stacks", "first", "Python stacks of PyTorch's allocations: of the `first` and of sampled steps, all (which costs), or none")
	flags.IntSliceVar(&f.snapshotSteps, "snapshot-steps", nil, "leave a snapshot of PyTorch's memory after these `STEPS` of the optimizer, like 1,100 (16 at most)")
	flags.StringVar(&f.operators, "operators", "sampled", "PyTorch's operators, modules and regions: `sampled` (in a step now and then) or off")
	flags.StringVar(&f.keep, "keep", "", "keep only the newest `TIME` in the trace, like 30m: what is older is dropped while the program runs")
	flags.BoolVar(&f.doctor, "doctor", false, "print a diagnosis at the end: of PyTorch's memory if it ran out, else of the steps' time")
	flags.StringSliceVar(&f.failOn, "fail-on", nil, "exit with status 3 on a finding `ID`, or one of this severity (error, warning, note) or a higher one")
	flags.BoolVar(&f.force, "force", false, "overwrite the trace file if there is one")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no notes, no summary")
	return c
}

// validate turns the flags into a configuration.
func (f *runFlags) validate(given func(flag string) bool) (session.Config, error) {
	c := session.Config{Output: f.output, Force: f.force, NoPython: f.noPython}
	err := f.judged(&c)
	if err != nil {
		return c, err
	}
	if c.Mode, err = collect.ParseMode(f.mode); err != nil {
		return c, usagef("--mode %q: give ledger or timeline", f.mode)
	}
	if c.API, err = collect.ParseAPILevel(f.api); err != nil {
		return c, usagef("--api %q: give none, launch or all", f.api)
	}
	if c.Graphs, err = collect.ParseGraphLevel(f.graphs); err != nil {
		return c, usagef("--graphs %q: give graph or node", f.graphs)
	}
	if c.Mode == collect.Ledger {
		for _, flag := range []string{"api", "graphs", "start-after", "duration", "capture", "budget"} {
			if given(flag) {
				return c, usagef("--%s concerns the timeline, which --mode ledger does not record: leave one of them out", flag)
			}
		}
	}
	for _, d := range []struct {
		flag, text string
		to         *time.Duration
	}{{"start-after", f.startAfter, &c.StartAfter}, {"duration", f.duration, &c.Duration}, {"keep", f.keep, &c.Keep}} {
		if given(d.flag) {
			if *d.to, err = parseLength("--"+d.flag, d.text); err != nil {
				return c, err
			}
		}
	}
	if given("keep") && c.Keep < shortestKept {
		return c, usagef("--keep %s: a trace keeps %v at least", f.keep, shortestKept)
	}
	if given("capture") {
		if err := f.trigger(&c); err != nil {
			return c, err
		}
	}
	if given("budget") {
		if c.Budget, err = f.share(given); err != nil {
			return c, err
		}
	}
	if err := f.python(&c, given); err != nil {
		return c, err
	}
	switch f.callTimes {
	case "16ns":
	case "exact":
		c.ExactCalls = true
	default:
		return c, usagef("--call-times %q: give 16ns or exact", f.callTimes)
	}
	if given("max-size") {
		if c.MaxSize, err = parseSize("--max-size", f.maxSize); err != nil {
			return c, err
		}
		if c.MaxSize < smallestTrace {
			return c, usagef("--max-size %s: a trace takes at least 64K", f.maxSize)
		}
	}
	switch f.output {
	case "":
		return c, usagef("--output is empty: name the trace file")
	case "-":
		return c, usagef("--output -: standard output belongs to the program, name a file")
	}
	if _, err := (session.Names{PID: 1}).Expand(f.output); err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// mostSamples is the highest rate of --python-sampling: above, a program that runs Python only has no time for itself.
const mostSamples = 1000

// python reads what is asked of Python programs.
func (f *runFlags) python(c *session.Config, given func(flag string) bool) error {
	if f.noPython {
		for _, flag := range []string{"python-sampling", "operators", "alloc-stacks", "snapshot-steps"} {
			if given(flag) {
				return usagef("--%s needs the module that --no-python leaves out: leave one of them out", flag)
			}
		}
	}
	switch f.allocStacks {
	case "", "first", "all", "none":
	default:
		return usagef("--alloc-stacks %q: give first, all or none", f.allocStacks)
	}
	if given("alloc-stacks") {
		c.AllocStacks = f.allocStacks
	}
	if len(f.snapshotSteps) > mostSnapshotSteps || slices.ContainsFunc(f.snapshotSteps, func(n int) bool { return n < 1 }) {
		return usagef("--snapshot-steps %v: give up to %d numbers of steps, from 1 on", f.snapshotSteps, mostSnapshotSteps)
	}
	c.SnapshotSteps = f.snapshotSteps
	switch f.operators {
	case "", "sampled":
	case "off":
		c.NoOperators = true
	default:
		return usagef("--operators %q: give sampled or off", f.operators)
	}
	switch f.stacks {
	case "":
		return nil
	case "off":
		c.StackRate = -1
		return nil
	}
	rate, err := strconv.ParseFloat(f.stacks, 64)
	if err != nil || !(rate > 0 && rate <= mostSamples) {
		return usagef("--python-sampling %q: give a number of samples a second up to %d, or off", f.stacks, mostSamples)
	}
	if given("python-sampling") {
		c.StackRate = rate
	}
	return nil
}

// share reads --budget.
func (f *runFlags) share(given func(flag string) bool) (float64, error) {
	for _, flag := range []string{"start-after", "duration", "capture"} {
		if given(flag) {
			return 0, usagef("--budget chooses by itself when the timeline is recorded, and so does --%s: leave one of them out", flag)
		}
	}
	return parsePercent("--budget", f.budget)
}

// trigger reads --capture.
func (f *runFlags) trigger(c *session.Config) error {
	if f.capture == "signal" {
		if c.StartAfter > 0 || c.Duration > 0 {
			return usagef("--capture signal: signals switch the timeline, as --start-after and --duration do: leave one of them out")
		}
		c.BySignal = true
		return nil
	}
	var err error
	if c.Trigger, err = collect.ParseTrigger(f.capture); err != nil {
		if !strings.ContainsRune(f.capture, ':') {
			return usagef("--capture %q: give cuda-profiler-api, nvtx:NAME, steps:A-B, call or signal", f.capture)
		}
		return usagef("--capture %q: %w", f.capture, err)
	}
	return nil
}

// run runs the program and reports. judge looks at what came of it, and returns the status that findings
// demand, 0: none.
func run(env *Env, c session.Config, quiet bool, judge func(r *session.Result, w *os.File) int) error {
	var streams streams
	c.Environ, c.Self = env.Environ, env.Executable
	c.Stdin, c.Stdout, c.Stderr = streams.in(env.Stdin), streams.out(env.Stdout), streams.out(env.Stderr)
	c.Tool = "warpscope " + version.String()
	notes := io.Writer(c.Stderr) // as the program's, so that the order is kept
	if quiet {
		notes = io.Discard
		c.Environ = append(slices.Clone(c.Environ), "WARPSCOPE_QUIET=1") // for the library's own notes
	}
	c.Note = func(note string) { fmt.Fprintf(notes, "warpscope: %s\n", oneLine(note)) }
	r, err := session.Run(c)
	demanded := 0
	if err == nil {
		for _, line := range r.Report() {
			c.Note(line)
		}
		demanded = judge(r, c.Stderr)
	}
	streams.close()
	var failed *session.StartError
	switch {
	case errors.As(err, &failed):
		say(env, err)
		return exitStatus(failed.Status)
	case errors.Is(err, session.ErrExists):
		return usageError{fmt.Errorf("%w; the program was not started", err)}
	case err != nil:
		return fmt.Errorf("%w; the program was not started", err)
	}
	if quiet && r.Err != nil {
		say(env, fmt.Errorf("the trace is not complete: %w", r.Err))
	}
	if demanded != 0 {
		return exitStatus(demanded)
	}
	if r.Signal != 0 {
		session.Raise(r.Signal)
	}
	if status := r.Status(); status != statusDone {
		return exitStatus(status)
	}
	return nil
}

// oneLine keeps a note on its line: names of files and programs can hold anything.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// streams are a program's standard streams. Files are handed to it as they are; what is none,
// as in tests, is fed through pipes.
type streams struct {
	pipes []*os.File
	work  sync.WaitGroup
}

func (s *streams) in(r io.Reader) *os.File {
	if f, ok := r.(*os.File); ok {
		return f
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil
	}
	s.pipes = append(s.pipes, from)
	go func() { // a program need not read its input: nobody waits for this
		if r != nil {
			_, _ = io.Copy(to, r)
		}
		_ = to.Close()
	}()
	return from
}

func (s *streams) out(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok {
		return f
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil
	}
	s.pipes = append(s.pipes, to)
	s.work.Go(func() {
		defer from.Close()
		_, _ = io.Copy(w, from)
	})
	return to
}

// close waits until all that the program wrote has come through.
func (s *streams) close() {
	for _, p := range s.pipes {
		_ = p.Close()
	}
	s.work.Wait()
}
