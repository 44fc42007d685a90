package analyze

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// training returns definitions of names×configurations launches and batches of kernels as a training run on
// several streams leaves them: nearly in order, streams overlapping, durations spread.
func training(batches, rows, names int) (event.Definitions, []*event.Batch) {
	random := rand.New(rand.NewPCG(1, 2))
	d := event.Definitions{
		Processes: []event.Process{{PID: 7, StartTime: 1, Devices: []event.GPUID{1}, Rank: -1}},
		GPUs:      []event.GPU{{UUID: "GPU-1", Name: "test"}},
	}
	for i := range names {
		d.Strings = append(d.Strings, fmt.Sprintf("kernel_%d", i))
	}
	for i := range names * 10 {
		d.Launches = append(d.Launches, event.Launch{Name: event.StringID(i%names + 1), Grid: [3]uint32{uint32(i), 1, 1}})
	}
	var out []*event.Batch
	now := event.Time(1_000_000)
	var free [4]event.Time
	correlation := uint32(0)
	for range batches {
		b := &event.Batch{Process: 1}
		k := &b.Kernels
		for range rows {
			stream := random.IntN(10) / 7 * (1 + random.IntN(3)) // most work on one stream
			correlation++
			duration := int64(2000 + random.ExpFloat64()*20000)
			start := max(now+event.Time(random.IntN(2000)), free[stream]+500)
			free[stream] = start + event.Time(duration)
			now = max(now+event.Time(random.IntN(9000)), start-30_000)
			k.Start = append(k.Start, start)
			k.Duration = append(k.Duration, duration)
			k.Launch = append(k.Launch, event.LaunchID(random.IntN(len(d.Launches))+1))
			k.Correlation = append(k.Correlation, correlation)
			k.Device = append(k.Device, 0)
			k.Context = append(k.Context, 1)
			k.Stream = append(k.Stream, uint32(stream))
			k.Graph = append(k.Graph, 0)
			k.GraphNode = append(k.GraphNode, 0)
		}
		out = append(out, b)
	}
	return d, out
}

// withCalls adds the call that launched each kernel, and a range around every 100.
func withCalls(batches []*event.Batch) {
	id := uint32(0)
	for _, b := range batches {
		c, m := &b.Calls, &b.Markers
		for i, start := range b.Kernels.Start {
			at := start - 5000
			if i%100 == 0 {
				id++
				for _, end := range []event.Time{0, 50_000} {
					m.Time = append(m.Time, at+end)
					m.Kind = append(m.Kind, event.MarkerStart)
					m.ID = append(m.ID, id)
					m.Thread = append(m.Thread, 1)
					m.Text = append(m.Text, event.StringID(1+id%3))
					m.Domain = append(m.Domain, 0)
					m.PayloadKind = append(m.PayloadKind, 0)
					m.Payload = append(m.Payload, 0)
					m.Color = append(m.Color, 0)
					m.Category = append(m.Category, 0)
				}
				m.Kind[len(m.Kind)-1] = event.MarkerEnd
			}
			c.Enter = append(c.Enter, at)
			c.Duration = append(c.Duration, 3000)
			c.Name = append(c.Name, 1)
			c.Domain = append(c.Domain, event.DomainDriver)
			c.Thread = append(c.Thread, 1)
			c.Correlation = append(c.Correlation, b.Kernels.Correlation[i])
			c.Result = append(c.Result, 0)
		}
	}
}

// BenchmarkAnalysis reports kernels a second on one core, without reading a file.
func BenchmarkAnalysis(b *testing.B) {
	const batches, rows = 64, 16384
	for _, c := range []struct {
		name   string
		config Config
		calls  bool
	}{
		{"overview", Config{Parts: PartOverview}, false},
		{"overview with calls", Config{Parts: PartOverview}, true},
		{"streams", Config{Parts: PartStreams | PartKernels, GroupBy: ByStream}, false},
		{"nvtx", Config{Parts: PartRanges}, true},
		{"account", Config{Parts: PartsOfSteps}, true},
	} {
		d, list := training(batches, rows, 100)
		if c.calls {
			withCalls(list)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := New(c.config)
				if err := a.Define(&d); err != nil {
					b.Fatal(err)
				}
				for _, batch := range list {
					if err := a.Batch(batch); err != nil {
						b.Fatal(err)
					}
				}
				a.Inspect()
			}
			b.ReportMetric(float64(b.N)*batches*rows/b.Elapsed().Seconds(), "kernels/s")
		})
	}
}
