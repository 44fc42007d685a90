package cli_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// profile is a trace of PyTorch's profiler: of each of its steps a range, a launch and a kernel of
// 2 µs, a millisecond apart.
func profile(steps int, head string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"schemaVersion": 1, %s"deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}], "distributedInfo": {"rank": 5, "world_size": 8}, "traceEvents": [`, head)
	for i := range steps {
		us := 1000 * (i + 1)
		fmt.Fprintf(&b, `
{"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#%d", "pid": 77, "tid": 77, "ts": %d.5, "dur": 900.25},
{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 77, "tid": 77, "ts": %[2]d, "dur": 90},
{"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 77, "tid": 77, "ts": %[3]d, "dur": 5, "args": {"correlation": %[1]d}},
{"ph": "X", "cat": "kernel", "name": "void gemm<float>(float*)", "pid": 0, "tid": 7, "ts": %d, "dur": 2, "args": {"device": 0, "stream": 7, "correlation": %[1]d}},`,
			i+1, us, us+10, us+30)
	}
	b.WriteString(`{"ph": "M", "name": "process_name", "pid": 77, "args": {"name": "python3.12"}}], "traceName": "rank5.json"}`)
	return b.String()
}

const base = `"baseTimeNanoseconds": 1759276800000000000, ` // 2025-10-01T00:00:00Z

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// profileFigures is what these tests look at in inspect's JSON.
type profileFigures struct {
	File       string
	Provenance struct{ Tool, Imported string }
	Range      struct {
		StartUnixNS int64 `json:"start_unix_ns"`
	}
	GPUs      []struct{ Name string }
	Processes []struct {
		Pid, Rank  int
		Executable string
	}
	Losses  struct{ Known bool }
	Kernels struct {
		All struct {
			Count   int
			TotalNS int64 `json:"total_ns"`
		}
	}
	Damage []string
}

// TestProfile: traces of PyTorch's profiler are known by their content, wherever it comes from.
func TestProfile(t *testing.T) {
	t.Chdir(t.TempDir())
	text := profile(4, base)
	write(t, "no-name-for-it", []byte(text))
	write(t, "trace.wscope", zipped(t, text))
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  string
		stdin []byte
	}{
		"file": {file: "no-name-for-it"}, "compressed": {file: "trace.wscope"},
		"stdin": {file: "-", stdin: []byte(text)}, "compressed stdin": {file: "-", stdin: zipped(t, text)}, "pipe": {file: "pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file == "pipe" {
				go func() { _ = os.WriteFile("pipe", []byte(text), 0o600) }()
			}
			status, out, errs := world{stdin: c.stdin}.run(t, "inspect", "--json", c.file)
			if status != 0 {
				t.Fatal(errs)
			}
			var f profileFigures
			if err := json.Unmarshal([]byte(out), &f); err != nil {
				t.Fatal(err)
			}
			if f.Kernels.All.Count != 4 || f.Kernels.All.TotalNS != 8000 || len(f.GPUs) != 1 || f.GPUs[0].Name != "NVIDIA H100 80GB HBM3" {
				t.Errorf("figures: %+v", f)
			}
			if !strings.HasPrefix(f.Provenance.Tool, "PyTorch profiler (Kineto schema 1), imported by warpscope") || f.Provenance.Imported != "PyTorch profiler" || f.Losses.Known || len(f.Damage) > 0 {
				t.Errorf("source: %+v", f)
			}
			if len(f.Processes) != 1 || f.Processes[0].Pid != 77 || f.Processes[0].Rank != 5 || f.Processes[0].Executable != "python3.12" {
				t.Errorf("processes: %+v", f.Processes)
			}
			if f.Range.StartUnixNS != 1759276800001000000 {
				t.Errorf("it starts at %d", f.Range.StartUnixNS)
			}
		})
	}
}

func TestProfileReports(t *testing.T) {
	whole := writeSynthetic(t, false)
	text := profile(4, base)
	write(t, "rank5.json", []byte(text))
	write(t, "cut.json.gz", zipped(t, text[:len(text)/2]))
	write(t, "late.json", []byte(strings.Replace(profile(4, ""), `"traceName"`, base+`"traceName"`, 1)))
	write(t, "no-base.json", []byte(profile(4, "")))
	write(t, "other.json", []byte(`{"some": "thing"}`))
	write(t, "text.gz", zipped(t, "some text"))
	for _, c := range []struct {
		args   string
		status int
		stdin  string
		stdout []string
		not    []string
		stderr []string
	}{
		{args: "rank5.json", stdout: []string{"by PyTorch profiler", "2025-10-01", "rank 5 of 8", "Python's garbage collection and GIL", "4 cpu_op",
			"no counters came with it", "void gemm<float>"}, not: []string{"none lost"}},
		{args: "rank5.json train.wscope cut.json.gz", stdout: []string{"rank5.json", "train.wscope", "torchrun", "the trace is incomplete: it ends at byte"}},
		{args: "rank5.json --nvtx", stdout: []string{"ProfilerStep#4"}, not: []string{"aten::mm"}},
		{args: "rank5.json --kernels --from 2ms", stdout: []string{"2 launches"}},
		{args: "rank5.json --kernels --from 2025-10-01T00:00:00.002Z --to 2025-10-01T00:00:00.004Z", stdout: []string{"2 launches"}},
		{args: "late.json --kernels --from 2025-10-01T00:00:00.002Z --to 2025-10-01T00:00:00.004Z", stdout: []string{"2 launches"}},
		{args: "- --kernels --to 2025-10-01T00:00:00.003Z", stdin: text, stdout: []string{"2 launches"}},
		{args: "no-base.json --kernels --from 2025-10-01T00:00:00.002Z", status: 1, stderr: []string{"says when it was made"}},
		{args: "- --kernels --from 2025-10-01T00:00:00.002Z", stdin: profile(4, ""), status: 1, stderr: []string{"says when it was made"}},
		{args: "rank5.json --events --format jsonl", stdout: []string{`"cudaLaunchKernel"`, `"void gemm<float>(float*)"`}},
		{args: "rank5.json --events --format csv --from 2.5ms", stdout: []string{"gemm"}},
		{args: "cut.json.gz --events", stdout: []string{"gemm"}, stderr: []string{"cut.json.gz: the trace is incomplete"}},
		{args: "other.json", status: 1, stderr: []string{"other.json: ", "not a PyTorch profiler trace: it has no traceEvents"}},
		{args: "text.gz", status: 1, stderr: []string{"not a warpscope trace"}},
		{args: "absent.json", status: 1, stderr: []string{"absent.json", "no such file"}},
		{args: "-", stdin: string(whole), stdout: []string{"torchrun"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out, errs := world{stdin: []byte(c.stdin), columns: 200}.run(t, append([]string{"inspect"}, strings.Fields(c.args)...)...)
			if status != c.status {
				t.Errorf("status %d, want %d: %s", status, c.status, errs)
			}
			for _, want := range c.stdout {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out, not) {
					t.Errorf("%q in:\n%s", not, out)
				}
			}
			for _, want := range c.stderr {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q on stderr: %s", want, errs)
				}
			}
		})
	}
	if got, err := filepath.Glob("*"); err != nil || len(got) != 7 {
		t.Errorf("files: %v %v", got, err)
	}
}
