package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
)

// realTraces copies traces recorded on a GPU into a new working directory.
func realTraces(t *testing.T) {
	t.Helper()
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"gpt-train.wscope", "generate.wscope"} {
		data, err := os.ReadFile(filepath.Join("../../testdata/real", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), data)
	}
	t.Setenv("GOLDEN", golden)
	t.Chdir(dir)
}

// TestStepsGolden shows steps, accounts and diagnoses of real traces as people see them.
func TestStepsGolden(t *testing.T) {
	realTraces(t)
	for _, view := range []struct {
		name string
		args []string
	}{
		{"steps-training", []string{"inspect", "--steps", "--account", "--idle", "gpt-train.wscope"}},
		{"steps-generation", []string{"inspect", "--steps", "--account", "--idle", "generate.wscope"}},
		{"steps-diff", []string{"inspect", "--diff", "generate.wscope", "gpt-train.wscope"}},
		{"doctor-training", []string{"doctor", "gpt-train.wscope"}},
		{"doctor-generation", []string{"doctor", "generate.wscope"}},
	} {
		for _, columns := range []int{80, 200} {
			t.Run(fmt.Sprintf("%s-%d", view.name, columns), func(t *testing.T) {
				status, stdout, stderr := world{columns: columns}.run(t, view.args...)
				if status != 0 || stderr != "" {
					t.Fatalf("status %d, %q", status, stderr)
				}
				for i, line := range strings.Split(stdout, "\n") {
					if n := len([]rune(line)); n > columns && !strings.Contains(line, "torch.") && !strings.Contains(line, "model.") && !strings.HasPrefix(line, "    warpscope run") {
						t.Errorf("line %d is %d columns wide: %s", i+1, n, line)
					}
				}
				compare(t, fmt.Sprintf("steps/%s-%d.txt", view.name, columns), stdout)
			})
		}
	}
}

func TestDoctorJSON(t *testing.T) {
	realTraces(t)
	status, stdout, stderr := world{}.run(t, "doctor", "--json", "generate.wscope")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	var d doctor.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Findings) == 0 || d.Findings[0].ID != "time.warmup" || d.Findings[0].Severity != doctor.Error || d.File != "generate.wscope" {
		t.Errorf("%+v", d)
	}
	var raw map[string][]map[string]any
	_ = json.Unmarshal([]byte(stdout), &raw) // other members are of other types
	for _, key := range []string{"id", "severity", "title", "confidence", "cost", "evidence", "fix", "ruled_out"} {
		if _, ok := raw["findings"][0][key]; !ok {
			t.Errorf("a finding has no %q", key)
		}
	}
}

func TestFailOn(t *testing.T) {
	realTraces(t)
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"generate.wscope"}, 0, ""},
		{[]string{"--fail-on", "time.warmup", "generate.wscope"}, 3, ""},
		{[]string{"--fail-on", "time.sync", "generate.wscope"}, 0, ""},
		{[]string{"--fail-on", "error", "generate.wscope"}, 3, ""},
		{[]string{"--fail-on", "error", "gpt-train.wscope"}, 0, ""},
		{[]string{"--fail-on", "warning", "gpt-train.wscope"}, 3, ""},
		{[]string{"--fail-on", "time.sync,warning", "gpt-train.wscope"}, 3, ""},
		{[]string{"--fail-on", "error", "gpt-train.wscope", "generate.wscope"}, 3, ""},
		{[]string{"--fail-on", "time.luck", "generate.wscope"}, 2, `"time.luck": neither a severity`},
		{[]string{"--fail-on", "bad", "generate.wscope"}, 2, "neither a severity"},
		{[]string{"--steps-by", "luck", "generate.wscope"}, 2, "not one of auto, kernels"},
		{[]string{"--fail-on", "error", "none.wscope"}, 1, "none.wscope"},
		{nil, 2, "the trace to judge is missing"},
		{[]string{"-", "-"}, 2, "only once"},
	} {
		status, _, stderr := world{}.run(t, append([]string{"doctor"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("doctor %s: status %d, %q; want %d, %q", strings.Join(c.args, " "), status, stderr, c.status, c.says)
		}
	}
}

// TestDoctorStream: a trace can come through a pipe, and a part of it can be judged.
func TestDoctorStream(t *testing.T) {
	realTraces(t)
	data, err := os.ReadFile("gpt-train.wscope")
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := world{stdin: data}.run(t, "doctor", "-")
	if status != 0 || !strings.Contains(stdout, "A training step takes 33.6 ms") {
		t.Errorf("status %d, %q:\n%s", status, stderr, stdout)
	}
	status, stdout, stderr = world{}.run(t, "inspect", "--steps", "--json", "--from", "11.6s", "gpt-train.wscope")
	var in analyze.Inspection
	if err := json.Unmarshal([]byte(stdout), &in); status != 0 || err != nil {
		t.Fatalf("status %d, %q, %v", status, stderr, err)
	}
	if n := in.Steps.Rows[0].Found; n < 4 || n > 7 {
		t.Errorf("%d steps from 11.6 s on, want the later ones of 10", n)
	}
}

func TestStepFlags(t *testing.T) {
	realTraces(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--diff", "gpt-train.wscope"}, "give two files, not 1"},
		{[]string{"--diff", "--kernels", "gpt-train.wscope", "generate.wscope"}, "--diff stands alone"},
		{[]string{"--diff", "--events", "gpt-train.wscope", "generate.wscope"}, "--diff stands alone"},
		{[]string{"--events", "--account", "gpt-train.wscope"}, "--events stands alone"},
		{[]string{"--diff", "-", "-"}, "only once"},
		{[]string{"--steps-by", "kernels", "gpt-train.wscope"}, "goes with --steps"},
		{[]string{"--steps", "--steps-by", "moon", "gpt-train.wscope"}, "not one of auto, kernels"},
	} {
		status, _, stderr := world{}.run(t, append([]string{"inspect"}, c.args...)...)
		if status != 2 || !strings.Contains(stderr, c.says) {
			t.Errorf("inspect %s: status %d, %q; want 2, %q", strings.Join(c.args, " "), status, stderr, c.says)
		}
	}
	status, stdout, _ := world{}.run(t, "inspect", "--steps", "--steps-by", "kernels", "gpt-train.wscope")
	if status != 0 || !strings.Contains(stdout, "12 training steps, by the sequence of kernels") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
}

// TestSimulatedDiagnosis: what no GPU did is never taken for a measurement.
func TestSimulatedDiagnosis(t *testing.T) {
	writeSynthetic(t, true)
	for _, args := range [][]string{{"doctor", "train.wscope"}, {"inspect", "--diff", "train.wscope", "train.wscope"}, {"inspect", "--account", "train.wscope"}} {
		status, stdout, _ := world{}.run(t, args...)
		if status != 0 || !strings.Contains(stdout, "SIMULATED DEVICE") {
			t.Errorf("%s: status %d:\n%s", strings.Join(args, " "), status, stdout)
		}
	}
}
