package cli

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/examples"
)

// TestExamplesAddUp checks the diagnoses of real cases on a real GPU: the cause, the line of code, and, of memory, an account of
// all that was used in which less than a hundredth remains.
func TestExamplesAddUp(t *testing.T) {
	want := map[string]struct{ id, line string }{
		"sync":                 {"time.sync", "item.py:"},
		"gil":                  {"time.gil", "gil.py:"},
		"input":                {"time.input", "loader.py:"},
		"launch-bound":         {"time.launch-bound", ""},
		"optimizer-first-step": {"memory.optimizer-state", "optimizer_first_step.py:16"},
		"other-process":        {"memory.other-process", ""},
		"fragmentation":        {"memory.fragmentation", "fragmentation_streams.py:23"},
		"model-load":           {"memory.model-load", "doubled_by_loading.py:24"},
	}
	list, err := examples.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		t.Run(e.Name, func(t *testing.T) {
			status, out, errs := command(t, "", "doctor", "--json", "--example", e.Name)
			if status != statusDone {
				t.Fatalf("status %d: %s", status, errs)
			}
			var d doctor.Diagnosis
			if err := json.Unmarshal([]byte(out), &d); err != nil {
				t.Fatal(err)
			}
			w, ok := want[e.Name]
			if !ok || len(d.Findings) == 0 || d.Findings[0].ID != w.id || d.Findings[0].Severity != doctor.Error && w.id != "time.sync" {
				t.Fatalf("first of %d findings is not %s: %+v", len(d.Findings), w.id, d.Findings)
			}
			text := d.Findings[0].Title
			for _, evidence := range d.Findings[0].Evidence {
				text += "\n" + evidence.What
			}
			if !strings.Contains(text, w.line) {
				t.Errorf("%q is not blamed in\n%s", w.line, text)
			}
			if strings.HasPrefix(w.id, "time.") {
				return
			}
			if d.Account == nil || len(d.Account.GPUs) != 1 {
				t.Fatalf("account %+v", d.Account)
			}
			g := &d.Account.GPUs[0]
			if g.Used == nil || g.Residual == nil || math.Abs(float64(*g.Residual)) > 0.01*float64(*g.Used) {
				t.Errorf("residual %v of %v used", g.Residual, g.Used)
			}
			p := &g.Traced[0]
			if p.Tensors == nil || p.Tensors.Difference != 0 || p.Tensors.Reserved != p.TorchBytes {
				t.Errorf("PyTorch's own account differs from the driver's: %+v, %d", p.Tensors, p.TorchBytes)
			}
			sum := p.Tensors.Rounding + p.Tensors.Pending
			for _, r := range p.Tensors.Roles {
				sum += r.Bytes
			}
			for _, f := range p.Tensors.Free {
				sum += f.Bytes
			}
			if sum != p.Tensors.Reserved {
				t.Errorf("lines of PyTorch's part add up to %d of %d", sum, p.Tensors.Reserved)
			}
		})
	}
}

func TestListOfExamples(t *testing.T) {
	status, out, errs := command(t, "", "doctor", "--example", "?")
	if status != statusDone || errs != "" || !strings.Contains(out, "launch-bound") || !strings.Contains(out, "Most of the GPU is free") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

func TestUnknownExampleNamesTheOthers(t *testing.T) {
	status, _, errs := command(t, "", "doctor", "--example", "none")
	if status != statusUsage || !strings.Contains(errs, "optimizer-first-step") {
		t.Errorf("status %d: %s", status, errs)
	}
}
