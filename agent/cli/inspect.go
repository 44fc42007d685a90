package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
	"github.com/warpscope/warpscope/agent/report"
)

// inspectFlags are the flags of inspect, as they were given.
type inspectFlags struct {
	kernels, copies, memory, streams, nvtx, events bool
	inspectStepFlags
	inspectMemoryFlags

	top      int
	sort     string
	groupBy  string
	from, to string
	name     string
	format   string
	json     bool
	wide     bool
}

// inspection is what inspect was asked for, validated.
type inspection struct {
	ctx      context.Context // of the command
	env      *Env
	config   analyze.Config
	overview bool
	pieces   bool // --fragmentation
	leaks    bool // --leaks
	// --alloc-events
	allocations bool
	at          analyze.Moment // --at
	about       string         // of doctor: aboutMemory, aboutTime; "": what the trace is about
	only        []event.Kind   // that are read; nil: what the parts need
	events      bool
	diff        bool
	format      report.EventFormat
	top         int
	sort        string
	json        bool
	style       report.Style
}

// listRows is how many rows a list shows, where --top does not say.
const listRows = 25

func newInspect(env *Env) *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect FILE…",
		Short: "Say what happened in a trace",
		Long: "Say what happened in traces: without a flag an overview, with one or more of --kernels, --copies, --memory,\n" +
			"--streams and --nvtx the details, with --events every single event. A FILE is a .wscope trace or one of PyTorch's\n" +
			"profiler (JSON, also compressed) or one of its memory snapshots (pickle; --memory, --fragmentation), whatever its\n" +
			"name; - is standard input.",
		Example: "  warpscope inspect train.wscope\n" +
			"  warpscope inspect train.wscope --kernels --sort p99 --name 'flash|gemm'\n" +
			"  warpscope inspect train.wscope --memory --from 2s --to 5s\n" +
			"  warpscope inspect snapshot.pickle --fragmentation\n" +
			"  warpscope inspect train.wscope --account --idle\n" +
			"  warpscope inspect train.wscope --steps --roofline\n" +
			"  warpscope inspect train.wscope --group-by module\n" +
			"  warpscope inspect --diff before.wscope after.wscope\n" +
			"  warpscope inspect train.wscope --events --format jsonl > events.jsonl",
		Args: atLeast(1, "the trace to inspect"),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := f.validate(env, c)
			if err != nil {
				return err
			}
			return i.run(args)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.kernels, "kernels", false, "kernels: count, time, percentiles, launch configuration")
	flags.BoolVar(&f.copies, "copies", false, "copies and fills: bytes, time, rate")
	flags.BoolVar(&f.memory, "memory", false, "memory: where all of a GPU's is, at the failure and the peak; by library and space, over time, failed calls")
	f.inspectMemoryFlags.register(c)
	flags.BoolVar(&f.streams, "streams", false, "streams: what ran on each, how busy it was")
	flags.BoolVar(&f.nvtx, "nvtx", false, "NVTX ranges: count, time, GPU time launched inside")
	f.inspectStepFlags.register(c)
	flags.BoolVar(&f.events, "events", false, "every single event, see --format")
	flags.StringVar(&f.format, "format", "text", "of --events: text, jsonl or csv")
	flags.IntVar(&f.top, "top", listRows, "rows of each list; of --events: records; 0 is all")
	flags.StringVar(&f.sort, "sort", "", "order of lists: "+strings.Join(analyze.SortKeys(^analyze.Part(0)), ", "))
	flags.StringVar(&f.groupBy, "group-by", "name", "rows of --kernels and --copies: name, stream, device, process or nvtx;\nby itself op, module or region: PyTorch's, in sampled steps")
	flags.StringVar(&f.from, "from", "", "leave out what begins before: 1.5s from the start of the trace, or 2026-01-31T12:00:00Z")
	flags.StringVar(&f.to, "to", "", "leave out what begins at this time or later")
	flags.StringVar(&f.name, "name", "", "only kernels, ranges and events whose name matches this regular expression")
	flags.BoolVar(&f.json, "json", false, "print the figures as JSON")
	flags.BoolVar(&f.wide, "wide", false, "whole names and all columns, however long the lines")
	return c
}

