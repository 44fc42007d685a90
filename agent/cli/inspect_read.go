package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/trace"
)

// stdinName is how reports name a trace that came through standard input.
const stdinName = "standard input"

// readAhead is how many frames are decoded at once: as many as there are processors, but each
// takes some MiB.
func readAhead() int { return min(runtime.GOMAXPROCS(0), 8) }

// open opens a trace. The caller closes both.
func (i *inspection) open(in *input, options ...trace.ReadOption) (*trace.Reader, io.Closer, error) {
	r, c, err := i.openTrace(in, options...)
	return r, c, readToo(err)
}

// readToo says what else is read, where a file is nothing that is.
func readToo(err error) error {
	if errors.Is(err, trace.ErrNotTrace) {
		return fmt.Errorf("%w; PyTorch's memory snapshots and profiler traces are read, too", err)
	}
	return err
}

func (i *inspection) openTrace(in *input, options ...trace.ReadOption) (*trace.Reader, io.Closer, error) {
	options = append(options, trace.WithReadAhead(readAhead()))
	file := in.file
	if in.stream != nil {
		r, err := trace.NewReader(in.stream, options...)
		if err != nil {
			return nil, nil, fmt.Errorf("read trace from %s: %w", in.name(), err)
		}
		return r, io.NopCloser(nil), nil
	}
	p, err := openWithProgress(i.env, file)
	if err != nil {
		return nil, nil, fmt.Errorf("open trace: %w", err)
	}
	if p == nil {
		r, err := trace.Open(file, options...)
		return r, io.NopCloser(nil), err
	}
	r, err := trace.NewReader(p, options...)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open trace %s: %w", file, err), p.Close())
	}
	return r, p, nil
}

// kinds returns the kinds of events that are needed; none: all.
func (i *inspection) kinds() []event.Kind {
	if i.only != nil {
		return i.only
	}
	if i.overview || i.events {
		return nil
	}
	kinds := []event.Kind{event.KindKernel, event.KindCopy, event.KindSet, event.KindGraph, event.KindContext, event.KindState, event.KindWindow}
	if i.config.Parts&analyze.PartMemory != 0 {
		kinds = append(kinds, event.KindAllocation, event.KindPool, event.KindGPUSample, event.KindUsage, event.KindModule, event.KindFact)
	}
	if i.config.Parts&analyze.PartsOfSteps != 0 {
		kinds = append(kinds, stepKinds()...)
	}
	if i.config.Parts&analyze.PartOperators != 0 {
		kinds = append(kinds, event.KindCall, event.KindMarker, event.KindAllocation)
	}
	if i.config.Parts&analyze.PartRanges != 0 || i.config.GroupBy == analyze.ByRange {
		kinds = append(kinds, event.KindCall, event.KindMarker)
	}
	return kinds
}

// selection returns what the reader can leave out, so that a part of a large file is read through
// its index, and when the trace begins: a part of it does not tell. What can be read only once is read whole.
func (i *inspection) selection(in *input) (options []trace.ReadOption, start event.Time, err error) {
	w := i.config.Window
	windowed := w.From.Set || w.To.Set
	kinds, file := i.kinds(), in.file
	if in.format == exchange.Kineto {
		if in.stream != nil || !windowed {
			return nil, 0, nil
		}
		clock, err := i.foreignClock(in)
		if err != nil {
			return nil, 0, err
		}
		return nil, clock.Origin(), nil
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || !windowed && kinds == nil {
		return nil, 0, nil
	}
	clock, err := i.clock(file)
	if err != nil {
		return nil, 0, err
	}
	if kinds != nil {
		options = append(options, trace.WithKinds(kinds...))
	}
	if windowed {
		from, to := clock.Bounds(w)
		if to < from {
			return nil, 0, usagef("--to is before --from")
		}
		// An account of memory needs facts that stand at the end: what contexts take, who processes are.
		if i.only == nil {
			options = append(options, trace.WithRange(from, to))
		}
		if !i.events && i.only == nil {
			options = append(options, trace.WithCheckpoint())
		}
	}
	return options, clock.Origin(), nil
}

// clock reads as much of a trace as tells when it starts.
func (i *inspection) clock(file string) (*analyze.Clock, error) {
	r, err := trace.Open(file)
	if err != nil {
		return nil, readToo(err)
	}
	defer func() { _ = r.Close() }() // it was read only
	var clock analyze.Clock
	var events *event.Batch
	for events == nil {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read trace %s: %w", file, err)
		}
		switch {
		case item.Provenance != nil:
			clock.Provenance(item.Provenance)
		case item.Definitions != nil:
			clock.Define(item.Definitions)
		case item.Batch != nil:
			events = item.Batch
			clock.Begin(analyze.FirstTime(events))
		}
	}
	return &clock, i.checkWall(&clock)
}

