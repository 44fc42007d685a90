package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
)

// benchRun is a run with rows of every kind. Its figures are made up.
func benchRun() *result.Result {
	r := &result.Result{
		Version: result.Schema, Tool: "test", Taken: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC), Took: 71.4,
		GPU:       result.GPU{Name: "Made-up GPU", UUID: "GPU-1234", Driver: "580.1", CUDA: 13000, Major: 9, Multiprocessors: 132, L2: 50 << 20, Memory: 80 << 30, Free: 79 << 30},
		Datasheet: ceilings.Set{GPU: "Made-up GPU", Rates: map[ceilings.Kind]float64{ceilings.Read: 3.35e12, ceilings.BFloat16: 989e12}},
		Rows: []result.Row{
			{Suite: "memory", What: "read", Shape: "2 GiB", Times: result.Times{Median: 700e-6, P10: 690e-6, P90: 710e-6, N: 20}, Bytes: 2 << 30, Memory: ceilings.Read,
				Conditions: result.Conditions{Samples: 5, Clock: 1980, Power: 350_000, Temperature: 41}},
			{Suite: "memory", What: "stride 32", Shape: "2 GiB", Times: result.Times{Median: 800e-6, P10: 790e-6, P90: 810e-6, N: 20}, Bytes: 512 << 20, Useful: 64 << 20, Memory: ceilings.Read},
			{Suite: "memory", What: "memory, latency", Shape: "1 GiB", Steps: 4096, Times: result.Times{Median: 600e-9, P10: 590e-9, P90: 610e-9, N: 20}, Limit: "latency", Notes: []string{"990 clocks a load"}},
			{Suite: "matmul", What: "matmul", Shape: "8192³", Element: "bf16", Times: result.Times{Median: 1.5e-3, P10: 1.4e-3, P90: 1.6e-3, N: 20}, Operations: 2 * 8192 * 8192 * 8192,
				Bytes: 3 * 2 * 8192 * 8192, Peak: ceilings.BFloat16, Memory: ceilings.Read, Conditions: result.Conditions{Samples: 4, Throttled: []string{"power cap"}},
				Sustained: &result.Sustained{Times: result.Times{Median: 1.7e-3}},
				Reference: &result.Reference{Library: "cuBLASLt", First: &result.Times{Median: 1.061, N: 18}, Ours: result.Times{Median: 1.6e-3}, Theirs: result.Times{Median: 1.648e-3}, Ratio: result.Times{Median: 1.03, P10: 1.01, P90: 1.05, N: 18}}},
			{Suite: "matmul", What: "matmul", Shape: "8192³", Element: "int8", Times: result.Times{Median: 1e-3, P10: 0.9e-3, P90: 1.1e-3, N: 20}, Operations: 1.2e12, Bytes: 4e8, Peak: ceilings.Int8},
			{Suite: "matmul", What: "matmul", Shape: "8192³", Element: "fp8", Failure: "wrong result, not timed: relative error 0.5, allowed 0.01"},
			{Suite: "attention", What: "flash, full", Shape: "1×16×16384 d128", Element: "bf16", Scratch: 8192, Times: result.Times{Median: 3.6e-3, P10: 3.5e-3, P90: 3.7e-3, N: 12}, Operations: 2.2e12, Bytes: 2.7e8,
				Peak: ceilings.BFloat16, Memory: ceilings.Read},
			{Suite: "latency", What: "launch, C", Shape: "empty kernel", Steps: 500, Times: result.Times{Median: 2.1e-6, P10: 2e-6, P90: 2.2e-6, N: 15}, Limit: "host", Skipped: ""},
			{Suite: "latency", What: "graph launch", Skipped: "no graphs here"},
		},
	}
	r.Judge(ceilings.Set{})
	return r
}

