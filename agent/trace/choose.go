package trace

import "math"

// How many rows the choice of a coding looks at: enough for stable histograms, few enough to cost
// a small part of the encoding itself.
const (
	trialRows  = 12 << 10 // run through a coding, so that predictions settle
	sampleRows = 4 << 10  // of these, the last ones are measured
)

// choose returns the coding and the split of residuals that take the fewest bits on a sample of
// the column. values is left as it is; trial is scratch space.
func choose(values []uint64, codings []coding, keys, durations []uint64, trial []uint64, m *memory) (coding, uint) {
	n := min(len(values), trialRows)
	trial = trial[:n]
	best, bestLow, bestCost := codings[0], uint(8), math.Inf(1)
	for _, c := range codings {
		copy(trial, values[:n])
		residuals(trial, c, keys, durations, m)
		sample := trial[max(0, n-sampleRows):]
		for low := uint(8); low >= 4; low-- {
			if cost := planesCost(sample, low); cost < bestCost {
				best, bestLow, bestCost = c, low, cost
			}
		}
	}
	return best, bestLow
}

// planesCost estimates the bits a row that zstd will need for the planes of residuals.
func planesCost(residuals []uint64, low uint) float64 {
	var all uint64
	for _, r := range residuals {
		all |= r
	}
	cost := 0.0
	for shift, bits := uint(0), low; shift < 64 && all>>shift != 0; shift, bits = shift+bits, 8 {
		var count [256]uint32
		mask := uint64(1)<<bits - 1
		for _, r := range residuals {
			count[r>>shift&mask]++
		}
		e := entropy(&count, len(residuals))
		cost += e + waste(e)
	}
	return cost
}

// waste is what zstd takes beyond the entropy of a noisy plane: of few symbols it makes matches
// that cost more than the literals (measured with the jitter of BenchmarkWrite's generator).
func waste(entropy float64) float64 {
	switch {
	case entropy < 0.3:
		return 0.02
	case entropy < 2.8:
		return 0.65
	case entropy < 3.5:
		return 0.4
	}
	return 0.08
}

func entropy(count *[256]uint32, n int) float64 {
	sum := 0.0
	for _, c := range count {
		if c > 0 {
			sum += float64(c) * math.Log2(float64(c))
		}
	}
	return math.Log2(float64(n)) - sum/float64(n)
}
