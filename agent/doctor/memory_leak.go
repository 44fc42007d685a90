package doctor

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// leak: what tensors hold grows from step to step, and does not stop.
func leak() MemoryRule {
	return MemoryRule{ID: "memory.leak", What: "tensors that pile up from step to step", judge: func(c *MemoryCase) (*Finding, string, string) {
		if c.T == nil {
			return nil, "", "a message says nothing of the time before"
		}
		g := &c.T.Growth
		if g.Unknown != "" {
			if a := c.T.Added; a != nil && a.Progress != nil && len(a.Progress.Live) > 0 {
				return leakBySteps(c, a.Progress)
			}
			return nil, "", g.Unknown
		}
		var stacks []analyze.StackGrowth
		for _, s := range g.Stacks {
			// A cache of keys and values grows by design, an optimizer's state comes once: other rules' matters.
			if s.Role != analyze.RoleCache && s.Role != analyze.RoleOptimizer {
				stacks = append(stacks, s)
			}
		}
		rise := int64(0)
		for _, s := range stacks {
			rise += s.Rise
		}
		if !g.Grows || len(stacks) == 0 || rise < memorySmall/8 || float64(rise) < 0.02*float64(c.T.History.MaxLive) {
			return nil, fmt.Sprintf("over %d repetitions, what tensors hold at the same place of each changes by %s each", g.Steps, signed(g.PerStep)), ""
		}
		return leakFinding(c, g, stacks, rise), "", ""
	}}
}

func countText(n float64) string {
	if n == 1 {
		return "1 tensor"
	}
	return number(n) + " tensors"
}

func signed(v float64) string {
	if v < 0 {
		return "-" + size(uint64(-v))
	}
	return size(uint64(v))
}

func leakFinding(c *MemoryCase, g *analyze.Growth, stacks []analyze.StackGrowth, rise int64) *Finding {
	first := &stacks[0]
	line, _ := lineText(first.Stack, first.Guilty)
	title := fmt.Sprintf("Tensors pile up by %s a step", size(uint64(g.PerStep)))
	if line != "" {
		title += ", most of them made at " + line
	}
	f := &Finding{
		Title: title, Confidence: Medium, Severity: Warning,
		Cost: Cost{Bytes: uint64(rise), Share: part(uint64(rise), c.T.History.MaxHeld), Source: Measured},
		Evidence: []Evidence{
			bytesOf("more at the same place of each step (the median of all pairs of steps)", uint64(g.PerStep), Measured, fmt.Sprintf("%d steps", g.Steps)),
			{What: "of the growth in the later half: it does not level off", Figure: g.Late, Unit: "share", Source: Measured},
		},
	}
	if c.failed() {
		f.Severity, f.decisive = Error, f.Cost.Share >= decisiveShare
	}
	for i := range stacks[:min(len(stacks), 4)] {
		s := &stacks[i]
		line, callers := lineText(s.Stack, s.Guilty)
		if line == "" {
			line = "no stack"
		}
		f.Evidence = append(f.Evidence, bytesOf(fmt.Sprintf("of it made at %s: %s stay a step", line, countText(s.Survivors)), uint64(s.PerStep), Measured, callers))
	}
	if len(g.Marker) > 0 {
		if marker, _ := lineText(g.Marker, analyze.GuiltyLine(g.Marker)); marker != "" {
			f.Evidence = append(f.Evidence, Evidence{What: "steps, counted by the allocation at " + marker, Figure: float64(g.Steps), Unit: "count", Source: Counted})
		}
	}
	f.Fix, f.RuledOut = leakFixes(g.PerStep)
	return f
}

// leakFixes is what there is to do about a leak.
func leakFixes(perStep float64) (fixes []Fix, ruledOut []string) {
	ruledOut = []string{"warm-up: the first quarter of the steps is left out", "a cache that fills and stays: the later half grows as well"}
	fixes = []Fix{
		{
			Change: "keep numbers, not tensors: a tensor that is kept holds the graph that made it, and all that the graph saved", Direction: "replace",
			Gain: size(uint64(perStep)) + " a step", Paste: "losses.append(loss.item())          # not: losses.append(loss)\nhidden = hidden.detach()            # for state that is carried over",
		},
		{Change: "look for a list, dict or closure that keeps what the line above makes, and for objects that refer to each other (gc.collect() frees those)", Direction: "remove", Gain: "the same"},
	}
	return fixes, ruledOut
}

// decisiveShare is from which part of what is reserved on a leak explains a failure by itself.
const decisiveShare = 0.2

// leakBySteps judges what was live after each step of the optimizer, where there is no history. The line is that of
// tensors which stay from each of the steps whose stacks were recorded.
func leakBySteps(c *MemoryCase, p *analyze.Progress) (*Finding, string, string) {
	h, _ := c.moment()
	most := uint64(0)
	for _, n := range p.Live {
		most = max(most, n)
	}
	if !p.Grows || p.Rise < memorySmall/8 || float64(p.Rise) < 0.02*float64(most) {
		return nil, fmt.Sprintf("after each of %d steps of the optimizer, what tensors hold changes by %s (the median of all pairs)", p.Steps, signed(p.PerStep)), ""
	}
	f := &Finding{
		Title: fmt.Sprintf("Tensors pile up by %s a step", size(uint64(p.PerStep))), Confidence: Medium, Severity: Warning,
		Cost: Cost{Bytes: uint64(p.Rise), Share: part(uint64(p.Rise), max(h.Reserved, most)), Source: Measured},
		Evidence: []Evidence{
			bytesOf("more after each step of the optimizer (the median of all pairs)", uint64(p.PerStep), Measured, fmt.Sprintf("%d steps", p.Steps)),
			{What: "of the growth in the later half: it does not level off", Figure: p.Late, Unit: "share", Source: Measured},
		},
	}
	if c.failed() {
		f.Severity, f.decisive = Error, f.Cost.Share >= decisiveShare
	}
	named := false
	for i := range h.Stacks {
		s := &h.Stacks[i]
		line, callers := lineText(s.Stack, s.Guilty)
		switch s.Role {
		case analyze.RoleCache, analyze.RoleOptimizer, analyze.RoleParameters, analyze.RoleGradients, analyze.RoleNone:
			continue
		}
		if line == "" || p.StackSteps < 2 || s.Blocks < max(p.StackSteps/2, 2) {
			continue
		}
		if !named {
			f.Title += ", most of them made at " + line
			named = true
		}
		f.Evidence = append(f.Evidence, bytesOf(fmt.Sprintf("made at %s in the %d steps whose stacks were recorded, and still there: %s", line, p.StackSteps, blocksText(s.Blocks)), s.Bytes, held(h), callers))
		if len(f.Evidence) == 5 {
			break
		}
	}
	f.Fix, f.RuledOut = leakFixes(p.PerStep)
	return f, "", ""
}
