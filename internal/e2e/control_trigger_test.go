package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// compileControl makes the program whose scenarios say themselves when they are to be recorded.
func compileControl(b *build) string {
	return b.compile("control", "-I../../cupti/include")
}

// exact checks that the kernels that were to be in the trace are there, and no other; and that all
// allocations are.
func exact(t *testing.T, w *tool, f *figures) {
	t.Helper()
	c := sum(w.tallies())
	want := uint64(0)
	for _, one := range w.tallies() {
		want += one.extra
	}
	if got := f.recorded("kernels"); got != want {
		t.Errorf("%d kernels in the trace, %d of %d were to be", got, want, c.launches)
	}
	if f.Losses.Lost != 0 || f.endUnknown() {
		t.Errorf("losses %+v", f.Losses)
	}
	sameMemory(t, f, &c)
}

// TestTrigger lets programs decide what of them is recorded, in each way that there is.
func TestTrigger(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	for _, test := range []struct {
		when, scenario string
		windows        int    // how often the timeline was switched on
		said           string // in the trace
	}{
		{"cuda-profiler-api", "profiler", 2, ""},
		{"cuda-profiler-api", "start_alone", 1, ""},
		{"cuda-profiler-api", "stop_alone", 0, "never called cudaProfilerStart"},
		{"nvtx:wanted", "ranges", 3, ""},
		{"nvtx:wanted@", "ranges", 3, ""},
		{"nvtx:wanted@mine", "domains", 2, ""},
		{"nvtx:wanted", "threads", 25, ""},
		{"steps:3-5", "steps 3 5", 1, ""},
		{"steps:1-2", "steps 1 2", 1, ""},
		{"steps:4", "steps 4 4", 1, ""},
		{"steps:8-99", "steps 8 99", 1, ""},
		{"steps:10-20", "steps 10 20", 0, "step 10 never began, the program ended in step 9"},
		{"call", "calls", 1, ""},
		{"call", "early", 1, ""},
	} {
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != 0 {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			exact(t, w, f)
			if test.said != "" && !f.said(test.said) {
				t.Errorf("the trace does not say %q: %q", test.said, f.Provenance.Notes)
			}
			if test.said == "" && f.said("no timeline was recorded") {
				t.Errorf("notes %q", f.Provenance.Notes)
			}
			if len(f.Processes) != 1 || f.Processes[0].Windows != test.windows {
				t.Errorf("processes %+v, want %d windows", f.Processes, test.windows)
			}
		}
		args := append([]string{program}, strings.Fields(test.scenario)...)
		args = append(args[:2], append([]string{"0"}, args[2:]...)...)
		t.Run(test.when+" "+test.scenario, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--capture", test.when}, nil, args...)...)
			w.clean(b, r)
			check(t, w, r, w.figures("t.wscope"))
		})
		t.Run(test.when+" "+test.scenario+", without the agent", func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, []string{"WARPSCOPE_CAPTURE=" + test.when}, args...)
			if f == nil {
				t.Fatalf("no capture file\n%s", r.stderr)
			}
			check(t, w, r, f)
		})
	}
}

// TestTriggerThatNeverComes says so at the end.
func TestTriggerThatNeverComes(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	for _, test := range []struct{ when, scenario, said string }{
		{"nvtx:absent", "ranges", "the range absent never began: no timeline was recorded"},
		{"nvtx:wanted@absent", "domains", "the range wanted@absent never began: no timeline was recorded"},
		{"cuda-profiler-api", "steps", "never called cudaProfilerStart"},
		{"call", "steps", "never called warpscope_start"},
		{"steps:2-3", "profiler", "never called warpscope_step"},
		{"signal", "steps", "never got SIGUSR1"},
	} {
		t.Run(test.when, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--capture", test.when}, nil, program, test.scenario, "0")...)
			w.clean(b, r)
			f := w.figures("t.wscope")
			if !strings.Contains(r.stderr, test.said) || !f.said(test.said) {
				t.Errorf("nobody says %q: %q\n%s", test.said, f.Provenance.Notes, r.stderr)
			}
			if n := f.recorded("kernels"); n != 0 {
				t.Errorf("%d kernels were recorded", n)
			}
		})
	}
}

// TestCallsWithoutTimeline calls the library's functions where there is nothing to switch.
func TestCallsWithoutTimeline(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--mode", "ledger"}, nil, program, "nothing", "0")...)
	w.clean(b, r)
	f := w.figures("t.wscope")
	c := sum(w.tallies())
	if r.status != 0 || f.recorded("kernels") != 0 {
		t.Errorf("exit status %d, %d kernels\n%s", r.status, f.recorded("kernels"), r.stderr)
	}
	sameMemory(t, f, &c)
	if r := w.command(w.environ(&build{}), program, "without", "0"); r.status != 0 {
		t.Errorf("without the library: exit status %d\n%s", r.status, r.stderr)
	}
	// An agent that is gone: the calls are harmless.
	r = w.preloaded(b, []string{"WARPSCOPE_SOCKET=" + w.path("gone")}, program, "nothing", "0")
	if r.status != 0 {
		t.Errorf("without its agent: exit status %d\n%s", r.status, r.stderr)
	}
}

