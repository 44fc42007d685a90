package bigtrace

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// Config says what to make.
type Config struct {
	Like    string // path of the real trace
	Kernels int    // at least so many
	Calls   bool   // with the calls that launched them
	Seed    uint64
}

const (
	// clockStep and clockSlope are of a GPU's clock as CUPTI shows it: steps of 32 ns, scaled to the host's.
	clockStep  = 32
	clockSlope = 1 + 14e-6
	// least is how long after its call began a kernel can start, ns.
	least = 2500
	// piece is how often what was made is handed to the writer, as the collector does, ns.
	piece = event.Time(50 * time.Millisecond)
)

// generator makes events.
type generator struct {
	pattern *pattern
	config  Config
	random  *rand.Rand

	gpu, cpu event.Time // how far each has got, ns
	enters   []event.Time
	offset   uint32 // of correlations
	ids      uint32 // of markers
	batch    event.Batch
	kernels  int
}

// Generate writes a trace to w and returns how many kernels it has.
func Generate(w io.Writer, c Config) (int, error) {
	p, err := learn(c.Like)
	if err != nil {
		return 0, err
	}
	g := &generator{pattern: p, config: c, random: rand.New(rand.NewPCG(c.Seed, 1))}
	begin := p.cpu[0].start
	g.gpu, g.cpu = max(begin, p.gpu[0].start), begin
	// Waiting events age by the clock of the events.
	now := func() time.Time { return time.Unix(0, int64(min(g.gpu, g.cpu))) }
	provenance := p.provenance
	provenance.Notes = append(provenance.Notes, "made up, to measure how it is read: no such program ever ran")
	provenance.Simulated = true
	out, err := trace.NewWriter(w, provenance, trace.WithClock(now))
	if err != nil {
		return 0, err
	}
	if err := out.Define(&p.definitions); err != nil {
		return 0, fmt.Errorf("write definitions: %w", err)
	}
	if err := out.Batch(&p.once); err != nil {
		return 0, fmt.Errorf("write events: %w", err)
	}
	for g.kernels < c.Kernels {
		if err := g.lap(out); err != nil {
			return 0, err
		}
	}
	return g.kernels, out.Close(event.Summary{End: max(g.gpu, g.cpu)})
}

// lap makes the pattern once more.
func (g *generator) lap(out *trace.Writer) error {
	p := g.pattern
	began := max(g.gpu, g.cpu)
	g.gpu, g.cpu = began, began
	g.enters = append(g.enters[:0], make([]event.Time, len(p.cpu))...)
	cpu, flushed := 0, began
	for i := range p.gpu {
		x := &p.gpu[i]
		// The calls up to the one that launched it, or those that were made before it began.
		for cpu < len(p.cpu) && (int32(cpu) <= x.call || x.call < 0 && p.cpu[cpu].start <= x.start) {
			g.host(cpu)
			cpu++
		}
		g.work(x)
		if now := min(g.gpu, g.cpu); now-flushed > piece {
			flushed = now
			if err := g.flush(out); err != nil {
				return err
			}
		}
	}
	for ; cpu < len(p.cpu); cpu++ {
		g.host(cpu)
	}
	g.offset += p.highest + 1
	g.ids += 1 << 16
	if err := g.samples(out, began); err != nil {
		return err
	}
	return g.flush(out)
}

func (g *generator) flush(out *trace.Writer) error {
	b := &g.batch
	b.Process = g.pattern.process
	if err := out.Batch(b); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	for _, table := range []any{&b.Kernels, &b.Copies, &b.Sets, &b.Syncs, &b.Calls, &b.Markers, &b.Overheads} {
		clearTable(table)
	}
	return nil
}

// draw returns one of the values at random, or otherwise.
func (g *generator) draw(values []int64, otherwise int64) int64 {
	if len(values) == 0 {
		return otherwise
	}
	return values[g.random.IntN(len(values))]
}

// stamp is what CUPTI shows of a moment of the GPU.
func stamp(t event.Time) event.Time {
	return event.Time(float64(t/clockStep*clockStep)*clockSlope + 0.5)
}

