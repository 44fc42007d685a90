package cli_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/cli"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// world is where a command runs in a test.
type world struct {
	stdin    []byte
	columns  int
	terminal bool // both stdout and stderr
	environ  []string
}

// run runs warpscope with args in process.
func (w world) run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	env := &cli.Env{
		Args: args, Stdin: bytes.NewReader(w.stdin), Stdout: &out, Stderr: &errs, Environ: w.environ,
		Now: func() time.Time {
			now = now.Add(time.Second)
			return now
		},
		Terminal: func(io.Writer) (int, bool) { return w.columns, w.terminal },
	}
	status = cli.Main(context.Background(), env)
	return status, out.String(), errs.String()
}

// losses are those of the synthetic trace.
var losses = []event.Loss{
	{Process: 1, Kind: event.KindKernel, Cause: event.LossRingFull, Count: 1234},
	{Process: 2, Kind: event.KindKernel, Cause: event.LossNoTime, Count: 3},
}

// writeSynthetic writes the synthetic trace into a new working directory.
func writeSynthetic(t *testing.T, simulated bool, losses ...event.Loss) []byte {
	t.Helper()
	var b bytes.Buffer
	s := newSynthetic(t, &b, simulated)
	s.train()
	s.close(losses...)
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOLDEN", golden)
	t.Chdir(t.TempDir())
	write(t, "train.wscope", b.Bytes())
	return b.Bytes()
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// compare compares text with a golden file.
func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(os.Getenv("GOLDEN"), name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./agent/cli -run Inspect -update rewrites it); got:\n%s", name, got)
	}
}

func TestInspectGolden(t *testing.T) {
	writeSynthetic(t, false, losses...)
	views := []struct {
		name string
		args []string
	}{
		{"overview", nil},
		{"kernels", []string{"--kernels"}},
		{"kernels-by-p99", []string{"--sort", "p99", "--top", "3", "--name", "gemm|Kernel"}},
		{"kernels-by-nvtx", []string{"--group-by", "nvtx"}},
		{"copies", []string{"--copies"}},
		{"by-stream", []string{"--kernels", "--copies", "--group-by", "stream"}},
		{"memory", []string{"--memory"}},
		{"streams-nvtx", []string{"--streams", "--nvtx"}},
		{"window", []string{"--kernels", "--memory", "--from", "140.5ms", "--to", "1.1"}},
	}
	for _, v := range views {
		for _, columns := range []int{80, 200} {
			name := fmt.Sprintf("%s-%d.txt", v.name, columns)
			t.Run(name, func(t *testing.T) {
				status, out, errs := world{columns: columns}.run(t, append([]string{"inspect", "train.wscope"}, v.args...)...)
				if status != 0 || errs != "" {
					t.Fatalf("status %d: %s", status, errs)
				}
				for _, line := range strings.Split(out, "\n") {
					if report.Width(line) > columns {
						t.Errorf("%d cells: %s", report.Width(line), line)
					}
				}
				compare(t, "inspect/"+name, out)
			})
		}
	}
	t.Run("wide", func(t *testing.T) {
		_, out, _ := world{columns: 80}.run(t, "inspect", "train.wscope", "--kernels", "--wide")
		for _, want := range []string{"execute_segment_k_off_kernel__5x_cublas", "launch", "at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >(int,"} {
			if !strings.Contains(out, want) {
				t.Errorf("--wide lacks %q", want)
			}
		}
	})
}

func TestInspectEvents(t *testing.T) {
	data := writeSynthetic(t, false)
	total := 0
	t.Run("jsonl", func(t *testing.T) {
		_, out, _ := world{}.run(t, "inspect", "train.wscope", "--events", "--format", "jsonl")
		kinds := map[string]int{}
		last := int64(-1 << 62)
		for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			var e struct {
				Kind string
				Time int64 `json:"time_ns"`
				Name string
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if e.Time < last {
				t.Fatalf("not in the order of time: %s", line)
			}
			last = e.Time
			kinds[e.Kind]++
			total++
		}
		want := map[string]int{
			"kernel": 2 * steps * (3*len(stepKernels) + 1), "copy": 4 * steps, "fill": 2 * steps, "wait": 2 * steps, "nvtx": 8 * steps,
			"allocation": 78, "gpu": 12, "usage": 24, "context": 2, "state": 4, "overhead": 2,
		}
		want["call"] = want["kernel"] + want["copy"]
		for kind, n := range want {
			if kinds[kind] != n {
				t.Errorf("%d %s events, want %d", kinds[kind], kind, n)
			}
		}
		if len(kinds) != len(want) {
			t.Errorf("kinds %v", kinds)
		}
	})
	t.Run("csv", func(t *testing.T) {
		_, out, _ := world{}.run(t, "inspect", "train.wscope", "--events", "--format", "csv")
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != total+1 || rows[0][0] != "time_ns" {
			t.Errorf("%d rows, want %d and a header", len(rows), total)
		}
	})
	t.Run("text", func(t *testing.T) {
		for _, columns := range []int{80, 200} {
			_, out, _ := world{columns: columns}.run(t, "inspect", "train.wscope", "--events", "--from", "1s", "--top", "60")
			compare(t, fmt.Sprintf("inspect/events-%d.txt", columns), out)
		}
	})
	t.Run("a window is the same from a file and from a stream", func(t *testing.T) {
		args := []string{"--events", "--from", "1.2s", "--to", "1.3s", "--name", "nccl"}
		_, file, _ := world{}.run(t, append([]string{"inspect", "train.wscope"}, args...)...)
		_, stream, _ := world{stdin: data}.run(t, append([]string{"inspect", "-"}, args...)...)
		if file != stream || strings.Count(file, "\n") != 3 {
			t.Errorf("from the file:\n%sfrom a stream:\n%s", file, stream)
		}
	})
}