// TestSlowCUPTI has CUPTI take longer than anybody waits.
func TestSlowCUPTI(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	r := w.command(append(w.environ(&build{}), "WARPSCOPE_SIM_ENABLE_MS=200"), w.bin, w.under(b, []string{"--capture", "call"}, nil, program, "slow", "0")...)
	w.clean(b, r)
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	exact(t, w, w.figures("t.wscope"))
}

// TestRefusedTimeline has CUPTI refuse its records when the trigger comes.
func TestRefusedTimeline(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	r := w.command(append(w.environ(&build{}), "WARPSCOPE_SIM_FAIL=cuptiActivityEnable"), w.bin, w.under(b, []string{"--capture", "call"}, nil, program, "refused", "0")...)
	w.clean(b, r)
	f := w.figures("t.wscope")
	if r.status != 0 || f.recorded("kernels") != 0 || !strings.Contains(r.stderr, "CUPTI refused activity records") {
		t.Errorf("exit status %d, %d kernels\n%s", r.status, f.recorded("kernels"), r.stderr)
	}
	c := sum(w.tallies())
	sameMemory(t, f, &c)
}

// TestQuarrel has threads switch the timeline on and off against each other.
func TestQuarrel(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "quarrel", "0")
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	c := sum(w.tallies())
	if got, most := f.recorded("kernels"), w.tallies()[0].stage; got > most {
		t.Errorf("%d kernels, of %d before the last stop", got, most)
	}
	if f.Losses.Lost != 0 {
		t.Errorf("losses %+v", f.Losses)
	}
	sameMemory(t, f, &c)
}

// TestSignalsSwitch sends the agent signals while the program runs.
func TestSignalsSwitch(t *testing.T) {
	b := newBuild(t)
	program := compileControl(b)
	for _, test := range []struct {
		flags  []string
		inside uint64 // kernels that are to be in the trace
		got    uint64 // signals that the program is to get
	}{
		{[]string{"--capture", "signal"}, 20, 0},
		{nil, 60, 3}, // they are the program's
	} {
		t.Run(fmt.Sprint(test.flags), func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			c := exec.Command(w.bin, w.under(b, test.flags, nil, program, "parts", "0", w.dir+"/part-")...)
			c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.environ(&build{})...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				after, then string
				signal      syscall.Signal
			}{{"part-1", "part-on", syscall.SIGUSR1}, {"part-2", "part-off", syscall.SIGUSR2}} {
				w.waitForFile(step.after)
				if err := c.Process.Signal(step.signal); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond) // the agent does not answer; it takes some milliseconds
				w.touch(step.then)
			}
			if err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			one := w.tallies()[0]
			f := w.figures("t.wscope")
			if got := f.recorded("kernels"); got != test.inside {
				t.Errorf("%d kernels, want %d", got, test.inside)
			}
			if one.stage != test.got {
				t.Errorf("the program got the signals %b, want %b", one.stage, test.got)
			}
		})
	}
}

// TestBadTriggers refuses what makes no sense, before the program runs.
func TestBadTriggers(t *testing.T) {
	w := newTool(t)
	for _, test := range []struct {
		flags string
		said  string
	}{
		{"--capture steps:5-2", "A not above B"},
		{"--capture steps:0-2", "count from 1"},
		{"--capture steps:", "A not above B"},
		{"--capture steps:1-", "A not above B"},
		{"--capture steps:-3", "A not above B"},
		{"--capture steps:1-2-3", "A not above B"},
		{"--capture steps:+1-2", "A not above B"},
		{"--capture nvtx:", "has a name"},
		{"--capture nvtx:" + strings.Repeat("x", 300), "has a name"},
		{"--capture profiler", "cuda-profiler-api"},
		{"--capture=", "cuda-profiler-api"},
		{"--mode ledger --capture call", "--capture concerns the timeline"},
		{"--capture signal --duration 3s", "leave one of them out"},
		{"--capture signal --start-after 3s", "leave one of them out"},
		{"--keep 0", "above zero"},
		{"--keep 5x", "length of time"},
		{"--keep 1s", "at least"},
	} {
		r := w.warpscope(append(append([]string{"run", "-o", "t.wscope"}, strings.Fields(test.flags)...), "--", "touch", "ran")...)
		if r.status != 2 || !strings.Contains(r.stderr, test.said) {
			t.Errorf("%s: exit status %d, %q", test.flags, r.status, r.stderr)
		}
		if w.exists("ran") {
			t.Fatalf("%s: the program ran", test.flags)
		}
	}
	b := newBuild(t)
	r, f := w.alone(b, []string{"WARPSCOPE_CAPTURE=steps:5-2"}, compileControl(b), "steps", "0")
	if r.status != 0 || !strings.Contains(r.stderr, "WARPSCOPE_CAPTURE") || f == nil || f.recorded("kernels") != sum(w.tallies()).launches {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
}
