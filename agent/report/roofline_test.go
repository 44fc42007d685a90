package report

import (
	"math"
	"strings"
	"testing"
)

func h100() *Roofline {
	return &Roofline{
		Roofs: []Roof{
			{Name: "DRAM", Rate: 3.02e12, Bandwidth: true, Origin: "measured"},
			{Name: "bf16 tensor", Rate: 751e12, Origin: "measured"},
			{Name: "fp32", Rate: 66.9e12, Origin: "datasheet"},
		},
		Points: []RooflinePoint{
			{Name: "steady training steps", Operations: 310e12, Bytes: 1.4e12, Roof: -1, Origin: "estimated", Weight: "100%"},
			{Name: "at::native::vectorized_elementwise_kernel<4>", Operations: 0.25e12, Bytes: 2.6e12, Roof: 2, Origin: "estimated", Weight: "31.2%"},
			{Name: "nvjet_tst_256x128", Operations: 640e12, Bytes: 0.9e12, Roof: 1, Origin: "estimated", Weight: "28%"},
			{Name: "copies", Bytes: 2.9e12, Roof: -1, Origin: "counted", Weight: "3%"},
		},
	}
}

func drawn(r *Roofline, width int) []string {
	var d Document
	d.Roofline(r)
	var b strings.Builder
	if err := d.Write(&b, Style{Width: width}); err != nil {
		panic(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestPlaceNamesTheCeilingOverAPoint(t *testing.T) {
	r := h100()
	for _, c := range []struct {
		point      RooflinePoint
		attainable float64
		memory     bool
		share      float64
	}{
		{RooflinePoint{Operations: 1e12, Bytes: 1e12, Roof: -1}, 3.02e12, true, 1 / 3.02},
		{RooflinePoint{Operations: 500e12, Bytes: 0.5e12, Roof: 1}, 751e12, false, 500.0 / 751},
		{RooflinePoint{Operations: 60e12, Bytes: 0.1e12, Roof: 2}, 66.9e12, false, 60 / 66.9},
		{RooflinePoint{Bytes: 1.51e12}, 3.02e12, true, 0.5},
		{RooflinePoint{Operations: 75.1e12, Roof: -1}, 751e12, false, 0.1},
		// An index that is no ceiling of operations means none in particular.
		{RooflinePoint{Operations: 75.1e12, Roof: 0}, 751e12, false, 0.1},
		{RooflinePoint{Operations: 75.1e12, Roof: 99}, 751e12, false, 0.1},
	} {
		at := r.Place(&c.point)
		if math.Abs(at.Attainable/c.attainable-1) > 1e-9 || at.Memory != c.memory || math.Abs(at.Share-c.share) > 1e-9 {
			t.Errorf("%+v: %+v, want %g below memory %v, share %g", c.point, at, c.attainable, c.memory, c.share)
		}
	}
	if at := (&Roofline{}).Place(&RooflinePoint{Operations: 1e12, Bytes: 1e12}); at.Share != 0 || at.Intensity != 1 {
		t.Errorf("without ceilings: %+v", at)
	}
}

// TestChartShowsEveryPointWhereItLies finds the letters in the drawing and compares their places: right is
// more operations a byte, up is faster.
func TestChartShowsEveryPointWhereItLies(t *testing.T) {
	for _, width := range []int{40, 80, 120, 200, 400} {
		lines := drawn(h100(), width)
		at := make(map[rune][2]int)
		for row, line := range lines {
			if Width(line) > width {
				t.Errorf("%d columns: line %d has %d: %s", width, row, Width(line), line)
			}
			if i := strings.IndexAny(line, "│┤"); i >= 0 {
				for col, c := range []rune(line) {
					if c >= 'a' && c <= 'c' && col > axisCells+1 && !strings.ContainsAny(string([]rune(line)[col-1:min(col+2, len([]rune(line)))]), "123456789ABDFRTMeipsnorflt/") {
						at[c] = [2]int{col, row}
					}
				}
			}
		}
		if len(at) != 3 {
			t.Fatalf("%d columns: %v of three letters\n%s", width, at, strings.Join(lines, "\n"))
		}
		a, b, c := at['a'], at['b'], at['c']
		if inOrder := b[0] < a[0] && a[0] < c[0] && c[1] < a[1] && a[1] < b[1]; !inOrder {
			t.Errorf("%d columns: a %v, b %v, c %v\n%s", width, a, b, c, strings.Join(lines, "\n"))
		}
		// What cannot be drawn is listed, and estimates say so at any width.
		text := strings.Join(lines, "\n")
		for _, want := range []string{"copies", "~640 TFLOP/s", "DRAM 3.02 TB/s (measured)"} {
			if width >= 80 && !strings.Contains(text, want) {
				t.Errorf("%d columns: no %q\n%s", width, want, text)
			}
		}
	}
}

func TestChartOfNothingSensible(t *testing.T) {
	for name, r := range map[string]*Roofline{
		"nothing":     {},
		"no ceilings": {Points: h100().Points},
		"no points":   {Roofs: h100().Roofs},
		"absurd": {Roofs: h100().Roofs, Points: []RooflinePoint{
			{Name: "huge", Operations: 1e300, Bytes: 1e-300}, {Name: "tiny", Operations: 1e-300, Bytes: 1e300}, {Name: "negative", Operations: -1, Bytes: -1},
			{Name: "nan", Operations: math.NaN(), Bytes: 1}, {Name: "inf", Operations: math.Inf(1), Bytes: math.Inf(1)},
		}},
		"absurd ceilings": {Roofs: []Roof{{Rate: math.Inf(1)}, {Rate: math.NaN(), Bandwidth: true}, {Rate: -1}, {Rate: 1e-300, Bandwidth: true}}, Points: h100().Points},
	} {
		for _, width := range []int{1, 40, 80, 200} {
			for _, line := range drawn(r, width) {
				if Width(line) > max(width, 40) {
					t.Errorf("%s: %d columns: %q", name, width, line)
				}
			}
		}
	}
}
