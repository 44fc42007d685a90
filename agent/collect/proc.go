package collect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// life watches whether a process still runs.
type life struct {
	pid   int32
	fd    int    // of the process; -1: this system has none
	start uint64 // ticks since boot at which it started; 0: unknown
}

// watch begins to watch a process. The PID is the kernel's word for a connected peer; 0 means
// that it lives in a PID namespace that cannot be seen from here.
func watch(pid int32) *life {
	l := &life{pid: pid, fd: -1}
	if pid <= 0 {
		return l
	}
	_, l.start, _, _ = readStat(pid)
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		l.fd = fd
	}
	return l
}

// ended tells whether the process has ended. heartbeat and now decide where nothing else can.
func (l *life) ended(heartbeat, now event.Time) bool {
	const silence = 30e9 // ns; the library beats many times a second
	switch {
	case l.fd >= 0:
		p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n == 1
	case l.pid > 0:
		state, start, _, err := readStat(l.pid)
		return err != nil || state == 'Z' || state == 'X' || start != l.start
	}
	return heartbeat != 0 && now-heartbeat > silence
}

func (l *life) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}

// readStat reads the state, the start time in ticks and the parent of a process.
func readStat(pid int32) (state byte, start uint64, parent int32, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0, err
	}
	// The name in brackets may hold anything, brackets too.
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, 0, 0, errors.New("read process state: unexpected format")
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	up, _ := strconv.ParseInt(string(fields[1]), 10, 32)
	return fields[0][0], start, int32(up), err
}

// foreignRoot returns where a process in another mount namespace (a container) has its files, "" if
// it sees the same files as the agent.
func foreignRoot(pid int32) string {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	ours, err2 := os.Readlink("/proc/self/ns/mnt")
	if err != nil || err2 != nil || theirs == ours {
		return ""
	}
	return fmt.Sprintf("/proc/%d/root", pid)
}

// rankVariables are where launchers say which rank a process is, the most general first.
var rankVariables = []string{"RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK"}

// readRank returns the rank of a process, -1 if its environment names none.
func readRank(pid int32) int32 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return -1
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return -1
	}
	return rank(strings.Split(string(text), "\x00"))
}

// rank finds the rank in an environment, -1 if there is none.
func rank(environ []string) int32 {
	for _, name := range rankVariables {
		for _, entry := range environ {
			value, ok := strings.CutPrefix(entry, name+"=")
			if n, err := strconv.ParseInt(value, 10, 32); ok && err == nil && n >= 0 {
				return int32(n)
			}
		}
	}
	return -1
}

// createMemory makes the memory of one process: sealed against shrinking, so that whoever holds it cannot
// pull it away from under the agent.
func createMemory(s Sizes) (fd int, size int64, err error) {
	size = int64(4*abi.Page + s.AllocRing + s.TimelineRing + s.LiveTable + s.Arena)
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err = unix.MemfdCreate("warpscope", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("warpscope", flags)
	}
	if err != nil {
		return -1, 0, fmt.Errorf("create shared memory: %w", err)
	}
	if err = unix.Ftruncate(fd, size); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, fmt.Errorf("seal shared memory of %d bytes: %w", size, err)
	}
	return fd, size, nil
}

// extents finds the parts of a file that were ever written, for a table that is hardly filled.
func extents(fd int) func(from, to uint64) (start, end uint64, ok bool) {
	return func(from, to uint64) (uint64, uint64, bool) {
		start, err := unix.Seek(fd, int64(from), unix.SEEK_DATA)
		if err != nil || uint64(start) >= to {
			return 0, 0, false
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return 0, 0, false
		}
		return uint64(start), uint64(end), true
	}
}

// punch gives parts of a file back to the system.
func punch(fd int) func(offset, length uint64) error {
	return func(offset, length uint64) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(offset), int64(length))
	}
}
