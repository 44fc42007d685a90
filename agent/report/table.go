package report

import (
	"fmt"
	"slices"
	"strings"
)

// Column is a column of a Table.
type Column struct {
	Title string
	Right bool // aligned to the right: figures
	// Drop orders columns that may be left out where the line is too short: the highest goes
	// first, 0 stays.
	Drop int
	// Fit shortens a column's cells to a width, all together, so that they stay distinct. A column
	// with it takes what room the others leave. nil: cells are as wide as they are.
	Fit func(width int) []string
	// Min is what a column with Fit needs at least; below it, others are left out.
	Min int
}

// Table is rows of cells under titles.
type Table struct {
	Columns []Column
	Rows    [][]string // a cell of a column with Fit is its whole text
	// Total is a last row set apart; nil: none.
	Total []string
	// Quiet leaves out the note on columns that are hidden.
	Quiet bool
}

// without takes columns away, by their titles.
func (t *Table) without(titles ...string) {
	for i := len(t.Columns) - 1; i >= 0; i-- {
		if !slices.Contains(titles, t.Columns[i].Title) {
			continue
		}
		t.Columns = slices.Delete(t.Columns, i, i+1)
		for r := range t.Rows {
			if i < len(t.Rows[r]) {
				t.Rows[r] = slices.Delete(t.Rows[r], i, i+1)
			}
		}
	}
}

// gap is the cells between two columns, margin those before the first.
const (
	gap    = 2
	margin = 2
)

// Fitted returns the shortener of a column that cuts its cells at the end.
func Fitted(cells []string) func(int) []string {
	return func(width int) []string {
		out := make([]string, len(cells))
		for i, c := range cells {
			out[i] = Cut(c, width)
		}
		return out
	}
}

// widest bounds the cells of text without Fit: what is longer is a stranger's joke.
const widest = 60

func (t *Table) cell(row []string, i int) string {
	if i >= len(row) {
		return ""
	}
	text := Clean(row[i])
	if t.Columns[i].Fit == nil {
		text = Cut(text, widest)
	}
	return text
}

// natural returns the width of column i with its cells whole.
func (t *Table) natural(i int) int {
	w := Width(t.Columns[i].Title)
	for _, row := range t.Rows {
		w = max(w, Width(t.cell(row, i)))
	}
	return max(w, Width(t.cell(t.Total, i)))
}

// layout chooses the columns that are shown, and their widths.
func (t *Table) layout(s Style) (shown, widths []int, hidden []string) {
	widths = make([]int, len(t.Columns))
	empty := make([]bool, len(t.Columns))
	for i := range t.Columns {
		shown = append(shown, i)
		widths[i] = t.natural(i)
		empty[i] = len(t.Rows) > 0 && !slices.ContainsFunc(t.Rows, func(r []string) bool { return t.cell(r, i) != "" })
	}
	// A column in which nothing stands tells nothing.
	shown = slices.DeleteFunc(shown, func(i int) bool { return empty[i] })
	if s.Wide {
		return shown, widths, nil
	}
	for {
		used, flexible := margin-gap, -1
		for _, i := range shown {
			used += gap
			if t.Columns[i].Fit != nil {
				flexible = i
				continue
			}
			used += widths[i]
		}
		room := s.width() - used
		if flexible >= 0 {
			if natural := t.natural(flexible); room >= min(natural, t.Columns[flexible].Min) {
				widths[flexible] = min(natural, room)
				return shown, widths, hidden
			}
		} else if room >= 0 {
			return shown, widths, hidden
		}
		worst := -1
		for _, i := range shown {
			if t.Columns[i].Drop > 0 && (worst < 0 || t.Columns[i].Drop >= t.Columns[worst].Drop) {
				worst = i
			}
		}
		if worst < 0 {
			if flexible >= 0 {
				widths[flexible] = max(room, 8)
			}
			return shown, widths, hidden
		}
		hidden = append(hidden, t.Columns[worst].Title)
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == worst })
	}
}

func (t *Table) lines(s Style) []string {
	shown, widths, hidden := t.layout(s)
	fitted := make(map[int][]string)
	for _, i := range shown {
		if fit := t.Columns[i].Fit; fit != nil && !s.Wide {
			fitted[i] = fit(widths[i])
		}
	}
	line := func(cell func(i int) string) string {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", margin))
		for n, i := range shown {
			if n > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			b.WriteString(pad(cell(i), widths[i], t.Columns[i].Right))
		}
		text := strings.TrimRight(b.String(), " ")
		if !s.Wide {
			text = Cut(text, s.width())
		}
		return text
	}
	out := []string{s.paint(dim, line(func(i int) string { return t.Columns[i].Title }))}
	for r, row := range t.Rows {
		out = append(out, line(func(i int) string {
			if cells := fitted[i]; cells != nil && r < len(cells) {
				return Clean(cells[r])
			}
			return t.cell(row, i)
		}))
	}
	if t.Total != nil {
		out = append(out, s.paint(dim, line(func(i int) string { return t.cell(t.Total, i) })))
	}
	if len(hidden) > 0 && !t.Quiet {
		slices.Reverse(hidden)
		note := fmt.Sprintf("hidden at %d columns: %s (--wide shows all)", s.width(), strings.Join(hidden, ", "))
		out = append(out, paragraph{text: note, tone: dim, indent: margin}.lines(s)...)
	}
	return out
}
