package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// scoresOf returns what the scores hold that a failing loss goes by: tensors of the forward pass with as many numbers, in
// the same or another precision, and where the largest of them was made.
func scoresOf(h *analyze.Holding, asked uint64) (bytes uint64, at string) {
	if asked < memorySmall {
		return 0, ""
	}
	like := func(size uint64) bool {
		for _, want := range []uint64{asked / 2, asked, asked * 2} {
			if size >= want-want/64 && size <= want+want/64 {
				return true
			}
		}
		return false
	}
	for i := range h.Stacks {
		s := &h.Stacks[i]
		if s.Role != analyze.RoleForward && s.Role != analyze.RoleOther || !like(s.Largest) || s.Bytes > 2*s.Largest {
			continue
		}
		bytes += s.Bytes
		if line, _ := lineText(s.Stack, s.Guilty); at == "" {
			at = line
		}
	}
	return bytes, at
}

// writesLoss says whether the program's own line that failed computes a loss on scores: what it calls first, like a
// conversion, has no function of its own on the stack.
func writesLoss(c *MemoryCase) bool {
	if c.T == nil || c.T.Added == nil || c.T.Added.Elsewhere {
		return false
	}
	for _, call := range []string{"cross_entropy(", "log_softmax(", "nll_loss("} {
		if strings.Contains(c.T.Added.Text, call) {
			return true
		}
	}
	return false
}

// logits: the scores of a whole vocabulary, and the loss on them.
func logits() MemoryRule {
	return MemoryRule{ID: "memory.logits", What: "logits and the loss on them", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, bytes, against, lacks := roleRule(c, 0.12, analyze.RoleLogits)
		inLoss := false
		if f := c.failure(); f != nil {
			inLoss = analyze.RoleOfLines(f.Stack) == analyze.RoleLogits || writesLoss(c)
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
			scores, at := scoresOf(h, failure.Asked)
			bytes += scores
			f.Cost.Bytes = bytes + failure.Asked
			f.Cost.Share = part(f.Cost.Bytes, h.Reserved+failure.Asked)
			f.decisive = part(f.Cost.Bytes, h.Reserved+failure.Asked) >= decisiveShare
			line, callers := lineText(failure.Stack, analyze.GuiltyLine(failure.Stack))
			f.Title = fmt.Sprintf("Logits and the loss take %s, and asked for %s more when it failed", size(bytes), size(failure.Asked))
			evidence := []Evidence{bytesOf("asked for by the allocation that failed, at "+line, failure.Asked, Counted, callers)}
			if scores > 0 {
				evidence = append(evidence, bytesOf("in the scores that it goes by, as large or half or twice as large, made at "+at, scores, held(h), ""))
			}
			f.Evidence = append(evidence, f.Evidence...)
		}
		f.Fix = []Fix{
			{
				Change: "compute the loss in pieces, so that the logits of a piece at a time exist", Direction: "replace", Gain: "nearly all of " + size(f.Cost.Bytes),
				Paste: "from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss\nloss = LigerFusedLinearCrossEntropyLoss()(model.lm_head.weight, hidden.flatten(0, 1), labels.flatten())\n" +
					"# or: piece = lambda h, t: F.cross_entropy(model.lm_head(h).float(), t, reduction=\"sum\")     # its logits are computed again in the backward pass\n" +
					"#     loss = sum(checkpoint(piece, h, t, use_reentrant=False) for h, t in zip(hidden.split(1024), labels.split(1024))) / labels.numel()",
			},
			{Change: "where only the last token's scores matter, ask for no others", Direction: "lower", Gain: "the same", Paste: "model.generate(…)   # or model(input_ids, logits_to_keep=1)"},
		}
		return f, "", ""
	}}
}
