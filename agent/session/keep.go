package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// successor is a file that is to take the trace's place. Until then it has no name where the file
// system can do that, so that nothing is left of it if the agent is killed.
type successor struct {
	*os.File
	output *output
	path   string // "": none yet
}

// succeed creates a successor of the trace's file.
func (o *output) succeed() (trace.Successor, error) {
	o.mu.Lock()
	path := o.path
	o.mu.Unlock()
	if path == "" {
		return nil, errors.New("the trace has no name yet")
	}
	dir := filepath.Dir(path)
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		return &successor{File: os.NewFile(uintptr(fd), path), output: o}, nil
	}
	s := &successor{output: o, path: temporaryName(dir)}
	var err error
	s.File, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return s, err
}

func temporaryName(dir string) string { return filepath.Join(dir, ".warpscope-"+rand.Text()) }

// Succeed implements trace.Successor.
func (s *successor) Succeed() error {
	o := s.output
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.path == "" {
		s.path = temporaryName(filepath.Dir(o.path))
		self := filepath.Join("/proc/self/fd", strconv.Itoa(int(s.Fd())))
		if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, s.path, unix.AT_SYMLINK_FOLLOW); err != nil {
			s.path = ""
			return fmt.Errorf("name file: %w", err)
		}
	}
	if err := os.Rename(s.path, o.path); err != nil {
		return err
	}
	old := o.file
	o.file = s.File
	_ = old.Close() // all that was in it is in its successor
	return nil
}

// Abandon implements trace.Successor.
func (s *successor) Abandon() {
	_ = s.Close() // nobody will read it
	if s.path != "" {
		os.Remove(s.path)
	}
}

// checkpoints is how far live sets are apart; 0: as always. A trace that keeps a short time needs them
// closer together: the calls since the last one before that time stay in it.
func checkpoints(keep time.Duration) time.Duration {
	if keep == 0 || keep > 40*time.Second {
		return 0
	}
	return max(keep/4, 500*time.Millisecond)
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() event.Time {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return event.Time(t.Nano())
}
