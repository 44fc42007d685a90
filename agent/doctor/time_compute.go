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
			if c.share(busy) < computeShare {
				return nil, fmt.Sprintf("the GPU computes %s of the time, %s of it matrix multiplication, attention and convolution", percent(c.share(busy)), percent(ratio(heavy, busy)))
			}
			f := &Finding{
				Title: fmt.Sprintf("The GPU computes %s of the time: it is the limit", percent(c.share(busy))), Severity: NoteSev, Confidence: High, Cost: Cost{Source: Measured},
				Evidence: []Evidence{
					c.part("computing", busy), {What: "of it matrix multiplication, attention and convolution", Figure: ratio(heavy, busy), Unit: "share", Source: Measured},
				},
				RuledOut: otherCauses(c),
			}
			if ratio(heavy, busy) >= heavyShare {
				f.Title = fmt.Sprintf("Healthy: the GPU computes %s of the time, mostly in kernels that should dominate", percent(c.share(busy)))
				f.Fix = []Fix{{Change: "only faster kernels make it faster: lower precision (FP8), fewer operations, or a faster GPU", Direction: "replace", Gain: "not measured here"}}
			}
			return f, ""
		},
	}
}

func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
