package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// parameters: the model itself, and the gradients of its parameters.
func parameters() MemoryRule {
	return MemoryRule{ID: "memory.parameters", What: "the model's parameters and their gradients", judge: func(c *MemoryCase) (*Finding, string, string) {
		roles := []analyze.Role{analyze.RoleParameters, analyze.RoleGradients}
		h, when, bytes, against, lacks := roleRule(c, 0.35, roles...)
		if h == nil {
			return nil, against, lacks
		}
		weights, gradients := h.Role(analyze.RoleParameters).Bytes, h.Role(analyze.RoleGradients).Bytes
		title := fmt.Sprintf("The model's parameters take %s", size(weights))
		if gradients > 0 {
			title += fmt.Sprintf(", their gradients %s", size(gradients))
		}
		f := roleFinding(h, when, title, bytes, roles...)
		f.Fix = []Fix{
			{Change: "load the weights in half precision, if they are not, or quantised where they are not trained", Direction: "lower", Gain: "half to three quarters of " + size(weights), Paste: "AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)"},
			{Change: "divide parameters, gradients and optimizer state among several GPUs", Direction: "add", Gain: "all but one part in the number of GPUs of " + size(bytes), Paste: "torch.distributed.fsdp.fully_shard(model)                   # or DeepSpeed's {\"zero_optimization\": {\"stage\": 3}}"},
		}
		if gradients > 0 {
			f.Fix = append(f.Fix, Fix{Change: "train a few parameters only (LoRA): frozen ones have no gradients and no optimizer state", Direction: "lower", Gain: "most of " + size(gradients) + ", and of the optimizer's state"})
		}
		return f, "", ""
	}}
}
