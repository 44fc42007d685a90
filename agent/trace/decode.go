package trace

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/warpscope/warpscope/agent/event"
)

// errPayload is why a payload with a correct checksum cannot be read.
var errPayload = errors.New("payload does not follow the format")

// decoder turns payloads into batches.
type decoder struct {
	schema []table
	live   table
	byKind [32]*table

	zstd *zstd.Decoder
	raw  []byte // the payload, decompressed

	values, keys, durations []uint64
	slots                   []uint32
	keyed                   coding // whose slots those are
	timed                   bool
	memory                  memory
	ticks                   ticks

	only  uint32 // kinds to decode, as bits; 0: all
	begun int    // rows of the frame so far
}

func newDecoder() (*decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("create decompressor: %w", err)
	}
	d := &decoder{schema: schema(), live: allocations(), zstd: z}
	for i := range d.schema {
		d.byKind[d.schema[i].kind] = &d.schema[i]
	}
	return d, nil
}

func (d *decoder) close() { d.zstd.Close() }

// payload decompresses what a frame stores; the result is valid until the next call.
func (d *decoder) payload(h *frameHeader, stored []byte) ([]byte, error) {
	if h.flags == 0 {
		if h.raw != h.stored {
			return nil, fmt.Errorf("%w: its two lengths differ", errPayload)
		}
		return stored, nil
	}
	d.raw = resize(d.raw, int(h.raw))
	out, err := d.zstd.DecodeAll(stored, d.raw[:0:h.raw])
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", errPayload, err)
	}
	if len(out) != int(h.raw) {
		return nil, fmt.Errorf("%w: %d bytes decompress to %d, not %d", errPayload, len(stored), len(out), h.raw)
	}
	return out, nil
}

// field is one field of a protobuf message.
type field struct {
	number protowire.Number
	typ    protowire.Type
	varint uint64 // of a VarintType
	bytes  []byte // of a BytesType
}

// next reads the field that b begins with and returns the rest of b.
func next(b []byte) (field, []byte, error) {
	number, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, fmt.Errorf("%w: %w", errPayload, protowire.ParseError(n))
	}
	f := field{number: number, typ: typ}
	b = b[n:]
	switch typ {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, typ, b)
	}
	if n < 0 {
		return field{}, nil, fmt.Errorf("%w: %w", errPayload, protowire.ParseError(n))
	}
	return f, b[n:], nil
}

func (d *decoder) reset(b *event.Batch) {
	for i := range d.schema {
		for _, c := range d.schema[i].columns {
			c.cells.reset(b)
		}
	}
	b.Process = 0
	d.begun = 0
}

// batch replaces b by what a batch frame holds.
func (d *decoder) batch(payload []byte, h *frameHeader, b *event.Batch) error {
	d.reset(b)
	b.Process = h.process
	for rest := payload; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		switch {
		case f.number == batchProcess && f.typ == protowire.VarintType:
			if f.varint != uint64(h.process) {
				return fmt.Errorf("%w: its process differs from its header's", errPayload)
			}
		case f.typ == protowire.BytesType && int(f.number) < len(d.byKind) && d.byKind[f.number] != nil:
			if d.only != 0 && d.only&(1<<f.number) == 0 {
				continue
			}
			t := d.byKind[f.number]
			if t.rows(b) > 0 {
				return fmt.Errorf("%w: it has two tables of kind %d", errPayload, t.kind)
			}
			if err := d.table(t, f.bytes, b); err != nil {
				return err
			}
		}
	}
	if d.only == 0 && d.begun != int(h.rows) {
		return fmt.Errorf("%w: it has %d rows, its header says %d", errPayload, d.begun, h.rows)
	}
	return nil
}

// liveSet replaces the allocations of b by those of a live frame.
func (d *decoder) liveSet(payload []byte, h *frameHeader, b *event.Batch) (livePart, error) {
	d.reset(b)
	var p livePart
	for rest := payload; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return p, err
		}
		switch {
		case f.number == liveTime && f.typ == protowire.VarintType:
			p.time = event.Time(protowire.DecodeZigZag(f.varint))
		case f.number == liveMore && f.typ == protowire.VarintType:
			p.more = f.varint != 0
		case f.number == liveNumber && f.typ == protowire.VarintType:
			p.part = f.varint
		case f.number == liveRows && f.typ == protowire.BytesType:
			if d.live.rows(b) > 0 {
				return p, fmt.Errorf("%w: it has two tables", errPayload)
			}
			if err := d.table(&d.live, f.bytes, b); err != nil {
				return p, err
			}
		}
	}
	if d.begun != int(h.rows) {
		return p, fmt.Errorf("%w: it has %d rows, its header says %d", errPayload, d.begun, h.rows)
	}
	b.Process = h.process
	return p, nil
}

// encoded is a column as found in a payload.
type encoded struct {
	planes []byte
	base   uint64
	how    coding
	layout layout
}

// constant tells whether the column is its base in every row.
func (c *encoded) constant() bool { return len(c.planes) == 0 && c.how == (coding{}) }

// stands tells whether the column can be decoded before all others.
func (c *encoded) stands() bool { return c.how.key == 0 && c.how.chain != chainEnd }

