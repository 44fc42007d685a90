package collect

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Why a process cannot be adopted.
var (
	// ErrNotCaptured: the process has no memory of an agent's.
	ErrNotCaptured = errors.New("it is not recorded by any agent")
	// ErrAnotherAgent: the agent that records it is alive.
	ErrAnotherAgent = errors.New("another agent is recording it")
)

// memoryName is how the kernel names the memory of a traced process among its descriptors.
const memoryName = "/memfd:warpscope"

// maxMemory bounds what is mapped of another process's word: 64 GiB.
const maxMemory = 64 << 30

// lockMemory marks the memory as read by this process, until the descriptor that it returns is closed
// or the process ends. The descriptor is one of its own: the traced process holds the other, and a lock on
// that would outlive the agent. -1 where that cannot be had (no /proc): then nobody can adopt either.
func lockMemory(fd int) int {
	own, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if err := tryLock(own); err != nil {
		unix.Close(own)
		return -1
	}
	return own
}

// tryLock takes the lock that belongs to an open file, not to a process; it fails where another has it.
func tryLock(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: 0, Len: 1})
}

// Adopt goes on reading a process whose agent has ended without finishing it. What that agent had read is
// in its own trace; here begins what it had not, with the set of what is allocated now. The error wraps ErrNotCaptured,
// ErrAnotherAgent, or says why the process cannot be read.
func (s *Server) Adopt(pid int32) error {
	_, start, parent, err := readStat(pid)
	if err != nil {
		return fmt.Errorf("adopt process %d: there is no such process", pid)
	}
	fd, memory, err := findMemory(pid, start)
	if err != nil {
		return fmt.Errorf("adopt process %d: %w", pid, err)
	}
	h := (*abi.Header)(unsafe.Pointer(&memory[0]))
	p := &process{
		server: s, inner: h.Pid, life: watch(pid), fd: fd, lock: -1, memory: memory, adopted: true,
		owner:    owner{pid: pid, parent: parent, rank: readRank(pid), root: foreignRoot(pid)},
		replaced: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if !s.add(p) {
		p.life.close()
		p.release()
		return fmt.Errorf("adopt process %d: %d processes are in this trace already", pid, maxProcesses)
	}
	s.note("process %d: its agent had ended, reading goes on in this trace; what that agent had read is in its own, and what the rings could not hold in between is counted as lost", pid)
	return nil
}

// findMemory looks through a process's descriptors for the memory of its own capture, and takes the lock.
func findMemory(pid int32, start uint64) (fd int, memory []byte, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return -1, nil, fmt.Errorf("look at its descriptors: %w", errors.Unwrap(err))
	}
	found := ErrNotCaptured
	for _, e := range entries {
		link := filepath.Join(dir, e.Name())
		if to, err := os.Readlink(link); err != nil || !strings.HasPrefix(to, memoryName) {
			if strings.HasSuffix(to, ".wscap") {
				found = fmt.Errorf("it records by itself into %s: 'warpscope recover' reads that, now or later", to)
			}
			continue
		}
		fd, err := unix.Open(link, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			found = fmt.Errorf("open its memory: %w", err)
			continue
		}
		memory, err := adoptMemory(fd, start)
		if err == nil {
			return fd, memory, nil
		}
		unix.Close(fd)
		if !errors.Is(err, ErrNotCaptured) {
			found = err
		}
	}
	if errors.Is(found, ErrNotCaptured) && mapsMemory(pid) {
		found = errors.New("it has closed the descriptor of its memory (daemons close all of them): no other agent can find it")
	}
	return -1, nil, found
}

// mapsMemory tells whether a process has an agent's memory in its address space.
func mapsMemory(pid int32) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return err == nil && strings.Contains(string(text), memoryName)
}

// adoptMemory checks that the memory is a capture of the process that started at start, and maps it.
func adoptMemory(fd int, start uint64) ([]byte, error) {
	// Without these seals its owner could make it shorter under us.
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	var stat unix.Stat_t
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 || unix.Fstat(fd, &stat) != nil || stat.Size < 4*abi.Page || stat.Size > maxMemory {
		return nil, ErrNotCaptured
	}
	memory, err := unix.Mmap(fd, 0, int(stat.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map its memory of %d bytes: %w", stat.Size, err)
	}
	h := (*abi.Header)(unsafe.Pointer(&memory[0]))
	switch {
	case loadUint64(&h.Magic) != abi.AbiMagic || h.Start_ticks != start:
		err = ErrNotCaptured // another process's: a child inherits it, and one that executed has it no more
	case h.Abi_version != abi.AbiVersion:
		err = fmt.Errorf("its capture library has ABI version %d, this agent %d", h.Abi_version, abi.AbiVersion)
	case event.State(loadUint32(&h.State)) == event.StateFinished:
		err = errors.New("its capture has ended")
	case event.State(loadUint32(&h.State)) == event.StateRefused:
		err = errors.New("its capture could not start")
	default:
		if err = tryLock(fd); err != nil {
			err = ErrAnotherAgent
		}
	}
	if err != nil {
		_ = unix.Munmap(memory)
		return nil, err
	}
	// The devices are described anew.
	atomic.AddUint32(&h.Readers, 1)
	atomic.AddUint32(&h.Bell, 1)
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&h.Bell)), linuxFutexWake, math.MaxInt32, 0, 0, 0)
	return memory, nil
}
