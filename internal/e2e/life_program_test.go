package e2e

import (
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests of this file's kin run small C programs (testdata/) on the simulated device and compare
// the trace with what the program counted itself. Three variables choose how:
//
//	WARPSCOPE_E2E_LIB    another build of libwarpscope.so, with sanitizers (a path, from the repository's
//	                     root): the programs are traced with it, and findings fail the test
//	WARPSCOPE_E2E_SCALE  how much larger the storms are (default 1)
//	CC                   the compiler (default gcc)

// build is the capture library under test and the compiler of the programs.
type build struct {
	t         *testing.T
	dir       string
	library   string // "": the one that the agent carries
	sanitizer string // the library's: "address", "thread" or ""
	runtime   string // the sanitizer's library, which must be loaded first
}

// newBuild finds out what is to be tested. Programs are compiled into a folder that stays for the test.
func newBuild(t *testing.T) *build {
	t.Helper()
	b := &build{t: t, dir: t.TempDir(), library: os.Getenv("WARPSCOPE_E2E_LIB")}
	if b.library == "" {
		return b
	}
	if !filepath.IsAbs(b.library) {
		top, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		b.library = filepath.Join(top, b.library)
	}
	f, err := elf.Open(b.library)
	if err != nil {
		t.Fatalf("WARPSCOPE_E2E_LIB: %v", err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		t.Fatalf("WARPSCOPE_E2E_LIB: %v", err)
	}
	for _, name := range needed {
		kind, ok := map[string]string{"libasan": "address", "libtsan": "thread"}[strings.SplitN(name, ".", 2)[0]]
		if !ok {
			continue
		}
		path, err := exec.Command(compiler(), "-print-file-name="+name).Output()
		if err != nil {
			t.Fatalf("find %s: %v", name, err)
		}
		b.sanitizer, b.runtime = kind, strings.TrimSpace(string(path))
	}
	return b
}

func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}

// unsuited skips a test that a sanitizer's own needs rule out.
func (b *build) unsuited(why string) {
	b.t.Helper()
	if b.sanitizer != "" {
		b.t.Skipf("the %s sanitizer %s", b.sanitizer, why)
	}
}

// compile makes a program of testdata/name.c, or a library where flags say so, and returns its path.
func (b *build) compile(name string, flags ...string) string {
	b.t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		b.t.Fatal(err)
	}
	out := filepath.Join(b.dir, name)
	args := []string{"-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-o", out}
	if b.sanitizer == "thread" {
		args = append(args, "-fsanitize=thread") // it must see the program's own locks
	}
	args = append(args, flags...)
	args = append(args, filepath.Join("testdata", name+".c"))
	if !slices.Contains(flags, "-shared") && !slices.Contains(flags, "-static") {
		args = append(args, filepath.Join(top, "bin/sim/libcuda.so.1"))
	}
	args = append(args, "-lpthread", "-ldl")
	if text, err := exec.Command(compiler(), args...).CombinedOutput(); err != nil {
		b.t.Fatalf("compile %s: %v\n%s", name, err, text)
	}
	return out
}

// scale is how much larger the storms are than by default.
func scale() int {
	n := 1
	_, _ = fmt.Sscan(os.Getenv("WARPSCOPE_E2E_SCALE"), &n)
	return max(n, 1)
}

// space is where memory was taken: the order is that of testdata/program.h.
type space int

const (
	device space = iota
	pool
	managed
	host
	handle
	spaces
)

var spaceNames = [spaces]string{"device", "pool", "managed", "host", "physical"}

// account is what a program did with the memory of one space.
type account struct{ allocations, bytes, releases, live, liveBytes uint64 }

// tally is what one process of a program counted itself.
type tally struct {
	pid, launches, copies, sets, failed, stage, extra uint64
	of                                                [spaces]account
}

// allocations is how many there were in all spaces.
func (c *tally) allocations() (n uint64) {
	for _, a := range c.of {
		n += a.allocations
	}
	return n
}

// calls is how many calls took or gave back memory.
func (c *tally) calls() (n uint64) {
	for _, a := range c.of {
		n += a.allocations + a.releases
	}
	return n
}

// tallies reads the file in which programs count. Slots that no process used are all zero.
func (w *tool) tallies() []tally {
	w.t.Helper()
	const size = 512
	text, err := os.ReadFile(w.path("tally"))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []tally
	for ; len(text) >= size; text = text[size:] {
		var word [size / 8]uint64
		for i := range word {
			word[i] = binary.LittleEndian.Uint64(text[8*i:])
		}
		c := tally{pid: word[0], launches: word[1], copies: word[2], sets: word[3], failed: word[4], stage: word[5], extra: word[6]}
		for s := range c.of {
			a := word[8+5*s:]
			c.of[s] = account{a[0], a[1], a[2], a[3], a[4]}
		}
		all = append(all, c)
	}
	return all
}

