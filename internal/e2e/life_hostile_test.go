package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHostilePrograms: what a program does to its own process, the capture bears, whole.
func TestHostilePrograms(t *testing.T) {
	b := newBuild(t)
	program := b.compile("hostile")
	folder := t.TempDir()
	for _, test := range []struct {
		name   string
		args   []string
		root   bool   // needs root
		plain  string // why sanitizers cannot run it
		status int
	}{
		{"changes its folder", []string{"other_folder", "0", folder}, false, "", 0},
		{"changes its root", []string{"other_root", "0", folder}, true, "", 0},
		{"becomes another user, with threads", []string{"other_user", "0", "65534"}, true, "", 0},
		{"becomes the same user, with threads", []string{"other_user", "0", fmt.Sprint(os.Getuid())}, false, "", 0},
		{"blocks every signal", []string{"block_all", "0"}, false, "", 0},
		{"handles every signal", []string{"handle_all", "0"}, false, "thread: defers signals", 0},
		{"allocates in a handler on its own stack", []string{"alternate_stack", "0"}, false, "needs more stack", 0},
		{"allocates on the smallest stack", []string{"small_stack", "0"}, false, "needs more stack", 0},
	} {
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != test.status {
				t.Errorf("exit status %d, want %d\n%s", r.status, test.status, r.stderr)
			}
			if f == nil {
				t.Fatalf("no capture file\n%s", r.stderr)
			}
			c := w.tallies()[0]
			whole(t, f, &c)
		}
		t.Run(test.name, func(t *testing.T) {
			needs(t, b, test.root, test.plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, nil, append([]string{program}, test.args...)...)
			check(t, w, r, f)
		})
		t.Run(test.name+", without the agent", func(t *testing.T) {
			needs(t, b, test.root, test.plain)
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, nil, append([]string{program}, test.args...)...)
			check(t, w, r, f)
		})
	}
}

// needs skips where root is needed and absent, or where a sanitizer is in the way: any, or with "KIND: " before
// the reason that kind.
func needs(t *testing.T, b *build, root bool, plain string) {
	t.Helper()
	if root && os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if kind, why, ok := strings.Cut(plain, ": "); ok {
		if kind != b.sanitizer {
			return
		}
		plain = why
	}
	if plain != "" && b.sanitizer != "" {
		t.Skipf("the %s sanitizer %s", b.sanitizer, plain)
	}
}

// TestClosesAllDescriptors: the program closes every descriptor, those of the capture too, and
// opens files of its own in their place. Not a byte of the capture may get into them.
func TestClosesAllDescriptors(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("hostile")
	check := func(t *testing.T, w *tool, r result, f *figures, folder string) {
		if r.status != 0 {
			t.Errorf("exit status %d\n%s", r.status, r.stderr)
		}
		c := w.tallies()[0]
		whole(t, f, &c)
		if c.extra < 900 {
			t.Errorf("the program opened %d files, too few to meet the capture's", c.extra)
		}
		for i := range c.extra {
			path := filepath.Join(folder, fmt.Sprintf("mine-%d", i))
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if blocks := info.Sys().(*syscall.Stat_t).Blocks; info.Size() != 5 || blocks > 16 {
				t.Errorf("%s has %d bytes in %d blocks", path, info.Size(), blocks)
			} else if text, err := os.ReadFile(path); err != nil || string(text) != "mine\n" {
				t.Errorf("%s holds %q, %v", path, text, err)
			}
		}
	}
	t.Run("with the agent", func(t *testing.T) {
		w, folder := newTool(t), t.TempDir()
		r, f := w.trace(b, nil, program, "close_all", "0", folder)
		check(t, w, r, f, folder)
	})
	t.Run("without the agent", func(t *testing.T) {
		w, folder := newTool(t), t.TempDir()
		r, f := w.alone(b, nil, program, "close_all", "0", folder)
		check(t, w, r, f, folder)
	})
}

