package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// busy returns the processor time that this process has used: on a machine shared with others, a rate by
// it is that of one core.
func busy(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

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
// and their calls) a second of processor time, and bytes a kernel with its call.
func BenchmarkWrite(b *testing.B) {
	for _, tick := range []float64{0, 32} {
		b.Run(fmt.Sprintf("tick%.0f", tick), func(b *testing.B) {
			batches := gptBatches(tick)
			var out bytes.Buffer
			start := busy(b)
			for b.Loop() {
				out.Reset()
				record(b, &out, batches)
			}
			b.ReportMetric(float64(out.Len())/benchKernels, "bytes/kernel")
			b.ReportMetric(2*benchKernels*float64(b.N)/(busy(b)-start).Seconds(), "records/cpu-s")
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
			kernels, start := 0, busy(b)
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
			b.ReportMetric(float64(kernels)/(busy(b)-start).Seconds(), "kernels/cpu-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkReal encodes and decodes the frames of real traces as they are: records of all kinds a
// second of processor time.
func BenchmarkReal(b *testing.B) {
	files, err := filepath.Glob("../../testdata/real/*.wscope")
	if err != nil || len(files) == 0 {
		b.Fatalf("no real traces: %v", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		e, d := testCodec(b)
		var batches []event.Batch
		s := &scanner{in: window{r: bytes.NewReader(data[fileHeaderSize:])}, report: &reporter{}}
		for {
			f, err := s.next()
			if err != nil {
				break
			}
			if c := (decoded{rawFrame: f}); f.typ == frameBatch {
				c.decode(d)
				batches = append(batches, c.batch)
			}
		}
		frames := make([][]byte, len(batches))
		b.Run("encode/"+filepath.Base(path), func(b *testing.B) {
			records, start := 0, busy(b)
			for b.Loop() {
				for i := range batches {
					frames[i] = e.batch(frames[i][:0], &batches[i], 0)
					records += e.rows
				}
			}
			b.ReportMetric(float64(records)/(busy(b)-start).Seconds(), "records/cpu-s")
		})
		for i := range batches {
			frames[i] = e.batch(nil, &batches[i], 0)
		}
		b.Run("decode/"+filepath.Base(path), func(b *testing.B) {
			var out event.Batch
			records, start := 0, busy(b)
			for b.Loop() {
				for _, f := range frames {
					h, _ := parseFrameHeader(f)
					payload, err := d.payload(&h, f[frameHeaderSize:])
					if err == nil {
						err = d.batch(payload, &h, &out)
					}
					if err != nil {
						b.Fatal(err)
					}
					records += int(h.rows)
				}
			}
			b.ReportMetric(float64(records)/(busy(b)-start).Seconds(), "records/cpu-s")
		})
	}
}
