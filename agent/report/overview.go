package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/warpscope/warpscope/agent/analyze"
)

// SimulatedNote is what every report of a simulated trace says.
const SimulatedNote = "SIMULATED DEVICE: no GPU was involved; this trace proves plumbing, not performance"

// overviewRows is how many rows a list of the overview shows.
const overviewRows = 10

// machineRows is how many GPUs and processes the overview shows: two full machines.
const machineRows = 16

// Overview writes what happened in a trace on about one screen.
func Overview(in *analyze.Inspection) *Document {
	d := &Document{}
	d.begin(in)
	d.provenance(in)
	d.gpus(in)
	d.processes(in)
	d.topKernels(in)
	d.copies(in, true)
	d.memoryTotals(in)
	d.calls(in)
	d.losses(in)
	return d
}

// Details writes the summaries that were asked for, and what every report shows.
func Details(in *analyze.Inspection) *Document {
	d := &Document{}
	d.begin(in)
	d.steps(in)
	d.operators(in)
	d.kernels(in)
	d.copies(in, false)
	d.streams(in)
	d.ranges(in)
	d.memory(in)
	d.losses(in)
	return d
}

// begin writes what nobody must overlook.
func (d *Document) begin(in *analyze.Inspection) {
	if in.File != "" {
		d.Title(in.File)
	}
	if in.Simulated {
		d.Alert(SimulatedNote)
	}
	d.sampling(in)
	if r := in.Range; r.Window {
		d.Line(fmt.Sprintf("only events that begin from %s to %s of %s", Offset(r.WindowFromNS), Offset(r.WindowToNS), Duration(r.DurationNS)))
	}
}

func (d *Document) provenance(in *analyze.Inspection) {
	o := in.Provenance
	machine := []string{o.Host}
	if o.CPUs > 0 {
		machine = append(machine, plural(int64(o.CPUs), "CPU", "CPUs"))
	}
	if o.MemoryBytes > 0 {
		machine = append(machine, Bytes(o.MemoryBytes))
	}
	if o.Kernel != "" {
		machine = append(machine, o.Kernel)
	}
	if o.Driver != "" {
		machine = append(machine, "NVIDIA driver "+o.Driver)
	}
	recorded := ""
	if in.Range.StartUnixNS != 0 {
		recorded = Moment(in.Range.StartUnixNS)
	}
	if o.Tool != "" {
		recorded = strings.TrimPrefix(recorded+" by "+o.Tool, " ")
	}
	d.Fields(
		[2]string{"command", strings.Join(o.Command, " ")},
		[2]string{"recorded", recorded},
		[2]string{"machine", join(machine)},
		[2]string{"duration", Duration(in.Range.DurationNS)},
		[2]string{"ended", ending(in)},
	)
	for _, note := range o.Notes {
		d.Note("note: " + note)
	}
}

// join joins what is not empty.
func join(parts []string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

func ending(in *analyze.Inspection) string {
	o := in.Provenance
	switch {
	case !o.Complete:
		return "not known: the trace was not closed"
	case o.Signal != 0:
		return fmt.Sprintf("killed by signal %d", o.Signal)
	case o.ExitCode != nil:
		return fmt.Sprintf("with status %d", *o.ExitCode)
	}
	return ""
}

func (d *Document) gpus(in *analyze.Inspection) {
	d.Heading("GPUs", "busy: a kernel, copy or fill was running, by the GPU's clock")
	if len(in.GPUs) == 0 {
		d.Line("none was used")
		return
	}
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "gpu"}, {Title: "busy", Right: true}, {Title: "of trace", Right: true},
		{Title: "of active span", Right: true, Drop: 1}, {Title: "kernels", Right: true}, {Title: "copies", Right: true, Drop: 3},
		{Title: "graphs", Right: true, Drop: 2}, {Title: "memory", Right: true, Drop: 4}, {Title: "model", Min: 22},
	}}
	gpus := in.GPUs[:min(len(in.GPUs), machineRows)]
	models := make([]string, len(gpus))
	for i, g := range gpus {
		models[i] = g.Name
		graphs, memory := "", ""
		if g.Graphs > 0 {
			graphs = Count(g.Graphs)
		}
		if g.MemoryBytes > 0 {
			memory = Bytes(g.MemoryBytes)
		}
		t.Rows = append(t.Rows, []string{
			g.GPU, Duration(g.BusyNS), Share(g.BusyShare), Share(g.ActiveShare), Count(g.Kernels), Count(g.Copies), graphs, memory, g.Name,
		})
	}
	t.Columns[8].Fit = Fitted(models)
	d.Table(t)
	d.more(len(in.GPUs)-len(gpus), "--json lists them")
	for _, g := range gpus {
		if g.UncertainNS > 0 {
			d.Note(fmt.Sprintf("%s: up to %s more busy: records came too late to be told apart", g.GPU, Duration(g.UncertainNS)))
		}
	}
	d.samples(in)
}

