package trace

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

func TestNotATrace(t *testing.T) {
	whole, _ := sample(t, rand.New(rand.NewPCG(1, 1)), 1, 5)
	future := bytes.Clone(whole)
	copy(future, appendFileHeaderVersion(Major+1, 7))
	unix := bytes.Replace(whole[:40], []byte("\r\n"), []byte("\n"), 1)
	for _, c := range []struct {
		name string
		file []byte
		want error
		text string
	}{
		{"empty", nil, ErrNotTrace, "empty"},
		{"foreign", []byte("PK\x03\x04 this is some other file, and long enough for a header of any sort or kind"), ErrNotTrace, `"PK\x03\x04 thi"`},
		{"foreign and short", []byte("no"), ErrNotTrace, `"no"`},
		{"zeros", make([]byte, 1000), ErrNotTrace, "begins with"},
		{"cut in the header", whole[:9], ErrTruncated, "9 bytes"},
		{"line ends", unix, ErrNotTrace, "line ends"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.wscope")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	var version *VersionError
	if _, err := NewReader(bytes.NewReader(future)); !errors.As(err, &version) || version.Major != Major+1 || version.Minor != 7 {
		t.Errorf("future version: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotTrace) {
		t.Errorf("directory: %v", err)
	}
}

// appendFileHeaderVersion is the header of a file of another version.
func appendFileHeaderVersion(major, minor byte) []byte {
	b := appendFileHeader(nil)
	b[8], b[10] = major, minor
	le32(b[12:], checksum(b[:12]))
	return b
}

func le32(b []byte, v uint32) { b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }

// TestNewerMinor checks that what a newer minor version adds is passed over.
func TestNewerMinor(t *testing.T) {
	whole, want := sample(t, rand.New(rand.NewPCG(1, 1)), 2, 20)
	e, _ := testCodec(t)
	first, _ := parseFrameHeader(whole[fileHeaderSize:])
	at := fileHeaderSize + first.size()
	file := append(appendFileHeaderVersion(Major, 9), whole[fileHeaderSize:at]...)
	file = e.message(file, []byte("a frame of another type"), frameHeader{typ: 77, sequence: 1})
	odd := e.message(nil, []byte("stored in another way"), frameHeader{typ: frameBatch, sequence: 1})
	h, _ := parseFrameHeader(odd)
	h.flags = 0x82
	h.put(odd)
	file = append(append(file, odd...), whole[at:]...)
	got, report := collectBytes(t, file)
	compare(t, want, got)
	if report.UnknownFrames != 2 || report.DamageCount != 0 {
		t.Errorf("report: %+v", report)
	}
}

// frames returns where the frames of a file begin, and its length.
func offsets(t *testing.T, file []byte) []int {
	t.Helper()
	var all []int
	at := fileHeaderSize
	for {
		h, ok := parseFrameHeader(file[at:])
		if !ok {
			break
		}
		all = append(all, at)
		at += h.size()
	}
	if len(file)-at != trailerSize {
		t.Fatalf("frames end at %d of %d", at, len(file))
	}
	return append(all, at)
}

// TestTruncation cuts a file at every byte: what precedes the cut must be read, and no more.
func TestTruncation(t *testing.T) {
	file, _ := sample(t, rand.New(rand.NewPCG(5, 5)), 1, 4)
	frames := offsets(t, file)
	for n := range len(file) {
		r, err := NewReader(bytes.NewReader(file[:n]))
		if n < fileHeaderSize {
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotTrace) {
				t.Fatalf("cut at %d: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if _, err := collect(r); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole, at := 0, fileHeaderSize
		for i, f := range frames[1:] {
			if f <= n {
				whole, at = i+1, f
			}
		}
		report := r.Report()
		if report.Frames != whole || report.DamageCount != 0 || report.TruncatedBytes != int64(n-at) ||
			n > at && report.TruncatedAt != int64(at) {
			t.Fatalf("cut at %d, after %d frames and %d bytes: %+v", n, whole, at, report)
		}
		if err := report.Err(); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// TestBitFlips turns round one bit of each byte: the damage must be noticed and cost one frame.
func TestBitFlips(t *testing.T) {
	file, want := sample(t, rand.New(rand.NewPCG(6, 6)), 1, 4)
	frames := offsets(t, file)
	for at := range file {
		bad := bytes.Clone(file)
		bad[at] ^= 1 << (at % 8)
		r, err := NewReader(bytes.NewReader(bad))
		if err != nil {
			t.Fatalf("bit in byte %d: %v", at, err)
		}
		got, err := collect(r)
		if err != nil {
			t.Fatalf("bit in byte %d: %v", at, err)
		}
		report := r.Report()
		if report.Err() == nil {
			t.Fatalf("bit in byte %d: not noticed", at)
		}
		lost := 1
		if at < fileHeaderSize || at >= frames[len(frames)-1] {
			lost = 0 // not in a frame
		}
		if report.Frames != len(frames)-1-lost {
			t.Fatalf("bit in byte %d: %d frames read of %d: %+v", at, report.Frames, len(frames)-1, report)
		}
		// Identifiers keep their places.
		for i, s := range got.definitions.Strings {
			if s != "" && s != want.definitions.Strings[i] {
				t.Fatalf("bit in byte %d: string %d is %q, was %q", at, i, s, want.definitions.Strings[i])
			}
		}
	}
}

// TestMissingPiece takes bytes out of the middle.
func TestMissingPiece(t *testing.T) {
	file, _ := sample(t, rand.New(rand.NewPCG(8, 8)), 6, 40)
	frames := offsets(t, file)
	from, to := frames[3]+70, frames[6]+60
	cut := append(bytes.Clone(file[:from]), file[to:]...)
	got, report := collectBytes(t, cut)
	if report.Frames != len(frames)-1-4 || report.LostFrames != 4 || report.DamageCount != 1 || !report.Complete {
		t.Errorf("%d frames of %d read: %+v", report.Frames, len(frames)-1, report)
	}
	var corrupt *CorruptError
	if err := report.Err(); !errors.As(err, &corrupt) || corrupt.Offset != int64(frames[3]) {
		t.Errorf("error: %v", err)
	}
	if got.summary == nil {
		t.Error("summary after the damage was not read")
	}
}

func TestRange(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{})
	if err != nil {
		t.Fatal(err)
	}
	g := newGPT(1, 32)
	var all event.Batch
	for i := range 40 {
		var b event.Batch
		g.fill(&b, 200)
		b.Process = event.ProcessID(1 + i%2)
		b.Calls = event.Calls{} // they run ahead
		if i%4 == 0 {
			b.Allocations = allocation(b.Kernels.Start[100], uint64(i))
		}
		if i == 10 || i == 20 || i == 30 {
			l := &event.LiveSet{Process: 1, Time: b.Kernels.Start[0], Live: allocation(1, uint64(i))}
			if err := w.Live(l); err != nil {
				t.Fatal(err)
			}
		}
		d := &event.Definitions{Strings: []string{"name"}}
		if err := errors.Join(w.Define(d), w.Batch(&b), w.Flush()); err != nil {
			t.Fatal(err)
		}
		all.Kernels.Start = append(all.Kernels.Start, b.Kernels.Start...)
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	from, to := all.Kernels.Start[200*26+50], all.Kernels.Start[200*28+50]
	for _, c := range []struct {
		name    string
		options []ReadOption
		kernels int
		allocs  []uint64 // their sequence numbers
		lives   int
		frames  int // read through the index
	}{
		{"range", []ReadOption{WithRange(from, to)}, 600, []uint64{28}, 0, 1 + 40 + 3 + 1},
		{"process", []ReadOption{WithRange(from, to), WithProcesses(1)}, 400, []uint64{28}, 0, 1 + 40 + 2 + 1},
		{"kinds", []ReadOption{WithKinds(event.KindAllocation)}, 0, []uint64{0, 4, 8, 12, 16, 20, 24, 28, 32, 36}, 3, 1 + 40 + 10 + 3 + 1},
		{"range and kind", []ReadOption{WithKinds(event.KindKernel), WithRange(from, to)}, 600, nil, 0, 1 + 40 + 3 + 1},
		{"checkpoint", []ReadOption{WithRange(from, to), WithCheckpoint()}, 600, []uint64{20, 24, 28}, 1, 1 + 40 + 1 + 2 + 3 + 1},
		{"nothing", []ReadOption{WithRange(1, 2)}, 0, nil, 0, 1 + 40 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, report := collectBytes(t, file.Bytes(), c.options...)
			kernels, sequences := found(got)
			if kernels != c.kernels || !equal(sequences, c.allocs) || len(got.lives) != c.lives {
				t.Errorf("%d kernels, allocations %v, %d live sets; want %d, %v, %d", kernels, sequences, len(got.lives), c.kernels, c.allocs, c.lives)
			}
			if report.Frames != c.frames || report.Err() != nil || len(got.definitions.Strings) != 40 {
				t.Errorf("%d frames read, want %d; %v; %d strings", report.Frames, c.frames, report.Err(), len(got.definitions.Strings))
			}
			// A stream that cannot seek delivers the same, checkpoints at least.
			r, err := NewReader(io.MultiReader(bytes.NewReader(file.Bytes())), append(c.options, WithReadAhead(2))...)
			if err != nil {
				t.Fatal(err)
			}
			streamed, err := collect(r)
			if err != nil {
				t.Fatal(err)
			}
			if k, s := found(streamed); k != kernels || c.name != "checkpoint" && !equal(s, sequences) || !contains(s, sequences) {
				t.Errorf("streamed: %d kernels, allocations %v", k, s)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func allocation(at event.Time, sequence uint64) event.Allocations {
	return event.Allocations{Sequence: []uint64{sequence}, Enter: []event.Time{at}, Duration: []int64{5}, Op: []event.AllocOp{event.OpAlloc},
		Space: []event.Space{event.SpaceDevice}, Address: []uint64{1 << 40}, Size: []uint64{512}, Handle: []uint64{0}, Device: []int32{0},
		Context: []uint32{1}, Stream: []uint32{event.NoStream}, Thread: []uint32{1}, API: []event.StringID{1}, Result: []int32{0},
		Known: []bool{true}, Stack: []event.StackID{0}}
}

func found(c *collected) (kernels int, sequences []uint64) {
	for _, id := range []event.ProcessID{1, 2} {
		if b := c.batches[id]; b != nil {
			kernels += len(b.Kernels.Start)
			sequences = append(sequences, b.Allocations.Sequence...)
		}
	}
	return kernels, sequences
}

func equal(a, b []uint64) bool { return len(a) == len(b) && contains(a, b) }

func contains(all, some []uint64) bool {
	for _, v := range some {
		ok := false
		for _, w := range all {
			ok = ok || v == w
		}
		if !ok {
			return false
		}
	}
	return true
}

// TestDamagedIndex checks that a trace with a wrong index is read from the beginning.
func TestDamagedIndex(t *testing.T) {
	file, want := sample(t, rand.New(rand.NewPCG(9, 9)), 3, 30)
	frames := offsets(t, file)
	for _, at := range []int{len(file) - 3, frames[len(frames)-2] + 70} {
		bad := bytes.Clone(file)
		bad[at] ^= 4
		got, _ := collectBytes(t, bad, WithRange(0, 1<<62))
		if got.rows() != want.rows() && len(got.lives) != len(want.lives) {
			t.Errorf("bit in byte %d: %d events of %d", at, got.rows(), want.rows())
		}
	}
}

// growing is a file to which somebody appends.
type growing struct {
	data []byte
	at   int
}

func (g *growing) Read(p []byte) (int, error) {
	n := copy(p, g.data[g.at:])
	if g.at += n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestGrowing(t *testing.T) {
	file, want := sample(t, rand.New(rand.NewPCG(10, 10)), 4, 20)
	src := &growing{data: file[:fileHeaderSize]}
	r, err := NewReader(src, WithGrowing())
	if err != nil {
		t.Fatal(err)
	}
	got := &collected{}
	for n := fileHeaderSize; n <= len(file); n = min(n+13, len(file)) {
		src.data = file[:n]
		more, err := collect(r)
		if err != nil {
			t.Fatal(err)
		}
		if more.provenance != nil {
			got.provenance = more.provenance
		}
		if more.summary != nil {
			got.summary = more.summary
		}
		_ = got.Define(&more.definitions)
		for _, b := range more.batches {
			_ = got.Batch(b)
		}
		got.lives = append(got.lives, more.lives...)
		report := r.Report()
		if complete := n == len(file); report.Complete != complete || report.DamageCount != 0 || report.TruncatedBytes != 0 {
			t.Fatalf("at %d of %d bytes: %+v", n, len(file), report)
		}
		if n == len(file) {
			break
		}
	}
	compare(t, want, got)
}

func TestRecover(t *testing.T) {
	file, want := sample(t, rand.New(rand.NewPCG(11, 11)), 5, 30)
	frames := offsets(t, file)
	batch := 0
	for _, at := range frames {
		if h, ok := parseFrameHeader(file[at:]); ok && h.typ == frameBatch && h.rows > 0 {
			batch = at
		}
	}
	for _, c := range []struct {
		name string
		file []byte
		note string
		lost bool
	}{
		{"killed", file[:frames[len(frames)-3]], "not finished", false},
		{"cut", file[:frames[len(frames)-3]+9], "within a frame", false},
		{"damaged", flip(file, batch+80), "damaged in 1 places", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := collectBytes(t, c.file)
			var out bytes.Buffer
			if _, err := Recover(&out, bytes.NewReader(c.file)); err != nil {
				t.Fatal(err)
			}
			got, report := collectBytes(t, out.Bytes(), WithRange(0, 1<<62))
			if err := report.Err(); err != nil || got.rows() != before.rows() {
				t.Errorf("recovered trace: %v, %d events of %d", err, got.rows(), before.rows())
			}
			if notes := strings.Join(got.summary.Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("notes of the recovered trace: %q", notes)
			}
			torn := false
			for _, l := range got.summary.Losses {
				torn = torn || l.Cause == event.LossTorn && l.Kind == event.KindUnknown
			}
			if torn != c.lost {
				t.Errorf("losses: %+v", got.summary.Losses)
			}
			if c.lost && got.rows() >= want.rows() {
				t.Error("nothing was lost in the damaged trace")
			}
		})
	}
}

func flip(file []byte, at int) []byte {
	bad := bytes.Clone(file)
	bad[at] ^= 1
	return bad
}

// TestCloseEarly closes readers in the middle: no goroutine may be left waiting.
func TestCloseEarly(t *testing.T) {
	file, _ := sample(t, rand.New(rand.NewPCG(12, 12)), 30, 30)
	for n := range 12 {
		r, err := NewReader(bytes.NewReader(file), WithReadAhead(1+n%4))
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); !errors.Is(err, ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
	}
}

// broken is a source that fails.
type broken struct{ *bytes.Reader }

var errBroken = errors.New("input/output error")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p[:min(len(p), 100)])
	if errors.Is(err, io.EOF) {
		err = errBroken
	}
	return n, err
}

func TestBrokenSource(t *testing.T) {
	file, _ := sample(t, rand.New(rand.NewPCG(13, 13)), 3, 30)
	for _, ahead := range []int{0, 2} {
		r, err := NewReader(struct{ io.Reader }{broken{bytes.NewReader(file[:len(file)-200])}}, WithReadAhead(ahead))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := collect(r); !errors.Is(err, errBroken) {
			t.Errorf("ahead %d: %v", ahead, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecoverIntoLimit recovers a trace into less room than it needs.
func TestRecoverIntoLimit(t *testing.T) {
	file, err := os.ReadFile("../../testdata/real/generate.wscope")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Recover(&out, bytes.NewReader(file), WithMaxSize(64<<10)); err != nil {
		t.Fatal(err)
	}
	got, report := collectBytes(t, out.Bytes())
	want, _ := collectBytes(t, file)
	lost := uint64(0)
	for _, l := range got.summary.Losses {
		if l.Kind == event.KindKernel && l.Cause == event.LossTraceFull {
			lost = l.Count
		}
	}
	kernels, all := got.summary.Recorded[event.KindKernel], want.summary.Recorded[event.KindKernel]
	if out.Len() > 64<<10 || report.Err() != nil || kernels < 5000 || kernels+lost != all {
		t.Errorf("%d bytes with %d kernels, %d lost of %d; %s", out.Len(), kernels, lost, all, report.String())
	}
}
