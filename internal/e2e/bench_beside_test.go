package e2e

import (
	"strings"
	"testing"
)

// TestBenchRecordsItself: on the simulated device every row fails, but what ran and what was allocated is in the trace.
func TestBenchRecordsItself(t *testing.T) {
	w := newTool(t)
	args := []string{"bench", "transfer", "--device", "sim", "--duration", "0", "--trace", "self.wscope"}
	if r := w.warpscope(args...); r.status != 1 || !strings.Contains(r.stderr, " 0 lost, in self.wscope") || !strings.Contains(r.stderr, "rows failed") {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	_, content := w.inspect("self.wscope")
	kernels, _ := content["kernels"].(map[string]any)
	all, _ := kernels["all"].(map[string]any)
	if count, _ := all["count"].(float64); count < 5 {
		t.Errorf("kernels of the trace: %v", all)
	}
	if text := w.ok("inspect", "self.wscope"); !strings.Contains(text, "verify_fill") || !strings.Contains(text, "SIMULATED DEVICE") {
		t.Errorf("the trace has no verify_fill:\n%s", text)
	}
	sentence(t, w.warpscope(args...), 2, "self.wscope exists already", "--force")
	if r := w.warpscope(append(args, "--force")...); r.status != 1 || !strings.Contains(r.stderr, " 0 lost, in self.wscope") {
		t.Errorf("with --force: exit status %d\n%s", r.status, r.stderr)
	}
}

// TestBenchWithoutLibraries: a missing library is no failure of its own.
func TestBenchWithoutLibraries(t *testing.T) {
	w := newTool(t)
	r := w.warpscope("bench", "memory", "--device", "sim", "--duration", "0", "--size", "1M", "--reference", "--reference-path", "/nonexistent")
	if r.status != 1 || !strings.Contains(r.stderr, "rows failed") {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
}
