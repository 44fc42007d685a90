package exchange_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
)

// TestReference compares totals with what encoding/json finds in the same bytes.
func TestReference(t *testing.T) {
	text := generate(80, 7)
	counts, ns, copied := reference(t, text)
	for _, waiting := range []int{0, 5000} {
		r := readWith(text, exchange.Waiting(exchange.Options{}, waiting))
		if r.err != nil {
			t.Fatal(r.err)
		}
		b := r.all()
		equal(t, "kernels", uint64(len(b.Kernels.Start)), counts["kernel"])
		equal(t, "copies", uint64(len(b.Copies.Start)), counts["gpu_memcpy"])
		equal(t, "calls", uint64(len(b.Calls.Enter)), counts["cuda_runtime"])
		equal(t, "markers", uint64(len(b.Markers.Time)), 2*counts["user_annotation"])
		equal(t, "skipped", r.report.Skipped, map[string]uint64{"cpu_op": counts["cpu_op"]})
		total, bytes := new(big.Int), new(big.Int)
		for _, d := range b.Kernels.Duration {
			total.Add(total, big.NewInt(d))
		}
		for _, n := range b.Copies.Bytes {
			bytes.Add(bytes, new(big.Int).SetUint64(n))
		}
		if total.Cmp(ns) != 0 || bytes.Cmp(copied) != 0 {
			t.Errorf("kernels took %v ns, copies had %v bytes, want %v and %v", total, bytes, ns, copied)
		}
		for i, async := range b.Copies.Async {
			if !async {
				t.Fatalf("copy %d is not asynchronous", i)
			}
		}
		equal(t, "rank", r.Processes()[0].Rank, int32(1))
		equal(t, "process", r.Processes()[0].PID, int32(4711))
	}
}

// TestOrder: what waits together is handed on in the order of time, in batches of one process, and
// definitions precede their use.
func TestOrder(t *testing.T) {
	text := generate(200, 3)
	// The GPU's side first, as PyTorch never writes it.
	lines := strings.Split(string(text), "\n  {\n")
	slices.Reverse(lines[1 : len(lines)-1])
	s := &ordered{t: t}
	_, summary, report, err := exchange.ReadKineto(context.Background(), strings.NewReader(strings.Join(lines, "\n  {\n")), s, exchange.Options{})
	if err != nil || report.Notes() != nil {
		t.Fatal(err, report.Notes())
	}
	if s.batches < 2 || summary.Recorded[event.KindKernel] != 200*95 {
		t.Errorf("%d batches, %v", s.batches, summary.Recorded)
	}
}

// ordered is a sink that checks what it is given.
type ordered struct {
	t       *testing.T
	tables  event.Tables
	batches int
	last    event.Time
}

func (s *ordered) Define(d *event.Definitions) error {
	s.tables.Apply(d)
	return nil
}

func (s *ordered) Batch(b *event.Batch) error {
	s.batches++
	first := event.Time(1 << 62)
	strings, launches, _, _, _, processes := s.tables.Counts()
	for _, times := range [][]event.Time{b.Kernels.Start, b.Copies.Start, b.Calls.Enter, b.Markers.Time} {
		if !slices.IsSorted(times) {
			s.t.Errorf("batch %d is not in the order of time", s.batches)
		}
		if len(times) > 0 {
			first = min(first, times[0])
			defer func() { s.last = max(s.last, times[len(times)-1]) }()
		}
	}
	if first < s.last {
		s.t.Errorf("batch %d begins at %d, the one before ended at %d", s.batches, first, s.last)
	}
	if len(b.Kernels.Launch) > 0 && int(slices.Max(b.Kernels.Launch)) > launches || len(b.Calls.Name) > 0 && int(slices.Max(b.Calls.Name)) > strings ||
		int(b.Process) > processes || b.Process == 0 {
		s.t.Errorf("batch %d uses what is not defined", s.batches)
	}
	return nil
}

func (s *ordered) Live(*event.LiveSet) error { return nil }

