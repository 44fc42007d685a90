package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// dependencyShare is from which part of a step on waits of streams for one another are a finding,
	// smallShare from which on kernels that cannot fill half of the GPU are.
	dependencyShare = 0.03
	smallShare      = 0.40
	// smallKernels is how many kernels that takes.
	smallKernels = 100
)

// serialised finds work that runs one after the other and could run at once.
func serialised() Rule {
	return Rule{
		ID: "time.serialised", What: "streams that wait for one another, kernels too small to fill the GPU that run alone", needs: []need{needWork, needCalls},
		judge: func(c *Case) (*Finding, string) {
			f, waits := &c.Account.Facts, c.line("idle-dependency")
			busy := c.group(analyze.GroupCompute)
			small := f.SmallKnown && f.Kernels >= smallKernels && c.share(busy) >= 0.5 && c.share(f.SmallNS) >= smallShare
			if l, _, _ := c.limits(); l != nil && l.ofMemory >= memoryBound {
				small = false // few blocks are enough to keep the memory busy
			}
			if c.share(waits) < dependencyShare && !small {
				text := "queued work does not wait for other streams; the GPU is " + c.idle(waits)
				if f.SmallKnown {
					text += fmt.Sprintf("; kernels too small to fill the GPU run alone for %s", percent(c.share(f.SmallNS)))
				}
				return nil, text
			}
			out := &Finding{
				Title: "Work is queued, and the GPU does not start it: it waits for other work", Confidence: Medium, Cost: c.cost(waits, Measured),
				Evidence: []Evidence{
					c.time("GPU idle although work was queued: it waits for another stream, an event, or a node of its CUDA graph", waits, ""),
					{What: "streams that compute", Figure: float64(f.Streams), Unit: "count", Source: Counted},
				},
				Fix: []Fix{{
					Change: "wait for less: record the event right after what is needed, and wait for it where it is needed", Direction: "replace",
					Gain: fmt.Sprintf("up to %s, estimated", c.each(waits)),
				}},
				RuledOut: otherCauses(c, "idle-dependency"),
			}
			if f.AllStreams == 1 && f.GraphLaunch == 0 {
				// Nothing of this program's own can be what it waits for.
				out.Title, out.Confidence = "Work is queued, and the GPU does not start it: another program uses it", Low
				out.Fix = []Fix{{Change: "give the program a GPU of its own, or share it through MPS: without, the GPU runs one process at a time", Direction: "replace", Gain: fmt.Sprintf("up to %s, estimated", c.each(waits)), Paste: "nvidia-smi   # who else"}}
				out.RuledOut = append(out.RuledOut, "waits between streams: the program uses one")
			}
			out.Evidence = append(out.Evidence, c.places("dependency", 3)...)
			if !small {
				return out, ""
			}
			out.Evidence = append(out.Evidence, c.part("time in which one kernel ran alone that has blocks for half of the GPU's multiprocessors, or for fewer", f.SmallNS))
			fill := Fix{
				Change: "give each kernel more to do (a larger batch), or run independent parts on several streams or as branches of a CUDA graph", Direction: "raise",
				Gain: "not measured: it depends on how much is independent",
			}
			if c.share(waits) < dependencyShare {
				out.Title, out.Confidence, out.Severity = "Kernels too small to fill the GPU run one after the other", Medium, Warning
				out.Fix = []Fix{fill}
			} else {
				out.Fix = append(out.Fix, fill)
			}
			return out, ""
		},
	}
}
