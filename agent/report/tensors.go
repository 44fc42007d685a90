package report

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// TensorParts is what of a memory snapshot is shown.
type TensorParts struct {
	Memory        bool
	Growth        bool // alone; it is part of Memory
	Fragmentation bool
	Top           int // stacks; 0: all that were kept
}

// Tensors writes what a memory snapshot says.
func Tensors(file string, tensors []*analyze.Tensors, parts TensorParts) *Document {
	d := &Document{}
	d.Title(file)
	if len(tensors) == 0 {
		d.Line("PyTorch's allocator had no memory on any GPU.")
		return d
	}
	for _, t := range tensors {
		d.tensorHead(t)
		if parts.Memory {
			d.tensorMemory(t, parts.Top)
		} else if parts.Growth {
			d.growth(&t.Growth)
		}
		if parts.Fragmentation {
			d.tensorPieces(t)
		}
	}
	return d
}

func (d *Document) tensorHead(t *analyze.Tensors) {
	d.Heading(fmt.Sprintf("GPU %d", t.Device), "PyTorch's caching allocator")
	settings := t.Settings
	switch {
	case !t.Known:
		settings = "not recorded"
	case settings == "":
		settings = "the defaults"
	}
	history := "none was recorded"
	if t.History.Allocs == 0 && len(t.Failures) > 0 {
		history = "none but the failure"
	} else if t.History.Events > 0 {
		history = plural(t.History.Events, "event", "events")
		if ns := t.History.End - t.History.Begin; t.History.Begin > 0 && ns > 0 {
			history += " in " + Duration(ns)
		}
		if !t.History.Complete {
			history += "; memory was held before it begins"
		}
		if t.History.Retries > 0 {
			history += "; " + plural(t.History.Retries, "time", "times") + " cached memory was given back to make room"
		}
	}
	d.Fields([2]string{"settings", settings}, [2]string{"history", history})
	for _, f := range t.Failures {
		text := fmt.Sprintf("failed: %s asked, the GPU had %s free", Bytes(f.Asked), Bytes(f.Free))
		if g := analyze.GuiltyLine(f.Stack); g >= 0 {
			text += ", at " + f.Stack[g].String()
		}
		d.Alert(text)
	}
	for _, n := range t.Notes {
		d.Note(n)
	}
}

// moments are the holdings that a snapshot has, and their names.
func moments(t *analyze.Tensors) (names []string, holdings []*analyze.Holding) {
	if t.Failed != nil {
		names, holdings = append(names, "at the failure"), append(holdings, t.Failed)
	}
	if t.Peak != nil {
		names, holdings = append(names, "at the peak"), append(holdings, t.Peak)
	}
	return append(names, "in the snapshot"), append(holdings, &t.Now)
}

func (d *Document) tensorMemory(t *analyze.Tensors, top int) {
	names, holdings := moments(t)
	d.Heading("Ledger", "bytes add up to what is reserved")
	table := &Table{Columns: []Column{{Title: ""}}}
	for _, n := range names {
		table.Columns = append(table.Columns, Column{Title: n, Right: true})
	}
	row := func(name string, of func(h *analyze.Holding) uint64) {
		cells := []string{name}
		for _, h := range holdings {
			cells = append(cells, Bytes(of(h)))
		}
		table.Rows = append(table.Rows, cells)
	}
	row("tensors, as asked for", func(h *analyze.Holding) uint64 { return h.Requested })
	row("rounding", func(h *analyze.Holding) uint64 { return h.Live - min(h.Requested, h.Live) })
	row("freed, waiting for another stream", func(h *analyze.Holding) uint64 { return h.Pending })
	row("free between tensors", func(h *analyze.Holding) uint64 { return h.FreePartly })
	row("free in whole segments", func(h *analyze.Holding) uint64 { return h.Free - h.FreePartly })
	table.Total = []string{"reserved"}
	for _, h := range holdings {
		table.Total = append(table.Total, Bytes(h.Reserved))
	}
	d.Table(table)
	h := holdings[0]
	how, known := "told from the functions that made them, ", uint64(0)
	for _, r := range h.Roles {
		known += r.Known
	}
	if known > 0 {
		how = fmt.Sprintf("%s by the optimizers' own lists, the rest told from the functions that made them, ", Bytes(known))
	}
	d.Heading("By role", how+names[0])
	roles := &Table{Columns: []Column{{Title: "role"}, {Title: "bytes", Right: true}, {Title: "share", Right: true}, {Title: "tensors", Right: true}, {Title: ""}}}
	for _, r := range h.Roles {
		share := float64(r.Bytes) / float64(max(h.Requested, 1))
		roles.Rows = append(roles.Rows, []string{string(r.Role), Bytes(r.Bytes), Share(share), Count(r.Blocks), bar(share, 24)})
	}
	d.Table(roles)
	d.tensorStacks(h, names[0], top)
	d.growth(&t.Growth)
}

