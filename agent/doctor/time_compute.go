package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// computeShare is how busy the GPU must be to be called so.
	computeShare = 0.95
	// heavyShare is the part of matrix multiplication, attention and convolution that makes it healthy.
	heavyShare = 0.5
)

// compute says that the GPU has work all the time: whatever makes it faster makes the kernels faster.
func compute() Rule {
	return Rule{
		ID: "time.compute", What: "the GPU computes all the time", needs: []need{needWork},
		judge: func(c *Case) (*Finding, string) {
			busy := c.group(analyze.GroupCompute)
			heavy := c.line("matmul") + c.line("attention") + c.line("convolution")
			l, unknown, _ := c.limits()
			if c.share(busy) < computeShare {
				text := fmt.Sprintf("the GPU computes %s of the time, %s of it matrix multiplication, attention and convolution", percent(c.share(busy)), percent(ratio(heavy, busy)))
				if l != nil {
					text += "; " + l.near()
				}
				return nil, text
			}
			f := &Finding{
				verdict: true, Title: fmt.Sprintf("The GPU computes %s of the time: it is the limit", percent(c.share(busy))), Severity: NoteSev, Confidence: High, Cost: Cost{Source: Measured},
				Evidence: []Evidence{
					c.part("computing", busy), {What: "of it matrix multiplication, attention and convolution", Figure: ratio(heavy, busy), Unit: "share", Source: Measured},
				},
				RuledOut: otherCauses(c),
			}
			faster := Fix{Change: "only faster kernels make it faster: lower precision (FP8), fewer operations, or a faster GPU", Direction: "replace", Gain: "not measured here"}
			if l == nil {
				if ratio(heavy, busy) >= heavyShare {
					f.Title = fmt.Sprintf("Healthy: the GPU computes %s of the time, mostly in kernels that should dominate", percent(c.share(busy)))
					f.Fix = []Fix{faster}
				}
				f.RuledOut = append(f.RuledOut, "how near its ceilings it is, is not known: "+unknown)
				return f, ""
			}
			f.Evidence = append(f.Evidence, l.evidence()...)
			f.Evidence = append(f.Evidence, c.clocks()...)
			switch {
			case l.operations <= 0 && l.ofMemory < memoryBound:
				f.RuledOut = append(f.RuledOut, "how much arithmetic a busy clock does on this GPU is not known: it may or may not be near that ceiling")
			case l.ofMemory >= memoryBound && l.ofMemory >= l.ofCompute:
				return nil, "memory is the limit (time.bandwidth); " + l.near()
			case l.ofCompute >= computeBound:
				f.Title = fmt.Sprintf("Healthy: compute-bound at about %s of the ceiling: %s of %s", percent(l.ofCompute), operationsRate(l.operations), operationsRate(l.compute.PerSecond))
				f.Confidence, f.Fix = Medium, []Fix{faster}
			default:
				f.Title = fmt.Sprintf("The GPU computes %s of the time, and comes near no ceiling: %s", percent(c.share(busy)), l.near())
				f.Confidence = Medium
				f.Fix = []Fix{{
					Change: "find the kernels that fall short: warpscope inspect --account lists them by class; larger batches and shapes in multiples of 64 help those of few blocks", Direction: "raise", Gain: "not measured here",
				}}
			}
			f.beware(c)
			return f, ""
		},
	}
}

// clocks is evidence of a clock that power, heat or hardware hold down.
func (c *Case) clocks() []Evidence {
	reason, part, clock := c.heldDown()
	if reason == "" {
		return nil
	}
	return []Evidence{{What: fmt.Sprintf("clock, held down by %s in %s of the readings", reason, percent(part)), Figure: float64(clock), Unit: "MHz", Source: Measured, Where: fmt.Sprintf("of at most %d in the trace", c.Account.Facts.ClockHighest)}}
}

func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
