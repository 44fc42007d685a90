package report

import (
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

const (
	timelineRows    = 6
	timelineColumns = 72
)

// timeline draws how the memory of a GPU changed.
func (d *Document) timeline(t *analyze.MemoryTimeline) {
	note := "used, by NVML"
	if t.Source != "nvml" {
		note = "allocated by traced processes from the driver"
	}
	if len(t.Failures) > 0 {
		note += "; ✗ a call failed for want of memory"
	}
	d.Heading("Memory of "+t.GPU+" over time", note)
	d.blocks = append(d.blocks, (*timelineBlock)(t))
}

type timelineBlock analyze.MemoryTimeline

// lines draws columns of eighths.
func (t *timelineBlock) lines(s Style) []string {
	const eighths = " ▁▂▃▄▅▆▇█"
	n := len(t.Used)
	label := 0
	top := uint64(1)
	for _, v := range t.Used {
		top = max(top, v)
	}
	labels := make([]string, timelineRows)
	for i := range labels {
		switch i {
		case 0:
			labels[i] = Bytes(top)
		case timelineRows - 1:
			labels[i] = "0"
		}
		label = max(label, Width(labels[i]))
	}
	columns := min(timelineColumns, s.width()-label-6, max(n, 1))
	values := make([]uint64, columns)
	for i, v := range t.Used {
		at := i * columns / n
		values[at] = max(values[at], v)
	}
	failures := make([]bool, columns)
	length := t.StepNS * int64(n)
	for _, f := range t.Failures {
		if at := int(float64(f-t.BeginNS) / float64(max(length, 1)) * float64(columns)); at >= 0 {
			failures[min(at, columns-1)] = true
		}
	}
	steps := []rune(eighths)
	var out []string
	for r := range timelineRows {
		var b strings.Builder
		for _, v := range values {
			filled := int(float64(v)/float64(top)*timelineRows*8+0.5) - (timelineRows-1-r)*8
			b.WriteRune(steps[max(0, min(filled, 8))])
		}
		out = append(out, "  "+s.paint(dim, pad(labels[r], label, true))+" │"+b.String())
	}
	if len(t.Failures) > 0 {
		var b strings.Builder
		for _, f := range failures {
			if f {
				b.WriteRune('✗')
			} else {
				b.WriteByte(' ')
			}
		}
		out = append(out, "  "+strings.Repeat(" ", label)+"  "+s.paint(alert, b.String()))
	}
	from, to := Duration(t.BeginNS), Duration(t.BeginNS+length)
	gap := max(columns-Width(from)-Width(to), 1)
	return append(out, "  "+strings.Repeat(" ", label)+"  "+s.paint(dim, from+strings.Repeat(" ", gap)+to))
}
