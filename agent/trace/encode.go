package trace

import (
	"fmt"
	"math"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/warpscope/warpscope/agent/event"
)

// Field numbers of the schema that this package writes and reads by hand.
const (
	columnPlanes = 1
	columnBase   = 2
	columnChain  = 3
	columnKey    = 4
	columnLow    = 5
	columnPack   = 6
	columnDepth  = 7

	batchProcess = 31

	liveRows    = 1
	liveTime    = 2
	liveMore    = 3
	liveNumber  = 4
	liveProcess = 31
)

// planeBlock is the size from which on a plane gets zstd blocks of its own, so that its bytes are
// coded by their own frequencies.
const planeBlock = 1 << 10

// span is a piece of a payload: bytes of encoder.heads, then bytes of encoder.bulk in planes.
type span struct {
	head, headEnd int
	bulk, bulkEnd int
	first, plane  int // bytes of the first plane of bulk, and of the others

	kind  event.Kind // of the table that it belongs to, for who measures
	field int        // of the column, where it has planes
}

// encoder turns batches into payloads.
type encoder struct {
	schema []table
	live   table

	values, keys, durations, trial []uint64
	slots                          []uint32
	memory                         memory
	ticks                          ticks

	heads, bulk []byte
	spans       []span

	zstd *zstd.Encoder
	out  sliceWriter

	min, max event.Time // of the rows since begin
	rows     int
	counts   [32]uint32 // rows by kind
}

// sliceWriter collects what is written to it.
type sliceWriter struct{ b []byte }

func (s *sliceWriter) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func newEncoder() (*encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("create compressor: %w", err)
	}
	return &encoder{schema: schema(), live: allocations(), zstd: z}, nil
}

func (e *encoder) begin() {
	e.heads, e.bulk, e.spans = e.heads[:0], e.bulk[:0], e.spans[:0]
	e.min, e.max, e.rows = 0, 0, 0
	e.counts = [32]uint32{}
}

// batch encodes b and appends frame header and payload to dst.
func (e *encoder) batch(dst []byte, b *event.Batch, sequence uint32) []byte {
	e.begin()
	for i := range e.schema {
		t := &e.schema[i]
		if n := t.rows(b); n > 0 {
			e.table(t, protowire.Number(t.kind), b, 0, n)
		}
	}
	head := len(e.heads)
	e.varint(batchProcess, uint64(b.Process))
	e.spans = append(e.spans, span{head: head, headEnd: len(e.heads)})
	return e.seal(dst, frameHeader{typ: frameBatch, process: b.Process, sequence: sequence})
}

// liveSet encodes rows [from, to) of l, its part-th part, and appends frame header and payload to dst.
func (e *encoder) liveSet(dst []byte, l *event.LiveSet, part, from, to int, sequence uint32) []byte {
	e.begin()
	b := event.Batch{Allocations: l.Live}
	if to > from {
		e.table(&e.live, liveRows, &b, from, to-from)
	}
	head := len(e.heads)
	e.varint(liveTime, protowire.EncodeZigZag(int64(l.Time)))
	if to < len(l.Live.Address) {
		e.varint(liveMore, 1)
	}
	if part > 0 {
		e.varint(liveNumber, uint64(part))
	}
	e.varint(liveProcess, uint64(l.Process))
	e.spans = append(e.spans, span{head: head, headEnd: len(e.heads)})
	e.min, e.max = l.Time, l.Time
	return e.seal(dst, frameHeader{typ: frameLive, process: l.Process, sequence: sequence})
}

func (e *encoder) varint(field protowire.Number, v uint64) {
	e.heads = protowire.AppendTag(e.heads, field, protowire.VarintType)
	e.heads = protowire.AppendVarint(e.heads, v)
}

