package trace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/warpscope/warpscope/agent/event"
)

// forge makes a file of one frame with a valid checksum and any payload.
func forge(h frameHeader, stored []byte) []byte {
	b := appendFileHeader(nil)
	at := len(b)
	b = append(b, make([]byte, frameHeaderSize)...)
	b = append(b, stored...)
	h.stored, h.sum = uint32(len(stored)), checksum(stored)
	if h.raw == 0 {
		h.raw = h.stored
	}
	h.put(b[at:])
	return b
}

// TestHostile reads files that declare much: each must end with a report or a typed error, and
// take no more memory than a legitimate file of the largest size.
func TestHostile(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	varint := func(b []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	nested := func(b []byte, field protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
	}
	bomb := z.EncodeAll(make([]byte, 200<<20), nil)
	empties := make([]byte, 0, maxControl)
	for len(empties) < maxControl-2 {
		empties = append(empties, 0x12, 0) // an empty launch
	}
	table := varint(nil, fieldRows, 1<<40)
	manyTables := []byte{}
	for kind := range protowire.Number(17) {
		manyTables = nested(manyTables, kind+1, varint(nil, fieldRows, maxRows))
	}
	keyed := func(key, keysKey uint64) []byte {
		table := nested(varint(nil, fieldRows, 1), 4, varint(nil, columnKey, key))
		return nested(nil, 1, nested(table, protowire.Number(key), varint(nil, columnKey, keysKey)))
	}
	ticking := varint(varint(nil, fieldRows, 1), fieldTick, 1<<63)
	ticking = nested(nil, 1, nested(ticking, 4, varint(nil, columnChain, uint64(chainEnd))))
	for _, c := range []struct {
		name string
		h    frameHeader
		data []byte
		fail bool // ends with an error
	}{
		{"bomb", frameHeader{typ: frameBatch, flags: flagZstd, raw: 1000}, bomb, false},
		{"bomb as declared", frameHeader{typ: frameBatch, flags: flagZstd, raw: 200 << 20}, bomb, false},
		{"rows", frameHeader{typ: frameBatch, raw: uint32(len(table) + 2), rows: 7}, nested(nil, 1, table), false},
		{"tables", frameHeader{typ: frameBatch, raw: uint32(len(manyTables)), rows: maxRows}, manyTables, false},
		{"keyed by itself", frameHeader{typ: frameBatch, rows: 1}, keyed(4, 4), false},
		{"keyed in a circle", frameHeader{typ: frameBatch, rows: 1}, keyed(9, 4), false},
		{"keyed by nothing", frameHeader{typ: frameBatch, rows: 1}, keyed(25, 0), false},
		{"ticks chained to ends", frameHeader{typ: frameBatch, rows: 1}, ticking, false},
		{"launches", frameHeader{typ: frameDefinitions, raw: uint32(len(empties))}, empties, false},
		{"identifiers", frameHeader{typ: frameDefinitions, raw: 6}, varint(nil, 12, 1<<32-1), true},
		{"process", frameHeader{typ: frameBatch, raw: 3}, varint(nil, batchProcess, 3), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := NewReader(bytes.NewReader(forge(c.h, c.data)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := collect(r)
			runtime.ReadMemStats(&after)
			var corrupt *CorruptError
			if errors.As(err, &corrupt) != c.fail || err != nil && !c.fail {
				t.Errorf("error: %v", err)
			}
			if report := r.Report(); got.items > 0 || !c.fail && report.DamageCount != 1 {
				t.Errorf("%d items, report %+v", got.items, report)
			}
			// 3 payloads: as read, decompressed, decoded.
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 3*maxPayload {
				t.Errorf("%d MiB allocated", taken>>20)
			}
		})
	}
}

// TestHostileIndex gives indexes that send the reader in circles or far away.
func TestHostileIndex(t *testing.T) {
	file, _ := sample(t, rand.New(rand.NewPCG(1, 2)), 1, 5)
	e, _ := testCodec(t)
	frames := offsets(t, file)
	last := frames[len(frames)-2]
	for name, x := range map[string]indexWriter{
		"itself":   {previous: int64(last)},
		"negative": {previous: -5},
		"nowhere":  {previous: 17},
	} {
		bad := e.message(bytes.Clone(file[:last]), x.payload(), frameHeader{typ: frameIndex})
		bad = appendTrailer(bad, int64(last), len(bad)-last)
		got, _ := collectBytes(t, bad, WithRange(0, 1<<62))
		if got.provenance == nil || got.summary == nil {
			t.Errorf("%s: the trace was not read from its beginning", name)
		}
	}
	var x indexWriter
	h := frameHeader{typ: frameBatch, stored: 1 << 20, min: 1, max: 2}
	for range 1000 {
		x.add(int64(frames[1]), &h, &[32]uint32{1: 5})
		x.add(1<<62, &h, &[32]uint32{1: 5})
	}
	bad := e.message(bytes.Clone(file[:last]), x.payload(), frameHeader{typ: frameIndex})
	bad = appendTrailer(bad, int64(last), len(bad)-last)
	got, report := collectBytes(t, bad, WithRange(0, 1<<62))
	if got.items != 0 || report.DamageCount != 2 {
		t.Errorf("%d items, report %+v", got.items, report)
	}
}

// TestHostileFrames nests frames with wrong checksums: the search must not be quadratic. It reads
// each byte a bounded number of times; counted here, as time is not.
func TestHostileFrames(t *testing.T) {
	const size = 1 << 20
	b := appendFileHeader(nil)
	for len(b) < size {
		var h [frameHeaderSize]byte
		(&frameHeader{typ: frameBatch, stored: uint32(size), raw: 1, sum: 1}).put(h[:])
		b = append(b, h[:]...)
	}
	b = append(b, make([]byte, size)...)
	report := &reporter{}
	s := &scanner{in: window{r: bytes.NewReader(b[fileHeaderSize:])}, report: report}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if limit := int64(2*maxPayload + 4*size); s.wasted > limit {
		t.Errorf("%d bytes were summed up in vain", s.wasted)
	}
}

// FuzzReader reads anything, in every way there is.
func FuzzReader(f *testing.F) {
	file, _ := sample(f, rand.New(rand.NewPCG(1, 1)), 2, 6)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add(file[:fileHeaderSize])
	f.Add([]byte{})
	// Without compression a fuzzer reaches the payloads' inside.
	f.Add(forge(frameHeader{typ: frameDefinitions}, []byte("\x0a\x01a\x12\x00\x1a\x02\x08\x01\x58\x01")))
	f.Add(forge(frameHeader{typ: frameBatch, rows: 1}, []byte("\x0a\x08\x08\x01\x12\x04\x10\x02\x18\x01")))
	f.Add(forge(frameHeader{typ: frameLive, rows: 2}, []byte("\x0a\x02\x08\x02\x10\x05\x18\x01")))
	f.Add(forge(frameHeader{typ: frameSummary}, []byte("\x0a\x04\x08\x01\x10\x07")))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = mend(data)
		var all, ahead int
		for _, options := range [][]ReadOption{nil, {WithReadAhead(2)}, {WithGrowing()}, {WithRange(1, 1<<40), WithCheckpoint()}} {
			r, err := NewReader(bytes.NewReader(data), options...)
			if err != nil {
				if !known(err) {
					t.Fatalf("untyped error: %v", err)
				}
				return
			}
			c, err := collect(r)
			if err != nil && !known(err) {
				t.Fatalf("untyped error: %v", err)
			}
			report := r.Report()
			_ = report.String()
			switch {
			case options == nil:
				all = c.items
			case r.ahead != nil:
				ahead = c.items
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if all != ahead {
			t.Fatalf("%d items, %d when reading ahead", all, ahead)
		}
		var out bytes.Buffer
		if _, err := Recover(&out, bytes.NewReader(data)); err == nil {
			c, report := collectBytes(t, out.Bytes())
			if !report.Complete || report.DamageCount > 0 || c.summary == nil {
				t.Fatalf("recovered trace: %s", report.String())
			}
		}
	})
}

func known(err error) bool {
	var version *VersionError
	var corrupt *CorruptError
	return errors.Is(err, ErrNotTrace) || errors.Is(err, ErrTruncated) || errors.As(err, &version) || errors.As(err, &corrupt)
}

// mend corrects the checksums of data, so that fuzzing reaches what lies behind them.
func mend(data []byte) []byte {
	data = bytes.Clone(data)
	if len(data) >= fileHeaderSize {
		le32(data[12:], checksum(data[:12]))
	}
	m := marker()
	for at := 0; ; {
		i := bytes.Index(data[at:], m[:])
		if i < 0 {
			return data
		}
		at += i
		if len(data) < at+frameHeaderSize {
			return data
		}
		header := data[at : at+frameHeaderSize]
		le32(header[52:], checksum(header[:52]))
		if h, ok := parseFrameHeader(header); ok && len(data) >= at+h.size() {
			le32(header[48:], checksum(data[at+frameHeaderSize:at+h.size()]))
			le32(header[52:], checksum(header[:52]))
		}
		at += frameHeaderSize
	}
}

// FuzzBatch decodes any payload.
func FuzzBatch(f *testing.F) {
	e, d := testCodec(f)
	frame := e.batch(nil, randomBatch(rand.New(rand.NewPCG(2, 2)), 5), 0)
	h, _ := parseFrameHeader(frame)
	payload, err := d.payload(&h, frame[frameHeaderSize:])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(payload), h.rows)
	batch := idle(rand.New(rand.NewPCG(2, 3)), tickRows)
	newGPT(1, 32).fill(batch, tickRows)
	frame = e.batch(nil, batch, 0)
	if h, _ = parseFrameHeader(frame); h.flags != 0 {
		if payload, err = d.payload(&h, frame[frameHeaderSize:]); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(payload), h.rows)
	}
	small, _ := hex.DecodeString("0a0408011202080a")
	f.Add(small, uint32(1))
	f.Fuzz(func(t *testing.T, payload []byte, rows uint32) {
		var b event.Batch
		h := frameHeader{rows: rows}
		if err := d.batch(payload, &h, &b); err != nil {
			if !errors.Is(err, errPayload) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if err := check(d.schema, &b); err != nil {
			t.Fatal(err)
		}
		// What can be decoded can be written again.
		again := e.batch(nil, &b, 0)
		h, _ = parseFrameHeader(again)
		payload, err := d.payload(&h, again[frameHeaderSize:])
		if err != nil {
			t.Fatal(err)
		}
		var c event.Batch
		if err := d.batch(payload, &h, &c); err != nil || !same(&b, &c) {
			t.Fatalf("second round differs: %v", err)
		}
	})
}
