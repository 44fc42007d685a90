package device

import (
	"sync/atomic"

	"github.com/warpscope/warpscope/agent/event"
)

// fakeDriver stands in for NVML.
type fakeDriver struct {
	gpus   []gpu
	err    error
	hang   chan struct{} // when set, open waits for it
	closed atomic.Int32
}

func (d *fakeDriver) open() ([]gpu, error) {
	if d.hang != nil {
		<-d.hang
	}
	return d.gpus, d.err
}

func (d *fakeDriver) version() string { return "580.0" }

func (d *fakeDriver) close() error {
	d.closed.Add(1)
	return nil
}

// fakeGPU counts how often it was read and reports that as its used memory.
type fakeGPU struct {
	name  string
	reads atomic.Int64
	uses  []usage
	hang  chan struct{} // when set, the second and later reads wait for it
	of    counters      // nil: it is not watched
}

func (g *fakeGPU) describe() event.GPU { return event.GPU{UUID: "GPU-" + g.name, Name: g.name} }

func (g *fakeGPU) read() reading {
	n := g.reads.Add(1)
	if g.hang != nil && n > 1 {
		<-g.hang
	}
	return reading{
		used: n, reserved: 7, utilization: 50, memoryActivity: notAvailable,
		smClock: 1980, memoryClock: 2619, power: 700_000, temperature: notAvailable, throttle: 4,
	}
}

func (g *fakeGPU) processes(to []usage) []usage { return append(to, g.uses...) }

func (g *fakeGPU) monitor() (monitor, error) {
	if g.of == nil {
		return nil, errNoMonitor
	}
	return &windows{of: g.of}, nil
}

func (g *fakeGPU) powerLimits() (now, usual int64) {
	if g.of == nil {
		return notAvailable, notAvailable
	}
	return 500_000, 700_000
}
