package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	lineID = "memory.line"
	// lineLeast is the least part of all tensors' bytes that a line must hold to be named.
	lineLeast = 0.25
)

// lineHolding is what the tensors made at one line hold, whoever calls it.
type lineHolding struct {
	line           string
	bytes, tensors uint64
	size           uint64 // of each; 0: they differ
	like           uint64 // bytes of tensors without a stack that are as large, if no other line makes such
	callers        []Evidence
}

// byLine sums up what other rules do not explain, by the guilty line.
func byLine(h *analyze.Holding) []lineHolding {
	rows := map[string]*lineHolding{}
	for i := range h.Stacks {
		s := &h.Stacks[i]
		line, callers := lineText(s.Stack, s.Guilty)
		if s.Role != analyze.RoleOther || line == "" {
			continue
		}
		r := rows[line]
		if r == nil {
			r = &lineHolding{line: line, size: s.Largest}
			rows[line] = r
		}
		if s.Largest != r.size || s.Bytes != s.Blocks*s.Largest {
			r.size = 0
		}
		r.bytes += s.Bytes
		r.tensors += s.Blocks
		if callers == "" {
			callers = "nobody"
		}
		r.callers = append(r.callers, bytesOf(fmt.Sprintf("in %s, called by %s", blocksText(s.Blocks), callers), s.Bytes, held(h), ""))
	}
	makers := map[uint64]int{}
	for i := range h.Stacks {
		if s := &h.Stacks[i]; s.Guilty >= 0 && s.Role != analyze.RoleOther {
			makers[s.Largest]++
		}
	}
	for _, r := range rows {
		makers[r.size]++
	}
	var out []lineHolding
	for _, r := range rows {
		if r.size > 0 && makers[r.size] == 1 {
			r.like = h.Bare[r.size]
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(x, y lineHolding) int {
		return cmp.Or(cmp.Compare(y.bytes+y.like, x.bytes+x.like), cmp.Compare(x.line, y.line))
	})
	return out
}

// oneLine: what is none of the known uses of memory, and comes from one place.
func oneLine() MemoryRule {
	return MemoryRule{ID: lineID, What: "tensors of one line of the program's own", judge: func(c *MemoryCase) (*Finding, string, string) {
		h, when := c.moment()
		switch {
		case h == nil:
			return nil, "", "a message does not say what the tensors are"
		case h.Requested == 0:
			return nil, "no tensor was live " + when, ""
		}
		rows := byLine(h)
		if part(h.Role(analyze.RoleNone).Bytes, h.Requested) > 0.9 && (len(rows) == 0 || rows[0].like == 0) {
			return nil, "", "the tensors have no stacks"
		}
		if len(rows) == 0 {
			return nil, "all tensors with a stack have a known use", ""
		}
		r := &rows[0]
		all := r.bytes + r.like
		if all < memorySmall || part(all, h.Requested) < lineLeast {
			return nil, fmt.Sprintf("no line without a known use holds more than %s of %s in tensors", size(all), size(h.Requested)), ""
		}
		if leaks := c.T.Growth.Stacks; c.T.Growth.Grows && len(leaks) > 0 {
			if line, _ := lineText(leaks[0].Stack, leaks[0].Guilty); line == r.line {
				return nil, "memory.leak judges " + line, ""
			}
		}
		f := &Finding{
			Title: fmt.Sprintf("%s made at %s hold %s", blocksText(r.tensors), r.line, size(r.bytes)), Confidence: High,
			Cost: Cost{Bytes: all, Share: part(all, h.Reserved), Source: held(h)}, Evidence: r.callers[:min(len(r.callers), 4)],
			Fix: []Fix{
				{Change: "see whether all of them have to be live at that point: what a list, an attribute or a closure keeps stays for as long as that does", Direction: "remove", Gain: "up to " + size(all)},
				{Change: "keep in host memory what is needed later", Direction: "replace", Gain: "the same", Paste: "kept.append(tensor.detach().cpu())"},
			},
		}
		if r.tensors == 1 {
			f.Title = fmt.Sprintf("1 tensor made at %s holds %s", r.line, size(r.bytes))
		}
		if r.like > 0 {
			f.Title += fmt.Sprintf("; others of the same size, recorded without a stack, hold %s", size(r.like))
			f.Evidence = append(f.Evidence, bytesOf("in tensors without a stack that are as large; no other line is known to make such", r.like, held(h), ""))
			f.Confidence, f.Cost.Source = Medium, Estimated
		}
		if room := c.room(); c.failed() && room > 0 {
			f.Severity = NoteSev
			if share := part(all, room); share >= 0.25 {
				f.Severity = Error
			} else if share >= 0.08 {
				f.Severity = Warning
			}
		}
		return f, "", ""
	}}
}
