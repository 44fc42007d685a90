package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// optimizerState: what the optimizer keeps for each parameter, which appears with its first step.
func optimizerState() MemoryRule {
	return MemoryRule{ID: "memory.optimizer-state", What: "the optimizer's state", judge: func(c *MemoryCase) (*Finding, string, string) {
		roles := []analyze.Role{analyze.RoleOptimizer, analyze.RoleStep}
		h, when, bytes, against, lacks := roleRule(c, 0.25, roles...)
		inStep := false
		if f := c.failure(); f != nil {
			r := analyze.RoleOfLines(f.Stack)
			inStep = r == analyze.RoleOptimizer || r == analyze.RoleStep
		}
		if h == nil {
			if !inStep {
				return nil, against, lacks
			}
			h, when = c.moment()
			bytes = h.Role(analyze.RoleOptimizer).Bytes + h.Role(analyze.RoleStep).Bytes
		}
		title := fmt.Sprintf("The optimizer holds %s", size(bytes))
		if inStep {
			title = fmt.Sprintf("It failed in the optimizer's step, which held %s by then: its state appears with the first step", size(bytes))
		}
		f := roleFinding(h, when, title, bytes, roles...)
		if inStep {
			f.Confidence, f.Severity = High, Error
		}
		temporary := h.Role(analyze.RoleStep).Bytes
		if temporary > 0 {
			f.Evidence = append(f.Evidence, bytesOf("of it temporaries of the step itself", temporary, held(h), ""))
		}
		gain := "the step's temporaries: as much as the parameters take"
		if temporary > 0 {
			gain += ", " + size(temporary) + " here"
		}
		f.Fix = []Fix{
			{
				Change: "use the fused step: it needs no copies of all parameters at once", Direction: "replace", Gain: gain,
				Paste: "torch.optim.AdamW(model.parameters(), lr=…, fused=True)      # or foreach=False",
			},
			{
				Change: "keep the state in 8 bits", Direction: "lower", Gain: "three quarters of the state: about " + size(3*(bytes-temporary)/4),
				Paste: "bitsandbytes.optim.AdamW8bit(model.parameters(), lr=…)",
			},
			{
				Change: "with several GPUs, divide the state among them", Direction: "add", Gain: "all but one part in the number of GPUs",
				Paste: "{\"zero_optimization\": {\"stage\": 2}}                        # DeepSpeed; \"offload_optimizer\": {\"device\": \"cpu\"} puts it into host memory",
			},
		}
		return f, "", ""
	}}
}