// table encodes n rows of one table, from first on.
func (e *encoder) table(t *table, field protowire.Number, b *event.Batch, first, n int) {
	e.rows += n
	e.counts[t.kind] += uint32(n)
	opening := len(e.spans)
	e.spans = append(e.spans, span{}) // the table's tag and length, known at the end
	head := len(e.heads)
	e.varint(fieldRows, uint64(n))
	e.values, e.keys, e.slots = resize(e.values, n), resize(e.keys, n), resize(e.slots, n)
	e.durations, e.trial = resize(e.durations, n), resize(e.trial, n)
	e.ticks.tick = 0
	times := &t.columns[t.time]
	times.cells.load(b, first, e.values)
	if t.lasts {
		t.columns[fieldDuration-fieldFirst].cells.load(b, first, e.durations)
	}
	e.times(e.values, t.lasts)
	if t.ticks {
		if e.ticks.split(e.values, e.durations); e.ticks.tick != 0 {
			e.varint(fieldOrigin, protowire.EncodeZigZag(int64(e.ticks.origin)))
			e.varint(fieldTick, e.ticks.tick)
		}
	}
	e.spans = append(e.spans, span{head: head, headEnd: len(e.heads)})
	for i := range t.columns {
		e.column(t, i, b, first)
	}
	if e.ticks.tick != 0 {
		e.errors(fieldStartError, e.ticks.startErrors)
		e.errors(fieldEndError, e.ticks.endErrors)
	}
	size := 0
	for i := range e.spans[opening+1:] {
		s := &e.spans[opening+1+i]
		size += s.headEnd - s.head + s.bulkEnd - s.bulk
		s.kind = t.kind
	}
	head = len(e.heads)
	e.heads = protowire.AppendTag(e.heads, field, protowire.BytesType)
	e.heads = protowire.AppendVarint(e.heads, uint64(size))
	e.spans[opening] = span{head: head, headEnd: len(e.heads)}
}

// column encodes the i-th column of t.
func (e *encoder) column(t *table, i int, b *event.Batch, first int) {
	c := &t.columns[i]
	values, codings := e.values, c.codings
	switch {
	case e.ticks.tick != 0 && i == t.time:
		values, codings = e.ticks.gaps, c.ticked
	case e.ticks.tick != 0 && i+fieldFirst == fieldDuration:
		values = e.ticks.lengths
	default:
		c.cells.load(b, first, values)
	}
	if len(codings) == 0 {
		e.plain(i+fieldFirst, values)
		return
	}
	if v, same := uniform(values); same {
		e.describe(i+fieldFirst, v, coding{}, plain(), len(e.bulk), len(values))
		return
	}
	how, l := e.choose(t, b, first, values, codings)
	e.context(t, b, first, how)
	base := residuals(values, how, e.slots, e.durations, &e.memory)
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, l)
	e.describe(i+fieldFirst, base, how, l, bulk, len(values))
}

// plain encodes a column by what its values differ from the lowest one. values is used up.
func (e *encoder) plain(field int, values []uint64) {
	base := residuals(values, coding{}, nil, nil, nil)
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, plain())
	e.describe(field, base, coding{}, plain(), bulk, len(values))
}

// errors encodes a column of which most values are -1, 0 or 1.
func (e *encoder) errors(field int, values []uint64) {
	base := lowest(values)
	base -= (base + 1) & 3 // so that these three share their higher bits
	differences(values, base, chainBase)
	l := layout{low: 2, pack: 4} // zstd makes little of a noisy plane of few symbols, but much of four in a byte
	bulk := len(e.bulk)
	e.bulk = planes(e.bulk, values, l)
	e.describe(field, base, coding{}, l, bulk, len(values))
}

// choose returns the coding and the layout of residuals that take the fewest bits on a sample of
// the column.
func (e *encoder) choose(t *table, b *event.Batch, first int, values []uint64, codings []coding) (coding, layout) {
	n := min(len(values), trialRows)
	trial := e.trial[:n]
	best, l, bestCost := codings[0], plain(), math.Inf(1)
	for _, c := range codings {
		copy(trial, values[:n])
		e.context(t, b, first, c)
		residuals(trial, c, e.slots, e.durations, &e.memory)
		if low, cost := cheapest(trial[max(0, n-sampleRows):]); cost < bestCost {
			best, l.low, bestCost = c, low, cost
		}
	}
	return best, l
}

// context sets slots to those of a coding's key.
func (e *encoder) context(t *table, b *event.Batch, first int, how coding) {
	if how.key == 0 {
		return
	}
	key := &t.columns[how.key-fieldFirst]
	key.cells.load(b, first, e.keys)
	if how.depth > 0 {
		c, base := chainBase, uint64(0)
		if len(key.codings) > 0 {
			c, base = key.codings[0].chain, e.keys[0]
		} else {
			base = lowest(e.keys)
		}
		differences(e.keys, base, c)
	}
	contexts(e.slots, e.keys, how.depth)
}

