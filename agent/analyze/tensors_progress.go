package analyze

import (
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// progressFigures is from how many figures on growth is told.
	progressFigures = 8
	// progressRise is the part of the figures from one to the next that rise, of a leak.
	progressRise = 0.6
)

// progressOf tells from what was live after each step whether it grows and goes on growing. The first quarter is
// warm-up.
func progressOf(p *event.Progress) *Progress {
	out := &Progress{
		Steps: p.Steps, Zeroed: p.Zeroed, Kept: p.Kept, Applied: p.Applied, StackSteps: p.StackSteps, Every: max(p.Every, 1), Live: slices.Clone(p.Live),
	}
	later := p.Live[len(p.Live)/4:]
	if len(p.Live) < progressFigures {
		return out
	}
	n := len(later)
	first, middle, last := int64(later[0]), int64(later[n/2]), int64(later[n-1])
	out.Rise = last - first
	if out.Rise <= 0 {
		return out
	}
	out.Late = float64(last-middle) / float64(out.Rise)
	var slopes []float64
	for i := range later {
		for k := i + 1; k < n; k += max(n/64, 1) {
			slopes = append(slopes, (float64(later[k])-float64(later[i]))/float64(k-i))
		}
	}
	slices.Sort(slopes)
	out.PerStep = slopes[len(slopes)/2] / float64(out.Every)
	rises := 0
	for i := 1; i < n; i++ {
		if later[i] > later[i-1] {
			rises++
		}
	}
	out.Grows = out.PerStep > 0 && out.Late >= growthLate && float64(rises) >= progressRise*float64(n-1)
	return out
}
