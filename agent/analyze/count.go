package analyze

import (
	"fmt"

	"github.com/warpscope/warpscope/agent/event"
)

// lengths returns the numbers of rows of a batch by kind.
func lengths(b *event.Batch) [kinds]int {
	return [kinds]int{
		event.KindKernel: len(b.Kernels.Start), event.KindCopy: len(b.Copies.Start), event.KindSet: len(b.Sets.Start),
		event.KindSync: len(b.Syncs.Start), event.KindCall: len(b.Calls.Enter), event.KindMarker: len(b.Markers.Time),
		event.KindGraph: len(b.Graphs.Start), event.KindOverhead: len(b.Overheads.Start),
		event.KindAllocation: len(b.Allocations.Sequence), event.KindContext: len(b.Contexts.Time),
		event.KindModule: len(b.Modules.Time), event.KindPool: len(b.Pools.Time), event.KindState: len(b.States.Time),
		event.KindGPUSample: len(b.GPUSamples.Time), event.KindUsage: len(b.Usages.Time),
		event.KindWindow: len(b.Windows.Start), event.KindFact: len(b.Facts.Time),
		event.KindActivity: len(b.Activities.Start),
	}
}

// count counts a batch and widens the range of times.
func (a *Analysis) count(p *process, b *event.Batch, first, last event.Time) {
	for kind, n := range lengths(b) {
		p.counts[kind] += uint64(n)
	}
	if first != 0 {
		if p.first == 0 || first < p.first {
			p.first = first
		}
		if a.first == 0 || first < a.first {
			a.first = first
		}
	}
	p.last, a.last = max(p.last, last), max(a.last, last)
}

