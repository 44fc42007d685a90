package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// kvCache: keys and values of the tokens so far.
func kvCache() MemoryRule {
	return MemoryRule{ID: "memory.kv-cache", What: "keys and values of earlier tokens", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when, bytes, against, lacks := roleRule(c, 0.2, analyze.RoleCache)
		if h == nil {
			return nil, against, lacks
		}
		title := fmt.Sprintf("The KV cache holds %s", size(bytes))
		f := roleFinding(h, when, title, bytes, analyze.RoleCache)
		for _, s := range c.T.Growth.Stacks {
			if s.Role == analyze.RoleCache {
				f.Evidence = append(f.Evidence, bytesOf("more with each repetition", uint64(s.PerStep), Measured, fmt.Sprintf("%d repetitions", c.T.Growth.Steps)))
				break
			}
		}
		f.Fix = []Fix{
			{Change: "limit the length, or the number of sequences at a time", Direction: "lower", Gain: "in proportion: half the length, " + size(bytes/2), Paste: "model.generate(…, max_new_tokens=512)\n# vLLM: --max-model-len 8192 --max-num-seqs 64"},
			{Change: "keep keys and values in 8 bits", Direction: "lower", Gain: "half: " + size(bytes/2), Paste: "model.generate(…, cache_implementation=\"quantized\")\n# vLLM: --kv-cache-dtype fp8"},
			{Change: "hold it in pages that sequences share, or divide it among GPUs with the heads", Direction: "replace", Gain: "what is reserved for tokens that never come; all but one part in the number of GPUs", Paste: "vllm serve NAME --block-size 16 --enable-prefix-caching --tensor-parallel-size 2"},
			{Change: "allocate it once instead of letting it grow by copying: while it grows, old and new exist together", Direction: "replace", Gain: "a layer's share of " + size(bytes), Paste: "model.generate(…, cache_implementation=\"static\")"},
		}
		return f, "", ""
	}}
}
