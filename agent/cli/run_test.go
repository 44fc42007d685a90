package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/cupti/lib"
)

// command runs warpscope in process, in a directory of its own.
func command(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	env := &Env{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err, Now: time.Now,
		Environ: append(os.Environ(), "CUDA_INJECTION64_PATH=", "XDG_CACHE_HOME="+t.TempDir()),
	}
	status = Main(context.Background(), env)
	return status, out.String(), err.String()
}

// needLibrary skips what an agent without its capture library cannot do.
func needLibrary(t *testing.T) {
	t.Helper()
	if _, err := lib.Library(); errors.Is(err, lib.ErrNotBuilt) {
		t.Skip("the capture library has not been built: make build")
	}
}

func TestRunRefusesMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("old.wscope", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, says string }{
		{"run", "the program to run is missing"},
		{"run --", "the program to run is missing"},
		{"run --mode fast -- touch started", `--mode "fast": give ledger or timeline`},
		{"run --api some -- touch started", `--api "some": give none, launch or all`},
		{"run --graphs all -- touch started", `--graphs "all": give graph or node`},
		{"run --mode ledger --api all -- touch started", "--api concerns the timeline"},
		{"run --mode ledger --duration 1s -- touch started", "--duration concerns the timeline"},
		{"run --duration 0 -- touch started", "--duration 0: give a length of time above zero"},
		{"run --duration soon -- touch started", `--duration "soon": give a length of time`},
		{"run --start-after -1s -- touch started", "--start-after -1s: give a length of time above zero"},
		{"run --max-size lots -- touch started", `--max-size "lots": give a number of bytes`},
		{"run --max-size 1K -- touch started", "a trace takes at least 64K"},
		{"run --call-times 5ns -- touch started", `--call-times "5ns": give 16ns or exact`},
		{"run --fail-on memory.nothing -- touch started", `--fail-on "memory.nothing": neither a severity`},
		{"run --fail-on memory.leak --no-python -- touch started", "which --no-python leaves out"},
		{"run -o - -- touch started", "standard output belongs to the program"},
		{"run -o %q -- touch started", "%q is none of"},
		{"run -o old.wscope -- touch started", "--force overwrites it"},
		{"run --python-sampling fast -- touch started", "give a number of samples a second up to 1000, or off"},
		{"run --python-sampling 5000 -- touch started", "up to 1000"},
		{"run --operators all -- touch started", "give sampled or off"},
		{"run --alloc-stacks some -- touch started", "give first, all or none"},
		{"run --no-python --operators off -- touch started", "the module that --no-python leaves out"},
		{"run --nonsense -- touch started", "unknown flag: --nonsense"},
		{"lib please", "lib takes no argument"},
	} {
		t.Run(c.args, func(t *testing.T) {
			if strings.Contains(c.args, "old.wscope") {
				needLibrary(t)
			}
			status, stdout, stderr := command(t, "", strings.Fields(c.args)...)
			if status != 2 || !strings.Contains(stderr, c.says) || stdout != "" {
				t.Errorf("status %d, it says %q and prints %q, want %q", status, stderr, stdout, c.says)
			}
			if _, err := os.Stat("started"); err == nil {
				t.Error("the program was started")
			}
		})
	}
	if status, _, stderr := command(t, "", "run", "-o", "", "--", "true"); status != 2 || !strings.Contains(stderr, "--output is empty") {
		t.Errorf("empty output: status %d, %q", status, stderr)
	}
}

