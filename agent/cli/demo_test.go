package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// demoIn runs `warpscope demo` with a driver-less environment of its own, where it does not get as far as a device.
func demoIn(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := &Env{Args: append([]string{"demo"}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Terminal: func(io.Writer) (int, bool) { return 0, false }}
	status = Main(context.Background(), env)
	return status, out.String(), errs.String()
}

func TestDemoRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--device", "tpu"}, "give auto, gpu or sim"},
		{[]string{"--capture", "outside"}, "give none or in-process"},
		{[]string{"--steps", "0"}, "give 1 or more"},
		{[]string{"-o", "t.wscope"}, "--capture in-process, which was not given"},
		{[]string{"--force"}, "--capture in-process, which was not given"},
		{[]string{"--capture", "in-process", "-o", "-"}, "name the trace file"},
		{[]string{"now"}, "takes no argument"},
	} {
		status, stdout, stderr := demoIn(t, c.args...)
		if status != statusUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("demo %v: status %d, stdout %q, stderr %q", c.args, status, stdout, stderr)
		}
	}
}

func TestDemoChecksTheCountsFileBeforeItWorks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "such", "folder", "count.json")
	status, _, stderr := demoIn(t, "--counts", path)
	if status != statusFailed || !strings.Contains(stderr, path) || strings.Contains(stderr, "step 1") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}

func TestSimulatedLibrariesGoToTheCacheOrAway(t *testing.T) {
	if _, err := os.Stat("../../cupti/sim/lib/libcuda.so.1"); err != nil {
		t.Fatalf("the simulated device is not built (run make build): %v", err)
	}
	cache := t.TempDir()
	path, release, err := extractSimulated(&Env{Environ: []string{"XDG_CACHE_HOME=" + cache}})
	if err != nil || !strings.HasPrefix(path, filepath.Join(cache, "warpscope")+"/") {
		t.Fatalf("extracted to %s, %v", path, err)
	}
	release()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("what is in the cache must stay: %v", err)
	}
	path, release, err = extractSimulated(&Env{Environ: []string{"HOME=/dev/null"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	release()
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("what is in the temporary folder must go: %v", err)
	}
}
