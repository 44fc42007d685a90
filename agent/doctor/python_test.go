package doctor_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event/scene"
)

// locked plays a program whose launching thread stands still for 20 ms in each step while another one computes, and in
// which a thread that asks for Python's lock waits for it for some µs.
func locked(t *testing.T, waited uint64) *doctor.Diagnosis {
	p := scene.New()
	other := p.Thread()
	return play(t, p, func(th *scene.Thread, i int) {
		dense(th, i)
		th.Sync()
		for range 4 {
			th.Host(5_000_000)
			other.Until(th.Now)
			th.Moment("warpscope.stack", "/job/train.py:30 step", 100<<32|waited)
			other.Moment("warpscope.stack", "/job/train.py:77 parse", 4800<<32|waited)
		}
	})
}

func TestLock(t *testing.T) {
	f := find(locked(t, 4900), "time.gil")
	if f == nil {
		t.Fatal("not found where it is")
	}
	if math.Abs(f.Cost.SecondsPerStep-20e-3) > 3e-3 || f.Severity != doctor.Error || !strings.HasSuffix(f.Title, ", at train.py:77") {
		t.Errorf("%+v", f)
	}
	d := locked(t, 10)
	if f := find(d, "time.gil"); f != nil {
		t.Errorf("found where it is not: %+v", f)
	}
	if !slices.ContainsFunc(d.Notes, func(n doctor.Note) bool { return strings.Contains(n.Text, "at train.py:30, in step") }) {
		t.Errorf("no note says where Python was: %+v", d.Notes)
	}
}

// TestLines: findings name the program's line, where it was seen often enough.
func TestLines(t *testing.T) {
	for samples, want := range map[int]string{1: "", n: ", at train.py:30"} {
		d := play(t, scene.New(), func(th *scene.Thread, i int) {
			dense(th, i)
			th.Sync()
			th.Host(100_000)
			if i < samples {
				th.Moment("warpscope.stack", "/opt/site-packages/torch/_tensor.py:5 item\n/job/train.py:30 step", 100<<32)
			}
			th.Host(400_000)
		})
		f := find(d, "time.sync")
		if f == nil {
			t.Fatalf("%d samples: not found: %+v", samples, d.Findings)
		}
		if got := strings.Contains(f.Title, ", at "); got != (want != "") || !strings.HasSuffix(f.Title, want) {
			t.Errorf("%d samples: %q", samples, f.Title)
		}
	}
}

// TestUnsampledPython: of a program in Python that was not looked into, nothing is said of its lock and collector.
func TestUnsampledPython(t *testing.T) {
	d := play(t, scene.New(), dense)
	for _, id := range []string{"time.input", "time.gc", "time.gil"} {
		if !slices.ContainsFunc(d.Notes, func(n doctor.Note) bool { return n.ID == id && n.Rerun != "" }) {
			t.Errorf("%s: no note: %+v", id, d.Notes)
		}
	}
	p := scene.New()
	p.Info.Command = []string{"./solver"}
	d = play(t, p, dense)
	for _, id := range []string{"time.input", "time.gc", "time.gil"} {
		if !slices.ContainsFunc(d.RuledOut, func(c doctor.Clear) bool { return c.ID == id }) {
			t.Errorf("%s of a program without Python: not ruled out: %+v", id, d.Notes)
		}
	}
}

// TestShapes: products whose rows do not fill tensor cores are found in sampled steps.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		detail string
		want   bool
	}{
		{"aten::mm\t[8192, 768], [768, 50257]", true},
		{"aten::mm\t[8192, 768], [768, 50304]", false},
		{"aten::addmm\t[50257], [8192, 768], [768, 64]", false},
		{"aten::addmm\t[63], [8191, 767], [767, 64]", true},
		{"aten::bmm\t[12, 63, 64], [12, 64, 63]", true},
		{"aten::add\t[63, 63], [63, 63]", false},
		{"aten::mm\t[1, 768], [768, 1]", false},
		{"aten::mm\t[8192", false},
	} {
		p := scene.New()
		th := p.Thread()
		for i := range n {
			th.Launch("embedding_kernel", 5_000)
			end := func() {}
			if i == n/2 {
				th.Moment("warpscope.operators", "sampled", 4_000_000)
				end = th.Python("warpscope.op", c.detail, 0)
			}
			th.Launch("nvjet_gemm", 4_000_000)
			end()
			th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
		}
		a := analyze.New(analyze.Config{Parts: doctor.Parts | analyze.PartOperators})
		if err := p.Feed(a); err != nil {
			t.Fatal(err)
		}
		in := a.Inspect()
		if !in.Account.Rows[0].Facts.SampledOperators {
			t.Fatal("nobody says that operators were sampled")
		}
		f := find(doctor.Diagnose(in), "time.tensor-shapes")
		if (f != nil) != c.want {
			t.Fatalf("%s: %+v", c.detail, f)
		}
		if f != nil && (math.Abs(f.Cost.SecondsPerStep-2e-3) > 0.1e-3 || len(f.Evidence) != 2 || len(f.Fix) != 1) {
			t.Errorf("%s: %+v", c.detail, f)
		}
	}
	d := play(t, scene.New(), dense)
	if !slices.ContainsFunc(d.Notes, func(n doctor.Note) bool { return n.ID == "time.tensor-shapes" && n.Rerun != "" }) {
		t.Errorf("no note on what is missing: %+v", d.Notes)
	}
}
