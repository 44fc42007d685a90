package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// benchKernels is how many kernels the benchmarks write and read: some 40 s of training.
const benchKernels = 1 << 20

// record writes what a collector writes that is called every 50 ms at 25,000 kernels a second.
func record(tb testing.TB, out io.Writer, batches []event.Batch) {
	clock := &manual{t: time.Unix(0, 0)}
	w, err := NewWriter(out, event.Provenance{Tool: "benchmark"}, WithClock(clock.now))
	if err == nil {
		err = w.Define(newGPT(1, 0).definitions())
	}
	for n := 0; err == nil && n < benchKernels; {
		b := &batches[n/len(batches[0].Kernels.Start)%len(batches)]
		n += len(b.Kernels.Start)
		clock.t = clock.t.Add(50 * time.Millisecond)
		err = w.Batch(b)
	}
	if err == nil {
		err = w.Close(event.Summary{})
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// gptBatches returns the batches of ten seconds or so.
func gptBatches(tick float64) []event.Batch {
	g := newGPT(1, tick)
	batches := make([]event.Batch, 200)
	for i := range batches {
		g.fill(&batches[i], 1250)
	}
	return batches
}

// BenchmarkWrite measures from the collector's batches to the bytes of the file: records (kernels
// and their calls) a second on one core, and bytes a kernel with its call.
func BenchmarkWrite(b *testing.B) {
	for _, tick := range []float64{0, 32} {
		b.Run(fmt.Sprintf("tick%.0f", tick), func(b *testing.B) {
			batches := gptBatches(tick)
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				record(b, &out, batches)
			}
			b.ReportMetric(float64(out.Len())/benchKernels, "bytes/kernel")
			b.ReportMetric(2*benchKernels*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRead measures reading all columns of all kinds, and of the kernels only.
func BenchmarkRead(b *testing.B) {
	var file bytes.Buffer
	record(b, &file, gptBatches(32))
	for _, c := range []struct {
		name    string
		options []ReadOption
	}{
		{"all", nil},
		{"all/ahead2", []ReadOption{WithReadAhead(2)}},
		{"kernels", []ReadOption{WithKinds(event.KindKernel)}},
		{"kernels/ahead2", []ReadOption{WithKinds(event.KindKernel), WithReadAhead(2)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			kernels := 0
			for b.Loop() {
				r, err := NewReader(bytes.NewReader(file.Bytes()), c.options...)
				if err != nil {
					b.Fatal(err)
				}
				for {
					item, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					if item.Batch != nil {
						kernels += len(item.Batch.Kernels.Start)
					}
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(kernels)/b.Elapsed().Seconds(), "kernels/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
