package sample

import (
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// TestSampleIsWhole: what is bundled is a whole run on an H100 on which nothing failed; a build without it says so.
func TestSampleIsWhole(t *testing.T) {
	r, err := H100()
	if err != nil {
		if !strings.Contains(err.Error(), "no result of an H100 is bundled") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	suites := map[string]int{}
	for i := range r.Rows {
		suites[r.Rows[i].Suite]++
	}
	for _, name := range []string{"memory", "transfer", "matmul", "attention", "latency"} {
		if suites[name] == 0 {
			t.Errorf("no row of %s", name)
		}
	}
	if !strings.Contains(r.GPU.Name, "H100") || r.GPU.Simulated || r.GPU.Driver == "" || r.Tool == "" || r.Taken.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, by %q, %v", r.GPU, r.Tool, r.Taken)
	}
	if n := r.Failed(); n > 0 {
		t.Errorf("%d rows failed", n)
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Skipped == "" && row.Verified.Err() != nil {
			t.Errorf("%s: %v", row.Key(), row.Verified.Err())
		}
	}
	if len(result.Compare(r, r)) == 0 {
		t.Error("nothing was timed")
	}
}
