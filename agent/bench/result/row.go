package result

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/warpscope/warpscope/agent/ceilings"
)

// Row is one measurement, verified before it was timed. Times are of one run of it, or where Steps says so of one step: a
// launch of many in a row, a link of a chain.
type Row struct {
	Suite      string        `json:"suite"`
	What       string        `json:"what"`
	Shape      string        `json:"shape,omitempty"`
	Element    string        `json:"element,omitempty"`
	Kernel     string        `json:"kernel,omitempty"`
	Steps      int           `json:"steps,omitempty"` // of one run, by which its time was divided; 0: it is whole
	Times      Times         `json:"seconds"`         // burst: about 50 ms, after a pause
	Operations float64       `json:"operations"`      // one run's; 0: it only moves bytes
	Bytes      float64       `json:"bytes"`           // what one run moves, whole sectors where only parts of them are used
	Useful     float64       `json:"useful,omitempty"`
	Scratch    uint64        `json:"scratch_bytes,omitempty"` // device memory beside inputs and outputs
	Peak       ceilings.Kind `json:"peak,omitempty"`
	Memory     ceilings.Kind `json:"memory,omitempty"`
	Limit      string        `json:"limit,omitempty"` // what bounds it, where that is neither a peak nor memory
	Verified   Verification  `json:"verified"`
	Judgement  Judgement     `json:"judgement"`
	Conditions Conditions    `json:"conditions"`
	Sustained  *Sustained    `json:"sustained,omitempty"`
	Reference  *Reference    `json:"reference,omitempty"`
	Traced     *Times        `json:"traced_seconds,omitempty"`     // the same runs as CUPTI saw them: sample by sample, from the first one's start to the last one's end
	TracedPart *Times        `json:"traced_over_events,omitempty"` // of the same sample's time by events
	Notes      []string      `json:"notes,omitempty"`
	Took       float64       `json:"took_seconds"`      // to prepare, verify and time it
	Skipped    string        `json:"skipped,omitempty"` // why this GPU does not run it
	Failure    string        `json:"failure,omitempty"` // why there is nothing to judge, or what is wrong with it
}

// Key identifies what was measured, for comparisons.
func (r *Row) Key() string { return r.Suite + "|" + r.What + "|" + r.Shape + "|" + r.Element }

// Verification is how far a result was from what it should be.
type Verification struct {
	Method  string   `json:"method,omitempty"` // what it was compared with
	Error   Distance `json:"relative_error"`   // the norm of the difference over the norm of what was wanted; 1 for a sum that is wrong
	Allowed Distance `json:"allowed"`
	Bad     uint64   `json:"not_finite"` // elements
}

// Distance is a relative error. JSON has no NaN and no infinity: they are null there, and null is NaN here.
type Distance float64

// MarshalJSON implements json.Marshaler.
func (d Distance) MarshalJSON() ([]byte, error) {
	if f := float64(d); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(d))
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Distance) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*d = Distance(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(d))
}

// Err says what is wrong with the result. NaN, as error or as element, never passes; neither does what was never compared.
func (v Verification) Err() error {
	switch {
	case v.Method == "":
		return fmt.Errorf("the result was not verified")
	case v.Bad > 0:
		return fmt.Errorf("%d elements are not finite", v.Bad)
	case !(v.Error <= v.Allowed):
		return fmt.Errorf("relative error %.3g, allowed %.3g", v.Error, v.Allowed)
	}
	return nil
}

// Sustained is the same work run without a pause for a while.
type Sustained struct {
	Seconds    float64    `json:"for_seconds"`
	Times      Times      `json:"seconds"` // of one run
	Rate       float64    `json:"rate"`
	Conditions Conditions `json:"conditions"`
}

// Reference is a library's way to do the same on the same buffers, in turns with ours (A B B A).
type Reference struct {
	Library    string       `json:"library"`
	Ours       Times        `json:"ours_seconds"`
	Theirs     Times        `json:"theirs_seconds"`
	Ratio      Times        `json:"ratio"`                        // theirs over ours, pair by pair: above 1 we are faster
	First      *Times       `json:"first_choice_ratio,omitempty"` // to what the library chooses itself, where that is slower than what was compared
	Verified   Verification `json:"verified"`
	Conditions Conditions   `json:"conditions"` // of the comparison: another moment than that of the row's own times
	Failure    string       `json:"failure,omitempty"`
}

// Bound is what keeps a measurement from being faster.
type Bound string

// The bounds. A row that reaches less than half of its roof is held back by something else.
const (
	ByCompute Bound = "compute"
	ByMemory  Bound = "memory"
	ByLatency Bound = "latency"
)

// ByHost is the Limit of copies from and to memory that is not page-locked: a part of their time the GPU does not see.
const ByHost = "host copies"

// ByPattern is the Limit of accesses that use little of the sectors which memory moves for them.
const ByPattern = "access pattern"

// Judgement is a rate against what the GPU can do. A share of 0 is unknown.
type Judgement struct {
	Rate        float64         `json:"rate"`           // operations a second, or bytes moved where there are none
	Useful      float64         `json:"useful_rate"`    // useful bytes a second, where they are not the moved ones
	Unit        string          `json:"unit,omitempty"` // "op/s" or "B/s"; "": it has a time alone
	Bound       Bound           `json:"bound"`
	Roof        float64         `json:"roof"`                  // the most that the measured ceilings allow, in the same unit
	RoofSource  ceilings.Source `json:"roof_source,omitempty"` // measured, or nothing
	OfRoof      float64         `json:"of_roof"`               // share of it
	OfDatasheet float64         `json:"of_datasheet"`          // share of what the datasheet allows
}

// over is the share of a ceiling from which a rate is no success but a mistake in what was counted.
const over = 1.05

// Judge fills in the judgement from what was measured on this GPU and from its datasheet; either may be empty. It returns an
// error if the row claims more than a ceiling allows: then bytes or operations were miscounted, or nothing was done.
func (r *Row) Judge(measured, sheet ceilings.Set) error {
	r.Judgement = Judgement{Bound: ByLatency}
	if r.Failure != "" || !(r.Times.Median > 0) || r.Operations == 0 && r.Bytes == 0 {
		return nil
	}
	j := &r.Judgement
	j.Rate, j.Unit = r.rate(r.Times.Median)
	if r.Useful > 0 {
		j.Useful = r.Useful / r.Times.Median
	}
	if s := r.Sustained; s != nil && s.Times.Median > 0 {
		s.Rate, _ = r.rate(s.Times.Median)
	}
	roof, bound := r.roof(measured)
	limit, by := r.roof(sheet)
	if limit > 0 {
		j.OfDatasheet = j.Rate / limit
	}
	if roof > 0 {
		j.Roof, j.OfRoof, j.RoofSource = roof, j.Rate/roof, ceilings.Measured
	} else {
		bound = by
	}
	if share := max(j.OfRoof, j.OfDatasheet); bound != "" && share >= 0.5 {
		j.Bound = bound
	}
	for _, c := range []struct {
		share float64
		of    string
	}{{j.OfRoof, "the measured ceiling"}, {j.OfDatasheet, "the datasheet"}} {
		if c.share > over {
			return fmt.Errorf("accounting error: %.0f %% of %s, so something was miscounted or not done", 100*c.share, c.of)
		}
	}
	return nil
}

func (r *Row) rate(seconds float64) (rate float64, unit string) {
	if r.Operations == 0 {
		return r.Bytes / seconds, "B/s"
	}
	return r.Operations / seconds, "op/s"
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