// validate makes sense of the flags.
func (f *inspectFlags) validate(env *Env, c *cobra.Command) (*inspection, error) {
	f.events = f.events || f.allocEvents
	i := &inspection{ctx: c.Context(), env: env, json: f.json, sort: f.sort, style: env.Style(f.wide), events: f.events, top: f.top}
	if f.top < 0 {
		return nil, usagef("--top %d: give a number of rows, 0 for all", f.top)
	}
	// Programs want everything; people want what fits a screen.
	if (f.json || f.events) && !c.Flags().Changed("top") {
		i.top = 0
	}
	for part, asked := range map[analyze.Part]bool{
		analyze.PartKernels: f.kernels, analyze.PartCopies: f.copies, analyze.PartMemory: f.memory,
		analyze.PartStreams: f.streams, analyze.PartRanges: f.nvtx,
	} {
		if asked {
			i.config.Parts |= part
		}
	}
	if err := f.inspectStepFlags.validate(i, c); err != nil {
		return nil, err
	}
	f.operators(i)
	if err := f.events1(i, c); err != nil {
		return nil, err
	}
	if i.config.Parts == 0 && (f.name != "" || f.sort != "" || c.Flags().Changed("group-by")) {
		i.config.Parts = analyze.PartKernels
	}
	if err := f.inspectMemoryFlags.validate(i); err != nil {
		return nil, err
	}
	if i.config.Parts == 0 {
		i.overview = !i.pieces && !i.leaks
		i.config.Parts = analyze.PartOverview
	}
	if i.config.Operators == "" {
		i.config.GroupBy = analyze.GroupBy(f.groupBy)
	}
	known := []analyze.GroupBy{analyze.ByName, analyze.ByStream, analyze.ByDevice, analyze.ByProcess, analyze.ByRange}
	if i.config.GroupBy != "" && !slices.Contains(known, i.config.GroupBy) {
		return nil, usagef("--group-by %q: not one of name, stream, device, process, nvtx, op, module, region", f.groupBy)
	}
	if f.sort != "" && !slices.Contains(analyze.SortKeys(i.config.Parts), f.sort) {
		return nil, usagef("--sort %q: not one of %s", f.sort, strings.Join(analyze.SortKeys(i.config.Parts), ", "))
	}
	if f.name != "" {
		re, err := regexp.Compile(f.name)
		if err != nil {
			return nil, usagef("--name: %w", err)
		}
		i.config.Name = re
	}
	return i, f.window(&i.config.Window)
}

// events1 checks what goes with --events and what does not.
func (f *inspectFlags) events1(i *inspection, c *cobra.Command) error {
	i.format = report.EventFormat(f.format)
	if !slices.Contains([]report.EventFormat{report.EventText, report.EventJSONL, report.EventCSV}, i.format) {
		return usagef("--format %q: not one of text, jsonl, csv", f.format)
	}
	if !f.events {
		if c.Flags().Changed("format") {
			return usagef("--format goes with --events only")
		}
		return nil
	}
	switch {
	case i.config.Parts != 0:
		return usagef("--events stands alone: ask for summaries in a second call")
	case f.json:
		return usagef("--events does not go with --json: use --format jsonl")
	case f.sort != "" || c.Flags().Changed("group-by"):
		return usagef("--events are in the order of time: --sort and --group-by do not apply")
	}
	return nil
}

// window makes sense of --from and --to.
func (f *inspectFlags) window(w *analyze.Window) error {
	var err error
	if w.From, err = parseMoment("--from", f.from); err != nil {
		return err
	}
	if w.To, err = parseMoment("--to", f.to); err != nil {
		return err
	}
	if w.From.Set && w.To.Set && w.From.Wall == w.To.Wall && w.To.NS <= w.From.NS {
		return usagef("--to %s is not after --from %s", f.to, f.from)
	}
	return nil
}

// run inspects all files, one after another: a file that cannot be read does not hide the others.
func (i *inspection) run(files []string) error {
	if i.diff {
		return i.compare(files)
	}
	if n := len(files); n > 1 && slices.Index(files, "-") != lastIndex(files, "-") {
		return usagef("standard input (-) can be read only once")
	}
	var failed []error
	for n, file := range files {
		if n > 0 && !i.json && (!i.events || i.format == report.EventText) {
			fmt.Fprintln(i.env.Stdout)
		}
		var err error
		if i.events {
			err = i.writeEvents(file, n, len(files) > 1)
		} else {
			err = i.inspect(file)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	for _, err := range failed {
		say(i.env, err)
	}
	if len(failed) > 0 {
		return exitStatus(statusFailed)
	}
	return nil
}

func lastIndex(list []string, s string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// inspect computes and prints one file's figures.
func (i *inspection) inspect(file string) error {
	input, err := i.input(file)
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }() // it was read only
	if input.format == exchange.Pickle {
		return i.inspectSnapshot(input)
	}
	if i.leaks {
		return i.inspectLeaks(input)
	}
	in, err := i.analyzeInput(input)
	if err == nil && !i.overview {
		err = i.accounts(input, in)
	}
	if err != nil {
		return err
	}
	if err := in.Arrange(i.sort, i.limit()); err != nil {
		return usageError{err}
	}
	if i.json {
		return report.JSON(i.env.Stdout, in)
	}
	document := report.Details(in)
	if i.overview {
		document = report.Overview(in)
	}
	if err := document.Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// limit is how many rows lists keep; the overview shortens its lists itself.
func (i *inspection) limit() int {
	if i.overview && !i.json {
		return 0
	}
	return i.top
}

// errNoWall is for --from and --to of the wall clock where a trace does not say when it was made.
var errNoWall = errors.New("--from and --to of the wall clock need a trace that says when it was made: give them from its start, like 1.5s")
