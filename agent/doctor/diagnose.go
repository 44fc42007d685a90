package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Parts are what an inspection must hold to be diagnosed.
const Parts = analyze.PartsOfSteps | analyze.PartCopies | analyze.PartCalls

const (
	// errorShare and warningShare are the parts of a step from which on a cost is one.
	errorShare   = 0.20
	warningShare = 0.05
	// hostShare is from which part of a step on host code that nobody can see into is worth a note.
	hostShare = 0.03
)

// Diagnose applies all rules to a trace.
func Diagnose(in *analyze.Inspection) *Diagnosis {
	d := &Diagnosis{File: in.File, Simulated: in.Simulated, Findings: []Finding{}, Notes: []Note{}, RuledOut: []Clear{}}
	cases := casesOf(in)
	if in.Sampling != nil {
		d.Verdict = "The timeline was recorded in windows, under a budget: they cut steps apart and leave time out between them, so time is not judged."
		d.Notes = append(d.Notes, Note{
			Text:  "the causes of lost time need a timeline without gaps; totals of kernels, estimated, are in warpscope inspect --kernels",
			Rerun: rerun(in, "--duration 10s"),
		})
		return d
	}
	if len(cases) == 0 {
		d.Verdict = "Nothing ran on a GPU while this trace was recorded: there is no time to judge."
		d.Notes = append(d.Notes, Note{Text: "no kernels, copies or graphs are in the trace", Rerun: rerun(in, "--mode timeline")})
		return d
	}
	for _, r := range Rules() {
		d.apply(r, cases)
	}
	d.rank(cases)
	d.doubt(in, cases)
	d.notes(in, cases)
	d.verdict(cases)
	return d
}

