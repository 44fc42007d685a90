package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// SampleSummary is what NVML said of a GPU, everybody's work and memory included. Figures that
// NVML did not give are nil.
type SampleSummary struct {
	Count          uint64         `json:"samples"`
	UsedPeakBytes  *int64         `json:"used_peak_bytes,omitempty"`
	UsedLastBytes  *int64         `json:"used_last_bytes,omitempty"`
	ReservedBytes  *int64         `json:"reserved_bytes,omitempty"` // by driver and firmware
	UtilizationPct *float64       `json:"utilization_mean_pct,omitempty"`
	MemoryPct      *float64       `json:"memory_activity_mean_pct,omitempty"`
	SMClockMinMHz  *int64         `json:"sm_clock_min_mhz,omitempty"`
	SMClockMaxMHz  *int64         `json:"sm_clock_max_mhz,omitempty"`
	PowerMaxMW     *int64         `json:"power_max_mw,omitempty"`
	PowerMeanMW    *float64       `json:"power_mean_mw,omitempty"`
	TemperatureMax *int64         `json:"temperature_max_c,omitempty"`
	Throttled      []ThrottleTime `json:"throttled,omitempty"`
	Processes      []ProcessUsage `json:"processes,omitempty"`
}

// ThrottleTime is how many samples saw a reason for a lower clock.
type ThrottleTime struct {
	Reason  string `json:"reason"`
	Samples uint64 `json:"samples"`
}

// ProcessUsage is what NVML said of one process's memory on a GPU.
type ProcessUsage struct {
	PID       int32 `json:"pid"`
	Traced    bool  `json:"traced"`
	PeakBytes int64 `json:"peak_bytes"`
	LastBytes int64 `json:"last_bytes"`
}

// gauge follows a reading that may be absent (negative).
type gauge struct {
	n             uint64
	sum           float64
	min, max, end int64
}

func (g *gauge) add(v int64) {
	if v < 0 {
		return
	}
	if g.n == 0 || v < g.min {
		g.min = v
	}
	g.max = max(g.max, v)
	g.end = v
	g.sum += float64(v)
	g.n++
}

func (g *gauge) value(v int64) *int64 {
	if g.n == 0 {
		return nil
	}
	return &v
}

func (g *gauge) mean() *float64 {
	if g.n == 0 {
		return nil
	}
	v := g.sum / float64(g.n)
	return &v
}

// sampleStats adds up the samples of one GPU.
type sampleStats struct {
	count                                                            uint64
	used, reserved, utilization, activity, clock, power, temperature gauge
	throttle                                                         [64]uint64
	usage                                                            map[int32]*gauge
}

// maxUsages bounds the processes that NVML's readings keep apart on a GPU.
const maxUsages = 4096

func (a *Analysis) addSamples(b *event.Batch) {
	g := &b.GPUSamples
	for i, t := range g.Time {
		dev := a.devices.gpu(g.GPU[i])
		if dev == nil || !a.span.has(t) {
			continue
		}
		s := &dev.samples
		s.count++
		dev.looks.add(t, g.UsedMemory[i], g.ReservedMemory[i])
		s.used.add(g.UsedMemory[i])
		s.reserved.add(g.ReservedMemory[i])
		s.utilization.add(int64(g.Utilization[i]))
		s.activity.add(int64(g.MemoryActivity[i]))
		s.clock.add(int64(g.SMClock[i]))
		s.power.add(int64(g.Power[i]))
		s.temperature.add(int64(g.Temperature[i]))
		if bits := g.Throttle[i]; bits > 0 {
			for bit := range 63 {
				if bits&(1<<bit) != 0 {
					s.throttle[bit]++
				}
			}
		}
	}
	u := &b.Usages
	for i, t := range u.Time {
		dev := a.devices.gpu(u.GPU[i])
		if dev == nil || !a.span.has(t) {
			continue
		}
		traced := slices.ContainsFunc(a.processes, func(p *process) bool { return p.id != 0 && p.info.PID == u.PID[i] })
		dev.looks.process(t, u.PID[i], u.Bytes[i], traced)
		s := &dev.samples
		if s.usage == nil {
			s.usage = make(map[int32]*gauge)
		}
		row := s.usage[u.PID[i]]
		if row == nil {
			if len(s.usage) >= maxUsages {
				continue
			}
			row = &gauge{}
			s.usage[u.PID[i]] = row
		}
		row.add(u.Bytes[i])
	}
}

// idle and the clocks set by applications are reasons for a clock, not for a slow GPU.
func throttleName(bit int) string {
	names := []string{
		"", "", "power cap", "hardware slowdown", "sync boost", "software thermal", "hardware thermal", "power brake", "",
	}
	if bit < len(names) {
		return names[bit]
	}
	return ""
}

func (a *Analysis) sampleSummary(s *sampleStats) *SampleSummary {
	if s.count == 0 && len(s.usage) == 0 {
		return nil
	}
	out := &SampleSummary{
		Count: s.count, UsedPeakBytes: s.used.value(s.used.max), UsedLastBytes: s.used.value(s.used.end),
		ReservedBytes: s.reserved.value(s.reserved.max), UtilizationPct: s.utilization.mean(), MemoryPct: s.activity.mean(),
		SMClockMinMHz: s.clock.value(s.clock.min), SMClockMaxMHz: s.clock.value(s.clock.max),
		PowerMaxMW: s.power.value(s.power.max), PowerMeanMW: s.power.mean(), TemperatureMax: s.temperature.value(s.temperature.max),
	}
	for bit, n := range s.throttle {
		if name := throttleName(bit); n > 0 && name != "" {
			out.Throttled = append(out.Throttled, ThrottleTime{name, n})
		}
	}
	traced := make(map[int32]bool)
	for _, p := range a.tables.Processes() {
		traced[p.PID] = true
	}
	for pid, g := range s.usage {
		if g.n > 0 {
			out.Processes = append(out.Processes, ProcessUsage{PID: pid, Traced: traced[pid], PeakBytes: g.max, LastBytes: g.end})
		}
	}
	slices.SortFunc(out.Processes, func(x, y ProcessUsage) int {
		return cmp.Or(cmp.Compare(y.PeakBytes, x.PeakBytes), cmp.Compare(x.PID, y.PID))
	})
	return out
}
