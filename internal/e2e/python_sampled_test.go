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
