package analyze

import (
	"cmp"
	"math"
	"slices"

	"github.com/warpscope/warpscope/agent/budget"
	"github.com/warpscope/warpscope/agent/event"
)

// SamplingSummary says that the timeline was recorded in windows only, under a budget: what is counted
// in it is a part of what there was, and totals of kernels are estimated.
type SamplingSummary struct {
	Windows int `json:"windows"`
	// WorkShare is the part of the programs' work that was recorded, by what they do, not by time.
	WorkShare float64 `json:"work_share"`
	// RecordedNS and SpanNS are the time recorded and the time that it stands for, of all processes.
	RecordedNS int64 `json:"recorded_ns"`
	SpanNS     int64 `json:"span_ns"`
	// FromNS is where the first span begins, since the start of the trace: before it nothing was recorded
	// and nothing is estimated.
	FromNS int64 `json:"from_ns"`
	// LossNS is the time lost to the windows for which it was measured; MeasuredWindows counts them.
	LossNS          int64 `json:"loss_ns"`
	MeasuredWindows int   `json:"measured_windows"`
	// Estimated says that totals of kernels are estimated in this report.
	Estimated bool `json:"estimated"`
}

// EstimatedTotal is a total over the spans of a SamplingSummary, with its interval of 95 %. A High of
// nil is unknown: one window does not tell how much another would differ.
type EstimatedTotal struct {
	Value float64  `json:"value"`
	Low   float64  `json:"low"`
	High  *float64 `json:"high"`
}

// Estimated are the totals of a kernel. Mean, median and the other figures of its spread are of the
// launches that were recorded.
type Estimated struct {
	Count   EstimatedTotal `json:"count"`
	TotalNS EstimatedTotal `json:"total_ns"`
	Windows int            `json:"windows"` // in which it was seen
}

const (
	// pendingWindows is how many windows are kept apart: kernels of one may come after its design, and
	// after the beginning of the next ones.
	pendingWindows = 64
	// lead is how much earlier than the record of its switch a window's kernels may begin.
	lead = event.Time(50e6)
	// matchWithin is how far the record of a switch may lie from the window's beginning.
	matchWithin = event.Time(1e9)
)

// sampled is what is counted of one kernel, or of all, in a window.
type sampled struct{ count, total float64 }

// tally is a window, known by the switch of the timeline, before its design is.
type tally struct {
	armed event.Time // of the record
	from  event.Time // kernels from then on belong to it
	all   sampled
	names map[event.StringID]sampled

	known bool
	drawn drawn
}

// drawn is a window as its design describes it.
type drawn struct {
	begin        event.Time
	weight, work float64
}

type estimator struct{ count, total budget.Sum }

func (e *estimator) add(weight, work float64, s sampled) {
	e.count.Add(weight, work, s.count)
	e.total.Add(weight, work, s.total)
}

// sampling is the windows of one process. It exists for processes whose timeline was off at first.
type sampling struct {
	design   budget.Design
	pending  []tally
	drawn    []drawn // whose switch has not been read yet
	paused   event.Time
	all      estimator
	names    map[event.StringID]*estimator
	summary  SamplingSummary
	from     event.Time
	switches bool // any window has begun
}

// sample counts kernels by window.
func (a *Analysis) sample(p *process, b *event.Batch) {
	if a.config.Parts&PartKernels == 0 || !a.span.all || a.config.GroupBy != ByName {
		return
	}
	if p.sampling == nil {
		if len(b.States.State) == 0 || len(p.states) > 0 || b.States.State[0] != event.StatePaused {
			return
		}
		p.sampling = &sampling{names: map[event.StringID]*estimator{}}
	}
	s := p.sampling
	for i, state := range b.States.State {
		s.switched(b.States.Time[i], state)
	}
	a.tally(s, &b.Kernels)
	w := &b.Windows
	for i := range w.Start {
		s.row(w, i)
	}
}

func (s *sampling) switched(t event.Time, state event.State) {
	switch state {
	case event.StatePaused, event.StateFinished, event.StateKilled:
		s.paused = t
	case event.StateArmed:
		from := t - lead
		if s.switches {
			from = max(from, s.paused+(t-s.paused)/2)
		}
		s.switches = true
		if len(s.pending) >= pendingWindows {
			s.fold(&s.pending[0])
			s.pending = append(s.pending[:0], s.pending[1:]...)
		}
		s.pending = append(s.pending, tally{armed: t, from: from, names: map[event.StringID]sampled{}})
		s.match()
	}
}

// match brings windows as they were drawn together with the switches that began them: either may
// have been written first.
func (s *sampling) match() {
	rest := s.drawn[:0]
	for _, d := range s.drawn {
		if !s.place(d) {
			rest = append(rest, d)
		}
	}
	s.drawn = rest[max(0, len(rest)-pendingWindows):]
}

func (s *sampling) place(d drawn) bool {
	for n := range s.pending {
		t := &s.pending[n]
		if !t.known && t.armed >= d.begin && t.armed <= d.begin+matchWithin {
			t.known, t.drawn = true, d
			return true
		}
	}
	return false
}

func (a *Analysis) tally(s *sampling, k *event.Kernels) {
	if len(s.pending) == 0 {
		return
	}
	at := len(s.pending) - 1
	for i, id := range k.Launch {
		start, duration := k.Start[i], k.Duration[i]
		for at+1 < len(s.pending) && start >= s.pending[at+1].from {
			at++
		}
		for at > 0 && start < s.pending[at].from {
			at--
		}
		name, matches := a.kernels.name(id)
		if !matches {
			continue
		}
		w := &s.pending[at]
		one := sampled{count: 1}
		if uint64(duration) < maxDuration {
			one.total = float64(duration)
		}
		w.all.count++
		w.all.total += one.total
		n := w.names[name]
		n.count++
		n.total += one.total
		w.names[name] = n
	}
}

