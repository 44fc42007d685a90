package cli_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// stepsOf returns the steps of a trace, of its busiest process, and how they were found.
func stepsOf(t *testing.T, file, by string) *analyze.StepRow {
	t.Helper()
	status, out, errs := world{columns: 200}.run(t, "inspect", "--steps", "--json", "--steps-by", by, file)
	var in analyze.Inspection
	if err := json.Unmarshal([]byte(out), &in); status != 0 || err != nil {
		t.Fatalf("%s: status %d, %v: %s", file, status, err, errs)
	}
	best := &analyze.StepRow{}
	for i := range in.Steps.Rows {
		if r := &in.Steps.Rows[i]; r.Found > best.Found {
			best = r
		}
	}
	return best
}

// TestStepsWithoutRanges: real programs whose steps are marked by ranges are looked at without them. At least 95 of 100
// steps are found as they were marked: exactly one begins within half a step of the marked beginning, as long as the marked one to
// a tenth (or 50 µs). What a step begins with is the program's choice or ours, and may be shifted.
func TestStepsWithoutRanges(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarioDir, "*", "*.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Glob("../../testdata/real/*.wscope")
	if files = append(files, real...); err != nil {
		t.Fatal(err)
	}
	marked, found, traces := 0, 0, 0
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		labelled := stepsOf(t, file, "auto")
		if labelled.Source != analyze.StepsByRange {
			continue
		}
		traces++
		guessed := stepsOf(t, file, "kernels")
		if guessed.Source != analyze.StepsByPeriod {
			guessed = &analyze.StepRow{}
		}
		right := 0
		for _, s := range labelled.Steps[:len(labelled.Steps)-1] { // nobody marks where the last one ends
			near, alike := 0, false
			for _, g := range guessed.Steps {
				if from := g.StartNS - s.StartNS; 2*from >= -s.WallNS && 2*from < s.WallNS {
					near++
					off := g.WallNS - s.WallNS
					alike = max(off, -off) <= s.WallNS/10+50_000
				}
			}
			if near == 1 && alike {
				right++
			}
		}
		marked, found = marked+len(labelled.Steps)-1, found+right
		t.Logf("%s: %d of %d", filepath.Base(file), right, len(labelled.Steps)-1)
	}
	if traces < 10 || float64(found) < 0.95*float64(marked) {
		t.Errorf("%d of %d steps of %d traces are found as they were marked, want 95%% of those of ten traces", found, marked, traces)
	}
	t.Logf("%d of %d steps of %d traces", found, marked, traces)
}
