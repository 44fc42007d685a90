package budget

import (
	"math"
	"testing"
)

func TestStudent(t *testing.T) {
	for _, x := range []struct {
		n          int
		one, twice float64 // of tables
	}{{1, 6.314, 12.706}, {2, 2.920, 4.303}, {3, 2.353, 3.182}, {5, 2.015, 2.571}, {10, 1.812, 2.228}, {30, 1.697, 2.042}, {1000, 1.646, 1.962}} {
		for _, y := range [][2]float64{{student(oneSided, x.n), x.one}, {student(twoSided, x.n), x.twice}} {
			if math.Abs(y[0]/y[1]-1) > 0.01 {
				t.Errorf("%d degrees of freedom: %.3f, want %.3f", x.n, y[0], y[1])
			}
		}
	}
	if !math.IsInf(student(oneSided, 0), 1) {
		t.Error("no degree of freedom bounds nothing")
	}
}

func TestEstimateOfWhatIsTheSameEverywhere(t *testing.T) {
	var d Design
	var s Sum
	for range 10 {
		d.Span(1000)
		d.Window(10, 100)
		s.Add(10, 100, 7)
	}
	e := d.Estimate(&s)
	if math.Abs(e.Value-700) > 1e-6 || e.PlusMinus() > 700*edges*1.01 || e.Windows != 10 {
		t.Errorf("%+v, want 700", e)
	}
	if math.Abs(d.Share()-0.1) > 1e-9 || d.Windows() != 10 || d.Total() != 10000 {
		t.Errorf("share %g of %g in %d windows", d.Share(), d.Total(), d.Windows())
	}
}

func TestEstimateIsScaledByWork(t *testing.T) {
	var d Design
	var s Sum
	// Windows in which less was done saw less: that is no difference between them.
	for i := range 10 {
		work := float64(50 + 10*i)
		d.Span(1000)
		d.Window(10, work)
		s.Add(10, work, work/10)
	}
	if e := d.Estimate(&s); math.Abs(e.Value-1000) > 1e-6 || e.PlusMinus() > 1000*edges*1.01 {
		t.Errorf("%+v, want 1000", e)
	}
}

func TestEstimateOfLittle(t *testing.T) {
	var none Sum
	var d Design
	if e := d.Estimate(&none); e.Value != 0 || !math.IsInf(e.High, 1) {
		t.Errorf("nothing known: %+v", e)
	}
	d.Span(1000)
	d.Window(10, 100)
	var s Sum
	s.Add(10, 100, 5)
	if e := d.Estimate(&s); math.Abs(e.Value-50) > 1e-9 || e.Low != 5 || !math.IsInf(e.High, 1) {
		t.Errorf("one window: %+v", e)
	}
	d.Span(1000)
	d.Window(10, 100)
	if e := d.Estimate(&s); math.Abs(e.Value-50) > 1e-9 || e.Low != 5 || e.High < 150 {
		t.Errorf("seen in one window of two: %+v", e)
	}
}