// samples writes what NVML said of each GPU.
func (d *Document) samples(in *analyze.Inspection) {
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "gpu"}, {Title: "memory used", Right: true}, {Title: "utilisation", Right: true}, {Title: "power", Right: true, Drop: 1},
		{Title: "temperature", Right: true, Drop: 3}, {Title: "clock", Right: true, Drop: 2}, {Title: "clock lowered by"},
	}}
	for _, g := range in.GPUs[:min(len(in.GPUs), machineRows)] {
		s := g.Samples
		if s == nil || s.Count == 0 {
			continue
		}
		row := []string{g.GPU, dash, dash, dash, dash, dash, ""}
		if s.UsedPeakBytes != nil {
			row[1] = Bytes(*s.UsedPeakBytes)
		}
		if s.UtilizationPct != nil {
			row[2] = fmt.Sprintf("%.0f%%", *s.UtilizationPct)
		}
		if s.PowerMaxMW != nil {
			row[3] = fmt.Sprintf("%.0f W", float64(*s.PowerMaxMW)/1000)
		}
		if s.TemperatureMax != nil {
			row[4] = fmt.Sprintf("%d °C", *s.TemperatureMax)
		}
		if s.SMClockMinMHz != nil {
			row[5] = fmt.Sprintf("%d MHz", *s.SMClockMaxMHz)
			if *s.SMClockMinMHz != *s.SMClockMaxMHz {
				row[5] = fmt.Sprintf("%d to %d MHz", *s.SMClockMinMHz, *s.SMClockMaxMHz)
			}
		}
		var reasons []string
		for _, r := range s.Throttled {
			reasons = append(reasons, fmt.Sprintf("%s (%s)", r.Reason, Share(float64(r.Samples)/float64(s.Count))))
		}
		row[6] = strings.Join(reasons, ", ")
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) > 0 {
		d.Heading("GPU samples", "by NVML, everybody's work included; highest values, utilisation's mean")
		d.Table(t)
	}
}

func (d *Document) processes(in *analyze.Inspection) {
	d.Heading("Processes", "")
	if len(in.Processes) == 0 {
		d.Line("none was traced")
		return
	}
	t := &Table{Quiet: true, Columns: []Column{
		{Title: "pid", Right: true}, {Title: "rank", Right: true}, {Title: "mode"}, {Title: "capture"}, {Title: "CUPTI", Drop: 2},
		{Title: "kernels", Right: true}, {Title: "copies", Right: true, Drop: 4}, {Title: "allocations", Right: true, Drop: 3}, {Title: "command", Min: 22},
	}}
	processes := in.Processes[:min(len(in.Processes), machineRows)]
	commands := make([]string, len(processes))
	for i, p := range processes {
		command := p.Command
		if len(command) == 0 {
			command = []string{p.Executable}
		} else {
			command = append([]string{path.Base(command[0])}, command[1:]...)
		}
		commands[i] = Clean(strings.Join(command, " "))
		rank := ""
		if p.Rank != nil {
			rank = Count(int64(*p.Rank))
		}
		state := p.State
		if state == "" {
			state = "not known"
		}
		t.Rows = append(t.Rows, []string{
			fmt.Sprint(p.PID), rank, p.Mode, state, p.CUPTI, Count(p.Kernels), Count(p.Copies), Count(p.Allocations), commands[i],
		})
	}
	t.Columns[8].Fit = Fitted(commands)
	d.Table(t)
	d.more(len(in.Processes)-len(processes), "--json lists them")
	for _, p := range processes {
		if len(p.Reasons) > 0 {
			d.Alert(fmt.Sprintf("process %d: %s", p.PID, strings.Join(p.Reasons, "; ")))
		}
		if p.PausedTimes > 0 {
			d.Note(fmt.Sprintf("process %d: its timeline was paused %s: what ran meanwhile is not in the trace; recorded %s of %s, in %s", p.PID,
				plural(p.PausedTimes, "time", "times"), Duration(p.RecordedNS), Duration(p.LastNS-p.StartNS), plural(p.Windows, "window", "windows")))
		}
	}
}

