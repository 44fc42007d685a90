package trace

import "math"

// How many rows the choice of a coding looks at: enough for stable histograms, few enough to cost
// a small part of the encoding itself.
const (
	trialRows  = 12 << 10 // run through a coding, so that predictions settle
	sampleRows = 4 << 10  // of these, the last ones are measured
)

// planesCost estimates the bits a row that zstd will need for the planes of residuals, the first one
// of low bits.
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

// cheapest returns how many bits the first plane of residuals should have, and what they cost then.
func cheapest(residuals []uint64) (low uint, cost float64) {
	cost = math.Inf(1)
	for l := uint(8); l >= 4; l-- {
		if c := planesCost(residuals, l); c < cost {
			low, cost = l, c
		}
	}
	return low, cost
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
