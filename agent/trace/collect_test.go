package trace

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// collected is everything that a trace delivered, the batches of a process joined.
type collected struct {
	provenance  *event.Provenance
	definitions event.Definitions
	batches     map[event.ProcessID]*event.Batch
	lives       []event.LiveSet
	summary     *event.Summary
	items       int
}

func (c *collected) Define(d *event.Definitions) error {
	c.definitions.Strings = append(c.definitions.Strings, d.Strings...)
	c.definitions.Launches = append(c.definitions.Launches, d.Launches...)
	c.definitions.Frames = append(c.definitions.Frames, d.Frames...)
	c.definitions.Stacks = append(c.definitions.Stacks, d.Stacks...)
	c.definitions.GPUs = append(c.definitions.GPUs, d.GPUs...)
	c.definitions.Processes = append(c.definitions.Processes, d.Processes...)
	return nil
}

func (c *collected) Batch(b *event.Batch) error {
	if c.batches == nil {
		c.batches = map[event.ProcessID]*event.Batch{}
	}
	to := c.batches[b.Process]
	if to == nil {
		to = &event.Batch{Process: b.Process}
		c.batches[b.Process] = to
	}
	for _, t := range schema() {
		for _, column := range t.columns {
			column.cells.move(to, b, 0, t.rows(b))
		}
	}
	return nil
}

func (c *collected) Live(l *event.LiveSet) error {
	var to, from event.Batch
	from.Allocations = l.Live
	for _, t := range schema() {
		for _, column := range t.columns {
			column.cells.move(&to, &from, 0, t.rows(&from))
		}
	}
	c.lives = append(c.lives, event.LiveSet{Process: l.Process, Time: l.Time, Live: to.Allocations})
	return nil
}

// rows returns how many events of all kinds c has.
func (c *collected) rows() int {
	n := 0
	for _, b := range c.batches {
		for _, t := range schema() {
			n += t.rows(b)
		}
	}
	return n
}

// collect reads r to its end.
func collect(r *Reader) (*collected, error) {
	c := &collected{}
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		c.items++
		if item.Provenance != nil {
			c.provenance = item.Provenance
		}
		if item.Summary != nil {
			c.summary = item.Summary
		}
		if err := put(c, item); err != nil {
			return c, err
		}
	}
}

func collectBytes(t *testing.T, file []byte, options ...ReadOption) (*collected, Report) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file), options...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := collect(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return c, r.Report()
}

// randomValue fills v, which is a definition, provenance or summary, with something in every field.
func randomValue(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		b := make([]byte, 1+rng.IntN(20))
		for i := range b {
			b[i] = byte(rng.Uint32()) // need not be UTF-8
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Struct:
		for i := range v.NumField() {
			randomValue(rng, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			randomValue(rng, v.Index(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+rng.IntN(4), 8))
		for i := range v.Len() {
			randomValue(rng, v.Index(i))
		}
	case reflect.Map: // the writer fills it
	default:
		panic("no random value of " + v.Type().String())
	}
}

func random[T any](rng *rand.Rand) *T {
	v := new(T)
	randomValue(rng, reflect.ValueOf(v).Elem())
	return v
}

// sample writes a trace with everything in it and returns the file and what went in.
func sample(t testing.TB, rng *rand.Rand, rounds, rows int, options ...Option) ([]byte, *collected) {
	t.Helper()
	var file bytes.Buffer
	in := &collected{provenance: random[event.Provenance](rng), summary: random[event.Summary](rng)}
	w, err := NewWriter(&file, *in.provenance, append([]Option{WithCallResolution(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	for range rounds {
		d, b, l := random[event.Definitions](rng), randomBatch(rng, rows), &event.LiveSet{Process: 2, Time: event.Time(1 + rng.Uint64N(1<<40))}
		randomTable(rng, reflect.ValueOf(&l.Live).Elem(), rng.IntN(rows+1))
		steps := idle(rng, 10*rows) // of a GPU's clock, and of a program that repeats itself
		steps.Process = 9
		for _, sink := range []event.Sink{w, in} {
			if err := errors.Join(sink.Define(d), sink.Batch(b), sink.Batch(steps), sink.Live(l)); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(2) == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	given := *in.summary
	if err := w.Close(given); err != nil {
		t.Fatal(err)
	}
	in.summary.Recorded = map[event.Kind]uint64{}
	for _, b := range in.batches {
		for _, tb := range schema() {
			if n := tb.rows(b); n > 0 {
				in.summary.Recorded[tb.kind] += uint64(n)
			}
		}
	}
	return file.Bytes(), in
}

// compare fails if what was read is not what was written.
func compare(t *testing.T, want, got *collected) {
	t.Helper()
	if !reflect.DeepEqual(want.provenance, got.provenance) {
		t.Errorf("provenance: got %+v, want %+v", got.provenance, want.provenance)
	}
	if !same(want.definitions, got.definitions) {
		t.Error("definitions differ")
	}
	if len(want.batches) != len(got.batches) {
		t.Errorf("%d processes, want %d", len(got.batches), len(want.batches))
	}
	for id, b := range want.batches {
		if g := got.batches[id]; g == nil || !same(b, g) {
			t.Errorf("events of process %d differ", id)
		}
	}
	if len(want.lives) != len(got.lives) {
		t.Errorf("%d live sets, want %d", len(got.lives), len(want.lives))
	} else {
		for i := range want.lives {
			if !same(want.lives[i], got.lives[i]) {
				t.Errorf("live set %d differs", i)
			}
		}
	}
	if !sameSummary(want.summary, got.summary) {
		t.Errorf("summary: got %+v, want %+v", got.summary, want.summary)
	}
}

func sameSummary(want, got *event.Summary) bool {
	if want == nil || got == nil {
		return want == got
	}
	w, g := *want, *got
	if len(w.Losses) != len(g.Losses) {
		return false
	}
	for _, l := range w.Losses { // in any order
		found := false
		for _, m := range g.Losses {
			found = found || l == m
		}
		if !found {
			return false
		}
	}
	w.Losses, g.Losses = nil, nil
	return reflect.DeepEqual(w, g)
}

// manual is a clock that only moves when told to.
type manual struct{ t time.Time }

func (m *manual) now() time.Time { return m.t }