// describe adds the span of a column whose planes are at the end of bulk. One that is 0 in every row
// is left out.
func (e *encoder) describe(field int, base uint64, how coding, l layout, bulk, rows int) {
	size := len(e.bulk) - bulk
	if size == 0 && base == 0 && how == (coding{}) {
		return
	}
	head := len(e.heads)
	if base != 0 {
		e.varint(columnBase, protowire.EncodeZigZag(int64(base)))
	}
	if how.chain != chainBase {
		e.varint(columnChain, uint64(how.chain))
	}
	if how.key != 0 {
		e.varint(columnKey, uint64(how.key))
	}
	if how.depth != 0 {
		e.varint(columnDepth, uint64(how.depth))
	}
	if l.low != 8 {
		e.varint(columnLow, uint64(l.low))
	}
	if l.pack != 1 {
		e.varint(columnPack, uint64(l.pack))
	}
	if size > 0 {
		e.heads = protowire.AppendTag(e.heads, columnPlanes, protowire.BytesType)
		e.heads = protowire.AppendVarint(e.heads, uint64(size))
	}
	// The column's own tag and length stand before what has just been appended.
	size += len(e.heads) - head
	tag := len(e.heads)
	e.heads = protowire.AppendTag(e.heads, protowire.Number(field), protowire.BytesType)
	e.heads = protowire.AppendVarint(e.heads, uint64(size))
	e.spans = append(e.spans,
		span{head: tag, headEnd: len(e.heads)},
		span{head: head, headEnd: tag, bulk: bulk, bulkEnd: len(e.bulk), first: l.first(rows), plane: rows, field: field})
}

// times widens the frame's span of time by a column of times.
func (e *encoder) times(values []uint64, lasts bool) {
	for i, v := range values {
		t := event.Time(v)
		if t == 0 {
			continue
		}
		if e.min == 0 || t < e.min {
			e.min = t
		}
		if lasts {
			t += event.Time(max(0, int64(e.durations[i])))
		}
		e.max = max(e.max, t)
	}
}

// seal compresses the spans and appends frame header and payload to dst.
func (e *encoder) seal(dst []byte, h frameHeader) []byte {
	raw := 0
	for _, s := range e.spans {
		raw += s.headEnd - s.head + s.bulkEnd - s.bulk
	}
	start := len(dst)
	e.out.b = append(dst, make([]byte, frameHeaderSize)...)
	e.zstd.ResetContentSize(&e.out, int64(raw))
	e.each(func(p []byte, own bool) {
		// Writes to a slice do not fail.
		if own {
			_ = e.zstd.Flush()
		}
		_, _ = e.zstd.Write(p)
		if own {
			_ = e.zstd.Flush()
		}
	})
	_ = e.zstd.Close()
	h.flags = flagZstd
	if len(e.out.b)-start-frameHeaderSize >= raw {
		h.flags = 0
		e.out.b = e.out.b[:start+frameHeaderSize]
		e.each(func(p []byte, _ bool) { e.out.b = append(e.out.b, p...) })
	}
	dst, e.out.b = e.out.b, nil
	h.rows, h.min, h.max = uint32(e.rows), e.min, e.max
	finish(dst[start:], h, raw)
	return dst
}

// each calls f for the pieces of the payload in order; own: the piece is a plane worth a block.
func (e *encoder) each(f func(p []byte, own bool)) {
	for _, s := range e.spans {
		f(e.heads[s.head:s.headEnd], false)
		for at, size := s.bulk, s.first; at < s.bulkEnd; at, size = at+size, s.plane {
			f(e.bulk[at:at+size], size >= planeBlock)
		}
	}
}

// message appends the frame of an encoded protobuf message to dst.
func (e *encoder) message(dst, payload []byte, h frameHeader) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeaderSize)...)
	dst = e.zstd.EncodeAll(payload, dst)
	h.flags = flagZstd
	if len(dst)-start-frameHeaderSize >= len(payload) {
		h.flags = 0
		dst = append(dst[:start+frameHeaderSize], payload...)
	}
	finish(dst[start:], h, len(payload))
	return dst
}

// finish fills in the header of the frame that b holds.
func finish(b []byte, h frameHeader, raw int) {
	h.raw, h.stored = uint32(raw), uint32(len(b)-frameHeaderSize)
	h.sum = checksum(b[frameHeaderSize:])
	h.put(b)
}