// TestNesting: ranges that begin or end together stay nested.
func TestNesting(t *testing.T) {
	ranges := func(list ...[3]any) string {
		var parts []string
		for _, r := range list {
			parts = append(parts, fmt.Sprintf(`{"ph":"X","cat":"user_annotation","name":%q,"pid":1,"tid":1,"ts":%d,"dur":%d}`, r[:]...))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	r := read(t, ranges([3]any{"inner", 10, 5}, [3]any{"next", 20, 10}, [3]any{"outer", 10, 10}, [3]any{"point", 20, 0}, [3]any{"twin", 10, 5}, [3]any{"last", 15, 5}))
	m := r.all().Markers
	var open, got []string
	byID := map[uint32]string{}
	for i, kind := range m.Kind {
		if kind == event.MarkerStart {
			byID[m.ID[i]] = r.String(m.Text[i])
			open = append(open, byID[m.ID[i]])
			got = append(got, strings.Join(open, "/"))
			continue
		}
		if open[len(open)-1] != byID[m.ID[i]] {
			t.Fatalf("%s ends inside %v", byID[m.ID[i]], open)
		}
		open = open[:len(open)-1]
	}
	equal(t, "nesting", got, []string{"outer", "outer/inner", "outer/inner/twin", "outer/last", "next", "next/point"})
}

// eventOf writes an event of a process or a GPU.
func eventOf(cat, name, pid string, ts, correlation int) string {
	return fmt.Sprintf(`{"ph":"X","cat":%q,"name":%q,"pid":%s,"tid":7,"ts":%d,"dur":1,"args":{"device":0,"correlation":%d}}`, cat, name, pid, ts, correlation)
}

// owners says which process each kernel was given to, by the kernel's name.
func owners(r *result) map[string]int32 {
	got := make(map[string]int32)
	for _, b := range r.batches {
		for _, l := range b.Kernels.Launch {
			pid := int32(-1)
			if b.Process != 0 {
				pid = r.Process(b.Process).PID
			}
			got[r.String(r.Launch(l).Name)] = pid
		}
	}
	return got
}

func TestSeveralProcesses(t *testing.T) {
	for name, c := range map[string]struct {
		events []string
		want   map[string]int32
		ranks  int // processes whose rank or GPUs are told
		note   bool
	}{
		"one": {[]string{eventOf("kernel", "a", "0", 1, 5), eventOf("cuda_runtime", "launch", "11", 2, 6)}, map[string]int32{"a": 11}, 1, false},
		"one that calls CUDA": {[]string{eventOf("kernel", "a", "0", 1, 5), eventOf("cuda_runtime", "launch", "11", 2, 6), eventOf("user_annotation", "r", "12", 2, 0)},
			map[string]int32{"a": 11}, 1, false},
		"two": {[]string{eventOf("kernel", "a", "0", 1, 5), eventOf("kernel", "b", "0", 1, 6), eventOf("kernel", "c", "0", 1, 7), eventOf("kernel", "d", "0", 1, 8),
			eventOf("cuda_runtime", "launch", "11", 2, 5), eventOf("cuda_runtime", "launch", "12", 2, 6), eventOf("cuda_runtime", "launch", "11", 2, 7), eventOf("cuda_runtime", "launch", "12", 2, 7)},
			map[string]int32{"a": 11, "b": 12, "c": -1, "d": -1}, 0, true},
		"labels": {[]string{eventOf("kernel", "a", `"[TP00] 0"`, 1, 5), eventOf("kernel", "b", `"[TP01] 0"`, 1, 5), eventOf("kernel", "c", `"[TP02] 0"`, 1, 5),
			eventOf("cuda_runtime", "launch", `"[TP00] 11"`, 2, 5), eventOf("cuda_runtime", "launch", `"[TP01] 12"`, 2, 5)},
			map[string]int32{"a": 11, "b": 12, "c": 0}, 0, false},
		"GPUs by name": {[]string{eventOf("kernel", "a", `"GPU 0"`, 1, 5), eventOf("cuda_runtime", "launch", "11", 2, 5)}, map[string]int32{"a": 11}, 1, false},
		"none":         {[]string{eventOf("kernel", "a", "0", 1, 5)}, map[string]int32{"a": 0}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, `{"deviceProperties": [{"id": 0, "name": "H100"}], "distributedInfo": {"rank": 4}, "traceEvents": [`+strings.Join(c.events, ",")+"]}")
			equal(t, "owners", owners(r), c.want)
			ranks := 0
			for _, p := range r.Processes() {
				if p.Rank == 4 && len(p.Devices) == 1 {
					ranks++
				}
			}
			equal(t, "processes whose rank is told", ranks, c.ranks)
			equal(t, "a note", strings.Contains(strings.Join(r.summary.Notes, "\n"), "cannot be told apart"), c.note)
		})
	}
}

// reference counts with encoding/json what ReadKineto must find: events and nanoseconds of each
// category, and bytes copied.
func reference(t testing.TB, text []byte) (counts map[string]uint64, ns, bytesCopied *big.Int) {
	t.Helper()
	var trace struct {
		Events []struct {
			Ph, Cat string
			Dur     json.Number
			Args    struct{ Bytes json.Number }
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal(text, &trace); err != nil {
		t.Fatal(err)
	}
	counts, ns, bytesCopied = make(map[string]uint64), new(big.Int), new(big.Int)
	for _, e := range trace.Events {
		if e.Ph != "X" {
			continue
		}
		counts[e.Cat]++
		if e.Cat == "kernel" {
			us, ok := new(big.Rat).SetString(e.Dur.String())
			if !ok {
				t.Fatalf("duration %q", e.Dur)
			}
			us.Mul(us, big.NewRat(1000, 1))
			if !us.IsInt() {
				t.Fatalf("duration %q", e.Dur)
			}
			ns.Add(ns, us.Num())
		}
		if e.Cat == "gpu_memcpy" {
			n, ok := new(big.Int).SetString(e.Args.Bytes.String(), 10)
			if !ok {
				t.Fatalf("bytes %q", e.Args.Bytes)
			}
			bytesCopied.Add(bytesCopied, n)
		}
	}
	return counts, ns, bytesCopied
}
