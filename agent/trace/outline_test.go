package trace

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// counting counts the bytes that are read.
type counting struct {
	*bytes.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// extent returns the earliest and the latest time of an event.
func extent(c *collected) (from, to event.Time) {
	e := encoder{}
	for _, b := range c.batches {
		for _, tb := range schema() {
			n := tb.rows(b)
			values := make([]uint64, n)
			e.durations = make([]uint64, n)
			if tb.lasts {
				tb.columns[fieldDuration-fieldFirst].cells.load(b, 0, e.durations)
			}
			tb.columns[tb.time].cells.load(b, 0, values)
			e.times(values, tb.lasts)
		}
	}
	return e.min, e.max
}

func TestOutline(t *testing.T) {
	files, err := filepath.Glob("../../testdata/real/*.wscope")
	if err != nil || len(files) == 0 {
		t.Fatalf("no real traces: %v", err)
	}
	made, _ := sample(t, rand.New(rand.NewPCG(9, 9)), 4, 50)
	traces := map[string][]byte{"made": made}
	for _, f := range files {
		if traces[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range traces {
		src := &counting{Reader: bytes.NewReader(file)}
		o, err := ReadOutline(src)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, _ := collectBytes(t, file)
		from, to := extent(want)
		if o.From != from || o.To != to {
			t.Errorf("%s: from %d to %d, want %d to %d", name, o.From, o.To, from, to)
		}
		if !reflect.DeepEqual(o.Provenance, want.provenance) || !sameSummary(want.summary, o.Summary) {
			t.Errorf("%s: provenance %+v, summary %+v", name, o.Provenance, o.Summary)
		}
		for _, tb := range schema() {
			total := 0
			for id, b := range want.batches {
				n := tb.rows(b)
				total += n
				if got := o.Rows[id][tb.kind]; got != uint64(n) {
					t.Errorf("%s: process %d has %d of kind %d, its outline says %d", name, id, n, tb.kind, got)
				}
			}
			if got := o.Total(tb.kind); got != uint64(total) || got != want.summary.Recorded[tb.kind] {
				t.Errorf("%s: %d of kind %d, its outline says %d", name, total, tb.kind, got)
			}
		}
		// The beginning is looked at in blocks of 64 KiB.
		if limit := 80 << 10; src.n > limit {
			t.Errorf("%s: %d bytes were read", name, src.n)
		}
	}
	if _, err := ReadOutline(bytes.NewReader(made[:len(made)-1])); !errors.Is(err, ErrTruncated) {
		t.Errorf("outline of a trace without its end: %v", err)
	}
	if _, err := ReadOutline(bytes.NewReader([]byte("something else"))); !errors.Is(err, ErrNotTrace) {
		t.Errorf("outline of something else: %v", err)
	}
	var o Outline
	if o.Total(event.KindKernel) != 0 {
		t.Error("an empty outline has kernels")
	}
}
