package bench

import (
	"math"
	"strings"
	"testing"

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
	if got := Ratio([]float64{4, 4, 8, 8}, []float64{5, 5, 10, 10}); got != 1.25 {
		t.Errorf("ratio %g", got)
	}
	if got := Ratio([]float64{1}, []float64{0}); got != 0 {
		t.Errorf("ratio without a pair: %g", got)
	}
}

func TestNaNNeverPasses(t *testing.T) {
	for name, v := range map[string]Verification{
		"a NaN of an error": {Error: math.NaN(), Allowed: 1},
		"a NaN of a bound":  {Error: 0, Allowed: math.NaN()},
		"an element":        {Error: 0, Allowed: 1, Bad: 1},
		"too far":           {Error: 2, Allowed: 1},
	} {
		if v.Err() == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := (Verification{Error: 0.5, Allowed: 1}).Err(); err != nil {
		t.Error(err)
	}
}

func TestJudge(t *testing.T) {
	measured := ceilings.Set{Rates: map[ceilings.Kind]float64{ceilings.Read: 3e12, ceilings.Copy: 2.9e12, ceilings.BFloat16: 700e12}}
	sheet := ceilings.Set{Rates: map[ceilings.Kind]float64{ceilings.Read: 3.35e12, ceilings.BFloat16: 989.5e12}}
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
		{"a copy", Row{Times: Times{Median: 1}, Bytes: 2.9e12, Memory: ceilings.Copy}, ByMemory, 1, 0, false},
		{"4 % over", Row{Times: Times{Median: 1}, Bytes: 3.12e12, Memory: ceilings.Read}, ByMemory, 1.04, 3.12 / 3.35, false},
		{"6 % over", Row{Times: Times{Median: 1}, Bytes: 3.18e12, Memory: ceilings.Read}, ByMemory, 1.06, 3.18 / 3.35, true},
		{"no ceiling known", Row{Times: Times{Median: 1}, Operations: 1, Peak: ceilings.Int8}, ByLatency, 0, 0, false},
		{"nothing timed", Row{Bytes: 1, Memory: ceilings.Read}, ByLatency, 0, 0, false},
		{"a failure", Row{Failure: "wrong", Times: Times{Median: 1}, Bytes: 9e12, Memory: ceilings.Read}, ByLatency, 0, 0, false},
	} {
		err := c.row.Judge(measured, sheet)
		j := c.row.Judgement
		if (err != nil) != c.fails || j.Bound != c.bound || math.Abs(j.OfRoof-c.ofRoof) > 1e-9 || math.Abs(j.OfDatasheet-c.ofDatasheet) > 1e-9 {
			t.Errorf("%s: %+v, %v", c.name, j, err)
		}
		if err != nil && !strings.Contains(err.Error(), "counted") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
