package doctor

import "fmt"

const (
	// scoresShare is from which part of a step on attention's scores in memory are a finding.
	scoresShare = 0.05
	// scoresFew is how many such rows of kernels a step must have, on average.
	scoresFew = 0.5
)

// unfusedAttention finds attention written as two matrix products with a softmax between them.
func unfusedAttention() Rule {
	return Rule{
		ID: "time.unfused-attention", What: "attention whose scores pass through memory", needs: []need{needWork, needKernels},
		judge: func(c *Case) (*Finding, string) {
			f := &c.Account.Facts
			if c.per(f.Scores) < scoresFew || c.share(f.ScoresNS) < scoresShare {
				return nil, fmt.Sprintf("a softmax between two matrix products: %s, %s (%s)", c.often(f.Scores), c.each(f.ScoresNS), percent(c.share(f.ScoresNS)))
			}
			out := &Finding{
				Title: "Attention is not fused: its scores pass through memory", Confidence: Medium, Cost: c.cost(f.ScoresNS, Estimated),
				Evidence: []Evidence{
					c.count("rows of kernels with a softmax between two matrix products", f.Scores, ""),
					c.time("their time between the products: scaling, masking, softmax", f.ScoresNS, ""),
					c.time("the products themselves", f.ScoreProductsNS, "a fused kernel does them too"),
					c.time("attention that is fused", c.line("attention"), ""),
				},
				RuledOut: []string{"a loss: its softmax is followed by no product, or takes logarithms"},
			}
			gain := fmt.Sprintf("about %s, estimated: what lies between the products; the memory that the scores take as well", c.each(f.ScoresNS))
			fix := Fix{Change: "one fused kernel instead (FlashAttention, cuDNN)", Direction: "replace", Gain: gain}
			if c.torch() {
				fix.Change = "call scaled_dot_product_attention, which has fused kernels"
				fix.Paste = "y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)\n# models of transformers: attn_implementation=\"sdpa\""
			}
			out.Fix = []Fix{fix}
			return out, ""
		},
	}
}
