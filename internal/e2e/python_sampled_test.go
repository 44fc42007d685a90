package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mark is a marker as `inspect --events --format jsonl` prints it.
type mark struct {
	Name    string `json:"name"`
	Marker  string `json:"marker"`
	Domain  string `json:"domain"`
	Thread  uint32 `json:"thread"`
	Payload uint64 `json:"payload"`
}

// marks are those of a domain.
func (w *tool) marks(trace, domain string) []mark {
	w.t.Helper()
	var out []mark
	for line := range strings.Lines(w.ok("inspect", "--events", "--format", "jsonl", trace)) {
		var m mark
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			w.t.Fatal(err, line)
		}
		if m.Domain == domain {
			out = append(out, m)
		}
	}
	return out
}

// sampledRun runs testdata/python/sampled.py.
func (w *tool) sampledRun(b *build, flags ...string) (worker uint32) {
	w.t.Helper()
	folder, err := filepath.Abs("testdata/python")
	if err != nil {
		w.t.Fatal(err)
	}
	debug := w.path("debug")
	env := append(w.environ(&build{}), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1", "WARPSCOPE_DEBUG="+debug)
	r := w.command(env, w.bin, w.under(b, flags, nil, interpreter(w.t), filepath.Join(folder, "sampled.py"))...)
	var says struct {
		Threads     []string `json:"threads"`
		Child       int      `json:"child"`
		Interpreter string   `json:"interpreter"`
		Worker      uint32   `json:"worker"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &says); r.status != 3 || err != nil {
		w.t.Fatalf("exit status %d, want the program's own 3; %v\n%s%s", r.status, err, r.stdout, r.stderr)
	}
	if !slices.Equal(says.Threads, []string{"MainThread"}) || says.Child != 7 {
		w.t.Errorf("the program sees warpscope: %+v", says)
	}
	return says.Worker
}

func TestPythonStacks(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	worker := w.sampledRun(b, "--python-sampling", "500")
	var waiting, busy, used uint64
	for _, m := range w.marks("t.wscope", "warpscope.stack") {
		if m.Marker != "mark" || strings.Contains(m.Name, "_warpscope_") {
			t.Fatalf("a sample of itself, or none: %+v", m)
		}
		innermost, _, _ := strings.Cut(m.Name, "\n")
		file, _, _ := strings.Cut(innermost, ":")
		switch {
		case m.Thread == worker && strings.HasSuffix(innermost, " busy"):
			busy++
			used += m.Payload >> 32
		case filepath.Base(file) == "sampled.py" && strings.HasSuffix(innermost, " <module>"):
			waiting++
		}
	}
	if busy < 5 || waiting < 5 || used == 0 {
		t.Errorf("%d samples of the busy thread, which used %d µs of a CPU, %d of the waiting one", busy, used, waiting)
	}
}

func TestPythonStacksOff(t *testing.T) {
	b := newBuild(t)
	for _, flags := range [][]string{{"--python-sampling", "off"}, {"--mode", "ledger"}} {
		w := newTool(t)
		w.sampledRun(b, flags...)
		if found := w.marks("t.wscope", "warpscope.stack"); len(found) != 0 {
			t.Errorf("%v: %d samples", flags, len(found))
		}
		if text, err := os.ReadFile(w.path("debug")); err == nil {
			t.Errorf("%v: %s", flags, text)
		}
	}
}

// TestPythonIsolated: a Python that ignores its environment is said to have run without the module.
func TestPythonIsolated(t *testing.T) {
	b := newBuild(t)
	for _, flag := range []string{"-I", "-E", "-IS"} {
		w := newTool(t)
		r := w.command(w.environ(&build{}), w.bin, w.under(b, nil, nil, interpreter(t), flag, "-c", "import ctypes; ctypes.CDLL('libcuda.so.1').cuInit(0)")...)
		if r.status != 0 || !strings.Contains(r.stderr, "ignores PYTHONPATH") {
			t.Errorf("%s: status %d\n%s", flag, r.status, r.stderr)
		}
	}
}

// TestPythonOperators: what PyTorch's recorder took down becomes ranges of the trace.
func TestPythonOperators(t *testing.T) {
	b := newBuild(t)
	w := newTool(t)
	folder, err := filepath.Abs("testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	env := append(w.environ(&build{}), "PYTHONPATH="+folder, "PYTHONDONTWRITEBYTECODE=1")
	r := w.command(env, w.bin, w.under(b, nil, nil, interpreter(t), filepath.Join(folder, "published.py"))...)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	type row struct {
		Name, Detail string
		Count        uint64
		CPU          int64  `json:"cpu_ns"`
		Kept         *int64 `json:"kept_bytes"`
	}
	rows := func(by string) map[string]row {
		var in struct {
			Operators struct {
				Sampled int   `json:"sampled"`
				NS      int64 `json:"sampled_ns"`
				Cost    int64 `json:"cost_ns"`
				Rows    []row `json:"rows"`
			} `json:"operators"`
		}
		if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--group-by", by, "t.wscope")), &in); err != nil {
			t.Fatal(err)
		}
		if o := in.Operators; o.Sampled != 1 || o.NS != 20_000_000 || o.Cost <= 7 {
			t.Errorf("by %s: %+v", by, o)
		}
		byName := map[string]row{}
		for _, r := range in.Operators.Rows {
			byName[r.Name] = r
		}
		return byName
	}
	ops := rows("op")
	if len(ops) != 3 || ops["aten::linear"] != (row{Name: "aten::linear", Detail: "[8, 16], [32, 16]", Count: 1, CPU: 3_000_000}) || ops["AddmmBackward0"].CPU != 900_000 {
		t.Errorf("operators %+v", ops)
	}
	modules := rows("module")
	if fc := modules["fc"]; len(modules) != 2 || fc.Detail != "Linear float32" || fc.Count != 1 || fc.CPU != 6_000_000+1_100_000 || fc.Kept == nil || *fc.Kept != 1024 {
		t.Errorf("modules %+v", modules)
	}
	if regions := rows("region"); len(regions) != 1 || regions["train"].CPU != 9_000_000 {
		t.Errorf("regions %+v", regions)
	}
}
