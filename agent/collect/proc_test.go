package collect

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/cupti/abi"
)

// TestLife watches a process through a descriptor, and where the system has none by its PID.
func TestLife(t *testing.T) {
	for _, descriptor := range []bool{true, false} {
		c := exec.Command("sleep", "60")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		l := watch(int32(c.Process.Pid))
		if l.fd < 0 {
			t.Error("no descriptor of the process")
		}
		if !descriptor {
			l.close()
		}
		if l.ended(0, 0) {
			t.Errorf("descriptor %v: ended before it did", descriptor)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// Not waited for: a zombie has ended, whatever its parent does.
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, c.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		if !l.ended(0, 0) {
			t.Errorf("descriptor %v: the end was not seen", descriptor)
		}
		c.Wait()
		if !l.ended(0, 0) {
			t.Errorf("descriptor %v: alive again", descriptor)
		}
		l.close()
	}
	reused := &life{pid: int32(os.Getpid()), fd: -1, start: 1}
	if !reused.ended(0, 0) {
		t.Error("another process with the same PID passes for the first")
	}
	unseen := &life{fd: -1}
	if unseen.ended(100e9, 101e9) || unseen.ended(0, 101e9) || !unseen.ended(100e9, 140e9) {
		t.Error("a process that cannot be seen lives by its heartbeat")
	}
}

func TestReadStat(t *testing.T) {
	state, start, parent, err := readStat(int32(os.Getpid()))
	if err != nil || state != 'R' && state != 'S' || start == 0 || parent != int32(os.Getppid()) {
		t.Errorf("%c %d %d %v", state, start, parent, err)
	}
	if _, _, _, err := readStat(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
}

// TestForget drains a timeline ring many times its size: every record arrives, and what was read does not
// stay in the reader's address space.
func TestForget(t *testing.T) {
	sizes := Sizes{AllocRing: 64 << 20, TimelineRing: 32 << 20, LiveTable: 64 << 10, Arena: 1 << 20}
	fd, size, err := createMemory(sizes)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	mapped := func() []byte {
		b, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Munmap(b) })
		return b
	}
	l := newTarget(mapped(), sizes, 0)
	l.device(0, 1)
	l.clock(1, 1)
	launch := l.launch("kernel", 1)
	memory := mapped()
	r, j, _ := newTestReader(t, &target{bytes: memory}, nil)
	r.memory.timeline.unmap = unmapPages(memory)
	most := 0
	const rounds, each = 60, 40_000 // of 64 bytes
	for round := range rounds {
		for i := range uint32(each) {
			if !l.timeline.write(abi.RecKernel, 0, body(abi.Kernel{Start: 5, End: 6, Launch: launch, Correlation: uint32(round)*each + i})) {
				t.Fatal("the ring is full")
			}
		}
		mustDrain(t, r)
		most = max(most, resident(t, memory))
	}
	mustClose(t, r)
	got := j.events.Kernels.Correlation
	if len(got) != rounds*each {
		t.Fatalf("%d kernels, want %d", len(got), rounds*each)
	}
	for i, c := range got {
		if c != uint32(i) {
			t.Fatalf("kernel %d is %d: what was read is not what was written", i, c)
		}
	}
	// A round, what is not yet a chunk, and the pages that a fault brings along.
	if limit := each*abi.Slot + 2*forgetChunk; most > limit {
		t.Errorf("%d KiB of the ring are in the reader's address space, want at most %d", most>>10, limit>>10)
	}
}

// resident returns how many bytes of a mapping are in this process's page tables.
func resident(t *testing.T, mapping []byte) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("%x-", uintptr(unsafe.Pointer(&mapping[0])))
	inside := false
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, " rw-s ") {
			inside = strings.HasPrefix(line, at)
		}
		if n := 0; inside {
			if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil {
				return n << 10
			}
		}
	}
	t.Fatal("the mapping is not in /proc/self/smaps")
	return 0
}

// TestSparseMemory drains an allocation ring many times its size: every call arrives, and what was
// read does not stay in memory.
func TestSparseMemory(t *testing.T) {
	sizes := Sizes{AllocRing: 4 << 20, TimelineRing: 64 << 10, LiveTable: 1 << 20, Arena: 1 << 20}
	fd, size, err := createMemory(sizes)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	mapped := func() []byte {
		b, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Munmap(b) })
		return b
	}
	l := newTarget(mapped(), sizes, 0)
	l.device(0, 1)
	l.clock(1, 1)
	r, j, _ := newTestReader(t, &target{bytes: mapped()}, nil)
	r.memory.alloc.punch, r.memory.live.extents = punch(fd), extents(fd)
	resident := func() int64 {
		var info unix.Stat_t
		if err := unix.Fstat(fd, &info); err != nil {
			t.Fatal(err)
		}
		return info.Blocks * 512
	}
	var most int64
	const rounds, each = 200, 1000
	for round := range rounds {
		for i := range each / 2 {
			l.malloc(uint64(round*each+i+1)<<12, 64, 0)
			l.free(uint64(round*each+i+1) << 12)
		}
		mustDrain(t, r)
		most = max(most, resident())
	}
	l.malloc(0x1000, 64, 0)
	s := mustClose(t, r)
	if n := len(j.events.Allocations.Sequence); n != rounds*each+1 || total(s.Losses) != 0 {
		t.Errorf("%d calls, losses %+v; want %d and none", n, s.Losses, rounds*each+1)
	}
	// The backlog of one round is 125 KiB; the rest is header, table and arena.
	if most > 2<<20 {
		t.Errorf("%d KiB of memory for a ring of %d KiB that was hardly filled", most>>10, sizes.AllocRing>>10)
	}
	if n := len(j.lives[len(j.lives)-1].Live.Address); n != 1 {
		t.Errorf("%d live at the end, want 1", n)
	}
}
