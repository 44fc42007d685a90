package report

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// accounts writes where the memory was, at each moment that was asked for.
func (d *Document) accounts(m *analyze.MemorySummary) {
	for i := range m.Timeline {
		d.timeline(&m.Timeline[i])
	}
	for _, a := range m.Accounts {
		d.memoryAccount(a)
		d.liveStacks(a)
	}
}

// liveStacks writes which stacks hold most of what the driver gave, at an account's moment.
func (d *Document) liveStacks(a *analyze.MemoryAccount) {
	if len(a.Largest) == 0 {
		return
	}
	d.Heading("Largest live, by stack", a.When)
	for i := range a.Largest[:min(len(a.Largest), largestRows)] {
		d.liveStack(&a.Largest[i])
	}
	d.more(len(a.Largest)-min(len(a.Largest), largestRows), "--json lists them")
}

// memoryAccount writes where the memory was at one moment.
func (d *Document) memoryAccount(a *analyze.MemoryAccount) {
	for i := range a.GPUs {
		d.gpuAccount(a, &a.GPUs[i])
	}
	d.host(a.Host)
}

// SignedBytes writes a number of bytes with its sign.
func SignedBytes(n int64) string {
	if n < 0 {
		return "-" + Bytes(-n)
	}
	return "+" + Bytes(n)
}

// accountDepth is the indentation of what is part of the line above.
const accountDepth = "  "

func (d *Document) gpuAccount(a *analyze.MemoryAccount, g *analyze.GPUAccount) {
	note := a.When + ", " + Offset(a.TimeNS)
	if a.FailureNS != 0 {
		note = fmt.Sprintf("%s of %s", a.When, Offset(a.FailureNS))
	}
	if g.Used != nil {
		switch ns := g.SampleNS - a.FailureNS; {
		case a.FailureNS != 0 && ns >= 0:
			note += fmt.Sprintf("; NVML read %s after it", Duration(ns))
		case a.FailureNS != 0:
			note += fmt.Sprintf("; NVML read %s before it", Duration(-ns))
		default:
			note += ", by NVML's reading of " + Offset(g.SampleNS)
		}
	}
	d.Heading("Where the memory of "+g.GPU+" is", note)
	t := &Table{Quiet: true, Columns: []Column{{Title: "", Right: true}, {Title: "of used", Right: true}, {Title: ""}, {Title: "source", Drop: 1}}}
	row := func(depth int, bytes, name, source string, n int64) {
		share := ""
		if g.Used != nil && *g.Used > 0 && n >= 0 && bytes != dash {
			share = Share(float64(n) / float64(*g.Used))
		}
		t.Rows = append(t.Rows, []string{bytes, share, strings.Repeat(accountDepth, depth) + name, source})
	}
	if g.Used == nil {
		d.Line("NVML gave no reading: what is below is what traced processes asked the driver for")
	} else {
		if g.Total > 0 {
			kept := int64(0)
			if g.Reserved != nil {
				kept = *g.Reserved
			}
			free := max(int64(g.Total)-*g.Used-kept, 0)
			row(0, Bytes(g.Total), g.Name, "NVML", -1)
			row(1, Bytes(free), "free", "NVML", -1)
			if g.Reserved != nil {
				row(1, Bytes(kept), "kept by driver and firmware", "NVML", -1)
			}
		}
		row(1, Bytes(*g.Used), "used, everybody's", "NVML", *g.Used)
	}
	for i := range g.Traced {
		d.tracedRows(&g.Traced[i], row)
	}
	for i := range g.Others {
		o := &g.Others[i]
		bytes := dash
		if o.Bytes >= 0 {
			bytes = Bytes(o.Bytes)
		}
		row(2, bytes, "not traced: "+otherText(o), "NVML", o.Bytes)
	}
	if g.Unowned != nil {
		row(2, Bytes(*g.Unowned), "the driver's, in no process", "calibrated", *g.Unowned)
	}
	d.Table(t)
	d.residual(g)
}

func otherText(o *analyze.OtherAccount) string {
	text := fmt.Sprintf("process %d", o.PID)
	if o.Command != "" {
		text += ", " + Cut(Clean(o.Command), 40)
	}
	if o.Container != "" {
		text += ", in " + Clean(o.Container)
	}
	return text
}

func (d *Document) residual(g *analyze.GPUAccount) {
	if g.Residual == nil {
		return
	}
	share := func(n int64) string {
		if *g.Used <= 0 {
			return ""
		}
		v := float64(n) / float64(*g.Used) * 100
		return fmt.Sprintf(" (%+.2f%% of used)", v)
	}
	text := "residual " + SignedBytes(*g.Residual) + share(*g.Residual)
	if g.Calibrated != "" {
		text += ": what of used is in none of these lines; without what was measured of contexts beside (" + Clean(g.Calibrated) + ") it would be " + SignedBytes(*g.Before) + share(*g.Before)
	} else {
		text += ": what of used is in none of these lines. What contexts take was not measured, and is in it"
	}
	d.Line(text)
	if g.Foreign {
		d.Note("NVML numbers processes of another namespace (a container): which of the others are the traced ones is not known, so that they count once, by the traced ones' lines")
	}
}

