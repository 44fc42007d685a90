package analyze

import (
	"math"
	"slices"
	"testing"

	"github.com/warpscope/warpscope/agent/event"
)

const ms = event.Time(1e6)

// windowed is a trace of n windows of 100 ms, one a second: in each 10 kernels called a, and in every other one 5 called b.
// Programs do 100 units of work in a window, 1000 in a span.
func windowed(n int) (definitions event.Definitions, states, kernels, windows event.Batch) {
	definitions = event.Definitions{
		Strings:   []string{"a", "b"},
		Launches:  []event.Launch{{Name: 1}, {Name: 2}},
		Processes: []event.Process{{PID: 7}},
	}
	states.Process, kernels.Process, windows.Process = 1, 1, 1
	state := func(t event.Time, s event.State) {
		states.States.Time = append(states.States.Time, t)
		states.States.State = append(states.States.State, s)
		states.States.Reason = append(states.States.Reason, 0)
	}
	kernel := func(t event.Time, launch event.LaunchID) {
		k := &kernels.Kernels
		k.Start, k.Duration, k.Launch = append(k.Start, t), append(k.Duration, 1000*int64(launch)), append(k.Launch, launch)
		k.Correlation, k.Device, k.Context, k.Stream = append(k.Correlation, 0), append(k.Device, 0), append(k.Context, 1), append(k.Stream, 1)
		k.Graph, k.GraphNode = append(k.Graph, 0), append(k.GraphNode, 0)
	}
	start := 1000 * ms
	state(start, event.StatePaused)
	for i := range n {
		span := start + event.Time(i)*1000*ms
		begin := span + event.Time(100+i*37%700)*ms
		state(begin+3*ms, event.StateArmed)
		state(begin+104*ms, event.StatePaused)
		for j := range 10 {
			kernel(begin+1*ms+event.Time(j)*11*ms, 1) // the first before the record of the switch, the last after its end
		}
		for j := 0; i%2 == 0 && j < 5; j++ {
			kernel(begin+20*ms+event.Time(j)*ms, 2)
		}
		w := &windows.Windows
		w.Begin, w.Length = append(w.Begin, begin), append(w.Length, int64(100*ms))
		w.Planned = append(w.Planned, int64(100*ms))
		w.Start, w.Span = append(w.Start, span), append(w.Span, int64(1000*ms))
		w.Work, w.SpanWork = append(w.Work, int64(100*ms)), append(w.SpanWork, int64(1000*ms))
		w.Loss, w.Measured = append(w.Loss, int64(20*ms)), append(w.Measured, i > 0)
	}
	return definitions, states, kernels, windows
}

