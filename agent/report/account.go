package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// barCells is how wide bars are where there is room for everything.
const barCells = 40

// bar draws a part of 1 in at most width cells, to an eighth of a cell.
func bar(part float64, width int) string {
	eighths := int(math.Round(min(max(part, 0), 1) * float64(width) * 8))
	if eighths == 0 && part > 0 {
		eighths = 1
	}
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return text
}

// bars returns a column of bars, and its cells at full width; largest is what fills it.
func bars(parts []float64) (Column, []string) {
	largest := 0.0
	for _, p := range parts {
		largest = max(largest, p)
	}
	draw := func(width int) []string {
		out := make([]string, len(parts))
		for i, p := range parts {
			if p >= 0 && largest > 0 {
				out[i] = bar(p/largest, min(width, barCells))
			}
		}
		return out
	}
	return Column{Title: "", Min: 8, Fit: draw}, draw(barCells)
}

// groupTitles name the groups of an account.
var groupTitles = []struct{ group, title string }{
	{analyze.GroupCompute, "computing"}, {analyze.GroupCommunication, "communication, exposed"}, {analyze.GroupCopies, "copies, exposed"}, {analyze.GroupIdle, "idle"},
}

// a writes a unit with its article.
func a(unit string) string {
	if unit == "trace" {
		return "the trace"
	}
	return "a " + unit
}

func (d *Document) account(in *analyze.Inspection) {
	if in.Account == nil {
		return
	}
	rows := in.Account.Rows
	if len(rows) == 0 {
		d.Heading("Account", "")
		d.Line("none: nothing ran on a GPU")
	}
	for i := range rows[:min(len(rows), stepRows)] {
		d.accountRow(&rows[i], len(rows) > 1)
	}
	d.doubts(in, len(rows))
	d.more(len(rows)-stepRows, "--json lists them")
}

func (d *Document) accountRow(r *analyze.AccountRow, several bool) {
	steps := float64(max(r.Steps, 1))
	note := fmt.Sprintf("where the %s of %s go, mean of %s; the lines add up to all of it", Duration(float64(r.WallNS)/steps), a(r.Unit), units(r.Steps, r.Unit))
	if r.Unit == "trace" {
		note = "where the " + Duration(float64(r.WallNS)) + " from the first work to the last go; the lines add up to all of it"
	}
	d.Heading("Account"+of(&r.Key, several), note)
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "where"}, {Title: "mean", Right: true}, {Title: "share", Right: true}, {Title: "median", Right: true, Drop: 2}, {Title: "p10", Right: true, Drop: 3},
		{Title: "p90", Right: true, Drop: 3}, {},
	}}
	var parts []float64
	for _, g := range groupTitles {
		total := r.Group(g.group)
		if total == 0 {
			continue
		}
		only := countOf(r.Lines, g.group) == 1 && g.group != analyze.GroupIdle && g.group != analyze.GroupCompute
		if !only {
			t.Rows = append(t.Rows, []string{g.title, Duration(float64(total) / steps), Share(float64(total) / float64(r.WallNS)), "", "", ""})
			parts = append(parts, float64(total)/float64(r.WallNS))
		}
		for _, l := range r.Lines {
			if l.Group != g.group {
				continue
			}
			title := "  " + strings.TrimPrefix(strings.TrimPrefix(l.Title, "idle: "), "communication, ")
			if only {
				title = l.Title
			}
			t.Rows = append(t.Rows, []string{
				title, Duration(l.PerStep.Mean), Share(l.Share), Duration(l.PerStep.Median), Duration(l.PerStep.P10), Duration(l.PerStep.P90),
			})
			parts = append(parts, l.Share)
		}
	}
	last := len(t.Columns) - 1
	column, cells := bars(parts)
	t.Columns[last] = column
	for i := range t.Rows {
		t.Rows[i] = append(t.Rows[i], cells[i])
	}
	if r.Steps == 1 {
		t.without("median", "p10", "p90")
	}
	d.Table(t)
	if ns := r.OverlappedCommunicationNS; ns > 0 {
		d.Note(fmt.Sprintf("communication that ran behind computing, at no cost: %s", Duration(float64(ns)/steps)))
	}
	if ns := r.OverlappedCopiesNS; ns > 0 {
		d.Note(fmt.Sprintf("copies and fills that ran behind computing, at no cost: %s", Duration(float64(ns)/steps)))
	}
}

func countOf(lines []analyze.AccountLine, group string) int {
	n := 0
	for _, l := range lines {
		if l.Group == group {
			n++
		}
	}
	return n
}

