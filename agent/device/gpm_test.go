package device

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// fakeCounters are counters of which the newest sample is the number of the call.
type fakeCounters struct {
	calls, last, next int
	refuse            bool // to sample
	silent            bool // to compare
	still             bool // without a refresh
	closed            bool
}

func (c *fakeCounters) sample() bool {
	c.calls++
	c.next = c.calls
	return !c.refuse
}

func (c *fakeCounters) difference() (activity, bool) {
	if c.still {
		return activity{tensor: notAvailable}, true
	}
	return activity{sm: int32(c.last), dram: int32(c.next), tensor: notAvailable, dramPeak: 3_352_320_000_000}, !c.silent
}

func (c *fakeCounters) age()   { c.last, c.next = c.next, c.last }
func (c *fakeCounters) close() { c.closed = true }

func TestWindowsFollowEachOtherWithoutGaps(t *testing.T) {
	c := &fakeCounters{}
	w := &windows{of: c}
	ms := event.Time(time.Millisecond)
	type seen struct{ from, to, older, newer int64 }
	var got []seen
	// A look that comes too early does not end a window: the next one is longer.
	for _, at := range []event.Time{1000, 1050, 1100, 1150, 1299, 1300, 1599, 1600} {
		if a, ok := w.look(at * ms); ok {
			got = append(got, seen{int64(a.start / ms), int64(a.start/ms) + a.duration/int64(ms), int64(a.sm), int64(a.dram)})
		}
	}
	want := []seen{{1000, 1150, 1, 2}, {1150, 1300, 2, 3}, {1300, 1599, 3, 4}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("windows %v, want %v", got, want)
	}
}

// TestWindowsWithoutARefreshGoOn: nothing is not said to have happened because the driver's counters were old.
func TestWindowsWithoutARefreshGoOn(t *testing.T) {
	c := &fakeCounters{}
	w := &windows{of: c}
	second := event.Time(time.Second)
	w.look(1 * second)
	c.still = true
	for at := event.Time(2); at < 30; at++ {
		if a, ok := w.look(at * second); ok {
			t.Fatalf("%+v", a)
		}
	}
	c.still = false
	a, ok := w.look(30 * second)
	if !ok || a.start != second || a.duration != int64(29*second) || a.sm != 1 {
		t.Errorf("%+v %v: want all of it, from the first sample on", a, ok)
	}
}

func TestWindowsEndWhereCountersFail(t *testing.T) {
	c := &fakeCounters{}
	w := &windows{of: c}
	second := event.Time(time.Second)
	w.look(1 * second)
	c.refuse = true
	if _, ok := w.look(2 * second); ok {
		t.Error("a window of a sample that failed")
	}
	c.refuse = false
	if _, ok := w.look(3 * second); ok {
		t.Error("a window over a sample that failed")
	}
	if a, ok := w.look(4 * second); !ok || a.start != 3*second {
		t.Errorf("after a failure: %+v %v", a, ok)
	}
	// Those that never work are not asked for ever.
	c.refuse = true
	for at := event.Time(5); at < 100; at++ {
		w.look(at * second)
	}
	if c.calls > 4+monitorFailures {
		t.Errorf("asked %d times", c.calls)
	}
	silent := &fakeCounters{silent: true}
	w = &windows{of: silent}
	for at := event.Time(5); at < 100; at++ {
		if _, ok := w.look(at * second); ok {
			t.Fatal("a window of which nothing is known")
		}
	}
	if silent.calls > 2+monitorFailures {
		t.Errorf("asked %d times of what it does not know", silent.calls)
	}
}

func TestSharesAndRates(t *testing.T) {
	for percent, want := range map[float64]int32{0: 0, 100: 1_000_000, 12.34567: 123_457, 100.02: 1_000_200, -1: -1, 1e9: -1, math.NaN(): -1, math.Inf(1): -1} {
		if got := share(percent); got != want {
			t.Errorf("share(%g) = %d, want %d", percent, got, want)
		}
	}
	for rates, want := range map[float64]int64{0: 0, 1: 1 << 20, 0.5: 1 << 19, -1: -1, math.NaN(): -1, math.Inf(1): -1, 1e30: -1} {
		if got := rate(rates); got != want {
			t.Errorf("rate(%g) = %d, want %d", rates, got, want)
		}
	}
}

func TestSamplerEmitsActivityOfWatchedGPUs(t *testing.T) {
	c := &fakeCounters{}
	s := openFake(t, &fakeGPU{name: "old"}, &fakeGPU{name: "new", of: c})
	var got event.Activities
	var why event.Facts
	texts := []string{""}
	text := func(s string) event.StringID {
		texts = append(texts, s)
		return event.StringID(len(texts) - 1)
	}
	p, err := NewSampler(s, Config{Interval: 10 * time.Millisecond, GPUs: []event.GPUID{4, 9}, Text: text, Emit: func(b *event.Batch) error {
		why.Value = append(why.Value, b.Facts.Value...)
		why.GPU, why.Name, why.Text = append(why.GPU, b.Facts.GPU...), append(why.Name, b.Facts.Name...), append(why.Text, b.Facts.Text...)
		a := b.Activities
		got.GPU = append(got.GPU, a.GPU...)
		got.DRAM = append(got.DRAM, a.DRAM...)
		got.Tensor = append(got.Tensor, a.Tensor...)
		got.Duration = append(got.Duration, a.Duration...)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(400 * time.Millisecond)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if len(got.GPU) == 0 {
		t.Fatal("no windows")
	}
	for i := range got.GPU {
		if got.GPU[i] != 9 || got.DRAM[i] != int32(i+2) || got.Tensor[i] != -1 || got.Duration[i] < int64(windowLimit) {
			t.Errorf("window %d: GPU %d, %d ns, %d, %d", i, got.GPU[i], got.Duration[i], got.DRAM[i], got.Tensor[i])
		}
	}
	if !reflect.DeepEqual(why.GPU, []event.GPUID{4, 9, 9}) || texts[why.Name[0]] != event.FactUnmonitored || texts[why.Text[0]] != errNoMonitor.Error() {
		t.Errorf("of the GPU that is not watched: %+v of %q", why, texts)
	}
	if texts[why.Name[1]] != event.FactPowerLimit || why.Value[1] != 500_000 || texts[why.Name[2]] != event.FactPowerDefault || why.Value[2] != 700_000 {
		t.Errorf("power: %+v of %q", why, texts)
	}
	if !c.closed {
		t.Error("the counters were not given back")
	}
}
