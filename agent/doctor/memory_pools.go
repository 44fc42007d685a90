package doctor

import "fmt"

// graphPools: memory that CUDA graphs, or pools of the program's own, keep for themselves.
func graphPools() MemoryRule {
	return MemoryRule{ID: "memory.graph-pools", What: "private pools of CUDA graphs", judge: func(c *MemoryCase) (*Finding, string, string) {
		private, idle, reserved, source, pools := uint64(0), uint64(0), uint64(0), Counted, 0
		var evidence []Evidence
		if h, when := c.moment(); h != nil {
			private, idle, reserved, source = h.Private, h.PrivateIdle, h.Reserved, held(h)
			evidence = append(evidence, bytesOf("reserved in private pools, "+when, private, source, ""), bytesOf("of it in no tensor", idle, source, ""))
			seen := map[string]uint64{}
			for _, p := range h.Pools {
				if p.Pool != "default" {
					seen[p.Pool] += p.Reserved
				}
			}
			pools = len(seen)
			evidence = append(evidence, Evidence{What: "private pools", Figure: float64(pools), Unit: "count", Source: Counted})
		} else {
			if c.M.Framework != "PyTorch" {
				return nil, "", "the message does not say"
			}
			private = uint64(max(c.M.Private, 0))
			idle, reserved = private, uint64(max(c.M.Reserved, 0))
			evidence = append(evidence, bytesOf("in private pools, in no tensor (whatever the message calls it)", private, Counted, ""))
		}
		if private < memorySmall || part(private, reserved) < 0.05 {
			return nil, fmt.Sprintf("private pools hold %s of %s reserved", size(private), size(reserved)), ""
		}
		return &Finding{
			Title:      fmt.Sprintf("Private pools of CUDA graphs hold %s that nothing else can use, %s of it in no tensor", size(private), size(idle)),
			Confidence: High, Cost: Cost{Bytes: private, Share: part(private, reserved), Source: source}, Evidence: evidence,
			Fix: []Fix{
				{
					Change: "capture fewer sizes, and the largest first, all from one pool", Direction: "lower", Gain: "up to " + size(idle),
					Paste: "pool = torch.cuda.graph_pool_handle()\nwith torch.cuda.graph(graph, pool=pool): …\n# vLLM: --compilation-config '{\"cudagraph_capture_sizes\": [1, 8, 32]}'   SGLang: --cuda-graph-max-bs 32",
				},
			},
			RuledOut: []string{"empty_cache(): it leaves these pools alone while their graphs live"},
		}, "", ""
	}}
}
