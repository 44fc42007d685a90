package cli_test

import (
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
)

// TestSavedCeilingsReachInspectAndDoctor: what bench saves is what a trace of that GPU is judged by, whatever its datasheet says.
func TestSavedCeilingsReachInspectAndDoctor(t *testing.T) {
	watchedTrace(t)
	home := t.TempDir()
	const rate = 711e12
	r := &result.Result{
		GPU: result.GPU{Name: "NVIDIA H100 80GB HBM3", UUID: "GPU-12345678-9abc", Driver: "580.1"},
		Rows: []result.Row{
			{Suite: "matmul", What: "matmul", Times: result.Times{Median: 1}, Operations: rate, Bytes: 1e9, Peak: ceilings.BFloat16},
			{Suite: "memory", What: "read", Times: result.Times{Median: 1}, Bytes: 3.01e12, Memory: ceilings.Read},
		},
	}
	if err := (ceilings.Store{Folder: ceilings.Folder(home)}).Save(r.Ceilings()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"inspect", "--roofline", "watched.wscope"}, {"doctor", "watched.wscope"}} {
		status, stdout, stderr := world{columns: 200, environ: []string{"XDG_CONFIG_HOME=" + home}}.run(t, args...)
		if status != 0 || stderr != "" {
			t.Fatalf("%v: status %d, %q", args, status, stderr)
		}
		if !strings.Contains(stdout, "711 TFLOP/s") {
			t.Errorf("%v does not judge by 711 TFLOP/s:\n%s", args, stdout)
		}
	}
}
