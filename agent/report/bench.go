package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
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
	d.benchReferences(r.Rows)
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

// longName is up to which the names of rows are not cut for the sake of other columns.
const longName = 20

// benchSuite adds a suite's table and what is to be said of its rows.
func (d *Document) benchSuite(r *result.Result, rows []result.Row) {
	d.Heading(rows[0].Suite, "")
	types := 2
	if rows[0].Suite == "matmul" { // its rows differ in nothing else
		types = 0
	}
	t := &Table{Columns: []Column{
		{Title: "what"}, {Title: "shape"}, {Title: "type", Drop: types}, {Title: "median", Right: true}, {Title: "p10–p90", Right: true, Drop: 5},
		{Title: "rate", Right: true}, {Title: "moved", Right: true, Drop: 6}, {Title: "of sheet", Right: true, Drop: 3}, {Title: "of best", Right: true},
		{Title: "bound by", Drop: 4}, {Title: "sustained", Right: true, Drop: 8}, {Title: "scratch", Right: true, Drop: 7},
		{Title: "MHz", Right: true, Drop: 9}, {Title: "W", Right: true, Drop: 10}, {Title: "°C", Right: true, Drop: 11}, {Title: "flags"},
	}}
	var names []string
	best := r.Best()
	for i := range rows {
		names = append(names, rows[i].What)
		t.Columns[0].Min = max(t.Columns[0].Min, min(Width(rows[i].What), longName))
		t.Rows = append(t.Rows, benchCells(&rows[i], best[kindOf(&rows[i])] == &rows[i]))
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

// kindOf is the ceiling that a row could define.
func kindOf(r *result.Row) ceilings.Kind {
	if r.Operations > 0 {
		return r.Peak
	}
	return r.Memory
}

// benchFlag shortens what speaks against a row; benchSummary says what each means.
func benchFlag(flag string) string {
	switch flag {
	case "power cap":
		return "cap"
	case "software thermal", "hardware thermal":
		return "hot"
	case result.LowerClock:
		return "low"
	case "hardware slowdown", "power brake":
		return "brake"
	case "sync boost":
		return "sync"
	}
	return flag
}

// benchFlags are those of a row; of its sustained part in brackets.
func benchFlags(r *result.Row) string {
	short := func(c *result.Conditions) string {
		var out []string
		for _, f := range c.Throttled {
			if s := benchFlag(f); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		if c.Busy {
			out = append(out, "busy")
		}
		return strings.Join(out, " ")
	}
	flags := short(&r.Conditions)
	if len(r.Conditions.Throttled) > 0 && r.Conditions.ClockAfter > 0 {
		flags += fmt.Sprintf(" %.0f%%", 100*r.Conditions.Below)
	}
	if s := r.Sustained; s != nil && flags == "" {
		if sustained := short(&s.Conditions); sustained != "" {
			flags = "(" + sustained + ")"
		}
	}
	if r.Failure != "" {
		flags = strings.TrimSpace(flags + " FAILED")
	}
	return flags
}

// benchCells are those of a row; best: it defines the ceiling of its kind.
func benchCells(r *result.Row, best bool) []string {
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
	switch {
	case r.Useful > 0 && r.Useful != r.Bytes:
		rate, moved = Rate(j.Useful), rate
	case r.Operations > 0 && j.Bound == result.ByMemory: // what it is judged by
		moved = Rate(r.Bytes / r.Times.Median)
	}
	bound := string(j.Bound)
	if r.Limit != "" {
		bound = r.Limit
	}
	if r.Limit == result.ByPattern { // benchSummary says of what
		bound = "pattern"
	}
	sustained, scratch := "", ""
	if s := r.Sustained; s != nil {
		sustained = benchRate(r, s.Rate)
	}
	if r.Suite == "attention" {
		scratch = Bytes(r.Scratch)
	}
	ofBest := shareOrBlank(j.OfRoof)
	if best && j.OfRoof == 1 {
		ofBest = "best"
	}
	return append(cells, rate, moved, shareOrBlank(j.OfDatasheet), ofBest, bound, sustained, scratch,
		positive(benchClock(c)), positive(float64(c.Power)/1000), positive(float64(c.Temperature)), benchFlags(r))
}

// benchClock is the clock at the end of a burst, as the GPU itself counts it, else NVML's.
func benchClock(c *result.Conditions) float64 {
	if c.ClockAfter > 0 {
		return float64(c.ClockAfter)
	}
	return float64(c.Clock)
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
	d.Note("of best: share of the best rate of plain streams and products in this run, else of those saved by --save; best: that row itself")
	bound := "bound by: what keeps a row from being faster; latency: it reaches less than half of what compute or memory allow"
	if slices.ContainsFunc(r.Rows, func(row result.Row) bool { return row.Limit == result.ByPattern }) {
		bound += "; pattern: of accesses, which uses little of what memory moves"
	}
	d.Note(bound)
	d.benchLegend(r)
	if n, slow := r.Throttled(); n > 0 {
		text := fmt.Sprintf("%s measured while the GPU held its clock down", plural(n, "row was", "rows were"))
		if slow < n {
			text += fmt.Sprintf(", %d of them at a clock that was lower by more than 2%% in the end", slow)
		}
		d.Alert(text + ": see the flags")
	}
	if n := r.Failed(); n > 0 {
		d.Alert(plural(n, "row", "rows") + " FAILED")
		return
	}
	d.Line(fmt.Sprintf("%s, all results right, %s.", plural(len(r.Rows), "row", "rows"), Duration(r.Took*1e9)))
}

// benchLegend says what the columns and flags mean that are there.
func (d *Document) benchLegend(r *result.Result) {
	sustained, used, below, brackets := 0.0, map[string]bool{}, false, false
	for i := range r.Rows {
		row := &r.Rows[i]
		if s := row.Sustained; s != nil {
			sustained = max(sustained, s.Seconds)
		}
		all := benchFlags(row)
		brackets = brackets || strings.HasPrefix(all, "(")
		for _, f := range strings.Fields(strings.Trim(all, "()")) {
			used[f] = true
			below = below || strings.HasSuffix(f, "%")
		}
	}
	if sustained > 0 {
		d.Note(fmt.Sprintf("sustained: run for %s without a pause; every other figure is of bursts of 50 ms", Duration(math.Round(sustained)*1e9)))
	}
	d.Note("MHz: the clock at the end of the burst; W: NVML's average over about a second, so less than what a burst takes")
	var flags []string
	for _, f := range [][2]string{
		{"cap", "the clock was held down to stay within the power limit"}, {"hot", "because of heat"}, {"brake", "by the hardware"}, {"sync", "to that of other GPUs"},
		{"low", "the clock was lower than in other rows, and NVML gives no reason"}, {"busy", "another process used the GPU"},
	} {
		if used[f[0]] {
			flags = append(flags, f[0]+": "+f[1])
		}
	}
	if below {
		flags = append(flags, "%: by so much, at the end of the burst")
	}
	if brackets {
		flags = append(flags, "in brackets: only while sustained")
	}
	if len(flags) > 0 {
		d.Note("flags: " + strings.Join(flags, "; "))
	}
}
