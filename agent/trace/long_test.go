package trace

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

var (
	longKernels = flag.Int("kernels", 500_000, "kernels in the trace of TestLongTrace")
	longFile    = flag.String("keep", "", "where TestLongTrace leaves its trace; empty: nowhere")
)

// TestLongTrace writes and reads a trace, of minutes by default and of any length on request:
//
//	go test ./agent/trace -run TestLongTrace -v -kernels 20000000 -keep /tmp/long.wscope
//
// Neither may take memory by its length.
func TestLongTrace(t *testing.T) {
	path := *longFile
	if path == "" {
		path = filepath.Join(t.TempDir(), "long.wscope")
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	heap := newPeak()
	begin := time.Now()
	writeLong(t, f, *longKernels, heap)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kernels and as many calls written in %v: %d bytes, heap %d MiB", *longKernels, time.Since(begin), s.Size(), heap.high>>20)

	for _, options := range [][]ReadOption{nil, {WithReadAhead(2)}, {WithKinds(event.KindKernel)}} {
		reading := newPeak()
		begin = time.Now()
		r, err := Open(path, options...)
		if err != nil {
			t.Fatal(err)
		}
		kernels := 0
		for {
			item, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if item.Batch != nil {
				kernels += len(item.Batch.Kernels.Start)
				reading.look()
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if report := r.Report(); kernels != *longKernels || report.Err() != nil {
			t.Errorf("%d kernels read of %d: %s", kernels, *longKernels, report.String())
		}
		t.Logf("%d kernels read in %v, heap %d MiB", kernels, time.Since(begin), reading.high>>20)
		if reading.high > 64<<20 {
			t.Errorf("reading takes %d MiB", reading.high>>20)
		}
	}
	if heap.high > 64<<20 {
		t.Errorf("writing takes %d MiB", heap.high>>20)
	}
}

// writeLong writes what a collector writes that is called every 50 ms at 25,000 kernels a second.
func writeLong(t *testing.T, out io.Writer, n int, heap *peak) {
	t.Helper()
	clock := &manual{t: time.Unix(0, 0)}
	w, err := NewWriter(out, event.Provenance{Tool: "test", Simulated: true}, WithClock(clock.now))
	g := newGPT(1, 32)
	if err == nil {
		err = w.Define(g.definitions())
	}
	p := &pending{}
	for err == nil && n > 0 {
		g.fill(&p.batch, min(n, 1250))
		n -= min(n, 1250)
		clock.t = clock.t.Add(50 * time.Millisecond)
		err = w.Batch(&p.batch)
		p.clear(w.encoder.schema)
		heap.look()
	}
	if err == nil {
		err = w.Close(event.Summary{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// peak is by how much the use of the heap grew.
type peak struct {
	base, high uint64
	n          int
}

func newPeak() *peak {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &peak{base: m.HeapAlloc}
}

func (p *peak) look() {
	if p.n++; p.n%64 != 1 {
		return
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.high = max(p.high, max(m.HeapAlloc, p.base)-p.base)
}
