package collect

import "github.com/warpscope/warpscope/agent/event"

// kinds is the number of event kinds that rows are counted for.
const kinds = int(event.KindActivity) + 1

// rows counts the rows of b by kind.
func rows(b *event.Batch) (n [kinds]int) {
	n[event.KindKernel] = len(b.Kernels.Start)
	n[event.KindCopy] = len(b.Copies.Start)
	n[event.KindSet] = len(b.Sets.Start)
	n[event.KindSync] = len(b.Syncs.Start)
	n[event.KindCall] = len(b.Calls.Enter)
	n[event.KindMarker] = len(b.Markers.Time)
	n[event.KindGraph] = len(b.Graphs.Start)
	n[event.KindOverhead] = len(b.Overheads.Start)
	n[event.KindAllocation] = len(b.Allocations.Sequence)
	n[event.KindContext] = len(b.Contexts.Time)
	n[event.KindModule] = len(b.Modules.Time)
	n[event.KindPool] = len(b.Pools.Time)
	n[event.KindState] = len(b.States.Time)
	n[event.KindGPUSample] = len(b.GPUSamples.Time)
	n[event.KindUsage] = len(b.Usages.Time)
	n[event.KindWindow] = len(b.Windows.Start)
	n[event.KindFact] = len(b.Facts.Time)
	n[event.KindActivity] = len(b.Activities.Start)
	return n
}

// reset empties the columns that a decoder fills, and keeps their memory. Allocations travel in
// chunks, GPU samples come from elsewhere.
func reset(b *event.Batch) {
	k := &b.Kernels
	k.Start, k.Duration, k.Launch, k.Correlation = k.Start[:0], k.Duration[:0], k.Launch[:0], k.Correlation[:0]
	k.Device, k.Context, k.Stream = k.Device[:0], k.Context[:0], k.Stream[:0]
	k.Graph, k.GraphNode = k.Graph[:0], k.GraphNode[:0]

	c := &b.Copies
	c.Start, c.Duration, c.Bytes, c.Kind = c.Start[:0], c.Duration[:0], c.Bytes[:0], c.Kind[:0]
	c.Source, c.Target, c.Async, c.Correlation = c.Source[:0], c.Target[:0], c.Async[:0], c.Correlation[:0]
	c.Device, c.Peer, c.Context, c.Stream = c.Device[:0], c.Peer[:0], c.Context[:0], c.Stream[:0]
	c.Graph, c.GraphNode = c.Graph[:0], c.GraphNode[:0]

	s := &b.Sets
	s.Start, s.Duration, s.Bytes, s.Value = s.Start[:0], s.Duration[:0], s.Bytes[:0], s.Value[:0]
	s.Memory, s.Correlation, s.Device = s.Memory[:0], s.Correlation[:0], s.Device[:0]
	s.Context, s.Stream, s.Graph, s.GraphNode = s.Context[:0], s.Stream[:0], s.Graph[:0], s.GraphNode[:0]

	y := &b.Syncs
	y.Start, y.Duration, y.Type, y.Correlation = y.Start[:0], y.Duration[:0], y.Type[:0], y.Correlation[:0]
	y.Context, y.Stream, y.Event = y.Context[:0], y.Stream[:0], y.Event[:0]

	a := &b.Calls
	a.Enter, a.Duration, a.Name, a.Domain = a.Enter[:0], a.Duration[:0], a.Name[:0], a.Domain[:0]
	a.Thread, a.Correlation, a.Result = a.Thread[:0], a.Correlation[:0], a.Result[:0]

	m := &b.Markers
	m.Time, m.Kind, m.ID, m.Thread = m.Time[:0], m.Kind[:0], m.ID[:0], m.Thread[:0]
	m.Text, m.Domain, m.PayloadKind = m.Text[:0], m.Domain[:0], m.PayloadKind[:0]
	m.Payload, m.Color, m.Category = m.Payload[:0], m.Color[:0], m.Category[:0]

	g := &b.Graphs
	g.Start, g.Duration, g.Graph, g.Correlation = g.Start[:0], g.Duration[:0], g.Graph[:0], g.Correlation[:0]
	g.Device, g.Context, g.Stream = g.Device[:0], g.Context[:0], g.Stream[:0]

	o := &b.Overheads
	o.Start, o.Duration, o.Kind = o.Start[:0], o.Duration[:0], o.Kind[:0]
	o.Thread, o.Correlation = o.Thread[:0], o.Correlation[:0]

	x := &b.Contexts
	x.Time, x.Created, x.Context = x.Time[:0], x.Created[:0], x.Context[:0]
	x.Device, x.NullStream = x.Device[:0], x.NullStream[:0]

	l := &b.Modules
	l.Time, l.Loaded, l.Module = l.Time[:0], l.Loaded[:0], l.Module[:0]
	l.Context, l.Bytes, l.Thread = l.Context[:0], l.Bytes[:0], l.Thread[:0]

	p := &b.Pools
	p.Time, p.Device, p.Pool = p.Time[:0], p.Device[:0], p.Pool[:0]
	p.Reserved, p.Used = p.Reserved[:0], p.Used[:0]
	p.ReservedHigh, p.UsedHigh = p.ReservedHigh[:0], p.UsedHigh[:0]

	t := &b.States
	t.Time, t.State, t.Reason = t.Time[:0], t.State[:0], t.Reason[:0]
}

// appendRow appends row i of from, but for the column Stack.
func appendRow(to, from *event.Allocations, i int) {
	to.Sequence = append(to.Sequence, from.Sequence[i])
	to.Enter = append(to.Enter, from.Enter[i])
	to.Duration = append(to.Duration, from.Duration[i])
	to.Op = append(to.Op, from.Op[i])
	to.Space = append(to.Space, from.Space[i])
	to.Address = append(to.Address, from.Address[i])
	to.Size = append(to.Size, from.Size[i])
	to.Handle = append(to.Handle, from.Handle[i])
	to.Device = append(to.Device, from.Device[i])
	to.Context = append(to.Context, from.Context[i])
	to.Stream = append(to.Stream, from.Stream[i])
	to.Thread = append(to.Thread, from.Thread[i])
	to.API = append(to.API, from.API[i])
	to.Result = append(to.Result, from.Result[i])
	to.Known = append(to.Known, from.Known[i])
}
