package doctor

import "fmt"

// allocatorShare is from which part of a step on the driver's allocator is a finding.
const allocatorShare = 0.01

// allocator finds steps that take memory from the driver, or give it back, while the GPU waits.
func allocator() Rule {
	return Rule{
		ID: "time.allocator", What: "the driver takes or gives back memory within a step", needs: []need{needWork, needCalls},
		judge: func(c *Case) (*Finding, string) {
			lost, f := c.line("idle-allocator"), &c.Account.Facts
			if c.share(lost) < allocatorShare {
				return nil, fmt.Sprintf("driver calls about memory: %s; the GPU is %s", c.often(f.Allocations), c.idle(lost))
			}
			line, samples := c.lines("allocator", 2)
			out := &Finding{
				Title: at("Memory is taken from the driver or given back "+c.within(), line), Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("GPU idle during such calls", lost, ""), c.count("driver calls about memory", f.Allocations, ""), c.time("a thread's time in them", f.AllocationNS, ""),
				},
				RuledOut: otherCauses(c, "idle-allocator"),
			}
			out.Evidence = append(out.Evidence, c.places("allocator", 3)...)
			out.Evidence = append(out.Evidence, samples...)
			gain := fmt.Sprintf("up to %s, estimated", c.each(lost))
			if c.torch() {
				out.Fix = []Fix{
					{Change: "remove torch.cuda.empty_cache() from the loop: it gives memory back that the next step takes again", Direction: "remove", Gain: gain},
					{Change: "let segments grow instead of being freed and taken anew", Direction: "add", Gain: gain, Paste: "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"},
				}
			} else {
				out.Fix = []Fix{{
					Change: "allocate once before the loop, or from a pool that keeps its memory", Direction: "replace", Gain: gain,
					Paste: "uint64_t keep = UINT64_MAX;\ncudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);\ncudaMallocAsync(&p, bytes, stream);",
				}}
			}
			return out, ""
		},
	}
}