// sum adds up what all processes did.
func sum(all []tally) (total tally) {
	for i := range all {
		c := &all[i]
		total.launches += c.launches
		total.copies += c.copies
		total.sets += c.sets
		for s := range c.of {
			total.of[s].allocations += c.of[s].allocations
			total.of[s].bytes += c.of[s].bytes
			total.of[s].releases += c.of[s].releases
			total.of[s].live += c.of[s].live
			total.of[s].liveBytes += c.of[s].liveBytes
		}
	}
	return total
}

// environ is the environment of a traced program: the tally, and where another library than the
// agent's is tested, that library in the agent's place.
func (w *tool) environ(b *build, preload ...string) []string {
	env := []string{"TALLY=" + w.path("tally")}
	if b.library != "" {
		preload = append(preload, b.library)
		env = append(env, "CUDA_INJECTION64_PATH="+b.library, "NVTX_INJECTION64_PATH="+b.library)
	}
	if b.runtime != "" {
		preload = append([]string{b.runtime}, preload...)
		suppressions, err := filepath.Abs("testdata/tsan.txt")
		if err != nil {
			w.t.Fatal(err)
		}
		env = append(env,
			"ASAN_OPTIONS=detect_leaks=0:exitcode=98:abort_on_error=0:allow_user_segv_handler=1:handle_segv=0:handle_abort=0",
			"UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=98",
			"TSAN_OPTIONS=halt_on_error=1:exitcode=98:report_signal_unsafe=0:handle_segv=0:handle_abort=0:die_after_fork=0:suppressions="+suppressions)
	}
	if len(preload) > 0 {
		env = append(env, "LD_PRELOAD="+strings.Join(preload, ":"))
	}
	return env
}

// under is the command line of a program inside `warpscope run`. Another library than the agent's
// reaches the program by env(1), so that the agent itself runs as always.
func (w *tool) under(b *build, flags []string, preload []string, program ...string) []string {
	args := append([]string{"run", "-o", "t.wscope", "--force"}, flags...)
	args = append(args, "--")
	if b.library != "" {
		args = append(args, "env")
		args = append(args, w.environ(b, preload...)...)
	}
	return append(args, program...)
}

// trace runs a program under the agent and reads the trace, t.wscope.
func (w *tool) trace(b *build, env []string, program ...string) (result, *figures) {
	w.t.Helper()
	r := w.command(append(w.environ(&build{}), env...), w.bin, w.under(b, nil, nil, program...)...)
	w.clean(b, r)
	return r, w.figures("t.wscope")
}

// alone runs a program with the library preloaded and no agent, and recovers its capture files into
// one trace, t.wscope.
func (w *tool) alone(b *build, env []string, program ...string) (result, *figures) {
	w.t.Helper()
	r := w.preloaded(b, env, program...)
	return r, w.recover()
}

// preloaded runs a program with the library preloaded and no agent.
func (w *tool) preloaded(b *build, env []string, program ...string) result {
	w.t.Helper()
	own := w.environ(b)
	if b.library == "" {
		own = append(own, "LD_PRELOAD="+w.library())
	}
	r := w.command(append(own, env...), program[0], program[1:]...)
	w.clean(b, r)
	return r
}

// recover makes one trace, t.wscope, of all capture files; nil if there are none.
func (w *tool) recover() *figures {
	w.t.Helper()
	found := w.captures()
	if len(found) == 0 {
		return nil
	}
	w.ok(append([]string{"recover", "--force", "-o", "t.wscope"}, found...)...)
	return w.figures("t.wscope")
}

// clean fails the test where a sanitizer found something.
func (w *tool) clean(b *build, r result) {
	w.t.Helper()
	if b.sanitizer == "" {
		return
	}
	for _, sign := range []string{"ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer", "ERROR: ThreadSanitizer"} {
		if strings.Contains(r.stderr, sign) {
			w.t.Errorf("a sanitizer found something:\n%s", r.stderr)
		}
	}
}

// figures is what `warpscope inspect --json` says of a trace, as far as these tests ask.
type figures struct {
	Simulated  bool `json:"simulated"`
	Provenance struct {
		Notes    []string `json:"notes"`
		Complete bool     `json:"complete"`
	} `json:"provenance"`
	GPUs []struct {
		Name string `json:"name"`
	} `json:"gpus"`
	Processes []struct {
		PID         uint64   `json:"pid"`
		InnerPID    uint64   `json:"inner_pid"`
		State       string   `json:"state"`
		Reasons     []string `json:"reasons"`
		Kernels     uint64   `json:"kernels"`
		Allocations uint64   `json:"allocations"`
		Windows     int      `json:"windows"`
		RecordedNS  int64    `json:"recorded_ns"`
	} `json:"processes"`
	Records []struct {
		Kind     string `json:"kind"`
		Recorded uint64 `json:"recorded"`
	} `json:"records"`
	Losses struct {
		Known      bool   `json:"known"`
		Lost       uint64 `json:"lost"`
		Incomplete uint64 `json:"incomplete"`
		Rows       []struct {
			Kind    string `json:"kind"`
			Cause   string `json:"cause"`
			Count   uint64 `json:"count"`
			Unknown bool   `json:"unknown"`
		} `json:"rows"`
	} `json:"losses"`
	Damage []string `json:"damage"`
	Memory struct {
		Processes []struct {
			Totals []struct {
				Spaces []struct {
					Space     string `json:"space"`
					Live      uint64 `json:"live_count"`
					LiveBytes uint64 `json:"live_bytes"`
					Allocated uint64 `json:"allocations"`
					Bytes     uint64 `json:"allocated_bytes"`
					Freed     uint64 `json:"releases"`
				} `json:"spaces"`
			} `json:"totals"`
			Largest []struct {
				Bytes uint64 `json:"bytes"`
				Stack []struct {
					Module string `json:"module"`
					Symbol string `json:"symbol"`
				} `json:"stack"`
			} `json:"largest_live"`
			Failed uint64 `json:"failed_calls"`
		} `json:"processes"`
	} `json:"memory"`
	Kernels struct {
		All struct {
			Count uint64 `json:"count"`
		} `json:"all"`
		Groups []struct {
			Name string `json:"name"`
		} `json:"groups"`
	} `json:"kernels"`
}

