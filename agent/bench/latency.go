package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/warpscope/warpscope/agent/bench/result"
	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
)

// The latency suite: what it costs to ask the GPU for something. Rows with a series are timed by the host's clock around a
// loop in C, unless they say otherwise.
const (
	series       = 500 // calls in a row: fewer than a stream takes before the host has to wait
	waits        = 200 // calls in a row of which each waits for the GPU
	seriesRounds = 15
	graphNodes   = 100
	graphs       = 8 // launches in a row: more would wait for the GPU
	smallCopy    = 4 << 10
	spins        = 4
	spinTime     = 500 * time.Microsecond
)

func latencyCases(g *GPU, o Options) ([]Case, error) {
	row := func(what, shape string, steps int, limit string) result.Row {
		return result.Row{Suite: "latency", What: what, Shape: shape, Steps: steps, Limit: limit}
	}
	cases := []Case{
		{Row: row("launch, C", "empty kernel", series, "host"), Prepare: (*GPU).launchesInC},
		{Row: row("launch, purego", "empty kernel", series, "host"), Prepare: (*GPU).launchesInGo},
		{Row: row("back-to-back kernels", "empty kernel", 0, "GPU's front end"), Prepare: (*GPU).backToBack},
		{Row: row("graph launch", fmt.Sprintf("%d nodes", graphNodes), graphs, "host"), Prepare: func(g *GPU) (*Work, error) { return g.graph(false) }},
		{Row: row("graph, a node", fmt.Sprintf("%d nodes", graphNodes), graphNodes, "GPU's front end"), Prepare: func(g *GPU) (*Work, error) { return g.graph(true) }},
		{Row: row("launch and wait", "empty kernel", waits, "host"), Prepare: (*GPU).launchAndWait},
		{Row: row("wait, nothing to do", "idle stream", series, "host"), Prepare: (*GPU).wait},
		{Row: row("copy to GPU, wait", size(smallCopy), waits, "host"), Prepare: func(g *GPU) (*Work, error) { return g.copies(true) }},
		{Row: row("copy from GPU, wait", size(smallCopy), waits, "host"), Prepare: func(g *GPU) (*Work, error) { return g.copies(false) }},
		{Row: row("one stream", fmt.Sprintf("%d kernels of %v", spins, spinTime), 0, "order"), Prepare: func(g *GPU) (*Work, error) { return g.streams(1) }},
		{Row: row("two streams", fmt.Sprintf("%d kernels of %v", spins, spinTime), 0, "order"), Prepare: func(g *GPU) (*Work, error) { return g.streams(2) }},
	}
	return append(cases, chainCases(g, o)...), nil
}

// seriesWork times n calls in a row; the GPU is waited for outside of the time.
func (g *GPU) seriesWork(n int, run func(n int) (time.Duration, error), verify func(run func(int) error) (result.Verification, error)) *Work {
	again := func(n int) error {
		_, err := run(n)
		return err
	}
	return &Work{Run: again, Verify: verify, Time: func() ([]float64, error) {
		var out []float64
		for i := range seriesRounds + 1 {
			took, err := run(n)
			if err = errors.Join(err, g.Stream.Synchronize()); err != nil {
				return nil, err
			}
			if i > 0 { // the first one warms up
				out = append(out, took.Seconds())
			}
		}
		return out, nil
	}}
}

// counts checks that launching once adds one to what the counting kernel counts: the launches arrive. The timed kernel is the
// empty one, which leaves no trace.
func (g *GPU) counts() (func(func(int) error) (result.Verification, error), error) {
	count, err := g.Alloc(4)
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Latency(), kernels.Count(count))
	return func(timed func(int) error) (result.Verification, error) {
		const times = 3
		if err := errors.Join(g.zero(count, 4), run(times), timed(1), g.Stream.Synchronize()); err != nil {
			return result.Verification{}, err
		}
		got, err := g.word(count)
		return exactly("launches of a kernel that counts", got, times), err
	}, err
}

func (g *GPU) launchesInC() (*Work, error) {
	verify, err := g.counts()
	if err != nil {
		return nil, err
	}
	loop, err := g.Loop(kernels.Latency(), kernels.Empty())
	if err != nil {
		return nil, err
	}
	return g.seriesWork(series, loop.Run, verify), nil
}

