package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// expected is what the program that made a snapshot counted itself.
type expected struct {
	Actions                   map[string]int
	Segments                  int
	Reserved, Live, Requested uint64
	Lines                     int
}

var actionNames = map[event.TensorAction]string{
	event.TensorAlloc: "alloc", event.TensorFreeRequested: "free_requested", event.TensorFreeCompleted: "free_completed",
	event.TensorSegmentAlloc: "segment_alloc", event.TensorSegmentFree: "segment_free", event.TensorSegmentMap: "segment_map", event.TensorSegmentUnmap: "segment_unmap",
	event.TensorOOM: "oom", event.TensorSnapshot: "snapshot",
}

func readSnapshot(t *testing.T, name string) *event.Snapshot {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "snapshot", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := exchange.ReadSnapshot(context.Background(), f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func expectation(t *testing.T, name string) (e expected) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "snapshot", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSnapshot: each layout and each protocol is read as the program that wrote it counted.
func TestSnapshot(t *testing.T) {
	files := map[string]string{"torch-2.0": "torch-2.0", "torch-2.1": "torch-2.1", "torch-2.11": "torch-2.11"}
	for protocol := range 6 {
		files[fmt.Sprintf("protocol-%d", protocol)] = "protocols"
	}
	for name, counts := range files {
		t.Run(name, func(t *testing.T) {
			s, want := readSnapshot(t, name+".pickle.gz"), expectation(t, counts+".json")
			if len(s.Notes) > 0 {
				t.Errorf("notes: %q", s.Notes)
			}
			if len(s.Devices) != 1 || len(s.Devices[0].Segments) != want.Segments {
				t.Fatalf("%d devices, want 1 with %d segments", len(s.Devices), want.Segments)
			}
			var got expected
			got.Actions = map[string]int{}
			d := &s.Devices[0]
			for _, e := range d.Events {
				got.Actions[actionNames[e.Action]]++
				if e.Action == event.TensorAlloc && len(s.Stacks[e.Stack]) < 6 {
					t.Fatalf("an allocation has a stack of %d lines", len(s.Stacks[e.Stack]))
				}
				if e.Action == event.TensorOOM && (e.Address != 123<<20 || e.Size != 64<<20) {
					t.Errorf("OOM: %+v", e)
				}
			}
			for _, seg := range d.Segments {
				got.Reserved += seg.Size
				at := seg.Address
				for _, b := range seg.Blocks {
					if b.Address != at {
						t.Errorf("a block at %x, want %x", b.Address, at)
					}
					at += b.Size
					if b.State == event.BlockLive {
						got.Live += b.Size
						got.Requested += b.Requested
						if len(s.Stacks[b.Stack]) < 6 {
							t.Errorf("a live block has a stack of %d lines", len(s.Stacks[b.Stack]))
						}
					}
				}
				if at != seg.Address+seg.Size {
					t.Errorf("blocks end at %x, the segment at %x", at, seg.Address+seg.Size)
				}
			}
			got.Segments, got.Lines = len(d.Segments), len(s.Lines)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("read %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestSnapshotDetails(t *testing.T) {
	s := readSnapshot(t, "torch-2.11.pickle.gz")
	set := s.Settings
	if !set.Known || set.MaxSplit != 128<<20 || set.GC != 0.75 || set.Expandable {
		t.Errorf("settings: %+v", set)
	}
	if d := set.Divisions; d[0] != 1 || d[8] != 1 || d[9] != 2 || d[10] != 8 || d[15] != 8 {
		t.Errorf("divisions: %v", d)
	}
	if len(s.Marks) != 1 || s.Marks[0].Name != "## forward ##" || s.Marks[0].Stage != "START" || s.Marks[0].Time == 0 {
		t.Errorf("marks: %+v", s.Marks)
	}
	if len(s.Pools) != 2 || s.Pools[1] != (event.PoolKey{Second: 1}) || len(s.Streams) != 2 {
		t.Errorf("pools %v, streams %v", s.Pools, s.Streams)
	}
	d := &s.Devices[0]
	if e := d.Events[1]; s.Texts[e.Metadata] != "step" || e.Context != 0 || e.Time == 0 || e.Size != 3_000_001 || e.Pool != 0 {
		t.Errorf("first allocation: %+v", e)
	}
	stack := s.Stacks[d.Events[1].Stack]
	if l := s.Lines[stack[len(stack)-2]]; l.Function != "build" || l.Line != 10 || !strings.HasSuffix(l.File, "train.py") {
		t.Errorf("its line: %+v", l)
	}
	if list := readSnapshot(t, "segments.pickle.gz"); len(list.Devices) != 1 || len(list.Devices[0].Events) != 0 || len(list.Devices[0].Segments) == 0 {
		t.Errorf("a list of segments: %+v", list.Devices)
	}
}

// TestSnapshotRefusals: what is no snapshot is said in a sentence.
func TestSnapshotRefusals(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "snapshot", "protocol-2.pickle.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data string
		want string
		is   error
	}{
		"other dict":   {data: "\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.", want: "neither segments nor device_traces", is: exchange.ErrNotSnapshot},
		"a number":     {data: "\x80\x02K\x01.", want: "it holds no dict", is: exchange.ErrNotSnapshot},
		"another list": {data: "\x80\x02]q\x00K\x01a.", want: "a list of something else", is: exchange.ErrNotSnapshot},
		"no segments":  {data: "\x80\x02}q\x00X\x08\x00\x00\x00segmentsX\x01\x00\x00\x00as.", want: "its segments are no list", is: exchange.ErrNotSnapshot},
		"cut":          {data: string(whole[:len(whole)/2]), want: "what is compressed is cut off"},
		"code":         {data: "cposix\nsystem\n(S'echo'\ntR.", want: `opcode GLOBAL asks for "posix.system"`},
	} {
		_, err := exchange.ReadSnapshot(context.Background(), bytes.NewReader([]byte(c.data)))
		if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzSnapshot reads anything: nothing panics, and what is handed on fits together.
func FuzzSnapshot(f *testing.F) {
	for _, name := range []string{"tiny-0", "tiny-2", "tiny-4"} {
		data, err := os.ReadFile(filepath.Join("testdata", "snapshot", name+".pickle.gz"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(unzipped(f, data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		s, err := exchange.ReadSnapshot(context.Background(), pieces{bytes.NewReader(data)})
		if err != nil {
			return
		}
		for _, stack := range s.Stacks {
			for _, l := range stack {
				if int(l) >= len(s.Lines) {
					t.Fatalf("line %d of %d", l, len(s.Lines))
				}
			}
		}
		for _, d := range s.Devices {
			for _, e := range d.Events {
				if int(e.Stack) >= len(s.Stacks) || int(e.Stream) >= len(s.Streams) || e.Pool != event.PoolUnknown && int(e.Pool) >= len(s.Pools) {
					t.Fatalf("%+v", e)
				}
			}
			for _, seg := range d.Segments {
				if int(seg.Stack) >= len(s.Stacks) || int(seg.Stream) >= len(s.Streams) || int(seg.Pool) >= len(s.Pools) {
					t.Fatalf("%+v", seg)
				}
			}
		}
	})
}

// BenchmarkSnapshot reads the file that WARPSCOPE_SNAPSHOT names; testdata/snapshot/make.py makes large ones.
func BenchmarkSnapshot(b *testing.B) {
	name := os.Getenv("WARPSCOPE_SNAPSHOT")
	if name == "" {
		name = filepath.Join("testdata", "snapshot", "torch-2.11.pickle.gz")
	}
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		s, err := exchange.ReadSnapshot(context.Background(), f)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(s.Devices[0].Events)), "events")
		_ = f.Close()
	}
}

func unzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
