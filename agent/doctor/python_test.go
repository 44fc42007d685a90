package doctor_test

import (
	"math"
	"slices"
	"strings"
	"testing"

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
