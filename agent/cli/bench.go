package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/bench"
	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/bench/sample"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/version"
)

// benchFlags are the flags of bench, as they were given.
type benchFlags struct {
	size, device, duration, compare string
	output                          string
	elements                        []string
	json, csv, save, sample, wide   bool
	beside                          benchBeside
}

func newBench(env *Env) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [" + strings.Join(suiteNames(), "|") + "|all]…",
		Short: "Measure what this GPU can do: memory, copies, matrix products, attention, latency",
		Long: "Measure what this GPU can do, with kernels that are part of warpscope: CUDA's toolkit and Python are not needed. Each\n" +
			"result is verified with fresh random inputs before it is timed. Rates are of bursts of about 50 ms; some rows are also\n" +
			"run without a pause (--duration). Everything takes about a minute. --save keeps the rates for inspect and\n" +
			"doctor, by GPU, in the user's folder for configuration.",
		Example: "  warpscope bench\n" +
			"  warpscope bench matmul --dtype bf16 --size 8192\n" +
			"  warpscope bench memory --size 1G --json > memory.json\n" +
			"  warpscope bench matmul --compare before.json\n" +
			"  warpscope bench --sample",
		ValidArgs: append(suiteNames(), "all"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := signal.NotifyContext(c.Context(), os.Interrupt, unix.SIGTERM)
			defer cancel()
			return env.leave(f.run(ctx, env, c.Flags().Changed, args))
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.size, "size", "", "another size: bytes of an array (memory, transfer, latency), N or MxNxK (matmul), positions (attention)")
	flags.StringSliceVar(&f.elements, "dtype", nil, "only products of these types: "+strings.Join(bench.ElementNames(), ", "))
	flags.StringVar(&f.device, "device", "0", "the GPU: its number as CUDA counts, or its UUID")
	flags.StringVar(&f.duration, "duration", "2s", "how long at most 12 rows also run without a pause; 0: none does")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	flags.BoolVar(&f.csv, "csv", false, "print the rows as CSV")
	flags.StringVarP(&f.output, "output", "o", "", "also write the result to this `FILE`, as JSON, for --compare")
	flags.BoolVar(&f.save, "save", false, "keep the rates as this GPU's ceilings")
	flags.StringVar(&f.compare, "compare", "", "set the rows beside those of another run, a `FILE` of --json; -: standard input")
	flags.BoolVar(&f.sample, "sample", false, "print the bundled result of an H100 instead of measuring")
	f.beside.flags(c)
	flags.BoolVar(&f.wide, "wide", false, "all columns, however long the lines")
	return c
}

// suiteNames are those of all suites, in their order.
func suiteNames() []string { return suiteNamesOf(bench.Suites()) }

func suiteNamesOf(suites []bench.Suite) []string {
	var names []string
	for _, s := range suites {
		names = append(names, s.Name)
	}
	return names
}

// suites are those that were named; none or all: every one.
func suites(args []string) ([]bench.Suite, error) {
	all := bench.Suites()
	for _, a := range args {
		if a != "all" && !slices.Contains(suiteNames(), a) {
			return nil, usagef("there is no suite %q: give %s or all", a, strings.Join(suiteNames(), ", "))
		}
	}
	if len(args) == 0 || slices.Contains(args, "all") {
		return all, nil
	}
	return slices.DeleteFunc(all, func(s bench.Suite) bool { return !slices.Contains(args, s.Name) }), nil
}

// config makes sense of the flags.
func (f *benchFlags) config(given func(flag string) bool, args []string) (c bench.Config, err error) {
	if c.Suites, err = suites(args); err != nil {
		return c, err
	}
	if f.json && f.csv {
		return c, usagef("--json and --csv: give one of them")
	}
	for _, flag := range []string{"size", "dtype", "device", "compare", "output"} {
		if given(flag) && f.empty(flag) {
			return c, usagef("--%s: it has no value", flag)
		}
	}
	if f.output == "-" {
		return c, usagef("--output -: --json prints the result")
	}
	if f.sample {
		for _, flag := range []string{"size", "dtype", "device", "duration", "save", "output", "reference", "trace"} {
			if given(flag) {
				return c, usagef("--%s is about measuring, and --sample measures nothing", flag)
			}
		}
	}
	if err = f.beside.validate(given); err != nil {
		return c, err
	}
	if d, err := time.ParseDuration(f.duration); err != nil || d != 0 {
		if c.Sustain, err = parseLength("--duration", f.duration); err != nil {
			return c, err
		}
		if c.Sustain > time.Minute {
			return c, usagef("--duration %s: give at most 1m", f.duration)
		}
	}
	for _, e := range f.elements {
		if !slices.Contains(bench.ElementNames(), e) {
			return c, usagef("--dtype %q: give %s", e, strings.Join(bench.ElementNames(), ", "))
		}
	}
	named := func(name string) bool {
		return slices.ContainsFunc(c.Suites, func(s bench.Suite) bool { return s.Name == name })
	}
	if c.Options.Elements = f.elements; len(f.elements) > 0 && !named("matmul") {
		return c, usagef("--dtype is about matmul, which is not among the suites")
	}
	if given("size") {
		if len(c.Suites) != 1 {
			return c, usagef("--size means something else to each suite: name one of %s", strings.Join(suiteNames(), ", "))
		}
		err = f.sizes(&c)
	}
	if f.save && err == nil && !named("memory") && !named("transfer") && !named("matmul") {
		return c, usagef("--save: these suites measure no ceiling; memory, transfer and matmul do")
	}
	return c, err
}

