package report

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/analyze"
)

func whose(p *analyze.ProcessMemory) string {
	if p.Rank != nil {
		return fmt.Sprintf("rank %d, pid %d", *p.Rank, p.PID)
	}
	return fmt.Sprintf("pid %d", p.PID)
}

// where names a total.
func where(t *analyze.MemoryTotal) string {
	switch t.Kind {
	case analyze.HostMemory:
		return "pinned host"
	case analyze.ManagedMemory:
		return join([]string{"managed memory", t.GPU})
	case analyze.SharedMemory:
		return join([]string{"of other processes", t.GPU})
	}
	if t.GPU == "" {
		return "device memory"
	}
	return t.GPU
}

const memoryNote = "asked from the CUDA driver, counted call by call"

// memoryTotals writes the overview's part.
func (d *Document) memoryTotals(in *analyze.Inspection) {
	m := in.Memory
	if m == nil {
		return
	}
	d.Heading("Memory", memoryNote)
	t := totalsTable()
	failed := uint64(0)
	for i := range m.Processes {
		p := &m.Processes[i]
		failed += p.FailedCalls
		for j := range p.Totals {
			who := ""
			if len(m.Processes) > 1 {
				who = p.Name
			}
			t.Rows = append(t.Rows, totalRow(&p.Totals[j], where(&p.Totals[j]), who))
		}
	}
	if len(t.Rows) == 0 {
		d.Line("no allocation recorded")
	} else {
		t.Quiet = true
		all := len(t.Rows)
		t.Rows = t.Rows[:min(all, 2*machineRows)]
		d.Table(t)
		d.more(all-len(t.Rows), "--memory lists them")
	}
	if failed == 0 {
		return
	}
	d.Alert(plural(failed, "call", "calls") + " failed:")
	shown := 0
	for i := range m.Processes {
		p := &m.Processes[i]
		for j := range p.Failures {
			if shown++; shown > 3 {
				break
			}
			who := ""
			if len(m.Processes) > 1 {
				who = p.Name + ": "
			}
			d.Hanging(who + failureText(&p.Failures[j]))
		}
	}
	if shown > 3 {
		d.Note("--memory lists all, with their stacks")
	}
}

func totalsTable() *Table {
	return &Table{Columns: []Column{
		{Title: "process"}, {Title: "where"}, {Title: "peak", Right: true}, {Title: "at", Right: true, Drop: 3}, {Title: "live at end", Right: true},
		{Title: "allocations", Right: true}, {Title: "releases", Right: true, Drop: 1}, {Title: "allocated in all", Right: true, Drop: 2},
	}}
}

func totalRow(t *analyze.MemoryTotal, name, who string) []string {
	b := &t.Bytes
	return []string{
		who, name, Bytes(b.PeakBytes), Offset(b.PeakNS), liveText(b), Count(b.Allocated), Count(b.Freed), Bytes(b.AllocatedBytes),
	}
}

func liveText(b *analyze.Bytes) string {
	if b.LiveCount == 0 {
		return "none"
	}
	return fmt.Sprintf("%s in %s", Bytes(b.LiveBytes), Count(b.LiveCount))
}

func failureText(f *analyze.FailedCall) string {
	text := f.API + ": " + f.Error
	if f.Bytes > 0 && (f.Op == "alloc" || f.Op == "failed" || f.Op == "import") {
		text += ", " + Bytes(f.Bytes) + " asked"
	}
	if f.GPU != "" {
		text += " on " + f.GPU
	}
	if f.Library != "" && f.Library != "(unknown)" {
		text += ", by " + f.Library
	}
	if f.Count > 1 {
		return text + fmt.Sprintf(", %s, from %s to %s", plural(f.Count, "time", "times"), Offset(f.FirstNS), Offset(f.LastNS))
	}
	return text + ", at " + Offset(f.FirstNS)
}

// memory writes everything about memory.
func (d *Document) memory(in *analyze.Inspection) {
	m := in.Memory
	if m == nil {
		return
	}
	if len(m.Processes) == 0 {
		d.Heading("Memory", memoryNote)
		d.Line("no allocation recorded")
	}
	d.accounts(m)
	for i := range m.Processes {
		d.processMemory(&m.Processes[i])
	}
	for _, g := range in.GPUs {
		d.usage(&g)
	}
}

