package trace

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// rewriting copies a trace without its oldest part.
type rewriting struct {
	src      io.ReaderAt
	out      *bufio.Writer
	encoder  *encoder
	decoder  *decoder
	offset   int64
	sequence uint32
	index    indexWriter
	frames   []kept
	recorded [32]uint64
	dropped  map[event.Loss]uint64
	buffer   []byte
	frame    []byte
}

func newRewriting(src io.ReaderAt, dst io.Writer) (*rewriting, error) {
	r := &rewriting{src: src, out: bufio.NewWriterSize(dst, 1<<20), dropped: map[event.Loss]uint64{}}
	var err error
	if r.encoder, err = newEncoder(); err != nil {
		return nil, err
	}
	if r.decoder, err = newDecoder(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rewriting) close() { r.decoder.close() }

func (r *rewriting) flush() error { return r.out.Flush() }

// begin writes the header and the provenance, which says what this is.
func (r *rewriting) begin(k *keeper, wall time.Time, cut event.Time) error {
	p := k.provenance
	p.Notes = append(slices.Clone(p.Notes), fmt.Sprintf("the trace keeps the newest %v: what was before %s has been dropped from it",
		time.Duration(k.span), wall.UTC().Format("2006-01-02 15:04:05 UTC")))
	payload, err := marshalProvenance(&p)
	if err != nil {
		return err
	}
	header := appendFileHeader(nil)
	if _, err := r.out.Write(header); err != nil {
		return err
	}
	r.offset = int64(len(header))
	r.frame = r.encoder.message(r.frame[:0], payload, frameHeader{typ: frameProvenance})
	return r.put(r.frame, kept{written: cut})
}

// put writes a whole frame with the next sequence, and an index frame where one is due. Of f, what the
// frame's header does not say matters.
func (r *rewriting) put(frame []byte, f kept) error {
	h, _ := parseFrameHeader(frame)
	h.sequence = r.sequence
	h.put(frame)
	if _, err := r.out.Write(frame); err != nil {
		return err
	}
	var counts [32]uint32
	for _, c := range f.counts {
		counts[c.kind] = c.n
		r.recorded[c.kind] += uint64(c.n)
	}
	f.frameHeader, f.offset = h, r.offset
	r.frames = append(r.frames, f)
	r.index.add(r.offset, &h, &counts)
	r.offset += int64(len(frame))
	r.sequence++
	if r.index.n < writeEntries {
		return nil
	}
	b := r.encoder.message(nil, r.index.payload(), frameHeader{typ: frameIndex, sequence: r.sequence})
	if _, err := r.out.Write(b); err != nil {
		return err
	}
	r.index.written(r.offset)
	r.offset += int64(len(b))
	r.sequence++
	return nil
}

// read returns the frame f of the old file.
func (r *rewriting) read(f *kept) ([]byte, error) {
	r.buffer = resize(r.buffer, f.size())
	if _, err := r.src.ReadAt(r.buffer, f.offset); err != nil {
		return nil, err
	}
	h, ok := parseFrameHeader(r.buffer)
	if !ok || h != f.frameHeader {
		return nil, fmt.Errorf("read trace at byte %d: %w", f.offset, errNoFrame)
	}
	return r.buffer, nil
}

// copy takes a frame over as it is. Provenance has been written.
func (r *rewriting) copy(f *kept) error {
	if f.typ == frameProvenance {
		return nil
	}
	b, err := r.read(f)
	if err != nil {
		return err
	}
	return r.put(b, *f)
}

// old takes over, of the frames before the cut, what those after it need: definitions; of each process
// the last live set and the calls since; contexts and modules; and what the state of the capture was.
func (r *rewriting) old(frames []kept, cut event.Time, newer []kept) error {
	last := map[event.ProcessID]int{} // where the last whole live set ends
	sets := map[uint32]bool{}
	for i := range frames {
		if frames[i].whole {
			last[frames[i].process] = i
		}
	}
	for _, i := range last {
		sets[frames[i].set] = true
	}
	for i := range frames {
		if f := &frames[i]; f.typ == frameDefinitions || f.typ == frameLive && sets[f.set] {
			if err := r.copy(f); err != nil {
				return err
			}
		}
	}
	rest := map[event.ProcessID]*remainder{}
	var x decoded
	for i := range frames {
		f := &frames[i]
		if f.typ != frameBatch {
			continue
		}
		end, found := last[f.process]
		calls := f.has(event.KindAllocation) && (!found || i > end)
		for _, c := range f.counts {
			if c.kind != event.KindAllocation || !calls {
				r.dropped[event.Loss{Process: f.process, Kind: c.kind, Cause: event.LossAged}] += uint64(c.n)
			}
		}
		if !calls && !f.has(event.KindContext) && !f.has(event.KindModule) && !f.has(event.KindState) {
			continue
		}
		b, err := r.read(f)
		if err != nil {
			return err
		}
		x.rawFrame = rawFrame{frameHeader: f.frameHeader, offset: f.offset, stored: b[frameHeaderSize:]}
		x.only = 1<<event.KindContext | 1<<event.KindModule | 1<<event.KindState
		if calls {
			x.only |= 1 << event.KindAllocation
		}
		if x.decode(r.decoder); x.err != nil {
			return fmt.Errorf("read trace at byte %d: %w", f.offset, x.err)
		}
		if rest[f.process] == nil {
			rest[f.process] = &remainder{}
		}
		rest[f.process].add(r.decoder.schema, &x.batch)
		if calls {
			err = r.batch(&event.Batch{Process: f.process, Allocations: x.batch.Allocations}, f.written)
		}
		if err != nil {
			return err
		}
	}
	for _, process := range sortedKeys(rest) {
		if err := r.batch(rest[process].batch(process, began(process, cut, newer)), cut); err != nil {
			return err
		}
	}
	return nil
}

// batch writes rows in a frame of their own.
func (r *rewriting) batch(b *event.Batch, written event.Time) error {
	r.frame = r.encoder.batch(r.frame[:0], b, r.sequence)
	f := kept{written: written}
	for kind, n := range r.encoder.counts {
		if n == 0 {
			continue
		}
		f.counts = append(f.counts, rowCount{event.Kind(kind), n})
		if key := (event.Loss{Process: b.Process, Kind: event.Kind(kind), Cause: event.LossAged}); event.Kind(kind) != event.KindAllocation {
			if r.dropped[key] -= min(uint64(n), r.dropped[key]); r.dropped[key] == 0 {
				delete(r.dropped, key)
			}
		}
	}
	if len(f.counts) == 0 {
		return nil
	}
	return r.put(r.frame, f)
}

// began is when what is kept of a process begins: at the cut, or before it by as much as the first frame
// reaches back.
func began(process event.ProcessID, cut event.Time, newer []kept) event.Time {
	at := cut
	for i := range newer {
		if f := &newer[i]; f.typ == frameBatch && f.process == process && f.min > 0 && f.min < at {
			at = f.min
		}
	}
	return at
}

func sortedKeys[V any](m map[event.ProcessID]V) []event.ProcessID {
	keys := make([]event.ProcessID, 0, len(m))
	for id := range m {
		keys = append(keys, id)
	}
	slices.Sort(keys)
	return keys
}

// remainder is what stays of the old events of a process.
type remainder struct {
	rows  event.Batch // contexts and modules
	first *stateRow   // the capture's first state, and its last
	last  *stateRow
}

type stateRow struct {
	time   event.Time
	state  event.State
	reason uint32
}

func (m *remainder) add(tables []table, b *event.Batch) {
	for i := range tables {
		t := &tables[i]
		if t.kind != event.KindContext && t.kind != event.KindModule {
			continue
		}
		n := t.rows(b)
		for _, c := range t.columns {
			c.cells.move(&m.rows, b, 0, n)
		}
		// A program that has more than a frame takes goes on making them: the newest will do.
		if have := t.rows(&m.rows); have > writeRows {
			newest := event.Batch{}
			for _, c := range t.columns {
				c.cells.move(&newest, &m.rows, have-writeRows, have)
				c.cells.reset(&m.rows)
				c.cells.move(&m.rows, &newest, 0, writeRows)
			}
		}
	}
	for i, t := range b.States.Time {
		row := &stateRow{t, b.States.State[i], b.States.Reason[i]}
		if m.first == nil {
			m.first = row
		}
		m.last = row
	}
}

// batch returns it. Before the moment at which begins what is kept, the timeline counts as paused: there
// is none of it.
func (m *remainder) batch(process event.ProcessID, begins event.Time) *event.Batch {
	b := &m.rows
	b.Process = process
	if m.first == nil {
		return b
	}
	add := func(t event.Time, state event.State, reason uint32) {
		b.States.Time = append(b.States.Time, t)
		b.States.State = append(b.States.State, state)
		b.States.Reason = append(b.States.Reason, reason)
	}
	if m.first.state == event.StateArmed || m.first.state == event.StatePaused {
		add(m.first.time, event.StatePaused, m.first.reason)
	}
	if m.last.state == event.StatePaused && len(b.States.Time) > 0 {
		return b
	}
	at := m.last.time
	if m.last.state == event.StateArmed {
		at = max(at, begins)
	}
	add(at, m.last.state, m.last.reason)
	return b
}
