package tracecut_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/internal/tracecut"
)

// TestCut: of a real trace, what begins in the stretch is left, and all that is needed to read it.
func TestCut(t *testing.T) {
	const path = "../../testdata/real/gpt-train.wscope"
	begin, all := read(t, func() (*trace.Reader, error) { return trace.Open(path) })
	if len(all) < 1000 {
		t.Fatalf("%d kernels", len(all))
	}
	slices.Sort(all)
	from, to := all[len(all)/3], all[len(all)/2]
	var out bytes.Buffer
	if err := tracecut.Cut(&out, path, tracecut.Stretch{From: int64(from - begin), To: int64(to - begin)}); err != nil {
		t.Fatal(err)
	}
	_, left := read(t, func() (*trace.Reader, error) { return trace.NewReader(bytes.NewReader(out.Bytes())) })
	want := 0
	for _, at := range all {
		if at >= from && at < to {
			want++
		}
	}
	if len(left) != want || want == 0 {
		t.Errorf("%d kernels left, want %d", len(left), want)
	}
}

// read returns when a trace begins, and when its kernels do.
func read(t *testing.T, open func() (*trace.Reader, error)) (begin event.Time, kernels []event.Time) {
	t.Helper()
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // it was read only
	for {
		x, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return begin, kernels
		case err != nil:
			t.Fatal(err)
		case x.Provenance != nil:
			begin = x.Provenance.MonoTime
			for _, arg := range x.Provenance.Command {
				if strings.HasPrefix(arg, "/") && strings.Contains(arg, "scripts/workloads/") {
					t.Errorf("a path of the machine: %s", arg)
				}
			}
		case x.Batch != nil:
			kernels = append(kernels, x.Batch.Kernels.Start...)
		}
	}
}
