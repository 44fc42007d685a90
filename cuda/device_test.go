package cuda

import (
	"os"
	"os/exec"
	"testing"
)

// simulatedPath is where make puts the simulated driver, seen from this folder.
const simulatedPath = "../cupti/sim/lib/libcuda.so.1"

// TestSimulated runs every call of the package on the simulated device, in a process of its own: once loaded, its
// libcuda.so.1 would be taken for the real one.
func TestSimulated(t *testing.T) {
	const child = "WARPSCOPE_TEST_SIMULATED"
	if os.Getenv(child) == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestSimulated$", "-test.v")
		c.Env = append(os.Environ(), child+"=1")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	if _, err := os.Stat(simulatedPath); err != nil {
		t.Fatalf("the simulated device is not built (run make build): %v", err)
	}
	d, err := Open(simulatedPath)
	if err != nil {
		t.Fatal(err)
	}
	if !d.Simulated() {
		t.Fatal("the simulated device does not say that it is simulated")
	}
	exercise(t, d)
}

// TestGPU runs every call of the package on a real GPU, and checks what the kernels compute. With
// WARPSCOPE_REQUIRE=gpu the lack of a GPU is a failure. The compiled test (go test -c) needs nothing beside itself.
func TestGPU(t *testing.T) {
	d, err := Open("")
	if err != nil {
		if os.Getenv("WARPSCOPE_REQUIRE") == "gpu" {
			t.Fatalf("a GPU is required: %v", err)
		}
		t.Skipf("needs an NVIDIA GPU: %v", err)
	}
	if d.Simulated() {
		t.Fatal("LD_LIBRARY_PATH leads to the simulated device: this test is about the real one")
	}
	exercise(t, d)
}
