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
	slots                   []uint32
	keyed                   coding // whose slots those are
	timed                   bool
	memory                  *memory // nil until a column is keyed
	ticks                   ticks
	scale                   uint // of the table's times
	launches                launches

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

// needs tells whether events of a kind are to be decoded: calls can need kernels.
func (d *decoder) needs(kind event.Kind) bool {
	only := d.only
	if only&(1<<event.KindCall) != 0 {
		only |= 1 << event.KindKernel
	}
	return only == 0 || only&(1<<kind) != 0
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
			if !d.needs(event.Kind(f.number)) {
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
	if t := d.byKind[event.KindKernel]; d.only != 0 && d.only&(1<<event.KindKernel) == 0 {
		d.begun -= t.rows(b)
		for _, c := range t.columns {
			c.cells.reset(b)
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
