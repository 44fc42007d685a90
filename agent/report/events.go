package report

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
)

// EventFormat is how single events are written.
type EventFormat string

// The formats.
const (
	EventText  EventFormat = "text"
	EventJSONL EventFormat = "jsonl"
	EventCSV   EventFormat = "csv"
)

// EventOptions says which events are written, and how.
type EventOptions struct {
	Format EventFormat
	File   string // names the trace in each record; "": does not
	Style  Style
	Window analyze.Window
	Start  event.Time     // when the trace begins, if only a part of it is given; 0: found out
	Name   *regexp.Regexp // nil: all; otherwise those whose name it matches
	Limit  int            // records; 0: all
	// Continued says that another file's events precede: a header is not repeated.
	Continued bool
}

// errLimit ends the writing of events when Limit is reached.
var errLimit = fmt.Errorf("limit of events reached")

// Events writes every event of a trace as it is given its parts, in the order of time as far as
// that can be known in bounded memory. It is an event.Sink.
type Events struct {
	options EventOptions
	out     *bufio.Writer
	tables  event.Tables
	clock   analyze.Clock
	names   map[event.StringID]string
	shorts  map[event.StringID]string
	rows    []eventRow
	fields  []field
	text    []byte   // of the records that wait
	waiting []record // for those that begin before them
	written int
	begun   bool
	headed  bool

	simulated bool
}

var _ event.Sink = (*Events)(nil)

// eventRow is one event of a batch: what it is and where it stands.
type eventRow struct {
	time  event.Time
	kind  event.Kind
	index int
}

// record is where in Events.text a record that waits stands.
type record struct {
	time     event.Time
	from, to int
}

// waitingText bounds the text that waits for its turn. Traces hold batches of each process in
// turn: what begins at the same time can stand a second of the run away. Traces of less text
// than this are written in the order of time throughout.
const waitingText = 64 << 20

// field is a key and its value: an int64, a uint64, a bool or a string.
type field struct {
	key   string
	value any
}

// NewEvents returns a writer of events to w.
func NewEvents(w io.Writer, o EventOptions) *Events {
	e := &Events{options: o, out: bufio.NewWriterSize(w, 1<<16), names: make(map[event.StringID]string), shorts: make(map[event.StringID]string)}
	e.clock.Begin(o.Start)
	return e
}

