package e2e

import (
	"encoding/json"
	"errors"
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

// TestBenchOnACardThatIsNearlyFull: small arrays are better than none, and what does not fit at all is no failure of this GPU.
func TestBenchOnACardThatIsNearlyFull(t *testing.T) {
	w := newTool(t)
	r := w.command([]string{"WARPSCOPE_SIM_MEMORY=300M"}, w.bin, "bench", "memory", "--device", "sim", "--duration", "0", "--wide")
	if !strings.Contains(r.stdout, "MiB instead of 2048: only ") || !strings.Contains(r.stdout, "skipped: too little free memory") || strings.Contains(r.stdout, "GPU does not run it: it needs 3") {
		t.Errorf("300 MiB: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	r = w.command([]string{"WARPSCOPE_SIM_MEMORY=4G"}, w.bin, "bench", "attention", "--size", "8192", "--device", "sim", "--duration", "0", "--wide")
	if !strings.Contains(r.stdout, "a smaller batch: only ") {
		t.Errorf("4 GiB: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
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
		{[]string{"attention", "latency", "--save"}, 2, []string{"no ceiling"}},
		{[]string{"matmul", "--dtype", ""}, 2, []string{"--dtype", "no value"}},
		{[]string{"--compare", ""}, 2, []string{"--compare", "no value"}},
		{[]string{"-o", ""}, 2, []string{"--output", "no value"}},
		{[]string{"-o", "-"}, 2, []string{"--json"}},
		{[]string{"--device", "sim", "--compare", foreign}, 1, []string{foreign, "no result of warpscope bench"}},
		{[]string{"--device", "sim", "--compare", "/nonexistent"}, 1, []string{"/nonexistent"}},
		{[]string{"--device", "sim", "-o", "/nonexistent/o.json"}, 1, []string{"/nonexistent/o.json"}},
		{[]string{"--device", "sim", "-o", w.dir}, 1, []string{w.dir, "a folder"}},
		{[]string{"--device", "sim", "--trace", "/nonexistent/t.wscope"}, 1, []string{"/nonexistent/t.wscope"}},
		{[]string{"--device", "sim", "--trace", "/dev/null", "--force"}, 2, []string{"/dev/null", "no file"}},
		{[]string{"memory", "--device", "sim", "--save"}, 1, []string{"--save", "/dev/null"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			sentence(t, w.command([]string{"XDG_CONFIG_HOME=/dev/null"}, w.bin, append([]string{"bench"}, test.args...)...), test.status, test.words...)
		})
	}
}

// smallBench is a short run on the simulated device, on which all rows fail.
var smallBench = []string{"bench", "memory", "--device", "sim", "--duration", "0", "--size", "1M"}

// TestBenchKeepsWhatWasThere: an earlier result is the user's until there is a new one.
func TestBenchKeepsWhatWasThere(t *testing.T) {
	w := newTool(t)
	file, link := filepath.Join(w.dir, "before.json"), filepath.Join(w.dir, "link.json")
	if err := errors.Join(os.WriteFile(file, []byte("before"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if r := w.warpscope("bench", "-o", file); r.status != 1 {
		t.Errorf("without a GPU: exit status %d\n%s", r.status, r.stderr)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "before" {
		t.Errorf("the earlier result is %q, %v", text, err)
	}
	w.warpscope(append(smallBench, "-o", link)...)
	if text, err := os.ReadFile(file); err != nil || !json.Valid(text) {
		t.Errorf("what the link leads to is %q, %v", text, err)
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, ".warpscope-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchOfOtherArchitectures: without machine code there is PTX, which is said; without either nothing is measured.
func TestBenchOfOtherArchitectures(t *testing.T) {
	w := newTool(t)
	r := w.command([]string{"WARPSCOPE_SIM_CAPABILITY=7.5"}, w.bin, smallBench...)
	if r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, "no kernel image for this GPU") || !strings.Contains(r.stderr, "this GPU has 7.5") {
		t.Errorf("7.5: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	for capability, ptx := range map[string]bool{"8.0": false, "8.6": false, "8.9": false, "9.0": false, "10.0": true, "12.1": true} {
		r := w.command([]string{"WARPSCOPE_SIM_CAPABILITY=" + capability}, w.bin, append(smallBench, "--wide")...)
		if !strings.Contains(r.stdout, "compute capability "+capability+",") || strings.Contains(r.stdout, "compiles the kernels for compute_80") != ptx {
			t.Errorf("%s: exit status %d\n%s%s", capability, r.status, r.stdout, r.stderr)
		}
	}
}

// TestBenchWithoutSavedCeilings: what was saved may be unreadable, or nobody may say where it is.
func TestBenchWithoutSavedCeilings(t *testing.T) {
	w := newTool(t)
	folder := filepath.Join(w.dir, "warpscope", "ceilings")
	damaged := filepath.Join(folder, "GPU-77617270-7363-6f70-652d-73696d2d0000.json")
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(damaged, []byte("junk"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := w.command([]string{"XDG_CONFIG_HOME=" + w.dir}, w.bin, append(smallBench, "--wide")...)
	if !strings.Contains(r.stdout, "stride 128") || !strings.Contains(r.stdout, "what was saved of this GPU is not used: load ceilings of "+damaged) {
		t.Errorf("damaged: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	r = w.command([]string{"XDG_CONFIG_HOME=", "HOME="}, w.bin, smallBench...)
	if !strings.Contains(r.stdout, "stride 128") {
		t.Errorf("without HOME: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	if r = w.command([]string{"XDG_CONFIG_HOME=", "HOME="}, w.bin, append(smallBench, "--save")...); r.stdout != "" || !strings.Contains(r.stderr, "neither XDG_CONFIG_HOME nor HOME") {
		t.Errorf("without HOME, --save: exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
}

func TestBenchComparesWithStandardInput(t *testing.T) {
	w := newTool(t)
	r := w.command(nil, "sh", "-c", w.bin+" bench --sample --json | "+w.bin+" bench --sample memory --compare -")
	if r.status != 0 || !strings.Contains(r.stdout, "~ ×1.000") || strings.Contains(r.stdout, "attention") {
		t.Errorf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
}