// figures reads a trace. Everything else than success is a failure: whatever happened to the program
// or the agent, the trace is readable.
func (w *tool) figures(trace string) *figures {
	w.t.Helper()
	f := &figures{}
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--top", "0", trace)), f); err != nil {
		w.t.Fatalf("inspect --json %s: %v", trace, err)
	}
	var detail figures
	if err := json.Unmarshal([]byte(w.ok("inspect", "--json", "--kernels", "--memory", "--top", "0", trace)), &detail); err != nil {
		w.t.Fatalf("inspect --json --memory %s: %v", trace, err)
	}
	f.Memory, f.Kernels = detail.Memory, detail.Kernels
	return f
}

// recorded is how many records of a kind there are.
func (f *figures) recorded(kind string) uint64 {
	for _, r := range f.Records {
		if r.Kind == kind {
			return r.Recorded
		}
	}
	return 0
}

// of is what the trace says of one space of memory, over all processes.
func (f *figures) of(s space) (a account) {
	for _, p := range f.Memory.Processes {
		for _, t := range p.Totals {
			for _, row := range t.Spaces {
				if row.Space == spaceNames[s] {
					a.allocations += row.Allocated
					a.bytes += row.Bytes
					a.releases += row.Freed
					a.live += row.Live
					a.liveBytes += row.LiveBytes
				}
			}
		}
	}
	return a
}

// endUnknown says whether the trace declares that an unknown number of records is missing.
func (f *figures) endUnknown() bool {
	for _, r := range f.Losses.Rows {
		if r.Unknown {
			return true
		}
	}
	return false
}

// said says whether a note of the trace contains the words.
func (f *figures) said(words string) bool {
	return slices.ContainsFunc(f.Provenance.Notes, func(note string) bool { return strings.Contains(note, words) })
}

// sameMemory checks every figure of the ledger against the program's own.
func sameMemory(t *testing.T, f *figures, c *tally) {
	t.Helper()
	for s := range spaces {
		got, want := f.of(s), c.of[s]
		if s == handle {
			// A handle that is released while mapped lives on: the trace counts its release when it goes.
			got.releases, want.releases = got.allocations-got.live, want.allocations-want.live
		}
		if got != want {
			t.Errorf("%s: traced %+v, counted %+v", spaceNames[s], got, want)
		}
	}
}

// sameLive checks what is live at the end alone: what holds also where records were lost.
func sameLive(t *testing.T, f *figures, c *tally) {
	t.Helper()
	for s := range spaces {
		got, want := f.of(s), c.of[s]
		if got.live != want.live || got.liveBytes != want.liveBytes {
			t.Errorf("%s: traced %d live of %d bytes, counted %d of %d", spaceNames[s], got.live, got.liveBytes, want.live, want.liveBytes)
		}
	}
}

// sameTimeline checks kernels, copies and fills.
func sameTimeline(t *testing.T, f *figures, c *tally) {
	t.Helper()
	for _, row := range []struct {
		kind string
		want uint64
	}{{"kernels", c.launches}, {"copies", c.copies}, {"sets", c.sets}} {
		if got := f.recorded(row.kind); got != row.want {
			t.Errorf("%s: traced %d, counted %d", row.kind, got, row.want)
		}
	}
}

// whole checks that nothing is said to be lost, and that nothing is.
func whole(t *testing.T, f *figures, c *tally) {
	t.Helper()
	if f.Losses.Lost != 0 || f.endUnknown() || !f.Losses.Known || len(f.Damage) != 0 {
		t.Errorf("losses %+v, damage %q", f.Losses, f.Damage)
	}
	sameTimeline(t, f, c)
	sameMemory(t, f, c)
}

// exists says whether a file is in the tool's folder.
func (w *tool) exists(name string) bool {
	_, err := os.Stat(w.path(name))
	return err == nil
}

// touch makes an empty file in the tool's folder.
func (w *tool) touch(name string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// read returns what is in a file of the tool's folder.
func (w *tool) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// waitForFile waits until a line is in a file of the tool's folder.
func (w *tool) waitForFile(name string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if w.exists(name) && strings.HasSuffix(w.read(name), "\n") {
			return
		}
	}
	w.t.Fatalf("%s was not written", name)
}
