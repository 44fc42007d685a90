package trace

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/warpscope/warpscope/agent/event"
)

// gpt imitates what a GPT training run records: a fixed sequence of kernels a step, few kernels
// many times, one launch call each, jitter on the device and more of it on the host.
type gpt struct {
	rng      *rand.Rand
	tick     float64 // step of the device's clock, ns; 0: none
	sequence []position
	gpu, cpu float64 // clocks, ns
	corr     uint32
	at       int
}

// position is one launch in the sequence of a step.
type position struct {
	launch   event.LaunchID
	duration float64 // ns, mean
	gap      float64 // on the device before it
	pause    float64 // on the host before its call
	call     float64 // duration of the call
	name     event.StringID
	calls    uint32 // correlation ids taken up to it
	thread   uint32
}

const (
	gptKernels  = 735 // a step, as measured on the real run
	gptLaunches = 60
)

func newGPT(seed uint64, tick float64) *gpt {
	g := &gpt{rng: rand.New(rand.NewPCG(seed, 1)), tick: tick, gpu: 5.1e12 + 713, cpu: 5.1e12, corr: 3000}
	mean := make([]float64, gptLaunches+1)
	for i := range mean {
		mean[i] = 3000 * math.Exp(1.3*math.Abs(g.rng.NormFloat64())) // µs to a few 100 µs
	}
	block := make([]event.LaunchID, 25) // what each of the layers repeats
	for i := range block {
		block[i] = event.LaunchID(1 + g.rng.IntN(gptLaunches))
	}
	for i := range gptKernels {
		l := block[i%len(block)]
		if i < 30 || i > gptKernels-100 {
			l = event.LaunchID(1 + g.rng.IntN(gptLaunches))
		}
		p := position{launch: l, duration: mean[l], gap: 900 + 400*g.rng.Float64(), pause: 4000 * math.Exp(0.8*g.rng.NormFloat64()),
			call: 3300, name: 100, calls: 1, thread: 4001}
		if i%9 == 4 {
			p.name, p.call, p.calls = 101, 4100, 3
		}
		if i > gptKernels/3 {
			p.thread = 4077 // autograd's
		}
		g.sequence = append(g.sequence, p)
	}
	return g
}

// stamp is what the device's clock shows, in steps of tick, scaled to the host's by a slope that
// is not quite 1.
func (g *gpt) stamp(t float64) int64 {
	if g.tick > 0 {
		t = math.Floor(t/g.tick) * g.tick
	}
	return int64(math.Round(t*1.0000013 + 12345.6))
}

// fill appends n kernels and their calls to b.
func (g *gpt) fill(b *event.Batch, n int) {
	b.Process = 1
	for range n {
		p := g.sequence[g.at]
		if g.at++; g.at == len(g.sequence) {
			g.at = 0
			g.cpu = max(g.cpu, g.gpu) + 1e6*(1+0.05*g.rng.NormFloat64()) // synchronised: the step's end
		}
		g.cpu += p.pause * math.Exp(0.12*g.rng.NormFloat64())
		enter := g.cpu
		g.cpu += p.call * math.Exp(0.1*g.rng.NormFloat64())
		if g.rng.IntN(200) == 0 {
			g.cpu += 2e4 * g.rng.ExpFloat64()
		}
		g.corr += p.calls
		start := max(g.gpu+p.gap+80*g.rng.NormFloat64(), enter+3000)
		g.gpu = start + max(900, p.duration*(1+0.012*g.rng.NormFloat64()))
		k := &b.Kernels
		k.Start = append(k.Start, event.Time(g.stamp(start)))
		k.Duration = append(k.Duration, g.stamp(g.gpu)-g.stamp(start))
		k.Launch = append(k.Launch, p.launch)
		k.Correlation = append(k.Correlation, g.corr)
		k.Device = append(k.Device, 0)
		k.Context = append(k.Context, 1)
		k.Stream = append(k.Stream, 7)
		k.Graph = append(k.Graph, 0)
		k.GraphNode = append(k.GraphNode, 0)
		c := &b.Calls
		c.Enter = append(c.Enter, event.Time(enter))
		c.Duration = append(c.Duration, int64(g.cpu-enter))
		c.Name = append(c.Name, p.name)
		c.Domain = append(c.Domain, event.DomainRuntime)
		c.Thread = append(c.Thread, p.thread)
		c.Correlation = append(c.Correlation, g.corr)
		c.Result = append(c.Result, 0)
	}
}

// definitions returns what the identifiers in g's batches need.
func (g *gpt) definitions() *event.Definitions {
	d := &event.Definitions{Processes: []event.Process{{PID: 4001, Mode: "timeline"}}}
	for i := range 100 {
		d.Strings = append(d.Strings, fmt.Sprintf("_ZN2at6native%dvectorized_elementwise_kernelILi4EEEvi", i))
	}
	d.Strings = append(d.Strings, "cuLaunchKernelEx")
	for i := range gptLaunches {
		d.Launches = append(d.Launches, event.Launch{Name: event.StringID(i + 1), Grid: [3]uint32{uint32(i + 1), 12, 1}, Block: [3]uint32{256, 1, 1}})
	}
	return d
}
