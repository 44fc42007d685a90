package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// benchReferences adds NVIDIA's libraries beside ours. Both times are of the comparison itself, where each has the other's clock.
func (d *Document) benchReferences(rows []result.Row) {
	t := &Table{Columns: []Column{
		{Title: "what", Min: 14}, {Title: "shape"}, {Title: "type"}, {Title: "ours", Right: true}, {Title: "theirs", Right: true}, {Title: "ratio", Right: true},
		{Title: "p10–p90", Right: true, Drop: 1}, {Title: "pairs", Right: true, Drop: 4}, {Title: "MHz", Right: true, Drop: 5}, {Title: "first choice", Right: true, Drop: 2}, {Title: "p10–p90", Right: true, Drop: 6}, {Title: "library", Drop: 3},
	}}
	var names []string
	choice := false
	for i := range rows {
		r, ref := &rows[i], rows[i].Reference
		if ref == nil || ref.Ratio.N == 0 {
			continue
		}
		work := r.Operations
		if work == 0 {
			work = r.Bytes
		}
		rate := func(q result.Times) string {
			if !(q.Median > 0) {
				return dash
			}
			return benchRate(r, work/q.Median)
		}
		quantiles := func(q result.Times) string { return fmt.Sprintf("%.3f–%.3f", q.P10, q.P90) }
		q, first, firstSpread := ref.Ratio, "", ""
		if ref.First != nil && ref.First.N > 0 {
			first, firstSpread, choice = fmt.Sprintf("×%.3f", ref.First.Median), quantiles(*ref.First), true
		}
		names = append(names, r.What)
		t.Rows = append(t.Rows, []string{r.What, r.Shape, r.Element, rate(ref.Ours), rate(ref.Theirs), fmt.Sprintf("×%.3f", q.Median), quantiles(q),
			fmt.Sprint(q.N), positive(benchClock(&ref.Conditions)), first, firstSpread, ref.Library})
	}
	if len(t.Rows) == 0 {
		return
	}
	d.Heading("beside libraries", "in turns on the same buffers: ours, theirs, theirs, ours")
	t.Columns[0].Fit = Fitted(names)
	d.Table(t)
	d.Note("ratio: their time over ours, pair by pair; above 1 ours is faster. The rates are those of the comparison, almost half a second without rests: where power is at " +
		"its limit they are below the bursts above, for both alike.")
	if choice {
		d.Note("first choice: the ratio to what the library itself would choose; where there is none, that is the fastest of its ways, which is what ratio is to")
	}
}

// agreed is within how much the two times of a row are the same.
const agreed = 0.02

// benchTraced adds CUPTI's times beside those of events, of a run that recorded itself.
func (d *Document) benchTraced(rows []result.Row) {
	t := &Table{Columns: []Column{
		{Title: "what", Min: 14}, {Title: "shape"}, {Title: "type", Drop: 3}, {Title: "events", Right: true}, {Title: "CUPTI", Right: true}, {Title: "p10–p90", Right: true, Drop: 1},
		{Title: "difference", Right: true}, {Title: "p10–p90", Right: true, Drop: 2}, {Title: "samples", Right: true, Drop: 4},
	}}
	var names, apart []string
	alike, host := 0, false
	for i := range rows {
		r := &rows[i]
		if r.Traced == nil || r.TracedPart == nil || !(r.Times.Median > 0) {
			continue
		}
		part := r.TracedPart
		switch {
		case math.Abs(part.Median-1) <= agreed:
			alike++
		default:
			apart = append(apart, strings.TrimSpace(r.What+" "+r.Shape))
			host = host || r.Limit == result.ByHost
		}
		percent := func(v float64) string { return fmt.Sprintf("%+.2f", 100*(v-1)) }
		names = append(names, r.What)
		t.Rows = append(t.Rows, []string{r.What, r.Shape, r.Element, Duration(r.Times.Median * 1e9), Duration(r.Traced.Median * 1e9), spread(*r.Traced),
			percent(part.Median) + " %", percent(part.P10) + " to " + percent(part.P90), fmt.Sprint(part.N)})
	}
	if len(t.Rows) == 0 {
		return
	}
	d.Heading("traced", "the same runs by events and by CUPTI")
	t.Columns[0].Fit = Fitted(names)
	d.Table(t)
	d.Note("difference: of each sample with itself, from the start of its first kernel or copy to the end of its last; events also see what lies between them and the work.")
	text := fmt.Sprintf("%d of %d within %g %%", alike, len(t.Rows), 100*agreed)
	if len(apart) > 0 {
		slices.Sort(apart)
		text += ", not: " + strings.Join(apart, ", ")
	}
	d.Note(text + ".")
	if host {
		d.Note("pageable memory: the host copies through a buffer of the driver's before the first piece goes over, or after the last one has come; events see it, CUPTI does not.")
	}
}