func benchText(t *testing.T, style Style, r *result.Result, compared []result.Change) string {
	t.Helper()
	var b bytes.Buffer
	if err := Bench(r, compared).Write(&b, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBenchFitsItsWidth(t *testing.T) {
	for _, width := range []int{80, 120, 200} {
		text := benchText(t, Style{Width: width}, benchRun(), nil)
		for line := range strings.Lines(text) {
			if n := Width(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%d cells in %d columns: %s", n, width, line)
			}
		}
		// What every width has.
		for _, want := range []string{"Made-up GPU", "read", "3.07 TB/s", "91.6%", "733 TFLOP/s", "74.1%", "1200 TOP/s", "FAILED", "flags: cap: the clock was held down", "of best: share", "600 ns", "roofline", "1 row FAILED",
			"matmul 8192³ fp8: FAILED: wrong result", "1 row was measured while the GPU held its clock down"} {
			if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("at %d columns %q is missing:\n%s", width, want, text)
			}
		}
	}
}

func TestBenchShowsAllWhereThereIsRoom(t *testing.T) {
	text := benchText(t, Style{Width: 200}, benchRun(), nil)
	for _, want := range []string{"690–710 µs", "83.9 GB/s", "671 GB/s", "647 TFLOP/s", "×1.030", "1.010–1.050", "cuBLASLt", "8 KiB", "1980", "350", "41", "host", "990 clocks a load", "skipped: no graphs here"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden at") {
		t.Errorf("something is hidden:\n%s", text)
	}
	if narrow := benchText(t, Style{Width: 80}, benchRun(), nil); !strings.Contains(narrow, "hidden at 80 columns") {
		t.Errorf("what is hidden is not said:\n%s", narrow)
	}
}

func TestBenchSaysWhatSpeaksAgainstIt(t *testing.T) {
	r := benchRun()
	r.GPU.Simulated = true
	r.Datasheet = ceilings.Set{}
	r.Others = []result.Process{{PID: 77, Bytes: 3 << 30}}
	for i := range r.Rows {
		r.Rows[i].Conditions.Busy = true
	}
	text := strings.Join(strings.Fields(benchText(t, Style{Width: 100}, r, nil)), " ")
	for _, want := range []string{"simulated device", "busy with another process", "process 77 with 3 GiB", "there is no datasheet of Made-up GPU", "cap busy", "busy: another process"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
}

func TestBenchSaysWhichRowIsTheCeiling(t *testing.T) {
	r := benchRun()
	slower := r.Rows[0]
	slower.What, slower.Times = "read, 4 B a thread", result.Times{Median: 800e-6, P10: 790e-6, P90: 810e-6, N: 20}
	r.Rows = append([]result.Row{slower}, r.Rows...)
	r.Judge(ceilings.Set{})
	lines := map[string]string{}
	for line := range strings.Lines(benchText(t, Style{Width: 200}, r, nil)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && lines[name] == "" {
			lines[name] = line
		}
	}
	if !strings.Contains(lines["read"], "best") || strings.Contains(lines["read, 4 B a thread"], "best") || !strings.Contains(lines["read, 4 B a thread"], "87.5%") {
		t.Errorf("%q, %q", lines["read"], lines["read, 4 B a thread"])
	}
}

func TestBenchFlagsAreShort(t *testing.T) {
	if got := benchFlags(&result.Row{Conditions: result.Conditions{Throttled: []string{"power cap"}, ClockAfter: 1500, Below: 0.242}}); got != "cap 24%" {
		t.Error(got)
	}
	of := func(c, sustained []string, failure string) string {
		r := &result.Row{Conditions: result.Conditions{Throttled: c}, Failure: failure}
		if sustained != nil {
			r.Sustained = &result.Sustained{Conditions: result.Conditions{Throttled: sustained}}
		}
		return benchFlags(r)
	}
	for _, c := range []struct {
		burst, sustained []string
		failure, want    string
	}{
		{nil, nil, "", ""},
		{[]string{"power cap"}, []string{"power cap"}, "", "cap"},
		{nil, []string{"power cap"}, "", "(cap)"},
		{[]string{"software thermal", "hardware thermal"}, nil, "", "hot"},
		{[]string{"hardware slowdown", "power brake", "sync boost", result.LowerClock}, nil, "accounting error", "brake sync low FAILED"},
	} {
		if got := of(c.burst, c.sustained, c.failure); got != c.want {
			t.Errorf("%v: %q, want %q", c, got, c.want)
		}
	}
}

func TestBenchSetsItsTimesBesideThoseOfOthers(t *testing.T) {
	r := benchRun()
	traced := func(i int, part float64, limit string) {
		row := &r.Rows[i]
		at := row.Times.Median * part
		row.Traced, row.TracedPart, row.Limit = &result.Times{Median: at, P10: at, P90: at, N: 40}, &result.Times{Median: part, P10: part, P90: part, N: 40}, limit
	}
	traced(0, 0.995, "")
	traced(1, 0.93, result.ByHost)
	if text := benchText(t, Style{Width: 200}, r, nil); !strings.Contains(text, "first choice") || !strings.Contains(text, "×1.061") {
		t.Errorf("the library's own choice is missing:\n%s", text)
	}
	for _, width := range []int{80, 200} {
		text := strings.Join(strings.Fields(benchText(t, Style{Width: width}, r, nil)), " ")
		for _, want := range []string{"beside libraries", "687 TFLOP/s 667 TFLOP/s ×1.030", "-0.50 %", "-7.00 %", "1 of 2 within 2 %, not: stride 32 2 GiB.", "pageable memory: the host copies"} {
			if !strings.Contains(text, want) {
				t.Errorf("at %d columns %q is missing:\n%s", width, want, text)
			}
		}
	}
}

func TestBenchCompares(t *testing.T) {
	now, before := benchRun(), benchRun()
	now.Rows[0].Times = result.Times{Median: 350e-6, P10: 340e-6, P90: 360e-6, N: 20}
	text := benchText(t, Style{Width: 100}, now, result.Compare(now, before))
	if !strings.Contains(text, "×2.000") || !strings.Contains(text, "~ ×1.000") {
		t.Errorf("the comparison is missing:\n%s", text)
	}
	if text := benchText(t, Style{Width: 100}, now, []result.Change{}); !strings.Contains(text, "has none of these rows") {
		t.Errorf("nothing in common:\n%s", text)
	}
}

func TestBenchRooflineHasTheBestOfEachKind(t *testing.T) {
	r := benchRun()
	slow := r.Rows[3]
	slow.Shape, slow.Judgement.Rate = "4096³", slow.Judgement.Rate/2
	r.Rows = append(r.Rows, slow)
	line := benchRoofline(r)
	if len(line.Points) != 3 || line.Points[0].Name != "matmul int8 8192³" || line.Points[1].Name != "matmul bf16 8192³" || line.Roofs[line.Points[1].Roof].Name != "bf16" {
		t.Errorf("%+v", line)
	}
	if text := benchText(t, Style{Width: 120}, r, nil); !strings.Contains(text, "1.20 POP/s") || strings.Contains(text, "1.20 PFLOP/s") {
		t.Errorf("integers are no floating-point numbers:\n%s", text)
	}
	if line.Roofs[0].Name != "memory" || !line.Roofs[0].Bandwidth || line.Roofs[0].Origin != "measured" {
		t.Errorf("%+v", line.Roofs)
	}
}