// header writes what precedes the first event: the names of the columns, where the format has them.
func (e *Events) header() error {
	switch e.options.Format {
	case EventCSV:
		if e.options.Continued {
			return nil
		}
		columns := append([]string{}, eventColumns...)
		if e.options.File != "" {
			columns = append([]string{"file"}, columns...)
		}
		_, err := e.out.Write(appendCSV(nil, columns))
		return err
	case EventText:
		if e.options.File != "" {
			if _, err := fmt.Fprintln(e.out, e.options.Style.paint(bold, Clean(e.options.File))); err != nil {
				return err
			}
		}
		if e.simulated {
			if _, err := fmt.Fprintln(e.out, e.options.Style.paint(alert, SimulatedNote)); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintln(e.out, e.options.Style.paint(dim, fmt.Sprintf("%14s  %9s  %-10s  %s", "time", "duration", "kind", "what")))
		return err
	}
	return nil
}

// Provenance says where the trace comes from.
func (e *Events) Provenance(p *event.Provenance) {
	e.clock.Provenance(p)
	e.simulated = e.simulated || p.Simulated
}

// Simulated says whether the trace was made on the simulated device. Single events cannot say so:
// whoever prints them does.
func (e *Events) Simulated() bool { return e.simulated }

// Define adds definitions.
func (e *Events) Define(d *event.Definitions) error {
	e.tables.Apply(d)
	e.clock.Define(d)
	for i := range d.Processes {
		e.simulated = e.simulated || d.Processes[i].Simulated
	}
	return nil
}

// Live writes nothing: checkpoints repeat what allocations said.
func (e *Events) Live(*event.LiveSet) error { return nil }

// Batch writes the events of a batch. After the last one that was asked for it returns an error
// for which [LimitReached] is true.
func (e *Events) Batch(b *event.Batch) error {
	e.rows = e.rows[:0]
	collect := func(kind event.Kind, times []event.Time) {
		for i, t := range times {
			e.rows = append(e.rows, eventRow{t, kind, i})
		}
	}
	collect(event.KindKernel, b.Kernels.Start)
	collect(event.KindCopy, b.Copies.Start)
	collect(event.KindSet, b.Sets.Start)
	collect(event.KindSync, b.Syncs.Start)
	collect(event.KindCall, b.Calls.Enter)
	collect(event.KindMarker, b.Markers.Time)
	collect(event.KindGraph, b.Graphs.Start)
	collect(event.KindOverhead, b.Overheads.Start)
	collect(event.KindAllocation, b.Allocations.Enter)
	collect(event.KindContext, b.Contexts.Time)
	collect(event.KindModule, b.Modules.Time)
	collect(event.KindPool, b.Pools.Time)
	collect(event.KindState, b.States.Time)
	collect(event.KindGPUSample, b.GPUSamples.Time)
	collect(event.KindUsage, b.Usages.Time)
	collect(event.KindWindow, b.Windows.Start)
	collect(event.KindFact, b.Facts.Time)
	collect(event.KindActivity, b.Activities.Start)
	slices.SortStableFunc(e.rows, func(x, y eventRow) int {
		switch {
		case x.time < y.time:
			return -1
		case x.time > y.time:
			return 1
		}
		return 0
	})
	if !e.begun && len(e.rows) > 0 {
		e.clock.Begin(e.rows[0].time)
		e.begun = true
	}
	from, to := e.clock.Bounds(e.options.Window)
	pid := e.tables.Process(b.Process).PID
	for _, r := range e.rows {
		if r.time < from || r.time >= to {
			continue
		}
		if err := e.write(b, r, pid); err != nil {
			return err
		}
	}
	return nil
}

// LimitReached says whether err only tells that as many events as asked for have been written.
func LimitReached(err error) bool { return err == errLimit } //nolint:errorlint // it is returned as it is

// Close writes what waits in memory.
func (e *Events) Close() error {
	err := e.settle(0)
	if err == nil || LimitReached(err) {
		err = e.head()
	}
	if err != nil {
		return err
	}
	return e.out.Flush()
}

// head writes the header if it has not been written.
func (e *Events) head() error {
	if e.headed {
		return nil
	}
	e.headed = true
	return e.header()
}

// settle writes the records that begin first, until only keep bytes of text wait.
func (e *Events) settle(keep int) error {
	slices.SortStableFunc(e.waiting, func(x, y record) int {
		switch {
		case x.time < y.time:
			return -1
		case x.time > y.time:
			return 1
		}
		return 0
	})
	left := len(e.text)
	n := 0
	for n < len(e.waiting) && left > keep {
		r := e.waiting[n]
		if e.options.Limit > 0 && e.written >= e.options.Limit {
			e.waiting, e.text = nil, nil
			return errLimit
		}
		if err := e.head(); err != nil {
			return err
		}
		e.written++
		if _, err := e.out.Write(e.text[r.from:r.to]); err != nil {
			return err
		}
		left -= r.to - r.from
		n++
	}
	text := make([]byte, 0, len(e.text))
	kept := e.waiting[:0]
	for _, r := range e.waiting[n:] {
		from := len(text)
		text = append(text, e.text[r.from:r.to]...)
		kept = append(kept, record{r.time, from, len(text)})
	}
	e.text, e.waiting = text, kept
	return nil
}

func (e *Events) write(b *event.Batch, r eventRow, pid int32) error {
	name, duration := e.describe(b, r)
	if re := e.options.Name; re != nil && !re.MatchString(name) {
		return nil
	}
	offset := int64(r.time - e.clock.Origin())
	from := len(e.text)
	switch e.options.Format {
	case EventJSONL:
		e.writeJSON(r, name, offset, duration, pid)
	case EventCSV:
		e.writeCSV(r, name, offset, duration, pid)
	default:
		e.writeText(b, r, name, offset, duration, pid)
	}
	e.waiting = append(e.waiting, record{r.time, from, len(e.text)})
	if len(e.text) > waitingText {
		return e.settle(waitingText / 2)
	}
	return nil
}

// name returns a string of the trace, demangled.
func (e *Events) name(id event.StringID) string {
	if name, ok := e.names[id]; ok {
		return name
	}
	name := analyze.Demangle(e.tables.String(id))
	if len(e.names) < 1<<16 {
		e.names[id] = name
	}
	return name
}

func (e *Events) writeJSON(r eventRow, name string, offset, duration int64, pid int32) {
	b := append(e.text, '{')
	begin := len(b)
	add := func(key string, value any) {
		if len(b) > begin {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, key...)
		b = append(b, '"', ':')
		b = appendJSON(b, value)
	}
	if e.options.File != "" {
		add("file", e.options.File)
	}
	if e.simulated {
		add("simulated", true)
	}
	add("kind", kindWord(r.kind))
	if r.time == 0 {
		add("time_ns", nil)
	} else {
		add("time_ns", offset)
		if wall := e.clock.Wall(r.time); wall != 0 {
			add("unix_ns", wall)
		}
	}
	if duration != noDuration {
		if duration < 0 {
			add("duration_ns", nil)
		} else {
			add("duration_ns", duration)
		}
	}
	if pid != 0 {
		add("pid", int64(pid))
	}
	if name != "" {
		add("name", name)
	}
	for _, f := range e.fields {
		add(f.key, f.value)
	}
	e.text = append(b, '}', '\n')
}

// eventColumns are those of CSV; what has no column of its own stands in detail as key=value.
var eventColumns = []string{
	"time_ns", "duration_ns", "kind", "pid", "name", "device", "context", "stream", "correlation", "bytes", "detail",
}

func (e *Events) writeCSV(r eventRow, name string, offset, duration int64, pid int32) {
	cells := make([]string, len(eventColumns))
	if r.time != 0 {
		cells[0] = strconv.FormatInt(offset, 10)
	}
	if duration >= 0 {
		cells[1] = strconv.FormatInt(duration, 10)
	}
	cells[2], cells[4] = kindWord(r.kind), name
	if pid != 0 {
		cells[3] = strconv.Itoa(int(pid))
	}
	var detail []string
	for _, f := range e.fields {
		if at := slices.Index(eventColumns[5:10], f.key); at >= 0 {
			cells[5+at] = fieldText(f.value)
		} else {
			detail = append(detail, f.key+"="+fieldText(f.value))
		}
	}
	cells[10] = strings.Join(detail, " ")
	if e.options.File != "" {
		cells = append([]string{e.options.File}, cells...)
	}
	e.text = appendCSV(e.text, cells)
}

func (e *Events) writeText(b *event.Batch, r eventRow, name string, offset, duration int64, pid int32) {
	s := e.options.Style
	when, long := dash, ""
	if r.time != 0 {
		when = Offset(offset)
	}
	if duration >= 0 {
		long = Duration(duration)
	} else if duration == -1 {
		long = dash
	}
	head := pad(when, 14, true) + "  " + pad(long, 9, true) + "  " + pad(kindWord(r.kind), 10, false) + "  "
	var details []string
	for _, f := range e.fields {
		if n, ok := f.value.(uint64); ok && f.key == "bytes" {
			details = append([]string{Bytes(n)}, details...)
			continue
		}
		details = append(details, f.key+"="+fieldText(f.value))
	}
	if pid != 0 {
		details = append(details, "pid="+strconv.Itoa(int(pid)))
	}
	detail := Clean(strings.Join(details, " "))
	name = Clean(name)
	if !s.Wide {
		room := s.width() - Width(head)
		// The name has the right of way: what it leaves is for the rest.
		if r.kind == event.KindKernel {
			name = cutName(e.short(b, r), min(room, 48))
		}
		name = Cut(name, room)
		if name != "" {
			room -= Width(name) + 2
		}
		detail = Cut(detail, max(room, 0))
	}
	line := head + name
	if detail != "" {
		if name != "" {
			line += "  "
		}
		line += s.paint(dim, detail)
	}
	e.text = append(append(e.text, strings.TrimRight(line, " ")...), '\n')
}

// short returns a kernel's name without what says nothing to a reader.
func (e *Events) short(b *event.Batch, r eventRow) string {
	id := e.tables.Launch(b.Kernels.Launch[r.index]).Name
	if text, ok := e.shorts[id]; ok {
		return text
	}
	f := formOf(e.tables.String(id), e.name(id))
	text := Clean(f.telling())
	if len(e.shorts) < 1<<16 {
		e.shorts[id] = text
	}
	return text
}
