package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// parameters: the model itself.
func parameters() MemoryRule {
	return MemoryRule{ID: "memory.parameters", What: "the model's parameters", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, weights, against, lacks := roleRule(c, 0.25, analyze.RoleParameters)
		if h == nil {
			return nil, against, lacks
		}
		f := roleFinding(h, when, fmt.Sprintf("The model's parameters take %s", size(weights)), weights, analyze.RoleParameters)
		f.Fix = []Fix{
			{Change: "load the weights in half precision, if they are not, or quantised where they are not trained", Direction: "lower", Gain: "half to three quarters of " + size(weights), Paste: "AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16)"},
			{Change: "divide parameters, gradients and optimizer state among several GPUs", Direction: "add", Gain: "all but one part in the number of GPUs of " + size(weights), Paste: "torch.distributed.fsdp.fully_shard(model)                   # or DeepSpeed's {\"zero_optimization\": {\"stage\": 3}}"},
		}
		return f, "", ""
	}}
}
