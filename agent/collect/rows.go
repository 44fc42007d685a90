package collect

import (
	"fmt"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// One function a kind of record: each appends one row, or counts the record as senseless.

func (d *decoder) kernel(r *abi.Kernel) {
	k := &d.batch.Kernels
	start, duration := d.span(r.Start, r.End)
	k.Start = append(k.Start, start)
	k.Duration = append(k.Duration, duration)
	k.Launch = append(k.Launch, d.launch(r.Launch))
	k.Correlation = append(k.Correlation, r.Correlation)
	k.Device = append(k.Device, uint32(r.Device))
	k.Context = append(k.Context, r.Context)
	k.Stream = append(k.Stream, r.Stream)
	k.Graph = append(k.Graph, r.Graph)
	k.GraphNode = append(k.GraphNode, r.Node)
}

func (d *decoder) copy(r *abi.Copy) {
	c := &d.batch.Copies
	start, duration := d.span(r.Start, r.End)
	peer := r.Device
	if r.Rec.Flags&abi.CopyPeer != 0 {
		peer = r.Peer
	}
	c.Start = append(c.Start, start)
	c.Duration = append(c.Duration, duration)
	c.Bytes = append(c.Bytes, r.Bytes)
	c.Kind = append(c.Kind, event.CopyKind(r.Kind))
	c.Source = append(c.Source, event.MemoryKind(r.Src))
	c.Target = append(c.Target, event.MemoryKind(r.Dst))
	c.Async = append(c.Async, r.Rec.Flags&abi.CopyAsync != 0)
	c.Correlation = append(c.Correlation, r.Correlation)
	c.Device = append(c.Device, uint32(r.Device))
	c.Peer = append(c.Peer, uint32(peer))
	c.Context = append(c.Context, r.Context)
	c.Stream = append(c.Stream, r.Stream)
	c.Graph = append(c.Graph, r.Graph)
	c.GraphNode = append(c.GraphNode, r.Node)
}

func (d *decoder) set(r *abi.Set) {
	s := &d.batch.Sets
	start, duration := d.span(r.Start, r.End)
	s.Start = append(s.Start, start)
	s.Duration = append(s.Duration, duration)
	s.Bytes = append(s.Bytes, r.Bytes)
	s.Value = append(s.Value, r.Value)
	s.Memory = append(s.Memory, event.MemoryKind(r.Memory))
	s.Correlation = append(s.Correlation, r.Correlation)
	s.Device = append(s.Device, uint32(r.Device))
	s.Context = append(s.Context, r.Context)
	s.Stream = append(s.Stream, r.Stream)
	s.Graph = append(s.Graph, r.Graph)
	s.GraphNode = append(s.GraphNode, r.Node)
}

func (d *decoder) sync(r *abi.Sync) {
	s := &d.batch.Syncs
	start, duration := d.span(r.Start, r.End)
	s.Start = append(s.Start, start)
	s.Duration = append(s.Duration, duration)
	s.Type = append(s.Type, event.SyncType(r.Type))
	s.Correlation = append(s.Correlation, r.Correlation)
	s.Context = append(s.Context, r.Context)
	s.Stream = append(s.Stream, r.Stream)
	s.Event = append(s.Event, r.Event)
}

func (d *decoder) call(r *abi.Api) {
	c := &d.batch.Calls
	name := d.text(r.Name)
	if name == 0 && r.Name != 0 {
		d.blank[abi.RecApi]++
	}
	start, duration := d.span(r.Enter, r.Exit)
	c.Enter = append(c.Enter, start)
	c.Duration = append(c.Duration, duration)
	c.Name = append(c.Name, name)
	c.Domain = append(c.Domain, event.Domain(r.Domain))
	c.Thread = append(c.Thread, r.Thread)
	c.Correlation = append(c.Correlation, r.Correlation)
	c.Result = append(c.Result, r.Result)
}

func (d *decoder) marker(r *abi.Marker) {
	// The kinds are single bits; the lowest one decides.
	kind := r.Rec.Flags & -r.Rec.Flags
	if kind == 0 || kind > abi.MarkerData {
		d.bad[abi.RecMarker]++
		return
	}
	payload := r.Payload
	if r.Kind == abi.PayloadText {
		payload = 0
		if r.Payload < 1<<32 {
			payload = uint64(d.text(uint32(r.Payload)))
		}
	}
	m := &d.batch.Markers
	m.Time = append(m.Time, d.moment(r.Time))
	m.Kind = append(m.Kind, event.MarkerKind(kind))
	m.ID = append(m.ID, r.Id)
	m.Thread = append(m.Thread, r.Thread)
	m.Text = append(m.Text, d.text(r.Text))
	m.Domain = append(m.Domain, d.text(r.Domain))
	m.PayloadKind = append(m.PayloadKind, event.PayloadKind(r.Kind))
	m.Payload = append(m.Payload, payload)
	m.Color = append(m.Color, r.Color)
	m.Category = append(m.Category, r.Category)
}

func (d *decoder) graph(r *abi.Graph) {
	g := &d.batch.Graphs
	start, duration := d.span(r.Start, r.End)
	g.Start = append(g.Start, start)
	g.Duration = append(g.Duration, duration)
	g.Graph = append(g.Graph, r.Graph)
	g.Correlation = append(g.Correlation, r.Correlation)
	g.Device = append(g.Device, uint32(r.Device))
	g.Context = append(g.Context, r.Context)
	g.Stream = append(g.Stream, r.Stream)
}

func (d *decoder) overhead(r *abi.Overhead) {
	o := &d.batch.Overheads
	start, duration := d.span(r.Start, r.End)
	o.Start = append(o.Start, start)
	o.Duration = append(o.Duration, duration)
	o.Kind = append(o.Kind, event.OverheadKind(r.Kind))
	o.Thread = append(o.Thread, r.Thread)
	o.Correlation = append(o.Correlation, r.Correlation)
}

// outOfMemory is CUDA_ERROR_OUT_OF_MEMORY.
const outOfMemory = 2

func (d *decoder) alloc(r *abi.Alloc) {
	a := &d.ledger.rows
	a.Sequence = append(a.Sequence, r.Seq)
	a.Enter = append(a.Enter, event.Time(r.Enter))
	a.Duration = append(a.Duration, duration(r.Enter, r.Exit))
	a.Op = append(a.Op, event.AllocOp(r.Op))
	a.Space = append(a.Space, event.Space(r.Space))
	a.Address = append(a.Address, r.Address)
	a.Size = append(a.Size, r.Size)
	a.Handle = append(a.Handle, r.Handle)
	a.Device = append(a.Device, r.Device)
	a.Context = append(a.Context, r.Context)
	a.Stream = append(a.Stream, r.Stream)
	a.Thread = append(a.Thread, r.Thread)
	a.API = append(a.API, d.text(r.Api))
	a.Result = append(a.Result, r.Result)
	a.Known = append(a.Known, r.Known != 0)
	d.ledger.stacks = append(d.ledger.stacks, r.Stack)
	if r.Result == outOfMemory && d.outOfMemory != nil {
		d.outOfMemory()
	}
}

func (d *decoder) context(r *abi.Context) {
	c := &d.batch.Contexts
	c.Time = append(c.Time, event.Time(r.Time))
	c.Created = append(c.Created, r.Rec.Flags&1 != 0)
	c.Context = append(c.Context, r.Context)
	c.Device = append(c.Device, r.Device)
	c.NullStream = append(c.NullStream, r.Stream)
}

func (d *decoder) module(r *abi.Module) {
	m := &d.batch.Modules
	m.Time = append(m.Time, event.Time(r.Time))
	m.Loaded = append(m.Loaded, r.Rec.Flags&1 != 0)
	m.Module = append(m.Module, r.Module)
	m.Context = append(m.Context, r.Context)
	m.Bytes = append(m.Bytes, r.Bytes)
	m.Thread = append(m.Thread, r.Thread)
}

// device learns which GPU an ordinal is.
func (d *decoder) device(r *abi.Device) {
	if r.Device < 0 || r.Device >= maxDevices {
		d.bad[abi.RecDevice]++
		return
	}
	if int(r.Device) < len(d.devices) && d.devices[r.Device] != 0 {
		return // an ordinal does not change its GPU
	}
	for len(d.devices) <= int(r.Device) {
		d.devices = append(d.devices, 0)
	}
	u := r.Uuid
	uuid := fmt.Sprintf("GPU-%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
	if u == [16]uint8{} { // an old driver: at least not another process's GPU
		uuid = fmt.Sprintf("unknown, ordinal %d of process %d", r.Device, d.memory.header.Pid)
	}
	d.devices[r.Device] = d.ids.gpu(event.GPU{
		UUID:            uuid,
		Name:            strings.ToValidUTF8(d.memory.arena.text(uint64(r.Name), &d.budget), "\uFFFD"),
		Memory:          r.Memory,
		Multiprocessors: r.Multiprocessors,
		Capability:      [2]uint32{uint32(r.Major), uint32(r.Minor)},
		Index:           -1,
	})
}

func (d *decoder) pool(r *abi.Pool) {
	p := &d.batch.Pools
	p.Time = append(p.Time, event.Time(r.Time))
	p.Device = append(p.Device, r.Device)
	p.Pool = append(p.Pool, r.Pool)
	p.Reserved = append(p.Reserved, r.Bytes_reserved)
	p.Used = append(p.Used, r.Used)
	p.ReservedHigh = append(p.ReservedHigh, r.Reserved_high)
	p.UsedHigh = append(p.UsedHigh, r.Used_high)
}

func (d *decoder) stateChange(r *abi.StateChange) {
	if r.State > abi.StateRefused {
		d.bad[abi.RecState]++
		return
	}
	before := event.StateArmed
	if r.State == abi.StateArmed {
		before = event.StatePaused
	}
	d.begin(before, r.Reason)
	d.switched(r)
	d.stateRow(event.Time(r.Time), event.State(r.State), r.Reason)
}

// begin records the first state, which no record tells: what is there before the first change.
func (d *decoder) begin(state event.State, reason uint32) {
	if d.state == event.StateEmpty {
		d.stateRow(event.Time(d.memory.header.Mono_start), state, reason)
	}
}

// stateRow appends a change of the capture.
func (d *decoder) stateRow(t event.Time, state event.State, reason uint32) {
	d.state = state
	s := &d.batch.States
	s.Time = append(s.Time, t)
	s.State = append(s.State, state)
	s.Reason = append(s.Reason, reason)
}
