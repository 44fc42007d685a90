package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// diffKernels is how many kernels a comparison shows.
const diffKernels = 12

// Difference writes how the steps of two traces differ.
func Difference(diff *analyze.Difference) *Document {
	d := &Document{}
	d.Title(diff.FileA + " → " + diff.FileB)
	if diff.Simulated {
		d.Alert(SimulatedNote)
	}
	if diff.Sampled {
		d.Alert("RECORDED IN WINDOWS, under a budget: steps are cut apart by them, and what differs may be that")
	}
	for _, text := range diff.DoubtsA {
		d.Alert("in doubt, in the first: " + text)
	}
	for _, text := range diff.DoubtsB {
		d.Alert("in doubt, in the second: " + text)
	}
	if len(diff.Rows) == 0 {
		d.Line("nothing to compare: at least one of them has no work on a GPU")
	}
	if len(diff.Rows) == 0 {
		d.diffSettings(diff)
	}
	for i := range diff.Rows[:min(len(diff.Rows), stepRows)] {
		d.diffRow(&diff.Rows[i], len(diff.Rows) > 1)
		if i == 0 {
			d.diffSettings(diff)
		}
		d.diffDetails(&diff.Rows[i])
	}
	d.more(len(diff.Rows)-stepRows, "--json lists them")
	for _, name := range diff.OnlyA {
		d.Note("only in the first: " + name)
	}
	for _, name := range diff.OnlyB {
		d.Note("only in the second: " + name)
	}
	return d
}

// change writes a difference with its sign.
func change(ns float64) string {
	switch {
	case ns > 0:
		return "+" + Duration(ns)
	case ns < 0:
		return "−" + Duration(-ns)
	}
	return "0"
}

// DiffVerdict says in a sentence how the steps changed, and what took most of the change.
func diffVerdict(r *analyze.DiffRow) string {
	unit := a(r.UnitB)
	text := fmt.Sprintf("%s takes %s instead of %s: ", strings.ToUpper(unit[:1])+unit[1:], Duration(r.WallB), Duration(r.WallA))
	if math.Abs(r.Delta) <= r.NoiseNS {
		return text + fmt.Sprintf("a difference of %s, within what the steps' own spread makes (%s)", change(r.Delta), Duration(r.NoiseNS))
	}
	word := "slower"
	if r.Delta < 0 {
		word = "faster"
	}
	text += fmt.Sprintf("%s %s (%s)", Duration(math.Abs(r.Delta)), word, Share(math.Abs(r.Delta)/max(r.WallA, 1)))
	var why []string
	for _, l := range r.Lines {
		if l.Delta*r.Delta > 0 && math.Abs(l.Delta) >= math.Abs(r.Delta)/5 && len(why) < 3 {
			why = append(why, fmt.Sprintf("%s %s", strings.TrimPrefix(l.Title, "idle: "), change(l.Delta)))
		}
	}
	if len(why) > 0 {
		text += "; most of it: " + strings.Join(why, ", ")
	}
	return text
}

func (d *Document) diffRow(r *analyze.DiffRow, several bool) {
	if several {
		d.Heading(r.A.Name+", "+r.A.GPU, "")
	}
	d.Line(diffVerdict(r) + ".")
	d.diffClock(&r.Clock)
	if r.UnitA != r.UnitB {
		d.Alert(fmt.Sprintf("not the same unit: %s in the first, %s in the second", a(r.UnitA), a(r.UnitB)))
	}
}

// diffDetails writes what took the difference.
func (d *Document) diffDetails(r *analyze.DiffRow) {
	d.Heading("Account", fmt.Sprintf("means over %s and %s; the changes add up to %s", units(r.StepsA, r.UnitA), Count(r.StepsB), change(r.Delta)))
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "change", Right: true}, {Title: "first", Right: true}, {Title: "second", Right: true}, {Title: "where"}, {},
	}}
	var parts []float64
	for _, l := range r.Lines {
		if math.Abs(l.Delta) < 0.001*max(r.WallA, r.WallB) && len(t.Rows) >= 5 {
			continue
		}
		t.Rows = append(t.Rows, []string{change(l.Delta), Duration(l.A), Duration(l.B), l.Title})
		parts = append(parts, math.Abs(l.Delta))
	}
	column, cells := bars(parts)
	t.Columns[4] = column
	for i := range t.Rows {
		t.Rows[i] = append(t.Rows[i], cells[i])
	}
	t.Total = []string{change(r.Delta), Duration(r.WallA), Duration(r.WallB), "all", ""}
	d.Table(t)
	d.diffPlaces(r)
	d.diffKernels(r)
}

func (d *Document) diffKernels(r *analyze.DiffRow) {
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "change", Right: true}, {Title: "first", Right: true}, {Title: "second", Right: true}, {Title: "calls", Right: true}, {Title: "each", Right: true, Drop: 2}, {Title: "class", Drop: 1}, {Title: "kernel", Min: 24},
	}}
	var symbols []Symbol
	for i := range r.Kernels {
		k := &r.Kernels[i]
		if len(t.Rows) >= diffKernels || math.Abs(k.Delta) < 0.0005*max(r.WallA, r.WallB) {
			break
		}
		calls := perStep(uint64(math.Round(k.CountB*100)), 100)
		if math.Abs(k.CountA-k.CountB) > 0.01 {
			calls = perStep(uint64(math.Round(k.CountA*100)), 100) + " → " + calls
		}
		symbols = append(symbols, kernelSymbol(k.Symbol, k.Name))
		t.Rows = append(t.Rows, []string{change(k.Delta), Duration(k.A), Duration(k.B), calls, eachText(k), k.Class, k.Name})
	}
	if len(t.Rows) == 0 {
		return
	}
	t.Columns[6].Fit = func(width int) []string { return Shorten(symbols, width) }
	d.Heading("Kernels", "those whose time in a step changed most"+diffCauses(r))
	d.Table(t)
}