// casesOf returns the GPUs of each process that have something to judge, the busiest first.
func casesOf(in *analyze.Inspection) []*Case {
	var out []*Case
	if in.Account == nil || in.Steps == nil || in.Idle == nil {
		return nil
	}
	for i := range in.Account.Rows {
		c := &Case{In: in, Account: &in.Account.Rows[i], Step: &in.Steps.Rows[i], Idle: &in.Idle.Rows[i]}
		if c.Account.Steps == 0 || c.Account.WallNS == 0 {
			continue
		}
		for j := range in.Processes {
			if in.Processes[j].PID == c.Account.PID {
				c.Process = &in.Processes[j]
			}
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(x, y *Case) int { return cmp.Compare(y.Account.Facts.Launches, x.Account.Facts.Launches) })
	return out
}

// apply applies one rule to all cases: of several findings the costliest stands for all.
func (d *Diagnosis) apply(r Rule, cases []*Case) {
	var worst *Finding
	var clear string
	found, judged := 0, 0
	var lacks, again string
	for _, c := range cases {
		text, rerun := "", ""
		for _, n := range r.needs {
			if text, rerun = n.missing(c); text != "" {
				break
			}
		}
		if text != "" {
			if lacks == "" {
				lacks, again = text, rerun
			}
			continue
		}
		judged++
		f, against := r.judge(c)
		if f == nil {
			if clear == "" {
				clear = against
			}
			continue
		}
		found++
		f.ID, f.Where = r.ID, c.where()
		if worst == nil || f.Cost.SecondsPerStep > worst.Cost.SecondsPerStep {
			worst = f
		}
	}
	switch {
	case worst != nil:
		if len(cases) > 1 {
			worst.Evidence = append(worst.Evidence, Evidence{What: fmt.Sprintf("processes and GPUs, of %d, on which this holds", len(cases)), Figure: float64(found), Unit: "count", Source: Counted})
		}
		d.Findings = append(d.Findings, *worst)
	case judged == 0 && lacks != "":
		d.Notes = append(d.Notes, Note{ID: r.ID, Text: "cannot be judged: " + lacks, Rerun: again})
	case clear != "":
		d.RuledOut = append(d.RuledOut, Clear{r.ID, clear})
	}
}

// rank settles severities and orders the findings: what costs most comes first. A cost is judged as a
// part of what the costlier findings leave of the step.
func (d *Diagnosis) rank(cases []*Case) {
	slices.SortStableFunc(d.Findings, func(x, y Finding) int {
		return cmp.Compare(y.Cost.SecondsPerStep, x.Cost.SecondsPerStep)
	})
	left := 1.0
	for i := range d.Findings {
		f := &d.Findings[i]
		if f.Severity != "" {
			continue
		}
		share := f.Cost.Share / max(left, 0.01)
		switch {
		// Without steps the start-up is part of it, and nothing is certain enough.
		case share >= errorShare && f.Cost.Source != Estimated && !cases[0].whole() && !cases[0].Step.PartOnly():
			f.Severity = Error
		case share >= warningShare:
			f.Severity = Warning
		default:
			f.Severity = NoteSev
		}
		if f.Cost.Source != Estimated {
			left -= f.Cost.Share
		}
	}
	slices.SortStableFunc(d.Findings, func(x, y Finding) int {
		if x.Severity == NoteSev && y.Severity == NoteSev && x.verdict != y.verdict {
			if x.verdict {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.Severity.rank(), x.Severity.rank())
	})
	for i := range d.Findings {
		f := &d.Findings[i]
		if f.Evidence == nil {
			f.Evidence = []Evidence{}
		}
		if f.Fix == nil {
			f.Fix = []Fix{}
		}
		if f.RuledOut == nil {
			f.RuledOut = []string{}
		}
	}
}

// notes says what nobody can know from this trace.
func (d *Diagnosis) notes(in *analyze.Inspection, cases []*Case) {
	c := cases[0]
	if host := c.host(); c.share(host) >= hostShare {
		text := fmt.Sprintf("for %s (%s) the GPU waited for code outside CUDA: Python, data loading, other libraries; the trace does not say which", c.each(host), percent(c.share(host)))
		if line, samples := c.lines("python", 3); line != "" {
			text = fmt.Sprintf("for %s (%s) the GPU waited for code outside CUDA; Python was then", c.each(host), percent(c.share(host)))
			for i, s := range samples {
				_, where, _ := strings.Cut(s.What, ", ")
				text += fmt.Sprintf("%s %s (%s of the samples)", []string{"", ","}[min(i, 1)], where, percent(s.Figure))
			}
		}
		for _, cause := range []string{"host", "python"} {
			if p := c.Idle.Cause(cause).Places; len(p) > 0 && c.line("idle-"+cause)*2 >= host {
				text += "; most of it " + placeText(&p[0])
			}
		}
		d.Notes = append(d.Notes, Note{Text: text, Rerun: "py-spy record --native -o host.svg -- " + strings.TrimPrefix(rerunCommand(in), " ")})
	}
	if c.Account.Unit == "trace" {
		d.Notes = append(d.Notes, Note{Text: "no step was found: nothing in the trace repeats at least three times. All figures are of the whole trace, start-up included"})
	}
	if c.Account.Unit == "repetition" && !c.Step.PartOnly() {
		d.Notes = append(d.Notes, Note{Text: "what repeats may be less than a step: no optimizer's kernels come three times or more in the trace. All figures are per repetition"})
	}
	if over := c.Account.Facts.CaptureOverheads; c.share(over) >= 0.02 {
		d.Notes = append(d.Notes, Note{Text: fmt.Sprintf("the tracing's own work took %s of %s of a thread's time (CUPTI's account): without it, the program is faster", duration(c.ns(over)), c.a())})
	}
}

// doubt says what makes all figures doubtful, and takes certainty from the findings that rest on them.
func (d *Diagnosis) doubt(in *analyze.Inspection, cases []*Case) {
	d.Doubts = slices.Clone(in.Doubts)
	part := cases[0].Step
	if part.PartOnly() {
		d.Doubts = append(d.Doubts, fmt.Sprintf("what repeats takes %s of the time: it may be a part of a step, like a layer, or of requests of many kinds, and not where most time goes; NVTX ranges named like steps tell what is one",
			percent(float64(part.CoveredNS)/float64(part.ActiveNS))))
	}
	if !in.DoubtfulCauses && !part.PartOnly() {
		return
	}
	for i := range d.Findings {
		if f := &d.Findings[i]; f.Confidence == High {
			f.Confidence = Medium
		}
	}
}

// host is the time for which the GPU waited for code outside CUDA, known by its lines or not at all.
func (c *Case) host() int64 { return c.line("idle-host") + c.line("idle-python") }

// unseen says where that code is, or that nobody knows.
func (c *Case) unseen() string {
	if line, _ := c.lines("python", 1); line != "" && c.line("idle-python") > c.line("idle-host") {
		return ", mostly of Python at " + line
	}
	return ", which this trace cannot see into"
}

func rerunCommand(in *analyze.Inspection) string {
	_, command, _ := strings.Cut(rerun(in, ""), " -- ")
	return command
}

// verdict says the most important thing in one or two sentences.
func (d *Diagnosis) verdict(cases []*Case) {
	c := cases[0]
	if len(d.Findings) > 0 {
		for _, other := range cases {
			if other.where() == d.Findings[0].Where {
				c = other
			}
		}
	}
	d.Unit, d.StepNS = c.unit(), c.ns(c.Account.WallNS)
	busy := c.share(c.group(analyze.GroupCompute))
	what := c.a()
	text := fmt.Sprintf("%s takes %s; the GPU computes %s of that time.", strings.ToUpper(what[:1])+what[1:], duration(d.StepNS), percent(busy))
	if host := c.host(); c.share(host) >= warningShare && (len(d.Findings) == 0 || c.seconds(host) > d.Findings[0].Cost.SecondsPerStep) {
		text += fmt.Sprintf(" For %s (%s) it waits for code outside CUDA%s.", c.each(host), percent(c.share(host)), c.unseen())
		if len(d.Findings) > 0 && d.Findings[0].Severity != NoteSev {
			text += " Of what it can tell:"
		}
	}
	if len(d.Findings) == 0 || d.Findings[0].Severity == NoteSev {
		d.Verdict = text + " Nothing found costs a twentieth of it or more."
		return
	}
	f := &d.Findings[0]
	cost := duration(f.Cost.SecondsPerStep * 1e9)
	if f.Cost.Source == Estimated {
		cost = "about " + cost
	}
	lead := " Most is to be gained here: "
	if strings.HasSuffix(text, ":") {
		lead = " "
	}
	d.Verdict = text + lead + lower(f.Title)
	if f.Cost.SecondsPerStep > 0 {
		d.Verdict += fmt.Sprintf(" (%s, %s of it)", cost, percent(f.Cost.Share))
	}
	d.Verdict += "."
}

// lower begins a sentence's part in lower case, unless it begins with an abbreviation.
func lower(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// Fails says whether a diagnosis has a finding with an identifier or, given a severity, at least that
// severity.
func (d *Diagnosis) Fails(on string) bool {
	for _, f := range d.Findings {
		if f.ID == on {
			return true
		}
		if s := Severity(on); IsSeverity(on) && f.Severity.rank() >= s.rank() {
			return true
		}
	}
	return false
}

// IsSeverity says whether a word is a severity.
func IsSeverity(word string) bool {
	return slices.Contains([]Severity{Error, Warning, NoteSev}, Severity(word))
}
