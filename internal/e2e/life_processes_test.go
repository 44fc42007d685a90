package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcesses runs programs that make other processes. Each captured process is whole, nothing of
// a child that cannot be captured is in its parent's capture, and every status is the program's.
func TestProcesses(t *testing.T) {
	b := newBuild(t)
	program := b.compile("life")
	for _, test := range []struct {
		name      string
		scenario  string
		status    int
		processes int  // captured ones
		cut       bool // one of them could not finish: its timeline may lack its end
		only      int  // the slots of the tally that count: those before it do not; 0: all
	}{
		{"fork without exec", "fork_after", 3, 1, false, 0},
		{"fork, and the child starts CUDA", "fork_before", 3, 1, false, 0},
		{"fork, and both start CUDA", "fork_both", 3, 2, false, 0},
		{"clone, unknown to the C library", "raw_clone", 3, 1, false, 0},
		{"vfork and exec", "vfork_exec", 0, 2, false, 0},
		{"vfork and _exit", "vfork_exit", 3, 1, false, 0},
		{"posix_spawn", "spawn", 0, 2, false, 0},
		{"exec of another program", "execute", 0, 2, true, 0},
		{"exec from a thread", "thread_execute", 0, 2, true, 0},
		{"CUDA started late", "late", 0, 1, false, 0},
		{"CUDA asked for its version alone", "version_only", 0, 0, false, 0},
		{"main thread ends first", "main_thread_exits", 0, 1, false, 0},
		{"threads that die after allocating", "threads_die", 0, 1, false, 0},
		{"several contexts, one destroyed", "contexts", 0, 1, false, 0},
		{"device reset", "reset", 0, 1, false, 0},
		{"300 contexts, one after the other", "many_resets", 0, 1, false, 0},
	} {
		plain := ""
		if test.scenario == "main_thread_exits" || test.scenario == "threads_die" {
			plain = ownThread
		}
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != test.status {
				t.Errorf("exit status %d, want %d\n%s", r.status, test.status, r.stderr)
			}
			if test.processes == 0 {
				if f != nil && len(f.Processes) != 0 {
					t.Errorf("processes %+v", f.Processes)
				}
				return
			}
			if f == nil {
				t.Fatalf("no capture file\n%s", r.stderr)
			}
			if len(f.Processes) != test.processes {
				t.Errorf("%d processes, want %d: %+v", len(f.Processes), test.processes, f.Processes)
			}
			c := sum(w.tallies())
			if strings.HasPrefix(test.scenario, "reset") || strings.HasPrefix(test.scenario, "context") || test.scenario == "many_resets" {
				// What goes with its context is released without a call.
				for s := range spaces {
					c.of[s].releases = f.of(s).releases
				}
			}
			if !test.cut {
				whole(t, f, &c)
				return
			}
			sameMemory(t, f, &c)
			if f.recorded("kernels") < c.launches && !f.endUnknown() {
				t.Errorf("%d of %d kernels, and nothing is said to be missing", f.recorded("kernels"), c.launches)
			}
		}
		t.Run(test.name, func(t *testing.T) {
			needs(t, b, false, plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, nil, program, test.scenario, "0")
			check(t, w, r, f)
		})
		t.Run(test.name+", without the agent", func(t *testing.T) {
			needs(t, b, false, plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, nil, program, test.scenario, "0")
			check(t, w, r, f)
		})
	}
}

// TestForkStorm forks again and again while other threads allocate.
func TestForkStorm(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	b.unsuited("leaves its allocator locked in a child of a program with threads")
	program := b.compile("life")
	w := newTool(t)
	r, f := w.trace(b, nil, program, "fork_storm", "0", "60")
	if r.status != 0 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	c := sum(w.tallies())
	whole(t, f, &c)
	if len(f.Processes) != 1 {
		t.Errorf("processes %+v", f.Processes)
	}
}

// TestDaemonOutlivesTheProgram: the program ends at once, its grandchild works on, longer than the
// agent waits. The agent ends in time and says what it will miss; the grandchild goes on unharmed.
func TestDaemonOutlivesTheProgram(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("life")
	w := newTool(t)
	r, f := w.trace(b, nil, program, "daemon", "0", "", w.path("go"), "1")
	if r.status != 7 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	at := w.tallies()[1]
	if at.stage != 1 {
		t.Fatalf("the daemon was at stage %d when the agent ended", at.stage)
	}
	if !strings.Contains(r.stderr, "outlives the program") || !f.said("outlives the program") {
		t.Errorf("nothing was said of the daemon: %q, %q", r.stderr, f.Provenance.Notes)
	}
	// All that it had done by then is there.
	sameMemory(t, f, &at)
	sameTimeline(t, f, &at)
	w.touch("go")
	for deadline := time.Now().Add(patience); w.tallies()[1].stage != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon did not survive the agent")
		}
	}
	waitForEnd(t, int(at.pid))
}

// waitForEnd waits until a process that is no child of ours is gone.
func waitForEnd(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
}

// TestDaemonThatStartsLater begins with CUDA when program and agent have ended: it is not recorded, and
// nothing else happens to it.
func TestDaemonThatStartsLater(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("life")
	w := newTool(t)
	r, f := w.trace(b, nil, program, "daemon", "0", w.path("go"), "", "0")
	w.touch("go")
	if r.status != 7 || len(f.Processes) != 0 {
		t.Errorf("exit status %d, %+v\n%s", r.status, f.Processes, r.stderr)
	}
	for deadline := time.Now().Add(patience); w.tallies()[1].stage != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon did not get to its end")
		}
	}
	waitForEnd(t, int(w.tallies()[1].pid))
}

