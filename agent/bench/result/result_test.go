package result

import (
	"bytes"
	"encoding/csv"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/ceilings"
)

func TestTimesAreQuantiles(t *testing.T) {
	got := TimesOf([]float64{5, 1, 4, math.NaN(), 2, 3, 0, -1, math.Inf(1)})
	if got != (Times{Median: 3, P10: 1.4, P90: 4.6, N: 5}) {
		t.Errorf("%+v", got)
	}
	if got := TimesOf(nil); got != (Times{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestRatioIsThatOfPairs(t *testing.T) {
	// The machine slows down by half on the way: pair by pair a stays 1.25 times as fast.
	if got := RatioOf([]float64{4, 4, 8, 8}, []float64{5, 5, 10, 10}); got.Median != 1.25 || got.N != 4 {
		t.Errorf("ratio %+v", got)
	}
	if got := RatioOf([]float64{1}, []float64{0}); got.N != 0 {
		t.Errorf("ratio without a pair: %+v", got)
	}
}

func TestNaNNeverPasses(t *testing.T) {
	for name, v := range map[string]Verification{
		"a NaN of an error":       {Method: "m", Error: Distance(math.NaN()), Allowed: 1},
		"a NaN of a bound":        {Method: "m", Error: 0, Allowed: Distance(math.NaN())},
		"an element":              {Method: "m", Error: 0, Allowed: 1, Bad: 1},
		"too far":                 {Method: "m", Error: 2, Allowed: 1},
		"what was never compared": {Error: 0, Allowed: 1},
	} {
		if v.Err() == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := (Verification{Method: "m", Error: 0.5, Allowed: 1}).Err(); err != nil {
		t.Error(err)
	}
}

func TestJudge(t *testing.T) {
	measured := ceilings.Set{Rates: map[ceilings.Kind]float64{ceilings.Read: 3e12, ceilings.Copy: 2.9e12, ceilings.BFloat16: 700e12}}
	sheet := ceilings.Set{Rates: map[ceilings.Kind]float64{ceilings.Read: 3.35e12, ceilings.BFloat16: 989.5e12, ceilings.Int8: 1e15}}
	product := func(n, seconds float64) Row {
		return Row{What: "matmul", Times: Times{Median: seconds}, Operations: 2 * n * n * n, Bytes: 6 * n * n, Peak: ceilings.BFloat16, Memory: ceilings.Read}
	}
	for _, c := range []struct {
		name        string
		row         Row
		bound       Bound
		ofRoof      float64
		ofDatasheet float64
		fails       bool
	}{
		{"a large product", product(8192, 2*8192*8192*8192/630e12), ByCompute, 0.9, 630 / 989.5, false},
		// 2/6 n operations a byte: 128 need 3e12 * 42.7 = 128e12.
		{"a small product", product(128, 2*128*128*128/64e12), ByMemory, 0.5, 64 / (3.35 * 128 / 3), false},
		{"a slow product", product(8192, 2*8192*8192*8192/63e12), ByLatency, 0.09, 63 / 989.5, false},
		{"a copy", Row{Times: Times{Median: 1}, Bytes: 2.9e12, Memory: ceilings.Copy}, ByMemory, 1, 0, false},
		{"4 % over", Row{Times: Times{Median: 1}, Bytes: 3.12e12, Memory: ceilings.Read}, ByMemory, 1.04, 3.12 / 3.35, false},
		{"6 % over what was measured", Row{Times: Times{Median: 1}, Bytes: 3.18e12, Memory: ceilings.Read}, ByMemory, 1.06, 3.18 / 3.35, true},
		{"6 % over the datasheet", Row{Times: Times{Median: 1}, Operations: 1.06e15, Peak: ceilings.Int8}, ByCompute, 0, 1.06, true},
		{"no ceiling known", Row{Times: Times{Median: 1}, Operations: 1, Peak: ceilings.Float8}, ByLatency, 0, 0, false},
		{"nothing timed", Row{Bytes: 1, Memory: ceilings.Read}, ByLatency, 0, 0, false},
		{"a failure", Row{Failure: "wrong", Times: Times{Median: 1}, Bytes: 9e12, Memory: ceilings.Read}, ByLatency, 0, 0, false},
		{"a latency", Row{Times: Times{Median: 1e-6}}, ByLatency, 0, 0, false},
	} {
		err := c.row.Judge(measured, sheet)
		j := c.row.Judgement
		if (err != nil) != c.fails || j.Bound != c.bound || math.Abs(j.OfRoof-c.ofRoof) > 1e-9 || math.Abs(j.OfDatasheet-c.ofDatasheet) > 1e-9 {
			t.Errorf("%s: %+v, %v", c.name, j, err)
		}
		if err != nil && !strings.Contains(err.Error(), "accounting error") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// run is a small result: a stream, a pattern, a product, a failure, a row that this GPU does not run.
func run() *Result {
	return &Result{
		Version: Schema, Tool: "test", Taken: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC), GPU: GPU{Name: "NVIDIA H100 80GB HBM3", UUID: "GPU-12345678"},
		Rows: []Row{
			{Suite: "memory", What: "read", Shape: "2 GiB", Times: Times{Median: 1, P10: 0.9, P90: 1.1, N: 9}, Bytes: 3e12, Memory: ceilings.Read},
			{Suite: "memory", What: "stride 8", Times: Times{Median: 1, N: 9}, Bytes: 3.1e12, Useful: 3.1e12 / 8, Memory: ceilings.Read},
			{Suite: "matmul", What: "matmul", Element: "bf16", Times: Times{Median: 1, N: 9}, Operations: 7e14, Bytes: 1e11, Peak: ceilings.BFloat16, Memory: ceilings.Read,
				Sustained: &Sustained{Times: Times{Median: 2}}, Conditions: Conditions{Samples: 3, Throttled: []string{"power cap"}}},
			{Suite: "matmul", What: "matmul", Element: "fp16", Failure: "wrong result", Verified: Verification{Method: "m", Error: Distance(math.NaN())}},
			{Suite: "matmul", What: "matmul", Element: "fp8", Skipped: "not here"},
			{Suite: "attention", What: "flash", Times: Times{Median: 1, N: 9}, Operations: 5e14, Bytes: 1e11, Peak: ceilings.BFloat16, Memory: ceilings.Read},
		},
	}
}

func TestCeilingsAreOfPlainRowsThatPassed(t *testing.T) {
	want := map[ceilings.Kind]float64{ceilings.Read: 3e12, ceilings.BFloat16: 7e14}
	if got := run().Ceilings(); !reflect.DeepEqual(got.Rates, want) || got.UUID != "GPU-12345678" {
		t.Errorf("%+v", got)
	}
}

func TestJudgeOfAllUsesItsOwnRatesThenTheSaved(t *testing.T) {
	r := run()
	r.Rows = append(r.Rows, Row{Suite: "memory", What: "copy", Times: Times{Median: 1}, Bytes: 2e12, Memory: ceilings.Write})
	r.Judge(ceilings.Set{Rates: map[ceilings.Kind]float64{ceilings.Read: 1e12, ceilings.L2: 9e12}})
	if got := r.Measured.Rates; got[ceilings.Read] != 3e12 || got[ceilings.L2] != 9e12 {
		t.Errorf("%v", got)
	}
	if j := r.Rows[5].Judgement; math.Abs(j.OfRoof-5.0/7) > 1e-9 || j.RoofSource != ceilings.Measured {
		t.Errorf("%+v", j)
	}
	if s := r.Rows[2].Sustained; s.Rate != 3.5e14 {
		t.Errorf("sustained %+v", s)
	}
	if n, slowed := r.Throttled(); r.Failed() != 1 || n != 1 || slowed != 1 {
		t.Errorf("%d failed, %d throttled, %d of them slowed", r.Failed(), n, slowed)
	}
	for i := range r.Rows { // NVML says that the clock was held down, and the GPU's own clock that it was not
		r.Rows[i].Conditions.ClockAfter, r.Rows[i].Conditions.Below = 1965, 0.01
	}
	if n, slowed := r.Throttled(); n != 1 || slowed != 0 {
		t.Errorf("%d throttled, %d of them slowed", n, slowed)
	}
	r.Rows[1].Bytes = 3.2e12
	r.Judge(ceilings.Set{})
	if r.Failed() != 2 || !strings.Contains(r.Rows[1].Failure, "accounting error") {
		t.Errorf("107 %% of the ceiling: %+v", r.Rows[1])
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	r := run()
	r.Judge(ceilings.Set{})
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if e := got.Rows[3].Verified.Error; !math.IsNaN(float64(e)) {
		t.Errorf("a NaN became %g", e)
	}
	got.Rows[3].Verified, r.Rows[3].Verified = Verification{}, Verification{}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read\n%+v\nwrote\n%+v", got, r)
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "what", "another version": `{"schema_version":2,"rows":[{}]}`, "no rows": `{"schema_version":1}`,
		"too much": `{"schema_version":1,"warpscope":"` + strings.Repeat("x", largest) + `"}`,
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "no result of warpscope bench") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCSVHasALineForEachRow(t *testing.T) {
	r := run()
	r.Judge(ceilings.Set{})
	var b bytes.Buffer
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != len(r.Rows)+1 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	column := map[string]int{}
	for i, name := range lines[0] {
		column[name] = i
	}
	for name, want := range map[string]string{"what": "matmul", "element": "bf16", "rate": "7e+14", "unit": "op/s", "sustained_rate": "3.5e+14", "throttled": "power cap", "of_measured": "1"} {
		if got := lines[3][column[name]]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestCompareMatchesRows(t *testing.T) {
	now, before := run(), run()
	now.Rows[0].Times = Times{Median: 0.5, P10: 0.4, P90: 0.6, N: 9}
	before.Rows = append(before.Rows[:1:1], before.Rows[3:]...) // no stride, no bf16
	got := Compare(now, before)
	if len(got) != 2 || got[0].Now.What != "read" || got[0].Faster != 2 || !got[0].Apart || got[1].Now.Suite != "attention" || got[1].Apart || got[1].Faster != 1 {
		t.Errorf("%+v", got)
	}
}

func TestConditionsNameWhatHeldTheClock(t *testing.T) {
	c := ConditionsOf([]Sample{
		{Clock: 1980, MemoryClock: 2619, Power: 300_000, Temperature: 40, Reasons: 1},
		{Clock: 1200, MemoryClock: 2619, Power: 700_000, Temperature: 61, Reasons: 4},
		{Clock: 1500, MemoryClock: 2619, Power: -1, Temperature: -1, Reasons: -1},
	})
	want := Conditions{Samples: 3, ClockMin: 1200, Clock: 1500, MemoryClock: 2619, Power: 700_000, Temperature: 61, Throttled: []string{"power cap"}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, want %+v", c, want)
	}
	if c := ConditionsOf([]Sample{{Clock: 1980, Reasons: 3}}); len(c.Throttled) > 0 {
		t.Errorf("%+v", c)
	}
	if c := ConditionsOf(nil); !reflect.DeepEqual(c, Conditions{}) {
		t.Errorf("%+v", c)
	}
}

// FuzzRead: whatever stands in a file, Read returns.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	if err := run().Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema_version":1,"rows":[{"seconds":{"median":-1}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		r.Judge(ceilings.Set{})
		if err := r.WriteCSV(&bytes.Buffer{}); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
		Compare(r, r)
	})
}

func TestWhatRanAtALowerClockIsFlagged(t *testing.T) {
	// The GPU's own clock may be a little above what NVML names as the highest: that lowers nothing else.
	highest, near, low, told, unknown := &Conditions{ClockAfter: 2025, Clock: 1980}, &Conditions{ClockAfter: 1950, Clock: 1980}, &Conditions{ClockAfter: 1485},
		&Conditions{ClockAfter: 990, Throttled: []string{"power cap"}}, &Conditions{Clock: 1200}
	Lowered([]*Conditions{near, low, told, highest, unknown})
	for want, c := range map[string]*Conditions{"": highest, LowerClock: low, "power cap": told} {
		if got := strings.Join(c.Throttled, ", "); got != want {
			t.Errorf("%+v, want %q", c, want)
		}
	}
	if highest.Below != 0 || low.Below != 0.25 || told.Below != 0.5 || unknown.Below != 0 || near.Below <= 0 || near.Below > 0.02 {
		t.Errorf("%+v %+v %+v %+v %+v", highest, near, low, told, unknown)
	}
	if !low.Slowed() || !told.Slowed() || highest.Slowed() || near.Slowed() || !(&Conditions{Throttled: []string{"power cap"}}).Slowed() {
		t.Error("what was slowed is not told from what was not")
	}
	if len(near.Throttled)+len(unknown.Throttled) > 0 {
		t.Errorf("%+v, %+v", near, unknown)
	}
}

func TestBestIsTheFastestOfItsKind(t *testing.T) {
	r := run()
	slower := r.Rows[0]
	slower.Times.Median *= 2
	r.Rows = append([]Row{slower}, r.Rows...)
	best := r.Best()
	if best[ceilings.Read] != &r.Rows[1] {
		t.Errorf("%+v", best[ceilings.Read])
	}
	for kind, row := range best {
		if rate, _ := row.rate(row.Times.Median); r.Ceilings().Rates[kind] != rate || row.Failure != "" {
			t.Errorf("%s: %+v", kind, row)
		}
	}
}
