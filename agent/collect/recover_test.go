package collect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// captureFile writes what a process without an agent leaves behind.
func captureFile(t testing.TB, play func(*target)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "warpscope-1.wscap")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size := memorySize(smallSizes)
	if err := file.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	l := newTarget(b, smallSizes, abi.FlagFile)
	l.header.Heartbeat = 9999
	play(l)
	return path
}

// playFile writes 100 kernels, two of which are torn, and 20 allocations.
func playFile(l *target) {
	launch := l.launch("k", 1)
	for i := range uint32(100) {
		if i%50 == 20 {
			l.timeline.reserve(1)
			continue
		}
		l.kernel(uint64(5000+i), uint64(5001+i), launch, i)
	}
	l.device(0, 1) // after the kernels: the file's ring is read as a whole first
	l.alloc.write(abi.RecClock, 0, body(abi.Clock{Cupti: 5000, Before: 6000, After: 6000}))
	for i := range uint64(20) {
		l.malloc((i+1)<<12, 10, 0)
	}
	l.timeline.reserve(1)
}

func TestRecover(t *testing.T) {
	path := captureFile(t, playFile)
	f, err := OpenCapture(path)
	if err != nil {
		t.Fatal(err)
	}
	if f.PID != 4242 || f.Running || f.State != event.StateArmed || f.Start != 1000 || !slices.Equal(f.Command, []string{"python3", "train.py"}) {
		t.Errorf("capture %+v", f)
	}
	j := &journal{t: t}
	r, err := Recover(Config{Sink: j}, path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(j.events.Kernels.Start); n != 98 || j.events.Kernels.Start[0] != 6000 {
		t.Errorf("%d kernels, first at %d", n, j.events.Kernels.Start[0])
	}
	if n := len(j.events.Allocations.Size); n != 20 || len(j.lives) != 1 || len(j.lives[0].Live.Size) != 20 || j.lives[0].Time != 9999 {
		t.Errorf("%d allocations, live sets %+v", n, j.lives)
	}
	if n := lossOf(r.Summary.Losses, event.KindUnknown, event.LossTorn); n != 3 || total(r.Summary.Losses) != 3 {
		t.Errorf("losses %+v, want three torn", r.Summary.Losses)
	}
	if !slices.Equal(j.events.States.State, []event.State{event.StateArmed, event.StateKilled}) || r.Summary.End != 9999 {
		t.Errorf("states %v, end %d", j.events.States.State, r.Summary.End)
	}
	if r.Summary.Recorded[event.KindKernel] != 98 || len(r.Processes) != 1 || len(j.tables.Processes()[0].Devices) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRecoverSeveral(t *testing.T) {
	one, two := captureFile(t, playFile), captureFile(t, playFile)
	j := &journal{t: t}
	r, err := Recover(Config{Sink: j}, one, two)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.events.Kernels.Start) != 196 || len(j.tables.Processes()) != 2 || len(r.Processes) != 2 || len(j.tables.GPUs()) != 1 {
		t.Errorf("%d kernels of %d processes on %d GPUs", len(j.events.Kernels.Start), len(j.tables.Processes()), len(j.tables.GPUs()))
	}
}

// TestRecoverTruncated cuts a file at many places: what is whole is read, nothing panics.
func TestRecoverTruncated(t *testing.T) {
	whole, err := os.ReadFile(captureFile(t, playFile))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.wscap")
	most := 0
	for size := 0; size <= len(whole); size += 1000 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		j := &journal{t: t}
		_, err := Recover(Config{Sink: j}, path)
		if (err != nil) != (size < abi.Page) || err != nil && !errors.Is(err, ErrNotCapture) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if n := len(j.events.Kernels.Start); n < most {
			t.Errorf("%d bytes: %d kernels, fewer than in a shorter file", size, n)
		} else {
			most = n
		}
	}
	if most != 98 {
		t.Errorf("%d kernels in the whole file, want 98", most)
	}
}

// TestRecoverWhileTruncated takes the file away while it is read.
func TestRecoverWhileTruncated(t *testing.T) {
	path := captureFile(t, playFile)
	err := withCapture(path, func(m *memory) error {
		if err := os.Truncate(path, 0); err != nil {
			return err
		}
		return fault(func() { _ = m.header.State })
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestOpenCaptureRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	page := make([]byte, abi.Page)
	foreign := append([]byte("\x7fELF\x02\x01\x01\x00"), page...)
	future, err := os.ReadFile(captureFile(t, func(l *target) { l.header.Abi_version = 7 }))
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "missing"), fs.ErrNotExist},
		{dir, fs.ErrInvalid},
		{fifo, fs.ErrInvalid},
		{file("empty", nil), ErrNotCapture},
		{file("short", []byte("WSRP")), ErrNotCapture},
		{file("foreign", foreign), ErrNotCapture},
		{file("begun", page), ErrNotReady},
		{file("future", future), ErrVersion},
	} {
		if _, err := OpenCapture(c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.path, err, c.want)
		}
	}
}

func TestComparable(t *testing.T) {
	a := CaptureFile{Start: 10e9, WallStart: 1000e9}
	later := CaptureFile{Start: 70e9, WallStart: 1060.5e9}
	rebooted := CaptureFile{Start: 10e9, WallStart: 1200e9}
	if !a.Comparable(&later) || a.Comparable(&rebooted) {
		t.Error("captures of one boot, and of one only, are comparable")
	}
}
