package report

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// sampling says that the trace was recorded in windows, and what is estimated.
func (d *Document) sampling(in *analyze.Inspection) {
	s := in.Sampling
	if s == nil {
		return
	}
	if !s.Estimated {
		d.Alert(fmt.Sprintf("RECORDED IN WINDOWS, under a budget (%s): kernels, copies, calls and busy times below are those of the windows, not of the run; inspect without --from, --to and --by estimates totals of kernels",
			plural(s.Windows, "window", "windows")))
		return
	}
	text := fmt.Sprintf("RECORDED IN WINDOWS, under a budget: %s, %s in all, with %s of the work of %s", plural(s.Windows, "window", "windows"),
		Duration(s.RecordedNS), Share(s.WorkShare), Duration(s.SpanNS))
	if s.FromNS > 0 {
		text += fmt.Sprintf(" (from %s on)", Offset(s.FromNS))
	}
	text += "; totals marked ± are estimated for all of it, with 95 % intervals; all else is of the windows alone (allocations and NVML's readings are whole)"
	d.Alert(text)
	if s.MeasuredWindows > 0 {
		d.Note(fmt.Sprintf("time that the program lost to %s: %s, measured; the notes of the run say how certain that is",
			plural(s.MeasuredWindows, "window", "windows"), signed(s.LossNS)))
	}
}

// signed writes a duration that may be below zero.
func signed(ns int64) string {
	if ns < 0 {
		return "-" + Duration(-ns)
	}
	return Duration(ns)
}

func estimatedCount(t *analyze.EstimatedTotal) string {
	return Count(int64(t.Value+0.5)) + " ± " + plusMinus(t, func(v float64) string { return Count(int64(v + 0.5)) })
}

func estimatedTime(t *analyze.EstimatedTotal) string {
	return Duration(int64(t.Value)) + " ± " + plusMinus(t, func(v float64) string { return Duration(int64(v)) })
}

// plusMinus writes half of an interval, the wider one.
func plusMinus(t *analyze.EstimatedTotal, write func(float64) string) string {
	if t.High == nil {
		return "?"
	}
	return write(max(*t.High-t.Value, t.Value-t.Low))
}

// estimatedTable is kernelTable for a trace that was recorded in windows.
func (d *Document) estimatedTable(groups []analyze.KernelGroup, launches bool) {
	t := &Table{Quiet: !launches, Columns: []Column{
		{Title: "total, estimated", Right: true}, {Title: "±", Right: true}, {Title: "count, estimated", Right: true, Drop: 3}, {Title: "±", Right: true, Drop: 3},
		{Title: "recorded", Right: true, Drop: 2}, {Title: "mean", Right: true, Drop: 5}, {Title: "median", Right: true}, {Title: "p99", Right: true, Drop: 4},
		{Title: "kernel", Min: 30},
	}}
	symbols := make([]Symbol, len(groups))
	for i := range groups {
		g := &groups[i]
		symbols[i] = Symbol{Mangled: g.Symbol, Whole: Clean(g.Name)}
		row := []string{dash, dash, dash, dash}
		if e := g.Estimated; e != nil {
			row = []string{
				Duration(int64(e.TotalNS.Value)), plusMinus(&e.TotalNS, func(v float64) string { return Duration(int64(v)) }),
				Count(int64(e.Count.Value + 0.5)), plusMinus(&e.Count, func(v float64) string { return Count(int64(v + 0.5)) }),
			}
		}
		t.Rows = append(t.Rows, append(row, Count(g.Count+g.Unknown), Duration(g.MeanNS), Duration(g.MedianNS), Duration(g.P99NS), g.Name))
	}
	t.Columns[len(t.Columns)-1].Fit = func(width int) []string { return Shorten(symbols, width) }
	d.Table(t)
	d.Note("± is half of the 95 % interval; a kernel that ran only between windows is not in the list")
}
