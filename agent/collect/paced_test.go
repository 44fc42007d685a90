package collect

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/cupti/abi"
)

// replay writes the kernels and calls of a real trace into a ring, again and again, each time with other
// durations.
type replay struct {
	target  *target
	records []record // in the order of time
	kinds   []uint8
	launch  map[event.LaunchID]uint32
	name    map[event.StringID]uint32
	span    uint64
	highest uint32

	at      int
	offset  uint64 // ns
	shift   uint32 // of correlations
	random  *rand.Rand
	dropped uint64
}

func newReplay(b *testing.B, path string) *replay {
	r, err := trace.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }() // it was read only
	p := &replay{target: makeTarget(b, benchSizes, 0), launch: map[event.LaunchID]uint32{}, name: map[event.StringID]uint32{}, random: rand.New(rand.NewPCG(1, 2))}
	p.target.alloc.write(abi.RecClock, 0, body(abi.Clock{Cupti: 1e9, Before: 1e9, After: 1e9}))
	p.target.alloc.write(abi.RecDevice, 0, body(abi.Device{Uuid: [16]uint8{1}, Device: 0}))
	var tables event.Tables
	type timed struct {
		at   uint64
		kind uint8
		rec  record
	}
	var all []timed
	for {
		x, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		if x.Definitions != nil {
			tables.Apply(x.Definitions)
		}
		if x.Batch == nil {
			continue
		}
		k, c := &x.Batch.Kernels, &x.Batch.Calls
		for i, start := range k.Start {
			at := uint64(start)
			all = append(all, timed{at, abi.RecKernel, body(abi.Kernel{Start: at, End: at + uint64(k.Duration[i]), Launch: p.launchOf(&tables, k.Launch[i]),
				Correlation: k.Correlation[i], Context: k.Context[i], Stream: k.Stream[i]})})
			p.highest = max(p.highest, k.Correlation[i])
		}
		for i, enter := range c.Enter {
			at := uint64(enter)
			all = append(all, timed{at, abi.RecApi, body(abi.Api{Enter: at, Exit: at + uint64(c.Duration[i]), Name: p.nameOf(&tables, c.Name[i]),
				Thread: c.Thread[i], Correlation: c.Correlation[i], Domain: uint8(c.Domain[i])})})
			p.highest = max(p.highest, c.Correlation[i])
		}
	}
	slices.SortStableFunc(all, func(x, y timed) int { return cmp.Compare(x.at, y.at) })
	all = all[len(all)/3:] // a program's start is not its steady state
	for _, x := range all {
		p.records, p.kinds = append(p.records, x.rec), append(p.kinds, x.kind)
	}
	p.span = all[len(all)-1].at - all[0].at + 100_000
	return p
}

func (p *replay) launchOf(tables *event.Tables, id event.LaunchID) uint32 {
	if p.launch[id] == 0 {
		l := tables.Launch(id)
		p.launch[id] = p.target.launch(tables.String(l.Name), uint32(id))
	}
	return p.launch[id]
}

func (p *replay) nameOf(tables *event.Tables, id event.StringID) uint32 {
	if p.name[id] == 0 {
		p.name[id] = p.target.text(tables.String(id))
	}
	return p.name[id]
}

// write writes records until n of them are kernels.
func (p *replay) write(n int) {
	for n > 0 {
		rec, kind := p.records[p.at], p.kinds[p.at]
		noise := uint64(p.random.Uint32N(1500))
		if kind == abi.RecKernel {
			k := *(*abi.Kernel)(unsafe.Pointer(&rec))
			k.Start, k.End, k.Correlation = k.Start+p.offset+noise, k.End+p.offset+noise+noise/8, k.Correlation+p.shift
			rec = body(k)
			n--
		} else {
			c := *(*abi.Api)(unsafe.Pointer(&rec))
			c.Enter, c.Exit, c.Correlation = c.Enter+p.offset+noise, c.Exit+p.offset+noise+noise/4, c.Correlation+p.shift
			rec = body(c)
		}
		if !p.target.timeline.write(kind, 0, rec) {
			p.dropped++
		}
		if p.at++; p.at == len(p.records) {
			p.at = 0
			p.offset += p.span
			p.shift += p.highest
		}
	}
}

func used(b *testing.B, who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPaced is a second of a program that runs 30,000 kernels in it, and their calls: what share of a
// processor reading, encoding and writing them to a file takes. The program's own part is taken off.
// -benchtime 60x is a minute.
func BenchmarkPaced(b *testing.B) {
	const rate, tick = 30_000, 10 * time.Millisecond
	p := newReplay(b, "../../testdata/real/gpt-train.wscope")
	file, err := os.Create(filepath.Join(b.TempDir(), "t.wscope"))
	if err != nil {
		b.Fatal(err)
	}
	w, err := trace.NewWriter(file, event.Provenance{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewReader(p.target.bytes, Config{Sink: w, Resolve: noSymbols})
	if err != nil {
		b.Fatal(err)
	}
	var program, done atomic.Int64
	kernels := b.N * rate
	read := 0
	began := used(b, unix.RUSAGE_SELF)
	b.ResetTimer()
	go func() {
		runtime.LockOSThread()
		defer done.Store(1)
		before := used(b, unix.RUSAGE_THREAD)
		t := time.NewTicker(tick)
		defer t.Stop()
		for n := 0; n < kernels; n += rate / 100 {
			<-t.C
			p.write(rate / 100)
		}
		program.Store(int64(used(b, unix.RUSAGE_THREAD) - before))
	}()
	for done.Load() == 0 {
		n, err := r.Drain()
		if err != nil {
			b.Fatal(err)
		}
		read += n
		time.Sleep(20 * time.Millisecond) // as a process of this pace is read
	}
	if err := errors.Join(r.Close(), w.Close(event.Summary{}), file.Close()); err != nil {
		b.Fatal(err)
	}
	agent := used(b, unix.RUSAGE_SELF) - began - time.Duration(program.Load())
	b.ReportMetric(100*agent.Seconds()/b.Elapsed().Seconds(), "%core")
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(w.Size())/float64(kernels), "bytes/kernel")
	b.ReportMetric(float64(p.dropped), "dropped")
	b.ReportMetric(0, "ns/op")
}
