package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/cupti/abi"
)

// clientHelper is a traced process as the agent sees it: it announces itself, lays out its memory
// with the state and reasons it is told, and ends, or stays until it is killed.
func clientHelper() error {
	header, err := announce(os.Getenv("WARPSCOPE_SOCKET"))
	if err != nil {
		return err
	}
	if os.Args[1] == "refused" {
		header.Reason = 1 << abi.ReasonNoCupti
		header.State = abi.StateRefused
	} else {
		header.State = abi.StateArmed
	}
	atomic.StoreUint64(&header.Magic, abi.AbiMagic)
	if os.Args[1] == "stay" {
		if err := os.WriteFile("connected", fmt.Append(nil, os.Getpid()), 0o600); err != nil {
			return err
		}
		for {
			_ = unix.Pause() // until it is killed
		}
	}
	if os.Args[1] == "watch" { // the timeline go on, and off again
		fmt.Println("connected", atomic.LoadUint32(&header.Want_timeline))
		for _, want := range []uint32{1, 0} {
			for atomic.LoadUint32(&header.Want_timeline) != want {
				time.Sleep(time.Millisecond)
			}
			fmt.Println("timeline", want)
		}
	}
	if os.Args[1] == "done" {
		atomic.StoreUint32(&header.State, abi.StateFinished)
	}
	return nil
}

// announce connects to the agent and lays out the memory that it gives, but for magic and state.
func announce(socket string) (*abi.Header, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return nil, fmt.Errorf("connect to %q: %w", socket, err)
	}
	hello := abi.Hello{Magic: abi.AbiMagic, Version: abi.AbiVersion, Pid: int32(os.Getpid())}
	if err := unix.Send(fd, unsafe.Slice((*byte)(unsafe.Pointer(&hello)), unsafe.Sizeof(hello)), 0); err != nil {
		return nil, err
	}
	var welcome abi.Welcome
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(fd, unsafe.Slice((*byte)(unsafe.Pointer(&welcome)), unsafe.Sizeof(welcome)), control, 0)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("no memory came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("no memory came")
	}
	size := 4*abi.Page + welcome.Alloc_ring + welcome.Timeline_ring + welcome.Live_table + welcome.Arena
	memory, err := unix.Mmap(fds[0], 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return layOut(memory, &welcome), nil
}

// layOut fills in the header and the beginnings of the regions.
func layOut(memory []byte, w *abi.Welcome) *abi.Header {
	h := (*abi.Header)(unsafe.Pointer(&memory[0]))
	offset := uint64(abi.Page)
	region := func(size uint64) abi.Region {
		r := abi.Region{Offset: offset, Size: size}
		offset += size
		return r
	}
	h.Alloc_ring, h.Timeline_ring = region(abi.Page+w.Alloc_ring), region(abi.Page+w.Timeline_ring)
	h.Live_table, h.Arena = region(abi.Page+w.Live_table), region(w.Arena)
	h.Abi_version, h.Header_size, h.Total_size = abi.AbiVersion, uint32(unsafe.Sizeof(*h)), offset
	h.Pid, h.Ppid, h.Mode, h.Api = int32(os.Getpid()), int32(os.Getppid()), w.Mode, w.Api
	h.Mono_start, h.Wall_start = clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_REALTIME)
	h.Arena_used = 8
	for _, r := range []abi.Region{h.Alloc_ring, h.Timeline_ring} {
		ring := (*abi.Ring)(unsafe.Pointer(&memory[r.Offset]))
		ring.Capacity, ring.Limit = r.Size-abi.Page, ^uint64(0)
	}
	table := (*abi.LiveTable)(unsafe.Pointer(&memory[h.Live_table.Offset]))
	table.Capacity = (h.Live_table.Size - abi.Page) / uint64(unsafe.Sizeof(abi.Live{}))
	return h
}

// client is the shell command for a traced process.
func client(how string) string { return helperVariable + "=client " + os.Args[0] + " " + how }

