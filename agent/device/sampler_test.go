package device

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// clone copies the columns that the sampler fills: what a sink must do.
func clone(b *event.Batch) event.Batch {
	var c event.Batch
	from, to := reflect.ValueOf(b).Elem(), reflect.ValueOf(&c).Elem()
	for _, kind := range []string{"GPUSamples", "Usages"} {
		f, t := from.FieldByName(kind), to.FieldByName(kind)
		for i := range f.NumField() {
			t.Field(i).Set(reflect.AppendSlice(reflect.Zero(f.Field(i).Type()), f.Field(i)))
		}
	}
	c.Process = b.Process
	return c
}

func openFake(t *testing.T, gpus ...gpu) *System {
	t.Helper()
	s, err := open(&fakeDriver{gpus: gpus}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSamplerReportsEveryGPUAndProcess(t *testing.T) {
	a := &fakeGPU{name: "a", uses: []usage{{pid: 11, bytes: 1 << 30}, {pid: 12, bytes: notAvailable}}}
	b := &fakeGPU{name: "b"}
	s := openFake(t, a, b)
	var batches []event.Batch
	p, err := NewSampler(s, Config{
		Interval: time.Hour, // only the first and the last sample
		GPUs:     []event.GPUID{4, 9},
		Emit: func(b *event.Batch) error {
			batches = append(batches, clone(b))
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if len(batches) != 2 {
		t.Fatalf("%d batches, want the one before the program and the one at the end", len(batches))
	}
	first := batches[0]
	g := first.GPUSamples
	if !reflect.DeepEqual(g.GPU, []event.GPUID{4, 9}) || !reflect.DeepEqual(g.UsedMemory, []int64{1, 1}) {
		t.Errorf("GPUs %v used %v", g.GPU, g.UsedMemory)
	}
	if g.MemoryActivity[0] != -1 || g.Temperature[1] != -1 {
		t.Errorf("what is not available is %d and %d, want -1", g.MemoryActivity[0], g.Temperature[1])
	}
	if g.SMClock[0] != 1980 || g.MemoryClock[0] != 2619 || g.Power[0] != 700_000 || g.Throttle[0] != 4 ||
		g.Utilization[0] != 50 || g.ReservedMemory[0] != 7 {
		t.Errorf("sample %+v", g)
	}
	want := event.Usages{
		Time: []event.Time{g.Time[0], g.Time[0]}, GPU: []event.GPUID{4, 4},
		PID: []int32{11, 12}, Bytes: []int64{1 << 30, -1},
	}
	if !reflect.DeepEqual(first.Usages, want) {
		t.Errorf("usages %+v, want %+v", first.Usages, want)
	}
	if last := batches[1].GPUSamples.Time; g.Time[0] <= 0 || last[0] < g.Time[1] || first.Process != 0 {
		t.Errorf("times %v then %v, process %d", g.Time, last, first.Process)
	}
	if n := p.Samples(); n != 4 {
		t.Errorf("%d samples counted, want 4", n)
	}
}

func TestSamplerColumnsAreEquallyLong(t *testing.T) {
	s := openFake(t, &fakeGPU{name: "a", uses: []usage{{1, 2}}})
	check := func(v reflect.Value) {
		for i := range v.NumField() {
			if v.Field(i).Len() != v.Field(0).Len() {
				t.Errorf("%s.%s has %d rows, want %d", v.Type(), v.Type().Field(i).Name, v.Field(i).Len(), v.Field(0).Len())
			}
		}
	}
	p, err := NewSampler(s, Config{GPUs: []event.GPUID{1}, Emit: func(b *event.Batch) error {
		check(reflect.ValueOf(b.GPUSamples))
		check(reflect.ValueOf(b.Usages))
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSamplerGoesOnAtItsInterval(t *testing.T) {
	g := &fakeGPU{name: "a"}
	p, err := NewSampler(openFake(t, g), Config{
		Interval: time.Millisecond, GPUs: []event.GPUID{1},
		Emit: func(*event.Batch) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for g.reads.Load() < 5 { // the test's own time limit is the only one
		time.Sleep(time.Millisecond)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Samples(), uint64(g.reads.Load()); got != want {
		t.Errorf("%d samples emitted, %d taken", got, want)
	}
}

func TestSamplerStopsAtTheFirstErrorOfItsSink(t *testing.T) {
	full := errors.New("disk full")
	calls := 0
	p, err := NewSampler(openFake(t, &fakeGPU{name: "a"}), Config{
		Interval: time.Hour, GPUs: []event.GPUID{1},
		Emit: func(*event.Batch) error { calls++; return full },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); !errors.Is(err, full) {
		t.Errorf("Close returned %v, want %v", err, full)
	}
	if calls != 1 {
		t.Errorf("Emit called %d times after its error", calls-1)
	}
}

func TestSamplerClosesThoughNVMLHangs(t *testing.T) {
	g := &fakeGPU{name: "a", hang: make(chan struct{})}
	closed := make(chan struct{})
	p, err := NewSampler(openFake(t, g), Config{
		Interval: time.Millisecond, GPUs: []event.GPUID{1},
		Emit: func(*event.Batch) error {
			select {
			case <-closed:
				t.Error("Emit was called after Close")
			default:
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Close()
	close(closed)
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("Close returned %v", err)
	}
	close(g.hang)
	<-p.done
}

func TestSamplerWantsAnIdentifierForEachGPU(t *testing.T) {
	if _, err := NewSampler(openFake(t, &fakeGPU{}), Config{}); err == nil {
		t.Error("a sampler without identifiers was made")
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for _, c := range []struct {
		name   string
		driver *fakeDriver
		want   string
	}{
		{"no library", &fakeDriver{err: errors.New("libnvidia-ml.so.1 was not found")}, "no NVML: libnvidia-ml.so.1 was not found"},
		{"hanging", &fakeDriver{hang: hang}, "no NVML: the driver did not answer within 1ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(c.driver, time.Millisecond)
			if !errors.Is(err, ErrUnavailable) || err.Error() != c.want {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestOpenDescribesTheGPUs(t *testing.T) {
	d := &fakeDriver{gpus: []gpu{&fakeGPU{name: "a"}, &fakeGPU{name: "b"}}}
	s, err := open(d, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.GPUs(); len(got) != 2 || got[1].UUID != "GPU-b" || s.Driver() != "580.0" {
		t.Errorf("GPUs %+v, driver %q", got, s.Driver())
	}
	if err := s.Close(); err != nil || d.closed.Load() != 1 {
		t.Errorf("Close: %v, closed %d times", err, d.closed.Load())
	}
}
