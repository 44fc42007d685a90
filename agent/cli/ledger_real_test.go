package cli_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// TestLedgersAddUp: the account of each trace that programs of scripts/workloads/oom left on a GPU explains all but a hundredth
// of what was used, contexts calibrated, and what it holds of processes is what NVML says of them.
func TestLedgersAddUp(t *testing.T) {
	const most = 0.01
	files, err := filepath.Glob("../../testdata/ledger/*.wscope")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d traces, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".wscope"), func(t *testing.T) {
			absolute, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			status, out, errs := world{columns: 200}.run(t, "inspect", "--memory", "--json", absolute)
			var in analyze.Inspection
			if err := json.Unmarshal([]byte(out), &in); status != 0 || err != nil || in.Memory == nil || len(in.Memory.Accounts) == 0 {
				t.Fatalf("status %d, %v: %s", status, err, errs)
			}
			for _, g := range in.Memory.Accounts[0].GPUs {
				if g.Used == nil || g.Residual == nil || g.Calibrated == "" || len(g.Traced) == 0 {
					t.Fatalf("%s is not accounted for: %+v", g.GPU, g)
				}
				if part := float64(*g.Residual) / float64(*g.Used); math.Abs(part) > most {
					t.Errorf("%s of %s: %.2f%% of used remain", in.Memory.Accounts[0].When, g.GPU, part*100)
				}
				for _, p := range g.Traced {
					sum := uint64(0)
					for _, l := range p.Lines {
						sum += l.Bytes
					}
					if p.NVML == nil || p.Residual == nil || sum != p.Sum || *p.NVML-int64(sum) != *p.Residual {
						t.Errorf("lines of %d bytes, %d by NVML, residual %v", sum, p.NVML, p.Residual)
					}
				}
			}
		})
	}
}
