package trace

import (
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
	keyed                   int // field whose values keys holds; 0: none
	timed                   bool
	memory                  memory

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
	low    uint
}

// table decodes one table into b.
func (d *decoder) table(t *table, message []byte, b *event.Batch) error {
	var found [32]encoded
	var rows uint64
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		switch {
		case f.number == fieldRows && f.typ == protowire.VarintType:
			rows = f.varint
		case f.typ == protowire.BytesType && f.number >= fieldFirst && int(f.number) < fieldFirst+len(t.columns):
			if err := found[f.number].parse(f.bytes); err != nil {
				return err
			}
		}
	}
	if rows > maxRows || d.begun+int(rows) > maxRows {
		return fmt.Errorf("%w: it declares more than %d rows", errPayload, maxRows)
	}
	d.begun += int(rows)
	d.keyed, d.timed = 0, false
	for i := range t.columns {
		if err := d.column(t, i, &found[i+fieldFirst], int(rows), b); err != nil {
			return fmt.Errorf("column %s of kind %d: %w", t.columns[i].name, t.kind, err)
		}
	}
	return nil
}

func (c *encoded) parse(message []byte) error {
	*c = encoded{low: 8}
	for rest := message; len(rest) > 0; {
		var f field
		var err error
		if f, rest, err = next(rest); err != nil {
			return err
		}
		switch f.number {
		case columnPlanes:
			c.planes = f.bytes
		case columnBase:
			c.base = uint64(protowire.DecodeZigZag(f.varint))
		case columnChain:
			c.how.chain = chain(f.varint)
		case columnKey:
			c.how.key = int(min(f.varint, 1<<16))
		case columnLow:
			if f.varint != 0 {
				c.low = uint(min(f.varint, 9))
			}
		}
	}
	return nil
}

// column decodes the i-th column of t into b.
func (d *decoder) column(t *table, i int, c *encoded, rows int, b *event.Batch) error {
	cells := t.columns[i].cells
	if len(c.planes) == 0 && c.how == (coding{}) {
		cells.fill(b, rows, c.base)
		return nil
	}
	switch {
	case c.how.chain > chainEnd:
		return fmt.Errorf("%w: unknown chain %d", errPayload, c.how.chain)
	case c.how.chain == chainEnd && (!t.lasts || i+fieldFirst <= fieldDuration),
		c.how.key != 0 && (c.how.key < fieldFirst || c.how.key >= i+fieldFirst):
		return fmt.Errorf("%w: it depends on a later column", errPayload)
	case c.low < 1 || c.low > 8:
		return fmt.Errorf("%w: %d bits in the first plane", errPayload, c.low)
	case rows == 0 || len(c.planes)%rows != 0 || len(c.planes)/rows > 9:
		return fmt.Errorf("%w: %d bytes for %d rows", errPayload, len(c.planes), rows)
	}
	d.values, d.keys, d.durations = resize(d.values, rows), resize(d.keys, rows), resize(d.durations, rows)
	if c.how.key != 0 && d.keyed != c.how.key {
		d.keyed = c.how.key
		t.columns[d.keyed-fieldFirst].cells.load(b, 0, d.keys)
	}
	if c.how.chain == chainEnd && !d.timed {
		d.timed = true
		t.columns[fieldDuration-fieldFirst].cells.load(b, 0, d.durations)
	}
	join(d.values, c.planes, c.low)
	restore(d.values, c.base, c.how, d.keys, d.durations, &d.memory)
	cells.store(b, d.values)
	return nil
}
