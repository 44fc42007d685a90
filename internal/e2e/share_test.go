package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// compileShare makes the program that has a profiler of its own inside, linked to CUPTI.
func compileShare(b *build) string {
	b.t.Helper()
	tracer, err := filepath.Abs("../../bin/sim/libcupti.so.13")
	if err != nil {
		b.t.Fatal(err)
	}
	return b.compile("share", "-Wl,--no-as-needed", tracer)
}

// plain is what the program's profiler sees without a tracer.
func (w *tool) plain(program ...string) string {
	w.t.Helper()
	r := w.command([]string{"TALLY=" + w.path("plain")}, program[0], program[1:]...)
	if r.status != 0 {
		w.t.Fatalf("without a tracer: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

// TestShareProfiler runs a program that profiles itself, in torch.profiler's way, inside a trace: it sees
// to the record what it sees alone, and so does the trace.
func TestShareProfiler(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	for _, test := range []struct {
		name, scenario string
		env            []string
		flags          []string
	}{
		{"once", "profile 0 1 5 0", nil, nil},
		{"again", "profile 0 4 3 0", nil, nil},
		{"torn down", "profile 0 3 3 1", nil, nil},
		{"tsc", "profile 0 3 3 0", []string{"WARPSCOPE_SHARE_CLOCK=tsc"}, nil},
		{"no calls", "profile 0 3 3 0", nil, []string{"--api=none"}},
		{"all calls", "profile 0 3 3 1", nil, []string{"--api=all"}},
		{"nodes", "profile 0 2 3 0", nil, []string{"--graphs=node"}},
		{"before CUDA", "first 0", nil, nil},
		{"before CUDA, tsc", "first 0", []string{"WARPSCOPE_SHARE_CLOCK=tsc"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTool(t)
			command := append([]string{program}, strings.Fields(test.scenario)...)
			want := w.plain(command...)
			r := w.command(append(w.environ(&build{}), test.env...), w.bin, w.under(b, test.flags, nil, command...)...)
			w.clean(b, r)
			got := r.stdout
			if strings.HasPrefix(test.scenario, "first") {
				// The capture begins inside the program's cuInit and makes calls of its own there.
				calls := regexp.MustCompile(`\d+ calls`)
				want, got = calls.ReplaceAllString(want, "calls"), calls.ReplaceAllString(got, "calls")
			}
			if r.status != 0 || got != want {
				t.Errorf("exit status %d, the program's profiler saw\n%swithout a tracer\n%s%s", r.status, got, want, r.stderr)
			}
			if !strings.Contains(want, " 0 outside 0 backwards 0 unknown 0 dropped") || strings.Contains(want, " 0 kernels") {
				t.Errorf("the test's own profiler: %s", want)
			}
			c := sum(w.tallies())
			f := w.figures("t.wscope")
			whole(t, f, &c)
			if calls := f.recorded("calls"); (test.name == "no calls") != (calls == 0) {
				t.Errorf("%d calls in the trace", calls)
			}
		})
	}
}

// TestShareLoader runs a program whose profiler asks the loader for CUPTI's functions, of the library that the
// capture uses and of another copy: it sees what it sees alone, and so does the trace.
func TestShareLoader(t *testing.T) {
	b := newBuild(t)
	program := b.compile("share", "-DBY_LOADER", "-ldl")
	tracer, err := filepath.Abs("../../bin/sim/libcupti.so.13")
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(tracer)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "libcupti.so.13")
	if err := os.WriteFile(other, image, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, library := range map[string]string{"the same": tracer, "another copy": other} {
		for _, scenario := range []string{"profile 0 3 3 0", "profile 0 2 3 1"} {
			t.Run(name+" "+scenario, func(t *testing.T) {
				w := newTool(t)
				command := append([]string{"env", "TRACER=" + tracer, program}, strings.Fields(scenario)...)
				want := w.plain(command...) // alone, another copy sees nothing: the simulated driver knows one
				command[1] = "TRACER=" + library
				r, f := w.trace(b, nil, command...)
				if r.status != 0 || r.stdout != want || strings.Contains(want, " 0 kernels") {
					t.Errorf("exit status %d, the program's profiler saw\n%swithout a tracer\n%s%s", r.status, r.stdout, want, r.stderr)
				}
				c := sum(w.tallies())
				whole(t, f, &c)
			})
		}
	}
}

// TestShareKeepsLevels compares what a trace holds of a program that profiles itself with what it holds of the
// same work: the profiler asks for every call, and the trace has those of launches alone.
func TestShareKeepsLevels(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	calls := map[string]uint64{}
	for _, scenario := range []string{"profile 0 3 4 0", "unprofiled 0 3 4 0"} {
		w := newTool(t)
		_, f := w.trace(b, nil, append([]string{program}, strings.Fields(scenario)...)...)
		c := sum(w.tallies())
		whole(t, f, &c)
		calls[scenario[:4]] = f.recorded("calls")
	}
	// A round ends with a wait of its own, which the program without the profiler makes too.
	if calls["prof"] != calls["unpr"] {
		t.Errorf("%d calls with the profiler, %d without", calls["prof"], calls["unpr"])
	}
}

// TestShareLedger leaves CUPTI's records to the program where the capture has allocations alone.
func TestShareLedger(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	for _, scenario := range []string{"profile 0 3 3 0", "profile 0 2 3 1", "first 0"} {
		t.Run(scenario, func(t *testing.T) {
			w := newTool(t)
			command := append([]string{program}, strings.Fields(scenario)...)
			want := w.plain(command...)
			r := w.command(w.environ(&build{}), w.bin, w.under(b, []string{"--mode", "ledger"}, nil, command...)...)
			w.clean(b, r)
			// The capture's own calls are among the program's: nothing stands between.
			calls := regexp.MustCompile(`\d+ calls|\d+ outside`)
			if r.status != 0 || calls.ReplaceAllString(r.stdout, "") != calls.ReplaceAllString(want, "") {
				t.Errorf("exit status %d, the program's profiler saw\n%swithout a tracer\n%s%s", r.status, r.stdout, want, r.stderr)
			}
			c := sum(w.tallies())
			sameMemory(t, w.figures("t.wscope"), &c)
		})
	}
}

// TestShareStorm profiles again and again while threads launch: no crash, no hang, no kernel that the trace
// lacks. The profiler's forced flush takes the times of kernels that run at that moment: the trace
// says how many.
func TestShareStorm(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "storm", "0", "20")
	if r.status != 0 || strings.Count(r.stdout, " 0 unknown 0 dropped") != 20 {
		t.Errorf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	c := sum(w.tallies())
	sameTimeline(t, f, &c)
}

// TestShareFork leaves a forked child's calls to CUPTI alone.
func TestShareFork(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "fork", "0")
	if r.status != 0 || !strings.Contains(r.stdout, "parent 0: 200 kernels") {
		t.Errorf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	c := w.tallies()[0]
	sameTimeline(t, f, &c)
}

// TestShareOff lets everything through where warpscope is disabled.
func TestShareOff(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	want := w.plain(program, "profile", "0", "2", "3", "1")
	r := w.preloaded(b, []string{"WARPSCOPE_DISABLE=1", "WARPSCOPE_DEBUG=" + w.path("log")}, program, "profile", "0", "2", "3", "1")
	if r.status != 0 || r.stdout != want {
		t.Errorf("exit status %d\n%swithout a tracer\n%s", r.status, r.stdout, want)
	}
	log := w.read("log")
	if strings.Contains(log, "shared") || !strings.Contains(log, "cuptiActivityEnable(10) = 0\n") {
		t.Errorf("the log:\n%s", log)
	}
}

// cuptis are versions that keep records of all threads in one buffer or not, and answer at once or with a flush.
var cuptis = map[string][]string{
	"13.0":                     nil,
	"12.8":                     {"WARPSCOPE_SIM_CUPTI=26"},
	"12.8, lists with a flush": {"WARPSCOPE_SIM_CUPTI=26", "WARPSCOPE_SIM_DUMP_LATE=1"},
}

// TestShareRobbed has a tool in the program that finds CUPTI's functions by dlsym and registers buffers of its
// own: it gets its records, and the trace says from when on it has none.
func TestShareRobbed(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	for name, env := range cuptis {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, env, program, "thief", "0", "2000")
			c := w.tallies()[0]
			var got, of uint64
			if _, err := fmt.Sscanf(r.stdout, "thief: %d kernels of %d", &got, &of); err != nil || r.status != 0 {
				t.Fatalf("exit status %d, %v\n%s%s", r.status, err, r.stdout, r.stderr)
			}
			// What was in the buffer that CUPTI had of ours at that moment is nobody's.
			if got == 0 || got > of {
				t.Errorf("the other tool saw %d kernels of %d", got, of)
			}
			kernels := f.recorded("kernels")
			if kernels < c.stage || kernels >= c.launches {
				t.Errorf("%d kernels in the trace, %d before the other tool came, %d in all", kernels, c.stage, c.launches)
			}
			if !f.endUnknown() || !strings.Contains(r.stderr, "took CUPTI's records for itself") {
				t.Errorf("losses %+v\n%s", f.Losses, r.stderr)
			}
			sameMemory(t, f, &c)
		})
	}
}

