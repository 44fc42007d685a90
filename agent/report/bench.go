package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/bench/result"
)

// Bench lays out what `warpscope bench` found. Compared, where it is not nil, is the same beside another run.
func Bench(r *result.Result, compared []result.Change) *Document {
	d := &Document{}
	g := &r.GPU
	d.Title(g.Name)
	var others []string
	for _, p := range r.Others {
		text := fmt.Sprintf("process %d", p.PID)
		if p.Bytes > 0 {
			text += " with " + Bytes(p.Bytes)
		}
		others = append(others, text)
	}
	d.Fields(
		[2]string{"GPU", g.UUID},
		[2]string{"driver", versionText(g)},
		[2]string{"hardware", fmt.Sprintf("compute capability %d.%d, %d multiprocessors, %s of memory (%s free), L2 %s", g.Major, g.Minor, g.Multiprocessors,
			Bytes(g.Memory), Bytes(g.Free), Bytes(g.L2))},
		[2]string{"measured", fmt.Sprintf("%s, %s, by warpscope %s", Moment(r.Taken.UnixNano()), Duration(r.Took*1e9), r.Tool)},
		[2]string{"also there", strings.Join(others, ", ")},
	)
	if g.Simulated {
		d.Alert("This is the simulated device: it computes nothing, and no time says anything about a GPU.")
	}
	if slices.ContainsFunc(r.Rows, func(row result.Row) bool { return row.Conditions.Busy }) {
		d.Alert("The GPU was busy with another process when this began: every rate here is of what that left.")
	}
	for _, n := range r.Notes {
		d.Note(n)
	}
	for from := 0; from < len(r.Rows); {
		to := from
		for to < len(r.Rows) && r.Rows[to].Suite == r.Rows[from].Suite {
			to++
		}
		d.benchSuite(r, r.Rows[from:to])
		from = to
	}
	if roofs := benchRoofline(r); len(roofs.Points) > 0 {
		d.Heading("roofline", "what products and attention reach, under the ceilings")
		d.Roofline(roofs)
	}
	d.benchTraced(r.Rows)
	d.benchCompared(compared)
	d.benchSummary(r)
	return d
}

func versionText(g *result.GPU) string {
	text := fmt.Sprintf("for CUDA %d.%d", g.CUDA/1000, g.CUDA%1000/10)
	if g.Driver != "" {
		text = g.Driver + ", " + text
	}
	return text
}

// benchSuite adds a suite's table and what is to be said of its rows.
func (d *Document) benchSuite(r *result.Result, rows []result.Row) {
	d.Heading(rows[0].Suite, "")
	t := &Table{Columns: []Column{
		{Title: "what", Min: 16}, {Title: "shape"}, {Title: "type", Drop: 1}, {Title: "median", Right: true}, {Title: "p10–p90", Right: true, Drop: 3},
		{Title: "rate", Right: true}, {Title: "moved", Right: true, Drop: 5}, {Title: "of sheet", Right: true}, {Title: "of measured", Right: true},
		{Title: "bound by", Drop: 2}, {Title: "sustained", Right: true, Drop: 4}, {Title: "scratch", Right: true, Drop: 4}, {Title: "library", Right: true, Drop: 1},
		{Title: "MHz", Right: true, Drop: 6}, {Title: "W", Right: true, Drop: 7}, {Title: "°C", Right: true, Drop: 8}, {Title: "flags"},
	}}
	var names []string
	for i := range rows {
		names = append(names, rows[i].What)
		t.Rows = append(t.Rows, benchCells(&rows[i]))
	}
	t.Columns[0].Fit = Fitted(names)
	d.Table(t)
	for i := range rows {
		row := &rows[i]
		name := strings.TrimSpace(row.What + " " + row.Shape + " " + row.Element)
		if row.Failure != "" {
			d.Alert(name + ": FAILED: " + row.Failure)
		}
		if ref := row.Reference; ref != nil && ref.Failure != "" {
			d.Alert(fmt.Sprintf("%s: %s: %s", name, ref.Library, ref.Failure))
		}
	}
	d.benchNotes(rows)
}

// benchNotes says what is to be said of rows, and what several have in common once.
func (d *Document) benchNotes(rows []result.Row) {
	of := map[string][]string{}
	var notes []string
	for i := range rows {
		all := rows[i].Notes
		if rows[i].Skipped != "" {
			all = append(slices.Clone(all), "skipped: "+rows[i].Skipped)
		}
		for _, n := range all {
			if of[n] == nil {
				notes = append(notes, n)
			}
			of[n] = append(of[n], strings.TrimSpace(rows[i].What+" "+rows[i].Shape))
		}
	}
	const few = 3
	for _, n := range notes {
		who := strings.Join(of[n], ", ")
		if len(of[n]) > few {
			who = fmt.Sprintf("%d rows", len(of[n]))
		}
		d.Note(who + ": " + n)
	}
}

