package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// throttledSamples is in which part of NVML's readings a reason for a lower clock must stand.
	throttledSamples = 0.10
	// throttledLoss is how much lower the clock must be.
	throttledLoss = 0.03
	// powerLowered is below which part of its default a power limit has been set by somebody.
	powerLowered = 0.97
)

// heldDown returns the reason for a lower clock that most of NVML's readings in the measured steps name, in which part of
// them it stands, and the clock meanwhile; "": there is none that matters.
func (c *Case) heldDown() (reason string, part float64, clock int64) {
	f := &c.Account.Facts
	most := 0
	for name, n := range f.Throttled {
		if n > most || n == most && name < reason {
			reason, most = name, n
		}
	}
	part = float64(most) / float64(max(f.Samples, 1))
	clock = f.ThrottleMHz[reason]
	if part < throttledSamples || 1-float64(clock)/float64(max(f.ClockHighest, 1)) < throttledLoss {
		return "", part, clock
	}
	return reason, part, clock
}

// throttled finds GPUs whose clock is held down by power or heat.
func throttled() Rule {
	return Rule{
		ID: "time.throttled", What: "the GPU's clock is held down by its power cap, heat or hardware", needs: []need{needWork, needSamples},
		judge: func(c *Case) (*Finding, string) {
			f := &c.Account.Facts
			reason, part, clock := c.heldDown()
			if reason == "" {
				return nil, fmt.Sprintf("reasons for a lower clock: %s; it is %d MHz of at most %d", reasons(f), f.ClockMedian, f.ClockHighest)
			}
			loss := 1 - float64(clock)/float64(max(f.ClockHighest, 1))
			lost := int64(float64(c.group(analyze.GroupCompute)) * loss * part)
			out := &Finding{
				Title: fmt.Sprintf("The GPU's clock is held down: %s", reason), Confidence: Low, Cost: c.cost(lost, Estimated),
				Evidence: []Evidence{
					{What: "readings that name " + reason, Figure: part, Unit: "share", Source: Counted, Where: "NVML, in the measured steps: " + reasons(f)},
					{What: "clock meanwhile, median", Figure: float64(clock), Unit: "MHz", Source: Measured},
					{What: "highest clock in the trace", Figure: float64(f.ClockHighest), Unit: "MHz", Source: Measured},
				},
				Fix:      []Fix{throttleFix(reason, c, lost)},
				RuledOut: []string{"kernels that wait for memory lose less than the clock does"},
			}
			if reason != "power cap" {
				return out, ""
			}
			if lowered := f.PowerMW > 0 && float64(f.PowerMW) < powerLowered*float64(f.PowerStandardMW); lowered {
				out.Title = fmt.Sprintf("The GPU's power limit is set to %.0f W of the %.0f it is made for", float64(f.PowerMW)/1e3, float64(f.PowerStandardMW)/1e3)
				out.Evidence = append(out.Evidence, Evidence{What: "power limit", Figure: float64(f.PowerMW) / 1e3, Unit: "W", Source: Measured, Where: fmt.Sprintf("NVML; by default it is %.0f W", float64(f.PowerStandardMW)/1e3)})
				out.Confidence = Medium
				return out, ""
			}
			// Matrix kernels reach the cap of every large GPU: that is its design, and no fault of the program.
			out.Severity = NoteSev
			return out, ""
		},
	}
}

// reasons lists how often NVML's readings name each reason for a lower clock.
func reasons(f *analyze.AccountFacts) string {
	if len(f.Throttled) == 0 {
		return fmt.Sprintf("none in %d NVML readings", f.Samples)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.Throttled)) {
		parts = append(parts, fmt.Sprintf("%s in %d", name, f.Throttled[name]))
	}
	return fmt.Sprintf("%s of %d NVML readings", strings.Join(parts, ", "), f.Samples)
}

func throttleFix(reason string, c *Case, lost int64) Fix {
	gain := fmt.Sprintf("at most %s, if the kernels are bound by the clock; estimated", c.each(lost))
	switch reason {
	case "power cap":
		return Fix{Change: "raise the power limit, if the machine's owner allows it; else accept it: matrix kernels reach the cap by design", Direction: "raise", Gain: gain, Paste: "nvidia-smi -q -d POWER   # limits\nsudo nvidia-smi -pl WATTS"}
	case "software thermal", "hardware thermal":
		return Fix{Change: "cool the GPU better, or lower its power limit so that it stays below the temperature", Direction: "lower", Gain: gain, Paste: "nvidia-smi -q -d TEMPERATURE"}
	}
	return Fix{Change: "have power supply and cooling of the machine checked", Direction: "replace", Gain: gain, Paste: "nvidia-smi -q -d PERFORMANCE"}
}
