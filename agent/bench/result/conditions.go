package result

import "slices"

// Conditions is what NVML said while a row ran. A value of 0 is not known.
type Conditions struct {
	Samples     int      `json:"samples"`
	ClockMin    int32    `json:"sm_clock_min_mhz,omitempty"`
	Clock       int32    `json:"sm_clock_median_mhz,omitempty"`
	ClockAfter  int32    `json:"sm_clock_after_mhz,omitempty"` // measured on the GPU itself, right after
	Below       float64  `json:"clock_below,omitempty"`        // by which share that is lower than the highest clock of the run
	MemoryClock int32    `json:"memory_clock_median_mhz,omitempty"`
	Power       int32    `json:"power_max_mw,omitempty"` // NVML's average over about a second
	Temperature int32    `json:"temperature_max_c,omitempty"`
	Throttled   []string `json:"throttled,omitempty"` // reasons for a lower clock
	Busy        bool     `json:"busy,omitempty"`      // another process used the GPU when the run began
}

// Sample is one reading of NVML; -1 is not known.
type Sample struct {
	Clock, MemoryClock int32 // MHz
	Power              int32 // mW
	Temperature        int32 // °C
	Reasons            int64 // bits of nvmlClocksEventReasons
}

// reasons are the bits that hold a clock down. Idleness (1) and clocks that somebody chose (2) are none.
var reasons = []struct {
	bit  int64
	name string
}{
	{0x4, "power cap"}, {0x8, "hardware slowdown"}, {0x10, "sync boost"}, {0x20, "software thermal"}, {0x40, "hardware thermal"}, {0x80, "power brake"},
}

// ConditionsOf sums up samples.
func ConditionsOf(samples []Sample) Conditions {
	c := Conditions{Samples: len(samples)}
	var clocks, memory []int32
	bits := int64(0)
	for _, s := range samples {
		if s.Clock > 0 {
			clocks = append(clocks, s.Clock)
		}
		if s.MemoryClock > 0 {
			memory = append(memory, s.MemoryClock)
		}
		c.Power, c.Temperature = max(c.Power, s.Power), max(c.Temperature, s.Temperature)
		if s.Reasons > 0 {
			bits |= s.Reasons
		}
	}
	if len(clocks) > 0 {
		c.ClockMin = slices.Min(clocks)
	}
	c.Clock, c.MemoryClock = middle(clocks), middle(memory)
	for _, r := range reasons {
		if bits&r.bit != 0 {
			c.Throttled = append(c.Throttled, r.name)
		}
	}
	return c
}

// LowerClock is what holds a clock down where nobody says why.
const LowerClock = "lower clock"

// steady is how far the clock may fall without being lower: it has steps of 0.8 %, and the GPU's own is right to about 1 %.
const steady = 0.02

// Slowed reports whether the clock was held down by more than a step or two; where nobody knows by how much, whether it was.
func (c *Conditions) Slowed() bool {
	return len(c.Throttled) > 0 && (c.ClockAfter == 0 || c.Below > steady)
}

// Lowered says how far below the highest clock of the run each was, by the GPU's own clock, and flags what was well below without a reason from NVML:
// it looks ten times a second, and a burst is shorter.
func Lowered(of []*Conditions) {
	highest := int32(0)
	for _, c := range of {
		highest = max(highest, c.Clock)
	}
	for _, c := range of {
		if c.ClockAfter <= 0 || highest <= 0 {
			continue
		}
		c.Below = max(0, 1-float64(c.ClockAfter)/float64(highest))
		if c.Below > steady && len(c.Throttled) == 0 {
			c.Throttled = []string{LowerClock}
		}
	}
}

func middle(v []int32) int32 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}
