package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/doctor"
)

// Diagnosis writes what the doctor found: the verdict first, then each finding with what it costs, the
// change to make and the evidence, last what was ruled out and what could not be judged.
func Diagnosis(diagnosis *doctor.Diagnosis) *Document {
	d := &Document{}
	if diagnosis.File != "" {
		d.Title(diagnosis.File)
	}
	if diagnosis.Simulated {
		d.Alert(SimulatedNote)
	}
	d.blocks = append(d.blocks, paragraph{text: "", indent: 0}, paragraph{text: Clean(diagnosis.Verdict), tone: bold, indent: 2})
	for _, text := range diagnosis.Doubts {
		d.Alert("in doubt: " + text)
	}
	several := slices.ContainsFunc(diagnosis.Findings, func(f doctor.Finding) bool { return f.Where != diagnosis.Findings[0].Where })
	for i := range diagnosis.Findings {
		d.finding(i+1, &diagnosis.Findings[i], diagnosis, several)
	}
	if diagnosis.Account != nil {
		d.memoryAccount(diagnosis.Account)
	}
	if len(diagnosis.RuledOut) > 0 {
		d.Heading("Ruled out", "")
		var rows [][2]string
		for _, c := range diagnosis.RuledOut {
			rows = append(rows, [2]string{c.ID, c.Text})
		}
		d.Fields(rows...)
	}
	if len(diagnosis.Notes) > 0 {
		d.Heading("Not known", "")
		for i, n := range diagnosis.Notes {
			if same(diagnosis.Notes[:i], n) {
				continue
			}
			text := n.Text
			if ids := lacking(diagnosis.Notes[i:]); ids != "" {
				text = ids + " " + text
			}
			d.Hanging(text)
			for _, line := range strings.Split(n.Rerun, "\n") {
				if line != "" {
					d.blocks = append(d.blocks, command{text: Clean(line), indent: 4})
				}
			}
		}
	}
	return d
}

// same says whether a note was made before, for another rule.
func same(notes []doctor.Note, n doctor.Note) bool {
	return n.ID != "" && slices.ContainsFunc(notes, func(m doctor.Note) bool { return m.ID != "" && m.Text == n.Text && m.Rerun == n.Rerun })
}

// lacking names the rules that lack what the first of some notes says.
func lacking(notes []doctor.Note) string {
	ids := []string{}
	for _, n := range notes {
		if n.ID != "" && n.Text == notes[0].Text && n.Rerun == notes[0].Rerun && notes[0].ID != "" {
			ids = append(ids, n.ID)
		}
	}
	return strings.Join(ids, ", ")
}

// command is text to paste: it is never broken into lines.
type command struct {
	text   string
	indent int
}

func (c command) lines(s Style) []string { return []string{strings.Repeat(" ", c.indent) + c.text} }

// severityTone is how a severity stands out.
func severityTone(s doctor.Severity) tone {
	switch s {
	case doctor.Error:
		return bold
	case doctor.Warning:
		return plain
	}
	return dim
}

func (d *Document) finding(n int, f *doctor.Finding, diagnosis *doctor.Diagnosis, several bool) {
	d.blocks = append(d.blocks, findingHead{fmt.Sprintf("%d  ", n), Clean(f.Title), fmt.Sprintf("%s %s", f.Severity, f.ID), severityTone(f.Severity)})
	b := findingBody{}
	if ns := f.Cost.SecondsPerStep * 1e9; ns > 0 {
		b.add("costs", "", costText(f, diagnosis))
	}
	if n := f.Cost.Bytes; n > 0 {
		b.add("takes", "", fmt.Sprintf("%s, %s of what is reserved   %s", Bytes(n), Share(f.Cost.Share), bar(f.Cost.Share, 24)))
	}
	for _, e := range f.Evidence {
		figure, text := evidenceText(&e)
		b.add("evidence", figure, text)
	}
	for _, fix := range f.Fix {
		b.add("change", "", sentence(fix.Change))
		for _, line := range strings.Split(fix.Paste, "\n") {
			if line != "" {
				b.rows = append(b.rows, bodyRow{label: "", text: line, paste: true})
			}
		}
		b.add("gain", "", sentence(fix.Gain))
	}
	if len(f.RuledOut) > 0 {
		b.add("ruled out", "", strings.Join(f.RuledOut, ", "))
	}
	sure := sureText(f.Confidence)
	if several {
		sure += "; " + f.Where
	}
	b.add("confidence", "", sure)
	d.blocks = append(d.blocks, b)
}

