package trace

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// Writer writes a trace. It implements [event.Sink] and can be used by several goroutines.
//
// Events are collected in memory, process by process, and written when there are many, when they
// are a second old at the next call, or on [Writer.Flush]. Every write to the destination is one
// whole frame.
//
// When the destination fails, the error is returned as it is, once; the events in question and
// those of later failure are counted as lost ([event.LossDisk]), and writing is tried again with
// each frame. A partial frame is cut off if the destination can be truncated.
type Writer struct {
	mu      sync.Mutex
	out     io.Writer
	options writerOptions
	encoder *encoder
	frame   []byte

	offset   int64 // bytes of whole frames
	sequence uint32
	repair   interface { // non-nil: takes back what a failed write left
		io.Seeker
		Truncate(size int64) error
	}
	failed bool // the destination's error has been returned
	full   bool
	closed bool

	pending     []*pending // oldest first; a few processes at a time
	idle        []*pending
	definitions event.Definitions // not yet written
	defined     defined           // written
	index       indexWriter
	recorded    map[event.Kind]uint64
	lost        map[event.Loss]uint64 // by process, kind and cause
}

// NewWriter begins a trace on w, which the caller closes after [Writer.Close]. The provenance is
// written at once. A w with Truncate and Seek, as a file has, is repaired after failed writes.
func NewWriter(w io.Writer, p event.Provenance, options ...Option) (*Writer, error) {
	t := &Writer{out: w, options: writerOptions{age: time.Second, now: time.Now, callResolution: callResolution},
		recorded: map[event.Kind]uint64{}, lost: map[event.Loss]uint64{}}
	for _, o := range options {
		if err := o(&t.options); err != nil {
			return nil, err
		}
	}
	var err error
	if t.encoder, err = newEncoder(); err != nil {
		return nil, err
	}
	if unit := t.options.callResolution; unit > 1 {
		p.CallResolution = max(p.CallResolution, uint32(unit))
	}
	payload, err := marshalProvenance(&p)
	if err != nil {
		return nil, err
	}
	if f, ok := w.(interface {
		io.Seeker
		Truncate(size int64) error
	}); ok {
		// Only a file that is all ours may be cut.
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == 0 {
			t.repair = f
		}
	}
	// One write, so that nobody ever finds a file without its header.
	h := frameHeader{typ: frameProvenance}
	b := t.encoder.message(appendFileHeader(nil), payload, h)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	h, _ = parseFrameHeader(b[fileHeaderSize:])
	t.index.add(fileHeaderSize, &h, nil)
	if k := t.options.keep; k != nil {
		if _, ok := w.(Destination); !ok {
			return nil, errors.New("a trace that keeps a part only must be a file")
		}
		k.provenance = p
		k.note(fileHeaderSize, &h, nil)
	}
	t.offset, t.sequence = int64(len(b)), 1
	return t, nil
}

// Define adds definitions. They are written before the first frame that can refer to them.
func (w *Writer) Define(d *event.Definitions) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	p := &w.definitions
	p.Strings = append(p.Strings, d.Strings...)
	p.Launches = append(p.Launches, d.Launches...)
	p.Frames = append(p.Frames, d.Frames...)
	for _, s := range d.Stacks {
		p.Stacks = append(p.Stacks, append(event.Stack(nil), s...))
	}
	p.GPUs = append(p.GPUs, d.GPUs...)
	for _, process := range d.Processes {
		process.Command = append([]string(nil), process.Command...)
		process.Devices = append([]event.GPUID(nil), process.Devices...)
		p.Processes = append(p.Processes, process)
	}
	return nil
}

// Batch adds events. It returns [ErrFull] when the size limit has been reached, else the first
// error of the destination.
func (w *Writer) Batch(b *event.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if err := check(w.encoder.schema, b); err != nil {
		return err
	}
	if w.full {
		w.lose(b, event.LossTraceFull)
		return ErrFull
	}
	var failure error
	for i := range w.encoder.schema {
		t := &w.encoder.schema[i]
		for from, n := 0, t.rows(b); from < n; {
			p := w.collect(b.Process)
			calls := len(p.batch.Calls.Enter)
			from = p.add(t, b, from)
			roundCalls(&p.batch.Calls, calls, w.options.callResolution)
			if p.full {
				failure = cmp.Or(failure, w.flush(p))
			}
		}
	}
	now := w.options.now()
	for _, p := range slices.Clone(w.pending) {
		if now.Sub(p.since) >= w.options.age {
			failure = cmp.Or(failure, w.flush(p))
		}
	}
	return failure
}

