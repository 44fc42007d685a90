package report

import (
	"io"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

// BenchmarkEvents reports events a second, without reading a file.
func BenchmarkEvents(b *testing.B) {
	const rows = 16384
	d := &event.Definitions{
		Strings: kernelNames, Launches: []event.Launch{{Name: 1, Grid: [3]uint32{8, 1, 1}, Block: [3]uint32{128, 1, 1}}, {Name: 14, Grid: [3]uint32{9, 2, 1}}},
		Processes: []event.Process{{PID: 7, StartTime: 1}},
	}
	batch := &event.Batch{Process: 1}
	k := &batch.Kernels
	for i := range rows {
		k.Start = append(k.Start, event.Time(1000+i*5000))
		k.Duration = append(k.Duration, int64(2000+i%999))
		k.Launch = append(k.Launch, event.LaunchID(1+i%2))
		k.Correlation = append(k.Correlation, uint32(i))
		k.Device = append(k.Device, 0)
		k.Context = append(k.Context, 1)
		k.Stream = append(k.Stream, 7)
		k.Graph = append(k.Graph, 0)
		k.GraphNode = append(k.GraphNode, 0)
	}
	for _, format := range []EventFormat{EventText, EventJSONL, EventCSV} {
		b.Run(string(format), func(b *testing.B) {
			b.ReportAllocs()
			e := NewEvents(io.Discard, EventOptions{Format: format, Style: Style{Width: 100}})
			if err := e.Define(d); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := e.Batch(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "events/s")
		})
	}
}
