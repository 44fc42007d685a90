package scene

import "github.com/warpscope/warpscope/agent/event"

// Stream is the stream that threads use unless told otherwise.
const Stream = 7

// Thread is a thread of a program.
type Thread struct {
	p   *Program
	id  uint32
	Now event.Time
}

// Thread returns a new thread that starts with the program.
func (p *Program) Thread() *Thread {
	p.threads++
	return &Thread{p: p, id: 100 + p.threads, Now: p.Info.StartTime}
}

// Host runs code outside CUDA for some ns.
func (t *Thread) Host(ns int64) { t.Now += event.Time(ns) }

// Until lets the thread wait outside CUDA until a moment.
func (t *Thread) Until(at event.Time) { t.Now = max(t.Now, at) }

func (t *Thread) call(name string, ns int64, correlation uint32) {
	if !t.p.Silent {
		c := &t.p.Events.Calls
		c.Enter, c.Duration = append(c.Enter, t.Now), append(c.Duration, ns)
		c.Name, c.Domain = append(c.Name, t.p.text(name)), append(c.Domain, event.DomainRuntime)
		c.Thread, c.Correlation, c.Result = append(c.Thread, t.id), append(c.Correlation, correlation), append(c.Result, 0)
	}
	t.Now += event.Time(ns)
}

// queue puts work of some ns on a stream, and returns when it starts.
func (t *Thread) queue(stream uint32, launched event.Time, ns int64) event.Time {
	start := launched + LatencyNS
	if done, busy := t.p.streams[stream]; busy {
		start = max(start, done+TurnNS)
	}
	t.p.streams[stream] = start + event.Time(ns)
	return start
}

// Launch launches a kernel of many blocks.
func (t *Thread) Launch(name string, ns int64) { t.LaunchOn(Stream, name, 1024, ns) }

// LaunchOn launches a kernel of some blocks on a stream.
func (t *Thread) LaunchOn(stream uint32, name string, blocks uint32, ns int64) {
	p := t.p
	p.last++
	correlation := p.last
	t.call("cudaLaunchKernel", CallNS, correlation)
	start := t.queue(stream, t.Now, ns)
	k := &p.Events.Kernels
	k.Start, k.Duration = append(k.Start, start), append(k.Duration, ns)
	k.Launch, k.Correlation = append(k.Launch, p.launch(name, blocks)), append(k.Correlation, correlation)
	k.Device, k.Context, k.Stream = append(k.Device, 0), append(k.Context, 1), append(k.Stream, stream)
	k.Graph, k.GraphNode = append(k.Graph, 0), append(k.GraphNode, 0)
}

// Graph launches a CUDA graph.
func (t *Thread) Graph(id uint32, ns int64) {
	p := t.p
	p.last++
	t.call("cudaGraphLaunch", CallNS, p.last)
	g := &p.Events.Graphs
	g.Start, g.Duration = append(g.Start, t.queue(Stream, t.Now, ns)), append(g.Duration, ns)
	g.Graph, g.Correlation = append(g.Graph, id), append(g.Correlation, p.last)
	g.Device, g.Context, g.Stream = append(g.Device, 0), append(g.Context, 1), append(g.Stream, Stream)
}

// Copy copies; with pageable memory the call first copies to a buffer, at 10 GB/s, and returns when
// the copy is done.
func (t *Thread) Copy(stream uint32, kind event.CopyKind, source, target event.MemoryKind, bytes uint64, ns int64) {
	p := t.p
	p.last++
	pageable := source == event.MemoryPageable || target == event.MemoryPageable
	staging := event.Time(0)
	if pageable {
		staging = event.Time(bytes / 10)
	}
	start := t.queue(stream, t.Now+CallNS+staging, ns)
	inside := int64(CallNS)
	if pageable {
		inside = int64(p.streams[stream]-t.Now) + 2_000
	}
	c := &p.Events.Copies
	c.Start, c.Duration, c.Bytes = append(c.Start, start), append(c.Duration, ns), append(c.Bytes, bytes)
	c.Kind, c.Source, c.Target = append(c.Kind, kind), append(c.Source, source), append(c.Target, target)
	c.Async, c.Correlation = append(c.Async, true), append(c.Correlation, p.last)
	c.Device, c.Peer, c.Context, c.Stream = append(c.Device, 0), append(c.Peer, 0), append(c.Context, 1), append(c.Stream, stream)
	c.Graph, c.GraphNode = append(c.Graph, 0), append(c.GraphNode, 0)
	t.call("cudaMemcpyAsync", inside, p.last)
}

