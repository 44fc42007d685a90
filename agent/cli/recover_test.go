package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/cupti/abi"
)

// image returns a structure's bytes.
func image[T any](v T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

// writeCapture writes a capture file as a program without an agent leaves it: n kernels, the last of
// which is torn.
func writeCapture(t *testing.T, path string, n int, wall int64) {
	t.Helper()
	const ring = 2 * abi.Page
	size := 5*abi.Page + 2*ring
	b := make([]byte, size)
	h := abi.Header{
		Magic: abi.AbiMagic, Abi_version: abi.AbiVersion, Header_size: uint32(unsafe.Sizeof(abi.Header{})), Total_size: uint64(size),
		Alloc_ring:    abi.Region{Offset: abi.Page, Size: abi.Page + ring},
		Timeline_ring: abi.Region{Offset: 2*abi.Page + ring, Size: abi.Page + ring},
		Live_table:    abi.Region{Offset: 3*abi.Page + 2*ring, Size: abi.Page},
		Arena:         abi.Region{Offset: 4*abi.Page + 2*ring, Size: abi.Page},
		Pid:           1 << 30, Mode: abi.ModeTimeline, Flags: abi.FlagFile | abi.FlagSimulated, State: abi.StateArmed,
		Mono_start: 1_000_000_000, Wall_start: wall, Heartbeat: 2_000_000_000, Arena_used: 8,
	}
	text := func(s string) uint64 {
		at := h.Arena_used
		copy(b[h.Arena.Offset+at:], append(image(abi.Object{Type: abi.ObjString, Size: uint32(len(s))}), s...))
		h.Arena_used += (8 + uint64(len(s)) + 7) &^ 7
		return at / 8
	}
	h.Executable, h.Command = text("/usr/bin/python3"), text("python3\x00train.py\x00")
	timeline := b[h.Timeline_ring.Offset:]
	copy(timeline, image(abi.Ring{Capacity: ring, Reserved: uint64(n) * abi.Slot, Limit: ring}))
	for i := range n {
		k := abi.Kernel{Rec: abi.Rec{Commit: uint32(i) + 1, Type: abi.RecKernel, Slots: 1}, Start: uint64(wall) + uint64(i)*1000, End: uint64(wall) + uint64(i)*1000 + 500}
		if i == n-1 {
			k.Rec.Commit = 0
		}
		copy(timeline[abi.Page+i*abi.Slot:], image(k))
	}
	copy(b[h.Alloc_ring.Offset:], image(abi.Ring{Capacity: ring, Limit: ring}))
	copy(b, image(h))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readTrace returns the kernels, the processes and the summary of a trace, which must be whole.
func readTrace(t *testing.T, r *trace.Reader) (kernels int, processes []event.Process, summary *event.Summary) {
	t.Helper()
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case item.Batch != nil:
			kernels += len(item.Batch.Kernels.Start)
		case item.Definitions != nil:
			processes = append(processes, item.Definitions.Processes...)
		case item.Summary != nil:
			summary = item.Summary
		}
	}
	report := r.Report()
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return kernels, processes, summary
}