func TestProcessesAreReported(t *testing.T) {
	for _, c := range []struct {
		name, script string
		says, silent []string
	}{
		{
			name: "in order", script: client("done"),
			says: []string{"nothing lost"}, silent: []string{"used CUDA", "captured"},
		},
		{
			name: "two, one without CUPTI", script: client("done") + "; " + client("refused"),
			says:   []string{"nothing was captured, no libcupti was found", "WARPSCOPE_CUPTI", "process "},
			silent: []string{"used CUDA"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := agent(t, t.TempDir(), "sh", "-c", c.script+"; exit 3")
			out, _ := cmd.CombinedOutput()
			if got := ended(t, cmd).ExitStatus(); got != 3 {
				t.Errorf("exit status %d", got)
			}
			for _, want := range c.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			for _, unwanted := range c.silent {
				if strings.Contains(string(out), unwanted) {
					t.Errorf("it says %q:\n%s", unwanted, out)
				}
			}
		})
	}
}

func TestProcessThatOutlivesTheProgram(t *testing.T) {
	dir := t.TempDir()
	cmd := agent(t, dir, "sh", "-c", client("stay")+" & while [ ! -s connected ]; do sleep 0.02; done; exit 4")
	// Its output goes to a file, so that Wait does not wait for the process that stays.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	_ = cmd.Run()
	var pid int
	b, err := os.ReadFile(filepath.Join(dir, "connected"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the process did not live on: %v", err)
	}
	if got := ended(t, cmd).ExitStatus(); got != 4 {
		t.Errorf("exit status %d", got)
	}
	said, _ := os.ReadFile(log.Name())
	if want := fmt.Sprintf("process %d (", pid); !strings.Contains(string(said), want) ||
		!strings.Contains(string(said), "outlives the program") {
		t.Errorf("it does not say %q outlives the program:\n%s", want, said)
	}
}

func TestTimelineForAWhile(t *testing.T) {
	cmd := agent(t, t.TempDir(), "sh", "-c", client("watch"))
	cmd.Env = append(cmd.Env, "AGENT_START_AFTER=300ms", "AGENT_DURATION=100ms")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "connected 0\ntimeline 1\ntimeline 0\n" {
		t.Errorf("%q, %v", out, err)
	}
	if want := "the timeline for 100ms after 300ms"; !strings.Contains(stderr.String(), want) {
		t.Errorf("it does not say %q:\n%s", want, &stderr)
	}
}

// TestTheTraceTells reads a trace back: it must hold what was said, and how the program ended.
func TestTheTraceTells(t *testing.T) {
	dir := t.TempDir()
	cmd := agent(t, dir, "sh", "-c", client("refused")+"; kill -TERM $$")
	cmd.Env = append(cmd.Env, "RANK=3")
	_ = cmd.Run()
	r, err := trace.Open(filepath.Join(dir, "t.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var provenance event.Provenance
	var summary event.Summary
	var processes []event.Process
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case item.Provenance != nil:
			provenance = *item.Provenance
		case item.Summary != nil:
			summary = *item.Summary
		case item.Definitions != nil:
			processes = append(processes, item.Definitions.Processes...)
		}
	}
	report := r.Report()
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	host, _ := os.Hostname()
	if provenance.Tool != "warpscope test" || provenance.Hostname != host || provenance.CPUs < 1 ||
		provenance.MemoryBytes == 0 || !strings.HasPrefix(provenance.Kernel, "Linux ") ||
		provenance.MonoTime <= 0 || provenance.WallTime <= int64(provenance.MonoTime) ||
		!slices.Equal(provenance.Command, cmd.Args[1:]) {
		t.Errorf("provenance %+v", provenance)
	}
	if summary.Signal != int32(unix.SIGTERM) || summary.ExitCode != -1 || summary.End <= provenance.MonoTime ||
		!strings.Contains(strings.Join(summary.Notes, "\n"), "no libcupti was found") {
		t.Errorf("summary %+v", summary)
	}
	if len(processes) != 1 || processes[0].Rank != 3 || processes[0].Mode != "timeline" || processes[0].API != "launch" {
		t.Errorf("processes %+v", processes)
	}
}
