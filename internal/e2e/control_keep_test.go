package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dropped adds up what a trace says was dropped as too old, by kind.
func (f *figures) dropped(kind string) (n uint64) {
	for _, row := range f.Losses.Rows {
		if strings.Contains(row.Cause, "--keep") && (kind == "" || row.Kind == kind) {
			n += row.Count
		}
	}
	return n
}

// keptSpan is from the first to the last kernel of a trace.
func (w *tool) keptSpan(trace string) time.Duration {
	w.t.Helper()
	var overview struct {
		GPUs []struct {
			ActiveNS int64 `json:"active_ns"`
		} `json:"gpus"`
	}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", trace)), &overview); err != nil || len(overview.GPUs) == 0 {
		w.t.Fatalf("inspect --json %s: %v", trace, err)
	}
	return time.Duration(overview.GPUs[0].ActiveNS)
}

// TestKeepDropsTheOldest records for longer than is to be kept: the newest is there, the rest is counted, and what
// is allocated is known, also what was before.
func TestKeepDropsTheOldest(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--keep", "2s"}, nil, program, "keeper", "0", "9")...)
	w.clean(b, r)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	f, c := w.figures("t.wscope"), sum(w.tallies())
	sameLive(t, f, &c)
	if got := f.recorded("kernels") + f.dropped("kernels"); got != c.launches {
		t.Errorf("%d kernels in the trace and %d dropped, %d launched", f.recorded("kernels"), f.dropped("kernels"), c.launches)
	}
	if f.dropped("kernels") == 0 || f.recorded("kernels") == 0 || f.dropped("allocations") == 0 {
		t.Errorf("losses %+v", f.Losses)
	}
	if f.Losses.Lost != 0 || len(f.Damage) != 0 {
		t.Errorf("losses %+v, damage %q", f.Losses, f.Damage)
	}
	if !f.said("keeps the newest 2s") {
		t.Errorf("notes %q", f.Provenance.Notes)
	}
	if span := w.keptSpan("t.wscope"); span > 5*time.Second {
		t.Errorf("kernels of %v are in the trace", span)
	}
	if f.Processes[0].Windows != 1 {
		t.Errorf("processes %+v", f.Processes)
	}
	for _, p := range f.Memory.Processes {
		for _, l := range p.Largest {
			main := false
			for _, frame := range l.Stack {
				main = main || frame.Symbol == "main"
			}
			if !main {
				t.Errorf("an allocation of %d bytes has the stack %+v", l.Bytes, l.Stack)
			}
		}
	}
	w.onlyTrace()
}

// onlyTrace checks that no other file was left beside the trace.
func (w *tool) onlyTrace() {
	w.t.Helper()
	left, err := filepath.Glob(w.path(".warpscope-*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range left {
		w.t.Errorf("%s is left", path)
	}
}

// TestKeepIsReadableAtAnyMoment reads the trace while it is written and shortened, and after SIGKILL of
// the agent.
func TestKeepIsReadableAtAnyMoment(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	c := exec.Command(w.bin, w.under(b, []string{"--keep", "2s"}, nil, program, "keeper", "0", "20")...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.waitForContent("t.wscope")
	renewed, last := 0, os.FileInfo(nil)
	read := func() *figures {
		t.Helper()
		f := w.figures("t.wscope")
		for _, damage := range f.Damage {
			if !strings.HasPrefix(damage, "the trace is incomplete") { // it is being written
				t.Fatalf("damage %q", f.Damage)
			}
		}
		return f
	}
	for start := time.Now(); time.Since(start) < 8*time.Second; time.Sleep(100 * time.Millisecond) {
		read()
		info, err := os.Stat(w.path("t.wscope"))
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && !os.SameFile(last, info) {
			renewed++
		}
		last = info
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // its status is that of a killed process
	f := read()
	if renewed == 0 || f.Kernels.All.Count == 0 || !f.said("keeps the newest 2s") {
		t.Errorf("made shorter %d times; %d kernels, notes %q", renewed, f.Kernels.All.Count, f.Provenance.Notes)
	}
	if span := w.keptSpan("t.wscope"); span > 6*time.Second {
		t.Errorf("kernels of %v are in the trace", span)
	}
	w.onlyTrace()
}

// waitForContent waits until a file holds something.
func (w *tool) waitForContent(name string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(w.path(name)); err == nil && info.Size() > 0 {
			return
		}
	}
	w.t.Fatalf("%s was not written", name)
}

// TestKeepNeedsAFile refuses what cannot be shortened.
func TestKeepNeedsAFile(t *testing.T) {
	w := newTool(t)
	r := w.warpscope("run", "-o", "/dev/null", "--keep", "5m", "--", "touch", "ran")
	if r.status != 1 || !strings.Contains(r.stderr, "--keep") || w.exists("ran") {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
}