// table decodes one table into b.
func (d *decoder) table(t *table, message []byte, b *event.Batch) error {
	var found [32]encoded
	var rows uint64
	d.ticks.tick, d.ticks.origin = 0, 0
	for i := range found {
		found[i].layout = plain()
	}
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		ours := f.number >= fieldFirst && int(f.number) < fieldFirst+len(t.columns) || t.ticks && (f.number == fieldStartError || f.number == fieldEndError)
		switch {
		case f.number == fieldRows && f.typ == protowire.VarintType:
			rows = f.varint
		case f.number == fieldTick && t.ticks && f.typ == protowire.VarintType:
			d.ticks.tick = f.varint
		case f.number == fieldOrigin && t.ticks && f.typ == protowire.VarintType:
			d.ticks.origin = uint64(protowire.DecodeZigZag(f.varint))
		case f.typ == protowire.BytesType && ours:
			if err := found[f.number].parse(f.bytes); err != nil {
				return err
			}
		}
	}
	if rows > maxRows || d.begun+int(rows) > maxRows {
		return fmt.Errorf("%w: it declares more than %d rows", errPayload, maxRows)
	}
	d.begun += int(rows)
	return d.columns(t, &found, int(rows), b)
}

func (c *encoded) parse(message []byte) error {
	*c = encoded{layout: plain()}
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		small := uint(min(f.varint, 1<<16))
		switch f.number {
		case columnPlanes:
			c.planes = f.bytes
		case columnBase:
			c.base = uint64(protowire.DecodeZigZag(f.varint))
		case columnChain:
			c.how.chain = chain(small)
		case columnKey:
			c.how.key = int(small)
		case columnDepth:
			c.how.depth = int(small)
		case columnLow:
			c.layout.low = cmp.Or(small, 8)
		case columnPack:
			c.layout.pack = cmp.Or(small, 1)
		}
	}
	return nil
}

// columns decodes the columns of a table into b: first those that need no other.
func (d *decoder) columns(t *table, found *[32]encoded, rows int, b *event.Batch) error {
	d.values, d.keys, d.slots = resize(d.values, rows), resize(d.keys, rows), resize(d.slots, rows)
	d.keyed, d.timed = coding{}, false
	for _, first := range []bool{true, false} {
		for i := range t.columns {
			c := &found[i+fieldFirst]
			if c.stands() != first {
				continue
			}
			if err := d.column(t, i, found, rows, b); err != nil {
				return fmt.Errorf("column %s of kind %d: %w", t.columns[i].name, t.kind, err)
			}
		}
	}
	if d.ticks.tick == 0 {
		return nil
	}
	d.ticks.startErrors, d.ticks.endErrors = resize(d.ticks.startErrors, rows), resize(d.ticks.endErrors, rows)
	if !found[fieldStartError].stands() || !found[fieldEndError].stands() {
		return fmt.Errorf("%w: errors of ticks depend on a column", errPayload)
	}
	err := cmp.Or(d.decode(t, fieldStartError, found, d.ticks.startErrors, b), d.decode(t, fieldEndError, found, d.ticks.endErrors, b))
	if err != nil {
		return fmt.Errorf("errors of ticks of kind %d: %w", t.kind, err)
	}
	d.ticks.join()
	t.columns[t.time].cells.store(b, d.ticks.gaps)
	t.columns[fieldDuration-fieldFirst].cells.store(b, d.ticks.lengths)
	return nil
}

// column decodes the i-th column of t into b; what is in ticks, into ticks.
func (d *decoder) column(t *table, i int, found *[32]encoded, rows int, b *event.Batch) error {
	cells := t.columns[i].cells
	c := &found[i+fieldFirst]
	if d.ticks.tick != 0 && (i == t.time || i+fieldFirst == fieldDuration) {
		into := &d.ticks.gaps
		if i != t.time {
			into = &d.ticks.lengths
		}
		*into = resize(*into, rows)
		return d.decode(t, i+fieldFirst, found, *into, b)
	}
	if c.constant() {
		cells.fill(b, rows, c.base)
		return nil
	}
	if err := d.decode(t, i+fieldFirst, found, d.values, b); err != nil {
		return err
	}
	cells.store(b, d.values)
	return nil
}

// decode sets values to those of the column that is a field of t.
func (d *decoder) decode(t *table, field int, found *[32]encoded, values []uint64, b *event.Batch) error {
	c := &found[field]
	switch {
	case c.how.chain > chainEnd:
		return fmt.Errorf("%w: unknown chain %d", errPayload, c.how.chain)
	case c.how.chain == chainEnd && (!t.lasts || field <= fieldDuration || d.ticks.tick != 0):
		return fmt.Errorf("%w: it has no durations to be chained to", errPayload)
	case !c.layout.valid(len(c.planes), len(values)):
		return fmt.Errorf("%w: %d bytes for %d rows, of which the first plane has %d bits", errPayload, len(c.planes), len(values), c.layout.low)
	}
	if c.how.key != 0 {
		if err := d.context(t, field, found, c.how, b); err != nil {
			return err
		}
	}
	if c.how.chain == chainEnd && !d.timed {
		d.timed = true
		d.durations = resize(d.durations, len(values))
		t.columns[fieldDuration-fieldFirst].cells.load(b, 0, d.durations)
	}
	join(values, c.planes, c.layout)
	restore(values, c.base, c.how, d.slots, d.durations, &d.memory)
	return nil
}

// context sets slots to those of a key, which is a column that has been decoded.
func (d *decoder) context(t *table, field int, found *[32]encoded, how coding, b *event.Batch) error {
	key := how.key - fieldFirst
	ticked := d.ticks.tick != 0 && (key == t.time || how.key == fieldDuration)
	if key < 0 || key >= len(t.columns) || how.key == field || ticked || !found[how.key].stands() {
		return fmt.Errorf("%w: its key is no column that stands for itself", errPayload)
	}
	if how.depth > maxDepth {
		return fmt.Errorf("%w: a key of %d rows", errPayload, how.depth)
	}
	if how.chain = chainBase; d.keyed == how {
		return nil
	}
	d.keyed = how
	t.columns[key].cells.load(b, 0, d.keys)
	if how.depth > 0 {
		differences(d.keys, found[how.key].base, found[how.key].how.chain)
	}
	contexts(d.slots, d.keys, how.depth)
	return nil
}