func (i *inspection) checkWall(clock *analyze.Clock) error {
	w := i.config.Window
	if (w.From.Wall || w.To.Wall) && !clock.HasWall() {
		return errNoWall
	}
	return nil
}

// sink takes the parts of a trace.
type sink interface {
	event.Sink
	Provenance(*event.Provenance)
}

// feed hands a trace to s, and returns what of it could not be read.
func (i *inspection) feed(in *input, options []trace.ReadOption, s sink, summary func(*event.Summary)) (notes []string, err error) {
	if in.format == exchange.Kineto {
		return i.feedForeign(in, s, summary)
	}
	r, source, err := i.open(in, options...)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = r.Close(), source.Close() }() // they were read only
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			report := r.Report()
			return report.Notes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read trace %s: %w", in.file, err)
		}
		switch {
		case item.Provenance != nil:
			s.Provenance(item.Provenance)
		case item.Definitions != nil:
			err = s.Define(item.Definitions)
		case item.Batch != nil:
			err = s.Batch(item.Batch)
		case item.Live != nil:
			err = s.Live(item.Live)
		case item.Summary != nil:
			summary(item.Summary)
		}
		if err != nil {
			return nil, err
		}
	}
}

// analyze computes what was asked of one file.
func (i *inspection) analyze(file string) (*analyze.Inspection, error) {
	input, err := i.input(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = input.Close() }() // it was read only
	return i.analyzeInput(input)
}

// analyzeInput computes what was asked of a file that was looked into.
func (i *inspection) analyzeInput(input *input) (*analyze.Inspection, error) {
	if err := i.traceOnly(input); err != nil {
		return nil, err
	}
	options, start, err := i.selection(input)
	if err != nil {
		return nil, err
	}
	config := i.config
	config.Start = start
	config.Ceilings = i.ceilings
	a := analyze.New(config)
	notes, err := i.feed(input, options, a, a.Summary)
	if err != nil {
		return nil, err
	}
	in := a.Inspect()
	if w := config.Window; (w.From.Wall || w.To.Wall) && in.Range.StartUnixNS == 0 {
		return nil, errNoWall
	}
	in.File = input.name()
	in.Partial = len(options) > 0 || in.Range.Window
	in.Damage = append(in.Damage, notes...)
	in.Doubt()
	return in, nil
}

// writeEvents prints one file's events.
func (i *inspection) writeEvents(file string, n int, several bool) error {
	input, err := i.input(file)
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }() // it was read only
	if input.format == exchange.Pickle && i.allocations {
		return i.allocatorEvents(input)
	}
	if err := i.traceOnly(input); err != nil {
		return err
	}
	options, start, err := i.selection(input)
	if err != nil {
		return err
	}
	o := report.EventOptions{Start: start, Format: i.format, Style: i.style, Window: i.config.Window, Name: i.config.Name, Limit: i.top, Continued: n > 0}
	if several {
		o.File = file
	}
	e := report.NewEvents(i.env.Stdout, o)
	notes, err := i.feed(input, options, e, func(*event.Summary) {})
	if err != nil && !report.LimitReached(err) {
		return errors.Join(err, e.Close())
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	if err == nil {
		for _, note := range notes {
			fmt.Fprintf(i.env.Stderr, "warpscope: %s: %s\n", file, note)
		}
	}
	if e.Simulated() && i.format == report.EventCSV { // the others say so themselves
		fmt.Fprintf(i.env.Stderr, "warpscope: %s: %s\n", file, report.SimulatedNote)
	}
	return nil
}