// empty reports whether a flag was given nothing.
func (f *benchFlags) empty(flag string) bool {
	return map[string]string{"size": f.size, "dtype": strings.Join(f.elements, ""), "device": f.device, "compare": f.compare, "output": f.output}[flag] == ""
}

// Bounds of sizes: below, nothing is measured but launching; above, nothing fits any GPU.
const (
	leastArray, mostArray         = 1 << 20, 1 << 38
	leastPositions, mostPositions = 128, 1 << 18
	leastSide, mostSide           = 16, 1 << 17
)

func (f *benchFlags) sizes(c *bench.Config) error {
	switch c.Suites[0].Name {
	case "matmul":
		parts := strings.Split(strings.ToLower(strings.ReplaceAll(f.size, "×", "x")), "x")
		if len(parts) == 1 {
			parts = []string{parts[0], parts[0], parts[0]}
		}
		for i, p := range parts {
			n, err := strconv.Atoi(p)
			if err != nil || len(parts) != 3 || n < leastSide || n > mostSide || n%16 != 0 {
				return usagef("--size %q: give N or MxNxK, multiples of 16 up to %d", f.size, mostSide)
			}
			c.Options.Shape[i] = n
		}
	case "attention":
		n, err := strconv.Atoi(f.size)
		if err != nil || n < leastPositions || n > mostPositions || n%16 != 0 {
			return usagef("--size %q: give a number of positions, a multiple of 16 from %d to %d", f.size, leastPositions, mostPositions)
		}
		c.Options.Shape[0] = n
	default:
		n, err := parseSize("--size", f.size)
		if err != nil {
			return err
		}
		if n < leastArray || n > mostArray {
			return usagef("--size %s: give from 1M to 256G", f.size)
		}
		c.Options.Bytes = uint64(n)
	}
	return nil
}

func (f *benchFlags) run(ctx context.Context, env *Env, given func(flag string) bool, args []string) error {
	c, err := f.config(given, args)
	if err != nil {
		return err
	}
	before, err := f.before(env)
	if err != nil {
		return err
	}
	if f.sample {
		r, err := sample.H100()
		if err != nil {
			return err
		}
		r.Keep(suiteNamesOf(c.Suites))
		return f.show(env, r, before)
	}
	if err := canReplace("result", f.output); err != nil {
		return err
	}
	store, noStore := ceilingStore(env)
	if f.save {
		// A minute later would be late.
		if noStore == nil {
			noStore = store.Ready()
		}
		if noStore != nil {
			return fmt.Errorf("--save: %w", noStore)
		}
	}
	driver, release, err := openBench(env, f.device)
	if err != nil {
		return err
	}
	defer release()
	c.Driver = driver
	if c.Device, err = chooseDevice(driver, f.device); err != nil {
		return err
	}
	var unsaved string
	if c.Known, unsaved, err = known(store, c.Device); err != nil {
		return err
	}
	c.Seed, c.Now = rand.Uint64(), env.Now
	c.Partners = f.beside.partners(env)
	recorded, err := f.beside.record(env, &c)
	if err != nil {
		return err
	}
	bar := newBar(env)
	c.Progress = bar.show
	r, err := bench.Run(ctx, c)
	bar.end()
	err = errors.Join(err, recorded())
	if r == nil || len(r.Rows) == 0 {
		return err
	}
	r.Tool = version.String()
	if unsaved != "" {
		r.Notes = append(r.Notes, unsaved)
	}
	if err != nil { // such as that it was interrupted, which the file should say, too
		r.Notes = append(r.Notes, oneLine(err.Error()))
	}
	showErr := f.show(env, r, before)
	if f.output != "" {
		if _, err := replaceFile("result", f.output, r.Write); err != nil {
			showErr = errors.Join(showErr, fmt.Errorf("write %s: %w", f.output, err))
		}
	}
	if showErr != nil {
		return errors.Join(err, showErr)
	}
	if err == nil && f.save {
		err = save(env, store, r)
	}
	if err != nil {
		return err
	}
	if n := r.Failed(); n > 0 {
		return fmt.Errorf("bench: %d of %d rows failed", n, len(r.Rows))
	}
	return nil
}

// before reads the run to compare with; nil: none was named.
func (f *benchFlags) before(env *Env) (*result.Result, error) {
	from := env.Stdin
	switch f.compare {
	case "":
		return nil, nil
	case "-":
	default:
		file, err := os.Open(f.compare)
		if err != nil {
			return nil, fmt.Errorf("--compare: %w", err)
		}
		defer file.Close()
		from = file
	}
	r, err := result.Read(from)
	if err != nil {
		return nil, fmt.Errorf("--compare %s: %w", f.compare, err)
	}
	return r, nil
}

// show prints the result in the form that was asked for.
func (f *benchFlags) show(env *Env, r, before *result.Result) error {
	var changes []result.Change
	if before != nil {
		changes = result.Compare(r, before)
	}
	switch {
	case f.json:
		if before != nil {
			r.Compared = changes
		}
		return r.Write(env.Stdout)
	case f.csv:
		return r.WriteCSV(env.Stdout)
	}
	return report.Bench(r, changes).Write(env.Stdout, env.Style(f.wide))
}
