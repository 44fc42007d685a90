package exchange

import "github.com/warpscope/warpscope/agent/event"

// appendTo adds r to the columns of b.
func (r *row) appendTo(b *event.Batch, async bool) {
	switch r.kind {
	case rowKernel:
		k := &b.Kernels
		k.Start = append(k.Start, r.time)
		k.Duration = append(k.Duration, r.duration)
		k.Launch = append(k.Launch, event.LaunchID(r.what))
		k.Correlation = append(k.Correlation, r.correlation)
		k.Device = append(k.Device, r.device)
		k.Context = append(k.Context, r.context)
		k.Stream = append(k.Stream, r.stream)
		k.Graph = append(k.Graph, r.graph)
		k.GraphNode = append(k.GraphNode, r.node)
	case rowCopy:
		c := &b.Copies
		c.Start = append(c.Start, r.time)
		c.Duration = append(c.Duration, r.duration)
		c.Bytes = append(c.Bytes, r.size)
		c.Kind = append(c.Kind, r.copyKind)
		c.Source = append(c.Source, r.source)
		c.Target = append(c.Target, r.target)
		c.Async = append(c.Async, async)
		c.Correlation = append(c.Correlation, r.correlation)
		c.Device = append(c.Device, r.device)
		c.Peer = append(c.Peer, r.other)
		c.Context = append(c.Context, r.context)
		c.Stream = append(c.Stream, r.stream)
		c.Graph = append(c.Graph, r.graph)
		c.GraphNode = append(c.GraphNode, r.node)
	case rowSet:
		s := &b.Sets
		s.Start = append(s.Start, r.time)
		s.Duration = append(s.Duration, r.duration)
		s.Bytes = append(s.Bytes, r.size)
		s.Value = append(s.Value, 0)
		s.Memory = append(s.Memory, r.target)
		s.Correlation = append(s.Correlation, r.correlation)
		s.Device = append(s.Device, r.device)
		s.Context = append(s.Context, r.context)
		s.Stream = append(s.Stream, r.stream)
		s.Graph = append(s.Graph, r.graph)
		s.GraphNode = append(s.GraphNode, r.node)
	case rowSync:
		s := &b.Syncs
		s.Start = append(s.Start, r.time)
		s.Duration = append(s.Duration, r.duration)
		s.Type = append(s.Type, event.SyncType(r.copyKind))
		s.Correlation = append(s.Correlation, r.correlation)
		s.Context = append(s.Context, r.context)
		s.Stream = append(s.Stream, r.stream)
		s.Event = append(s.Event, r.other)
	case rowOverhead:
		o := &b.Overheads
		o.Start = append(o.Start, r.time)
		o.Duration = append(o.Duration, r.duration)
		o.Kind = append(o.Kind, event.OverheadKind(r.what))
		o.Thread = append(o.Thread, r.other)
		o.Correlation = append(o.Correlation, r.correlation)
	case rowCall:
		c := &b.Calls
		c.Enter = append(c.Enter, r.time)
		c.Duration = append(c.Duration, r.duration)
		c.Name = append(c.Name, event.StringID(r.what))
		c.Domain = append(c.Domain, event.Domain(r.domain))
		c.Thread = append(c.Thread, r.other)
		c.Correlation = append(c.Correlation, r.correlation)
		c.Result = append(c.Result, 0)
	case rowBegin, rowEnd:
		r.appendMarker(&b.Markers)
	}
}

func (r *row) appendMarker(m *event.Markers) {
	kind, text, domain := event.MarkerStart, event.StringID(r.what), event.StringID(r.domain)
	if r.kind == rowEnd {
		kind, text = event.MarkerEnd, 0
	}
	m.Time = append(m.Time, r.time)
	m.Kind = append(m.Kind, kind)
	m.ID = append(m.ID, r.graph)
	m.Thread = append(m.Thread, r.other)
	m.Text = append(m.Text, text)
	m.Domain = append(m.Domain, domain)
	m.PayloadKind = append(m.PayloadKind, event.PayloadNone)
	m.Payload = append(m.Payload, 0)
	m.Color = append(m.Color, 0)
	m.Category = append(m.Category, 0)
}

// clearBatch empties b's columns, to be filled again.
func clearBatch(b *event.Batch) {
	k, c, s, y := &b.Kernels, &b.Copies, &b.Sets, &b.Syncs
	*k = event.Kernels{Start: k.Start[:0], Duration: k.Duration[:0], Launch: k.Launch[:0], Correlation: k.Correlation[:0],
		Device: k.Device[:0], Context: k.Context[:0], Stream: k.Stream[:0], Graph: k.Graph[:0], GraphNode: k.GraphNode[:0]}
	*c = event.Copies{Start: c.Start[:0], Duration: c.Duration[:0], Bytes: c.Bytes[:0], Kind: c.Kind[:0], Source: c.Source[:0],
		Target: c.Target[:0], Async: c.Async[:0], Correlation: c.Correlation[:0], Device: c.Device[:0], Peer: c.Peer[:0],
		Context: c.Context[:0], Stream: c.Stream[:0], Graph: c.Graph[:0], GraphNode: c.GraphNode[:0]}
	*s = event.Sets{Start: s.Start[:0], Duration: s.Duration[:0], Bytes: s.Bytes[:0], Value: s.Value[:0], Memory: s.Memory[:0],
		Correlation: s.Correlation[:0], Device: s.Device[:0], Context: s.Context[:0], Stream: s.Stream[:0], Graph: s.Graph[:0], GraphNode: s.GraphNode[:0]}
	*y = event.Syncs{Start: y.Start[:0], Duration: y.Duration[:0], Type: y.Type[:0], Correlation: y.Correlation[:0], Context: y.Context[:0],
		Stream: y.Stream[:0], Event: y.Event[:0]}
	o, l, m := &b.Overheads, &b.Calls, &b.Markers
	*o = event.Overheads{Start: o.Start[:0], Duration: o.Duration[:0], Kind: o.Kind[:0], Thread: o.Thread[:0], Correlation: o.Correlation[:0]}
	*l = event.Calls{Enter: l.Enter[:0], Duration: l.Duration[:0], Name: l.Name[:0], Domain: l.Domain[:0], Thread: l.Thread[:0],
		Correlation: l.Correlation[:0], Result: l.Result[:0]}
	*m = event.Markers{Time: m.Time[:0], Kind: m.Kind[:0], ID: m.ID[:0], Thread: m.Thread[:0], Text: m.Text[:0], Domain: m.Domain[:0],
		PayloadKind: m.PayloadKind[:0], Payload: m.Payload[:0], Color: m.Color[:0], Category: m.Category[:0]}
}
