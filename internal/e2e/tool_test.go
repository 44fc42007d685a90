package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warpscope/warpscope/internal/counts"
)

// patience bounds every command, so that a hang is a failure with the command's name.
const patience = 2 * time.Minute

// tool is a built warpscope in a folder of its own.
type tool struct {
	t   *testing.T
	bin string // bin/warpscope
	dir string // where commands run
	env []string
}

// result is how a command ended.
type result struct {
	status         int
	stdout, stderr string
}

// newTool finds what `make build` made. Without it the test is skipped, or fails where the build is
// known to have run.
func newTool(t *testing.T) *tool {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin, sim := filepath.Join(top, "bin/warpscope"), filepath.Join(top, "bin/sim")
	for _, path := range []string{bin, filepath.Join(sim, "libcuda.so.1"), filepath.Join(sim, "libcupti.so.13")} {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if strings.Contains(os.Getenv("WARPSCOPE_REQUIRE"), "build") {
			t.Fatalf("%s is missing: run make build", path)
		}
		t.Skipf("%s is missing: run make build", path)
	}
	dir := t.TempDir()
	tool := &tool{t: t, bin: bin, dir: dir}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "WARPSCOPE_") || strings.HasPrefix(name, "CUDA_") || name == "LD_PRELOAD" || name == "LD_LIBRARY_PATH" {
			continue
		}
		tool.env = append(tool.env, entry)
	}
	// The simulated libraries come first, also on a machine that has a GPU.
	tool.env = append(tool.env, "LD_LIBRARY_PATH="+sim, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "NO_COLOR=1")
	return tool
}

// command runs a program to its end in the tool's folder.
func (w *tool) command(env []string, name string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	c.WaitDelay = 5 * time.Second // its children may hold the pipes
	err := c.Run()
	if ctx.Err() != nil {
		w.t.Fatalf("%s %s hangs\n%s", name, strings.Join(args, " "), &stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%s: %v", name, err)
	}
	return result{status(c.ProcessState), stdout.String(), stderr.String()}
}

// status is the exit status as a shell shows it: 128 and the number of the signal, where one ended it.
func status(state *os.ProcessState) int {
	if wait, ok := state.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		return 128 + int(wait.Signal())
	}
	return state.ExitCode()
}

// warpscope runs the agent.
func (w *tool) warpscope(args ...string) result {
	w.t.Helper()
	return w.command(nil, w.bin, args...)
}

// ok is warpscope where nothing but success will do; it returns standard output.
func (w *tool) ok(args ...string) string {
	w.t.Helper()
	r := w.warpscope(args...)
	if r.status != 0 {
		w.t.Fatalf("warpscope %s: exit status %d\n%s", strings.Join(args, " "), r.status, r.stderr)
	}
	return r.stdout
}

// path is a file in the tool's folder.
func (w *tool) path(name string) string { return filepath.Join(w.dir, name) }

// inspect writes what a trace holds to a file and returns it decoded too.
func (w *tool) inspect(trace string) (file string, content map[string]any) {
	w.t.Helper()
	text := w.ok("inspect", "--json", "--kernels", "--copies", "--memory", "--nvtx", "--top", "0", trace)
	file = trace + ".json"
	if err := os.WriteFile(w.path(file), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &content); err != nil {
		w.t.Fatalf("inspect --json %s: %v", trace, err)
	}
	return file, content
}

// same compares a trace with a program's own count.
func (w *tool) same(trace, count string, flags ...string) {
	w.t.Helper()
	file, _ := w.inspect(trace)
	var out bytes.Buffer
	if counts.Run(append(flags, w.path(file), w.path(count)), &out, &out) != 0 {
		w.t.Errorf("%s and %s differ:\n%s", trace, count, &out)
	}
}

// captures lists the capture files in the tool's folder.
func (w *tool) captures() []string {
	w.t.Helper()
	found, err := filepath.Glob(w.path("*.wscap"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// library is what `warpscope lib` prints.
func (w *tool) library() string {
	w.t.Helper()
	return strings.TrimSpace(w.ok("lib"))
}
