package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect/symbols"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Traced programs are this test binary again, with targetVariable saying what they do.
const (
	targetVariable = "WARPSCOPE_TEST_TARGET"
	socketVariable = "WARPSCOPE_SOCKET"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(targetVariable); what != "" {
		if err := playTarget(what); err != nil {
			fmt.Fprintln(os.Stderr, "target:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// connect is the library's side of the handshake.
func connect(path string, hello abi.Hello) (*target, abi.Welcome, error) {
	var w abi.Welcome
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, w, err
	}
	defer conn.Close()
	if _, err := conn.Write(asBytes(hello)); err != nil {
		return nil, w, err
	}
	var message [unsafe.Sizeof(w)]byte
	control := make([]byte, unix.CmsgSpace(4))
	n, cn, _, _, err := conn.ReadMsgUnix(message[:], control)
	if err != nil || n != len(message) {
		return nil, w, fmt.Errorf("welcome of %d bytes: %w", n, err)
	}
	w = readAs[abi.Welcome](message[:])
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(messages) != 1 {
		return nil, w, fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, w, err
	}
	if unix.Ftruncate(fds[0], abi.Page) == nil {
		return nil, w, errors.New("the memory can be shrunk")
	}
	sizes := Sizes{AllocRing: w.Alloc_ring, TimelineRing: w.Timeline_ring, LiveTable: w.Live_table, Arena: w.Arena}
	bytes, err := unix.Mmap(fds[0], 0, memorySize(sizes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, w, err
	}
	t := newTarget(bytes, sizes, 0)
	if w.Start_paused == 0 {
		atomic.StoreUint32(&t.header.Want_timeline, 1)
	}
	return t, w, nil
}

func goodHello() abi.Hello {
	return abi.Hello{Magic: abi.AbiMagic, Version: abi.AbiVersion, Pid: int32(os.Getpid())}
}

func playTarget(what string) error {
	l, _, err := connect(os.Getenv(socketVariable), goodHello())
	if err != nil {
		return err
	}
	now := func() uint64 { return uint64(monotonic()) }
	l.sequence = now
	l.clock(now(), now())
	l.device(0, 7)
	launch := l.launch("_Z6kernelv", 10)
	library := l.maps(abi.Map{Base: 0x1000, Start: 0x2000, End: 0x9000, Path: l.text("/lib/libtorch.so"), Id: l.text("abcd")})
	for i := range uint32(1000) {
		for !l.kernel(now(), now(), launch, i) {
			time.Sleep(time.Millisecond)
		}
		l.malloc(uint64(i+1)<<12, 256, l.stack(library, 0x2010, 0x3010+uint64(i%10), 0xffff0000))
		if i%2 == 0 {
			l.free(uint64(i+1) << 12)
		}
	}
	switch what {
	case "killed":
		l.timeline.reserve(1)
		l.alloc.reserve(2)
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "exec":
		if err := os.Setenv(targetVariable, "finish"); err != nil {
			return err
		}
		return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	case "wait":
		for atomic.LoadUint32(&l.header.Want_timeline) == 0 {
			time.Sleep(time.Millisecond)
		}
		l.kernel(now(), now(), launch, 5555)
	case "stay":
		fmt.Println("ready")
		time.Sleep(time.Minute)
	}
	l.alloc.write(abi.RecState, 0, body(abi.StateChange{Time: now(), State: abi.StateFinished}))
	atomic.StoreUint32(&l.header.State, abi.StateFinished)
	return nil
}

func startServer(t *testing.T, change func(*Config)) (*Server, *journal) {
	t.Helper()
	j := &journal{t: t}
	config := Config{
		Sink: j, Mode: Timeline, API: APIAll, Graphs: GraphsNode, Dir: t.TempDir(),
		Sizes: Sizes{AllocRing: 1 << 20, TimelineRing: 64 << 10, LiveTable: 1 << 20, Arena: 1 << 20},
		Resolve: func(m symbols.Module, pc uint64) (string, uint64, bool) {
			if pc-m.Base == 0x2015 {
				return "", 0, false
			}
			return fmt.Sprintf("f%x", (pc-m.Base)>>12), (pc - m.Base) & 0xfff, true
		},
	}
	if change != nil {
		change(&config)
	}
	s, err := Listen(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, j
}

func startTarget(t *testing.T, s *Server, what string, environ ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(append(os.Environ(), environ...), targetVariable+"="+what, socketVariable+"="+s.Address())
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until something holds.
func eventually(t *testing.T, s *Server, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come: %+v, %+v", what, s.Processes(), s.Summary())
		}
	}
}

// settle waits until n processes have come and all have ended.
func settle(t *testing.T, s *Server, n int) []Status {
	t.Helper()
	eventually(t, s, "the end of the processes", func() bool {
		list := s.Processes()
		return len(list) >= n && !slices.ContainsFunc(list, func(p Status) bool { return p.Running })
	})
	return s.Processes()
}

func TestServerRecordsProcesses(t *testing.T) {
	s, j := startServer(t, nil)
	gpu := s.GPU(event.GPU{UUID: "GPU-07000000-0000-0000-0000-000000000000", Name: "as NVML knows it", Index: 3})
	sample := &event.Batch{GPUSamples: event.GPUSamples{Time: []event.Time{1}, GPU: []event.GPUID{gpu}}}
	if err := s.Emit(sample); err != nil {
		t.Fatal(err)
	}
	finish := startTarget(t, s, "finish", "SLURM_PROCID=5", "RANK=2")
	killed := startTarget(t, s, "killed")
	executed := startTarget(t, s, "exec")
	if err := finish.Wait(); err != nil {
		t.Error(err)
	}
	killed.Wait()
	if err := executed.Wait(); err != nil {
		t.Error(err)
	}
	list := settle(t, s, 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	byPID := map[int][]Status{}
	for _, p := range list {
		byPID[int(p.PID)] = append(byPID[int(p.PID)], p)
		if p.Recorded[event.KindKernel] != 1000 || p.Recorded[event.KindAllocation] != 1500 {
			t.Errorf("process %d recorded %v", p.PID, p.Recorded)
		}
	}
	check := func(c *exec.Cmd, states ...event.State) {
		t.Helper()
		var got []event.State
		for _, p := range byPID[c.Process.Pid] {
			got = append(got, p.State)
		}
		if !slices.Equal(got, states) {
			t.Errorf("states %v, want %v", got, states)
		}
	}
	check(finish, event.StateFinished)
	check(killed, event.StateKilled)
	check(executed, event.StateKilled, event.StateFinished)
	if got := byPID[finish.Process.Pid][0].Rank; got != 2 {
		t.Errorf("rank %d, want 2", got)
	}

	sum := s.Summary()
	if sum.Recorded[event.KindKernel] != 4000 || sum.Recorded[event.KindAllocation] != 6000 || sum.Recorded[event.KindGPUSample] != 1 {
		t.Errorf("recorded %v", sum.Recorded)
	}
	if total(sum.Losses) != 2 || lossOf(sum.Losses, event.KindAllocation, event.LossTorn) != 1 {
		t.Errorf("losses %+v, want two torn records of the killed process", sum.Losses)
	}
	if len(sum.Notes) != 0 {
		t.Errorf("notes %q", sum.Notes)
	}

	if n := len(j.tables.GPUs()); n != 1 || j.tables.GPU(1).Index != 3 {
		t.Errorf("%d GPUs, first %+v", n, j.tables.GPU(1))
	}
	for _, p := range j.tables.Processes() {
		if p.ParentPID != int32(os.Getpid()) || !slices.Equal(p.Devices, []event.GPUID{gpu}) {
			t.Errorf("process %+v", p)
		}
	}
	if len(j.lives) != 4 {
		t.Errorf("%d live sets, want one at each end", len(j.lives))
	}
	for _, l := range j.lives {
		if len(l.Live.Address) != 500 || l.Live.Stack[0] == 0 || l.Live.Op[0] != event.OpAlloc {
			t.Errorf("live set of %d allocations", len(l.Live.Address))
		}
	}
	stack := j.tables.Stack(j.events.Allocations.Stack[0])
	var text []string
	for _, id := range stack {
		f := j.tables.Frame(id)
		text = append(text, fmt.Sprintf("%s!%s+%#x", j.tables.String(f.Module), j.tables.String(f.Symbol), f.Offset))
	}
	if got, want := strings.Join(text, " "), "/lib/libtorch.so!f1+0x10 /lib/libtorch.so!f2+0x10 !+0xffff0000"; got != want {
		t.Errorf("stack %q, want %q", got, want)
	}
	if _, _, frames, stacks, _, _ := j.tables.Counts(); frames != 12 || stacks != 10 {
		t.Errorf("%d frames in %d stacks, want 12 in 10: equal ones are defined once", frames, stacks)
	}
	if _, err := os.Stat(s.Address()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestServerSwitchesTimeline(t *testing.T) {
	s, j := startServer(t, func(c *Config) { c.StartPaused = true })
	c := startTarget(t, s, "wait")
	eventually(t, s, "the last kernel", func() bool {
		return len(s.Processes()) == 1 && s.Processes()[0].Recorded[event.KindKernel] == 1000
	})
	s.SetTimeline(true)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	settle(t, s, 1)
	s.SetTimeline(false) // of no effect, but must not touch memory that is gone
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.SetTimeline(true)
	if !slices.Contains(j.events.Kernels.Correlation, 5555) {
		t.Error("the kernel after the switch is missing")
	}
}

func TestServerClosesOverLivingProcess(t *testing.T) {
	s, j := startServer(t, nil)
	c := startTarget(t, s, "stay")
	eventually(t, s, "the last allocation", func() bool {
		return len(s.Processes()) == 1 && s.Processes()[0].Recorded[event.KindAllocation] == 1500
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p := s.Processes()[0]; !p.Running || p.State != event.StateArmed {
		t.Errorf("%+v, want running", p)
	}
	if len(j.events.Kernels.Start) != 1000 || len(j.lives) != 1 {
		t.Errorf("%d kernels, %d live sets", len(j.events.Kernels.Start), len(j.lives))
	}
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	c.Wait()
}

func TestServerRefusesStrangers(t *testing.T) {
	s, _ := startServer(t, nil)
	info, err := os.Stat(s.folder.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory %v %v", info.Mode(), err)
	}
	old := goodHello()
	old.Version = 99
	for name, hello := range map[string]abi.Hello{"version": old, "magic": {Magic: 1}} {
		if _, _, err := connect(s.Address(), hello); err == nil {
			t.Errorf("%s: was welcomed", name)
		}
	}
	conn, err := net.Dial("unixpacket", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("x"))
	conn.Close()
	eventually(t, s, "a note on each", func() bool { return len(s.Summary().Notes) == 3 })
}

// A peer whose memory makes no sense is noted; the others go on.
func TestServerSurvivesHostileMemory(t *testing.T) {
	s, _ := startServer(t, nil)
	l, _, err := connect(s.Address(), goodHello())
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.bytes {
		l.bytes[i] = byte(i * 7)
	}
	eventually(t, s, "a note", func() bool { return len(s.Summary().Notes) == 1 })
	c := startTarget(t, s, "finish")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, s, "the last kernel", func() bool { return s.Summary().Recorded[event.KindKernel] == 1000 })
}

func TestServerAttach(t *testing.T) {
	s, j := startServer(t, nil)
	l := makeTarget(t, smallSizes, abi.FlagInprocess)
	l.clock(1, 1)
	l.device(0, 1)
	l.kernel(1, 2, l.launch("k", 1), 1)
	l.malloc(0x1000, 5, 0)
	r, err := s.Attach(l.bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(j.events.Kernels.Start) != 1 || len(j.events.Allocations.Size) != 1 || len(s.Processes()) != 1 {
		t.Errorf("%d kernels of %+v", len(j.events.Kernels.Start), s.Processes())
	}
}

func TestServerCloseIsBounded(t *testing.T) {
	release := make(chan struct{})
	s, _ := startServer(t, func(c *Config) {
		c.CloseTimeout = 50 * time.Millisecond
		c.Resolve = func(symbols.Module, uint64) (string, uint64, bool) { <-release; return "", 0, false }
	})
	c := startTarget(t, s, "finish")
	c.Wait()
	settle(t, s, 1)
	if err := s.Close(); err == nil {
		t.Error("close did not say that it was too late")
	}
	close(release)
}

func TestListenRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no sink":        {},
		"odd ring":       {Sink: &journal{}, Sizes: Sizes{AllocRing: 12288}},
		"unaligned ring": {Sink: &journal{}, Sizes: Sizes{TimelineRing: 100}},
	} {
		if _, err := Listen(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFolderFallsBack(t *testing.T) {
	for _, parent := range []string{"", "relative", "/does/not/exist", "/tmp/" + strings.Repeat("x", 200)} {
		f, err := newFolder(parent)
		if err != nil {
			t.Fatalf("%s: %v", parent, err)
		}
		if len(f.path) > maxDir+30 {
			t.Errorf("%s: %s", parent, f.path)
		}
		f.remove()
	}
}

// TestFolderOfAKilledAgentGoes: the next agent removes it, and no other's.
func TestFolderOfAKilledAgentGoes(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "w")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	aged := map[string]*folder{}
	long := time.Now().Add(-2 * settled)
	for _, name := range []string{"killed", "alive", "alive, unlocked", "young", "somebody's"} {
		f, err := newFolder(parent)
		if err != nil {
			t.Fatal(err)
		}
		aged[name] = f
		if name != "somebody's" {
			l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: f.socket(), Net: "unixpacket"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			defer l.Close()
			if name == "killed" || name == "young" {
				l.Close()
			}
		}
		if name != "alive" {
			f.lock.Close()
		}
	}
	for name, f := range aged {
		if name == "young" {
			continue
		}
		if err := os.Chtimes(f.path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	sweep(parent)
	for name, f := range aged {
		if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) != (name == "killed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRank(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    int32
	}{
		{nil, -1},
		{[]string{"SLURM_PROCID=3"}, 3},
		{[]string{"SLURM_PROCID=3", "RANK=1"}, 1},
		{[]string{"RANK=x", "OMPI_COMM_WORLD_RANK=4"}, 4},
		{[]string{"RANK=-1", "XRANK=7"}, -1},
	} {
		if got := rank(c.environ); got != c.want {
			t.Errorf("%v: rank %d, want %d", c.environ, got, c.want)
		}
	}
}