// row takes in the design of one window.
func (s *sampling) row(w *event.Windows, i int) {
	spanWork, span := w.SpanWork[i], w.Span[i]
	if spanWork < 0 || span < 0 || spanWork > 1<<60 || span > 1<<60 {
		return
	}
	s.design.Span(float64(spanWork))
	if s.from == 0 || w.Start[i] < s.from {
		s.from = w.Start[i]
	}
	s.summary.SpanNS += span
	if w.Measured[i] {
		s.summary.MeasuredWindows++
		s.summary.LossNS += w.Loss[i]
	}
	length, work, planned := w.Length[i], w.Work[i], w.Planned[i]
	if w.Begin[i] == 0 || length <= 0 || length > 1<<60 || work < 0 || work > 1<<60 || planned <= 0 || span < planned {
		return
	}
	weight := float64(span) / float64(planned)
	s.summary.RecordedNS += length
	s.design.Window(weight, float64(work))
	s.drawn = append(s.drawn, drawn{w.Begin[i], weight, float64(work)})
	s.match()
}

// fold adds a window to what is estimated from.
func (s *sampling) fold(t *tally) {
	if !t.known {
		return
	}
	s.all.add(t.drawn.weight, t.drawn.work, t.all)
	for name, x := range t.names {
		e := s.names[name]
		if e == nil {
			e = &estimator{}
			s.names[name] = e
		}
		e.add(t.drawn.weight, t.drawn.work, x)
	}
}

// estimates sums up the processes' estimates; their errors are independent.
type estimates struct {
	summary SamplingSummary
	all     Estimated
	names   map[event.StringID]*Estimated
}

// estimate returns nil unless the trace was recorded under a budget.
func (a *Analysis) estimate() *estimates {
	var out *estimates
	var total, inside float64
	for _, p := range a.processes {
		s := p.sampling
		if s == nil || s.from == 0 {
			continue
		}
		for i := range s.pending {
			s.fold(&s.pending[i])
		}
		s.pending = nil
		if out == nil {
			out = &estimates{names: map[event.StringID]*Estimated{}}
			out.summary.FromNS = math.MaxInt64
		}
		t := &out.summary
		t.Windows += s.design.Windows()
		t.RecordedNS += s.summary.RecordedNS
		t.SpanNS += s.summary.SpanNS
		t.LossNS += s.summary.LossNS
		t.MeasuredWindows += s.summary.MeasuredWindows
		t.FromNS = min(t.FromNS, a.offset(s.from))
		total += s.design.Total()
		inside += s.design.Share() * s.design.Total()
		merge(&out.all, s, &s.all)
		for name, e := range s.names {
			x := out.names[name]
			if x == nil {
				x = &Estimated{}
				out.names[name] = x
			}
			merge(x, s, e)
		}
	}
	if out != nil && total > 0 {
		out.summary.WorkShare = inside / total
	}
	return out
}

func merge(to *Estimated, s *sampling, e *estimator) {
	first := to.Windows == 0
	count, total := s.design.Estimate(&e.count), s.design.Estimate(&e.total)
	to.Windows += count.Windows
	to.Count.merge(count, first)
	to.TotalNS.merge(total, first)
}

func (t *EstimatedTotal) merge(e budget.Estimate, first bool) {
	if sum := e.Value + e.Low; math.IsNaN(sum) || math.IsInf(sum, 0) || math.IsNaN(e.High) { // a damaged design
		e = budget.Estimate{High: math.Inf(1)}
	}
	if first {
		t.Value, t.Low = e.Value, e.Low
		if !math.IsInf(e.High, 0) {
			t.High = &e.High
		}
		return
	}
	low := math.Hypot(t.Value-t.Low, e.Value-e.Low)
	if t.High != nil && !math.IsInf(e.High, 0) {
		high := math.Hypot(*t.High-t.Value, e.High-e.Value) + t.Value + e.Value
		t.High = &high
	} else {
		t.High = nil
	}
	t.Value += e.Value
	t.Low = t.Value - low
}

// sampled marks what is estimated.
func (a *Analysis) sampled(r *Inspection) {
	e := a.estimate()
	if e == nil {
		a.windowed(r)
		return
	}
	r.Sampling = &e.summary
	k := r.Kernels
	if k == nil || k.GroupBy != ByName {
		return
	}
	r.Sampling.Estimated = true
	k.Estimated = &e.all
	for i := range k.Groups {
		k.Groups[i].Estimated = e.names[k.Groups[i].id]
	}
	slices.SortStableFunc(k.Groups, func(x, y KernelGroup) int { return cmp.Compare(y.estimated(), x.estimated()) })
}

// estimated is what rows are ordered by.
func (g *KernelGroup) estimated() float64 {
	if g.Estimated == nil {
		return float64(g.TotalNS)
	}
	return g.Estimated.TotalNS.Value
}

// windowed says that the trace was recorded under a budget where nothing was estimated.
func (a *Analysis) windowed(r *Inspection) {
	for _, p := range a.processes {
		if n := p.counts[event.KindWindow]; n > 0 {
			if r.Sampling == nil {
				r.Sampling = &SamplingSummary{}
			}
			r.Sampling.Windows += int(n)
		}
	}
}
