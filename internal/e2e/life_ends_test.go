package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownThread is why some ends cannot be tried with the thread sanitizer.
const ownThread = "thread: has a thread of its own that never ends"

// TestEveryEnd lets a program end in each of the ways that there are. Its status is its own, every
// allocation is recorded, and the timeline is whole or says that its end is missing.
func TestEveryEnd(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, test := range []struct {
		name   string
		args   []string
		status int
		whole  bool // the capture can see the end coming
	}{
		{"return from main", []string{"return", "0"}, 7, true},
		{"exit", []string{"exit", "0"}, 7, true},
		{"_exit", []string{"_exit", "0"}, 7, true},
		{"_Exit", []string{"_Exit", "0"}, 7, true},
		{"quick_exit", []string{"quick_exit", "0"}, 7, true},
		{"_exit in a handler of SIGTERM", []string{"handler", "0"}, 9, true},
		{"the last thread's own end", []string{"thread_exit", "0"}, 7, true},
		{"exit_group", []string{"exit_group", "0"}, 7, false},
		{"SIGTERM", []string{"signal", "0", "15"}, 128 + 15, false},
		{"SIGSEGV, sent", []string{"signal", "0", "11"}, 128 + 11, false},
		{"SIGSEGV, real", []string{"fault", "0"}, 128 + 11, false},
		{"SIGABRT", []string{"signal", "0", "6"}, 128 + 6, false},
		{"SIGKILL", []string{"signal", "0", "9"}, 128 + 9, false},
		{"SIGXCPU", []string{"signal", "0", "24"}, 128 + 24, false},
	} {
		plain := ""
		if test.args[0] == "thread_exit" {
			plain = ownThread
		}
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != test.status {
				t.Errorf("exit status %d, want %d\n%s", r.status, test.status, r.stderr)
			}
			c := sum(w.tallies())
			if test.whole {
				whole(t, f, &c)
				return
			}
			// Killed: nothing that was published is missing, and the trace does not claim to be whole.
			sameMemory(t, f, &c)
			if got := f.recorded("kernels"); got > c.launches {
				t.Errorf("%d kernels of %d", got, c.launches)
			}
			if !f.endUnknown() || len(f.Processes) != 1 || f.Processes[0].State != "killed" {
				t.Errorf("the trace does not say that its end is missing: %+v, %+v", f.Losses, f.Processes)
			}
		}
		t.Run(test.name, func(t *testing.T) {
			needs(t, b, false, plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, nil, append([]string{program}, test.args...)...)
			check(t, w, r, f)
		})
		t.Run(test.name+", without the agent", func(t *testing.T) {
			needs(t, b, false, plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, nil, append([]string{program}, test.args...)...)
			if f == nil {
				t.Fatalf("no capture file\n%s", r.stderr)
			}
			check(t, w, r, f)
		})
	}
}

// TestEndWhileOthersLaunch calls exit while three threads are in the driver. What they launch after
// that is missing, and the trace says so.
func TestEndWhileOthersLaunch(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	check := func(t *testing.T, w *tool, r result, f *figures) {
		if r.status != 7 {
			t.Errorf("exit status %d\n%s", r.status, r.stderr)
		}
		c := w.tallies()[0]
		if got := f.recorded("kernels"); got+f.Losses.Lost < c.extra || got > c.launches+3 {
			t.Errorf("%d kernels and %d lost; %d were launched before the end began, %d in all", got, f.Losses.Lost, c.extra, c.launches)
		}
		if f.recorded("kernels") < c.launches && !f.endUnknown() && f.Losses.Lost == 0 {
			t.Errorf("%d of %d kernels, and nothing is said to be missing", f.recorded("kernels"), c.launches)
		}
	}
	for i := range 3 {
		t.Run(fmt.Sprint("with the agent ", i), func(t *testing.T) {
			w := newTool(t)
			r, f := w.trace(b, nil, program, "while_launching", "0")
			check(t, w, r, f)
		})
		t.Run(fmt.Sprint("without ", i), func(t *testing.T) {
			w := newTool(t)
			r, f := w.alone(b, nil, program, "while_launching", "0")
			check(t, w, r, f)
		})
	}
}

