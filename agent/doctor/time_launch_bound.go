package doctor

import (
	"fmt"
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
)

// launchShare is from which part of a step on waiting for launches is a finding.
const launchShare = 0.05

// launchBound finds a CPU that hands out work more slowly than the GPU does it.
func launchBound() Rule {
	return Rule{
		ID: "time.launch-bound", What: "the CPU launches kernels more slowly than the GPU runs them", needs: []need{needWork, needCalls},
		judge: func(c *Case) (*Finding, string) {
			lost, f := c.line("idle-launch-bound"), &c.Account.Facts
			if c.share(lost) < launchShare {
				return nil, "launches come in time; the GPU is " + c.idle(lost)
			}
			out := &Finding{
				Title: "The CPU launches work more slowly than the GPU does it", Confidence: High, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("GPU idle while a thread was between launching calls, or in one", lost, ""),
					c.count("launches", f.Launches, ""),
					{What: "a kernel's time, median", Figure: float64(f.MedianKernel) / 1e9, Unit: "s", Source: Measured},
					c.time("the CPU's time inside launching calls", f.HostLaunchNS, ""),
				},
				Fix:      launchFixes(c, lost),
				RuledOut: otherCauses(c, "idle-launch-bound"),
			}
			out.Evidence = append(out.Evidence, c.places("launch-bound", 2)...)
			return out, ""
		},
	}
}

func launchFixes(c *Case, lost int64) []Fix {
	gain := fmt.Sprintf("up to %s, estimated; less where the capture itself slowed the launches", c.each(lost))
	switch {
	case c.torch() && c.unit() == "token":
		return []Fix{{
			Change: "replay each token's kernels as one CUDA graph: a static key/value cache and a compiled forward pass", Direction: "add", Gain: gain,
			Paste: "model.generation_config.cache_implementation = \"static\"\nmodel.forward = torch.compile(model.forward, mode=\"reduce-overhead\", fullgraph=True)",
		}, {
			Change: "decode more sequences at a time, if there are more: the launches stay as many", Direction: "raise", Gain: "more tokens for the same launches, not measured here",
		}}
	case c.torch():
		return []Fix{{
			Change: "compile the model: fewer kernels, replayed as CUDA graphs", Direction: "add", Gain: gain, Paste: "model = torch.compile(model, mode=\"reduce-overhead\")",
		}, {
			Change: "a larger batch, if memory allows: longer kernels for as many launches", Direction: "raise", Gain: "more work for the same launches, not measured here",
		}}
	}
	return []Fix{{
		Change: "record the step once as a CUDA graph and replay it with one launch", Direction: "add", Gain: gain,
		Paste: "cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);\n…  // the step\ncudaStreamEndCapture(stream, &graph);\ncudaGraphInstantiate(&exec, graph, 0);\ncudaGraphLaunch(exec, stream);  // each step",
	}}
}

// otherCauses says how little the other ways to lose time cost, leaving out the lines named.
func otherCauses(c *Case, not ...string) []string {
	out := []string{}
	for _, other := range []struct{ id, text string }{
		{"idle-sync", "waits of the CPU for the GPU"}, {"idle-code", "loading of code"}, {"idle-allocator", "the driver's allocator"},
		{"idle-copy-call", "calls that copy"}, {"idle-dependency", "waits for other streams"}, {"idle-host", "host code outside CUDA"},
	} {
		ns := c.line(other.id)
		if other.id == "idle-host" {
			ns = c.host()
		}
		if c.share(ns) < 0.02 && !slices.Contains(not, other.id) {
			out = append(out, fmt.Sprintf("%s (%s)", other.text, percent(c.share(ns))))
		}
	}
	if busy := c.share(c.group(analyze.GroupCompute)); busy < 0.5 {
		out = append(out, fmt.Sprintf("the kernels themselves (%s)", percent(busy)))
	}
	return out
}
