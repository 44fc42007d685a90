package analyze

import (
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// PythonIdle is what Python was doing while a GPU was idle for one cause: samples, so that figures are estimates.
type PythonIdle struct {
	// Samples counts moments at which a stack was sampled in this idle time.
	Samples int `json:"samples"`
	// Stacks are of the thread that launched what the GPU waited for (of the main thread, where that runs no
	// Python), those with one guilty line together, by samples.
	Stacks  []PythonStack `json:"stacks"`
	Omitted int           `json:"omitted_stacks"`
	// GILSamples counts the samples at which another thread kept the GIL; Holders are its stacks.
	GILSamples int           `json:"gil_samples"`
	Holders    []PythonStack `json:"gil_holders"`
	// CallSamples counts samples inside the calls that are to blame, while the GPU still worked or after it: of waits, copies
	// and the allocator. CallStacks are the stacks there.
	CallSamples int           `json:"call_samples,omitempty"`
	CallStacks  []PythonStack `json:"call_stacks,omitempty"`
}

// GILEstimate is how long a thread waits for the GIL, as the thread that takes the samples found: an estimate of what any
// other thread waits.
type GILEstimate struct {
	Samples  int     `json:"samples"` // in the measured steps
	MeanNS   int64   `json:"mean_ns"`
	MaxNS    int64   `json:"max_ns"`
	LongRate float64 `json:"long_share"` // of samples that waited for half a millisecond or longer
	// HeldByOthers is the part of the samples at which another thread than the launching one kept the GIL.
	HeldByOthers float64 `json:"held_by_others_share"`
}

// shownStacks is how many stacks are listed for one cause, or of one sort.
const shownStacks = 8

const (
	// gilReach is how far around idle time samples are looked at to tell whether it was the GIL's fault.
	gilReach = 40_000_000 // ns
	// gilKept: one in so many of these samples must find the GIL kept by another thread. The launching thread comes forward while
	// it is free, so that idle time is more likely to be the GIL's fault than the samples, which come at any time.
	gilKept = 3
)

// maxSpanBack is how many spans that began earlier are looked at: they nest, and each thread has one.
const maxSpanBack = 16

// pythonTable collects the stacks in the idle time of a lane.
type pythonTable struct {
	r       *pythonRecord
	at      int // where the samples of the last gap were
	causes  [causes]pythonCounts
	waits   []int64
	long    int
	others  int
	moments int
}

type pythonCounts struct {
	samples, gil, calls     int
	stacks, holders, inside stackCounts
	last                    cpuWork // the call that was counted last
}

// seek returns the index of the first sample at a moment or later; calls are nearly in the order of time.
func (t *pythonTable) seek(from event.Time) int {
	s := t.r.samples
	if t.at > 0 && t.at <= len(s) && s[t.at-1].time >= from {
		t.at = t.r.from(from)
	}
	for n := 0; t.at < len(s) && s[t.at].time < from; n++ {
		if n == 64 {
			t.at = t.r.from(from)
			break
		}
		t.at++
	}
	return t.at
}

// before returns the moment of the samples before index i.
func (t *pythonTable) before(i int) event.Time {
	if i == 0 {
		return 0
	}
	return t.r.samples[i-1].time
}

// part counts the samples in a part of a gap.
func (t *pythonTable) part(c cause, thread uint32, from, to event.Time) {
	for i := t.seek(from); i < len(t.r.samples) && t.r.samples[i].time < to; {
		m := t.r.moment(i)
		own := pick(m, thread)
		counts := &t.causes[c]
		counts.samples++
		counts.stacks.add(own.stack)
		if h := gilHolder(m, own, t.before(i)); h != nil {
			counts.gil++
			counts.holders.add(h.stack)
		}
		i += len(m)
	}
}

// wait counts the samples in a call that is to blame for idle time, once.
func (t *pythonTable) wait(c cause, call *cpuWork) {
	counts := &t.causes[c]
	if call.end == 0 || counts.last == *call {
		return
	}
	counts.last = *call
	for i := t.r.from(call.start); i < len(t.r.samples) && t.r.samples[i].time < call.end; {
		m := t.r.moment(i)
		counts.calls++
		counts.inside.add(pick(m, call.thread).stack)
		i += len(m)
	}
}

// step takes the samples of a measured step for the estimate of waits.
func (t *pythonTable) step(from, to event.Time) {
	for i := t.r.from(from); i < len(t.r.samples) && t.r.samples[i].time < to; {
		m := t.r.moment(i)
		t.moments++
		t.waits = append(t.waits, int64(m[0].waited)*1000)
		if m[0].waited >= gilWait {
			t.long++
		}
		if gilHolder(m, &m[0], t.before(i)) != nil {
			t.others++
		}
		i += len(m)
	}
}

// gil returns the estimate, nil without samples.
func (t *pythonTable) gil() *GILEstimate {
	if t.moments == 0 {
		return nil
	}
	f := figureOf(t.waits)
	n := float64(t.moments)
	return &GILEstimate{Samples: t.moments, MeanNS: int64(f.Mean), MaxNS: f.Max, LongRate: float64(t.long) / n, HeldByOthers: float64(t.others) / n}
}

// row returns what was found for a cause, nil where nothing was sampled.
func (t *pythonTable) row(tables *event.Tables, c cause) *PythonIdle {
	counts := &t.causes[c]
	if counts.samples == 0 && counts.calls == 0 {
		return nil
	}
	out := &PythonIdle{Samples: counts.samples, GILSamples: counts.gil, CallSamples: counts.calls}
	if counts.calls > 0 {
		out.CallStacks, _ = counts.inside.rows(tables, shownStacks)
	}
	out.Stacks, out.Omitted = counts.stacks.rows(tables, shownStacks)
	out.Holders, _ = counts.holders.rows(tables, shownStacks)
	return out
}

// within returns what Python was doing in one gap: the stack found most often; nil where nothing was sampled.
func (t *pythonTable) within(tables *event.Tables, thread uint32, from, to event.Time) *PythonStack {
	var counts stackCounts
	for i := t.r.from(from); i < len(t.r.samples) && t.r.samples[i].time < to; {
		m := t.r.moment(i)
		counts.add(pick(m, thread).stack)
		i += len(m)
	}
	rows, _ := counts.rows(tables, 1)
	if len(rows) == 0 {
		return nil
	}
	return &rows[0]
}

// python divides host time of a thread by what the Python module saw of it: pauses of the collector, which hold every
// thread, waits for input, and time in which another thread kept the GIL.
func (w *cpuWalk) python(call event.StringID, thread uint32, from, to event.Time) {
	r := &w.l.python
	at := from
	i := sort.Search(len(r.spans), func(i int) bool { return r.spans[i].start >= from })
	i = max(i-maxSpanBack, 0)
	for ; i < len(r.spans) && r.spans[i].start < to; i++ {
		s := &r.spans[i]
		if s.end <= at || s.input && thread != 0 && s.thread != thread {
			continue
		}
		if start := max(s.start, at); start > at {
			w.add(w.running(thread, at, start), call, thread, at, start)
			at = start
		}
		c := causeGC
		if s.input {
			c = causeInput
		}
		end := min(s.end, to)
		w.add(c, call, thread, at, end)
		at = end
	}
	if at < to {
		w.add(w.running(thread, at, to), call, thread, at, to)
	}
}

// running explains host time outside pauses and waits, by the samples around it.
func (w *cpuWalk) running(thread uint32, from, to event.Time) cause {
	r := &w.l.python
	seen, kept := 0, 0
	for i := r.from(from - gilReach); i < len(r.samples) && r.samples[i].time < to+gilReach; {
		m := r.moment(i)
		seen++
		before := event.Time(0)
		if i > 0 {
			before = r.samples[i-1].time
		}
		if gilHolder(m, pick(m, thread), before) != nil {
			kept++
		}
		i += len(m)
	}
	switch {
	case kept > 0 && gilKept*kept >= seen:
		return causeGIL
	case seen > 0:
		return causePython
	}
	return causeHost
}
