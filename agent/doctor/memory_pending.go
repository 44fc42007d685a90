package doctor

import "fmt"

// pendingFree: blocks that were given back, but wait for another stream.
func pendingFree() MemoryRule {
	return MemoryRule{ID: "memory.pending-free", What: "freed memory that waits for another stream", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when := c.moment()
		if h == nil {
			return nil, "", "a message does not tell it apart from tensors"
		}
		most := max(h.Pending, c.T.History.MaxWait)
		if h.Pending < memorySmall || part(h.Pending, h.Reserved) < 0.03 {
			return nil, fmt.Sprintf("%s waited for another stream %s, %s at most", size(h.Pending), when, size(most)), ""
		}
		f := &Finding{
			Title: fmt.Sprintf("%s were freed, but could not be used again while another stream may read them", size(h.Pending)), Confidence: High,
			Cost:     Cost{Bytes: h.Pending, Share: part(h.Pending, h.Reserved), Source: held(h)},
			Evidence: []Evidence{bytesOf("freed and waiting, "+when, h.Pending, held(h), ""), bytesOf("at most, in the history", most, Measured, "")},
			Fix: []Fix{{
				Change:    "wait for the other stream before the last reference goes, instead of record_stream; with FSDP, limit_all_gathers, or set_reshard_after_forward",
				Direction: "replace", Gain: size(h.Pending) + " at this moment", Paste: "torch.cuda.current_stream().wait_stream(side)\ndel tensor        # instead of tensor.record_stream(side)",
			}},
		}
		for _, p := range h.Pools {
			if p.Pending > 0 && len(h.Pools) > 1 {
				f.Evidence = append(f.Evidence, bytesOf("of it in "+poolText(&p), p.Pending, held(h), ""))
			}
		}
		return f, "", ""
	}}
}
