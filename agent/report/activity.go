package report

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

// activity writes what a GPU's units did in each phase of steps.
func (d *Document) activity(in *analyze.Inspection) {
	if in.Activity == nil {
		return
	}
	rows := in.Activity.Rows
	for i := range rows[:min(len(rows), stepRows)] {
		d.activityRow(in, &rows[i], len(rows) > 1)
	}
}

func (d *Document) activityRow(in *analyze.Inspection, r *analyze.ActivityRow, several bool) {
	if len(r.Phases) == 0 {
		if r.Windows > 0 && in.Roofline == nil { // the roofline says so itself; pages about steps need no word of what never was
			text, _ := in.NoActivity(r)
			d.Note("GPU activity" + of(&r.Key, several) + ": " + text)
		}
		return
	}
	note, watched := "NVML's utilisation, of everybody's work on the GPU", false
	for i := range r.Phases {
		watched = watched || r.Phases[i].Windows > 0
	}
	if watched {
		note = "NVML's averages over windows within one phase of steps, of everybody's work on the GPU; not of single kernels"
	}
	d.Heading("GPU activity"+of(&r.Key, several), note)
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "phase"}, {Title: "windows", Right: true, Drop: 4}, {Title: "in use", Right: true, Drop: 6}, {Title: "SMs", Right: true}, {Title: "warps", Right: true, Drop: 1}, {Title: "tensor", Right: true},
		{Title: "fp32", Right: true, Drop: 2}, {Title: "memory", Right: true}, {Title: "of it", Right: true}, {Title: "in use", Right: true, Drop: 6}, {Title: "PCIe in", Right: true, Drop: 3}, {Title: "out", Right: true, Drop: 3},
		{Title: "NVLink in", Right: true, Drop: 5}, {Title: "out", Right: true, Drop: 5}, {Title: "clock", Right: true, Drop: 1},
	}}
	for i := range r.Phases {
		p := &r.Phases[i]
		clock, windows, used, memory := "", "", "", ""
		if p.Clock != nil {
			clock = fmt.Sprintf("%.0f MHz", p.Clock.Mean)
		}
		if p.Windows > 0 {
			windows = Count(p.Windows)
		}
		if !watched { // what the units did says more
			used, memory = levelShare(p.Utilization), levelShare(p.MemoryActivity)
		}
		t.Rows = append(t.Rows, []string{
			p.Phase, windows, used, levelShare(p.SM), levelShare(p.Occupancy), levelShare(p.Tensor), levelShare(p.FP32),
			levelRate(p.DRAMBytes), levelShare(p.DRAM), memory, levelRate(p.PCIeIn), levelRate(p.PCIeOut), traffic(p.NVLinkIn), traffic(p.NVLinkOut), clock,
		})
	}
	if !watched {
		for i := range t.Columns {
			if t.Columns[i].Title == "in use" {
				t.Columns[i].Drop = 0
			}
		}
		t.Columns[2].Title, t.Columns[9].Title = "GPU in use", "memory in use"
	}
	d.Table(t)
}

func levelShare(l *analyze.Level) string {
	if l == nil {
		return ""
	}
	return Share(l.Mean)
}

func levelRate(l *analyze.Level) string {
	if l == nil {
		return ""
	}
	return Rate(l.Mean)
}

// traffic is levelRate, and nothing where there is no traffic: most GPUs have no partner.
func traffic(l *analyze.Level) string {
	if l == nil || l.Max == 0 {
		return ""
	}
	return Rate(l.Mean)
}

// rooflines draws steps under the ceilings of their GPUs.
func (d *Document) rooflines(in *analyze.Inspection) {
	if in.Roofline == nil {
		return
	}
	rows := in.Roofline.Rows
	if len(rows) == 0 {
		d.Heading("Roofline", "")
		d.Line("none: nothing ran on a GPU")
	}
	for i := range rows[:min(len(rows), stepRows)] {
		d.rooflineRow(&rows[i], len(rows) > 1)
	}
	d.more(len(rows)-stepRows, "--json lists them")
}

func (d *Document) rooflineRow(r *analyze.RooflineRow, several bool) {
	d.Heading("Roofline"+of(&r.Key, several), Clean(r.Product))
	chart := &Roofline{}
	at := make(map[string]int)
	for _, c := range r.Ceilings {
		at[c.Kind] = len(chart.Roofs)
		chart.Roofs = append(chart.Roofs, Roof{Name: c.Name, Rate: c.PerSecond, Bandwidth: c.Memory, Origin: c.Source})
	}
	estimated, operators := false, false
	for i := range r.Points {
		p := &r.Points[i]
		point := RooflinePoint{Name: p.Name, Operations: p.Operations, Bytes: p.Bytes, Roof: -1, Origin: p.OperationsFrom, BytesOrigin: p.BytesFrom}
		if roof, ok := at[p.Ceiling]; ok {
			point.Roof = roof
		}
		if p.Share > 0 {
			point.Weight = Share(p.Share)
		}
		estimated = estimated || p.Kind == analyze.PointPhase && p.Operations > 0
		operators = operators || p.Kind == analyze.PointOperator
		chart.Points = append(chart.Points, point)
	}
	switch {
	case len(chart.Points) > 0:
		d.Roofline(chart)
	case len(chart.Roofs) > 0:
		d.ceilings(chart)
	}
	if estimated {
		d.Note(analyze.EstimateNote)
	}
	if operators {
		d.Note(analyze.OperatorsNote)
	}
	for _, m := range r.Missing {
		d.Note(m)
	}
}