func benchCells(r *result.Row) []string {
	j, c := &r.Judgement, &r.Conditions
	cells := []string{r.What, r.Shape, r.Element}
	switch {
	case r.Failure != "" && !(r.Times.Median > 0):
		return append(cells, "FAILED")
	case r.Skipped != "":
		return append(cells, "skipped")
	case !(r.Times.Median > 0):
		return append(cells, dash)
	}
	cells = append(cells, Duration(r.Times.Median*1e9), spread(r.Times))
	rate, moved := benchRate(r, j.Rate), ""
	if j.Useful > 0 {
		rate, moved = Rate(j.Useful), rate
	}
	bound := string(j.Bound)
	if r.Limit != "" {
		bound = r.Limit
	}
	sustained, scratch, library := "", "", ""
	if s := r.Sustained; s != nil {
		sustained = benchRate(r, s.Rate)
	}
	if r.Suite == "attention" {
		scratch = Bytes(r.Scratch)
	}
	if ref := r.Reference; ref != nil && ref.Ratio.N > 0 {
		library = fmt.Sprintf("×%.2f (%.2f–%.2f) %s", ref.Ratio.Median, ref.Ratio.P10, ref.Ratio.P90, ref.Library)
	}
	flags := c.Flags()
	if r.Failure != "" {
		flags = strings.TrimPrefix(flags+", FAILED", ", ")
	}
	if s := r.Sustained; s != nil && s.Conditions.Flags() != "" && flags == "" {
		flags = "sustained: " + s.Conditions.Flags()
	}
	return append(cells, rate, moved, shareOrBlank(j.OfDatasheet), shareOrBlank(j.OfRoof), bound, sustained, scratch, library,
		positive(float64(c.Clock)), positive(float64(c.Power)/1000), positive(float64(c.Temperature)), flags)
}

// spread writes the quantiles of a time in one unit.
func spread(t result.Times) string {
	low, high := Duration(t.P10*1e9), Duration(t.P90*1e9)
	number, unit, _ := strings.Cut(low, " ")
	if strings.HasSuffix(high, " "+unit) {
		return number + "–" + high
	}
	return low + "–" + high
}

// benchRate writes a rate; operations in tera, so that a column compares.
func benchRate(r *result.Row, rate float64) string {
	const tera = 1e12
	switch {
	case rate <= 0:
		return ""
	case r.Operations == 0:
		return Rate(rate)
	case r.Element == "int8":
		return digits(rate/tera) + " TOP/s"
	}
	return digits(rate/tera) + " TFLOP/s"
}

func shareOrBlank(part float64) string {
	if part <= 0 {
		return ""
	}
	return Share(part)
}

func positive(v float64) string {
	if v <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}

// benchCompared adds the rows of another run beside these.
func (d *Document) benchCompared(changes []result.Change) {
	if changes == nil {
		return
	}
	d.Heading("compared", "median times; ~: the spreads (p10 to p90) overlap")
	if len(changes) == 0 {
		d.Line("The other run has none of these rows.")
		return
	}
	t := &Table{Columns: []Column{{Title: "what", Min: 16}, {Title: "shape"}, {Title: "type", Drop: 1}, {Title: "was", Right: true}, {Title: "is", Right: true}, {Title: "speed", Right: true}}}
	var names []string
	for _, c := range changes {
		speed := fmt.Sprintf("×%.3f", c.Faster)
		if !c.Apart {
			speed = "~ " + speed
		}
		names = append(names, c.Now.What)
		t.Rows = append(t.Rows, []string{c.Now.What, c.Now.Shape, c.Now.Element, Duration(c.Was * 1e9), Duration(c.Is * 1e9), speed})
	}
	t.Columns[0].Fit = Fitted(names)
	d.Table(t)
}

// benchSummary says what shares are of, and what speaks against these figures.
func (d *Document) benchSummary(r *result.Result) {
	d.Heading("in short", "")
	if len(r.Datasheet.Rates) == 0 {
		d.Note("of sheet: there is no datasheet of " + r.GPU.Name + " at hand")
	} else {
		d.Note("of sheet: share of what the datasheet of " + r.Datasheet.GPU + " allows for as many operations and bytes, dense")
	}
	d.Note("of measured: share of the best rate of plain streams and products in this run, else of those saved by --save")
	if n := r.Throttled(); n > 0 {
		d.Alert(fmt.Sprintf("%s measured while the GPU held its clock down: see the flags", plural(n, "row was", "rows were")))
	}
	if n := r.Failed(); n > 0 {
		d.Alert(plural(n, "row", "rows") + " FAILED")
		return
	}
	d.Line(fmt.Sprintf("%s, all results right, %s.", plural(len(r.Rows), "row", "rows"), Duration(math.Round(r.Took)*1e9)))
}
