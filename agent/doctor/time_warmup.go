package doctor

import (
	"fmt"
	"strings"
)

// codeShare is from which part of a step on loading code is a finding.
const codeShare = 0.01

// warmup finds code for the GPU that is loaded or built in steps that should be past that.
func warmup() Rule {
	return Rule{
		ID: "time.warmup", What: "code for the GPU is loaded or built in the measured steps", needs: []need{needWork, needCalls},
		judge: func(c *Case) (*Finding, string) {
			lost, f := c.line("idle-code"), &c.Account.Facts
			if c.share(lost) < codeShare {
				return nil, fmt.Sprintf("code was loaded in %s; the GPU is %s", loads(c), c.idle(lost))
			}
			kernel, inside := "", int64(0)
			for _, p := range c.Idle.Cause("code").Places {
				if kernel == "" {
					kernel = p.Before
				}
				if p.Call != "" {
					inside += p.TotalNS
				}
			}
			out := &Finding{
				Title:      "GPU code is loaded or built in " + loads(c),
				Confidence: Medium, Cost: c.cost(lost, Measured),
				Evidence: []Evidence{
					c.time("GPU idle while a thread made no call, then loaded new code", lost-inside, "before "+shortKernel(kernel)),
					c.time("GPU idle while code was being loaded", inside, ""),
					c.count("loads of code", f.CodeLoads, ""),
				},
				Fix:      codeFixes(c, kernel, lost),
				RuledOut: otherCauses(c, "idle-code"),
			}
			if inside*2 > lost {
				out.Confidence = High
			}
			return out, ""
		},
	}
}

// loads says in which steps code was loaded.
func loads(c *Case) string {
	if c.whole() {
		return "the trace"
	}
	return fmt.Sprintf("%d of %d measured %ss", c.Account.Facts.StepsWithLoads, c.Account.Steps, c.unit())
}

func codeFixes(c *Case, kernel string, lost int64) []Fix {
	gain := fmt.Sprintf("up to %s, estimated", c.each(lost))
	often := c.Account.Facts.StepsWithLoads*2 > c.Account.Steps
	switch name := strings.ToLower(kernel); {
	case often && strings.Contains(name, "cudnn") && strings.Contains(name, "sdpa"):
		return []Fix{{
			Change:    "use another attention: cuDNN builds a kernel for each new shape, here for each length of the key/value cache",
			Direction: "replace", Gain: gain + ", less the other kernel's difference", Paste: "torch.backends.cuda.enable_cudnn_sdp(False)",
		}, {
			Change: "or keep the shapes constant, with a static key/value cache", Direction: "replace", Gain: gain,
			Paste: "model.generation_config.cache_implementation = \"static\"",
		}}
	case often && strings.Contains(name, "triton"):
		return []Fix{{
			Change: "shapes change, and each new one is compiled anew: compile for dynamic shapes, or pad to a few lengths", Direction: "replace", Gain: gain,
			Paste: "model = torch.compile(model, dynamic=True)",
		}}
	case often:
		return []Fix{{
			Change: "a library builds or loads code for each new shape or choice: keep shapes constant, or pad them to a few sizes", Direction: "replace", Gain: gain,
		}}
	}
	return []Fix{{
		Change: "run every shape once before measuring or serving, or load all code at start", Direction: "add", Gain: gain + ", in the steps concerned", Paste: "export CUDA_MODULE_LOADING=EAGER",
	}}
}