func TestInspectJSON(t *testing.T) {
	data := writeSynthetic(t, true, losses...)
	status, out, _ := world{}.run(t, "inspect", "train.wscope", "--json")
	if status != 0 {
		t.Fatal("failed")
	}
	compare(t, "inspect/overview.json", out)
	_, stream, _ := world{stdin: data}.run(t, "inspect", "-", "--json")
	if strings.Replace(stream, `"standard input"`, `"train.wscope"`, 1) != out {
		t.Error("a stream gives other figures than the file")
	}
	// Two files are two documents.
	_, out, _ = world{}.run(t, "inspect", "train.wscope", "train.wscope", "--json", "--kernels")
	documents := 0
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); documents++ {
		var v struct{ Simulated bool }
		if err := d.Decode(&v); err != nil || !v.Simulated {
			t.Fatal(err, v)
		}
	}
	if documents != 2 {
		t.Errorf("%d documents for two files", documents)
	}
}

// Whatever is asked of a simulated trace, the answer says that it is one.
func TestInspectSaysSimulated(t *testing.T) {
	writeSynthetic(t, true)
	for _, args := range [][]string{
		nil, {"--kernels"}, {"--copies"}, {"--memory"}, {"--streams"}, {"--nvtx"}, {"--group-by", "device"}, {"--events", "--top", "3"},
		{"--events", "--format", "csv"}, {"--wide"},
	} {
		_, out, errs := world{columns: 200}.run(t, append([]string{"inspect", "train.wscope"}, args...)...)
		if !strings.Contains(out+errs, report.SimulatedNote) {
			t.Errorf("%v does not say so", args)
		}
	}
	_, out, _ := world{}.run(t, "inspect", "train.wscope", "--events", "--format", "jsonl", "--top", "1")
	if !strings.Contains(out, `"simulated":true`) {
		t.Errorf("events do not say so: %s", out)
	}
}

func TestInspectLosses(t *testing.T) {
	writeSynthetic(t, false)
	for _, args := range [][]string{nil, {"--kernels"}, {"--memory"}, {"--nvtx"}} {
		_, out, _ := world{columns: 100}.run(t, append([]string{"inspect", "train.wscope"}, args...)...)
		if !strings.Contains(out, "none lost") {
			t.Errorf("%v does not say that nothing was lost", args)
		}
	}
	data, err := os.ReadFile("train.wscope")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "cut.wscope", data[:len(data)*2/3])
	status, out, _ := world{columns: 200}.run(t, "inspect", "cut.wscope")
	if status != 0 || strings.Contains(out, "none lost") || !strings.Contains(out, "not known") || !strings.Contains(out, "the trace is incomplete") {
		t.Errorf("status %d for a trace that was cut off:\n%s", status, out)
	}
}

func TestInspectColor(t *testing.T) {
	writeSynthetic(t, true)
	colored := func(w world) bool {
		_, out, _ := w.run(t, "inspect", "train.wscope")
		return strings.Contains(out, "\x1b[")
	}
	if !colored(world{columns: 80, terminal: true}) {
		t.Error("no color on a terminal")
	}
	if colored(world{}) {
		t.Error("color in a pipe")
	}
	if colored(world{columns: 80, terminal: true, environ: []string{"NO_COLOR=1"}}) {
		t.Error("NO_COLOR is not honoured")
	}
	if colored(world{columns: 80, terminal: true, environ: []string{"TERM=dumb"}}) {
		t.Error("color on a terminal that knows none")
	}
}

// Only who waits at a terminal for a large file is told how far it is.
func TestInspectProgress(t *testing.T) {
	data := writeSynthetic(t, false)
	write(t, "large.wscope", append(data, make([]byte, 9<<20)...))
	for _, test := range []struct {
		file     string
		terminal bool
		want     bool
	}{{"large.wscope", true, true}, {"large.wscope", false, false}, {"train.wscope", true, false}} {
		status, _, errs := world{columns: 80, terminal: test.terminal}.run(t, "inspect", test.file)
		if status != 0 || strings.Contains(errs, "reading "+test.file+": ") != test.want {
			t.Errorf("%s, terminal %v: status %d, said %q", test.file, test.terminal, status, errs)
		}
		if test.want && !strings.HasSuffix(errs, "\r\x1b[K") {
			t.Errorf("what was said stays: %q", errs)
		}
	}
}