// TestShareIdle checks that an idle program is not taken for a robbed one.
func TestShareIdle(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	for name, env := range cuptis {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			_, f := w.trace(b, env, program, "idle", "0", "2500")
			c := sum(w.tallies())
			whole(t, f, &c)
		})
	}
}

// TestShareLeave ends the program while it profiles itself.
func TestShareLeave(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "leave", "0")
	if r.status != 0 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	c := sum(w.tallies())
	whole(t, f, &c)
}

// TestShareLarge has more records in one round than are kept at once, and a profiler that has too few buffers for
// them: it is told how many it missed, and the trace has all.
func TestShareLarge(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	for _, buffers := range []string{"1024", "3"} {
		t.Run(buffers+" buffers", func(t *testing.T) {
			w := newTool(t)
			r, f := w.trace(b, nil, program, "large", "0", buffers)
			var kernels, calls, dropped uint64
			const format = "large 0: %d kernels 0 copies 0 sets %d calls 0 others, 0 outside 0 backwards 0 unknown %d dropped"
			seen := r.stdout
			if buffers == "3" { // none is out then, and it does not flush
				seen = strings.TrimPrefix(seen, "no buffer was asked for\n")
			}
			if _, err := fmt.Sscanf(seen, format, &kernels, &calls, &dropped); err != nil || r.status != 0 {
				t.Fatalf("exit status %d, %v\n%s%s", r.status, err, r.stdout, r.stderr)
			}
			c := sum(w.tallies())
			if buffers == "1024" && (kernels != c.launches || dropped != 0) {
				t.Errorf("the program's profiler saw %d kernels of %d, %d records dropped", kernels, c.launches, dropped)
			}
			if buffers == "3" && (dropped == 0 || kernels == 0) {
				t.Errorf("the program's profiler saw %d kernels and %d calls of %d, %d dropped", kernels, calls, c.launches, dropped)
			}
			whole(t, f, &c)
		})
	}
}