// work makes a kernel, a copy or a fill.
func (g *generator) work(x *item) {
	p := g.pattern
	start := g.gpu + event.Time(g.draw(p.pauses[x.pair], 1000))
	if x.call >= 0 {
		start = max(start, g.enters[x.call]+least)
	}
	end := start + event.Time(g.draw(p.durations[x.what], x.duration))
	g.gpu = max(g.gpu, end)
	s := stamp(start)
	duration := int64(stamp(end) - s)
	from, b := &p.rows, &g.batch
	switch row := x.row; x.what & kindMask {
	case isKernel:
		k, f := &b.Kernels, &from.Kernels
		k.Start, k.Duration = append(k.Start, s), append(k.Duration, duration)
		k.Launch = append(k.Launch, f.Launch[row])
		k.Correlation = append(k.Correlation, f.Correlation[row]+g.offset)
		k.Device, k.Context = append(k.Device, f.Device[row]), append(k.Context, f.Context[row])
		k.Stream, k.Graph = append(k.Stream, f.Stream[row]), append(k.Graph, f.Graph[row])
		k.GraphNode = append(k.GraphNode, f.GraphNode[row])
		g.kernels++
	case isCopy:
		c, f := &b.Copies, &from.Copies
		c.Start, c.Duration = append(c.Start, s), append(c.Duration, duration)
		c.Bytes, c.Kind = append(c.Bytes, f.Bytes[row]), append(c.Kind, f.Kind[row])
		c.Source, c.Target = append(c.Source, f.Source[row]), append(c.Target, f.Target[row])
		c.Async, c.Correlation = append(c.Async, f.Async[row]), append(c.Correlation, f.Correlation[row]+g.offset)
		c.Device, c.Peer = append(c.Device, f.Device[row]), append(c.Peer, f.Peer[row])
		c.Context, c.Stream = append(c.Context, f.Context[row]), append(c.Stream, f.Stream[row])
		c.Graph, c.GraphNode = append(c.Graph, f.Graph[row]), append(c.GraphNode, f.GraphNode[row])
	case isSet:
		c, f := &b.Sets, &from.Sets
		c.Start, c.Duration = append(c.Start, s), append(c.Duration, duration)
		c.Bytes, c.Value = append(c.Bytes, f.Bytes[row]), append(c.Value, f.Value[row])
		c.Memory, c.Correlation = append(c.Memory, f.Memory[row]), append(c.Correlation, f.Correlation[row]+g.offset)
		c.Device, c.Context = append(c.Device, f.Device[row]), append(c.Context, f.Context[row])
		c.Stream, c.Graph = append(c.Stream, f.Stream[row]), append(c.Graph, f.Graph[row])
		c.GraphNode = append(c.GraphNode, f.GraphNode[row])
	}
}

// host makes the n-th thing that the CPU did.
func (g *generator) host(n int) {
	p := g.pattern
	x := &p.cpu[n]
	enter := g.cpu + event.Time(g.draw(p.pauses[x.pair], 1000))
	duration := g.draw(p.durations[x.what], x.duration)
	g.enters[n] = enter
	g.cpu = max(g.cpu, enter+event.Time(duration))
	from, b := &p.rows, &g.batch
	switch row := x.row; x.what & kindMask {
	case isCall:
		if !g.config.Calls {
			return
		}
		c, f := &b.Calls, &from.Calls
		c.Enter, c.Duration = append(c.Enter, enter), append(c.Duration, duration)
		c.Name, c.Domain = append(c.Name, f.Name[row]), append(c.Domain, f.Domain[row])
		c.Thread, c.Correlation = append(c.Thread, f.Thread[row]), append(c.Correlation, f.Correlation[row]+g.offset)
		c.Result = append(c.Result, f.Result[row])
	case isSync:
		c, f := &b.Syncs, &from.Syncs
		c.Start, c.Duration = append(c.Start, enter), append(c.Duration, duration)
		c.Type, c.Correlation = append(c.Type, f.Type[row]), append(c.Correlation, f.Correlation[row]+g.offset)
		c.Context, c.Stream = append(c.Context, f.Context[row]), append(c.Stream, f.Stream[row])
		c.Event = append(c.Event, f.Event[row])
	case isMarker:
		c, f := &b.Markers, &from.Markers
		c.Time, c.Kind = append(c.Time, enter), append(c.Kind, f.Kind[row])
		c.ID, c.Thread = append(c.ID, f.ID[row]+g.ids), append(c.Thread, f.Thread[row])
		c.Text, c.Domain = append(c.Text, f.Text[row]), append(c.Domain, f.Domain[row])
		c.PayloadKind, c.Payload = append(c.PayloadKind, f.PayloadKind[row]), append(c.Payload, f.Payload[row])
		c.Color, c.Category = append(c.Color, f.Color[row]), append(c.Category, f.Category[row])
	case isOverhead:
		c, f := &b.Overheads, &from.Overheads
		c.Start, c.Duration = append(c.Start, enter), append(c.Duration, duration)
		c.Kind, c.Thread = append(c.Kind, f.Kind[row]), append(c.Thread, f.Thread[row])
		c.Correlation = append(c.Correlation, f.Correlation[row])
	}
}

// samples makes the readings of the GPUs for a lap that began at a moment.
func (g *generator) samples(out *trace.Writer, began event.Time) error {
	var b event.Batch
	appendSamples(&b, &g.pattern.machine)
	for _, times := range [][]event.Time{b.GPUSamples.Time, b.Usages.Time} {
		if len(times) == 0 {
			continue
		}
		first, last := times[0], times[len(times)-1]
		span := max(g.gpu, g.cpu) - began
		for i, t := range times {
			times[i] = began + event.Time(float64(t-first)/float64(max(1, last-first))*float64(span))
		}
	}
	if err := out.Batch(&b); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	return nil
}