// TestLimits takes away descriptors, memory, file sizes and stacks. The program runs as it would; what
// cannot be recorded is said, by the library and in the trace.
func TestLimits(t *testing.T) {
	b := newBuild(t)
	b.unsuited("needs more than these limits leave")
	program := b.compile("hostile")
	for _, test := range []struct {
		name     string
		args     []string
		recorded bool   // with the agent
		said     string // by the library, where it is not
		alone    bool   // recorded without the agent
	}{
		{"4 descriptors", []string{"few_descriptors", "0", "4"}, false, "not recorded", true},
		{"3 descriptors", []string{"few_descriptors", "0", "3"}, false, "not recorded", false},
		{"8 descriptors", []string{"few_descriptors", "0", "8"}, true, "", true},
		{"64 MiB of address space", []string{"little_memory", "0", "64"}, false, "address space is limited", true},
		{"1 GiB of address space", []string{"little_memory", "0", "1024"}, false, "address space is limited", true},
		{"16 GiB of address space", []string{"little_memory", "0", "16384"}, true, "", true},
		{"files of 4 KiB", []string{"small_files", "0", "4096"}, true, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.trace(b, nil, append([]string{program}, test.args...)...)
			if r.status != 0 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			if test.recorded {
				whole(t, f, &c)
				return
			}
			if !strings.Contains(r.stderr, test.said) {
				t.Errorf("the library does not say %q: %q", test.said, r.stderr)
			}
			if !f.said("not recorded") || len(f.Processes) > 0 && strings.Contains(r.stderr, "nothing lost;") {
				t.Errorf("the agent claims a whole trace: %q, %q", f.Provenance.Notes, r.stderr)
			}
		})
		t.Run(test.name+", without the agent", func(t *testing.T) {
			t.Parallel()
			w := newTool(t)
			r, f := w.alone(b, nil, append([]string{program}, test.args...)...)
			if r.status != 0 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			if f == nil {
				if test.alone || !strings.Contains(r.stderr, "not recorded") {
					t.Errorf("no capture file: %q", r.stderr)
				}
				return
			}
			c := w.tallies()[0]
			whole(t, f, &c)
		})
	}
}

// TestSmallFiles: the capture file may not be as large as what there is to record. The program gets no
// SIGXFSZ, and every record is in the file or counted as lost.
func TestSmallFiles(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	program := b.compile("hostile")
	w := newTool(t)
	r, f := w.alone(b, nil, program, "small_files", "0", fmt.Sprint(20<<20))
	if r.status != 0 {
		t.Fatalf("exit status %d\n%s", r.status, r.stderr)
	}
	if f == nil {
		t.Fatalf("no capture file\n%s", r.stderr)
	}
	if info, err := os.Stat(w.captures()[0]); err != nil || info.Size() > 20<<20 {
		t.Errorf("the capture file: %v, %v", info.Size(), err)
	}
	c := w.tallies()[0]
	f.counted(t, &c)
	sameLive(t, f, &c)
}

// counted checks that each record is in the trace or counted as lost, and that some were lost.
func (f *figures) counted(t *testing.T, c *tally) {
	t.Helper()
	lost := map[string]uint64{}
	for _, row := range f.Losses.Rows {
		lost[row.Kind] += row.Count
	}
	if f.Losses.Lost == 0 {
		t.Errorf("nothing was lost: the limit did not bite: %+v", f.Records)
	}
	calls := uint64(0)
	for s := range spaces {
		calls += c.of[s].allocations + c.of[s].releases
	}
	for _, row := range []struct {
		kind string
		want uint64
	}{{"kernels", c.launches}, {"copies", c.copies}, {"sets", c.sets}, {"allocations", calls}} {
		if got := f.recorded(row.kind) + lost[row.kind]; got != row.want {
			t.Errorf("%s: %d recorded and %d lost, %d counted", row.kind, f.recorded(row.kind), lost[row.kind], row.want)
		}
	}
}

