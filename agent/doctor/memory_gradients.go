package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Identifiers of the rules about gradients.
const (
	gradientsID    = "memory.gradients"
	accumulationID = "memory.accumulation"
)

// spent says whether the gradients that are there have been used up by a step, and nothing needs them.
func spent(c *MemoryCase) bool {
	if c.T == nil || c.T.Added == nil || c.T.Added.Progress == nil || !c.T.Added.Progress.Applied {
		return false
	}
	f := c.failure()
	if f == nil {
		return false
	}
	switch analyze.RoleOfLines(f.Stack) {
	case analyze.RoleBackward, analyze.RoleOptimizer, analyze.RoleStep, analyze.RoleGradients:
		return false // they are being made, or used
	}
	return true
}

// accumulation: gradients of the step before stay through the next forward pass.
func accumulation() MemoryRule {
	return MemoryRule{ID: accumulationID, What: "gradients that were used and not given back", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when := c.moment()
		switch {
		case h == nil:
			return nil, "", "a message does not say what the tensors are"
		case c.failure() == nil:
			return nil, "no allocation failed", ""
		case c.T.Added == nil || c.T.Added.Progress == nil:
			return nil, "", "the snapshot does not say when gradients were used: warpscope run leaves one that does"
		}
		bytes := h.Role(analyze.RoleGradients).Bytes
		p := c.T.Added.Progress
		if !spent(c) || bytes < memorySmall || part(bytes, h.Requested) < 0.03 {
			return nil, fmt.Sprintf("gradients that a step had used up held %s %s", size(map[bool]uint64{true: bytes}[spent(c)]), when), ""
		}
		how := "zero_grad was not called since"
		switch {
		case p.Zeroed == 0:
			how = "zero_grad is never called"
		case p.Kept == p.Zeroed:
			how = "zero_grad(set_to_none=False) keeps their memory"
		}
		line, callers := lineText(c.failure().Stack, analyze.GuiltyLine(c.failure().Stack))
		f := &Finding{
			Title:      fmt.Sprintf("Gradients of the step before still hold %s in the next forward pass: %s", size(bytes), how),
			Confidence: High, decisive: bytes >= c.asked(), Cost: Cost{Bytes: bytes, Share: part(bytes, h.Reserved), Source: held(h)},
			Evidence: []Evidence{
				bytesOf("in gradients, by the optimizers' own lists, "+when, bytes, held(h), percent(part(bytes, h.Requested))+" of all in tensors"),
				{What: "steps of the optimizer before the failure", Figure: float64(p.Steps), Unit: "count", Source: Counted},
				{What: "calls of zero_grad", Figure: float64(p.Zeroed), Unit: "count", Source: Counted},
			},
			Fix: []Fix{{
				Change: "give gradients back before the forward pass, not after it: optimizer.zero_grad(set_to_none=True) right after optimizer.step()", Direction: "add", Gain: size(bytes) + " in the forward pass",
				Paste: "optimizer.step()\noptimizer.zero_grad(set_to_none=True)   # before the next forward pass",
			}},
			RuledOut: []string{"gradients that are accumulated on purpose: a step has used these"},
		}
		if line != "" {
			f.Evidence = append(f.Evidence, bytesOf("asked for when it failed, at "+line, c.wanted(), Counted, callers))
		}
		if bytes >= c.asked() {
			f.Severity = Error
		}
		return f, "", ""
	}}
}

// gradients: what the backward pass leaves for the optimizer.
func gradients() MemoryRule {
	return MemoryRule{ID: gradientsID, What: "gradients of the parameters", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, bytes, against, lacks := roleRule(c, 0.15, analyze.RoleGradients)
		switch {
		case h == nil:
			return nil, against, lacks
		case spent(c):
			return nil, accumulationID + " judges them", ""
		}
		f := roleFinding(h, when, fmt.Sprintf("Gradients hold %s", size(bytes)), bytes, analyze.RoleGradients)
		f.Fix = []Fix{
			{
				Change: "use each gradient as soon as it is there, in the backward pass: they never exist all at once", Direction: "replace", Gain: "all but a layer's of " + size(bytes) + ", where gradients are neither clipped nor accumulated",
				Paste: "for p, o in ((p, torch.optim.AdamW([p], lr=lr)) for p in model.parameters()):\n    p.register_post_accumulate_grad_hook(lambda p, o=o: (o.step(), o.zero_grad()))",
			},
			{Change: "keep parameters and their gradients in 16 bits, if they are in 32", Direction: "lower", Gain: "half: " + size(bytes/2), Paste: "model.to(torch.bfloat16)"},
			{
				Change: "with several GPUs, divide them", Direction: "add", Gain: "all but one part in the number of GPUs",
				Paste: "{\"zero_optimization\": {\"stage\": 2, \"contiguous_gradients\": true, \"overlap_comm\": true, \"reduce_bucket_size\": 5e8}}   # DeepSpeed",
			},
			{Change: "train a few parameters only (LoRA): frozen ones have no gradients", Direction: "lower", Gain: "most of " + size(bytes) + ", and of the optimizer's state"},
		}
		return f, "", ""
	}}
}
