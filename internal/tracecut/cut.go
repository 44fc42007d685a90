package tracecut

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// Stretch is what to keep: what begins From after the trace's start, up to To, in ns.
type Stretch struct{ From, To int64 }

// Cut writes the stretch of a trace to w. What identifiers mean, contexts and states are kept whole, and so are the
// program's own counts: the summary counts what is left.
func Cut(w io.Writer, path string, s Stretch) error {
	r, err := trace.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it was read only
	c := &cutter{w: w, from: event.Time(s.From), to: event.Time(s.To)}
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c.close()
		}
		if err == nil {
			err = c.item(item)
		}
		if err != nil {
			return fmt.Errorf("cut %s: %w", path, err)
		}
	}
}

type cutter struct {
	w        io.Writer
	out      *trace.Writer
	from, to event.Time // from the start of the trace; absolute once that is known
	summary  event.Summary
}

func (c *cutter) item(x trace.Item) (err error) {
	switch {
	case x.Provenance != nil:
		p := *x.Provenance
		p.Hostname, p.Command = "", clean(p.Command)
		p.Notes = append(p.Notes, "cut out of a longer trace")
		c.from, c.to = c.from+p.MonoTime, c.to+p.MonoTime
		c.out, err = trace.NewWriter(c.w, p)
	case c.out == nil:
		return errors.New("it does not begin with its provenance")
	case x.Definitions != nil:
		d := *x.Definitions
		d.Strings = clean(d.Strings)
		for i := range d.Processes {
			p := &d.Processes[i]
			p.Command, p.Executable, p.CUPTIPath = clean(p.Command), shorten(p.Executable), shorten(p.CUPTIPath)
		}
		err = c.out.Define(&d)
	case x.Batch != nil:
		b := *x.Batch
		c.rows(&b)
		err = c.out.Batch(&b)
	case x.Summary != nil:
		c.summary = *x.Summary
	}
	return err
}

// rows leaves out what begins outside the stretch. Tables begin with their column of times; allocations have their
// sequence before it.
func (c *cutter) rows(b *event.Batch) {
	v := reflect.ValueOf(b).Elem()
	for i := range v.NumField() {
		switch table := v.Field(i); table.Addr().Interface().(type) {
		case *event.ProcessID, *event.Contexts, *event.States:
		default:
			c.table(table)
		}
	}
}

func (c *cutter) table(table reflect.Value) {
	var times []event.Time
	for i := range table.NumField() {
		if column, ok := table.Field(i).Interface().([]event.Time); ok {
			times = column
			break
		}
	}
	for i := range table.NumField() {
		column := table.Field(i)
		kept := reflect.MakeSlice(column.Type(), 0, 0)
		for row, at := range times {
			if at >= c.from && at < c.to {
				kept = reflect.Append(kept, column.Index(row))
			}
		}
		column.Set(kept)
	}
}

func (c *cutter) close() error {
	if c.out == nil {
		return errors.New("cut: an empty trace")
	}
	c.summary.Recorded = nil
	c.summary.End = min(c.summary.End, c.to)
	return c.out.Close(c.summary)
}

// shorten takes the machine's own folders off the paths in a text: what is left tells the program's files from those of
// Python and its packages.
func shorten(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		for mark, prefix := range map[string]string{"scripts/workloads/": "", "site-packages/": "/usr/lib/python3/", "dist-packages/": "/usr/lib/python3/"} {
			if _, rest, ok := strings.Cut(line, "/"+mark); ok && strings.HasPrefix(line, "/") {
				line = prefix + mark + rest
				break
			}
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

func clean(texts []string) []string {
	out := make([]string, len(texts))
	for i, s := range texts {
		out[i] = shorten(s)
	}
	return out
}
