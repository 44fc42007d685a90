package trace

import (
	"fmt"

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
	columnLag    = 8
	columnReach  = 9

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
	sample                         []uint64
	slots                          []uint32
	keyed                          coding // whose slots those are
	costs                          costs
	memory                         memory
	ticks                          ticks
	scale                          uint // of the table's times
	launches                       launches

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
	return &encoder{schema: schema(), live: allocations(), zstd: z, costs: newCosts()}, nil
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
