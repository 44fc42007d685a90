package trace

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

// idle returns calls whose kernels find the GPU idle.
func idle(rng *rand.Rand, n int) *event.Batch {
	b := &event.Batch{}
	newGPT(rng.Uint64(), 32).fill(b, n)
	at := int64(5e12)
	for i := range b.Calls.Enter {
		at += 5000 + rng.Int64N(50_000)
		b.Calls.Enter[i] = event.Time(at)
		at += b.Calls.Duration[i]
		b.Kernels.Start[i] = event.Time((at + 1500 + rng.Int64N(200)) &^ 31)
		b.Kernels.Duration[i] = 1024 + 32*rng.Int64N(4)
	}
	return b
}

// TestLaunches checks calls that are told by the kernels they launched.
func TestLaunches(t *testing.T) {
	e, d := testCodec(t)
	rng := rand.New(rand.NewPCG(3, 9))
	for _, c := range []struct {
		name string
		// change makes something else of calls and their kernels.
		change func(*event.Batch)
		used   bool
	}{
		{"as it is", func(*event.Batch) {}, true},
		{"some launch nothing", func(b *event.Batch) {
			for i := 0; i < len(b.Calls.Enter); i += 3 {
				b.Calls.Correlation[i] = 1 << 31
			}
		}, true},
		{"several kernels each", func(b *event.Batch) {
			for i := range b.Kernels.Correlation {
				b.Kernels.Correlation[i] = b.Kernels.Correlation[i/2*2]
			}
		}, true},
		{"unknown times", func(b *event.Batch) {
			for i := 0; i < len(b.Calls.Enter); i += 100 {
				b.Calls.Duration[i], b.Kernels.Start[i], b.Calls.Enter[i+1] = -1, 0, 0
			}
		}, true},
		{"extremes", func(b *event.Batch) {
			for i := 0; i < len(b.Calls.Enter); i += 100 {
				b.Calls.Duration[i], b.Kernels.Start[i] = 1<<63-1, -1<<63
				b.Calls.Duration[i+1], b.Kernels.Start[i+1] = -1<<63, 1<<63-1
			}
		}, true},
		{"a busy GPU", func(b *event.Batch) {
			for i := range b.Kernels.Start {
				b.Kernels.Start[i] += event.Time(1e6 + rng.Int64N(1e6))
			}
		}, false},
		{"no kernels", func(b *event.Batch) { b.Kernels = event.Kernels{} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := idle(rng, 3000)
			c.change(want)
			h, payload := frame(t, e, d, want)
			var message tracepb.Batch
			if err := proto.Unmarshal(payload, &message); err != nil {
				t.Fatal(err)
			}
			if used := message.Calls.Enter.Chain == tracepb.Chain_LAUNCH; used != c.used {
				t.Errorf("calls are told by kernels: %v", used)
			}
			var got event.Batch
			if err := d.batch(payload, &h, &got); err != nil || !same(want, &got) {
				t.Errorf("decoded batch differs: %v", err)
			}
		})
	}
}

// TestCallsWithoutKernels asks for calls alone, which are told by kernels.
func TestCallsWithoutKernels(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, event.Provenance{}, WithCallResolution(1))
	if err != nil {
		t.Fatal(err)
	}
	want := idle(rand.New(rand.NewPCG(4, 9)), 3000)
	if err := errors.Join(w.Batch(want), w.Close(event.Summary{})); err != nil {
		t.Fatal(err)
	}
	got, report := collectBytes(t, file.Bytes(), WithKinds(event.KindCall))
	if !same(got.batches[1].Calls, want.Calls) || len(got.batches[1].Kernels.Start) != 0 || got.rows() != 3000 || report.Err() != nil {
		t.Errorf("%d events, %s", got.rows(), report.String())
	}
	got, _ = collectBytes(t, file.Bytes(), WithKinds(event.KindCopy))
	if got.rows() != 0 {
		t.Errorf("%d events of a kind that is not there", got.rows())
	}
}
