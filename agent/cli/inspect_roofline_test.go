package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/event/scene"
	"github.com/warpscope/warpscope/agent/trace"
)

// watchedTrace writes a trace of a training loop on a GPU whose units were watched, and goes to its folder.
func watchedTrace(t *testing.T) {
	t.Helper()
	golden, err := filepath.Abs(filepath.Join("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	p := scene.New()
	p.GPU.Name, p.GPU.Capability, p.GPU.UUID = "NVIDIA H100 80GB HBM3", [2]uint32{9, 0}, "GPU-12345678-9abc"
	th := p.Thread()
	begin := th.Now
	for i := range 150 {
		ns := int64(400_000)
		if i < 5 {
			ns = 10_000_000
		}
		th.Launch("embedding_kernel", 5_000)
		for range 20 {
			th.Launch("nvjet_gemm", ns)
		}
		th.Launch("multi_tensor_apply_kernel<FusedAdam>", 50_000)
	}
	const window, peak = 100_000_000, 3_352_320_000_000
	p.Watch(begin, begin+9*window, window, scene.Activity{SM: 0.2, Occupancy: 0.1, Tensor: 0.05, FP32: 0.02, DRAM: 0.1, DRAMPeak: peak})
	p.Watch(begin+11*window, begin+22*window, window, scene.Activity{SM: 0.93, Occupancy: 0.4, Tensor: 0.68, FP32: 0.05, DRAM: 0.35, DRAMPeak: peak})
	p.Sample(begin-window, 1980, 1)
	for i := range 20 {
		p.Sample(begin+event.Time(i)*window, 1500, 4)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "watched.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := trace.NewWriter(f, event.Provenance{Command: []string{"python3", "train.py"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Feed(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(event.Summary{End: p.Done()}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOLDEN", golden)
	t.Chdir(dir)
}

func TestRooflineGolden(t *testing.T) {
	watchedTrace(t)
	for name, args := range map[string][]string{
		"roofline":         {"inspect", "--steps", "--roofline", "watched.wscope"},
		"doctor-roofline":  {"doctor", "watched.wscope"},
		"roofline-unknown": {"inspect", "--roofline", "--from", "2s", "watched.wscope"}, // too little of it
	} {
		for _, columns := range []int{80, 200} {
			status, stdout, stderr := world{columns: columns}.run(t, args...)
			if status != 0 || stderr != "" {
				t.Fatalf("%s: status %d, %q", name, status, stderr)
			}
			for i, line := range strings.Split(stdout, "\n") {
				if n := len([]rune(line)); n > columns {
					t.Errorf("%s: line %d has %d columns: %s", name, i+1, n, line)
				}
			}
			compare(t, fmt.Sprintf("steps/%s-%d.txt", name, columns), stdout)
		}
	}
}

// TestRooflineJSON: the typed result carries sources, and a ceiling that was measured here goes before the datasheet's.
func TestRooflineJSON(t *testing.T) {
	watchedTrace(t)
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "warpscope", "ceilings"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, "warpscope", "ceilings", "GPU-12345678-9abc.json"),
		[]byte(`{"schema_version":1,"uuid":"GPU-12345678-9abc","gpu":"NVIDIA H100 80GB HBM3","rates":{"matmul.bf16":7e14}}`))
	status, stdout, stderr := world{environ: []string{"XDG_CONFIG_HOME=" + home}}.run(t, "inspect", "--roofline", "--json", "watched.wscope")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	var in analyze.Inspection
	if err := json.Unmarshal([]byte(stdout), &in); err != nil {
		t.Fatal(err)
	}
	r := in.Roofline.Rows[0]
	sources := map[string]string{}
	for _, c := range r.Ceilings {
		sources[c.Kind] = c.Source
	}
	if sources["matmul.bf16"] != "measured" || sources["matmul.tf32"] != "datasheet" {
		t.Errorf("ceilings %v", sources)
	}
	if len(r.Points) != 2 || r.Points[0].OperationsFrom != analyze.SourceEstimated || r.Points[0].BytesFrom != analyze.SourceMeasured {
		t.Errorf("points %+v", r.Points)
	}
}
