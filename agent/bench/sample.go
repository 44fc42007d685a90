// Package bench runs warpscope's own kernels, verifies what they compute and judges how fast they were.
//
// It owns the choice of problems, the timing and the judgement: rows with a rate, its share of the ceilings and what bounds
// it. It never formats (agent/report does) and knows no command line. agent/cli imports it.
package bench

import (
	"math"
	"slices"
)

// Times is how long the repetitions of one measurement took: seconds.
type Times struct {
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
	N      int     `json:"n"`
}

// TimesOf sums up repetitions, in seconds; what is not a positive number is no time and counts as none.
func TimesOf(seconds []float64) Times {
	kept := make([]float64, 0, len(seconds))
	for _, s := range seconds {
		if s > 0 && !math.IsInf(s, 0) {
			kept = append(kept, s)
		}
	}
	slices.Sort(kept)
	return Times{Median: quantile(kept, 0.5), P10: quantile(kept, 0.1), P90: quantile(kept, 0.9), N: len(kept)}
}

// quantile is the value below which a share of the sorted values lies, between neighbours in proportion; 0 of none.
func quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// Ratio is how many times faster a is than b: the median of the ratios of times that were taken in turns, pair by pair. 0
// if there is no pair.
func Ratio(a, b []float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			ratios = append(ratios, b[i]/a[i])
		}
	}
	slices.Sort(ratios)
	return quantile(ratios, 0.5)
}