// TestFullDisk records to a disk that fills up. It needs root, to mount one.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	b := newBuild(t)
	program := b.compile("hostile")
	mount := func(t *testing.T, size string) string {
		folder := t.TempDir()
		if err := syscall.Mount("none", folder, "tmpfs", 0, "size="+size); err != nil {
			t.Skipf("a small file system cannot be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return folder
	}
	t.Run("full from the start", func(t *testing.T) {
		w, small := newTool(t), mount(t, "1m")
		r := w.preloaded(b, []string{"WARPSCOPE_DIR=" + small}, program, "much", "0", "10")
		left, err := os.ReadDir(small)
		if r.status != 0 || err != nil || len(left) != 0 || !strings.Contains(r.stderr, "not recorded") {
			t.Errorf("exit status %d, left %v, %q", r.status, left, r.stderr)
		}
	})
	t.Run("full in between", func(t *testing.T) {
		w, small := newTool(t), mount(t, "20m")
		r := w.preloaded(b, []string{"WARPSCOPE_DIR=" + small}, program, "much", "0", "1500")
		if r.status != 0 {
			t.Fatalf("exit status %d\n%s", r.status, r.stderr)
		}
		found, err := filepath.Glob(filepath.Join(small, "*.wscap"))
		if err != nil || len(found) != 1 {
			t.Fatalf("capture files %v, %v", found, err)
		}
		w.ok("recover", "-o", "t.wscope", found[0])
		f, c := w.figures("t.wscope"), w.tallies()[0]
		f.counted(t, &c)
		sameLive(t, f, &c)
	})
	t.Run("the agent's, full in between", func(t *testing.T) {
		w, small := newTool(t), mount(t, "64k")
		trace := filepath.Join(small, "t.wscope")
		args := w.under(b, nil, nil, program, "much", "0", "1000")
		args[2] = trace
		r := w.command(w.environ(&build{}), w.bin, args...)
		w.clean(b, r)
		if r.status != 0 || !strings.Contains(r.stderr, "the trace is not complete") {
			t.Errorf("exit status %d: %s", r.status, r.stderr)
		}
		f, c := w.figures(trace), w.tallies()[0]
		f.counted(t, &c)
	})
}

// TestSlowDisk: the disk takes its time for the space that it is asked for. The program does not wait, and every
// record is in the file or counted as lost.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	b := newBuild(t)
	b.unsuited("makes a storm of this size last for minutes")
	program, slow := b.compile("storm"), b.compile("slowdisk", "-shared", "-fPIC")
	for _, ms := range []string{"1", "20", "200"} {
		t.Run(ms+" ms", func(t *testing.T) {
			w := newTool(t)
			w.touch("go")
			w.touch("go2")
			r := w.command(append(w.environ(b), "LD_PRELOAD="+slow+":"+w.preload(b), "SLOW_MS="+ms), program, "pairs", "0", "200000", w.path("go"))
			f, c := w.recover(), w.tallies()[0]
			if r.status != 0 || f == nil {
				t.Fatalf("exit status %d\n%s", r.status, r.stderr)
			}
			lost := map[string]uint64{}
			for _, row := range f.Losses.Rows {
				lost[row.Kind] += row.Count
			}
			if got := f.recorded("kernels") + lost["kernels"]; got != c.launches {
				t.Errorf("%d kernels recorded and %d lost, %d launched", f.recorded("kernels"), lost["kernels"], c.launches)
			}
			if got := f.recorded("allocations") + lost["allocations"]; got != c.calls() {
				t.Errorf("%d calls recorded and %d lost, %d made", f.recorded("allocations"), lost["allocations"], c.calls())
			}
			sameLive(t, f, &c)
		})
	}
}

// TestUnwritableFolders: nowhere may a capture file be written. The program runs; that it is not
// recorded is said.
func TestUnwritableFolders(t *testing.T) {
	b := newBuild(t)
	program := b.compile("hostile")
	t.Run("neither here nor in TMPDIR", func(t *testing.T) {
		w := newTool(t)
		// /proc is a folder in which nobody, root included, can make a file.
		r := w.command(append(w.environ(b), "LD_PRELOAD="+w.preload(b), "TMPDIR=/proc", "TALLY="+w.path("tally")),
			"sh", "-c", `cd /proc && exec "$1" much 0 5`, "sh", program)
		w.clean(b, r)
		if r.status != 0 || !strings.Contains(r.stderr, "not recorded") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("exit status %d: %q", r.status, r.stderr)
		}
	})
	t.Run("not here, but in TMPDIR", func(t *testing.T) {
		w := newTool(t)
		r := w.command(append(w.environ(b), "LD_PRELOAD="+w.preload(b), "TMPDIR="+w.dir),
			"sh", "-c", `cd /proc && exec "$1" much 0 5`, "sh", program)
		w.clean(b, r)
		if r.status != 0 || len(w.captures()) != 1 {
			t.Fatalf("exit status %d, capture files %v\n%s", r.status, w.captures(), r.stderr)
		}
		f, c := w.recover(), w.tallies()[0]
		whole(t, f, &c)
	})
}

