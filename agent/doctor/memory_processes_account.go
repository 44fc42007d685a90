package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// othersByAccount judges other processes by the account of the GPU at the failure.
func othersByAccount(c *MemoryCase) (f *Finding, against, lacks string) {
	var evidence []Evidence
	sum := uint64(0)
	add := func(what, who string, bytes int64) {
		if bytes > 0 {
			sum += uint64(bytes)
			if len(evidence) < 8 {
				evidence = append(evidence, bytesOf(what, uint64(bytes), Measured, who))
			}
		}
	}
	for i := range c.G.Others {
		o := &c.G.Others[i]
		who := o.Command
		if o.Container != "" {
			who += ", in " + o.Container
		}
		if who == "" {
			who = "its command is not visible from here"
		}
		add(fmt.Sprintf("held by process %d, by NVML", o.PID), who, o.Bytes)
	}
	for i := range c.G.Traced {
		if p := &c.G.Traced[i]; p != c.P && p.NVML != nil {
			add(fmt.Sprintf("held by process %d of the same run, by NVML", p.PID), "", *p.NVML)
		}
	}
	if sum < memorySmall*4 || part(sum, c.G.Total) < 0.02 {
		return nil, fmt.Sprintf("other programs held %s, by NVML", size(sum)), ""
	}
	f = otherFinding(sum, c.G.Total, Measured)
	f.Evidence = evidence
	// What others hold explains a failure that the program's own part of the GPU does not.
	f.decisive = part(sum, c.G.Total) >= 0.5
	return f, "", ""
}

// contextsByAccount judges contexts by what one takes, as measured beside.
func contextsByAccount(c *MemoryCase) (f *Finding, against, lacks string) {
	contexts, all := uint64(0), uint64(0)
	for i := range c.G.Traced {
		for _, l := range c.G.Traced[i].Lines {
			switch l.ID {
			case analyze.LineContext:
				contexts += l.Count
				all += l.Bytes
			case analyze.LineKernels, analyze.LineCapture:
				all += l.Bytes
			}
		}
	}
	rest := max(*orZero(c.G.Residual), 0)
	switch {
	case contexts >= 3 && all > contextUsual+contextUsual/2:
		return &Finding{
			Title:      fmt.Sprintf("%d contexts of this run take %s of the GPU, before any of them has allocated", contexts, size(all)),
			Confidence: High, Cost: Cost{Bytes: all, Share: part(all, max(c.G.Total, 1)), Source: Measured},
			Evidence: []Evidence{
				{What: "contexts on the GPU", Figure: float64(contexts), Unit: "count", Source: Counted},
				bytesOf("they take, by what one takes in a process of its own", all, Measured, c.G.Calibrated),
			},
			Fix: []Fix{
				{Change: "keep CUDA out of processes that do not need it: data loaders, launchers", Direction: "remove", Gain: fmt.Sprintf("%s for each", size(all/contexts)), Paste: "CUDA_VISIBLE_DEVICES= python helper.py\ntorch.multiprocessing.set_start_method(\"spawn\")   # and no CUDA tensors in workers"},
				{Change: "let processes share one context", Direction: "replace", Gain: "most of all but one", Paste: "nvidia-cuda-mps-control -d"},
			},
		}, "", ""
	case uint64(rest) > contextUsual+contextUsual/2:
		return nil, "", fmt.Sprintf("%s of the GPU are in no line of the account: processes that NVML does not name, or memory that the driver has taken for itself", size(uint64(rest)))
	}
	return nil, fmt.Sprintf("%d of this run take %s; what is in no line of the account is %s", contexts, size(all), signed(float64(*orZero(c.G.Residual)))), ""
}
