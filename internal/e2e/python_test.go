package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// interpreter is the Python that the tests run.
func interpreter(t *testing.T) string {
	t.Helper()
	python := os.Getenv("WARPSCOPE_PYTHON")
	if python == "" {
		if strings.Contains(os.Getenv("WARPSCOPE_REQUIRE"), "python") {
			t.Fatal("WARPSCOPE_PYTHON is not set")
		}
		t.Skip("WARPSCOPE_PYTHON names no Python (make check sets it)")
	}
	return python
}

// ranges are those of the domain "warpscope", by text.
func (w *tool) ranges(trace string) map[string]uint64 {
	w.t.Helper()
	var content struct {
		NVTX struct {
			Ranges []struct {
				Domain string `json:"domain"`
				Name   string `json:"name"`
				Count  uint64 `json:"count"`
			} `json:"ranges"`
		} `json:"nvtx"`
	}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--nvtx", "--top", "0", trace)), &content); err != nil {
		w.t.Fatal(err)
	}
	counts := make(map[string]uint64)
	for _, r := range content.NVTX.Ranges {
		if r.Domain == "warpscope" {
			counts[r.Name] = r.Count
		}
	}
	return counts
}

// pythonSays is what testdata/python/train.py prints.
type pythonSays struct {
	Own       string     `json:"own_sitecustomize"`
	Path      []string   `json:"path"`
	Modules   []string   `json:"modules"`
	Loader    string     `json:"loader"`
	Batches   int        `json:"batches"`
	History   [][]string `json:"history"`
	Observers int        `json:"observers"`
}

// train runs testdata/python/train.py under `warpscope run`.
func (w *tool) train(b *build, flags ...string) (pythonSays, result) {
	w.t.Helper()
	folder, err := filepath.Abs("testdata/python")
	if err != nil {
		w.t.Fatal(err)
	}
	env := append(w.environ(&build{}), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	r := w.command(env, w.bin, w.under(b, flags, nil, interpreter(w.t), filepath.Join(folder, "train.py"))...)
	w.clean(b, r)
	var says pythonSays
	if err := json.Unmarshal([]byte(r.stdout), &says); r.status != 0 || err != nil {
		w.t.Fatalf("exit status %d, %v\n%s%s", r.status, err, r.stdout, r.stderr)
	}
	if says.Own != "sitecustomize" || len(says.Path) != 0 || len(says.Modules) != 1 || says.Loader != "SourceFileLoader" || says.Batches != 3 {
		w.t.Errorf("the program sees warpscope, or misses its own: %+v", says)
	}
	return says, r
}

func TestPythonSaysWhatItDoes(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	says, r := w.train(b, "--mode", "ledger")
	// Stacks in the first steps, and then no more.
	if says.Observers != 1 || len(says.History) != 2 || says.History[0][0] != "state" || says.History[1][0] != "None" {
		t.Errorf("PyTorch was asked for %+v", says)
	}
	got := w.ranges("t.wscope")
	// Six steps are five spans from one to the next.
	if got["step"] != 5 || got["out of memory"] != 4 {
		t.Errorf("ranges %v, want 5 steps and 4 times out of memory", got)
	}
	// Short ones are left out, and how long they take is the machine's affair.
	if got["gc"] == 0 || got["input"] < 2 || got["input"] > 4 {
		t.Errorf("ranges %v, want pauses of the collector and 2 to 4 waits for input", got)
	}
	snapshots, _ := filepath.Glob(w.path("t.oom-*.pickle"))
	if len(snapshots) != 3 || strings.Count(r.stderr, "PyTorch ran out of memory") != 3 {
		t.Fatalf("snapshots %q\n%s", snapshots, r.stderr)
	}
	if info, err := os.Stat(snapshots[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read it", info.Mode(), err)
	}
	if left, _ := filepath.Glob(w.path(".warpscope-python-*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestPythonLeftAlone(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	says, _ := w.train(b, "--no-python")
	if says.Observers != 0 || len(says.History) != 0 {
		t.Errorf("PyTorch was asked for %+v", says)
	}
	if got := w.ranges("t.wscope"); len(got) != 0 {
		t.Errorf("ranges %v", got)
	}
}
