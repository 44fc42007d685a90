package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

const expandablePaste = "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"

// fragmentShare is the part of what is reserved below which free pieces are no cause: in one piece they would have served
// the request that failed, and few after it.
const fragmentShare = 0.02

// fragmentation: the allocator holds enough, but in pieces that are too small.
func fragmentation() MemoryRule {
	return MemoryRule{ID: "memory.fragmentation", What: "memory that is reserved, but in pieces too small to use", judge: func(c *MemoryCase) (*Finding, string, string) {
		switch {
		case c.T != nil:
			return fragmentedSnapshot(c)
		case c.M.Idle >= 0 && c.M.Asked > 0:
			return fragmentedMessage(c)
		}
		return nil, "", "the message does not say how much is reserved and in no tensor"
	}}
}

func fragmentedSnapshot(c *MemoryCase) (*Finding, string, string) {
	h, when := c.moment()
	asked := c.asked()
	idle := h.Free - h.PrivateIdle // what the default pool could give
	elsewhere := false
	if f := c.failure(); f != nil {
		_, largest := h.Serving(f.Asked, f.Stream)
		if idle < f.Asked {
			return nil, fmt.Sprintf("%s were asked for and only %s reserved in no tensor: all of it in one piece would not have been enough", size(f.Asked), size(idle)), ""
		}
		if largest >= f.Asked {
			return nil, "", fmt.Sprintf("by the history, a free block of %s was there for a request of %s: why it was not used, it does not say", size(largest), size(f.Asked))
		}
		elsewhere = h.LargestFree >= f.Asked
	} else if idle < memorySmall*4 || part(h.FreePartly, h.Reserved) < 0.15 {
		return nil, fmt.Sprintf("%s of %s reserved lies free in partly used segments (%s)", size(h.FreePartly), size(h.Reserved), percent(part(h.FreePartly, h.Reserved))), ""
	}
	f := &Finding{
		Title: fmt.Sprintf("%s lie free between tensors, in pieces of at most %s", size(idle), size(h.LargestFree)), Confidence: High,
		Cost:     Cost{Bytes: idle, Share: part(idle, h.Reserved), Source: held(h)},
		Evidence: fragmentEvidence(c, h, when, idle, asked),
	}
	if elsewhere {
		f.Title = fmt.Sprintf("%s lie free, in pieces too small or held for another stream", size(idle))
	}
	if c.failure() != nil {
		f.Severity = Error
		if part(idle, h.Reserved) < fragmentShare {
			f.Severity = NoteSev
		}
	}
	f.Fix, f.RuledOut = fragmentFixes(c)
	return f, "", ""
}

func fragmentEvidence(c *MemoryCase, h *analyze.Holding, when string, idle, asked uint64) []Evidence {
	var out []Evidence
	if asked > 0 {
		if f := c.failure(); f != nil {
			line, callers := lineText(f.Stack, analyze.GuiltyLine(f.Stack))
			what := "asked for by the allocation that failed"
			if line != "" {
				what += ", at " + line
			}
			out = append(out, bytesOf(what, f.Asked, Counted, callers))
		}
	}
	out = append(out,
		bytesOf("reserved and in no tensor, "+when, idle, held(h), ""),
		bytesOf("the largest free block", h.LargestFree, held(h), ""),
		bytesOf("free in segments that are partly used: these cannot be given back to the driver", h.FreePartly, held(h), ""))
	shown := 0
	for _, p := range h.Pools {
		if p.FreePartly*10 < h.FreePartly || shown == 3 || len(h.Pools) == 1 {
			continue
		}
		shown++
		out = append(out, bytesOf("of it in "+poolText(&p), p.FreePartly, held(h), fmt.Sprintf("largest %s, %d segments", size(p.LargestFree), p.Segments)))
	}
	return append(out, replayEvidence(c.T.Replay)...)
}

