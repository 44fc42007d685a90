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
		f.Severity = Error
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
	f.RuledOut = []string{"warm-up: the first quarter of the steps is left out", "a cache that fills and stays: the later half grows as well"}
	f.Fix = []Fix{
		{
			Change: "keep numbers, not tensors: a tensor that is kept holds the graph that made it, and all that the graph saved", Direction: "replace",
			Gain: size(uint64(g.PerStep)) + " a step", Paste: "losses.append(loss.item())          # not: losses.append(loss)\nhidden = hidden.detach()            # for state that is carried over",
		},
		{Change: "look for a list, dict or closure that keeps what the line above makes, and for objects that refer to each other (gc.collect() frees those)", Direction: "remove", Gain: "the same"},
	}
	return f
}
