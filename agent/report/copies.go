package report

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// copies writes copies and fills.
func (d *Document) copies(in *analyze.Inspection, overview bool) {
	c := in.Copies
	if c == nil {
		return
	}
	title := "Copies and fills"
	if c.GroupBy != analyze.ByName {
		title = "Copies by " + string(c.GroupBy)
	}
	n := c.All.Count + c.All.Unknown
	if n == 0 && len(c.Sets) == 0 {
		d.Heading(title, "")
		d.Line("none recorded")
		return
	}
	d.Heading(title, fmt.Sprintf("%s of %s, %s; share is of GPU busy time", plural(n, "copy", "copies"), Bytes(c.All.Bytes), Duration(c.All.TotalNS)))
	t := &Table{Quiet: overview, Columns: []Column{
		{Title: "share", Right: true}, {Title: "count", Right: true}, {Title: "bytes", Right: true}, {Title: "total", Right: true},
		{Title: "rate", Right: true}, {Title: "mean size", Right: true, Drop: 2}, {Title: "median", Right: true, Drop: 3}, {Title: "p99", Right: true, Drop: 5},
		{Title: "max", Right: true, Drop: 4}, {Title: "async", Right: true, Drop: 6}, {Title: "what", Min: 26},
	}}
	var names []string
	row := func(g *analyze.CopyGroup, name, async string) {
		rate, mean := dash, dash
		if g.BytesPerSecond > 0 {
			rate = Rate(g.BytesPerSecond)
		}
		if n := g.Count + g.Unknown; n > 0 {
			mean = Bytes(g.Bytes / n)
		}
		names = append(names, name)
		cells := []string{
			Share(g.BusyShare), Count(g.Count + g.Unknown), Bytes(g.Bytes), Duration(g.TotalNS), rate, mean, Duration(g.MedianNS), Duration(g.P99NS),
			Duration(g.MaxNS), async, name,
		}
		if overview {
			cells[7], cells[9] = "", ""
		}
		t.Rows = append(t.Rows, cells)
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		name := keyText(&g.Key)
		if g.Kind != "" {
			name = copyName(g)
		}
		async := dash
		if n := g.Count + g.Unknown; n > 0 {
			async = Share(float64(g.Async) / float64(n))
		}
		row(g, name, async)
	}
	for i := range c.Sets {
		row(&c.Sets[i], "fill of "+c.Sets[i].Target, dash)
	}
	t.Columns[len(t.Columns)-1].Fit = Fitted(names)
	d.Table(t)
	d.more(c.Omitted, "--top 0 lists all")
	d.unknown(c.All.Unknown)
}

// copyName names a direction with the kinds of memory where they say more: "host to device, from
// pageable".
func copyName(g *analyze.CopyGroup) string {
	name := g.Kind
	plainEnds := map[string]bool{"device": true, "unknown": true, "array": true}
	switch source, target := !plainEnds[g.Source], !plainEnds[g.Target]; {
	case source && target:
		name += ", " + g.Source + " to " + g.Target
	case source:
		name += ", " + g.Source
	case target:
		name += ", " + g.Target
	}
	return name
}

// streams writes what ran on each stream.
func (d *Document) streams(in *analyze.Inspection) {
	s := in.Streams
	if s == nil {
		return
	}
	d.Heading("Streams", "busy: something ran on it, by the GPU's clock; share is of GPU busy time")
	if len(s.Streams) == 0 {
		d.Line("none")
		return
	}
	t := &Table{Columns: []Column{
		{Title: "share", Right: true}, {Title: "busy", Right: true}, {Title: "kernels", Right: true}, {Title: "copies", Right: true},
		{Title: "fills", Right: true, Drop: 2}, {Title: "graphs", Right: true}, {Title: "first", Right: true, Drop: 4}, {Title: "last", Right: true, Drop: 5},
		{Title: "gpu", Drop: 1}, {Title: "context", Right: true, Drop: 3}, {Title: "rank", Right: true}, {Title: "pid", Right: true}, {Title: "stream"},
	}}
	for _, r := range s.Streams {
		graphs, rank, context := "", "", ""
		if r.Graphs > 0 {
			graphs = Count(r.Graphs)
		}
		if r.Rank != nil {
			rank = fmt.Sprint(*r.Rank)
		}
		if r.Context != nil {
			context = fmt.Sprint(*r.Context)
		}
		name := r.Name
		if r.Default {
			name += " (default)"
		}
		t.Rows = append(t.Rows, []string{
			Share(r.BusyShare), Duration(r.BusyNS), Count(r.Kernels), Count(r.Copies), Count(r.Sets), graphs, Offset(r.FirstNS), Offset(r.LastNS),
			r.GPU, context, rank, fmt.Sprint(r.PID), name,
		})
	}
	d.Table(t)
	d.more(s.Omitted, "--top 0 lists all")
}

// ranges writes NVTX ranges.
func (d *Document) ranges(in *analyze.Inspection) {
	s := in.Ranges
	if s == nil {
		return
	}
	d.Heading("NVTX ranges", "GPU time: of what was launched inside; share is of GPU busy time")
	if len(s.Ranges) == 0 {
		d.Line("none")
		return
	}
	t := &Table{Columns: []Column{
		{Title: "count", Right: true}, {Title: "total", Right: true}, {Title: "mean", Right: true, Drop: 1}, {Title: "median", Right: true},
		{Title: "max", Right: true, Drop: 2}, {Title: "GPU time", Right: true}, {Title: "share", Right: true}, {Title: "kernels", Right: true, Drop: 3},
		{Title: "domain", Drop: 4}, {Title: "range", Min: 20},
	}}
	var names []string
	estimated, open := int64(0), uint64(0)
	for _, r := range s.Ranges {
		name := r.Name
		cells := []string{
			Count(r.Count), Duration(r.TotalNS), Duration(r.MeanNS), Duration(r.MedianNS), Duration(r.MaxNS), Duration(r.GPUNS), Share(r.GPUShare),
			Count(r.Kernels), r.Domain, name,
		}
		if r.Count == 0 {
			cells[1], cells[2], cells[3], cells[4] = dash, dash, dash, dash
		}
		if r.Count == 0 && r.Open == 0 && r.Marks > 0 {
			name += " (mark)"
			cells[0], cells[5], cells[6], cells[7], cells[9] = Count(r.Marks), dash, dash, dash, name
		}
		estimated += r.EstimatedNS
		open += r.Open
		names = append(names, name)
		t.Rows = append(t.Rows, cells)
	}
	t.Columns[9].Fit = Fitted(names)
	d.Table(t)
	d.more(s.Omitted, "--top 0 lists all")
	if s.OutsideNS > 0 {
		d.Note("outside any range: " + Duration(s.OutsideNS) + " of GPU time")
	}
	if s.UnjoinedNS > 0 {
		d.Note("in no range because the launching call is not in the trace: " + Duration(s.UnjoinedNS) + " of GPU time")
	}
	if estimated > 0 {
		d.Note("estimated by time, because the launching thread had no range of its own: " + Duration(estimated) + " of the GPU time above")
	}
	if len(s.Ranges) > 1 {
		d.Note("nested ranges are counted in each of those around them")
	}
	if open > 0 {
		d.Note(plural(open, "range", "ranges") + " had not ended: in no sum of time")
	}
	if s.UnmatchedEnds > 0 {
		d.Note(plural(s.UnmatchedEnds, "end", "ends") + " without a start: left out")
	}
}
