package report

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// operators writes what PyTorch did in the steps that were sampled.
func (d *Document) operators(in *analyze.Inspection) {
	s := in.Operators
	if s == nil {
		return
	}
	titles := map[analyze.GroupBy]string{analyze.ByOperator: "Operators", analyze.ByModule: "Modules", analyze.ByRegion: "Regions"}
	title := titles[s.GroupBy]
	if s.Sampled == 0 {
		d.Heading(title, "")
		if tool := in.Provenance.Imported; tool != "" {
			d.Line("not in a trace of " + Clean(tool) + ": only warpscope's own say so")
			return
		}
		d.Line("no step was sampled: PyTorch's operators are recorded in a step now and then, from the fifth on, while the timeline is recorded")
		return
	}
	d.Heading(title, fmt.Sprintf("in %s, %s of GPU time; share is of that", plural(s.Sampled, "sampled step", "sampled steps"), Duration(s.GPUNS)))
	if len(s.Rows) == 0 {
		d.Line("none")
		return
	}
	d.Table(operatorTable(s))
	d.more(s.Omitted, "--top 0 lists all")
	d.Note(operatorNote(s))
}

func operatorNote(s *analyze.OperatorSummary) string {
	note := fmt.Sprintf("sampling cost the program %s in all; CPU times are those of slowed steps", Duration(s.CostNS))
	switch s.GroupBy {
	case analyze.ByModule:
		note += "; the backward pass is told by PyTorch's sequence numbers; kept: by how much the GPU's tensors grew in a call, with what is inside"
	case analyze.ByRegion:
		note += "; of regions inside others, the inner ones count"
	}
	return note
}

func operatorTable(s *analyze.OperatorSummary) *Table {
	modules := s.GroupBy == analyze.ByModule
	t := &Table{Columns: []Column{
		{Title: "share", Right: true}, {Title: "GPU", Right: true}, {Title: "with inside", Right: true, Drop: 3}, {Title: "kernels", Right: true, Drop: 2},
		{Title: "calls", Right: true}, {Title: "CPU", Right: true, Drop: 4},
	}}
	memory, driver := false, false
	for i := range s.Rows {
		memory = memory || s.Rows[i].KeptBytes != nil
		driver = driver || s.Rows[i].DriverBytes > 0
	}
	if modules {
		t.Columns = append(t.Columns, Column{Title: "backward", Right: true, Drop: 5})
	}
	if memory {
		t.Columns = append(t.Columns, Column{Title: "kept", Right: true})
	}
	if driver {
		t.Columns = append(t.Columns, Column{Title: "from driver", Right: true, Drop: 6})
	}
	t.Columns = append(t.Columns, Column{Title: map[analyze.GroupBy]string{analyze.ByOperator: "operator  shapes", analyze.ByModule: "module  class", analyze.ByRegion: "region"}[s.GroupBy], Min: 24}, Column{Title: map[bool]string{true: "operators", false: "modules"}[s.GroupBy != analyze.ByOperator], Drop: 1})
	var names []string
	for i := range s.Rows {
		r := &s.Rows[i]
		row := []string{Share(r.GPUShare), Duration(r.SelfNS), Duration(r.GPUNS), Count(r.Kernels), Count(r.Count), Duration(r.CPUNS)}
		if modules {
			row = append(row, Duration(r.BackwardNS))
		}
		if memory {
			kept := ""
			if r.KeptBytes != nil {
				kept = SignedBytes(*r.KeptBytes)
			}
			row = append(row, kept)
		}
		if driver {
			row = append(row, Bytes(r.DriverBytes))
		}
		parts := r.Modules
		if s.GroupBy != analyze.ByOperator {
			parts = r.Operators
		}
		name := operatorName(r)
		names = append(names, name)
		t.Rows = append(t.Rows, append(row, name, partsText(parts)))
	}
	t.Columns[len(t.Columns)-2].Fit = Fitted(names)
	return t
}

func operatorName(r *analyze.OperatorRow) string {
	switch {
	case r.Name == "":
		return "(none)"
	case r.Detail == "":
		return Clean(r.Name)
	}
	return Clean(r.Name + "  " + r.Detail)
}

// partsText names the two largest parts.
func partsText(parts []analyze.OperatorPart) string {
	var out []string
	for _, p := range parts[:min(len(parts), 2)] {
		out = append(out, p.Name)
	}
	if len(parts) > 2 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// pythonIdle writes what Python was doing while the GPU was idle.
func (d *Document) pythonIdle(r *analyze.IdleRow) {
	t := &Table{Quiet: true, Columns: []Column{{Title: "of it", Right: true}, {Title: "samples", Right: true}, {Title: "because of"}, {Title: "at"}, {Title: "called by", Drop: 1, Min: 20}}}
	var callers []string
	add := func(cause string, p *analyze.PythonIdle, s *analyze.PythonStack) {
		line, by := "code that is not Python", ""
		if s.Guilty >= 0 {
			line = s.Line().String()
			by = strings.Join(callersOf(s), " ← ")
		}
		t.Rows = append(t.Rows, []string{Share(float64(s.Samples) / float64(p.Samples)), Count(s.Samples), cause, line, by})
		callers = append(callers, Clean(by))
	}
	samples := 0
	for i := range r.Causes {
		c := &r.Causes[i]
		if c.Python == nil || c.Share < 0.005 {
			continue
		}
		samples += c.Python.Samples
		for j := range c.Python.Stacks[:min(len(c.Python.Stacks), 2)] {
			add(c.ID, c.Python, &c.Python.Stacks[j])
		}
		if c.Python.GILSamples > 0 && len(c.Python.Holders) > 0 {
			add("holds the GIL", c.Python, &c.Python.Holders[0])
		}
	}
	if len(t.Rows) > 0 {
		t.Columns[4].Fit = Fitted(callers)
		d.Line("")
		d.Note(fmt.Sprintf("where Python was then, by %s of stacks", plural(samples, "sample", "samples")))
		d.Table(t)
	}
	if g := r.GIL; g != nil {
		d.Note(fmt.Sprintf("a thread that asks for the GIL waits %s on average, %s at most; %s of the samples found it kept by a thread that launches nothing (estimated from %s)",
			Duration(g.MeanNS), Duration(g.MaxNS), Share(g.HeldByOthers), plural(g.Samples, "sample", "samples")))
	}
}

// callersOf names who calls the guilty line: at most two.
func callersOf(s *analyze.PythonStack) []string {
	var out []string
	for i := s.Guilty + 1; i < len(s.Stack) && len(out) < 2; i++ {
		out = append(out, s.Stack[i].String())
	}
	return out
}
