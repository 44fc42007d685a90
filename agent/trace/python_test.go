package trace

import (
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// TestPythonReader compares this package with a reader in Python that was written from the
// specification alone, proto/read_trace.py.
func TestPythonReader(t *testing.T) {
	python := os.Getenv("WARPSCOPE_PYTHON")
	if python == "" {
		if strings.Contains(os.Getenv("WARPSCOPE_REQUIRE"), "python") {
			t.Fatal("WARPSCOPE_PYTHON is not set")
		}
		t.Skip("WARPSCOPE_PYTHON names no Python that has the package zstandard (make check sets it)")
	}
	dir := t.TempDir()
	training := filepath.Join(dir, "training.wscope")
	f, err := os.Create(training)
	if err != nil {
		t.Fatal(err)
	}
	record(t, f, gptBatches(32)[:20]) // again and again, in frames of a second
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(training)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "cut.wscope")
	if err := os.WriteFile(short, whole[:200_000], 0o600); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Glob("../../testdata/real/*.wscope")
	if err != nil || len(real) == 0 {
		t.Fatalf("no real traces: %v", err)
	}
	for _, path := range append(real, short, filepath.Join("testdata", "format-1.wscope")) {
		out, err := exec.Command(python, filepath.Join("..", "..", "proto", "read_trace.py"), path).Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, stderr(err))
		}
		var got struct {
			Counts map[string]map[string]uint64 `json:"counts"`
			Kernel *big.Int                     `json:"kernel_ns"`
			Call   *big.Int                     `json:"call_ns"`
			Closed bool                         `json:"closed"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v in %s", path, err, out)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := collect(r)
		if err != nil {
			t.Fatal(err)
		}
		if report := r.Report(); report.Complete != got.Closed {
			t.Errorf("%s: closed is %v in Python, %v in Go", path, got.Closed, report.Complete)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		comparePython(t, path, want, got.Counts, got.Kernel, got.Call)
	}
}

func stderr(err error) []byte {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // straight from exec
		return e.Stderr
	}
	return nil
}

func comparePython(t *testing.T, path string, want *collected, counts map[string]map[string]uint64, kernel, call *big.Int) {
	t.Helper()
	names := map[event.Kind]string{event.KindKernel: "kernel", event.KindCopy: "copy", event.KindSet: "set", event.KindSync: "sync",
		event.KindCall: "call", event.KindMarker: "marker", event.KindGraph: "graph", event.KindOverhead: "overhead",
		event.KindAllocation: "allocation", event.KindContext: "context", event.KindModule: "module", event.KindPool: "pool",
		event.KindState: "state", event.KindGPUSample: "gpu_sample", event.KindUsage: "usage", event.KindWindow: "window", event.KindFact: "fact",
		event.KindActivity: "activity"}
	total := 0
	kernels, calls := new(big.Int), new(big.Int)
	for id, b := range want.batches {
		for _, tb := range schema() {
			n := tb.rows(b)
			total += n
			if got := counts[big.NewInt(int64(id)).String()][names[tb.kind]]; got != uint64(n) {
				t.Errorf("%s: process %d has %d of kind %d, %d in Python", path, id, n, tb.kind, got)
			}
		}
		add(kernels, b.Kernels.Duration)
		add(calls, b.Calls.Duration)
	}
	if total == 0 || kernels.Sign() == 0 || calls.Sign() == 0 {
		t.Errorf("%s: nothing to compare", path)
	}
	if kernels.Cmp(kernel) != 0 || calls.Cmp(call) != 0 {
		t.Errorf("%s: kernels take %v ns, calls %v; in Python %v and %v", path, kernels, calls, kernel, call)
	}
}

// add adds the durations that are known.
func add(sum *big.Int, durations []int64) {
	for _, d := range durations {
		if d > 0 {
			sum.Add(sum, big.NewInt(d))
		}
	}
}
