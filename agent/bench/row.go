package bench

import (
	"fmt"
	"math"

	"github.com/warpscope/warpscope/agent/ceilings"
)

// Row is one measurement, verified before it was timed.
type Row struct {
	Suite      string        `json:"suite"`
	What       string        `json:"what"`
	Shape      string        `json:"shape,omitempty"`
	Element    string        `json:"element,omitempty"`
	Kernel     string        `json:"kernel,omitempty"`
	Times      Times         `json:"seconds"`
	Operations float64       `json:"operations"` // one run's; 0: it only moves bytes
	Bytes      float64       `json:"bytes"`      // the least that one run moves
	Peak       ceilings.Kind `json:"peak,omitempty"`
	Memory     ceilings.Kind `json:"memory,omitempty"`
	Verified   Verification  `json:"verified"`
	Judgement  Judgement     `json:"judgement"`
	Throttled  []string      `json:"throttled,omitempty"` // reasons, by NVML, while it ran
	Failure    string        `json:"failure,omitempty"`   // why there is nothing to judge
}

// Verification is how far a result was from what it should be.
type Verification struct {
	Method  string  `json:"method"`         // what it was compared with
	Error   float64 `json:"relative_error"` // the norm of the difference over the norm of what was wanted
	Allowed float64 `json:"allowed"`
	Bad     uint64  `json:"not_finite"` // elements
}

// Err says what is wrong with the result. NaN, as error or as element, never passes.
func (v Verification) Err() error {
	switch {
	case v.Bad > 0:
		return fmt.Errorf("%d elements are not finite", v.Bad)
	case !(v.Error <= v.Allowed):
		return fmt.Errorf("relative error %.3g, allowed %.3g", v.Error, v.Allowed)
	}
	return nil
}

// Bound is what keeps a measurement from being faster.
type Bound string

// The bounds.
const (
	ByCompute Bound = "compute"
	ByMemory  Bound = "memory"
	ByLatency Bound = "latency" // neither: launching, waiting
)

// Judgement is a rate against what the GPU can do. A share of 0 is unknown.
type Judgement struct {
	Rate        float64 `json:"rate"` // operations a second, or bytes where there are none
	Unit        string  `json:"unit"` // "op/s" or "B/s"
	Bound       Bound   `json:"bound"`
	Roof        float64 `json:"roof"`         // the most that the measured ceilings allow, in the same unit
	OfRoof      float64 `json:"of_roof"`      // share of it
	OfDatasheet float64 `json:"of_datasheet"` // share of what the datasheet allows
}

// over is the share of a measured ceiling from which a rate is no success but a mistake in what was counted.
const over = 1.05

// Judge fills in the judgement from what was measured on this GPU and from its datasheet; either may be empty. It returns an
// error if the row claims more than the ceiling allows: then bytes or operations were miscounted, or nothing was done.
func (r *Row) Judge(measured, sheet ceilings.Set) error {
	r.Judgement = Judgement{Bound: ByLatency}
	if r.Failure != "" || !(r.Times.Median > 0) {
		return nil
	}
	j := &r.Judgement
	j.Rate, j.Unit = r.Operations/r.Times.Median, "op/s"
	if r.Operations == 0 {
		j.Rate, j.Unit = r.Bytes/r.Times.Median, "B/s"
	}
	roof, bound := r.roof(measured)
	if limit, by := r.roof(sheet); limit > 0 {
		j.OfDatasheet = j.Rate / limit
		if bound == "" {
			bound = by
		}
	}
	if bound != "" {
		j.Bound = bound
	}
	if roof > 0 {
		j.Roof, j.OfRoof = roof, j.Rate/roof
	}
	if j.OfRoof > over {
		return fmt.Errorf("%s %s: %.0f %% of the measured ceiling: an error in what was counted", r.What, r.Shape, 100*j.OfRoof)
	}
	return nil
}

// roof is the most that the ceilings allow, in the row's unit, and by what; 0 if they do not say.
func (r *Row) roof(set ceilings.Set) (float64, Bound) {
	memory, knowsMemory := set.Rate(r.Memory)
	if r.Operations == 0 {
		if !knowsMemory {
			return 0, ""
		}
		return memory, ByMemory
	}
	peak, knowsPeak := set.Rate(r.Peak)
	if !knowsPeak {
		return 0, ""
	}
	if knowsMemory && r.Bytes > 0 {
		if limit := memory * r.Operations / r.Bytes; limit < peak {
			return limit, ByMemory
		}
	}
	return peak, ByCompute
}

// Intensity is operations a byte; infinite where no bytes are counted.
func (r *Row) Intensity() float64 {
	if r.Bytes == 0 {
		return math.Inf(1)
	}
	return r.Operations / r.Bytes
}