// poolText names a pool: "the large pool of stream 1".
func poolText(p *analyze.PoolHolding) string {
	kind := "large"
	if p.Small {
		kind = "small"
	}
	text := "the " + kind + " pool"
	if p.Pool != "default" {
		text = "the " + kind + " part of the " + p.Pool + " pool"
	}
	if p.Stream != 0 {
		text += fmt.Sprintf(" of stream %d", p.Stream)
	}
	if p.Expandable {
		text += ", expandable"
	}
	return text
}

// replayEvidence says what the allocations would have needed under other settings.
func replayEvidence(r *analyze.Replay) []Evidence {
	if r == nil || r.Refused != "" {
		return nil
	}
	var out []Evidence
	for _, run := range r.Others {
		text := fmt.Sprintf("peak with %s, played again to a model of the allocator", run.Settings)
		where := fmt.Sprintf("recorded: %s", size(r.RecordedPeak))
		if r.OOMs > 0 {
			where += "; " + failuresText(r, &run)
		}
		out = append(out, bytesOf(text, run.Peak, Estimated, where))
	}
	return out
}

func failuresText(r *analyze.Replay, run *analyze.ReplayRun) string {
	switch {
	case run.New > 0 && run.OOMs >= r.OOMs:
		return "would fail as well"
	case run.OOMs == 0 && run.OOMsHigh == 0 && run.New == 0:
		return "would not have failed"
	case run.OOMs > 0 && run.OOMsHigh == 0:
		return "may or may not fail: the limit is not known exactly"
	case run.New > 0:
		return "would fail elsewhere"
	}
	return fmt.Sprintf("%d of %d failures remain", run.OOMs, r.OOMs)
}

// fragmentFixes advises by what is on and what the replay predicts.
func fragmentFixes(c *MemoryCase) (fixes []Fix, ruledOut []string) {
	t := c.T
	if t.On {
		ruledOut = append(ruledOut, "expandable_segments is on already")
	} else {
		gain := "free pieces join: tensors of other sizes fit into them"
		confirmed := true
		if r := t.Replay; r != nil && r.Refused == "" {
			for _, run := range r.Others {
				if run.Settings == "expandable_segments:True" {
					gain = fmt.Sprintf("predicted from the recorded allocations: %s at the peak instead of %s", size(run.Peak), size(r.RecordedPeak))
					if r.OOMs > 0 {
						gain += "; it " + failuresText(r, &run)
					}
					confirmed = run.Peak < r.RecordedPeak || run.OOMs < r.OOMs
				}
			}
		}
		if confirmed {
			fixes = append(fixes, Fix{Change: "let segments grow, before the program starts", Direction: "add", Gain: gain, Paste: expandablePaste})
		} else {
			ruledOut = append(ruledOut, "expandable_segments: "+gain)
		}
	}
	return append(fixes, Fix{
		Change:    "keep shapes the same: pad to a few lengths, sort by length, or put the longest batch first so that its blocks serve the others",
		Direction: "replace", Gain: "blocks that were freed fit again",
	}), ruledOut
}

func fragmentedMessage(c *MemoryCase) (*Finding, string, string) {
	m := c.M
	asked, idle := uint64(m.Asked), uint64(m.Idle)
	if idle < asked {
		return nil, fmt.Sprintf("only %s are reserved and in no tensor, and %s were asked for: this is not fragmentation, whatever the message advises", size(idle), size(asked)), ""
	}
	f := &Finding{
		Title:    fmt.Sprintf("%s were reserved and in no tensor, more than the %s asked for: they lie in pieces that are too small", size(idle), size(asked)),
		Severity: Error, Confidence: Medium,
		Cost: Cost{Bytes: idle, Share: part(idle, max(uint64(max(m.Reserved, 0)), 1)), Source: Counted},
		Evidence: []Evidence{
			bytesOf("asked from the driver", asked, Counted, ""),
			bytesOf("reserved by PyTorch, in no tensor", idle, Counted, ""),
			bytesOf("in tensors", uint64(max(m.Allocated, 0)), Counted, ""),
		},
		Fix: []Fix{{Change: "let segments grow, before the program starts, unless that is set already (a message does not say)", Direction: "add", Gain: "free pieces join: up to " + size(idle), Paste: expandablePaste}},
	}
	return f, "", ""
}