// launchesInGo is the same through purego, as the rest of warpscope calls the driver.
func (g *GPU) launchesInGo() (*Work, error) {
	verify, err := g.counts()
	if err != nil {
		return nil, err
	}
	m, err := g.module(kernels.Latency())
	if err != nil {
		return nil, err
	}
	launch := kernels.Empty()
	f, err := launch.Prepare(m)
	if err != nil {
		return nil, err
	}
	loop, err := g.Loop(kernels.Latency(), launch)
	if err != nil {
		return nil, err
	}
	inGo := func(n int) (time.Duration, error) {
		begin := time.Now()
		for range n {
			if err := launch.Run(g.Stream, f); err != nil {
				return 0, err
			}
		}
		return time.Since(begin), nil
	}
	w := g.seriesWork(series, inGo, verify)
	w.After = func(r *result.Row) error {
		inC, err := g.seriesWork(series, loop.Run, verify).Time()
		if err != nil {
			return err
		}
		more := r.Times.Median - result.TimesOf(perStep(inC, series)).Median
		r.Notes = append(r.Notes, fmt.Sprintf("%+.0f ns beside the loop in C", more*nanoseconds))
		return nil
	}
	return w, nil
}

func (g *GPU) backToBack() (*Work, error) {
	verify, err := g.counts()
	if err != nil {
		return nil, err
	}
	run, err := g.Runs(kernels.Latency(), kernels.Empty())
	return &Work{Run: run, Verify: verify}, err
}

// graph is a graph of kernels in a row: its launch as the host sees it, or its nodes as the device does.
func (g *GPU) graph(nodes bool) (*Work, error) {
	count, err := g.Alloc(4)
	if err != nil {
		return nil, err
	}
	counting, err := g.recorded(kernels.Count(count))
	if err != nil {
		return nil, err
	}
	empty, err := g.recorded(kernels.Empty())
	if err != nil {
		return nil, err
	}
	verify := func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.zero(count, 4), counting.Launch(g.Stream), run(1), g.Stream.Synchronize()); err != nil {
			return result.Verification{}, err
		}
		got, err := g.word(count)
		return exactly("a graph of kernels that count", got, graphNodes), err
	}
	call, err := empty.LaunchCall(g.Stream)
	if err != nil {
		return nil, err
	}
	loop, err := kernels.NewSeries(call)
	if err != nil {
		return nil, err
	}
	w := g.seriesWork(graphs, loop.Run, verify)
	if nodes {
		w.Time = nil
	}
	return w, nil
}

// recorded is a graph of a kernel, as often as a graph has nodes.
func (g *GPU) recorded(l kernels.Launch) (*cuda.GraphExec, error) {
	run, err := g.Runs(kernels.Latency(), l)
	if err != nil {
		return nil, err
	}
	graph, err := g.Stream.Capture(func() error { return run(graphNodes) })
	if err != nil {
		return nil, err
	}
	e, err := graph.Instantiate()
	if err = errors.Join(err, graph.Close()); err != nil {
		return nil, err
	}
	g.Defer(e.Close)
	return e, e.Upload(g.Stream)
}

func (g *GPU) launchAndWait() (*Work, error) {
	verify, err := g.counts()
	if err != nil {
		return nil, err
	}
	loop, err := g.Loop(kernels.Latency(), kernels.Empty())
	if err != nil {
		return nil, err
	}
	call, err := g.Stream.SynchronizeCall()
	if err != nil {
		return nil, err
	}
	return g.seriesWork(waits, func(n int) (time.Duration, error) { return loop.RunThen(n, call) }, verify), nil
}

func (g *GPU) wait() (*Work, error) {
	verify, err := g.counts()
	if err != nil {
		return nil, err
	}
	call, err := g.Stream.SynchronizeCall()
	if err != nil {
		return nil, err
	}
	loop, err := kernels.NewSeries(call)
	if err != nil {
		return nil, err
	}
	return g.seriesWork(series, loop.Run, verify), nil
}

