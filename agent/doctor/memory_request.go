package doctor

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Identifiers that other rules go by.
const (
	requestID = "memory.request"
	limitID   = "memory.limit"
)

// wanted returns the request that failed, as the program made it; 0 unknown.
func (c *MemoryCase) wanted() uint64 {
	if f := c.failure(); f != nil {
		return f.Asked
	}
	return c.asked()
}

// beyond says whether the request alone is more than the GPU has.
func (c *MemoryCase) beyond() bool {
	total := c.capacity()
	return total > 0 && c.wanted() > total
}

// wantedEvidence says where the request was made.
func wantedEvidence(c *MemoryCase) Evidence {
	what, callers := "asked for by the allocation that failed", ""
	if f := c.failure(); f != nil {
		var line string
		if line, callers = lineText(f.Stack, analyze.GuiltyLine(f.Stack)); line != "" {
			what += ", at " + line
		}
		if a := c.T.Added; a != nil && a.Text != "" && !a.Elsewhere {
			what += ": " + strings.TrimSpace(a.Text)
		}
	}
	return bytesOf(what, c.wanted(), Counted, callers)
}

// request: one allocation that no GPU of this size has room for.
func request() MemoryRule {
	return MemoryRule{ID: requestID, What: "a request that is larger than the GPU", judge: func(c *MemoryCase) (*Finding, string, string) {
		total, wanted := c.capacity(), c.wanted()
		switch {
		case !c.failed():
			return nil, "no allocation failed", ""
		case c.failure() != nil && wanted <= c.failure().Free:
			return nil, fmt.Sprintf("%s were asked for, and the GPU had more than that free", size(wanted)), ""
		case wanted == 0 || total == 0:
			return nil, "", "how large the request and the GPU are is not recorded"
		case wanted <= total:
			return nil, fmt.Sprintf("%s were asked for, and the GPU has %s", size(wanted), size(total)), ""
		}
		f := &Finding{
			Title: fmt.Sprintf("The request alone is more than the GPU's %s: nothing that is freed makes room for it", size(total)), Severity: Error, Confidence: High,
			Cost:     Cost{Source: Counted},
			Evidence: []Evidence{wantedEvidence(c), bytesOf("on the GPU in all", total, Counted, "")},
			Fix: []Fix{
				{Change: "look at the shape: sizes this far off are often a wrong dimension or unit, or two tensors broadcast against each other", Direction: "lower", Gain: "a request of the size that was meant"},
				{Change: "make it in parts, in fewer bits per number, or in host memory; or divide it among several GPUs", Direction: "lower", Gain: fmt.Sprintf("room: at least %s less has to be asked for", size(wanted-total))},
			},
			RuledOut: []string{"other allocator settings, torch.cuda.empty_cache() and freeing tensors: an empty GPU would not have enough"},
		}
		return f, "", ""
	}}
}

// allowed returns the limit that the program has set itself; 0: none, or not known.
func (c *MemoryCase) allowed() uint64 {
	if f := c.failure(); f != nil && c.T.Added != nil {
		if a := c.T.Added; a.Limit > 0 && (a.Limit < a.Total || a.Total == 0 && f.Limited) {
			return a.Limit
		}
	}
	if c.M != nil && c.M.Allowed > 0 {
		return uint64(c.M.Allowed)
	}
	return 0
}

// ownLimit: the program, not the GPU, refused the allocation.
func ownLimit() MemoryRule {
	return MemoryRule{ID: limitID, What: "a limit that the program has set itself", judge: func(c *MemoryCase) (*Finding, string, string) {
		allowed, free := c.allowed(), uint64(0)
		switch f := c.failure(); {
		case f != nil:
			free = f.Free
		case c.M != nil && c.M.Framework != "CUDA" && c.M.Free >= 0 && c.asked() > 0:
			free = uint64(c.M.Free)
		case !c.failed():
			return nil, "no allocation failed", ""
		default:
			return nil, "", "what was free is not known"
		}
		if free < c.asked() {
			return nil, fmt.Sprintf("the GPU itself had only %s free", size(free)), ""
		}
		title := fmt.Sprintf("A limit of the program's own stopped it: the GPU had %s free", size(free))
		if allowed > 0 {
			title = fmt.Sprintf("A limit of the program's own, %s, stopped it: the GPU had %s free", size(allowed), size(free))
		}
		f := &Finding{
			Title: title, Severity: Error, Confidence: High, Cost: Cost{Source: Counted},
			Evidence: []Evidence{wantedEvidence(c), bytesOf("free on the GPU", free, Counted, "")},
		}
		if allowed > 0 {
			f.Evidence = append(f.Evidence, bytesOf("allowed by the program's own limit", allowed, Counted, ""))
		} else {
			f.Confidence = Medium
		}
		f.Fix = []Fix{{Change: "raise or remove the limit: " + limitPlace(c, f), Direction: "raise", Gain: "up to " + size(free)}}
		return f, "", ""
	}}
}

// limitPlace says where the limit is set, as far as that is known.
func limitPlace(c *MemoryCase, f *Finding) string {
	const name = "torch.cuda.set_per_process_memory_fraction"
	if c.T != nil && c.T.Added != nil {
		if line, callers := lineText(c.T.Added.LimitedAt, analyze.GuiltyLine(c.T.Added.LimitedAt)); line != "" {
			f.Evidence = append(f.Evidence, Evidence{What: "set at " + line, Figure: 1, Unit: "count", Source: Counted, Where: callers})
			return name + " is called at " + line
		}
	}
	if c.T != nil && strings.Contains(c.T.Settings, "per_process_memory_fraction") {
		return "PYTORCH_CUDA_ALLOC_CONF is " + c.T.Settings
	}
	return "look for calls of " + name + ", also in libraries, and for per_process_memory_fraction in PYTORCH_CUDA_ALLOC_CONF"
}
