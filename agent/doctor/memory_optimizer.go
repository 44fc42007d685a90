package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// failedInStep says whether it failed where the optimizer's state appears, and not in a later step that others have left
// too little for.
func failedInStep(c *MemoryCase) bool {
	f := c.failure()
	if f == nil {
		return false
	}
	if r := analyze.RoleOfLines(f.Stack); r != analyze.RoleOptimizer && r != analyze.RoleStep {
		return false
	}
	if a := c.T.Added; a != nil && a.Progress != nil {
		return a.Progress.Steps == 0
	}
	h, _ := c.moment()
	return part(h.Role(analyze.RoleOptimizer).Bytes+h.Role(analyze.RoleStep).Bytes, h.Requested) >= 0.1
}

// optimizerState: what the optimizer keeps for each parameter, which appears with its first step.
func optimizerState() MemoryRule {
	return MemoryRule{ID: "memory.optimizer-state", What: "the optimizer's state", judge: func(c *MemoryCase) (*Finding, string, string) {
		roles := []analyze.Role{analyze.RoleOptimizer, analyze.RoleStep}
		h, when, bytes, against, lacks := roleRule(c, 0.25, roles...)
		inStep := failedInStep(c)
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
			f.Confidence, f.Severity, f.decisive = High, Error, true
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
				Paste: "{\"zero_optimization\": {\"stage\": 2, \"offload_optimizer\": {\"device\": \"cpu\", \"pin_memory\": true}}}   # DeepSpeed; the offload helps with one GPU as well",
			},
		}
		return f, "", ""
	}}
}
