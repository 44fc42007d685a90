package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// benchResult is what this test reads of `bench --json`.
type benchResult struct {
	Version int `json:"schema_version"`
	GPU     struct {
		Simulated bool `json:"simulated"`
	} `json:"gpu"`
	Rows []struct {
		Suite, What, Failure, Skipped string
		Seconds                       struct{ N int }
	} `json:"rows"`
}

// TestBenchOnADeviceThatComputesNothing: a result that is not computed must fail, whatever it is compared with.
func TestBenchOnADeviceThatComputesNothing(t *testing.T) {
	w := newTool(t)
	for _, suite := range [][]string{{"memory", "--size", "1M"}, {"matmul", "--size", "256", "--dtype", "bf16,fp32"}, {"attention", "--size", "256"}} {
		args := append([]string{"bench", "--device", "sim", "--duration", "0", "--json"}, suite...)
		r := w.warpscope(args...)
		if r.status != 1 {
			t.Errorf("%v: exit status %d\n%s", suite, r.status, r.stderr)
		}
		var got benchResult
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
			t.Fatalf("%v: %v\n%s", suite, err, r.stderr)
		}
		if got.Version != 1 || !got.GPU.Simulated || len(got.Rows) < 2 {
			t.Errorf("%v: %+v", suite, got)
		}
		failed := 0
		for _, row := range got.Rows {
			if row.Failure != "" {
				failed++
			}
			if row.Seconds.N > 0 || row.Failure == "" && row.Skipped == "" {
				t.Errorf("%s %s passes: %+v", row.Suite, row.What, row)
			}
		}
		if failed == 0 || !strings.Contains(r.stderr, "rows failed") {
			t.Errorf("%v: %d rows failed, stderr %q", suite, failed, r.stderr)
		}
	}
}

// TestBenchMakesDoWithTheMemoryThereIs: the simulated device has 16 GiB.
func TestBenchMakesDoWithTheMemoryThereIs(t *testing.T) {
	w := newTool(t)
	r := w.warpscope("bench", "matmul", "--device", "sim", "--duration", "0", "--size", "65536", "--dtype", "bf16,tf32", "--json")
	var got struct {
		Rows []struct {
			Shape string
			Notes []string
		} `json:"rows"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || len(got.Rows) < 2 {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	for _, row := range got.Rows { // 3 arrays of 8 or 16 GiB
		if row.Shape != "32768³" || len(row.Notes) != 1 || !strings.Contains(row.Notes[0], "smaller than 65536³: only ") {
			t.Errorf("%s: %q", row.Shape, row.Notes)
		}
	}
	r = w.warpscope("bench", "matmul", "--device", "sim", "--duration", "0", "--size", "65536", "--dtype", "bf16")
	if !strings.Contains(r.stdout, "smaller than 65536³") {
		t.Errorf("the table does not say so:\n%s", r.stdout)
	}
}

func TestBenchWritesTheTableAndTheFile(t *testing.T) {
	w := newTool(t)
	file := filepath.Join(w.dir, "m.json")
	r := w.warpscope("bench", "memory", "--device", "sim", "--duration", "0", "--size", "1M", "-o", file, "--save")
	text, err := os.ReadFile(file)
	if r.status != 1 || err != nil || !json.Valid(text) || !strings.Contains(r.stdout, "simulated device") || !strings.Contains(r.stdout, "stride 128") {
		t.Errorf("exit status %d, %v\n%s%s", r.status, err, r.stdout, r.stderr)
	}
	if !strings.Contains(r.stderr, "no ceilings") {
		t.Errorf("rates of the simulated device were saved: %s", r.stderr)
	}
	if r := w.warpscope("bench", "memory", "--device", "sim", "--duration", "0", "--size", "1M", "--csv", "--compare", file); strings.Count(r.stdout, "\n") < 20 || !strings.HasPrefix(r.stdout, "suite,what,shape") {
		t.Errorf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	w := newTool(t)
	foreign := filepath.Join(w.dir, "foreign.json")
	if err := os.WriteFile(foreign, []byte(`{"rows":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		words  []string
	}{
		{nil, 1, []string{"no GPU", "bench --sample"}},
		{[]string{"memroy"}, 2, []string{"memroy", "memory"}},
		{[]string{"--size", "1G"}, 2, []string{"--size", "name one"}},
		{[]string{"memory", "--size", "1"}, 2, []string{"from 1M"}},
		{[]string{"memory", "--size", "big"}, 2, []string{"big"}},
		{[]string{"matmul", "--size", "1000"}, 2, []string{"multiples of 16"}},
		{[]string{"matmul", "--size", "16x16"}, 2, []string{"MxNxK"}},
		{[]string{"attention", "--size", "17"}, 2, []string{"positions"}},
		{[]string{"matmul", "--dtype", "fp4"}, 2, []string{"fp4", "bf16"}},
		{[]string{"memory", "--dtype", "bf16"}, 2, []string{"matmul"}},
		{[]string{"--duration", "2h"}, 2, []string{"at most 1m"}},
		{[]string{"--duration", "-1s"}, 2, []string{"above zero"}},
		{[]string{"--json", "--csv"}, 2, []string{"one of them"}},
		{[]string{"--sample", "--save"}, 2, []string{"--sample measures nothing"}},
		{[]string{"--device", "sim", "--compare", foreign}, 1, []string{foreign, "no result of warpscope bench"}},
		{[]string{"--device", "sim", "--compare", "/nonexistent"}, 1, []string{"/nonexistent"}},
		{[]string{"--device", "sim", "-o", "/nonexistent/o.json"}, 1, []string{"/nonexistent/o.json"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			sentence(t, w.warpscope(append([]string{"bench"}, test.args...)...), test.status, test.words...)
		})
	}
}
