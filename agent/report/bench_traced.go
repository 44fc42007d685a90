package report

import (
	"fmt"
	"math"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// agreed is within how much the two times of a row are the same.
const agreed = 0.02

// benchTraced adds CUPTI's times beside those of events, of a run that recorded itself.
func (d *Document) benchTraced(rows []result.Row) {
	t := &Table{Columns: []Column{
		{Title: "what", Min: 16}, {Title: "shape"}, {Title: "type"}, {Title: "events", Right: true}, {Title: "CUPTI", Right: true}, {Title: "p10–p90", Right: true, Drop: 1},
		{Title: "difference", Right: true}, {Title: "runs", Right: true, Drop: 2},
	}}
	var names []string
	alike := 0
	for i := range rows {
		r := &rows[i]
		if r.Traced == nil || !(r.Times.Median > 0) {
			continue
		}
		off := r.Traced.Median/r.Times.Median - 1
		if math.Abs(off) <= agreed {
			alike++
		}
		names = append(names, r.What)
		t.Rows = append(t.Rows, []string{r.What, r.Shape, r.Element, Duration(r.Times.Median * 1e9), Duration(r.Traced.Median * 1e9), spread(*r.Traced),
			fmt.Sprintf("%+.1f %%", 100*off), fmt.Sprint(r.Traced.N)})
	}
	if len(t.Rows) == 0 {
		return
	}
	d.Heading("traced", "one run as CUPTI recorded it beside the same runs timed by events")
	t.Columns[0].Fit = Fitted(names)
	d.Table(t)
	d.Note(fmt.Sprintf("%d of %d within %g %%. CUPTI times what runs on the GPU; events also see the gap between two launches, about a microsecond.",
		alike, len(t.Rows), 100*agreed))
}