// Live adds a checkpoint. What was given to the writer before it is written before it.
func (w *Writer) Live(l *event.LiveSet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	n := len(l.Live.Address)
	if n > maxLiveRows {
		return fmt.Errorf("write live set: it has %d allocations, a trace holds at most %d", n, maxLiveRows)
	}
	if err := check(w.encoder.schema, &event.Batch{Allocations: l.Live}); err != nil {
		return err
	}
	if w.full {
		return ErrFull
	}
	var failure error
	for _, p := range slices.Clone(w.pending) {
		if p.batch.Process == l.Process {
			failure = w.flush(p)
		}
	}
	err := w.define()
	if k := w.options.keep; k != nil {
		k.beginSet()
		defer func() { k.endSet(err == nil) }()
	}
	for part := 0; err == nil && (part == 0 || part*writeTotal < n); part++ {
		from := part * writeTotal
		w.frame = w.encoder.liveSet(w.frame[:0], l, part, from, min(n, from+writeTotal), w.sequence)
		err = w.put(&w.encoder.counts)
	}
	if errors.Is(err, ErrFull) && !w.full && n > 0 {
		// There is room for events, but nobody may believe that all allocations are known.
		w.lost[event.Loss{Process: l.Process, Kind: event.KindAllocation, Cause: event.LossTraceFull}] += uint64(n)
	}
	return cmp.Or(failure, w.report(err))
}

// Flush writes what waits in memory. Afterwards all that was given to the writer has been written
// to the destination, or counted as lost.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	return w.flushAll()
}

// Size returns how many bytes have been written.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.offset
}

// Close writes what waits in memory, the summary and the index. Recorded is what the writer has
// written, whatever s says; the writer's own losses are added to those of s. A trace whose Close
// failed can be read all the same, up to its last whole frame.
func (w *Writer) Close(s event.Summary) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	failure := w.flushAll()
	if failure == ErrFull { //nolint:errorlint // our own, never wrapped
		failure = nil // the summary tells
	}
	w.keepLast()
	w.closed = true
	b, err := w.shorten(w.complete(s), w.ending)
	if err != nil {
		return cmp.Or(failure, err)
	}
	return cmp.Or(failure, w.write(b))
}

// ending returns the end of the file: the frames of summary and index, and the trailer.
func (w *Writer) ending(s event.Summary) ([]byte, error) {
	payload, err := marshalSummary(&s)
	if err != nil {
		return nil, err
	}
	b := w.encoder.message(nil, payload, frameHeader{typ: frameSummary, sequence: w.sequence, min: s.End, max: s.End})
	h, _ := parseFrameHeader(b)
	index := indexWriter{entries: slices.Clone(w.index.entries), previous: w.index.previous}
	index.add(w.offset, &h, nil)
	at := len(b)
	b = w.encoder.message(b, index.payload(), frameHeader{typ: frameIndex, sequence: w.sequence + 1})
	return appendTrailer(b, w.offset+int64(at), len(b)-at), nil
}

// Summary returns s as [Writer.Close] writes it, for who closed the trace to tell: with what has been
// written, and with the writer's own losses added.
func (w *Writer) Summary(s event.Summary) event.Summary {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.complete(s)
}

func (w *Writer) complete(s event.Summary) event.Summary {
	s.Recorded = maps.Clone(w.recorded)
	s.Losses = append([]event.Loss(nil), s.Losses...)
	if note := w.options.keep.keepNote(); note != "" {
		s.Notes = append(slices.Clone(s.Notes), note)
	}
	for l, n := range w.lost {
		l.Count = n
		s.Losses = append(s.Losses, l)
	}
	slices.SortStableFunc(s.Losses, func(a, b event.Loss) int {
		return cmp.Or(cmp.Compare(a.Process, b.Process), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Cause, b.Cause))
	})
	return s
}