func (d *Document) idle(in *analyze.Inspection) {
	if in.Idle == nil {
		return
	}
	rows := in.Idle.Rows
	if len(rows) == 0 {
		d.Heading("Idle", "")
		d.Line("none: nothing ran on a GPU")
	}
	for i := range rows[:min(len(rows), stepRows)] {
		d.idleRow(&rows[i], len(rows) > 1)
	}
	d.doubts(in, len(rows))
	d.more(len(rows)-stepRows, "--json lists them")
}

func (d *Document) idleRow(r *analyze.IdleRow, several bool) {
	steps := float64(max(r.Steps, 1))
	share := 0.0
	if r.WallNS > 0 {
		share = float64(r.IdleNS) / float64(r.WallNS)
	}
	d.Heading("Idle"+of(&r.Key, several), fmt.Sprintf("%s of %s, %s of its time, in %s gaps", Duration(float64(r.IdleNS)/steps), a(r.Unit), Share(share), Count(int64(float64(r.Gaps)/steps+0.5))))
	t := &Table{Quiet: true, Columns: []Column{{Title: "mean", Right: true}, {Title: "share", Right: true}, {Title: "times", Right: true}, {Title: "because of"}, {}}}
	var parts []float64
	for _, c := range r.Causes {
		t.Rows = append(t.Rows, []string{Duration(float64(c.TotalNS) / steps), Share(c.Share), perStep(c.Count, steps), c.Title})
		parts = append(parts, c.Share)
	}
	column, cells := bars(parts)
	t.Columns[4] = column
	for i := range t.Rows {
		t.Rows[i] = append(t.Rows[i], cells[i])
	}
	d.Table(t)
	d.places(r, steps)
	d.longest(r)
	d.pythonIdle(r)
}

// perStep writes how often something comes in a step.
func perStep(n uint64, steps float64) string {
	v := float64(n) / steps
	if v >= 10 || v == math.Trunc(v) {
		return Count(int64(v + 0.5))
	}
	return digits(v)
}

// places writes where in a step the largest causes strike.
func (d *Document) places(r *analyze.IdleRow, steps float64) {
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "mean", Right: true}, {Title: "times", Right: true, Drop: 3}, {Title: "max", Right: true, Drop: 2}, {Title: "because of"}, {Title: "call", Drop: 1}, {Title: "before", Min: 24},
	}}
	var symbols []Symbol
	for _, c := range r.Causes {
		if c.Share < 0.005 {
			continue
		}
		for _, p := range c.Places[:min(len(c.Places), 3)] {
			t.Rows = append(t.Rows, []string{Duration(float64(p.TotalNS) / steps), perStep(p.Count, steps), Duration(p.MaxNS), c.ID, p.Call, p.Before})
			symbols = append(symbols, kernelSymbol(p.BeforeSymbol, p.Before))
		}
	}
	if len(t.Rows) == 0 {
		return
	}
	t.Columns[5].Fit = func(width int) []string { return Shorten(symbols, width) }
	d.Line("")
	d.Note("the places in a step where most of it is lost: the call the thread was in or had left, and what the GPU waited for")
	d.Table(t)
}

// kernelSymbol is a name to be shortened. Names that came demangled lose their arguments.
func kernelSymbol(mangled, name string) Symbol {
	name = Clean(orEnd(name))
	if mangled == "" || mangled == name {
		name = withoutArguments(strings.TrimPrefix(name, "void "))
		if at := strings.IndexByte(name, '('); at > 0 {
			name = name[:at]
		}
	}
	return Symbol{Mangled: mangled, Whole: name}
}

func orEnd(before string) string {
	if before == "" {
		return "the end of the step"
	}
	return before
}

func (d *Document) longest(r *analyze.IdleRow) {
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "at", Right: true}, {Title: "idle", Right: true}, {Title: "mostly because of"}, {Title: "call", Drop: 1}, {Title: "before", Min: 24},
	}}
	var symbols []Symbol
	for _, g := range r.Longest[:min(len(r.Longest), 5)] {
		symbols = append(symbols, kernelSymbol(g.BeforeSymbol, g.Before))
		t.Rows = append(t.Rows, []string{Offset(g.AtNS), Duration(g.IdleNS), g.Cause, g.Call, g.Before})
	}
	if len(t.Rows) == 0 {
		return
	}
	t.Columns[4].Fit = func(width int) []string { return Shorten(symbols, width) }
	d.Line("")
	d.Note("the longest gaps")
	d.Table(t)
}
