package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// late is the environment of a program that loads the library itself, while it runs.
func (w *tool) late(b *build) []string {
	w.t.Helper()
	env := w.environ(&build{runtime: b.runtime})
	if b.library != "" {
		return append(env, "WARPSCOPE_LATE="+b.library)
	}
	return append(env, "WARPSCOPE_LATE="+w.library())
}

// loadLate runs a program that loads the library while it uses CUDA, creates the file that it waits for once
// the capture is armed, and reads the trace.
func (w *tool) loadLate(b *build, program ...string) (result, *figures) {
	w.t.Helper()
	c := exec.Command(program[0], append(program[1:], w.path("go"))...)
	c.Dir, c.Env = w.dir, append(append([]string{}, w.env...), w.late(b)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.waitForArmed(c)
	w.touch("go")
	_ = c.Wait()
	r := result{status(c.ProcessState), "", stderr.String()}
	w.clean(b, r)
	return r, w.recover()
}

// waitForArmed waits until a capture file says that its process records: its worker has made a turn.
func (w *tool) waitForArmed(c *exec.Cmd) {
	w.t.Helper()
	var h abi.Header
	state, heartbeat := unsafe.Offsetof(h.State), unsafe.Offsetof(h.Heartbeat)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, path := range w.captures() {
			f, err := os.Open(path)
			if err != nil {
				continue
			}
			var page [abi.Page]byte
			_, err = f.ReadAt(page[:], 0)
			f.Close()
			if err != nil || binary.LittleEndian.Uint64(page[heartbeat:]) == 0 {
				continue
			}
			if event.State(binary.LittleEndian.Uint32(page[state:])) == event.StateArmed {
				return
			}
		}
	}
	_ = c.Process.Kill()
	w.t.Fatal("no capture was armed")
}

// unknownReleases is how many releases were of memory that nobody saw allocated.
func (w *tool) unknownReleases() (n uint64) {
	w.t.Helper()
	var f struct {
		Memory struct {
			Processes []struct {
				Unknown uint64 `json:"releases_of_unknown"`
			} `json:"processes"`
		} `json:"memory"`
	}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--memory", "t.wscope")), &f); err != nil {
		w.t.Fatal(err)
	}
	for _, p := range f.Memory.Processes {
		n += p.Unknown
	}
	return n
}

const saidLate = "the capture began when CUDA was in use already"

// TestLateStart loads the library into a program that uses CUDA. What it does from then on is recorded,
// all of it; what it had before is unknown, and the trace says so.
func TestLateStart(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	for _, scenario := range []string{"running", "closed", "twice", "forks"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.loadLate(b, program, scenario, "0")
			if r.status != 7 || f == nil {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			if len(f.Processes) != 1 || !strings.Contains(strings.Join(f.Processes[0].Reasons, " "), saidLate) {
				t.Errorf("the trace does not say that it began late: %+v", f.Processes)
			}
			if f.Losses.Lost != 0 || f.endUnknown() || f.Processes[0].State != "finished" {
				t.Errorf("losses %+v, processes %+v", f.Losses, f.Processes)
			}
			sameTimeline(t, f, &c)
			if n := w.unknownReleases(); n != 3 {
				t.Errorf("%d releases of memory from before the capture, want 3", n)
			}
			for s := range spaces {
				got, want := f.of(s), c.of[s]
				got.releases, want.releases = 0, 0
				if got != want {
					t.Errorf("%s: traced %+v, counted %+v", spaceNames[s], got, want)
				}
			}
		})
	}
}

// TestLateStartWhileOthersLaunch loads the library from one thread while three others are in the driver.
func TestLateStartWhileOthersLaunch(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.loadLate(b, program, "busy", "0")
			if r.status != 7 || f == nil {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			if f.recorded("kernels") < c.launches || f.Losses.Lost != 0 {
				t.Errorf("%d kernels of %d, losses %+v", f.recorded("kernels"), c.launches, f.Losses)
			}
			sameLive(t, f, &c)
		})
	}
}

// TestLateContexts: contexts that are older than the capture have a device all the same.
func TestLateContexts(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	w := newTool(t)
	r, f := w.loadLate(b, program, "contexts", "0")
	if r.status != 7 || f == nil {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	c := w.tallies()[0]
	if got := f.of(device); got.allocations != 2 || got.live != 1 || got.liveBytes != 4444 {
		t.Errorf("traced %+v, counted %+v", got, c.of[device])
	}
	if n := f.recorded("contexts"); n != 3 { // two were met, one of the three is destroyed
		t.Errorf("%d records of contexts", n)
	}
}

// TestLoadedBeforeCUDA: the library comes before the program starts CUDA, whose library is mapped. The driver
// calls it, and nothing is missing.
func TestLoadedBeforeCUDA(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	w := newTool(t)
	r := w.command(w.late(b), program, "before_cuda", "0")
	w.clean(b, r)
	f := w.recover()
	if r.status != 7 || f == nil {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	c := w.tallies()[0]
	whole(t, f, &c)
	if len(f.Processes) != 1 || len(f.Processes[0].Reasons) != 0 {
		t.Errorf("processes %+v", f.Processes)
	}
}

// TestLeavesDuringLateStart ends the program while the capture is being started, at several moments. The
// status is the program's, nothing hangs, and what file there is can be read.
func TestLeavesDuringLateStart(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	for _, scenario := range []string{"leaves", "leaves_hard"} {
		for _, us := range []int{0, 200, 1000, 3000, 10000, 30000} {
			t.Run(fmt.Sprint(scenario, " after ", us, " us"), func(t *testing.T) {
				t.Parallel()
				w := newTool(t)
				r := w.command(w.late(b), program, scenario, "0", fmt.Sprint(us))
				w.clean(b, r)
				if r.status != 7 {
					t.Errorf("exit status %d\n%s", r.status, r.stderr)
				}
				for _, path := range w.captures() {
					rec := w.warpscope("recover", "--force", "-o", "t.wscope", path)
					if rec.status != 0 && !strings.Contains(rec.stderr, "before it recorded anything") && !strings.Contains(rec.stderr, "nothing can be recovered") {
						t.Errorf("recover: exit status %d\n%s", rec.status, rec.stderr)
					}
				}
			})
		}
	}
}

// TestLateStartIsOff: asked not to, or beside another tool's injection, it records nothing.
func TestLateStartIsOff(t *testing.T) {
	b := newBuild(t)
	program := b.compile("late")
	for _, test := range []struct{ name, env, said string }{
		{"disabled", "WARPSCOPE_DISABLE=1", ""},
		{"another tool's injection", "CUDA_INJECTION64_PATH=/nonexistent/other.so", "names another tool"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTool(t)
			r := w.command(append(w.late(b), test.env), program, "leaves", "0", "30000")
			w.clean(b, r)
			if r.status != 7 || len(w.captures()) != 0 || !strings.Contains(r.stderr, test.said) || test.said == "" && r.stderr != "" {
				t.Errorf("exit status %d, captures %v, said %q", r.status, w.captures(), r.stderr)
			}
		})
	}
}