// preload is the value of LD_PRELOAD for a program that is started by another one.
func (w *tool) preload(b *build) string {
	w.t.Helper()
	switch {
	case b.runtime != "":
		return b.runtime + ":" + b.library
	case b.library != "":
		return b.library
	}
	return w.library()
}

// TestSmallDefaultStack: threads get, by default, a stack that would not be enough for CUPTI.
func TestSmallDefaultStack(t *testing.T) {
	b := newBuild(t)
	b.unsuited("needs more stack")
	program := b.compile("hostile")
	w := newTool(t)
	r, f := w.trace(b, nil, "sh", "-c", `ulimit -s 128; exec "$1" small_default_stack 0`, "sh", program)
	if r.status != 0 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	c := w.tallies()[0]
	whole(t, f, &c)
}

// TestNoThread: no thread can be started for the capture. The program runs and ends without a delay,
// and nothing is claimed to be recorded.
func TestNoThread(t *testing.T) {
	b := newBuild(t)
	b.unsuited("starts threads of its own")
	program, other := b.compile("ends"), b.compile("nothread", "-shared", "-fPIC")
	w := newTool(t)
	r, f := w.trace(b, nil, "sh", "-c", `LD_PRELOAD=$2:$LD_PRELOAD exec "$1" return 0`, "sh", program, other)
	if r.status != 7 || !f.said("no thread could be started") || strings.Contains(r.stderr, "nothing lost;") {
		t.Errorf("exit status %d, notes %q\n%s", r.status, f.Provenance.Notes, r.stderr)
	}
	if n := f.recorded("kernels") + f.recorded("allocations"); n != 0 || len(f.Processes) != 1 || f.Processes[0].State != "refused" {
		t.Errorf("%d records, processes %+v", n, f.Processes)
	}
}

// TestOtherPreloads: another library stands before malloc and _exit. Both keep working.
func TestOtherPreloads(t *testing.T) {
	b := newBuild(t)
	b.unsuited("stands before malloc itself")
	program, other := b.compile("hostile"), b.compile("interposer", "-shared", "-fPIC")
	t.Run("with the agent", func(t *testing.T) {
		w := newTool(t)
		r := w.command(append(w.environ(&build{}), "LD_PRELOAD="+other), w.bin, w.under(b, nil, []string{other}, program, "plain", "0")...)
		f, c := w.figures("t.wscope"), w.tallies()[0]
		if r.status != 7 || !strings.Contains(r.stderr, "interposer: _exit\n") {
			t.Errorf("exit status %d\n%s", r.status, r.stderr)
		}
		whole(t, f, &c)
	})
	for _, order := range []string{"before", "behind"} {
		t.Run("without the agent, "+order+" it", func(t *testing.T) {
			w := newTool(t)
			list := other + ":" + w.preload(b)
			if order == "behind" {
				list = w.preload(b) + ":" + other
			}
			r := w.command(append(w.environ(b), "LD_PRELOAD="+list), program, "plain", "0")
			f, c := w.recover(), w.tallies()[0]
			if r.status != 7 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			whole(t, f, &c)
		})
	}
}

// TestCaptureFileOfTheSamePID: a file of this name is there already, as in a container, where each
// run has the same PID. It is not touched, and this run is recorded beside it.
func TestCaptureFileOfTheSamePID(t *testing.T) {
	b := newBuild(t)
	program := b.compile("hostile")
	w := newTool(t)
	r := w.command(append(w.environ(b), "LD_PRELOAD="+w.preload(b)),
		"sh", "-c", `echo mine >warpscope-$$.wscap; exec "$1" much 0 5`, "sh", program)
	w.clean(b, r)
	found := w.captures()
	if r.status != 0 || len(found) != 2 {
		t.Fatalf("exit status %d, capture files %v\n%s", r.status, found, r.stderr)
	}
	kept := 0
	for _, path := range found {
		if text, err := os.ReadFile(path); err == nil && string(text) == "mine\n" {
			kept++
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	if kept != 1 {
		t.Errorf("the file that was there has changed")
	}
	f, c := w.recover(), w.tallies()[0]
	whole(t, f, &c)
}
