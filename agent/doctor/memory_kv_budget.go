package doctor

import "fmt"

// kvBudget: an inference server that has no room left for its KV cache, before it begins. The advice points
// the other way than for one that runs out later.
func kvBudget() MemoryRule {
	return MemoryRule{ID: "memory.kv-budget", What: "an inference server without room for its KV cache", judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.M == nil || c.M.Framework != "vLLM" && c.M.Framework != "SGLang" {
			return nil, "", ""
		}
		m := c.M
		f := &Finding{Title: "What is set aside for the KV cache is too little", Severity: Error, Confidence: High, Cost: Cost{Source: Counted}, Evidence: []Evidence{}}
		add := func(what string, n int64) {
			if n >= 0 {
				f.Evidence = append(f.Evidence, bytesOf(what, uint64(n), Counted, ""))
			}
		}
		if m.Asked > 0 && m.Free >= 0 && m.Free < m.Asked {
			return occupied(f, uint64(m.Asked), uint64(m.Free), m.Capacity), "", ""
		}
		add("needed for one request of the longest length", m.Needed)
		add("left for the cache", m.Available)
		if m.Limit > 0 {
			f.Evidence = append(f.Evidence, Evidence{What: "tokens that a sequence may have", Figure: float64(m.Limit), Unit: "count", Source: Counted})
		}
		if m.Needed > m.Available && m.Available >= 0 {
			f.Cost.Bytes, f.Cost.Share = uint64(m.Needed-m.Available), part(uint64(m.Needed-m.Available), uint64(m.Needed))
			f.Title = fmt.Sprintf("A request of the longest length needs %s of KV cache, and %s are left for it", size(uint64(m.Needed)), size(uint64(m.Available)))
		}
		fits := m.Fits
		if fits < 0 && m.Needed > 0 && m.Available >= 0 && m.Limit > 0 {
			fits = int64(float64(m.Limit) * float64(m.Available) / float64(m.Needed))
		}
		length := "8192"
		if fits > 0 {
			f.Evidence = append(f.Evidence, Evidence{What: "tokens that fit", Figure: float64(fits), Unit: "count", Source: Counted})
			length = fmt.Sprint(fits)
		}
		f.Fix = []Fix{
			{Change: "allow shorter sequences only", Direction: "lower", Gain: "it starts", Paste: "--max-model-len " + length + "          # SGLang: --context-length"},
			{Change: "raise what the server may take of the GPU, if nothing else runs there; a server that runs out of memory later needs the opposite", Direction: "raise",
				Gain: "each hundredth is a hundredth of the GPU", Paste: "--gpu-memory-utilization 0.95   # SGLang: --mem-fraction-static 0.9"},
			{Change: "keep keys and values in 8 bits", Direction: "lower", Gain: "twice the tokens", Paste: "--kv-cache-dtype fp8"},
			{Change: "divide the model among more GPUs", Direction: "raise", Gain: "weights and cache are divided", Paste: "--tensor-parallel-size 2"},
		}
		return f, "", ""
	}}
}

// occupied: something else holds the GPU.
func occupied(f *Finding, asked, free uint64, capacity int64) *Finding {
	f.Title = fmt.Sprintf("The server is to take %s, and %s are free: something else holds the GPU", size(asked), size(free))
	f.Cost.Bytes, f.Cost.Share = asked-free, part(asked-free, asked)
	f.Evidence = append(f.Evidence, bytesOf("to be taken", asked, Counted, ""), bytesOf("free when it started", free, Counted, ""))
	if capacity > 0 {
		f.Evidence = append(f.Evidence, bytesOf("the GPU has", uint64(capacity), Counted, ""))
	}
	f.Fix = []Fix{
		{Change: "end what holds the memory: often a server that did not end", Direction: "remove", Gain: size(asked - free), Paste: "nvidia-smi --query-compute-apps=pid,used_memory,process_name --format=csv"},
	}
	if capacity > 0 {
		f.Fix = append(f.Fix, Fix{Change: "or take less", Direction: "lower", Gain: "it starts", Paste: fmt.Sprintf("--gpu-memory-utilization %.2f", 0.98*part(free, uint64(capacity)))})
	}
	return f
}
