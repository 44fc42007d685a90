package e2e

import (
	"strings"
	"testing"
)

func TestExitStatusPassesThrough(t *testing.T) {
	for _, test := range []struct {
		script string
		want   int
	}{
		{"exit 0", 0},
		{"exit 7", 7},
		{"kill -TERM $$", 143},
		{"kill -KILL $$", 137},
	} {
		t.Run(test.script, func(t *testing.T) {
			w := newTool(t)
			r := w.warpscope("run", "-o", "t.wscope", "--", "sh", "-c", test.script)
			if r.status != test.want {
				t.Errorf("exit status %d, want %d\n%s", r.status, test.want, r.stderr)
			}
		})
	}
}

func TestProgramWithoutCUDA(t *testing.T) {
	w := newTool(t)
	r := w.warpscope("run", "-o", "t.wscope", "--", "echo", "hello")
	if r.status != 0 || r.stdout != "hello\n" {
		t.Errorf("exit status %d, stdout %q", r.status, r.stdout)
	}
	if r.stderr == "" {
		t.Error("nothing was said about a program that never used CUDA")
	}
	// Preloaded, without the agent: not a byte more, not a file.
	r = w.command([]string{"LD_PRELOAD=" + w.library()}, "echo", "hello")
	if r.status != 0 || r.stdout != "hello\n" || r.stderr != "" {
		t.Errorf("preloaded: exit status %d, stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	if found := w.captures(); len(found) != 0 {
		t.Errorf("capture files: %v", found)
	}
}

func TestForeignInjectionIsLeftAlone(t *testing.T) {
	w := newTool(t)
	r := w.command([]string{"CUDA_INJECTION64_PATH=/nonexistent/other.so"}, w.bin, "run", "-o", "t.wscope", "--", "sh", "-c", "echo $CUDA_INJECTION64_PATH")
	if r.status != 0 || strings.TrimSpace(r.stdout) != "/nonexistent/other.so" {
		t.Errorf("exit status %d, stdout %q", r.status, r.stdout)
	}
	if !strings.Contains(r.stderr, "CUDA_INJECTION64_PATH") {
		t.Errorf("nothing was said of the other tool: %q", r.stderr)
	}
}

func TestUserPreloadStaysFirst(t *testing.T) {
	w := newTool(t)
	r := w.command([]string{"LD_PRELOAD=libm.so.6"}, w.bin, "run", "-o", "t.wscope", "--", "sh", "-c", "echo $LD_PRELOAD")
	if r.status != 0 || !strings.HasPrefix(r.stdout, "libm.so.6:") {
		t.Errorf("exit status %d, LD_PRELOAD %q", r.status, r.stdout)
	}
}
