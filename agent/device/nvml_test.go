package device

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/warpscope/warpscope/agent/event"
)

func TestCheckNeverLetsACodeThrough(t *testing.T) {
	if err := check("nvmlInit", nvml.SUCCESS); err != nil {
		t.Errorf("success is the error %v", err)
	}
	for ret := nvml.ERROR_UNINITIALIZED; ret < nvml.ERROR_GPU_NOT_FOUND; ret++ {
		err := check("nvmlInit", ret)
		if err == nil || err.Error() == "" {
			t.Fatalf("code %d is no error", int(ret))
		}
		var code nvml.Return
		if errors.As(err, &code) {
			t.Errorf("code %d escapes in %v", int(ret), err)
		}
	}
}

func TestClampTurnsNotAvailableIntoMinusOne(t *testing.T) {
	for _, c := range []struct {
		in   uint64
		want int64
	}{{0, 0}, {80 << 30, 80 << 30}, {math.MaxInt64, math.MaxInt64}, {math.MaxUint64, -1}} {
		if got := clamp(c.in); got != c.want {
			t.Errorf("clamp(%d) = %d, want %d", c.in, got, c.want)
		}
	}
}

func TestAskGivesUpWhatIsNotSupported(t *testing.T) {
	g := &nvmlGPU{}
	for _, c := range []struct {
		ret  nvml.Return
		asks int
	}{{nvml.ERROR_NOT_SUPPORTED, 1}, {nvml.ERROR_UNKNOWN, 3}} {
		g.gone = [readings]bool{}
		asks := 0
		for range 3 {
			if v := g.value(readPower, func() (uint32, nvml.Return) { asks++; return 5, c.ret }); v != -1 {
				t.Errorf("%v: value %d, want -1", c.ret, v)
			}
		}
		if asks != c.asks {
			t.Errorf("%v: asked %d times, want %d", c.ret, asks, c.asks)
		}
	}
}

// TestRealNVML runs where there is a GPU, and where there is none holds the sentence to its word.
func TestRealNVML(t *testing.T) {
	s, err := Open()
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("no GPU here, and it is said so: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ids := make([]event.GPUID, len(s.GPUs()))
	for i, g := range s.GPUs() {
		ids[i] = event.GPUID(i + 1)
		t.Logf("%+v, driver %s", g, s.Driver())
		if g.UUID == "" || g.Name == "" || g.Memory == 0 {
			t.Errorf("GPU %d is not described: %+v", i, g)
		}
	}
	var last event.Batch
	p, err := NewSampler(s, Config{GPUs: ids, Emit: func(b *event.Batch) error { last = clone(b); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v\n%+v", last.GPUSamples, last.Usages)
	for i := range last.GPUSamples.Time {
		if last.GPUSamples.UsedMemory[i] < 0 {
			t.Errorf("sample %d has no used memory", i)
		}
	}
}

// BenchmarkRead is what one look at one GPU costs; it needs a GPU.
func BenchmarkRead(b *testing.B) {
	s, err := Open()
	if err != nil {
		b.Skip(err)
	}
	defer s.Close()
	g := s.gpus[0].(*nvmlGPU)
	b.Run("all", func(b *testing.B) {
		var u []usage
		for b.Loop() {
			g.read()
			u = g.processes(u[:0])
		}
	})
	for what, f := range map[string]func(){
		"memory":      func() { g.memory() },
		"utilization": func() { g.dev.GetUtilizationRates() },
		"clock":       func() { g.dev.GetClockInfo(nvml.CLOCK_SM) },
		"power":       func() { g.dev.GetPowerUsage() },
		"temperature": func() { g.dev.GetTemperature(nvml.TEMPERATURE_GPU) },
		"throttle":    func() { g.dev.GetCurrentClocksEventReasons() },
		"processes":   func() { g.processes(nil) },
	} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
