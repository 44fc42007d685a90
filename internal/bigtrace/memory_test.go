package bigtrace_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/internal/bigtrace"
)

func TestMemoryTraceHasWhatWasAskedFor(t *testing.T) {
	var file bytes.Buffer
	if err := bigtrace.GenerateMemory(&file, 12_345, 1); err != nil {
		t.Fatal(err)
	}
	r, err := trace.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	all, failed := 0, 0
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
		for _, result := range x.Batch.Allocations.Result {
			all++
			if result != 0 {
				failed++
			}
		}
	}
	if all != 12_346 || failed != 1 {
		t.Errorf("%d calls, %d failed", all, failed)
	}
}