// TestShareReclaim has the timeline back when it is switched off and on after the other tool has finished.
func TestShareReclaim(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "thief", "0", "1500", "back")
	c := w.tallies()[0]
	if r.status != 0 || !strings.Contains(r.stdout, "again\n") {
		t.Fatalf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	if got := f.recorded("kernels"); got != c.stage+c.extra || c.extra == 0 {
		t.Errorf("%d kernels in the trace, %d before and %d after the other tool", got, c.stage, c.extra)
	}
	sameMemory(t, f, &c)
}

// TestShareToggle switches the timeline on and off while the program profiles itself: each side has what it
// asked for, and nothing of the other's.
func TestShareToggle(t *testing.T) {
	b := newBuild(t)
	program := compileShare(b)
	w := newTool(t)
	calls := regexp.MustCompile(`\d+ calls|\d+ outside`)
	want := calls.ReplaceAllString(w.plain(program, "toggle", "0"), "")
	r, f := w.trace(b, nil, program, "toggle", "0")
	if got := calls.ReplaceAllString(r.stdout, ""); r.status != 0 || got != want || strings.Count(got, ": 200 kernels 20 copies 20 sets") != 4 {
		t.Errorf("exit status %d, the program's profiler saw\n%swithout a tracer\n%s%s", r.status, got, want, r.stderr)
	}
	c := w.tallies()[0]
	if got := f.recorded("kernels"); got != c.extra {
		t.Errorf("%d kernels in the trace, %d launched while it was on, %d in all", got, c.extra, c.launches)
	}
	sameMemory(t, f, &c)
}