func (d *Document) calls(in *analyze.Inspection) {
	c := in.Calls
	if c == nil {
		return
	}
	if c.Calls > 0 {
		note := fmt.Sprintf("%s, %s on the CPU", plural(c.Calls, "call", "calls"), Duration(c.TotalNS))
		if unit := in.Provenance.CallResolutionNS; unit > 0 {
			note += fmt.Sprintf("; times to %d ns", unit)
		}
		d.Heading("API calls", note)
		rows := c.APIs[:min(len(c.APIs), 5)]
		t := &Table{Quiet: true, Columns: []Column{
			{Title: "count", Right: true}, {Title: "total", Right: true}, {Title: "mean", Right: true, Drop: 1}, {Title: "median", Right: true},
			{Title: "p99", Right: true}, {Title: "max", Right: true}, {Title: "failed", Right: true}, {Title: "call", Min: 24},
		}}
		var names []string
		for _, r := range rows {
			failed := ""
			if r.Failed > 0 {
				failed = Count(r.Failed)
			}
			names = append(names, r.Name)
			t.Rows = append(t.Rows, []string{
				Count(r.Count + r.Unknown), Duration(r.TotalNS), Duration(r.MeanNS), Duration(r.MedianNS), Duration(r.P99NS), Duration(r.MaxNS), failed, r.Name,
			})
		}
		t.Columns[7].Fit = Fitted(names)
		d.Table(t)
		d.more(len(c.APIs)-len(rows)+c.Omitted, "--json lists them")
	}
	if len(c.Waits) > 0 {
		d.named("Waits", "measured on the CPU", c.Waits)
	}
	if len(c.Overheads) > 0 {
		d.named("Overhead", "time that the tracing and the driver took, as CUPTI reports it", c.Overheads)
	}
}

func (d *Document) named(title, note string, rows []analyze.NamedTime) {
	d.Heading(title, note)
	t := &Table{Columns: []Column{{Title: "count", Right: true}, {Title: "total", Right: true}, {Title: "max", Right: true}, {Title: "for"}}}
	for _, r := range rows {
		t.Rows = append(t.Rows, []string{Count(r.Count), Duration(r.TotalNS), Duration(r.MaxNS), r.Name})
	}
	d.Table(t)
}

// more says how many rows were left out, and how to see them.
func (d *Document) more(n int, how string) {
	if n > 0 {
		d.Note(fmt.Sprintf("… %s more: %s", Count(n), how))
	}
}

// losses says what was lost: always.
func (d *Document) losses(in *analyze.Inspection) {
	l := in.Losses
	note := ""
	if l.Known && l.Lost+l.Incomplete > 0 {
		note = fmt.Sprintf("%s lost, %s kept but incomplete", plural(l.Lost, "record", "records"), Count(l.Incomplete))
		if l.Dropped > 0 {
			note += ", "
		}
	}
	if l.Dropped > 0 {
		note += fmt.Sprintf("%s older than --keep", plural(l.Dropped, "record", "records"))
	}
	d.Heading("Losses", note)
	switch {
	case !l.Known && in.Provenance.Complete:
		d.Line("not known: the trace was imported, or recovered from a part of a file, and no counters came with it")
	case !l.Known:
		d.Alert("not known: the trace was not closed, so its counters of losses are missing")
	case len(l.Rows) == 0 && len(in.Damage) == 0:
		d.Line("none lost")
	case len(l.Rows) > 0:
		t := &Table{Columns: []Column{{Title: "count", Right: true}, {Title: "what"}, {Title: "pid", Right: true}, {Title: "why", Min: 20}}}
		var causes []string
		for _, r := range l.Rows {
			pid := ""
			if r.PID != 0 {
				pid = fmt.Sprint(r.PID)
			}
			causes = append(causes, r.Cause)
			count, kind := Count(r.Count), r.Kind
			if r.Unknown {
				count, kind = "unknown", "the last moments"
			}
			t.Rows = append(t.Rows, []string{count, kind, pid, r.Cause})
		}
		t.Columns[3].Fit = Fitted(causes)
		d.Table(t)
	}
	for _, text := range in.Damage {
		d.Alert(text)
	}
	if in.Partial {
		return
	}
	for _, k := range in.Records {
		if k.Recorded != nil && *k.Recorded != k.Read {
			d.Alert(fmt.Sprintf("%s: %s recorded, %s read", k.Kind, Count(*k.Recorded), Count(k.Read)))
		}
	}
}
