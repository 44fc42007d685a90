package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// logits: the scores of a whole vocabulary, and the loss on them.
func logits() MemoryRule {
	return MemoryRule{ID: "memory.logits", What: "logits and the loss on them", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, bytes, against, lacks := roleRule(c, 0.12, analyze.RoleLogits)
		inLoss := false
		if f := c.failure(); f != nil {
			inLoss = analyze.RoleOfLines(f.Stack) == analyze.RoleLogits
		}
		if h == nil {
			if !inLoss {
				return nil, against, lacks
			}
			h, when = c.moment()
			bytes = h.Role(analyze.RoleLogits).Bytes
		}
		title := fmt.Sprintf("Logits and the loss take %s", size(bytes))
		f := roleFinding(h, when, title, bytes, analyze.RoleLogits)
		if inLoss {
			failure := c.failure()
			f.Cost.Bytes += failure.Asked
			f.Cost.Share = part(f.Cost.Bytes, h.Reserved+failure.Asked)
			line, callers := lineText(failure.Stack, analyze.GuiltyLine(failure.Stack))
			f.Title = fmt.Sprintf("Logits and the loss take %s, and asked for %s more when it failed", size(bytes), size(failure.Asked))
			f.Evidence = append([]Evidence{bytesOf("asked for by the allocation that failed, at "+line, failure.Asked, Counted, callers)}, f.Evidence...)
		}
		f.Fix = []Fix{
			{
				Change: "compute the loss in pieces, so that the logits of a piece at a time exist", Direction: "replace", Gain: "nearly all of " + size(f.Cost.Bytes),
				Paste: "from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss\nloss = LigerFusedLinearCrossEntropyLoss()(model.lm_head.weight, hidden.flatten(0, 1), labels.flatten())\n" +
					"# or: loss = sum(F.cross_entropy(head(h), t, reduction=\"sum\") for h, t in zip(hidden.split(1024), labels.split(1024))) / labels.numel()",
			},
			{Change: "where only the last token's scores matter, ask for no others", Direction: "lower", Gain: "the same", Paste: "model.generate(…)   # or model(input_ids, logits_to_keep=1)"},
		}
		return f, "", ""
	}}
}
