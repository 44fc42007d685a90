package collect

import (
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Sizes as a server gives them, with an allocation ring that is written once.
var benchSizes = Sizes{AllocRing: 1 << 20, TimelineRing: 32 << 20, LiveTable: 1 << 20, Arena: 16 << 20}

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Define(*event.Definitions) error { return nil }
func (discard) Batch(*event.Batch) error        { return nil }
func (discard) Live(*event.LiveSet) error       { return nil }

// lap fills the timeline ring once with what a training step makes: for every 16 kernels their
// launches, a copy and a wait, on three streams, from 200 launch configurations.
type lap struct {
	target *target
	launch []uint32
	name   uint32
	now    uint64

	correlation uint32
	random      *rand.Rand
}

func newLap(b *testing.B) *lap {
	l := &lap{target: makeTarget(b, benchSizes, 0), random: rand.New(rand.NewPCG(1, 2))}
	l.target.alloc.write(abi.RecClock, 0, body(abi.Clock{Cupti: 1e9, Before: 2e9, After: 2e9}))
	l.target.alloc.write(abi.RecDevice, 0, body(abi.Device{Uuid: [16]uint8{1}, Device: 0}))
	for i := range uint32(200) {
		l.launch = append(l.launch, l.target.launch("_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_11FillFunctorIfEESt5arrayIPcLm1EEEEviT0_T1_", 100+i))
	}
	l.name = l.target.text("cuLaunchKernel")
	l.now = 1e9
	return l
}

// write fills the ring and returns how many records that took.
func (l *lap) write() int {
	ring, n := l.target.timeline, 0
	for ok := true; ok; n++ {
		// Times as they are: no two gaps alike.
		noise := uint64(l.random.Uint32N(2000))
		l.now += 2000 + noise
		l.correlation++
		correlation := l.correlation
		switch n % 35 {
		case 33:
			ok = ring.write(abi.RecCopy, 0, body(abi.Copy{Start: l.now, End: l.now + 1000 + noise, Bytes: 4096, Kind: 1, Correlation: correlation, Stream: 14}))
		case 34:
			ok = ring.write(abi.RecSync, 0, body(abi.Sync{Start: l.now, End: l.now + noise, Type: 3, Correlation: correlation, Stream: 7}))
		default:
			if n%2 == 0 {
				ok = ring.write(abi.RecApi, 0, body(abi.Api{Enter: l.now, Exit: l.now + 1700 + noise/4, Name: l.name, Thread: 77, Correlation: correlation, Domain: 1}))
			} else {
				ok = ring.write(abi.RecKernel, 0, body(abi.Kernel{Start: l.now + 4000, End: l.now + 5000 + 3*noise, Launch: l.launch[n*7%200], Correlation: correlation - 1, Context: 1, Stream: 7}))
			}
		}
	}
	return n - 1
}

// benchmark measures the reader alone: the ring is filled with the timer stopped. On a machine shared with
// others, records a second of processor time are those of one core.
func benchmark(b *testing.B, sink event.Sink) {
	l := newLap(b)
	r, err := NewReader(l.target.bytes, Config{Sink: sink, Resolve: noSymbols})
	if err != nil {
		b.Fatal(err)
	}
	read, busy := 0, time.Duration(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		l.write()
		before := used(b, unix.RUSAGE_SELF)
		b.StartTimer()
		n, err := r.Drain()
		if err != nil {
			b.Fatal(err)
		}
		busy += used(b, unix.RUSAGE_SELF) - before
		read += n
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(read)/busy.Seconds(), "records/cpu-s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDecode is ring to event batches.
func BenchmarkDecode(b *testing.B) { benchmark(b, discard{}) }

// BenchmarkTrace is ring to compressed trace.
func BenchmarkTrace(b *testing.B) {
	written := &length{}
	w, err := trace.NewWriter(written, event.Provenance{})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, w)
	if err := w.Close(event.Summary{}); err != nil {
		b.Fatal(err)
	}
}

// length counts bytes.
type length struct{ n int64 }

func (l *length) Write(p []byte) (int, error) {
	l.n += int64(len(p))
	return len(p), nil
}
