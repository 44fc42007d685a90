package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// input is a file to read, or standard input, and what its content says it is.
type input struct {
	file   string // as it was named; "-": standard input
	format exchange.Format
	stream io.Reader // of what can be read only once; nil: open the file
	closer io.Closer
	known  *event.Provenance // of a foreign trace that was gone through once; nil: it was not
}

// name is how messages name it.
func (in *input) name() string {
	if in.file == "-" {
		return stdinName
	}
	return in.file
}

// Close closes what was opened to look into it.
func (in *input) Close() error {
	if in.closer == nil {
		return nil
	}
	return in.closer.Close()
}

// input looks at the beginning of a file. One that cannot be opened is none of ours to report:
// opening it to read says why.
func (i *inspection) input(file string) (*input, error) {
	in := &input{file: file}
	source := i.env.Stdin
	if file != "-" {
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			return in, nil //nolint:nilerror // see above
		}
		f, err := os.Open(file)
		if err != nil {
			return in, nil //nolint:nilerror // see above
		}
		source, in.closer = f, f
	}
	head := make([]byte, exchange.SniffBytes)
	n, err := io.ReadFull(source, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.Join(fmt.Errorf("read trace %s: %w", in.name(), err), in.Close())
	}
	in.format = exchange.Sniff(head[:n])
	if in.format == exchange.Unknown && n > 0 && slices.Contains([]string{".pickle", ".pkl"}, filepath.Ext(file)) {
		in.format = exchange.Pickle // its reader says what is wrong with it
	}
	if seeker, ok := source.(io.Seeker); ok {
		if _, err := seeker.Seek(-int64(n), io.SeekCurrent); err == nil {
			in.stream = source
			if file != "-" {
				in.stream = nil
			}
			return in, nil
		}
	}
	in.stream = io.MultiReader(bytes.NewReader(head[:n]), source)
	return in, nil
}

// foreignClock goes through a foreign trace for when it begins and how its times relate to wall
// time: both can stand behind its last event.
func (i *inspection) foreignClock(in *input) (*analyze.Clock, error) {
	clock := &clockSink{}
	p, err := i.readForeign(in, clock, exchange.Options{}, func(*event.Summary) {}, func([]string) {})
	if err != nil {
		return nil, err
	}
	in.known = p
	clock.Provenance(p)
	return &clock.Clock, i.checkWall(&clock.Clock)
}

// clockSink finds out when a trace begins.
type clockSink struct{ analyze.Clock }

// Define takes definitions.
func (s *clockSink) Define(d *event.Definitions) error {
	s.Clock.Define(d)
	return nil
}

// Batch takes events.
func (s *clockSink) Batch(b *event.Batch) error {
	s.Begin(analyze.FirstTime(b))
	return nil
}

// Live takes nothing: foreign traces have no live sets.
func (s *clockSink) Live(*event.LiveSet) error { return nil }

// feedForeign hands another tool's trace to s.
func (i *inspection) feedForeign(in *input, s sink, summary func(*event.Summary)) (notes []string, err error) {
	if a, ok := s.(interface{ Imported(tool string) }); ok {
		a.Imported(exchange.Profiler)
	}
	var told event.Provenance
	options := exchange.Options{Provenance: func(p *event.Provenance) { told = *p; s.Provenance(p) }}
	if in.known != nil {
		told = *in.known
		s.Provenance(&told)
		options.Provenance = nil
	}
	p, err := i.readForeign(in, s, options, summary, func(n []string) { notes = n })
	if err != nil {
		return nil, err
	}
	// Behind the last event it is too late to look at a part of the wall clock's time.
	if w := i.config.Window; (w.From.Wall || w.To.Wall) && told.WallTime == 0 {
		return nil, errNoWall
	}
	s.Provenance(p)
	return notes, nil
}

func (i *inspection) readForeign(in *input, s event.Sink, o exchange.Options, summary func(*event.Summary), notes func([]string)) (*event.Provenance, error) {
	source := in.stream
	if source == nil {
		p, err := openWithProgress(i.env, in.file)
		if err != nil {
			return nil, fmt.Errorf("open trace: %w", err)
		}
		var f io.ReadCloser = p
		if p == nil {
			if f, err = os.Open(in.file); err != nil {
				return nil, fmt.Errorf("open trace: %w", err)
			}
		}
		defer func() { _ = f.Close() }() // it was read only
		source = f
	}
	p, sum, report, err := exchange.ReadKineto(i.ctx, source, s, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.name(), err)
	}
	summary(&sum)
	notes(report.Notes())
	return &p, nil
}