func (d *Document) processMemory(p *analyze.ProcessMemory) {
	d.Heading("Memory of "+whose(p), memoryNote)
	if len(p.Totals) == 0 {
		d.Line("no allocation recorded")
	} else {
		t := totalsTable()
		for i := range p.Totals {
			t.Rows = append(t.Rows, totalRow(&p.Totals[i], where(&p.Totals[i]), ""))
		}
		d.Table(t)
		d.bySpace(p)
		d.byLibrary(p)
	}
	d.failures(p)
	d.largest(p)
	d.pools(p)
	d.ledgerNotes(p)
}

func (d *Document) bySpace(p *analyze.ProcessMemory) {
	d.Heading("By how it was obtained", "")
	t := &Table{Columns: []Column{
		{Title: "space"}, {Title: "peak", Right: true}, {Title: "live at end", Right: true}, {Title: "allocations", Right: true},
		{Title: "releases", Right: true, Drop: 1}, {Title: "allocated in all", Right: true, Drop: 2}, {Title: "where"},
	}}
	for i := range p.Totals {
		for _, s := range p.Totals[i].Spaces {
			b := &s.Bytes
			t.Rows = append(t.Rows, []string{
				spaceText(s.Space), Bytes(b.PeakBytes), liveText(b), Count(b.Allocated), Count(b.Freed), Bytes(b.AllocatedBytes), where(&p.Totals[i]),
			})
		}
	}
	d.Table(t)
}

// spaceText says what a space is, for those who do not know the driver's calls by heart.
func spaceText(space string) string {
	switch space {
	case "device":
		return "cuMemAlloc"
	case "pool":
		return "stream-ordered pool"
	case "physical":
		return "VMM (cuMemCreate)"
	case "host":
		return "pinned by the driver"
	case "registered":
		return "the program's own, pinned"
	case "ipc":
		return "another process's"
	case "graph":
		return "graph memory nodes"
	}
	return space
}

func (d *Document) byLibrary(p *analyze.ProcessMemory) {
	d.Heading("By the library that asked", "the first caller outside the CUDA driver and runtime")
	t := &Table{Columns: []Column{
		{Title: "at the peak", Right: true}, {Title: "own peak", Right: true, Drop: 3}, {Title: "live at end", Right: true},
		{Title: "allocations", Right: true, Drop: 2}, {Title: "allocated in all", Right: true, Drop: 4}, {Title: "where", Drop: 1}, {Title: "library", Min: 18},
	}}
	var names []string
	omitted := 0
	for i := range p.Totals {
		omitted += p.Totals[i].Omitted
		for _, l := range p.Totals[i].Libraries {
			b := &l.Bytes
			names = append(names, l.Library)
			t.Rows = append(t.Rows, []string{
				Bytes(l.AtPeakBytes), Bytes(b.PeakBytes), liveText(b), Count(b.Allocated), Bytes(b.AllocatedBytes), where(&p.Totals[i]), l.Library,
			})
		}
	}
	t.Columns[6].Fit = Fitted(names)
	d.Table(t)
	d.more(omitted, "--top 0 lists all")
}

// stackRows is how many libraries of a stack are shown.
const stackRows = 6

// stack writes the callers from whoever asked outwards.
func (d *Document) stack(frames []analyze.Frame) {
	for i, f := range frames {
		if f.Asked {
			frames = frames[i:] // below it is only the driver, the same every time
			break
		}
	}
	d.blocks = append(d.blocks, stackLines(frames))
}

type stackLines []analyze.Frame

// lines writes, of each library on the way, the function that was called from outside it: the
// frames between are the library's own business. Wide, all frames are written.
func (l stackLines) lines(s Style) []string {
	const indent = "      "
	var out []string
	for i, f := range l {
		if s.Wide {
			out = append(out, indent+s.paint(dim, Clean(f.String())))
			continue
		}
		if i+1 < len(l) && l[i+1].Module == f.Module {
			continue
		}
		if len(out) == stackRows {
			out = append(out, indent+s.paint(dim, fmt.Sprintf("… %s further out", plural(len(l)-i, "frame", "frames"))))
			break
		}
		name := f.Symbol
		if name == "" {
			out = append(out, indent+s.paint(dim, Cut(Clean(f.String()), s.width()-len(indent))))
			continue
		}
		name = withoutArguments(name)
		module := ""
		if f.Module != "" {
			module = " (" + Cut(Clean(f.Module), widest) + ")"
		}
		room := max(s.width()-len(indent)-Width(module), 16)
		out = append(out, indent+s.paint(dim, CutMiddle(Clean(name), room)+module))
	}
	return out
}