// Bad input gets one sentence that says what, where and what to do.
func TestInspectErrors(t *testing.T) {
	data := writeSynthetic(t, false)
	write(t, "empty.wscope", nil)
	write(t, "foreign.wscope", []byte(strings.Repeat("not a trace ", 100)))
	write(t, "header.wscope", data[:9])
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   string
		status int
		want   string
	}{
		{"no file", "inspect", 2, "the trace to inspect is missing"},
		{"a file that is not there", "inspect nowhere.wscope", 1, "nowhere.wscope: no such file"},
		{"a directory", "inspect folder", 1, "folder is a directory"},
		{"an empty file", "inspect empty.wscope", 1, "it is empty"},
		{"a foreign file", "inspect foreign.wscope", 1, "not a warpscope trace"},
		{"a header cut off", "inspect header.wscope", 1, "nothing recorded"},
		{"nothing on standard input", "inspect -", 1, "it is empty"},
		{"standard input twice", "inspect - -", 2, "only once"},
		{"an unknown flag", "inspect --what train.wscope", 2, "--what"},
		{"an unknown command", "inspekt", 2, `did you mean "inspect"?`},
		{"a bad regular expression", "inspect train.wscope --name (", 2, "--name: error parsing regexp"},
		{"a bad group", "inspect train.wscope --group-by color", 2, "not one of name, stream"},
		{"a bad sort key", "inspect train.wscope --sort color", 2, "not one of total, count"},
		{"a sort key of another list", "inspect train.wscope --nvtx --sort rate", 2, "not one of total, count"},
		{"a bad time", "inspect train.wscope --from yesterday", 2, "1.5s"},
		{"times turned round", "inspect train.wscope --from 2s --to 1s", 2, "is not after"},
		{"a bad format", "inspect train.wscope --events --format xml", 2, "not one of text, jsonl, csv"},
		{"a format without events", "inspect train.wscope --format csv", 2, "--events"},
		{"events and summaries", "inspect train.wscope --events --kernels", 2, "stands alone"},
		{"events and json", "inspect train.wscope --events --json", 2, "--format jsonl"},
		{"a negative number of rows", "inspect train.wscope --top -1", 2, "0 for all"},
		{"arguments to version", "version now", 2, "no argument"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, out, errs := world{}.run(t, strings.Fields(test.args)...)
			if status != test.status || !strings.Contains(errs, test.want) || out != "" {
				t.Errorf("status %d, said %q, wrote %q; want status %d and %q", status, errs, out, test.status, test.want)
			}
			lines := strings.Count(errs, "\n")
			if want := 1 + test.status/2; lines != want || !strings.HasPrefix(errs, "warpscope: ") {
				t.Errorf("%d lines, want %d: %q", lines, want, errs)
			}
		})
	}
	t.Run("one bad file does not hide the others", func(t *testing.T) {
		status, out, errs := world{columns: 80}.run(t, "inspect", "empty.wscope", "train.wscope", "nowhere.wscope")
		if status != 1 || !strings.Contains(out, "train.wscope") || strings.Count(errs, "\n") != 2 {
			t.Errorf("status %d, %q", status, errs)
		}
	})
	t.Run("wall clock of a trace without one", func(t *testing.T) {
		status, _, errs := world{}.run(t, "inspect", "train.wscope", "--from", "2026-11-24T06:00:01Z", "--kernels")
		if status != 0 {
			t.Errorf("status %d: %s", status, errs)
		}
	})
}

func TestRoot(t *testing.T) {
	status, out, _ := world{}.run(t)
	if status != 0 || !strings.Contains(out, "inspect") || !strings.Contains(out, "completion") {
		t.Errorf("status %d: %s", status, out)
	}
	status, out, _ = world{}.run(t, "version")
	if status != 0 || !strings.HasPrefix(out, "warpscope ") || !strings.Contains(out, "\ntrace format 1.") {
		t.Errorf("status %d: %s", status, out)
	}
	_, flagged, _ := world{}.run(t, "--version")
	if first, _, _ := strings.Cut(out, "\n"); flagged != first+"\n" {
		t.Errorf("--version says %q, version %q", flagged, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if status, out, errs := (world{}).run(t, "completion", shell); status != 0 || len(out) < 1000 {
			t.Errorf("%s: status %d, %d bytes, %s", shell, status, len(out), errs)
		}
	}
}

// TestInspectTwice reads random events with checkpoints, whose corrections depend on their order.
func TestInspectTwice(t *testing.T) {
	file := filepath.Join("..", "trace", "testdata", "format-1.wscope")
	var first string
	for range 10 {
		status, stdout, stderr := world{}.run(t, "inspect", "--json", file)
		if status != 0 {
			t.Fatalf("status %d: %s", status, stderr)
		}
		if first == "" {
			first = stdout
		}
		if stdout != first {
			t.Fatal("two inspections of one trace differ")
		}
	}
}