func feedBatches(t *testing.T, config Config, d event.Definitions, batches ...event.Batch) *Inspection {
	t.Helper()
	a := New(config)
	if err := a.Define(&d); err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		if err := a.Batch(&batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	return a.Inspect()
}

func TestTotalsOfWindowsAreEstimatedInAnyOrder(t *testing.T) {
	const n = 40
	d, states, kernels, windows := windowed(n)
	for name, batches := range map[string][]event.Batch{
		"kernels first":  {states, kernels, windows},
		"windows before": {states, windows, kernels},
	} {
		t.Run(name, func(t *testing.T) {
			in := feedBatches(t, Config{Parts: PartKernels}, d, batches...)
			s := in.Sampling
			if s == nil || !s.Estimated || s.Windows != n || math.Abs(s.WorkShare-0.1) > 1e-9 || s.MeasuredWindows != n-1 {
				t.Fatalf("%+v", s)
			}
			if in.Kernels.All.Count != 10*n+5*n/2 {
				t.Errorf("%d kernels were read", in.Kernels.All.Count)
			}
			for i, want := range []struct {
				name         string
				count, total float64
				half         float64 // of the interval, as a share
			}{{"a", 100 * n, 1e5 * n, 0.01}, {"b", 25 * n, 5e4 * n, 0.5}} {
				g := in.Kernels.Groups[i]
				if g.Name != want.name || g.Estimated == nil {
					t.Fatalf("group %d: %+v", i, g)
				}
				e := g.Estimated
				if math.Abs(e.Count.Value/want.count-1) > 1e-6 || math.Abs(e.TotalNS.Value/want.total-1) > 1e-6 {
					t.Errorf("%s: %+v, want %g and %g ns", want.name, e, want.count, want.total)
				}
				if e.Count.High == nil || *e.Count.High < want.count || *e.Count.High > want.count*(1+want.half) || e.Count.Low > want.count {
					t.Errorf("%s: interval %g to %v", want.name, e.Count.Low, e.Count.High)
				}
			}
		})
	}
}

// TestWindowsBeyondThoseKept: a long trace, in pieces as they are written, gives the same as a short one.
func TestWindowsBeyondThoseKept(t *testing.T) {
	const n = 5 * pendingWindows
	d, states, kernels, windows := windowed(n)
	a := New(Config{Parts: PartKernels})
	if err := a.Define(&d); err != nil {
		t.Fatal(err)
	}
	batches := []event.Batch{}
	s, k, w := &states.States, &kernels.Kernels, &windows.Windows
	at := 0
	for i := range n {
		first, last := 1+2*i, 3+2*i
		if i == 0 {
			first = 0
		}
		until := at
		for until < len(k.Start) && k.Start[until] < w.Start[i]+1000*ms {
			until++
		}
		one := event.Batch{Process: 1}
		one.States = event.States{Time: s.Time[first:last], State: s.State[first:last], Reason: s.Reason[first:last]}
		one.Kernels = event.Kernels{
			Start: k.Start[at:until], Duration: k.Duration[at:until], Launch: k.Launch[at:until], Correlation: k.Correlation[at:until],
			Device: k.Device[at:until], Context: k.Context[at:until], Stream: k.Stream[at:until], Graph: k.Graph[at:until], GraphNode: k.GraphNode[at:until],
		}
		if i > 0 { // the design of a window comes with the next one
			j := i - 1
			one.Windows = event.Windows{
				Begin: w.Begin[j:i], Length: w.Length[j:i], Planned: w.Planned[j:i], Start: w.Start[j:i], Span: w.Span[j:i],
				Work: w.Work[j:i], SpanWork: w.SpanWork[j:i], Loss: w.Loss[j:i], Measured: w.Measured[j:i],
			}
		}
		at = until
		batches = append(batches, one)
	}
	for i := range batches {
		if err := a.Batch(&batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	in := a.Inspect()
	if in.Sampling == nil || in.Sampling.Windows != n-1 {
		t.Fatalf("%+v", in.Sampling)
	}
	if e := in.Kernels.Groups[0].Estimated; e == nil || math.Abs(e.Count.Value/(100*(n-1))-1) > 1e-6 {
		t.Errorf("%+v, want %d", e, 100*(n-1))
	}
}

func TestPartsOfAWindowedTraceAreMarkedAndNotEstimated(t *testing.T) {
	d, states, kernels, windows := windowed(10)
	for name, config := range map[string]Config{
		"a part of the time": {Parts: PartKernels, Window: Window{From: Moment{Set: true, NS: 2e9}}},
		"by stream":          {Parts: PartKernels, GroupBy: ByStream},
		"copies":             {Parts: PartCopies},
	} {
		in := feedBatches(t, config, d, states, kernels, windows)
		if in.Sampling == nil || in.Sampling.Estimated || in.Sampling.Windows == 0 {
			t.Errorf("%s: %+v", name, in.Sampling)
		}
		if in.Kernels != nil && (in.Kernels.Estimated != nil || slices.ContainsFunc(in.Kernels.Groups, func(g KernelGroup) bool { return g.Estimated != nil })) {
			t.Errorf("%s: estimated all the same", name)
		}
	}
}

func TestTraceWithoutWindowsIsNotMarked(t *testing.T) {
	d, states, kernels, _ := windowed(10)
	if in := feedBatches(t, Config{Parts: PartKernels}, d, states, kernels); in.Sampling != nil {
		t.Errorf("%+v", in.Sampling)
	}
}