// TestDaemonThatEndsSoon is the same where the daemon goes on working and ends by itself. Where the agent's
// patience was enough it is recorded to its end; where the machine was too slow for that, the trace says so.
func TestDaemonThatEndsSoon(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("life")
	w := newTool(t)
	r, f := w.trace(b, nil, program, "daemon", "0", "", "", "1")
	if r.status != 7 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	if f.said("outlives the program") {
		if !f.endUnknown() && f.Processes[0].State == "finished" {
			t.Errorf("the daemon outlived the agent, and its end is said to be known: %+v", f.Processes)
		}
		return
	}
	c := w.tallies()[1]
	whole(t, f, &c)
}

// TestKilledAgent ends the agent with SIGKILL while the program works, and before it starts CUDA. The
// program's status is its own, and the trace is readable to its last whole frame.
func TestKilledAgent(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("storm")
	w := newTool(t)
	c := exec.Command(w.bin, w.under(b, nil, nil, "sh", "-c",
		`"$1" two_storms 0 "$2" 3000; echo $? >status`, "sh", program, w.path("go"))...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.waitForStage(c, 1)
	// What the first storm did is written within the agent's own flush interval.
	before := w.waitForTrace()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	w.touch("go")
	w.waitForFile("status")
	if got := strings.TrimSpace(w.read("status")); got != "0" {
		t.Errorf("the program's exit status is %s", got)
	}
	after := w.tallies()[0]
	if after.stage != 2 {
		t.Errorf("the program got as far as stage %d", after.stage)
	}
	f := w.figures("t.wscope")
	if n := f.recorded("allocations") + uint64(len(f.Damage)); f.Provenance.Complete || n == 0 {
		t.Errorf("complete %v, damage %q", f.Provenance.Complete, f.Damage)
	}
	got := f.of(device).allocations
	if got < before || got > after.of[device].allocations {
		t.Errorf("%d allocations in the trace; %d were there before the agent was killed, %d in all", got, before, after.of[device].allocations)
	}
	w.onlyTrace()
}

// waitForTrace waits until the agent has written allocations, and returns how many.
func (w *tool) waitForTrace() uint64 {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if r := w.warpscope("inspect", "--json", "--memory", "t.wscope"); r.status != 0 {
			continue
		}
		if n := w.figures("t.wscope").of(device).allocations; n > 0 {
			return n
		}
	}
	w.t.Fatal("nothing was written while the program ran")
	return 0
}

// TestStoppedAgent stops the agent while the program launches and allocates more than the rings hold.
// The program does not wait; what is lost is counted, and what is live at the end is exact again.
func TestStoppedAgent(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	b.unsuited("makes a storm of this size last for minutes")
	program := b.compile("storm")
	w := newTool(t)
	c := exec.Command(w.bin, w.under(b, nil, nil, program, "pairs", "0", "1100000", w.path("go"))...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.waitForStage(c, 1)
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.touch("go")
	w.waitForStage(c, 2) // without the agent
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.touch("go2")
	if err := c.Wait(); err != nil {
		t.Errorf("the program: %v", err)
	}
	f, count := w.figures("t.wscope"), w.tallies()[0]
	sameLive(t, f, &count)
	calls := uint64(0)
	for s := range spaces {
		calls += count.of[s].allocations + count.of[s].releases
	}
	for kind, want := range map[string]uint64{"allocations": calls, "kernels": count.launches} {
		lost := uint64(0)
		for _, row := range f.Losses.Rows {
			if row.Kind == kind && strings.HasPrefix(row.Cause, "ring full") {
				lost += row.Count
			}
		}
		if lost == 0 || f.recorded(kind)+lost != want {
			t.Errorf("%s: %d recorded and %d lost; the program counted %d", kind, f.recorded(kind), lost, want)
		}
	}
}

// TestAgentGoneBeforeCUDA: the agent is killed, or stops, before the program starts CUDA. The program
// says that it is not recorded and does its work.
func TestAgentGoneBeforeCUDA(t *testing.T) {
	b := newBuild(t)
	program := b.compile("ends")
	for _, test := range []struct{ name, how string }{
		{"killed", "kill -KILL $PPID"},
		{"stopped", "kill -STOP $PPID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			script := test.how + `; "$1" return 0 2>said; echo $? >status`
			c := exec.Command(w.bin, w.under(b, nil, nil, "sh", "-c", script, "sh", program)...)
			c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			w.waitForFile("status")
			if err := c.Process.Signal(syscall.SIGCONT); err != nil && test.name == "stopped" {
				t.Error(err)
			}
			_ = c.Wait() // its status is the script's, or its own
			if got := strings.TrimSpace(w.read("status")); got != "7" || !strings.Contains(w.read("said"), "not recorded") {
				t.Errorf("exit status %s, said %q", got, w.read("said"))
			}
			if count := w.tallies()[0]; count.launches == 0 {
				t.Error("the program did not do its work")
			}
			f := w.figures("t.wscope")
			if n := f.recorded("kernels") + f.recorded("allocations"); n != 0 {
				t.Errorf("%d records", n)
			}
		})
	}
}
