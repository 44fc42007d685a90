package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	// unfusedShare is from which part of a step on kernels that only pass over data are looked at, and
	// unfusedGain how much of the step fusing them must promise.
	unfusedShare = 0.25
	unfusedGain  = 0.05
	// busyEnough is how busy the GPU must be for shorter kernels to make shorter steps.
	busyEnough = 0.6
)

// unfused finds rows of kernels that each pass over the same data.
func unfused() Rule {
	return Rule{
		ID: "time.unfused", What: "elementwise kernels, casts and reductions, one after the other, that could be one kernel", needs: []need{needWork, needKernels},
		judge: func(c *Case) (*Finding, string) {
			f := &c.Account.Facts
			passes := c.line("elementwise") + c.line("reduction") + c.line("memory")
			saved := f.ChainNS - f.ChainFusedNS
			busy := c.share(c.group(analyze.GroupCompute))
			switch {
			case busy < busyEnough:
				return nil, fmt.Sprintf("the GPU is busy %s of the time only: shorter kernels would not shorten %s", percent(busy), c.a())
			case c.share(passes) < unfusedShare || c.share(saved) < unfusedGain:
				return nil, fmt.Sprintf("elementwise kernels, casts and reductions take %s (%s)", c.each(passes), percent(c.share(passes)))
			}
			out := &Finding{
				Title: "Many small passes over the same data could be fewer kernels", Confidence: Low, Cost: c.cost(saved, Estimated),
				Evidence: []Evidence{
					c.part("elementwise kernels, casts and reductions", passes),
					c.count("kernels that follow another such one on their stream", f.ChainKernels, ""),
					c.time("their time", f.ChainNS, ""),
					c.time("time of the longest of each row: what is left if each row becomes one kernel", f.ChainFusedNS, ""),
				},
				RuledOut: []string{"which kernels pass over the same data is not in the trace: that they follow one another is all that is known"},
			}
			for i := range c.Account.Kernels {
				k := &c.Account.Kernels[i]
				if k.Class == "elementwise" || k.Class == "reduction" || k.Class == "memory" {
					out.Evidence = append(out.Evidence, c.time("the longest of them, "+k.Class, k.TotalNS, shortKernel(k.Name)))
					break
				}
			}
			gain := fmt.Sprintf("about %s, estimated as above", c.each(saved))
			if c.torch() {
				out.Fix = append(out.Fix, Fix{Change: "compile the model: the compiler fuses them", Direction: "add", Gain: gain, Paste: "model = torch.compile(model)"})
				if moved := c.line("memory"); c.share(moved) >= 0.1 {
					out.Fix = append(out.Fix, Fix{
						Change: "keep weights and activations in one type: casts and copies alone take " + duration(c.ns(moved)) + " " + c.a(), Direction: "remove",
						Gain: "a part of that, not measured", Paste: "model = model.to(torch.bfloat16)   # if it uses autocast now; with an optimizer that keeps fp32 copies",
					})
				}
			} else {
				out.Fix = append(out.Fix, Fix{Change: "write the row as one kernel, or leave it to a compiler (XLA, Triton, nvFuser)", Direction: "replace", Gain: gain})
			}
			return out, ""
		},
	}
}