// copies are small ones from or to page-locked memory, each with its wait.
func (g *GPU) copies(toDevice bool) (*Work, error) {
	host, err := g.Driver.AllocHost(smallCopy)
	if err != nil {
		return nil, err
	}
	g.Defer(host.Close)
	at, err := g.Alloc(smallCopy)
	if err != nil {
		return nil, err
	}
	copyCall, err := g.Stream.CopyToDeviceCall(at, host, smallCopy)
	if !toDevice {
		copyCall, err = g.Stream.CopyToHostCall(host, at, smallCopy)
	}
	wait, err2 := g.Stream.SynchronizeCall()
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	loop, err := kernels.NewSeries(copyCall, wait)
	if err != nil {
		return nil, err
	}
	return g.seriesWork(waits, loop.Run, func(run func(int) error) (result.Verification, error) {
		v := result.Verification{Method: "every byte"}
		want, got := make([]byte, smallCopy), make([]byte, smallCopy)
		for i := range want {
			want[i] = byte(g.Seed() >> 32)
		}
		var err error
		if toDevice {
			copy(host.Bytes(), want)
			err = errors.Join(g.poison(at, smallCopy), g.Once(run), g.Driver.CopyToHost(got, at))
		} else {
			clear(host.Bytes())
			err = errors.Join(g.Driver.CopyToDevice(at, want), g.Once(run))
			copy(got, host.Bytes())
		}
		if !bytes.Equal(want, got) {
			v.Error = 1
		}
		return v, err
	}), nil
}

// streams run kernels of a known time on one stream or on two.
func (g *GPU) streams(n int) (*Work, error) {
	count, err := g.Alloc(4)
	if err != nil {
		return nil, err
	}
	m, err := g.module(kernels.Latency())
	if err != nil {
		return nil, err
	}
	spin := kernels.Spin(spinTime, count)
	f, err := spin.Prepare(m)
	if err != nil {
		return nil, err
	}
	streams := []*cuda.Stream{g.Stream}
	for len(streams) < n {
		s, err := g.Driver.NewStream(cuda.StreamConfig{NonBlocking: true})
		if err != nil {
			return nil, err
		}
		g.Defer(s.Close)
		streams = append(streams, s)
	}
	fork, err := g.Driver.NewMark()
	if err != nil {
		return nil, err
	}
	g.Defer(fork.Close)
	join, err := g.Driver.NewMark()
	if err != nil {
		return nil, err
	}
	g.Defer(join.Close)
	run := func(n int) error {
		for range n {
			err := fork.Record(g.Stream)
			for _, s := range streams[1:] {
				err = errors.Join(err, s.Wait(fork))
			}
			for i := range spins {
				err = errors.Join(err, spin.Run(streams[i%len(streams)], f))
			}
			for _, s := range streams[1:] {
				err = errors.Join(err, join.Record(s), g.Stream.Wait(join))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return &Work{Run: run, Verify: func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.zero(count, 4), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		got, err := g.word(count)
		return exactly("kernels that ran", got, spins), err
	}}, nil
}

// chainBytes is the size of the elementwise chain's arrays.
const chainBytes = 1 << 30

// chainCases show what fusing saves: the same elementwise operations as four kernels and as one.
func chainCases(g *GPU, o Options) []Case {
	want := uint64(chainBytes)
	if o.Bytes > 0 {
		want = o.Bytes
	}
	each, note := g.Fit(want, 2)
	var cases []Case
	for _, fused := range []bool{false, true} {
		r := result.Row{Suite: "latency", What: "chain, 4 kernels", Shape: size(each), Element: "fp32", Kernel: "chain_scale", Bytes: float64(8 * each),
			Memory: g.kind(ceilings.Copy, each)}
		if fused {
			r.What, r.Kernel, r.Bytes = "chain, fused", "chain_fused", float64(2*each)
		}
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
		cases = append(cases, Case{Row: r, Needs: 2 * each, Prepare: func(g *GPU) (*Work, error) { return g.chain(fused, each) }})
	}
	return cases
}

func (g *GPU) chain(fused bool, bytes uint64) (*Work, error) {
	x, err := g.random(bytes)
	if err != nil {
		return nil, err
	}
	y, err := g.Alloc(bytes)
	if err != nil {
		return nil, err
	}
	launches := kernels.Chain(g.Info.Multiprocessors, x, y, bytes/wordBytes)
	if fused {
		launches = []kernels.Launch{kernels.ChainFused(g.Info.Multiprocessors, x, y, bytes/wordBytes)}
	}
	run, err := g.Runs(kernels.Latency(), launches...)
	return &Work{Run: run, Verify: func(run func(int) error) (result.Verification, error) {
		if err := errors.Join(g.poison(y, bytes), g.Once(run)); err != nil {
			return result.Verification{}, err
		}
		return g.pieces(bytes/4, y, []cuda.Pointer{x}, 1e-6, func(in []float32) float64 {
			return math.Max(0, float64(in[0])*float64(kernels.ChainA)+float64(kernels.ChainB)) * float64(kernels.ChainC)
		})
	}}, err
}
