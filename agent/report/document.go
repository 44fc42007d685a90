package report

import (
	"bufio"
	"io"
	"strings"
)

// Style says how a document is laid out.
type Style struct {
	Width int  // cells of a line; at least 40
	Color bool // with ANSI colors
	Wide  bool // lines as long as their contents: nothing is shortened or left out
}

// width returns the cells of a line.
func (s Style) width() int { return max(s.Width, 40) }

// tone is how text stands out.
type tone int

const (
	plain tone = iota
	bold
	dim
	alert
)

func (s Style) paint(t tone, text string) string {
	if !s.Color || t == plain || text == "" {
		return text
	}
	code := [...]string{bold: "1", dim: "2", alert: "33"}[t]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Document is a report for people: headings, lines, fields and tables, in order.
type Document struct{ blocks []block }

// block is a part of a Document.
type block interface {
	lines(s Style) []string
}

type heading struct{ text, note string }

func (h heading) lines(s Style) []string {
	line := s.paint(bold, h.text)
	if h.note == "" {
		return []string{"", line}
	}
	room := s.width() - Width(h.text) - 3
	if s.Wide || Width(h.note) <= room {
		return []string{"", line + "   " + s.paint(dim, h.note)}
	}
	out := []string{"", line}
	for _, l := range wrap(h.note, s.width()-2) {
		out = append(out, "  "+s.paint(dim, l))
	}
	return out
}

type paragraph struct {
	text   string
	tone   tone
	indent int
	hang   int // further indent of the lines after the first
}

func (p paragraph) lines(s Style) []string {
	margin := strings.Repeat(" ", p.indent)
	if s.Wide {
		return []string{margin + s.paint(p.tone, p.text)}
	}
	var out []string
	for i, l := range wrap(p.text, s.width()-p.indent-p.hang) {
		if i == 1 {
			margin += strings.Repeat(" ", p.hang)
		}
		out = append(out, margin+s.paint(p.tone, l))
	}
	return out
}

type fields [][2]string

func (f fields) lines(s Style) []string {
	label := 0
	for _, row := range f {
		label = max(label, Width(row[0]))
	}
	var out []string
	for _, row := range f {
		parts := []string{row[1]}
		if !s.Wide {
			parts = wrap(row[1], s.width()-label-4)
		}
		for i, part := range parts {
			name := row[0]
			if i > 0 {
				name = ""
			}
			out = append(out, "  "+s.paint(dim, pad(name, label, false))+"  "+part)
		}
	}
	return out
}

// Heading begins a section; note stands beside it.
func (d *Document) Heading(text, note string) {
	d.blocks = append(d.blocks, heading{text, Clean(note)})
}

// Line adds a line of text.
func (d *Document) Line(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), indent: 2})
}

// Hanging adds a line of a list; what does not fit on it goes on further in.
func (d *Document) Hanging(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), indent: 2, hang: 2})
}

// Note adds a line that explains.
func (d *Document) Note(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), tone: dim, indent: 2})
}

// Alert adds a line that must not be overlooked.
func (d *Document) Alert(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), tone: alert, indent: 2})
}

// Indented adds a line further in, under the one before.
func (d *Document) Indented(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), tone: dim, indent: 6})
}

// Title adds the first line.
func (d *Document) Title(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), tone: bold})
}

// Fields adds names and their values, aligned; pairs without a value are left out.
func (d *Document) Fields(pairs ...[2]string) {
	var f fields
	for _, p := range pairs {
		if p[1] != "" {
			f = append(f, [2]string{p[0], Clean(p[1])})
		}
	}
	d.blocks = append(d.blocks, f)
}

// Table adds a table.
func (d *Document) Table(t *Table) { d.blocks = append(d.blocks, t) }

// Write writes the document.
func (d *Document) Write(w io.Writer, s Style) error {
	b := bufio.NewWriter(w)
	for _, block := range d.blocks {
		for _, line := range block.lines(s) {
			b.WriteString(strings.TrimRight(line, " "))
			b.WriteByte('\n')
		}
	}
	return b.Flush()
}