func TestRunFlagsBecomeTheConfiguration(t *testing.T) {
	f := runFlags{
		output: "x%r", mode: "timeline", api: "all", graphs: "node",
		startAfter: "1.5", duration: "2m", maxSize: "2G", callTimes: "exact", force: true,
	}
	c, err := f.validate(func(flag string) bool { return flag != "keep" && flag != "capture" && flag != "budget" })
	if err != nil {
		t.Fatal(err)
	}
	if c.Output != "x%r" || !c.Force || c.Mode != collect.Timeline || c.API != collect.APIAll || c.Graphs != collect.GraphsNode ||
		c.StartAfter != 1500*time.Millisecond || c.Duration != 2*time.Minute || c.MaxSize != 2<<30 || !c.ExactCalls {
		t.Errorf("%+v", c)
	}
	if c.StackRate != 0 || c.NoOperators {
		t.Errorf("Python without a flag: %g a second, no operators: %v", c.StackRate, c.NoOperators)
	}
	for text, rate := range map[string]float64{"off": -1, "12.5": 12.5} {
		f := runFlags{output: "x", mode: "timeline", api: "all", graphs: "node", callTimes: "16ns", stacks: text, operators: "off", allocStacks: "all"}
		if c, err := f.validate(func(flag string) bool { return flag == "python-sampling" }); err != nil || c.StackRate != rate || !c.NoOperators || c.AllocStacks != "" {
			t.Errorf("--python-sampling %s: %g, no operators: %v, %v", text, c.StackRate, c.NoOperators, err)
		}
	}
}

func TestRun(t *testing.T) {
	needLibrary(t)
	t.Chdir(t.TempDir())
	status, stdout, stderr := command(t, "to the program\n", "run", "-o", "t.wscope", "sh", "-c", "cat; echo problem >&2; exit 3", "-x")
	if status != 3 || stdout != "to the program\n" {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
	begin, problem := strings.Index(stderr, "warpscope: recording "), strings.Index(stderr, "problem\n")
	next := strings.Index(stderr, "warpscope: next: warpscope inspect t.wscope\n")
	if begin < 0 || problem < 0 || next < problem {
		t.Errorf("stderr:\n%s", stderr)
	}
	for _, line := range strings.Split(strings.TrimSuffix(stderr, "\n"), "\n") {
		if line != "problem" && !strings.HasPrefix(line, "warpscope: ") {
			t.Errorf("a line of unknown origin: %q", line)
		}
	}
	if info, err := os.Stat("t.wscope"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("trace %v, %v", info, err)
	}
}

func TestRunQuietly(t *testing.T) {
	needLibrary(t)
	t.Chdir(t.TempDir())
	status, stdout, stderr := command(t, "", "run", "-q", "--", "sh", "-c", "exit 4")
	if status != 4 || stdout != "" || stderr != "" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if found, _ := filepath.Glob("warpscope-*.wscope"); len(found) != 1 {
		t.Errorf("traces %q", found)
	}
	if status, _, stderr := command(t, "", "run", "-q", "--", "warpscope-no-such-program"); status != 127 || !strings.Contains(stderr, "not found in PATH") {
		t.Errorf("a program that does not exist: status %d, %q", status, stderr)
	}
	if status, _, stderr := command(t, "", "run", "-o", "nowhere/t.wscope", "--", "true"); status != 1 ||
		!strings.Contains(stderr, "there is no directory nowhere; the program was not started") {
		t.Errorf("no such directory: status %d, %q", status, stderr)
	}
}

func TestLibPrintsAPathThatLasts(t *testing.T) {
	needLibrary(t)
	status, stdout, stderr := command(t, "", "lib")
	path := strings.TrimSuffix(stdout, "\n")
	if info, err := os.Stat(path); status != 0 || err != nil || !filepath.IsAbs(path) || info.Size() == 0 {
		t.Errorf("status %d, %q, %v, %s", status, stdout, err, stderr)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "100B": 100, "64K": 65536, "64k": 65536, "1.5M": 3 << 19, "2GiB": 2 << 30, "2GB": 2_000_000_000, "1T": 1 << 40,
	} {
		if got, err := parseSize("--max-size", text); err != nil || got != want {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "K", "-1", "0", "1X", "1Kx", "1BK", "NaN", "Inf", "1e30", "9999999T"} {
		if got, err := parseSize("--max-size", text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestParseLength(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "2": 2 * time.Second, "0.5": 500 * time.Millisecond} {
		if got, err := parseLength("--duration", text); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0s", "-2", "NaN", "1e99", "1x"} {
		if got, err := parseLength("--duration", text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
