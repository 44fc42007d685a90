package doctor

import "fmt"

// rounding: blocks that are larger than what was asked for.
func rounding() MemoryRule {
	return MemoryRule{ID: "memory.rounding", What: "blocks that are larger than their tensors", judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.T == nil {
			return nil, "", "a message does not say what was asked for"
		}
		h := &c.T.Now // only the snapshot's own blocks have their true sizes
		lost := h.Live - min(h.Requested, h.Live)
		if lost < memorySmall*2 || part(lost, h.Live) < 0.05 {
			return nil, fmt.Sprintf("tensors asked for %s and have %s", size(h.Requested), size(h.Live)), ""
		}
		f := &Finding{
			Title:      fmt.Sprintf("Rounding takes %s: tensors asked for %s and have %s", size(lost), size(h.Requested), size(h.Live)),
			Confidence: High, Cost: Cost{Bytes: lost, Share: part(lost, h.Reserved), Source: Counted},
			Evidence: []Evidence{
				bytesOf("in blocks of tensors", h.Live, Counted, ""), bytesOf("asked for", h.Requested, Counted, ""),
				{What: "blocks", Figure: float64(h.Blocks), Unit: "count", Source: Counted},
			},
			Fix: []Fix{{
				Change:    "take out roundup_power2_divisions, or raise it; large blocks are split down to 1 MiB only, with expandable segments to 512 bytes",
				Direction: "replace", Gain: "up to " + size(lost), Paste: expandablePaste,
			}},
		}
		if c.T.On {
			f.Fix[0].Change, f.Fix[0].Paste = "take out roundup_power2_divisions, or raise it", ""
		}
		return f, "", ""
	}}
}
