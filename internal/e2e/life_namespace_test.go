package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPIDNamespace runs the program where it has another PID than the agent sees, as in a container.
func TestPIDNamespace(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	if out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("no PID namespace can be made here: %v, %s", err, out)
	}
	for _, test := range []struct {
		end    string
		status int
	}{{"return", 7}, {"signal", 128 + 9}} {
		t.Run(test.end, func(t *testing.T) {
			w := newTool(t)
			// A shell between them: the first process of a namespace gets no signal that it does not handle.
			script := `"$@"; exit $?`
			r, f := w.trace(b, nil, "unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", program, test.end, "0", "9")
			if r.status != test.status {
				t.Errorf("exit status %d, want %d\n%s", r.status, test.status, r.stderr)
			}
			c := w.tallies()[0]
			if len(f.Processes) != 1 || f.Processes[0].InnerPID != c.pid || f.Processes[0].PID == c.pid {
				t.Errorf("processes %+v, the program's own PID is %d", f.Processes, c.pid)
			}
			if test.end == "return" {
				whole(t, f, &c)
				return
			}
			sameMemory(t, f, &c)
			if f.Processes[0].State != "killed" || !f.endUnknown() {
				t.Errorf("processes %+v, losses %+v", f.Processes, f.Losses)
			}
		})
	}
	t.Run("without the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.alone(b, nil, "unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", `"$@"; exit $?`, "sh", program, "return", "0")
		if r.status != 7 || f == nil {
			t.Fatalf("exit status %d\n%s", r.status, r.stderr)
		}
		c := w.tallies()[0]
		whole(t, f, &c)
	})
}

// TestSetuid: a program with privileges that its caller does not have is left alone, and says so.
func TestSetuid(t *testing.T) {
	b := newBuild(t)
	b.unsuited("cannot be loaded into a program with privileges of its own")
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a program that belongs to another user")
	}
	sim, err := filepath.Abs("../../bin/sim")
	if err != nil {
		t.Fatal(err)
	}
	program := b.compile("ends", "-Wl,-rpath,"+sim) // LD_LIBRARY_PATH is not followed there
	w := newTool(t)
	if err := os.Chown(program, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, os.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	// The other user has to get at the program, the library and the tally.
	for _, dir := range []string{b.dir, w.dir} {
		for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(w.path("tally"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.path("tally"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, f := w.trace(b, nil, program, "return", "0")
	if r.status != 7 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	if n := f.recorded("kernels") + f.recorded("allocations"); n != 0 {
		t.Errorf("%d records", n)
	}
	if !strings.Contains(r.stderr, "not recorded") && !f.said("no process of the program used CUDA") {
		t.Errorf("nothing was said: %q, %q", r.stderr, f.Provenance.Notes)
	}
	if c := w.tallies()[0]; c.launches == 0 {
		t.Error("the program did not do its work")
	}
	r = w.preloaded(b, nil, program, "return", "0")
	if r.status != 7 || len(w.captures()) != 0 {
		t.Errorf("preloaded: exit status %d, %v\n%s", r.status, w.captures(), r.stderr)
	}
}
