// Package result is what `warpscope bench` found: rows with times, rates, their shares of the ceilings, and the conditions under
// which they were measured; how they are judged, written, read and compared.
//
// It owns the JSON and CSV forms, which are a public contract. It never runs anything (agent/bench does) and never lays anything out
// (agent/report does). agent/bench, agent/report and agent/cli import it.
package result

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
	return Times{Median: Quantile(kept, 0.5), P10: Quantile(kept, 0.1), P90: Quantile(kept, 0.9), N: len(kept)}
}

// Quantile is the value below which a share of the sorted values lies, between neighbours in proportion; 0 of none.
func Quantile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// RatioOf is how many times faster a is than b: the quantiles of the ratios of times that were taken in turns, pair by
// pair. Zero if there is no pair.
func RatioOf(a, b []float64) Times {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			ratios = append(ratios, b[i]/a[i])
		}
	}
	return TimesOf(ratios)
}
