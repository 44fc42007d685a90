package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// usageTrace writes a trace with NVML's readings of processes on two GPUs.
func usageTrace(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.wscope")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := trace.NewWriter(f, event.Provenance{Tool: "test", MonoTime: 1, WallTime: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Define(&event.Definitions{
		GPUs:      []event.GPU{{Name: "A"}, {Name: "B"}},
		Processes: []event.Process{{PID: 4242, InnerPID: 17, StartTime: 5e9, Devices: []event.GPUID{2, 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &event.Batch{}
	for _, u := range []struct {
		at    event.Time
		gpu   event.GPUID
		pid   int32
		bytes int64
	}{
		{9e9, 2, 77, 3 << 30},    // ended long before
		{19.5e9, 2, 4242, 1},     // itself, then more
		{19.6e9, 2, 4242, 8},     //
		{19.7e9, 2, 9001, 5},     // another, less before
		{19.8e9, 2, 78, 3 << 30}, // ended just before
		{19.9e9, 2, 4242, 8},     //
		{19.9e9, 2, 9001, 7},     //
		{19.9e9, 1, 9002, 100},   // on the other GPU
		{20.1e9, 2, 9003, 1000},  // later
		{20.1e9, 2, 9001, 10000}, // later
	} {
		b.Usages.Time, b.Usages.GPU = append(b.Usages.Time, u.at), append(b.Usages.GPU, u.gpu)
		b.Usages.PID, b.Usages.Bytes = append(b.Usages.PID, u.pid), append(b.Usages.Bytes, u.bytes)
	}
	if err := w.Batch(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(event.Summary{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOthers: who was on the failing process's GPU at that moment, by NVML.
func TestOthers(t *testing.T) {
	file := usageTrace(t)
	for _, c := range []struct {
		name   string
		pid    int32
		device int32
		known  bool
		want   uint64 // bytes of process 9001; 0: none
	}{
		{"its own GPU", 17, 0, true, 7},
		{"a GPU where NVML does not see the process itself", 17, 1, false, 0},
		{"a GPU that the process does not have", 17, 2, false, 0},
		{"a process that the trace does not know", 18, 0, false, 0},
	} {
		tensors := &analyze.Tensors{Device: c.device, Added: &analyze.AddedFailure{PID: c.pid, MonotonicNS: 20e9}}
		if err := others(file, tensors); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if tensors.OthersKnown != c.known || c.want == 0 && len(tensors.Others) > 0 {
			t.Errorf("%s: %v %+v", c.name, tensors.OthersKnown, tensors.Others)
		}
		if c.want > 0 && (len(tensors.Others) != 1 || tensors.Others[0].PID != 9001 || tensors.Others[0].Bytes != c.want) {
			t.Errorf("%s: %+v", c.name, tensors.Others)
		}
	}
}
