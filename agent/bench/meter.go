package bench

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/device"
	"github.com/warpscope/warpscope/agent/event"
)

// meterInterval is between two readings of NVML: a burst of 50 ms gets a few of them.
const meterInterval = 10 * time.Millisecond

// busyFrom is the utilisation, in percent of the last second, from which somebody else is at work.
const busyFrom = 5

// meter reads clocks, power, temperature and reasons for throttling all the while.
type meter struct {
	system  *device.System
	sampler *device.Sampler

	mu      sync.Mutex
	times   []event.Time
	samples []result.Sample
}

// start is how the meter found the GPU.
type start struct {
	driver      string
	others      []result.Process
	used        int64 // bytes of memory, everybody's
	utilization int32 // percent of the time just before
}

// somebody is the memory that is used where anybody has a context: NVML does not show a container the processes of another one.
const somebody = 256 << 20

// busy says whether somebody else is at work. What was used by nobody who is still there is idle now.
func (s start) busy() bool {
	return s.utilization >= busyFrom && (len(s.others) > 0 || s.used >= somebody)
}

// startMeter begins to read; it must come before this process has a context, so that whoever uses the GPU is somebody else.
func startMeter(uuid string) (m *meter, found start, err error) {
	system, err := device.Open()
	if err != nil {
		return nil, found, err
	}
	m = &meter{system: system}
	ids := make([]event.GPUID, len(system.GPUs()))
	mine := event.GPUID(0)
	for i, g := range system.GPUs() {
		ids[i] = event.GPUID(i + 1)
		if g.UUID == uuid {
			mine = ids[i]
		}
	}
	first := true
	m.sampler, err = device.NewSampler(system, device.Config{Interval: meterInterval, GPUs: ids, Emit: func(b *event.Batch) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		s := &b.GPUSamples
		for i, id := range s.GPU {
			if id != mine {
				continue
			}
			if first {
				found.utilization, found.used = s.Utilization[i], s.UsedMemory[i]
			}
			m.times = append(m.times, s.Time[i])
			m.samples = append(m.samples, result.Sample{
				Clock: s.SMClock[i], MemoryClock: s.MemoryClock[i], Power: s.Power[i], Temperature: s.Temperature[i], Reasons: s.Throttle[i],
			})
		}
		if first {
			found.others = processes(&b.Usages, mine)
		}
		first = false
		return nil
	}})
	if err != nil {
		return nil, found, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found.driver = system.Driver()
	return m, found, nil
}

// processes are the users of a GPU but this process.
func processes(u *event.Usages, gpu event.GPUID) []result.Process {
	var out []result.Process
	for i, id := range u.GPU {
		if id == gpu && u.PID[i] != int32(os.Getpid()) {
			out = append(out, result.Process{PID: u.PID[i], Bytes: uint64(max(u.Bytes[i], 0))})
		}
	}
	return out
}

// close ends the readings; all that were made are there afterwards.
func (m *meter) close() error {
	if m == nil {
		return nil
	}
	if err := m.sampler.Close(); err != nil {
		return err // NVML hangs: its connection must be left alone
	}
	return m.system.Close()
}

// between sums up what was read from one moment to another; with nothing in between, the reading after.
func (m *meter) between(from, to event.Time) result.Conditions {
	if m == nil {
		return result.Conditions{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var in []result.Sample
	for i, t := range m.times {
		if t >= from && t <= to || t > to && len(in) == 0 {
			in = append(in, m.samples[i])
		}
		if t > to {
			break
		}
	}
	return result.ConditionsOf(in)
}

// monotonic is CLOCK_MONOTONIC, the clock of NVML's readings.
func monotonic() event.Time {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return event.Time(t.Nano())
}

// span is when something was measured, and where its conditions belong.
type span struct {
	into     *result.Conditions
	from, to event.Time
}
