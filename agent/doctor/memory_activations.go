package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// roleRule looks at what tensors of some roles hold at the moment that matters.
func roleRule(c *MemoryCase, least float64, roles ...analyze.Role) (h *analyze.Holding, when string, bytes uint64, against, lacks string) {
	h, when = c.moment()
	switch {
	case h == nil:
		return nil, "", 0, "", "a message does not say what the tensors are"
	case h.Requested == 0:
		return nil, "", 0, "no tensor was live " + when, ""
	case part(h.Role(analyze.RoleNone).Bytes, h.Requested) > 0.9:
		return nil, "", 0, "", "the tensors have no stacks"
	}
	for _, r := range roles {
		bytes += h.Role(r).Bytes
	}
	if bytes < memorySmall || part(bytes, h.Requested) < least {
		return nil, "", 0, fmt.Sprintf("%s of %s in tensors %s", size(bytes), size(h.Requested), when), ""
	}
	return h, when, bytes, "", ""
}

func isRole(roles ...analyze.Role) func(s *analyze.StackHolding) bool {
	return func(s *analyze.StackHolding) bool {
		for _, r := range roles {
			if s.Role == r {
				return true
			}
		}
		return false
	}
}

// roleFinding makes a finding of what tensors of some roles hold.
func roleFinding(h *analyze.Holding, when, title string, bytes uint64, roles ...analyze.Role) *Finding {
	sure, how, known := Medium, "by the functions that made them", uint64(0)
	for _, r := range roles {
		known += h.Role(r).Known
	}
	if known >= bytes && bytes > 0 {
		sure, how = High, "by the optimizers' own lists"
	}
	f := &Finding{
		Title: title, Confidence: sure, Cost: Cost{Bytes: bytes, Share: part(bytes, h.Reserved), Source: held(h)},
	}
	if bytes > 0 {
		f.Evidence = []Evidence{bytesOf("in such tensors, "+how+", "+when, bytes, held(h), percent(part(bytes, h.Requested))+" of all in tensors")}
	}
	f.Evidence = append(f.Evidence, stackEvidence(h, 4, isRole(roles...))...)
	return f
}

// activationsLeast is the least part of all tensors' bytes that activations must hold.
const activationsLeast = 0.35

// activations: what the forward pass keeps for the backward pass.
func activations() MemoryRule {
	return MemoryRule{ID: "memory.activations", What: "what the forward pass keeps", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, bytes, against, lacks := roleRule(c, activationsLeast, analyze.RoleForward)
		if h == nil {
			return nil, against, lacks
		}
		if f := c.failure(); f != nil && analyze.RoleOfLines(f.Stack) == analyze.RoleLogits {
			scores, _ := scoresOf(h, f.Asked)
			bytes -= min(scores, bytes) // memory.logits judges them
			if bytes < memorySmall || part(bytes, h.Requested) < activationsLeast {
				return nil, fmt.Sprintf("%s of %s in tensors %s, besides the logits", size(bytes), size(h.Requested), when), ""
			}
		}
		title := fmt.Sprintf("The forward pass holds %s in activations", size(bytes))
		if line := guiltyText(h, isRole(analyze.RoleForward)); line != "" {
			title += ", most of it from " + line
		}
		f := roleFinding(h, when, title, bytes, analyze.RoleForward)
		f.Fix = []Fix{
			{
				Change: "compute activations again in the backward pass instead of keeping them", Direction: "add", Gain: "all but a layer's of " + size(bytes) + ", for about a third more computing",
				Paste: "x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)   # in the loop over layers\nmodel.gradient_checkpointing_enable()                                  # transformers",
			},
			{
				Change: "halve the batch and accumulate gradients over two", Direction: "lower", Gain: "about half: " + size(bytes/2),
				Paste: "(loss / 2).backward()\nif step % 2: optimizer.step(); optimizer.zero_grad(set_to_none=True)",
			},
			{
				Change: "run the forward pass in 16 bits, if it runs in 32", Direction: "lower", Gain: "up to half: " + size(bytes/2),
				Paste: "with torch.autocast(device_type=\"cuda\", dtype=torch.bfloat16): loss = model(x)",
			},
			{Change: "where there is no backward pass, say so", Direction: "add", Gain: "all that is kept for it", Paste: "with torch.inference_mode(): …"},
		}
		return f, "", ""
	}}
}
