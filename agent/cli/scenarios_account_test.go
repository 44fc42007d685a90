package cli_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
)

// TestScenarioAccounts: the account of each real trace adds up, and what nobody can explain is little: idle time that is
// nobody's, and host code that nobody looked at.
func TestScenarioAccounts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarioDir, "*", "*.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Glob("../../testdata/real/*.wscope")
	if files = append(files, real...); err != nil || len(files) < 3 {
		t.Fatalf("%d traces, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".wscope"), func(t *testing.T) {
			absolute, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			status, out, errs := world{columns: 200}.run(t, "inspect", "--account", "--idle", "--json", absolute)
			var in analyze.Inspection
			if err := json.Unmarshal([]byte(out), &in); status != 0 || err != nil || len(in.Account.Rows) == 0 {
				t.Fatalf("status %d, %v: %s", status, err, errs)
			}
			for i := range in.Account.Rows {
				r := &in.Account.Rows[i]
				sum, share := int64(0), 0.0
				for _, l := range r.Lines {
					sum, share = sum+l.TotalNS, share+l.Share
				}
				if sum != r.WallNS || math.Abs(share-1) > 0.001 && r.WallNS > 0 {
					t.Errorf("%s: lines of %d ns, %.4f of it; the steps take %d ns", r.Name, sum, share, r.WallNS)
				}
				unknown := r.Line("idle-unrecorded").TotalNS + r.Line("idle-host").TotalNS
				if float64(unknown) > 0.05*float64(r.WallNS) {
					t.Errorf("%s: idle for %d ns of %d, and nobody knows why", r.Name, unknown, r.WallNS)
				}
			}
		})
	}
}
