package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// percentiles says how exact a spread's percentiles are.
func percentiles(s *analyze.Spread) string {
	if s.PercentileError == 0 {
		return "percentiles exact"
	}
	return fmt.Sprintf("percentiles within %.1f%%", s.PercentileError*100)
}

func kernelNote(k *analyze.KernelSummary) string {
	if e := k.Estimated; e != nil {
		return fmt.Sprintf("estimated: %s launches, %s; recorded: %s of %s", estimatedCount(&e.Count), estimatedTime(&e.TotalNS),
			plural(k.All.Count+k.All.Unknown, "launch", "launches"), plural(k.Names, "kernel", "kernels"))
	}
	return fmt.Sprintf("%s of %s, %s; share is of GPU busy time", plural(k.All.Count+k.All.Unknown, "launch", "launches"),
		plural(k.Names, "kernel", "kernels"), Duration(k.All.TotalNS))
}

// exactness says how exact the percentiles of rows are.
func exactness(rows []analyze.KernelGroup) string {
	var worst analyze.Spread
	for i := range rows {
		worst.PercentileError = max(worst.PercentileError, rows[i].PercentileError)
	}
	return percentiles(&worst)
}

// topKernels writes the overview's list of kernels.
func (d *Document) topKernels(in *analyze.Inspection) {
	k := in.Kernels
	if k == nil {
		return
	}
	if k.All.Count+k.All.Unknown == 0 {
		d.Heading("Kernels", "")
		d.Line("none recorded")
		d.graphs(in.Graphs)
		return
	}
	d.Heading("Kernels", kernelNote(k))
	rows := k.Groups[:min(len(k.Groups), overviewRows)]
	d.kernelTable(rows, false)
	d.more(len(k.Groups)-len(rows)+k.Omitted, "--kernels lists them")
	d.unknown(k.All.Unknown)
	d.graphs(in.Graphs)
}

// kernels writes the whole list.
func (d *Document) kernels(in *analyze.Inspection) {
	k := in.Kernels
	if k == nil {
		return
	}
	title := "Kernels"
	if k.GroupBy != analyze.ByName {
		title += " by " + string(k.GroupBy)
	}
	if k.All.Count+k.All.Unknown == 0 {
		d.Heading(title, "")
		d.Line("none")
		d.graphs(in.Graphs)
		return
	}
	d.Heading(title, kernelNote(k))
	d.kernelTable(k.Groups, true)
	d.Note("times measured by the GPU's clock; " + exactness(k.Groups))
	d.more(k.Omitted, "--top 0 lists all")
	d.unknown(k.All.Unknown)
	d.graphs(in.Graphs)
}

func (d *Document) unknown(n uint64) {
	if n > 0 {
		d.Note(plural(n, "record", "records") + " without times: counted, in no sum")
	}
}

func (d *Document) graphs(g *analyze.GraphSummary) {
	if g == nil {
		return
	}
	text := fmt.Sprintf("%s of %s, %s (%s of busy time), median %s", plural(g.Count+g.Unknown, "graph launch", "graph launches"),
		plural(g.Graphs, "CUDA graph", "CUDA graphs"), Duration(g.TotalNS), Share(g.BusyShare), Duration(g.MedianNS))
	if !g.NodesRecorded {
		text += "; kernels inside are not recorded one by one (record with --graphs=node)"
	}
	d.Line(text)
}

func (d *Document) kernelTable(groups []analyze.KernelGroup, launches bool) {
	if slices.ContainsFunc(groups, func(g analyze.KernelGroup) bool { return g.Estimated != nil }) {
		d.estimatedTable(groups, launches)
		return
	}
	named := len(groups) > 0 && groups[0].Configurations > 0
	t := &Table{Quiet: !launches, Columns: []Column{
		{Title: "share", Right: true}, {Title: "count", Right: true}, {Title: "total", Right: true}, {Title: "mean", Right: true, Drop: 3},
		{Title: "median", Right: true}, {Title: "p99", Right: true, Drop: 1}, {Title: "max", Right: true, Drop: 2}, {Title: "launch (+ others)", Drop: 4},
		{Title: "kernel", Min: 30},
	}}
	symbols := make([]Symbol, len(groups))
	for i, g := range groups {
		launch := ""
		if launches {
			launch = launchText(&g)
		}
		name := g.Name
		if !named {
			name = keyText(&g.Key)
		}
		symbols[i] = Symbol{Mangled: g.Symbol, Whole: Clean(name)}
		t.Rows = append(t.Rows, []string{
			Share(g.BusyShare), Count(g.Count + g.Unknown), Duration(g.TotalNS), Duration(g.MeanNS), Duration(g.MedianNS), Duration(g.P99NS),
			Duration(g.MaxNS), launch, name,
		})
	}
	last := len(t.Columns) - 1
	t.Columns[last].Fit = func(width int) []string { return Shorten(symbols, width) }
	if !named {
		names := make([]string, len(symbols))
		for i := range symbols {
			names[i] = symbols[i].Whole
		}
		t.Columns[last].Title, t.Columns[last].Fit = "of", Fitted(names)
	}
	d.Table(t)
}

// keyText names what a row stands for, with what distinguishes it.
func keyText(k *analyze.Key) string {
	parts := []string{k.Name}
	if k.Domain != "" {
		parts[0] = k.Domain + ": " + k.Name
	}
	if k.Stream != nil {
		if k.GPU != "" {
			parts = append(parts, k.GPU)
		}
		if k.Rank != nil {
			parts = append(parts, fmt.Sprintf("rank %d", *k.Rank))
		}
		parts = append(parts, fmt.Sprintf("pid %d", k.PID))
	} else if k.Rank != nil {
		parts = append(parts, fmt.Sprintf("pid %d", k.PID))
	}
	return strings.Join(parts, ", ")
}

// launchText writes the launch configuration that took most of a kernel's time, and how many
// others there are: "2048x1x1 of 256, 32 reg, 48 KiB".
func launchText(g *analyze.KernelGroup) string {
	if len(g.Launches) == 0 {
		return ""
	}
	l := g.Launches[0]
	text := fmt.Sprintf("%s × %s", dims(l.Grid), dims(l.Block))
	if l.Cluster[0] > 1 || l.Cluster[1] > 1 || l.Cluster[2] > 1 {
		text += ", cluster " + dims(l.Cluster)
	}
	text += fmt.Sprintf(", %d reg", l.Registers)
	if shared := uint64(l.StaticSharedBytes) + uint64(l.DynamicSharedBytes); shared > 0 {
		text += ", " + Bytes(shared) + " shared"
	}
	if l.LocalThreadBytes > 0 {
		text += ", " + Bytes(l.LocalThreadBytes) + " local"
	}
	if g.Configurations > 1 {
		text += fmt.Sprintf(" +%d", g.Configurations-1)
	}
	return text
}

// dims writes a grid or block without the dimensions that are 1.
func dims(d [3]uint32) string {
	switch {
	case d[2] > 1:
		return fmt.Sprintf("(%d, %d, %d)", d[0], d[1], d[2])
	case d[1] > 1:
		return fmt.Sprintf("(%d, %d)", d[0], d[1])
	}
	return fmt.Sprint(d[0])
}
