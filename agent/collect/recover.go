package collect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// CaptureFile is what the header of a capture file says: a process wrote it by itself, without an
// agent, and its records have still to be made into a trace.
type CaptureFile struct {
	Path       string
	PID        int32 // as the program saw it
	Executable string
	Command    []string
	Start      event.Time // CLOCK_MONOTONIC at its beginning …
	WallStart  int64      // … and the same moment in ns since 1970
	State      event.State
	Reason     uint32 // set of 1 << event.Reason
	Simulated  bool
	Running    bool // its process seems to be there still, on this machine
}

// sameBoot is how far the clocks of two captures may be apart, in ns, for CLOCK_MONOTONIC to count
// as one and the same: NTP corrects wall time by less, a machine boots in more.
const sameBoot = 5e9

// Comparable tells whether the times of two captures can stand in one trace: they are of one
// machine's run from one boot to the next.
func (f *CaptureFile) Comparable(other *CaptureFile) bool {
	d := (f.WallStart - int64(f.Start)) - (other.WallStart - int64(other.Start))
	return d > -sameBoot && d < sameBoot
}

// OpenCapture reads the header of a capture file. The error wraps ErrNotCapture, ErrNotReady or
// ErrVersion, where it is one of these.
func OpenCapture(path string) (CaptureFile, error) {
	f := CaptureFile{Path: path}
	err := withCapture(path, func(m *memory) error {
		h, budget := m.header, maxText
		f.PID, f.Start, f.WallStart = h.Pid, event.Time(h.Mono_start), h.Wall_start
		f.State, f.Reason = event.State(h.State), h.Reason
		f.Simulated = h.Flags&abi.FlagSimulated != 0
		f.Executable = strings.ToValidUTF8(m.arena.text(h.Executable, &budget), "\uFFFD")
		f.Command = words(m.arena.text(h.Command, &budget))
		_, start, _, err := readStat(h.Pid)
		f.Running = err == nil && start == h.Start_ticks && f.State != event.StateFinished
		return nil
	})
	return f, err
}

// Recovered is what came of capture files.
type Recovered struct {
	Processes []Status // one a file
	Summary   event.Summary
}

// Recover reads all that was committed to capture files and writes it to config.Sink, as one trace.
// Of config, Sink and Resolve matter. What a file lacks at its end, and what was being written when its
// process died, is counted as lost.
func Recover(config Config, paths ...string) (*Recovered, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	o := newOutput(config.Sink)
	l := newLedger(o, config.Resolve)
	result := &Recovered{}
	var end event.Time
	for _, path := range paths {
		err := withCapture(path, func(m *memory) error {
			r := newReader(m, config, o, l, owner{rank: -1})
			_, start, _, err := readStat(m.header.Pid)
			r.finish(err != nil || start != m.header.Start_ticks)
			result.Processes = append(result.Processes, r.Status())
			end = max(end, r.lastSign())
			return firstError(r.gone, o.failure())
		})
		if err != nil {
			return nil, err
		}
	}
	if err := o.flush(); err != nil {
		return nil, err
	}
	result.Summary = summarize(o, result.Processes)
	result.Summary.End = end
	return result, nil
}

// withCapture maps a capture file for the time of f.
func withCapture(path string, f func(*memory) error) error {
	// Not blocking: a FIFO without a writer would hang.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open capture: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("open capture: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("open capture %s: %w", path, fs.ErrInvalid)
	case info.Size() < abi.Page || info.Size() > math.MaxInt:
		return fmt.Errorf("open capture %s: %w: it is %d bytes long", path, ErrNotCapture, info.Size())
	}
	// Before a whole file of perhaps terabytes is mapped: is it one of ours?
	var head [8]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return fmt.Errorf("open capture: %w", err)
	}
	if magic := readAs[uint64](head[:]); magic != abi.AbiMagic && magic != 0 {
		return fmt.Errorf("open capture %s: %w", path, ErrNotCapture)
	}
	bytes, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map capture %s: %w", path, err)
	}
	defer unix.Munmap(bytes)
	var failed error
	gone := fault(func() {
		m, err := openMemory(bytes, true)
		if err != nil {
			failed = fmt.Errorf("open capture %s: %w", path, err)
			return
		}
		m.live.extents = fileExtents(file)
		failed = f(m)
	})
	if gone != nil {
		return fmt.Errorf("capture %s: %w", path, gone)
	}
	return failed
}

// fileExtents is extents where it works: some file systems know no holes, and then all is read.
func fileExtents(file *os.File) func(from, to uint64) (start, end uint64, ok bool) {
	if _, err := unix.Seek(int(file.Fd()), 0, unix.SEEK_DATA); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return extents(int(file.Fd()))
}
