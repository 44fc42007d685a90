package report

import (
	"fmt"
	"math"

	"github.com/warpscope/warpscope/agent/analyze"
)

// diffPlaceRows is how many places of idleness a comparison shows.
const diffPlaceRows = 6

// diffSettings lists what else is not the same: it may be the cause.
func (d *Document) diffSettings(diff *analyze.Difference) {
	var rows [][2]string
	for _, s := range diff.Settings {
		rows = append(rows, [2]string{s.What, orUnknown(s.A) + " → " + orUnknown(s.B)})
	}
	if len(rows) > 0 {
		d.Note("not the same in both:")
		d.Fields(rows...)
	}
}

func orUnknown(text string) string {
	if text == "" {
		return "not known"
	}
	return text
}

// diffClock says that the GPU ran slower or faster as a whole.
func (d *Document) diffClock(c *analyze.DiffClock) {
	if c.A == 0 || c.B == 0 || math.Abs(float64(c.B-c.A)) < 0.02*float64(c.A) {
		return
	}
	text := fmt.Sprintf("the GPU's clock differs: %d MHz%s, then %d MHz%s; kernels bound by it take %s of the time they took", c.A, why(c.ThrottledA), c.B, why(c.ThrottledB), Share(float64(c.A)/float64(c.B)))
	d.Alert(text)
}

func why(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// eachText writes how long a call of a kernel took in both.
func eachText(k *analyze.DiffKernel) string {
	switch {
	case k.CountA == 0:
		return "new, " + Duration(k.B/k.CountB)
	case k.CountB == 0:
		return "gone, " + Duration(k.A/k.CountA)
	}
	a, b := k.A/k.CountA, k.B/k.CountB
	if math.Abs(b-a) < 0.02*a {
		return Duration(b)
	}
	return Duration(a) + " → " + Duration(b)
}

// diffCauses says what of the kernels' change comes from how many there are, and what from how long they take.
func diffCauses(r *analyze.DiffRow) string {
	var calls, length float64
	for i := range r.Kernels {
		c, l := r.Kernels[i].Cause()
		calls, length = calls+c, length+l
	}
	return fmt.Sprintf("; in all %s by more or fewer calls, %s by longer or shorter ones", change(calls), change(length))
}

// diffPlaces shows where GPUs are idle for longer or shorter.
func (d *Document) diffPlaces(r *analyze.DiffRow) {
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "change", Right: true}, {Title: "first", Right: true, Drop: 1}, {Title: "second", Right: true, Drop: 2}, {Title: "times", Right: true, Drop: 4}, {Title: "because of"},
		{Title: "call", Drop: 3}, {Title: "before", Min: 20},
	}}
	var symbols []Symbol
	for i := range r.Places {
		p := &r.Places[i]
		if len(t.Rows) >= diffPlaceRows || math.Abs(p.Delta) < 0.005*max(r.WallA, r.WallB) {
			break
		}
		times := perStep(uint64(math.Round(p.CountB*100)), 100)
		if math.Abs(p.CountA-p.CountB) > 0.01 {
			times = perStep(uint64(math.Round(p.CountA*100)), 100) + " → " + times
		}
		symbols = append(symbols, kernelSymbol(p.Symbol, p.Before))
		t.Rows = append(t.Rows, []string{change(p.Delta), Duration(p.A), Duration(p.B), times, p.Cause, p.Call, p.Before})
	}
	if len(t.Rows) == 0 {
		return
	}
	t.Columns[6].Fit = func(width int) []string { return Shorten(symbols, width) }
	d.Heading("Idle", "the places in a step where it changed most, among the largest of each cause")
	d.Table(t)
}
