package trace

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

var breakdownOf = flag.String("trace", "", "the trace that TestBreakdown takes apart")

// TestBreakdown shows with -v where the bytes of real traces go, frame by frame as they are but in
// today's encoding and with call times rounded as the writer does, and checks that the encoding changes nothing.
func TestBreakdown(t *testing.T) {
	files, err := filepath.Glob("../../testdata/real/*.wscope")
	if *breakdownOf != "" {
		files = []string{*breakdownOf}
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("no real traces: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { breakdown(t, f) })
	}
}

// share is what something takes in a file.
type share struct {
	pieces, stored, raw int
}

func (s share) plus(stored, raw int) share {
	return share{s.pieces + 1, s.stored + stored, s.raw + raw}
}

func breakdown(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e, d := testCodec(t)
	s := &scanner{in: window{r: bytes.NewReader(data[fileHeaderSize:])}, report: &reporter{}}
	frames, columns := map[string]share{}, map[string]share{}
	kernels, before, exact, after := 0, len(data), len(data), len(data)
	for {
		f, err := s.next()
		if err != nil {
			break
		}
		name := []string{"?", "provenance", "definitions", "batch", "live set", "summary", "index"}[f.typ]
		if f.typ != frameBatch {
			frames[name] = frames[name].plus(f.size(), int(f.raw))
			continue
		}
		c := decoded{rawFrame: f}
		if c.decode(d); c.err != nil {
			t.Fatal(c.err)
		}
		kernels += len(c.batch.Kernels.Start)
		h, _ := frame(t, e, d, &c.batch)
		exact += h.size() - f.size()
		roundCalls(&c.batch.Calls, 0, callResolution)
		h, payload := frame(t, e, d, &c.batch)
		frames[name] = frames[name].plus(h.size(), int(h.raw))
		after += h.size() - f.size()
		rest := "short columns of programs"
		if c.batch.Process == 0 {
			rest = "short columns of the machine"
		}
		if parts := measure(e, columns, rest); parts != int(h.stored) && h.flags != 0 {
			t.Errorf("the parts of a payload take %d bytes, all of it %d", parts, h.stored)
		}
		var again event.Batch
		if err := d.batch(payload, &h, &again); err != nil || !same(&c.batch, &again) {
			t.Errorf("a batch of %d events is not the same when encoded again: %v", h.rows, err)
		}
	}
	each := func(n int) float64 { return float64(n) / float64(kernels) }
	t.Logf("%d kernels; %.3f bytes each as the file is, %.3f in today's encoding, %.3f with calls' times rounded to %v",
		kernels, each(before), each(exact), each(after), callResolution)
	show := func(shares map[string]share) {
		names := slices.SortedFunc(maps.Keys(shares), func(a, b string) int { return cmp.Compare(shares[b].stored, shares[a].stored) })
		for _, n := range names {
			x := shares[n]
			t.Logf("%-40s %4d × %8d bytes of %8d, %.3f a kernel", n, x.pieces, x.stored, x.raw, float64(x.stored)/float64(kernels))
		}
	}
	show(frames)
	show(columns)
}

// measure adds to shares what the columns of the payload that e has just encoded take, all that have no
// zstd block of their own as rest, and returns the size of the whole.
func measure(e *encoder, shares map[string]share, rest string) int {
	var out bytes.Buffer
	raw := 0
	for _, s := range e.spans {
		raw += s.headEnd - s.head + s.bulkEnd - s.bulk
	}
	e.zstd.ResetContentSize(&out, int64(raw))
	before := 0
	count := func(name string, raw int) {
		_ = e.zstd.Flush()
		shares[name] = shares[name].plus(out.Len()-before, raw)
		before = out.Len()
	}
	for _, s := range e.spans {
		_, _ = e.zstd.Write(e.heads[s.head:s.headEnd])
		for at, size, plane := s.bulk, s.first, 0; at < s.bulkEnd; at, size, plane = at+size, s.plane, plane+1 {
			if size >= planeBlock {
				count(rest, 0)
			}
			_, _ = e.zstd.Write(e.bulk[at : at+size])
			if size >= planeBlock {
				count(fmt.Sprintf("kind %d, %s, plane %d", s.kind, columnName(e, s.kind, s.field), plane), size)
			}
		}
	}
	_ = e.zstd.Close()
	shares[rest] = shares[rest].plus(out.Len()-before, 0)
	return out.Len()
}

func columnName(e *encoder, kind event.Kind, field int) string {
	switch field {
	case fieldStartError:
		return "start_error"
	case fieldEndError:
		return "end_error"
	}
	for i := range e.schema {
		if t := &e.schema[i]; t.kind == kind {
			return t.columns[field-fieldFirst].name
		}
	}
	return "?"
}
