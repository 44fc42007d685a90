package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// stepRows is how many GPUs and processes reports of steps show one by one.
const stepRows = 4

// Steps writes what was asked for of steps: where they are, where their time goes, why GPUs idle.
func (d *Document) steps(in *analyze.Inspection) {
	if s := in.Steps; s != nil {
		if len(s.Rows) == 0 {
			d.Heading("Steps", "")
			d.Line("none: nothing ran on a GPU")
		}
		for i := range s.Rows[:min(len(s.Rows), stepRows)] {
			d.stepRow(&s.Rows[i], len(s.Rows) > 1)
		}
		d.doubts(in, len(s.Rows))
		d.more(len(s.Rows)-stepRows, "--json lists them")
	}
	d.activity(in)
	d.account(in)
	d.idle(in)
	d.rooflines(in)
}

// doubts writes what makes the figures above doubtful.
func (d *Document) doubts(in *analyze.Inspection, rows int) {
	if rows == 0 {
		return
	}
	for _, text := range in.Doubts {
		d.Alert("in doubt: " + text)
	}
}

// of names the process and GPU of a row where there are several.
func of(k *analyze.Key, several bool) string {
	if !several {
		return ""
	}
	return "   " + k.Name + ", " + k.GPU
}

// units writes a number of steps.
func units(n int, unit string) string {
	if unit == "trace" {
		return "no step found"
	}
	return plural(n, unit, unit+"s")
}

func (d *Document) stepRow(r *analyze.StepRow, several bool) {
	var note string
	switch r.Source {
	case analyze.StepsByRange:
		note = fmt.Sprintf("%s, by NVTX ranges %q", units(r.Found, r.Unit), Clean(r.Marker))
		if r.Repeats > 0 {
			note += fmt.Sprintf("; the sequence of kernels repeats %s", plural(r.Repeats, "time", "times"))
		}
	case analyze.StepsByPeriod:
		note = units(r.Found, r.Unit) + ", by the sequence of kernels, which repeats"
	default:
		note = "nothing repeats at least three times: all of the trace is looked at as one"
	}
	d.Heading("Steps"+of(&r.Key, several), note)
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "phase"}, {Title: "steps", Right: true}, {Title: "median", Right: true}, {Title: "p10", Right: true, Drop: 1}, {Title: "p90", Right: true, Drop: 1},
		{Title: "GPU busy", Right: true}, {Title: "of it", Right: true}, {Title: "kernels", Right: true, Drop: 2}, {Title: ""},
	}}
	for _, p := range r.Phases {
		note := ""
		if p.Phase == analyze.PhaseSteady && len(r.Phases) > 1 {
			note = "measured"
		}
		share := 0.0
		if p.Wall.Mean > 0 {
			share = p.Busy.Mean / p.Wall.Mean
		}
		t.Rows = append(t.Rows, []string{
			p.Phase, Count(p.Count), Duration(p.Wall.Median), Duration(p.Wall.P10), Duration(p.Wall.P90), Duration(p.Busy.Median), Share(share),
			Count(p.Kernels.Median), note,
		})
	}
	if !slices.ContainsFunc(r.Phases, func(p analyze.StepPhase) bool { return p.Count > 1 }) {
		t.without("p10", "p90")
	}
	d.Table(t)
	switch {
	case r.PartOnly():
		d.Alert(fmt.Sprintf("in doubt: what repeats takes %s of the time: it may be a part of a step, like a layer, or of requests of many kinds", Share(float64(r.CoveredNS)/float64(r.ActiveNS))))
	case r.Unit == "repetition":
		d.Note("no optimizer's kernels were seen three times or more: what repeats may be a part of a step, like a layer")
	}
	if r.Found > 1 {
		d.strip(r)
	}
	if r.CutNS > 0 {
		d.Note("no steps were found before " + Offset(r.CutNS) + ": only what comes later is looked at; --from and --to choose another part")
	}
}

// strip draws the steps' times.
func (d *Document) strip(r *analyze.StepRow) {
	s := strip{}
	for i := range r.Steps {
		s.values = append(s.values, r.Steps[i].WallNS)
		s.quiet = append(s.quiet, r.Steps[i].Phase != analyze.PhaseSteady)
	}
	d.blocks = append(d.blocks, s)
}

// strip is a row of bars, one a step, or one for the slowest of several.
type strip struct {
	values []int64
	quiet  []bool // not measured
}

// levels are bars of growing height.
const levels = "▁▂▃▄▅▆▇█"

func (s strip) lines(style Style) []string {
	var most int64
	for i, v := range s.values {
		if !s.quiet[i] {
			most = max(most, v)
		}
	}
	if most == 0 {
		return nil
	}
	room := style.width() - 2*margin
	each := (len(s.values) + room - 1) / room
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", margin))
	run, dimmed := "", false
	flush := func() {
		t := plain
		if dimmed {
			t = dim
		}
		b.WriteString(style.paint(t, run))
		run = ""
	}
	for i := 0; i < len(s.values); i += each {
		var v int64
		quiet := true
		for j := i; j < min(i+each, len(s.values)); j++ {
			v = max(v, s.values[j])
			quiet = quiet && s.quiet[j]
		}
		if quiet != dimmed {
			flush()
			dimmed = quiet
		}
		level := int(min(v, most) * 8 / (most + 1))
		run += string([]rune(levels)[level])
	}
	flush()
	what := "one bar a step"
	if each > 1 {
		what = fmt.Sprintf("one bar for the slowest of %d steps", each)
	}
	return []string{"", b.String(), strings.Repeat(" ", margin) + style.paint(dim, fmt.Sprintf("%s; the highest is %s", what, Duration(most)))}
}
