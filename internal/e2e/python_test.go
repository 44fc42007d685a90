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
	Fractions []float64  `json:"fractions"`
	Observers int        `json:"observers"`
}

// python runs testdata/python/train.py with arguments under `warpscope run`.
func (w *tool) python(b *build, flags []string, args ...string) result {
	w.t.Helper()
	folder, err := filepath.Abs("testdata/python")
	if err != nil {
		w.t.Fatal(err)
	}
	env := append(w.environ(&build{}), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	return w.command(env, w.bin, w.under(b, flags, nil, append([]string{interpreter(w.t), filepath.Join(folder, "train.py")}, args...)...)...)
}

// train runs testdata/python/train.py under `warpscope run`.
func (w *tool) train(b *build, flags ...string) (pythonSays, result) {
	w.t.Helper()
	r := w.python(b, flags)
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
	w.added(snapshots[0])
	if len(says.Fractions) != 1 || says.Fractions[0] != 0.5 {
		t.Errorf("the program's own limits: %v", says.Fractions)
	}
	if left, _ := filepath.Glob(w.path(".warpscope-python-*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// added checks what the module puts into a snapshot beside what PyTorch does.
func (w *tool) added(snapshot string) {
	w.t.Helper()
	type line struct {
		File     string `json:"file"`
		Line     int    `json:"line"`
		Function string `json:"function"`
	}
	var list []struct {
		Added struct {
			PID       int    `json:"pid"`
			Time      int64  `json:"monotonic_ns"`
			Requested uint64 `json:"requested_bytes"`
			Limit     uint64 `json:"limit_bytes"`
			Total     uint64 `json:"device_total_bytes"`
			Free      uint64 `json:"device_free_bytes"`
			PyTorch   string `json:"pytorch"`
			Text      string `json:"text"`
			Stack     []line `json:"stack"`
			LimitedAt []line `json:"limited_at"`
			Complete  bool   `json:"roles_complete"`
		} `json:"added"`
		Now struct {
			Roles []struct {
				Role  string `json:"role"`
				Bytes uint64 `json:"bytes"`
				Known uint64 `json:"known_bytes"`
			} `json:"roles"`
		} `json:"now"`
	}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", snapshot)), &list); err != nil || len(list) != 1 {
		w.t.Fatal(err, len(list))
	}
	a := list[0].Added
	if a.PID == 0 || a.Time == 0 || a.Requested != 1<<30 || a.Limit != 2<<30 || a.Total != 4<<30 || a.Free != 3<<30 || a.PyTorch != "0.0+test" || !a.Complete {
		w.t.Errorf("added: %+v", a)
	}
	if a.Text != "observer(0, 1 << 30, 2 << 30, 3 << 30)" || len(a.Stack) != 1 || !strings.HasSuffix(a.Stack[0].File, "/train.py") || a.Stack[0].Line == 0 {
		w.t.Errorf("stack %+v, text %q", a.Stack, a.Text)
	}
	if len(a.LimitedAt) != 1 || a.LimitedAt[0].Line == 0 || a.LimitedAt[0].Line >= a.Stack[0].Line {
		w.t.Errorf("the limit was set at %+v", a.LimitedAt)
	}
	known := map[string]uint64{}
	for _, r := range list[0].Now.Roles {
		known[r.Role] = r.Known
	}
	const mib = 1 << 20
	if known["parameters"] != mib || known["gradients"] != mib || known["optimizer state"] != mib {
		w.t.Errorf("roles %+v", list[0].Now.Roles)
	}
}

// TestPythonSnapshotsAtSteps: a snapshot after each step that was asked for, with what tensors are for.
func TestPythonSnapshotsAtSteps(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	_, r := w.train(b, "--mode", "ledger", "--snapshot-steps", "2,5,99")
	for _, step := range []string{"2", "5"} {
		files, _ := filepath.Glob(w.path("t.step-*-" + step + ".pickle"))
		if len(files) != 1 || !strings.Contains(r.stderr, "what PyTorch's allocator held after step "+step+" is in ") {
			t.Fatalf("step %s: %q\n%s", step, files, r.stderr)
		}
		if out := w.ok("inspect", "--memory", files[0]); !strings.Contains(out, "parameters") || strings.Contains(out, "failed") {
			t.Errorf("step %s:\n%s", step, out)
		}
	}
	if all, _ := filepath.Glob(w.path("t.step-*")); len(all) != 2 {
		t.Errorf("snapshots %q", all)
	}
}

func TestPythonDiagnosed(t *testing.T) {
	b := newBuild(t)
	for _, c := range []struct {
		name        string
		flags, args []string
		status      int
		says, not   []string
	}{
		{"a failure that the program survives", []string{"--doctor"}, nil, 0, []string{
			"An allocation of 1.00 GiB failed on GPU 0 at train.py:", "A limit of the program's own, 2.00 GiB", "set_per_process_memory_fraction is called at train.py:", "note memory.survived-oom",
		}, []string{"error memory."}},
		{"a failure that must not be", []string{"--fail-on", "memory.survived-oom"}, nil, 3, []string{"--fail-on memory.survived-oom: found"}, nil},
		{"a thread without Python", []string{"--doctor"}, []string{"thread"}, 0, []string{"failed on GPU 0 while the main thread was at train.py:", "the GPU had 1.00 MiB free"}, nil},
		{"no leak", []string{"--fail-on", "memory.leak"}, []string{"steady"}, 0, nil, []string{"memory.leak", "ran out of memory"}},
		{"what no snapshot tells", []string{"--fail-on", "memory.other-process"}, []string{"steady"}, 1, []string{"--fail-on memory.other-process was not judged: "}, nil},
		{"a leak", []string{"--fail-on", "memory.leak"}, []string{"leak"}, 3, []string{"Tensors pile up by 4.00 MiB a step, most of them made at job.py:2 in keep", "--fail-on memory.leak: found"}, []string{"ran out of memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTool(t)
			r := w.python(b, c.flags, c.args...)
			text := strings.Join(strings.Fields(r.stderr), " ")
			if r.status != c.status {
				t.Errorf("status %d, want %d\n%s", r.status, c.status, r.stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, r.stderr)
				}
			}
			for _, not := range c.not {
				if strings.Contains(text, not) {
					t.Errorf("%q in\n%s", not, r.stderr)
				}
			}
			if !json.Valid([]byte(r.stdout)) {
				t.Errorf("the program's output is not its own: %s", r.stdout)
			}
		})
	}
	// What could not be judged has not passed.
	w := newTool(t)
	if r := w.warpscope("run", "--fail-on", "memory.leak", "--", "true"); r.status != 1 || !strings.Contains(r.stderr, "was not judged") {
		t.Errorf("status %d\n%s", r.status, r.stderr)
	}
}

// TestPythonAndAnotherPyTorch: what a version of PyTorch refuses is not the program's affair.
func TestPythonAndAnotherPyTorch(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	w.env = append(w.env, "OTHER_PYTORCH=1")
	says, _ := w.train(b, "--mode", "ledger")
	if got := w.ranges("t.wscope"); got["step"] != 5 || len(says.History) != 0 {
		t.Errorf("ranges %v, PyTorch was asked for %+v", got, says.History)
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

// TestPythonProfiler runs a program with a profiler of its own in Python, which finds CUPTI by ctypes: it sees what
// it sees alone, and so does the trace.
func TestPythonProfiler(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	program, err := filepath.Abs("testdata/python/monitor.py")
	if err != nil {
		t.Fatal(err)
	}
	want := w.plain(interpreter(t), program)
	r, f := w.trace(b, nil, interpreter(t), program)
	if r.status != 0 || r.stdout != want || strings.Count(want, "counted 500 0\n") != 3 {
		t.Errorf("exit status %d, the program's profiler saw\n%swithout a tracer\n%s%s", r.status, r.stdout, want, r.stderr)
	}
	if got := f.recorded("kernels"); got != 1900 || f.Losses.Lost != 0 || f.endUnknown() {
		t.Errorf("%d kernels in the trace, losses %+v", got, f.Losses)
	}
}
