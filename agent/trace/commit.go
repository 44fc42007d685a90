package trace

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// flushAll writes the events of all processes and the definitions that wait.
func (w *Writer) flushAll() error {
	var failure error
	for _, p := range slices.Clone(w.pending) {
		failure = cmp.Or(failure, w.flush(p))
	}
	return cmp.Or(failure, w.report(w.define()))
}

// collect returns the waiting events of a process.
func (w *Writer) collect(process event.ProcessID) *pending {
	for _, p := range w.pending {
		if p.batch.Process == process {
			return p
		}
	}
	p := &pending{}
	if n := len(w.idle); n > 0 {
		p, w.idle = w.idle[n-1], w.idle[:n-1]
	}
	p.batch.Process, p.since = process, w.options.now()
	w.pending = append(w.pending, p)
	return p
}

// release empties p and keeps its memory for another process.
func (w *Writer) release(p *pending) {
	w.pending = slices.DeleteFunc(w.pending, func(q *pending) bool { return q == p })
	p.clear(w.encoder.schema)
	if len(w.idle) < 4 {
		w.idle = append(w.idle, p)
	}
}

// flush writes the events of one process; what cannot be written is counted as lost.
func (w *Writer) flush(p *pending) error {
	defer w.release(p)
	err := w.define()
	if err == nil {
		w.frame = w.encoder.batch(w.frame[:0], &p.batch, w.sequence)
		if size := int64(len(w.frame)); size > w.room() && !w.full {
			return w.report(w.squeeze(p, size))
		}
		err = w.events()
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrFull):
		w.lose(&p.batch, event.LossTraceFull)
	default:
		w.lose(&p.batch, event.LossDisk)
	}
	return w.report(err)
}

// events writes the frame of events in w.frame and counts them.
func (w *Writer) events() error {
	if err := w.put(&w.encoder.counts); err != nil {
		return err
	}
	for kind, n := range w.encoder.counts {
		if n > 0 {
			w.recorded[event.Kind(kind)] += uint64(n)
		}
	}
	return nil
}

// define writes the definitions that wait. Those that could not be written go on waiting: later
// identifiers count on them.
func (w *Writer) define() error {
	for !(defined{}).plus(&w.definitions).none() {
		if w.full {
			return ErrFull
		}
		payload, rest, err := marshalDefinitions(w.definitions, w.defined)
		if err != nil {
			return err
		}
		w.frame = w.encoder.message(w.frame[:0], payload, frameHeader{typ: frameDefinitions, sequence: w.sequence})
		if err := w.put(nil); err != nil {
			w.full = w.full || errors.Is(err, ErrFull) // nothing can be told without its name
			return err
		}
		w.defined = w.defined.plus(&w.definitions).minus(&rest)
		w.definitions = rest
	}
	w.definitions = event.Definitions{}
	return nil
}

// put writes w.frame, and an index frame where one is due.
func (w *Writer) put(counts *[32]uint32) error {
	if w.full || int64(len(w.frame)) > w.room() {
		return ErrFull
	}
	at := w.offset
	if err := w.write(w.frame); err != nil {
		return err
	}
	w.sequence++
	h, _ := parseFrameHeader(w.frame)
	w.index.add(at, &h, counts)
	if w.options.keep != nil {
		w.options.keep.note(at, &h, counts)
		w.keepDue()
	}
	if w.index.n < writeEntries {
		return nil
	}
	w.frame = w.encoder.message(w.frame[:0], w.index.payload(), frameHeader{typ: frameIndex, sequence: w.sequence})
	at = w.offset
	if w.write(w.frame) == nil { // else the entries wait for the next one; w.frame was written
		w.sequence++
		w.index.written(at)
	}
	return nil
}

// write writes b as a whole or, where the destination can be repaired, not at all.
func (w *Writer) write(b []byte) error {
	n, err := w.out.Write(b)
	if err == nil {
		w.offset += int64(n)
		return nil
	}
	if n > 0 && w.repair != nil {
		if w.repair.Truncate(w.offset) == nil {
			if _, seek := w.repair.Seek(w.offset, io.SeekStart); seek == nil {
				return err
			}
		}
		w.repair = nil // its position is no longer certain
	}
	w.offset += int64(n) // readers pass over the partial frame
	return err
}

// report returns what the caller is told of an error: of the destination's, only the first.
func (w *Writer) report(err error) error {
	if err == nil || errors.Is(err, ErrFull) {
		return err
	}
	if w.failed {
		return nil
	}
	w.failed = true
	return err
}

// lose counts the rows of b as lost.
func (w *Writer) lose(b *event.Batch, cause event.LossCause) {
	for i := range w.encoder.schema {
		t := &w.encoder.schema[i]
		if n := t.rows(b); n > 0 {
			w.lost[event.Loss{Process: b.Process, Kind: t.kind, Cause: cause}] += uint64(n)
		}
	}
}
