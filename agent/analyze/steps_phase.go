package analyze

import (
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// alike is how much of two steps' work must be the same for them to be of one kind.
	alike = 0.7
	// slower is how much longer than the later ones a step at the beginning is to count as warm-up.
	slower = 1.25
	// pauses is how many times the median a step is that something interrupted.
	pauses = 5
	// seldom: one in so many steps may be interrupted; what comes more often is part of what a step takes.
	seldom = 10
)

// enoughSteps is how many steps tell what is usual; fewer at the end of a long trace are held against those before.
const enoughSteps = 32

// stepKind is what steps of a part are mostly like.
type stepKind struct {
	usual   map[uint64]int
	typical int64 // wall time
	steps   int   // that it is known from
}

// phases tells warm-up, prefill and interrupted steps from those that are measured.
func (ln *lane) phases(a *Analysis) {
	steps := ln.fresh()
	kind := ln.lastKind
	known := len(steps) < min(enoughSteps, kind.steps)
	if !known {
		kind.usual = ln.usual()
	}
	ln.training = ln.training || ln.trains(a)
	var walls []int64
	for i := range steps {
		s := &steps[i]
		if s.phase == "" && ln.l.p.paused(s.start, s.end) {
			s.phase = PhaseGap
		}
		if s.phase == "" && ln.likeness(s, kind.usual) < alike {
			s.phase = PhaseOther
		}
		if s.phase == "" && i >= len(steps)/2 {
			walls = append(walls, s.wall())
		}
	}
	if len(walls) == 0 {
		for i := range steps {
			walls = append(walls, steps[i].wall())
		}
	}
	if !known {
		kind.typical, kind.steps = median(walls), len(steps)
		ln.lastKind = kind
	}
	if ln.settled == 0 {
		ln.warmUp(kind.typical)
	}
	long := 0
	for i := range steps {
		if s := &steps[i]; s.phase == "" && s.wall() > pauses*kind.typical {
			long++
		}
	}
	ln.long += long
	rare := ln.long <= max(1, len(ln.steps)/seldom)
	for i := range steps {
		s := &steps[i]
		switch {
		case rare && s.phase == "" && s.wall() > pauses*kind.typical:
			s.phase = PhaseInterrupted
		case s.phase == "" && ln.l.python.disturbed(s.start, s.end):
			s.phase = PhaseSampled
		case s.phase == "":
			s.phase = PhaseSteady
		case s.phase == PhaseOther && !ln.training && ln.isPrefill(i):
			s.phase = PhasePrefill
			ln.decode = true
		}
	}
	for i := range steps {
		switch s := &steps[i]; s.phase {
		case PhaseSteady, PhaseSampled, PhaseGap:
			ln.steady += s.wall()
		case PhaseOther, PhasePrefill, PhaseInterrupted:
			ln.others += s.wall()
		}
	}
	switch {
	case ln.source == StepsByPeriod && (ln.once || ln.training && !ln.optimizer || !ln.named && ln.others > ln.steady):
		ln.unit = "repetition" // a step, or a layer of a step that was not finished, or of requests of many kinds
	case ln.training:
		ln.unit = "training step"
	case ln.decode || strings.Contains(strings.ToLower(ln.marker), "token") || strings.Contains(strings.ToLower(ln.marker), "decode"):
		ln.unit = "token"
	default:
		ln.unit = "step"
	}
	ln.ensureSteady()
}

// warmUp marks the steps at the beginning that are slower than the later ones, until one is not.
func (ln *lane) warmUp(typical int64) {
	for i := range ln.steps {
		s := &ln.steps[i]
		if i >= len(ln.steps)/2 {
			return
		}
		if s.phase == PhaseOther && ln.training {
			s.phase = PhaseWarmUp // the optimizer's state is made in the first step
			continue
		}
		if s.phase != "" {
			continue
		}
		if float64(s.wall()) <= slower*float64(typical) {
			return
		}
		s.phase = PhaseWarmUp
	}
}

// ensureSteady makes sure that there is something to measure.
func (ln *lane) ensureSteady() {
	for i := range ln.steps {
		if ln.steps[i].phase == PhaseSteady {
			return
		}
	}
	fresh := ln.fresh()
	for i := range fresh {
		if fresh[i].phase != PhaseTail {
			fresh[i].phase = PhaseSteady
		}
	}
}

// isPrefill says whether a step that differs from the others processes a prompt: much of the same model
// on other shapes, just before steps that are measured.
func (ln *lane) isPrefill(i int) bool {
	steps := ln.fresh()
	s := &steps[i]
	for j := i + 1; j < len(steps) && j <= i+3; j++ {
		next := &steps[j]
		if next.phase != "" && next.phase != PhaseSteady && next.phase != PhaseWarmUp {
			continue
		}
		n, m := s.to-s.from, next.to-next.from
		return n*2 >= m && n <= 3*m
	}
	return false
}

// launchKey is what makes two pieces of work the same.
func (w *gpuWork) launchKey() uint64 { return uint64(w.kind)<<32 | uint64(w.id) }

// usual returns how often each kind of work comes in a typical step: the median over some steps.
func (ln *lane) usual() map[uint64]int {
	const sample = 64
	steps := ln.fresh()
	stride := max(1, len(steps)/sample)
	counts := make(map[uint64][]int64)
	n := 0
	for i := len(steps) - 1; i >= 0; i -= stride {
		n++
		for key, c := range ln.counts(&steps[i]) {
			counts[key] = append(counts[key], int64(c))
		}
	}
	usual := make(map[uint64]int)
	for key, c := range counts {
		for len(c) < n {
			c = append(c, 0)
		}
		if m := median(c); m > 0 {
			usual[key] = int(m)
		}
	}
	return usual
}

func (ln *lane) counts(s *step) map[uint64]int {
	counts := make(map[uint64]int)
	for i := s.from; i < s.to; i++ {
		counts[ln.work[i].launchKey()]++
	}
	return counts
}

// likeness returns how much of a step's work is that of a typical one: 1 is all.
func (ln *lane) likeness(s *step, usual map[uint64]int) float64 {
	counts := ln.counts(s)
	same, all := 0, 0
	for key, n := range counts {
		same += min(n, usual[key])
		all += max(n, usual[key])
	}
	for key, n := range usual {
		if _, ok := counts[key]; !ok {
			all += n
		}
	}
	if all == 0 {
		return 1
	}
	return float64(same) / float64(all)
}

// trains says whether the steps have kernels that only training has.
func (ln *lane) trains(a *Analysis) bool {
	backward := make(map[uint32]bool)
	steps := ln.fresh()
	for i := range steps {
		s := &steps[i]
		for n := s.from; n < s.to; n++ {
			w := &ln.work[n]
			if w.kind != workKernel {
				continue
			}
			if w.class == ClassOptimizer {
				return true
			}
			if _, seen := backward[w.id]; !seen {
				name := strings.ToLower(a.tables.String(a.tables.Launch(event.LaunchID(w.id)).Name))
				backward[w.id] = contains(name, []string{"backward", "bprop", "_bwd", "dgrad", "wgrad", "_grad"})
			}
			if backward[w.id] {
				return true
			}
		}
	}
	return false
}