// sentence makes a sentence of a part of one.
func sentence(text string) string {
	if len(text) > 1 && text[0] >= 'a' && text[0] <= 'z' {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text + "."
}

func sureText(c doctor.Confidence) string {
	switch c {
	case doctor.High:
		return "high, read off the records"
	case doctor.Medium:
		return "medium, concluded from the records"
	}
	return "low, an estimate"
}

func costText(f *doctor.Finding, diagnosis *doctor.Diagnosis) string {
	about := ""
	if f.Cost.Source == doctor.Estimated {
		about = "about "
	}
	unit := "a " + diagnosis.Unit
	if diagnosis.Unit == "trace" {
		unit = "of the trace"
	}
	text := fmt.Sprintf("%s%s %s, %s of it", about, Duration(f.Cost.SecondsPerStep*1e9), unit, Share(f.Cost.Share))
	return text + "   " + bar(f.Cost.Share, 24)
}

// evidenceText writes a figure, and what it is and where it comes from.
func evidenceText(e *doctor.Evidence) (figure, text string) {
	switch e.Unit {
	case "s":
		figure = Duration(e.Figure * 1e9)
	case "share":
		figure = Share(e.Figure)
	case "FLOP/s":
		figure = OperationRate(e.Figure)
	case "B/s":
		figure = Rate(e.Figure)
	case "B":
		figure = Bytes(uint64(e.Figure))
	case "count":
		figure = perStep(uint64(e.Figure*100+0.5), 100)
	default:
		figure = digits(e.Figure) + " " + e.Unit
	}
	text = e.What
	if e.Where != "" {
		text += " (" + e.Where + ")"
	}
	if e.Source == doctor.Estimated {
		text += ", estimated"
	}
	return figure, text
}

// headWidth is how far to the right severities stand, however wide the terminal is.
const headWidth = 100

// findingHead is a finding's number and title, and its severity and identifier at the right.
type findingHead struct {
	number, text, note string
	tone               tone
}

func (h findingHead) lines(s Style) []string {
	edge := min(s.width(), headWidth)
	room := edge - Width(h.number) - Width(h.text) - Width(h.note)
	if room >= 2 {
		return []string{"", s.paint(bold, h.number+h.text) + strings.Repeat(" ", room) + s.paint(severityNote(h.tone), h.note)}
	}
	out := []string{""}
	parts := []string{h.text}
	if !s.Wide {
		parts = wrap(h.text, s.width()-Width(h.number))
	}
	before := h.number
	for _, l := range parts {
		out = append(out, s.paint(bold, before+l))
		before = strings.Repeat(" ", Width(h.number))
	}
	return append(out, strings.Repeat(" ", max(edge-Width(h.note), 3))+s.paint(severityNote(h.tone), h.note))
}

func severityNote(t tone) tone {
	if t == bold {
		return alert
	}
	return dim
}

// findingBody is labels and texts, some with a figure before them. Text to paste is never broken.
type findingBody struct{ rows []bodyRow }

type bodyRow struct {
	label, figure, text string
	paste               bool
}

func (b *findingBody) add(label, figure, text string) {
	if n := len(b.rows); n > 0 && figure != "" && b.rows[n-1].figure != "" {
		label = "" // one label for all figures
	}
	b.rows = append(b.rows, bodyRow{label: label, figure: Clean(figure), text: Clean(text)})
}

func (b findingBody) lines(s Style) []string {
	label, figure := 0, 0
	for _, r := range b.rows {
		label, figure = max(label, Width(r.label)), max(figure, Width(r.figure))
	}
	const indent = "   "
	var out []string
	for _, r := range b.rows {
		head := indent + s.paint(dim, pad(r.label, label, false)) + "  "
		rest := strings.Repeat(" ", len(indent)+label+2)
		if r.paste {
			out = append(out, rest+s.paint(bold, "  "+Clean(strings.ReplaceAll(r.text, "\t", "    "))))
			continue
		}
		room := s.width() - len(rest)
		if r.figure != "" {
			head += pad(r.figure, figure, true) + "  "
			rest += strings.Repeat(" ", figure+2)
			room -= figure + 2
		}
		parts := []string{r.text}
		if !s.Wide && Width(r.text) > room {
			parts = wrap(r.text, room)
		}
		for i, part := range parts {
			if i == 0 {
				out = append(out, head+part)
			} else {
				out = append(out, rest+part)
			}
		}
	}
	return out
}
