package kernels

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/warpscope/warpscope/cuda"
)

// TestLoopLaunchesOnTheSimulatedDevice runs in a process of its own: once loaded, the simulated libcuda.so.1 would be
// taken for the real one.
func TestLoopLaunchesOnTheSimulatedDevice(t *testing.T) {
	const child, path = "WARPSCOPE_TEST_SIMULATED", "../cupti/sim/lib/libcuda.so.1"
	if os.Getenv(child) == "" {
		if _, err := os.Stat(path); err != nil && os.Getenv("WARPSCOPE_REQUIRE") == "gpu" {
			t.Skip("the GPU bundle has no simulated device")
		}
		c := exec.Command(os.Args[0], "-test.run=^TestLoopLaunchesOnTheSimulatedDevice$", "-test.v")
		c.Env = append(os.Environ(), child+"=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	d, err := cuda.Open(path)
	if err != nil {
		t.Fatalf("the simulated device is not built (run make build): %v", err)
	}
	device, err := d.Device(0)
	if err != nil {
		t.Fatal(err)
	}
	loops(t, d, device, false)
}

// TestLoopLaunchesAsOftenAsItSays counts on the device.
func TestLoopLaunchesAsOftenAsItSays(t *testing.T) {
	d, device := gpu(t)
	loops(t, d, device, true)
}

func loops(t *testing.T, d *cuda.Driver, device cuda.Device, counts bool) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := device.PrimaryContext()
	must(err)
	must(c.Do(func() error {
		m, err := Latency().Load(d, device)
		must(err)
		s, err := d.NewStream(cuda.StreamConfig{})
		must(err)
		count, err := d.Alloc(4)
		must(err)
		must(d.CopyToDevice(count, make([]byte, 4)))
		l := Launch{Kernel: "latency_count", Args: []cuda.Arg{cuda.Address(count)}}
		f, err := l.Prepare(m)
		must(err)
		loop, err := l.Loop(s, f)
		must(err)
		took, err := loop.Run(1000)
		must(errors.Join(err, s.Synchronize()))
		if took <= 0 {
			t.Errorf("1000 launches took %v", took)
		}
		got := make([]byte, 4)
		must(d.CopyToHost(got, count))
		if n := binary.LittleEndian.Uint32(got); counts && n != 1000 {
			t.Errorf("1000 launches added %d", n)
		}
		wait, err := s.SynchronizeCall()
		must(err)
		took, err = loop.RunThen(10, wait)
		must(err)
		waits, err := NewSeries(wait, wait)
		must(err)
		more, err := waits.Run(10)
		must(err)
		if took <= 0 || more <= 0 {
			t.Errorf("10 launches with a wait each took %v, 20 waits %v", took, more)
		}
		must(d.CopyToHost(got, count))
		if n := binary.LittleEndian.Uint32(got); counts && n != 1010 {
			t.Errorf("1010 launches added %d", n)
		}
		l.Config.Block = cuda.Dim{4096} // more threads than any GPU allows
		loop, err = l.Loop(s, f)
		must(err)
		if _, err := loop.Run(1); !errors.Is(err, cuda.ErrInvalidValue) {
			t.Errorf("a block of 4096 threads: %v", err)
		}
		return errors.Join(d.Free(count), s.Close(), m.Close())
	}))
	must(c.Close())
}
