package trace

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

// TestRoundCalls checks what rounding promises: nothing moves by more than half a unit, what came before
// something still does not come after it, and what is unknown stays unknown.
func TestRoundCalls(t *testing.T) {
	const unit = 16
	rng := rand.New(rand.NewPCG(9, 1))
	var c event.Calls
	for range 5000 {
		c.Enter = append(c.Enter, event.Time(1+rng.Int64N(40_000)))
		c.Duration = append(c.Duration, rng.Int64N(3000))
	}
	c.Enter[3], c.Duration[4], c.Duration[5] = 0, -1, 0
	before := event.Calls{Enter: append([]event.Time(nil), c.Enter...), Duration: append([]int64(nil), c.Duration...)}
	roundCalls(&c, 100, unit)
	for i := range 100 {
		if c.Enter[i] != before.Enter[i] || c.Duration[i] != before.Duration[i] {
			t.Fatalf("row %d changed, which was rounded earlier", i)
		}
	}
	roundCalls(&c, 0, unit)
	if c.Enter[3] != 0 || c.Duration[4] != -1 || c.Duration[5] != 0 {
		t.Errorf("unknown times became known: %d, %d, %d", c.Enter[3], c.Duration[4], c.Duration[5])
	}
	type moment struct{ exact, rounded int64 }
	var ends []moment
	for i, enter := range c.Enter {
		if enter == 0 {
			continue
		}
		m := []moment{{int64(before.Enter[i]), int64(enter)}}
		if c.Duration[i] >= 0 {
			m = append(m, moment{m[0].exact + before.Duration[i], m[0].rounded + c.Duration[i]})
		}
		for _, m := range m {
			if d := m.rounded - m.exact; m.rounded%unit != 0 || (d > unit/2 || d < -unit/2) && m.exact >= unit/2 {
				t.Fatalf("%d became %d", m.exact, m.rounded)
			}
		}
		ends = append(ends, m...)
	}
	for _, x := range ends[:200] {
		for _, y := range ends {
			if x.exact < y.exact && x.rounded > y.rounded {
				t.Fatalf("%d comes before %d, but %d after %d", x.exact, y.exact, x.rounded, y.rounded)
			}
		}
	}
}

// TestScale checks that what is a multiple of something is found, and is the same after a round trip,
// whatever else stands among the times.
func TestScale(t *testing.T) {
	e, d := testCodec(t)
	rng := rand.New(rand.NewPCG(9, 2))
	var got event.Batch
	scaled := 0
	for round := range 300 {
		g := newGPT(uint64(round), 32)
		var want event.Batch
		g.fill(&want, 1+rng.IntN(3000))
		unit := time.Duration(1) << rng.IntN(12)
		roundCalls(&want.Calls, 0, unit)
		for range rng.IntN(4) {
			c, i := &want.Calls, rng.IntN(len(want.Calls.Enter))
			c.Enter[i] = []event.Time{0, 1 << 62, event.Time(unit), c.Enter[i] + 1, c.Enter[i]}[rng.IntN(5)]
			c.Duration[i] = []int64{0, -1, -1 << 63, int64(unit), 1<<63 - 1}[rng.IntN(5)]
		}
		h, payload := frame(t, e, d, &want)
		if err := d.batch(payload, &h, &got); err != nil {
			t.Fatal(err)
		}
		if !same(&want, &got) {
			t.Fatalf("round %d: calls in units of %v differ after a round trip", round, unit)
		}
		if d.scale > 0 {
			scaled++
		}
	}
	if scaled < 100 || scaled > 290 {
		t.Errorf("%d of 300 tables were scaled", scaled)
	}
}

// TestCallResolution checks that a writer rounds calls, only them, and says so.
func TestCallResolution(t *testing.T) {
	for _, c := range []struct {
		options []Option
		want    uint32
	}{
		{nil, 16},
		{[]Option{WithCallResolution(64)}, 64},
		{[]Option{WithCallResolution(1)}, 0},
	} {
		var file, again bytes.Buffer
		w, err := NewWriter(&file, event.Provenance{}, c.options...)
		if err != nil {
			t.Fatal(err)
		}
		var b event.Batch
		newGPT(1, 0).fill(&b, 1000)
		exact := append([]event.Time(nil), b.Calls.Enter...)
		if err := w.Batch(&b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(event.Summary{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Recover(&again, bytes.NewReader(file.Bytes())); err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{file.Bytes(), again.Bytes()} {
			got, err := collect(mustRead(t, data))
			if err != nil {
				t.Fatal(err)
			}
			if got.provenance.CallResolution != c.want {
				t.Errorf("the trace says %d ns, not %d", got.provenance.CallResolution, c.want)
			}
			read := got.batches[1]
			if !same(&b.Kernels, &read.Kernels) {
				t.Error("kernels changed")
			}
			for i, enter := range read.Calls.Enter {
				if c.want > 0 && uint32(enter)%c.want != 0 || c.want == 0 && enter != exact[i] {
					t.Fatalf("a call began at %d, now at %d", exact[i], enter)
				}
			}
		}
	}
	for _, d := range []time.Duration{0, -16, 3, time.Second} {
		if _, err := NewWriter(&bytes.Buffer{}, event.Provenance{}, WithCallResolution(d)); err == nil {
			t.Errorf("a resolution of %v is taken", d)
		}
	}
}

func mustRead(t *testing.T, data []byte) *Reader {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestScaleRefused checks what a decoder does not take: units beyond all reason, and a column that is keyed
// by one that is in units.
func TestScaleRefused(t *testing.T) {
	_, d := testCodec(t)
	column := func(key uint32) *tracepb.Column { return &tracepb.Column{Planes: []byte{1, 2}, Key: key} }
	for _, c := range []struct {
		name  string
		calls *tracepb.Calls
		takes bool
	}{
		{"32 bits", &tracepb.Calls{Rows: 2, Scale: 32, Enter: column(0)}, true},
		{"33 bits", &tracepb.Calls{Rows: 2, Scale: 33, Enter: column(0)}, false},
		{"keyed by durations", &tracepb.Calls{Rows: 2, Duration: column(0), Thread: column(fieldDuration)}, true},
		{"keyed by durations in units", &tracepb.Calls{Rows: 2, Scale: 4, Duration: column(0), Thread: column(fieldDuration)}, false},
		{"keyed by times in units", &tracepb.Calls{Rows: 2, Scale: 4, Enter: column(0), Thread: column(4)}, false},
	} {
		payload, err := proto.Marshal(&tracepb.Batch{Calls: c.calls})
		if err != nil {
			t.Fatal(err)
		}
		var b event.Batch
		err = d.batch(payload, &frameHeader{typ: frameBatch, rows: 2}, &b)
		if (err == nil) != c.takes || err != nil && !errors.Is(err, errPayload) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.takes && c.calls.Scale == 32 && (b.Calls.Enter[0] != 1<<32 || b.Calls.Enter[1] != 2<<32) {
			t.Errorf("%s: %d", c.name, b.Calls.Enter)
		}
	}
}
