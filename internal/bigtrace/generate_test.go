package bigtrace_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/internal/bigtrace"
)

// TestGenerate checks that what is made can be read, is as long as asked for and resembles what it was
// learnt from.
func TestGenerate(t *testing.T) {
	const like = "../../testdata/real/gpt-train.wscope"
	real, err := trace.Open(like)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := means(t, real)
	for _, calls := range []bool{true, false} {
		var file bytes.Buffer
		n, err := bigtrace.Generate(&file, bigtrace.Config{Like: like, Kernels: 30_000, Calls: calls, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		r, err := trace.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		got, kinds := means(t, r)
		if n < 30_000 || kinds[event.KindKernel] != n {
			t.Errorf("%d kernels are said to be there, %d are", n, kinds[event.KindKernel])
		}
		if (kinds[event.KindCall] > n) != calls {
			t.Errorf("with calls %v: %d calls", calls, kinds[event.KindCall])
		}
		if got < want/2 || got > want*2 {
			t.Errorf("kernels take %.0f ns in the mean; real ones %.0f", got, want)
		}
	}
}

// means reads a trace: the mean duration of kernels, and how many kernels and calls it has.
func means(t *testing.T, r *trace.Reader) (float64, map[event.Kind]int) {
	t.Helper()
	kinds, sum := map[event.Kind]int{}, int64(0)
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if x.Batch == nil {
			continue
		}
		kinds[event.KindKernel] += len(x.Batch.Kernels.Start)
		kinds[event.KindCall] += len(x.Batch.Calls.Enter)
		for _, d := range x.Batch.Kernels.Duration {
			sum += d
		}
	}
	if report := r.Report(); report.Err() != nil {
		t.Error(report.Err())
	}
	return float64(sum) / float64(kinds[event.KindKernel]), kinds
}