func (d *Document) tensorStacks(h *analyze.Holding, when string, top int) {
	d.Heading("By line", "what holds most, "+when)
	for i := range h.Stacks {
		if i == top && top > 0 {
			d.more(len(h.Stacks)-i, "--top lists them")
			break
		}
		s := &h.Stacks[i]
		d.Hanging(fmt.Sprintf("%s in %s, the largest %s: %s", Bytes(s.Bytes), plural(s.Blocks, "tensor", "tensors"), Bytes(s.Largest), string(s.Role)))
		if s.Guilty < 0 {
			if len(s.Stack) == 0 {
				d.Indented("no stack was recorded")
			} else {
				d.Indented(s.Stack[0].String())
			}
			continue
		}
		d.Indented(strings.Join(callers(s.Stack, s.Guilty), " ← "))
	}
}

// callers are the guilty line and who calls it.
func callers(stack []analyze.Line, guilty int) []string {
	var out []string
	for i := guilty; i < len(stack) && len(out) < 4; i++ {
		out = append(out, stack[i].String())
	}
	return out
}

func (d *Document) growth(g *analyze.Growth) {
	d.Heading("Growth", "at the same place of each step")
	if g.Unknown != "" {
		d.Line("not known: " + g.Unknown)
		return
	}
	grows := "it does not go on growing"
	if g.Grows {
		grows = "and goes on growing"
	}
	sign := ""
	per := g.PerStep
	if per < 0 {
		sign, per = "-", -per
	}
	d.Line(fmt.Sprintf("%s%s a step over %d steps, %s", sign, Bytes(uint64(per)), g.Steps, grows))
	for i := range g.Stacks[:min(len(g.Stacks), 5)] {
		s := &g.Stacks[i]
		line := "no stack"
		if s.Guilty >= 0 {
			line = s.Stack[s.Guilty].String()
		}
		d.Hanging(fmt.Sprintf("%s a step at %s", Bytes(uint64(max(s.PerStep, 0))), line))
	}
}

func (d *Document) tensorPieces(t *analyze.Tensors) {
	names, holdings := moments(t)
	h := holdings[0]
	d.Heading("Free memory", names[0])
	on := "off"
	if t.On {
		on = "on"
	}
	d.Fields(
		[2]string{"reserved, in no tensor", Bytes(h.Free)},
		[2]string{"of it between tensors", fmt.Sprintf("%s: it cannot be given back to the driver", Bytes(h.FreePartly))},
		[2]string{"largest free block", Bytes(h.LargestFree)},
		[2]string{"expandable segments", on},
	)
	table := &Table{Columns: []Column{
		{Title: "pool"}, {Title: "stream", Right: true}, {Title: "segments", Right: true, Drop: 2}, {Title: "reserved", Right: true}, {Title: "tensors", Right: true},
		{Title: "waiting", Right: true, Drop: 3}, {Title: "between tensors", Right: true}, {Title: "whole segments", Right: true, Drop: 1}, {Title: "largest free", Right: true},
	}}
	for _, p := range h.Pools {
		kind := "large"
		if p.Small {
			kind = "small"
		}
		if p.Expandable {
			kind += ", expandable"
		}
		table.Rows = append(table.Rows, []string{
			p.Pool + ", " + kind, Count(uint64(p.Stream)), Count(p.Segments), Bytes(p.Reserved), Bytes(p.Live), Bytes(p.Pending), Bytes(p.FreePartly), Bytes(p.FreeWhole), Bytes(p.LargestFree),
		})
	}
	d.Table(table)
	d.replay(t.Replay)
}

func (d *Document) replay(r *analyze.Replay) {
	d.Heading("Other settings", "the recorded allocations, played again to a model of PyTorch's allocator")
	if r == nil {
		return
	}
	if r.Refused != "" {
		d.Line("not predicted: " + r.Refused)
		return
	}
	d.Line(fmt.Sprintf("under the recorded settings the model repeats %s of %s of segments; its peak is %s, the recorded one %s",
		Share(r.Reproduced), plural(r.SegmentEvents, "event", "events"), Bytes(r.Recorded.Peak), Bytes(r.RecordedPeak)))
	table := &Table{Columns: []Column{{Title: "PYTORCH_CUDA_ALLOC_CONF"}, {Title: "peak", Right: true}, {Title: "free at the peak", Right: true}, {Title: "made room", Right: true, Drop: 1}, {Title: "failures", Right: true}}}
	recorded := r.Recorded.Settings
	if recorded == "" {
		recorded = "the defaults"
	}
	table.Rows = append(table.Rows, []string{recorded + " (recorded)", Bytes(r.RecordedPeak), dash, Count(r.Recorded.Retries), Count(r.OOMs)})
	for _, o := range r.Others {
		failures := Count(o.OOMs + o.New)
		if o.OOMs != o.OOMsHigh {
			failures = fmt.Sprintf("%d to %d", o.OOMsHigh+o.New, o.OOMs+o.New)
		}
		table.Rows = append(table.Rows, []string{o.Settings, Bytes(o.Peak), Bytes(o.Idle), Count(o.Retries), failures})
	}
	d.Table(table)
}
