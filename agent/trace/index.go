package trace

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

// indexed is one frame as the index knows it.
type indexed struct {
	offset   int64
	length   uint32
	typ      frameType
	process  event.ProcessID
	kinds    uint32 // bits
	min, max event.Time
}

// indexWriter collects entries in encoded form.
type indexWriter struct {
	entries  []byte
	n        int
	previous int64
}

// add notes a frame that has been written.
func (x *indexWriter) add(offset int64, h *frameHeader, counts *[32]uint32) {
	e := &tracepb.Entry{Offset: uint64(offset), Length: uint32(h.size()), Type: uint32(h.typ),
		Process: uint32(h.process), MinTime: int64(h.min), MaxTime: int64(h.max)}
	if counts != nil {
		for kind, n := range counts {
			if n > 0 {
				e.Counts = append(e.Counts, &tracepb.Count{Kind: uint32(kind), Count: uint64(n)})
			}
		}
	}
	x.entries = protowire.AppendTag(x.entries, 2, protowire.BytesType)
	x.entries = protowire.AppendVarint(x.entries, uint64(proto.Size(e)))
	// An entry holds only numbers: it always marshals.
	x.entries, _ = proto.MarshalOptions{}.MarshalAppend(x.entries, e)
	x.n++
}

// payload returns the message of the entries collected since the last one.
func (x *indexWriter) payload() []byte {
	var b []byte
	if x.previous != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(x.previous))
	}
	return append(b, x.entries...)
}

// written forgets the entries that are now in the index frame at offset.
func (x *indexWriter) written(offset int64) {
	x.entries, x.n, x.previous = x.entries[:0], 0, offset
}

// unmarshalIndex decodes the payload of an index frame.
func unmarshalIndex(payload []byte) (previous int64, entries []indexed, err error) {
	for rest := payload; len(rest) > 0; {
		var f field
		if f, rest, err = next(rest); err != nil {
			return 0, nil, err
		}
		switch {
		case f.number == 1 && f.typ == protowire.VarintType:
			previous = int64(f.varint)
		case f.number == 2 && f.typ == protowire.BytesType:
			if len(entries) == maxEntries {
				return 0, nil, fmt.Errorf("%w: it has more than %d entries", errPayload, maxEntries)
			}
			if err := few(f.bytes); err != nil {
				return 0, nil, err
			}
			var m tracepb.Entry
			if err := proto.Unmarshal(f.bytes, &m); err != nil {
				return 0, nil, fmt.Errorf("%w: %w", errPayload, err)
			}
			x := indexed{offset: int64(m.Offset), length: m.Length, typ: frameType(min(m.Type, 255)), process: event.ProcessID(m.Process),
				min: event.Time(m.MinTime), max: event.Time(m.MaxTime)}
			for _, c := range m.Counts {
				if c.Kind < 32 {
					x.kinds |= 1 << c.Kind
				}
			}
			entries = append(entries, x)
		}
	}
	return previous, entries, nil
}