// TestWorkAtExit uses CUDA in a function that exit calls when the driver's own turn has passed. The
// ledger goes on; the timeline has ended, and the trace says that something is missing.
func TestWorkAtExit(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	check := func(t *testing.T, w *tool, r result, f *figures) {
		if r.status != 7 {
			t.Errorf("exit status %d\n%s", r.status, r.stderr)
		}
		c := sum(w.tallies())
		sameMemory(t, f, &c)
		if f.recorded("kernels") >= c.launches || !f.endUnknown() {
			t.Errorf("%d of %d kernels, losses %+v", f.recorded("kernels"), c.launches, f.Losses)
		}
	}
	t.Run("with the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.trace(b, nil, program, "work_at_exit", "0")
		check(t, w, r, f)
		if !f.said("the program went on after it had called exit") {
			t.Errorf("the notes do not say so: %q", f.Provenance.Notes)
		}
	})
	t.Run("without the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.alone(b, nil, program, "work_at_exit", "0")
		check(t, w, r, f)
	})
}

// TestProgramWithoutAnyCall is linked with the driver and never starts it, or is linked with nothing.
func TestProgramWithoutAnyCall(t *testing.T) {
	b := newBuild(t)
	t.Run("linked with the driver", func(t *testing.T) {
		program := b.compile("ends")
		w := newTool(t)
		r, f := w.trace(b, nil, program, "without_cuda", "0")
		if r.status != 7 || len(f.Processes) != 0 || !f.said("no process of the program used CUDA") {
			t.Errorf("exit status %d, processes %+v, notes %q", r.status, f.Processes, f.Provenance.Notes)
		}
		if r := w.preloaded(b, nil, program, "without_cuda", "0"); r.status != 7 || r.stdout+r.stderr != "" || len(w.captures()) != 0 {
			t.Errorf("preloaded: exit status %d, %q, %v", r.status, r.stdout+r.stderr, w.captures())
		}
	})
	t.Run("linked with nothing", func(t *testing.T) {
		needs(t, b, false, "has no static programs")
		program := b.compile("static", "-static")
		w := newTool(t)
		r, f := w.trace(b, nil, program)
		if r.status != 7 || r.stdout != "static\n" || len(f.Processes) != 0 {
			t.Errorf("exit status %d, stdout %q, processes %+v", r.status, r.stdout, f.Processes)
		}
		if r := w.preloaded(b, nil, program); r.status != 7 || r.stdout != "static\n" || r.stderr != "" || len(w.captures()) != 0 {
			t.Errorf("preloaded: exit status %d, %q, %q, %v", r.status, r.stdout, r.stderr, w.captures())
		}
	})
}

// TestKilledAtWork kills a program that works without a pause, at several moments.
func TestKilledAtWork(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			c := exec.Command(w.bin, w.under(b, nil, nil, program, "never", "0")...)
			c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
			var stderr strings.Builder
			c.Stderr = &stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			before := w.waitForStage(c, uint64(20+100*i))
			if err := syscall.Kill(int(before.pid), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // its status is the program's
			if got := status(c.ProcessState); got != 128+int(syscall.SIGKILL) {
				t.Errorf("exit status %d\n%s", got, &stderr)
			}
			f := w.figures("t.wscope")
			count := sum(w.tallies())
			// What the program had counted was published; one call may have been between the two.
			traced, counted := f.of(device).allocations+f.of(pool).allocations, count.allocations()
			if traced < counted || traced > counted+1 {
				t.Errorf("%d allocations traced, %d counted", traced, counted)
			}
			if got := f.recorded("kernels"); got > count.launches+1 {
				t.Errorf("%d kernels of %d", got, count.launches)
			}
			if !f.endUnknown() {
				t.Errorf("the trace does not say that its end is missing: %+v", f.Losses)
			}
		})
	}
}

// waitForStage waits until the program has counted so far, and returns its count.
func (w *tool) waitForStage(c *exec.Cmd, stage uint64) tally {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !w.exists("tally") {
			continue
		}
		if all := w.tallies(); len(all) > 0 && all[0].stage >= stage {
			return all[0]
		}
	}
	_ = c.Process.Kill()
	w.t.Fatalf("the program did not get as far as stage %d", stage)
	return tally{}
}
