package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// bandwidth says that the GPU's memory is what limits the steps.
func bandwidth() Rule {
	return Rule{
		ID: "time.bandwidth", What: "the GPU's memory is at its ceiling", needs: []need{needWork, needLimits},
		judge: func(c *Case) (*Finding, string) {
			l, _, _ := c.limits()
			busy := c.group(analyze.GroupCompute)
			if l.ofMemory < memoryBound || l.ofMemory < l.ofCompute {
				return nil, l.near()
			}
			passes := c.Account.Facts.ChainNS - c.Account.Facts.ChainFusedNS
			f := &Finding{
				verdict: true, Severity: NoteSev, Confidence: High, Cost: Cost{Source: Measured},
				Title:    fmt.Sprintf("Bandwidth-bound at %s of the ceiling: %s of %s", percent(l.ofMemory), bytesRate(l.bytes), bytesRate(l.memory.PerSecond)),
				Evidence: append([]Evidence{c.part("computing", busy)}, l.evidence()...),
				Fix: []Fix{{
					Change:    "only fewer bytes make it faster: smaller types for what is read most, fewer passes over the same data, more work for each byte (a larger batch where weights are read for each token)",
					Direction: "lower", Gain: "in proportion to the bytes saved",
				}},
				RuledOut: otherCauses(c),
			}
			if c.share(passes) < unfusedGain {
				f.Title = "Healthy: b" + f.Title[1:]
			}
			f.beware(c)
			return f, ""
		},
	}
}
