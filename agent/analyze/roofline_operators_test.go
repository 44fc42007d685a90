package analyze

import "testing"

func TestProductsFromShapes(t *testing.T) {
	for _, c := range []struct {
		name, detail       string
		operations, values float64
	}{
		{"aten::mm", "[8192, 4096], [4096, 1024]", 2 * 8192 * 4096 * 1024, 8192*4096 + 4096*1024 + 8192*1024},
		{"aten::addmm", "[2304], [8192, 768], [768, 2304]", 2 * 8192 * 768 * 2304, 8192*768 + 768*2304 + 8192*2304},
		{"aten::bmm", "[96, 1024, 64], [96, 64, 1024]", 2 * 96 * 1024 * 64 * 1024, 96 * (1024*64 + 64*1024 + 1024*1024)},
		{"aten::baddbmm", "[1], [96, 10, 64], [96, 64, 20]", 2 * 96 * 10 * 64 * 20, 96 * (10*64 + 64*20 + 10*20)},
		// 3x3 kernels, 64 channels to 128: 576 multiplications for each value of the output, twice.
		{"aten::convolution_backward", "[32, 128, 56, 56], [32, 64, 56, 56], [128, 64, 3, 3]", 2 * 2 * 32 * 128 * 56 * 56 * 576,
			2 * (32*128*56*56 + 32*64*56*56 + 128*64*9)},
		// Nothing is guessed where shapes do not fit, or do not tell.
		{"aten::mm", "[8192, 4096], [1024, 4096]", 0, 0},
		{"aten::mm", "[8192, 4096]", 0, 0},
		{"aten::mm", "", 0, 0},
		{"aten::mm", "[0, 4096], [4096, 1024]", 0, 0},
		{"aten::mm", "[8192, x], [4096, 1024]", 0, 0},
		{"aten::mm", "[8192, 4096], [4096, 10", 0, 0},
		{"aten::bmm", "[96, 1024, 64], [95, 64, 1024]", 0, 0},
		{"aten::bmm", "[99999999999999, 99999999999999, 99999999999999], [99999999999999, 99999999999999, 99999999999999999999]", 0, 0},
		{"aten::add", "[8192, 4096], [8192, 4096]", 0, 0},
		{"aten::_scaled_dot_product_flash_attention", "[8, 12, 1024, 64], [8, 12, 1024, 64], [8, 12, 1024, 64]", 0, 0},
	} {
		p, ok := productOf(c.name, c.detail)
		if ok != (c.operations > 0) || ok && (p.operations != c.operations || p.values != c.values || p.label == "") {
			t.Errorf("%s %s: %+v, %v; want %g, %g", c.name, c.detail, p, ok, c.operations, c.values)
		}
	}
}

func TestOperatorsOnTheRoofline(t *testing.T) {
	s := &OperatorSummary{GPUNS: 10_000_000, Rows: []OperatorRow{
		{Name: "aten::mm", Detail: "[4096, 4096], [4096, 4096]", Count: 20, Kernels: 20, SelfNS: 4_000_000},
		{Name: "aten::mm", Detail: "[64, 64], [64, 64]", Count: 20, Kernels: 23, SelfNS: 1_000_000}, // three of others
		{Name: "aten::add", Detail: "[4096, 4096]", Count: 5, Kernels: 5, SelfNS: 4_000_000},
		{Name: "aten::bmm", Detail: "[1, 2, 3], [1, 3, 4]", Count: 1, Kernels: 2, SelfNS: 1_000_000},
		{Name: "aten::mm", Detail: "[1, 2], [2, 1]", Count: 1}, // nothing ran
	}}
	var r RooflineRow
	r.addOperators(s)
	if len(r.Points) != 2 || r.Points[0].Share != 0.4 || r.Points[1].Share != 0.1 {
		t.Fatalf("%+v", r.Points)
	}
	// 20 products of 4096 in 4 ms.
	if p := r.Points[0]; p.Operations != 20*2*4096.0*4096*4096/4e-3 || p.Bytes != 20*3*4096*4096*2/4e-3 || p.OperationsFrom != SourceEstimated {
		t.Errorf("%+v", p)
	}
	if len(r.Missing) != 2 || r.Points[1].Name != "bmm 1 of 2×4×3" {
		t.Errorf("of the rest: %q", r.Missing)
	}
	r = RooflineRow{}
	r.addOperators(nil)
	if len(r.Points)+len(r.Missing) != 0 {
		t.Errorf("of nothing: %+v", r)
	}
}

func FuzzShapes(f *testing.F) {
	f.Add("aten::addmm", "[2304], [8192, 768], [768, 2304]")
	f.Add("aten::convolution_backward", "[1, 0, 1], [], [[, ]")
	f.Fuzz(func(t *testing.T, name, detail string) {
		if p, ok := productOf(name, detail); ok && (p.operations <= 0 || p.values <= 0) {
			t.Errorf("%+v", p)
		}
	})
}
