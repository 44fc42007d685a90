package doctor

import "fmt"

// input finds a loop that waits for its next batch while the GPU has nothing to do.
func input() Rule {
	return Rule{
		ID: "time.input", What: "the GPU has no work because the next batch is not there yet", needs: []need{needWork, needCalls, needPython},
		judge: func(c *Case) (*Finding, string) {
			lost := c.line("idle-input")
			if c.share(lost) < inputShare {
				return nil, "the GPU is " + c.idle(lost) + ", as far as a DataLoader of PyTorch gives the batches"
			}
			line, samples := c.lines("input", 2)
			return &Finding{
				Title: at("The next batch is not there in time", line), Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: append([]Evidence{
					c.time("GPU idle while the loop waited for a DataLoader's next batch", lost, ""),
				}, samples...),
				Fix: []Fix{{
					Change: "make batches in more worker processes, and ahead of time", Direction: "raise",
					Gain:  fmt.Sprintf("up to %s, estimated: all of it once the workers are as fast as the GPU", c.each(lost)),
					Paste: "DataLoader(dataset, num_workers=8, prefetch_factor=4, persistent_workers=True, pin_memory=True)",
				}, {
					Change: "or make a sample cheaper: decode and transform once beforehand, or on the GPU", Direction: "lower", Gain: "in proportion, not measured here",
				}},
				RuledOut: otherCauses(c, "idle-input"),
			}, ""
		},
	}
}