func openTrace(t *testing.T, path string) *trace.Reader {
	t.Helper()
	r, err := trace.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

const wallStart = 1_700_000_000_000_000_000

func TestRecoverCapture(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCapture(t, "warpscope-1.wscap", 11, wallStart)
	status, stdout, stderr := command(t, "", "recover", "warpscope-1.wscap")
	if status != 0 || stdout != "" {
		t.Fatalf("status %d, stdout %q, stderr %s", status, stdout, stderr)
	}
	for _, says := range []string{"python3 train.py: 10 records, 1 lost or incomplete, ended without finishing", "12 records", "in warpscope-1.wscope", "warpscope inspect warpscope-1.wscope"} {
		if !strings.Contains(stderr, says) {
			t.Errorf("stderr lacks %q: %s", says, stderr)
		}
	}
	kernels, processes, summary := readTrace(t, openTrace(t, "warpscope-1.wscope"))
	if kernels != 10 || len(processes) != 1 || processes[0].Command[1] != "train.py" || !processes[0].Simulated {
		t.Errorf("%d kernels of %+v", kernels, processes)
	}
	// one torn record, and nobody knows what CUPTI still held
	if len(summary.Losses) != 2 || summary.Losses[0].Cause != event.LossTorn || summary.Losses[1].Cause != event.LossUndelivered || summary.End != 2_000_000_000 {
		t.Errorf("summary %+v", summary)
	}
	if info, err := os.Stat("warpscope-1.wscope"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("trace %v %v", info, err)
	}

	status, _, stderr = command(t, "", "recover", "warpscope-1.wscap")
	if status != 2 || !strings.Contains(stderr, "exists already") {
		t.Errorf("again: status %d, %s", status, stderr)
	}
	if status, _, stderr = command(t, "", "recover", "--force", "warpscope-1.wscap"); status != 0 {
		t.Errorf("with --force: status %d, %s", status, stderr)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile("pipe", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	status, _, stderr = command(t, "", "recover", "-o", "pipe", "warpscope-1.wscap")
	if info, err := os.Stat("pipe"); status != 0 || err != nil || info.Mode().IsRegular() {
		t.Fatalf("into a pipe: status %d, %s; %v %v", status, stderr, info, err)
	}
	begin := make([]byte, 7)
	if _, err := io.ReadFull(pipe, begin); err != nil || string(begin) != "\x89WSCOP\r" {
		t.Errorf("the pipe's reader gets %q, %v", begin, err)
	}
	if left, err := filepath.Glob(".warpscope-*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRecoverCapturesOfOneRun(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCapture(t, "a.wscap", 11, wallStart)
	writeCapture(t, "b.wscap", 21, wallStart+1000)
	writeCapture(t, "other.wscap", 21, wallStart+3600e9)
	status, stdout, stderr := command(t, "", "recover", "-o", "-", "a.wscap", "b.wscap")
	if status != 0 {
		t.Fatalf("status %d, %s", status, stderr)
	}
	r, err := trace.NewReader(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	if kernels, processes, _ := readTrace(t, r); kernels != 30 || len(processes) != 2 {
		t.Errorf("%d kernels of %d processes", kernels, len(processes))
	}
	status, _, stderr = command(t, "", "recover", "-o", "all.wscope", "a.wscap", "other.wscap")
	if status != 2 || !strings.Contains(stderr, "not of one run") {
		t.Errorf("of two boots: status %d, %s", status, stderr)
	}
}

func TestRecoverTrace(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCapture(t, "a.wscap", 101, wallStart)
	if status, _, stderr := command(t, "", "recover", "a.wscap"); status != 0 {
		t.Fatal(stderr)
	}
	status, _, stderr := command(t, "", "recover", "a.wscope")
	if _, err := os.Stat("a-recovered.wscope"); status != 0 || err == nil || !strings.Contains(stderr, "nothing to recover") {
		t.Errorf("whole: status %d, %v, %s", status, err, stderr)
	}
	whole, err := os.ReadFile("a.wscope")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("cut.wscope", whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr = command(t, "", "recover", "cut.wscope"); status != 0 {
		t.Fatalf("cut: status %d, %s", status, stderr)
	}
	if kernels, _, _ := readTrace(t, openTrace(t, "cut-recovered.wscope")); kernels != 100 {
		t.Errorf("%d kernels, want 100", kernels)
	}
	status, _, stderr = command(t, string(whole[:len(whole)-10]), "recover", "-o", "piped.wscope", "-")
	if kernels, _, _ := readTrace(t, openTrace(t, "piped.wscope")); status != 0 || kernels != 100 {
		t.Errorf("piped: status %d, %d kernels, %s", status, kernels, stderr)
	}
}

func TestRecoverRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	writeCapture(t, "good.wscap", 11, wallStart)
	good, err := os.ReadFile("good.wscap")
	if err != nil {
		t.Fatal(err)
	}
	future := append([]byte(nil), good...)
	future[8] = 77
	for name, content := range map[string][]byte{
		"short.wscap": good[:100], "empty.wscap": nil, "begun.wscap": make([]byte, 2*abi.Page), "future.wscap": future, "text.wscope": []byte("hello, world, this is no trace"), "empty.wscope": nil,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"recover", 2, "the file to recover is missing"},
		{"recover missing.wscap", 1, "no such file"},
		{"recover .", 1, "it is no file"},
		{"recover short.wscap", 1, "cut off before its first record"},
		{"recover empty.wscap", 1, "cut off before its first record"},
		{"recover begun.wscap", 1, "before it recorded anything"},
		{"recover future.wscap", 1, "ABI version 77"},
		{"recover text.wscope", 1, "neither a trace nor a capture file"},
		{"recover empty.wscope", 1, "neither a trace nor a capture file"},
		{"recover -", 2, "needs -o"},
		{"recover -o x.wscope good.wscap text.wscope", 2, "-o takes one trace"},
		{"recover -o missing/x.wscope good.wscap", 1, "create trace"},
	} {
		status, _, stderr := command(t, "", strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") > 2 {
			t.Errorf("%s: status %d, %q; want %d and %q", c.args, status, stderr, c.status, c.says)
		}
	}
	// One that fails does not keep the others from being recovered.
	status, _, stderr := command(t, "", "recover", "missing.wscap", "good.wscap", "short.wscap")
	if _, err := os.Stat("good.wscope"); status != 1 || err != nil || !strings.Contains(stderr, "short.wscap") || !strings.Contains(stderr, "missing.wscap") {
		t.Errorf("some: status %d, %v, %s", status, err, stderr)
	}
	if left, err := filepath.Glob(".warpscope-*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