// accountRow writes a line of an account: how deep, bytes, name, source, and the bytes as a number for its share.
type accountRow func(depth int, bytes, name, source string, n int64)

// tracedRows writes one traced process.
func (d *Document) tracedRows(p *analyze.ProcessAccount, row accountRow) {
	who := fmt.Sprintf("traced: process %d", p.PID)
	if p.Rank != nil {
		who = fmt.Sprintf("traced: rank %d, process %d", *p.Rank, p.PID)
	}
	if p.NVML != nil {
		row(2, Bytes(*p.NVML), who, "NVML", *p.NVML)
	} else {
		row(2, Bytes(p.Sum), who+", by what follows", "counted", int64(p.Sum))
	}
	for i := range p.Lines {
		l := &p.Lines[i]
		bytes, name := Bytes(l.Bytes), l.Name
		if l.Bytes == 0 && l.UpTo > 0 {
			bytes = dash
			name += ", at most " + Bytes(l.UpTo)
		}
		switch {
		case l.ID == analyze.LineCode:
			name += ", " + plural(l.Count, "module", "modules")
		case l.API != "":
			api, _, _ := strings.Cut(Clean(l.API), "_")
			name += fmt.Sprintf(", %s ×%s", api, Count(l.Count))
		}
		row(3, bytes, name, l.Source, int64(l.Bytes))
		if p.Tensors != nil && l.API != "" && strings.HasPrefix(l.Library, "libc10_cuda") {
			d.tensorRows(p.Tensors, row)
		}
	}
	if p.Residual != nil {
		row(3, SignedBytes(*p.Residual), "residual of the process", "remainder", -1)
	}
}

// tensorRows writes what PyTorch's allocator did with its part.
func (d *Document) tensorRows(t *analyze.TensorAccount, row accountRow) {
	for _, r := range t.Roles {
		if r.Bytes == 0 {
			continue
		}
		how := "told from stacks"
		if r.Known >= r.Bytes {
			how = "known by addresses"
		}
		row(4, Bytes(r.Bytes), fmt.Sprintf("tensors: %s, %s", r.Role, Count(r.Blocks)), how, int64(r.Bytes))
	}
	for _, l := range []struct {
		name  string
		bytes uint64
	}{{"PyTorch's rounding", t.Rounding}, {"freed, waiting for another stream", t.Pending}} {
		if l.bytes > 0 {
			row(4, Bytes(l.bytes), l.name, "counted", int64(l.bytes))
		}
	}
	for _, f := range t.Free {
		row(4, Bytes(f.Bytes), fmt.Sprintf("reserved, in no tensor: pool %s, stream %d", f.Pool, f.Stream), "counted", int64(f.Bytes))
	}
	if t.Private > 0 {
		row(4, Bytes(t.Private), "of all this in private pools (CUDA graphs)", "counted", int64(t.Private))
	}
	if t.Difference != 0 {
		row(4, SignedBytes(t.Difference), "the driver's figure differs: other pieces, or other moments", "remainder", -1)
	}
}

// host writes the host's memory.
func (d *Document) host(h *analyze.HostAccount) {
	if h == nil {
		return
	}
	d.Heading("The host's memory", "at "+Offset(h.TimeNS))
	var rows [][2]string
	add := func(name, text string) { rows = append(rows, [2]string{name, text}) }
	if len(h.Resident) > 0 {
		var all int64
		for _, r := range h.Resident {
			all += r.Bytes
		}
		add("resident", fmt.Sprintf("%s in %s, at most %s (pages that they share count in each)", Bytes(all), plural(len(h.Resident), "process", "processes"), Bytes(h.PeakBytes)))
	}
	add("pinned through CUDA", Bytes(h.Pinned))
	if h.Used >= 0 {
		limit := "no limit"
		if h.Limit >= 0 {
			limit = Bytes(h.Limit)
		}
		add("cgroup", fmt.Sprintf("%s of %s, at most %s", Bytes(h.Used), limit, Bytes(h.PeakUsed)))
	}
	if h.Total >= 0 && h.Available >= 0 {
		add("machine", fmt.Sprintf("%s, %s available", Bytes(h.Total), Bytes(h.Available)))
	}
	if h.Kills > 0 {
		add("killed for want of memory", fmt.Sprintf("%s, counted in %s", plural(h.Kills, "process", "processes"), Clean(h.KillsIn)))
	}
	d.Fields(rows...)
}