func (d *Document) failures(p *analyze.ProcessMemory) {
	if p.FailedCalls == 0 {
		return
	}
	d.Heading("Failed calls", plural(p.FailedCalls, "call", "calls"))
	for i := range p.Failures {
		d.Hanging(failureText(&p.Failures[i]))
		d.stack(p.Failures[i].Stack)
	}
	d.more(p.OmittedFailures, "--top 0 lists all")
}

// largestRows is how many of the largest stacks are shown.
const largestRows = 5

func (d *Document) largest(p *analyze.ProcessMemory) {
	if len(p.Largest) == 0 {
		return
	}
	d.Heading("Largest still live at the end", "by stack")
	rows := p.Largest[:min(len(p.Largest), largestRows)]
	for i := range rows {
		d.liveStack(&rows[i])
	}
	d.more(len(p.Largest)-len(rows)+p.OmittedLargest, "--json lists them")
}

// liveStack writes what one stack holds.
func (d *Document) liveStack(l *analyze.LiveStack) {
	place := l.GPU
	if l.Kind == analyze.HostMemory {
		place = "pinned host"
	}
	d.Hanging(join([]string{Bytes(l.Bytes) + " in " + plural(l.Count, "allocation", "allocations"), place, spaceText(l.Space), "by " + l.Library}))
	d.stack(l.Stack)
}

func (d *Document) pools(p *analyze.ProcessMemory) {
	if len(p.Pools) == 0 {
		return
	}
	d.Heading("Stream-ordered pools", "their own account, sampled")
	t := &Table{Columns: []Column{
		{Title: "reserved at most", Right: true}, {Title: "used at most", Right: true}, {Title: "reserved last", Right: true}, {Title: "used last", Right: true},
		{Title: "gpu"}, {Title: "pool"},
	}}
	for _, r := range p.Pools {
		pool := "default"
		if r.Pool != 0 {
			pool = fmt.Sprintf("%#x", r.Pool)
		}
		t.Rows = append(t.Rows, []string{
			Bytes(r.ReservedHighBytes), Bytes(r.UsedHighBytes), Bytes(r.ReservedBytes), Bytes(r.UsedBytes), r.GPU, pool,
		})
	}
	d.Table(t)
}

func (d *Document) ledgerNotes(p *analyze.ProcessMemory) {
	if p.ReservedBytes > 0 {
		d.Note("address space reserved at the end: " + Bytes(p.ReservedBytes) + " (no memory)")
	}
	for _, n := range []struct {
		count uint64
		text  string
	}{
		{p.UnknownReleases, "of memory allocated before the capture began"},
		{p.Replaced, "at an address still live: its release was not seen in time, and is taken for granted"},
		{p.UnknownMaps, "of physical memory created before the capture began"},
		{p.Corrected, "put right by a checkpoint of the live table, after records were lost"},
		{p.Untracked, "beyond what is followed: in no figure above"},
	} {
		if n.count == 0 {
			continue
		}
		what := "allocations "
		switch n.text[:2] {
		case "of":
			what = "releases or mappings "
		case "pu":
			what = "entries "
		}
		d.Note(Count(n.count) + " " + what + n.text)
	}
}

// usage writes what NVML said of the memory of a GPU, by process.
func (d *Document) usage(g *analyze.GPURow) {
	if g.Samples == nil || len(g.Samples.Processes) == 0 {
		return
	}
	d.Heading("All processes on "+g.GPU, "sampled by NVML: contexts, code and everything else included")
	t := &Table{Columns: []Column{{Title: "pid", Right: true}, {Title: "peak", Right: true}, {Title: "last", Right: true}, {Title: "traced"}}}
	for _, p := range g.Samples.Processes {
		traced := "no"
		if p.Traced {
			traced = "yes"
		}
		t.Rows = append(t.Rows, []string{fmt.Sprint(p.PID), Bytes(p.PeakBytes), Bytes(p.LastBytes), traced})
	}
	d.Table(t)
}