// Sync waits until the GPU has done everything.
func (t *Thread) Sync() {
	t.call("cudaDeviceSynchronize", max(int64(t.p.Done()-t.Now), 0)+2_000, 0)
}

// WaitFor makes a stream wait until another one has done what is queued on it now.
func (t *Thread) WaitFor(stream, other uint32) {
	t.p.streams[stream] = max(t.p.streams[stream], t.p.streams[other])
}

// Delay makes a stream wait for something outside the trace, for some ns after what is queued on it.
func (p *Program) Delay(stream uint32, ns int64) { p.streams[stream] += event.Time(ns) }

// Alloc takes memory from the driver, which takes some ns.
func (t *Thread) Alloc(ns int64) {
	a := &t.p.Events.Allocations
	a.Sequence = append(a.Sequence, uint64(len(a.Sequence)+1))
	a.Enter, a.Duration = append(a.Enter, t.Now), append(a.Duration, ns)
	a.Op, a.Space = append(a.Op, event.OpAlloc), append(a.Space, event.SpaceDevice)
	a.Address, a.Size, a.Handle = append(a.Address, uint64(len(a.Sequence))<<21), append(a.Size, 2<<20), append(a.Handle, 0)
	a.Device, a.Context, a.Stream = append(a.Device, 0), append(a.Context, 1), append(a.Stream, event.NoStream)
	a.Thread, a.API, a.Result = append(a.Thread, t.id), append(a.API, t.p.text("cuMemAlloc_v2")), append(a.Result, 0)
	a.Known, a.Stack = append(a.Known, false), append(a.Stack, 0)
	t.Now += event.Time(ns)
}

// Load loads code for the GPU, which takes some ns.
func (t *Thread) Load(ns int64) { t.overhead(5<<16, ns) }

// Capture is held up by the tracing for some ns.
func (t *Thread) Capture(ns int64) { t.overhead(2<<16, ns) }

func (t *Thread) overhead(kind event.OverheadKind, ns int64) {
	o := &t.p.Events.Overheads
	o.Start, o.Duration, o.Kind = append(o.Start, t.Now), append(o.Duration, ns), append(o.Kind, kind)
	o.Thread, o.Correlation = append(o.Thread, t.id), append(o.Correlation, 0)
	t.Now += event.Time(ns)
}

// Range opens an NVTX range; the function that it returns closes it.
func (t *Thread) Range(text string) func() {
	t.p.marker++
	id := t.p.marker
	t.mark(event.MarkerStart, id, "", text, 0)
	return func() { t.mark(event.MarkerEnd, id, "", "", 0) }
}

// Python opens a range of the module for Python, of a domain like "warpscope.op"; the function that it returns
// closes it.
func (t *Thread) Python(domain, text string, value uint64) func() {
	t.p.marker++
	id := t.p.marker
	t.mark(event.MarkerStart, id, domain, text, value)
	return func() { t.mark(event.MarkerEnd, id, domain, "", 0) }
}

// Moment is a marker of the module for Python, like a sample of a stack.
func (t *Thread) Moment(domain, text string, value uint64) {
	t.p.marker++
	t.mark(event.MarkerInstant, t.p.marker, domain, text, value)
}

func (t *Thread) mark(kind event.MarkerKind, id uint32, domain, text string, value uint64) {
	m := &t.p.Events.Markers
	m.Time, m.Kind, m.ID = append(m.Time, t.Now), append(m.Kind, kind), append(m.ID, id)
	m.Thread, m.Text, m.Domain = append(m.Thread, t.id), append(m.Text, t.p.text(text)), append(m.Domain, t.p.text(domain))
	m.PayloadKind, m.Payload = append(m.PayloadKind, event.PayloadUint64), append(m.Payload, value)
	m.Color, m.Category = append(m.Color, 0), append(m.Category, 0)
}
