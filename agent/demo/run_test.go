package demo

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"reflect"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// simulated opens the simulated device. Its environment is read once a process, so every test that needs another
// one runs itself anew.
func simulated(t *testing.T) *cuda.Driver {
	t.Helper()
	const path = "../../cupti/sim/lib/libcuda.so.1"
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the simulated device is not built (run make build): %v", err)
	}
	d, err := cuda.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// again runs the calling test in a child with more environment; true: this is the child.
func again(t *testing.T, environ ...string) bool {
	t.Helper()
	const mark = "WARPSCOPE_TEST_CHILD"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	c.Env = append(append(os.Environ(), environ...), mark+"="+t.Name())
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestCountsFollowFromTheSteps(t *testing.T) {
	if !again(t) {
		return
	}
	d := simulated(t)
	var steps []int
	const n = 9
	got, err := Run(context.Background(), Config{Driver: d, Steps: n, Progress: func(s Step) { steps = append(steps, s.Index) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != n || steps[0] != 1 || steps[n-1] != n {
		t.Errorf("progress told of steps %v", steps)
	}
	want := Counts{
		Source: got.Source, Device: got.Device, Simulated: true, Steps: n,
		Kernels: 10 * n,
		KernelsByName: map[string]uint64{
			"demo_matmul": 3 * n, "demo_layernorm": n, "demo_saxpy": n, "demo_loss": n, "demo_matmul_grad": 2 * n, "demo_adamw": 2 * n,
		},
		GraphLaunches: n / 4, GraphNodes: n / 4 * 3,
		Copies:       2 + 2*n,
		CopiesByKind: map[string]Moved{"HtoD": {2 + n, 2*weightBytes + n*batchBytes}, "DtoH": {n, 4 * n}},
		Sets:         4 + n, SetBytes: 4*weightBytes + 4*n,
		Allocations: 15 + 2*n, Releases: 15 + 2*n,
		AllocationBytes: 8*weightBytes + 3*batchBytes + 3*hiddenBytes + 4 + n*(workspaceBytes+hiddenBytes),
		PinnedBytes:     batchBytes + 4,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counts\n%+v\nwant\n%+v", got, want)
	}
}

// order is a capture that remembers when it was called.
type order struct {
	calls      []string
	start, end error
}

func (o *order) Start() error { o.calls = append(o.calls, "start"); return o.start }
func (o *order) Stop() error  { o.calls = append(o.calls, "stop"); return o.end }

func TestCaptureIsStartedAndStoppedOnce(t *testing.T) {
	if !again(t) {
		return
	}
	d := simulated(t)
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		capture order
		want    []string
		steps   int
	}{
		{"good", order{}, []string{"start", "stop"}, 1},
		{"cannot start", order{start: broken}, []string{"start"}, 0},
		{"cannot stop", order{end: broken}, []string{"start", "stop"}, 1},
	} {
		counts, err := Run(context.Background(), Config{Driver: d, Steps: 1, Capture: &c.capture})
		if failed := c.capture.start != nil || c.capture.end != nil; failed != errors.Is(err, broken) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(c.capture.calls, c.want) || counts.Steps != c.steps {
			t.Errorf("%s: %v, %d steps", c.name, c.capture.calls, counts.Steps)
		}
	}
}

func TestInterruptedRunGivesEverythingBack(t *testing.T) {
	if !again(t) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	got, err := Run(ctx, Config{Driver: simulated(t), Steps: 1000, Progress: func(s Step) {
		if s.Index == 3 {
			cancel()
		}
	}})
	if err != nil || got.Steps != 3 || got.Allocations != got.Releases || got.Kernels != 30 {
		t.Errorf("interrupted after 3 steps: %+v, %v", got, err)
	}
}

func TestOutOfMemoryIsCountedAndReported(t *testing.T) {
	// The third allocation of the model fails, then one in the middle of the training.
	for _, nth := range []string{"3", "17"} {
		t.Run(nth, func(t *testing.T) {
			if !again(t, "WARPSCOPE_SIM_FAIL=cuMemAlloc_v2:"+nth+":2") {
				return
			}
			got, err := Run(context.Background(), Config{Driver: simulated(t), Steps: 10})
			if !errors.Is(err, cuda.ErrOutOfMemory) || got.Failed != 1 || got.FailedBytes == 0 {
				t.Errorf("%v, %d failed calls of %d bytes", err, got.Failed, got.FailedBytes)
			}
		})
	}
}

// TestTrainingLearns needs a real GPU: on the simulated device nothing is computed. With WARPSCOPE_REQUIRE=gpu
// the lack of one is a failure.
func TestTrainingLearns(t *testing.T) {
	d, err := cuda.Open("")
	if err == nil && d.Simulated() {
		err = errors.New("LD_LIBRARY_PATH leads to the simulated device")
	}
	if err != nil {
		if os.Getenv("WARPSCOPE_REQUIRE") == "gpu" {
			t.Fatalf("a GPU is required: %v", err)
		}
		t.Skipf("needs an NVIDIA GPU: %v", err)
	}
	var first, last float32
	counts, err := Run(context.Background(), Config{Driver: d, Steps: 200, Progress: func(s Step) {
		if s.Index == 1 {
			first = s.Loss
		}
		last = s.Loss
	}})
	if err != nil || counts.Simulated || counts.Allocations != counts.Releases {
		t.Fatalf("%+v, %v", counts, err)
	}
	if !(last < first/2) || math.IsNaN(float64(last)) {
		t.Errorf("the loss went from %g to %g in 200 steps", first, last)
	}
	t.Logf("%s: loss from %g to %g", counts.Device, first, last)
}