// records sums up the counts, beside those of the trace's summary.
func (a *Analysis) records() []KindCount {
	rows := []KindCount{}
	for kind := range kinds {
		row := KindCount{Kind: KindName(event.Kind(kind))}
		for _, p := range a.processes {
			row.Read += p.counts[kind]
		}
		if a.summary != nil {
			if n, ok := a.summary.Recorded[event.Kind(kind)]; ok {
				row.Recorded = &n
			}
		}
		if row.Read > 0 || row.Recorded != nil && *row.Recorded > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// extent returns the first begin and the last end of a batch's events; 0 if it has no times.
func extent(b *event.Batch) (first, last event.Time) {
	for _, c := range []struct {
		times     []event.Time
		durations []int64
	}{
		{b.Kernels.Start, b.Kernels.Duration}, {b.Copies.Start, b.Copies.Duration}, {b.Sets.Start, b.Sets.Duration},
		{b.Syncs.Start, b.Syncs.Duration}, {b.Calls.Enter, b.Calls.Duration}, {b.Markers.Time, nil},
		{b.Graphs.Start, b.Graphs.Duration}, {b.Overheads.Start, b.Overheads.Duration},
		{b.Allocations.Enter, b.Allocations.Duration}, {b.Contexts.Time, nil}, {b.Modules.Time, nil},
		{b.Pools.Time, nil}, {b.GPUSamples.Time, nil}, {b.Usages.Time, nil}, {b.States.Time, nil},
		{b.Windows.Start, b.Windows.Span}, {b.Facts.Time, nil}, {b.Activities.Start, b.Activities.Duration},
	} {
		for i, t := range c.times {
			if t <= 0 || t >= 1<<62 {
				continue
			}
			if first == 0 || t < first {
				first = t
			}
			if c.durations != nil {
				if d := c.durations[i]; uint64(d) < maxDuration {
					t += event.Time(d)
				}
			}
			if t > last {
				last = t
			}
		}
	}
	return first, last
}

// FirstTime returns the first begin of a batch's events; 0 if it has no times.
func FirstTime(b *event.Batch) event.Time {
	first, _ := extent(b)
	return first
}

// activityRows returns the lengths of the columns.
func activityRows(a *event.Activities) []int {
	return []int{
		len(a.Start), len(a.Duration), len(a.GPU), len(a.SM), len(a.Occupancy), len(a.Tensor), len(a.TensorHalf), len(a.TensorInteger),
		len(a.TensorDouble), len(a.FP64), len(a.FP32), len(a.FP16), len(a.Integer), len(a.DRAM), len(a.DRAMPeak), len(a.PCIeOut), len(a.PCIeIn),
		len(a.NVLinkOut), len(a.NVLinkIn),
	}
}

// check says whether the columns of each kind have one length, which all loops rely on.
func check(b *event.Batch) error {
	k, c, s, y, l := &b.Kernels, &b.Copies, &b.Sets, &b.Syncs, &b.Calls
	m, g, o, x, d := &b.Markers, &b.Graphs, &b.Overheads, &b.Contexts, &b.Modules
	p, n, u, t, w, f := &b.Pools, &b.GPUSamples, &b.Usages, &b.States, &b.Windows, &b.Facts
	for _, kind := range []struct {
		kind event.Kind
		rows []int
	}{
		{event.KindKernel, []int{len(k.Start), len(k.Duration), len(k.Launch), len(k.Correlation), len(k.Device), len(k.Context),
			len(k.Stream), len(k.Graph), len(k.GraphNode)}},
		{event.KindCopy, []int{len(c.Start), len(c.Duration), len(c.Bytes), len(c.Kind), len(c.Source), len(c.Target), len(c.Async),
			len(c.Correlation), len(c.Device), len(c.Peer), len(c.Context), len(c.Stream), len(c.Graph), len(c.GraphNode)}},
		{event.KindSet, []int{len(s.Start), len(s.Duration), len(s.Bytes), len(s.Value), len(s.Memory), len(s.Correlation),
			len(s.Device), len(s.Context), len(s.Stream), len(s.Graph), len(s.GraphNode)}},
		{event.KindSync, []int{len(y.Start), len(y.Duration), len(y.Type), len(y.Correlation), len(y.Context), len(y.Stream), len(y.Event)}},
		{event.KindCall, []int{len(l.Enter), len(l.Duration), len(l.Name), len(l.Domain), len(l.Thread), len(l.Correlation), len(l.Result)}},
		{event.KindMarker, []int{len(m.Time), len(m.Kind), len(m.ID), len(m.Thread), len(m.Text), len(m.Domain), len(m.PayloadKind),
			len(m.Payload), len(m.Color), len(m.Category)}},
		{event.KindGraph, []int{len(g.Start), len(g.Duration), len(g.Graph), len(g.Correlation), len(g.Device), len(g.Context), len(g.Stream)}},
		{event.KindOverhead, []int{len(o.Start), len(o.Duration), len(o.Kind), len(o.Thread), len(o.Correlation)}},
		{event.KindContext, []int{len(x.Time), len(x.Created), len(x.Context), len(x.Device), len(x.NullStream)}},
		{event.KindModule, []int{len(d.Time), len(d.Loaded), len(d.Module), len(d.Context), len(d.Bytes), len(d.Thread)}},
		{event.KindPool, []int{len(p.Time), len(p.Device), len(p.Pool), len(p.Reserved), len(p.Used), len(p.ReservedHigh), len(p.UsedHigh)}},
		{event.KindGPUSample, []int{len(n.Time), len(n.GPU), len(n.UsedMemory), len(n.ReservedMemory), len(n.Utilization),
			len(n.MemoryActivity), len(n.SMClock), len(n.MemoryClock), len(n.Power), len(n.Temperature), len(n.Throttle)}},
		{event.KindUsage, []int{len(u.Time), len(u.GPU), len(u.PID), len(u.Bytes)}},
		{event.KindState, []int{len(t.Time), len(t.State), len(t.Reason)}},
		{event.KindWindow, []int{len(w.Begin), len(w.Length), len(w.Planned), len(w.Start), len(w.Span), len(w.Work), len(w.SpanWork),
			len(w.Loss), len(w.Measured)}},
		{event.KindActivity, activityRows(&b.Activities)},
		{event.KindFact, []int{len(f.Time), len(f.GPU), len(f.PID), len(f.Name), len(f.Value), len(f.Text)}},
	} {
		if err := equal(kind.kind, kind.rows); err != nil {
			return err
		}
	}
	return checkAllocations(&b.Allocations)
}

func checkAllocations(a *event.Allocations) error {
	return equal(event.KindAllocation, []int{
		len(a.Sequence), len(a.Enter), len(a.Duration), len(a.Op), len(a.Space), len(a.Address), len(a.Size), len(a.Handle), len(a.Device),
		len(a.Context), len(a.Stream), len(a.Thread), len(a.API), len(a.Result), len(a.Known), len(a.Stack),
	})
}

func equal(kind event.Kind, rows []int) error {
	for _, n := range rows {
		if n != rows[0] {
			return fmt.Errorf("analyze %s: columns of %d and %d rows", KindName(kind), rows[0], n)
		}
	}
	return nil
}
