package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orphan starts a program under an agent, lets it work, and kills the agent. It returns what the program
// had counted by then; the program waits for the file "go".
func (w *tool) orphan(b *build, program ...string) tally {
	w.t.Helper()
	c := exec.Command(w.bin, w.under(b, nil, nil, append([]string{"sh", "-c", `"$@"; echo $? >status`, "sh"}, program...)...)...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.waitForStage(c, 1)
	w.waitForTrace()
	if err := c.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = c.Wait()
	return w.tallies()[0]
}

// waitForSize waits until something is in a file of the tool's folder: an agent that attaches gives its trace
// the name when it has taken the process over.
func (w *tool) waitForSize(name string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(w.path(name)); err == nil && info.Size() > 0 {
			if r := w.warpscope("inspect", "--json", name); r.status == 0 && strings.Contains(r.stdout, `"pid"`) {
				return
			}
		}
	}
	w.t.Fatalf("%s was not written", name)
}

// TestAnotherAgentGoesOn kills the agent and starts another one. From then on everything is in the new trace,
// with what was allocated before; the old trace is readable too.
func TestAnotherAgentGoesOn(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("storm")
	w := newTool(t)
	before := w.orphan(b, program, "two_storms", "0", w.path("go"), "3000")
	c := exec.Command(w.bin, "attach", "-o", "rest.wscope", fmt.Sprint(before.pid))
	c.Dir, c.Env = w.dir, w.env
	var said strings.Builder
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// A third one is refused, once the second has begun.
	w.waitForSize("rest.wscope")
	if r := w.warpscope("attach", "-o", "third.wscope", fmt.Sprint(before.pid)); r.status != 1 || !strings.Contains(r.stderr, "another agent is recording it") || w.exists("third.wscope") {
		t.Errorf("a third agent: exit status %d, %q", r.status, r.stderr)
	}
	w.touch("go")
	if err := c.Wait(); err != nil {
		t.Fatalf("attach: %v\n%s", err, &said)
	}
	w.waitForFile("status")
	if got := strings.TrimSpace(w.read("status")); got != "0" {
		t.Errorf("the program's exit status is %s", got)
	}
	first, rest, after := w.figures("t.wscope"), w.figures("rest.wscope"), w.tallies()[0]
	sameLive(t, rest, &after)
	if len(rest.Processes) != 1 || rest.Processes[0].State != "finished" || rest.endUnknown() || !rest.said("its agent had ended") {
		t.Errorf("processes %+v, losses %+v, notes %q", rest.Processes, rest.Losses, rest.Provenance.Notes)
	}
	// What the killed agent had read and not written is in neither trace: at most what was there when it died.
	for _, row := range []struct {
		kind          string
		before, after uint64
	}{{"kernels", before.launches, after.launches}, {"allocations", before.calls(), after.calls()}} {
		got := rest.recorded(row.kind) + rest.Losses.Lost
		if got < row.after-row.before || first.recorded(row.kind)+got > row.after {
			t.Errorf("%s: %d in the first trace, %d in the second, which has to have at least %d of %d", row.kind, first.recorded(row.kind), got, row.after-row.before, row.after)
		}
	}
	if rest.Simulated != first.Simulated || len(rest.GPUs) != 1 || !strings.Contains(rest.GPUs[0].Name, "simulated") {
		t.Errorf("the GPU has no name in the second trace: %+v", rest.GPUs)
	}
}

// TestInterruptedAttach: the second agent is asked to end. The program goes on, and a third one may read it.
func TestInterruptedAttach(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("storm")
	w := newTool(t)
	before := w.orphan(b, program, "two_storms", "0", w.path("go"), "300")
	for i := range 2 {
		name := fmt.Sprintf("rest-%d.wscope", i)
		c := exec.Command(w.bin, "attach", "-o", name, fmt.Sprint(before.pid))
		c.Dir, c.Env = w.dir, w.env
		var said strings.Builder
		c.Stderr = &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		w.waitForSize(name)
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil || !strings.Contains(said.String(), "goes on") {
			t.Errorf("attach: %v\n%s", err, &said)
		}
		sameLive(t, w.figures(name), &before)
	}
	w.touch("go")
	w.waitForFile("status")
	if got := strings.TrimSpace(w.read("status")); got != "0" {
		t.Errorf("the program's exit status is %s", got)
	}
}

// TestAttachRefuses what cannot be taken over, and says what to do instead.
func TestAttachRefuses(t *testing.T) {
	w := newTool(t)
	sleeper := exec.Command("sleep", "100")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	}()
	for _, test := range []struct {
		name, pid, said string
		status          int
	}{
		{"a process that is not recorded", fmt.Sprint(sleeper.Process.Pid), "not recorded by any agent", 1},
		{"no process", "999999999", "no such process", 1},
		{"no number", "python", "is no PID", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if r := w.warpscope("attach", "-o", "t.wscope", test.pid); r.status != test.status || !strings.Contains(r.stderr, test.said) || w.exists("t.wscope") {
				t.Errorf("exit status %d, said %q", r.status, r.stderr)
			}
		})
	}
}
