package trace

import "math"

// How many rows the choice of a coding looks at: enough for stable histograms, few enough to cost
// a small part of the encoding itself.
const (
	trialRows  = 12 << 10 // run through a coding, so that predictions settle
	sampleRows = 4 << 10  // of these, the last ones are measured
)

// costs estimates what planes take.
type costs struct {
	logs []float64 // n*log2(n), for the counts that a sample can have
}

func newCosts() costs {
	c := costs{logs: make([]float64, sampleRows+1)}
	for n := 2; n < len(c.logs); n++ {
		c.logs[n] = float64(n) * math.Log2(float64(n))
	}
	return c
}

// planes estimates the bits a row that zstd will need for the planes of residuals, the first one of low
// bits. There are at most sampleRows.
func (c *costs) planes(residuals []uint64, low uint) float64 {
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
		e := c.entropy(&count, len(residuals))
		cost += e + waste(e)
	}
	return cost
}

// lowest returns how many bits the first plane of residuals should have.
func (c *costs) lowest(residuals []uint64) uint {
	best, low := math.Inf(1), uint(8)
	for l := uint(8); l >= 4; l-- {
		if cost := c.planes(residuals, l); cost < best {
			best, low = cost, l
		}
	}
	return low
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

// entropy returns the bits that each of n symbols takes.
func (c *costs) entropy(count *[256]uint32, n int) float64 {
	sum := 0.0
	for _, k := range count {
		sum += c.logs[k]
	}
	return (c.logs[n] - sum) / float64(n)
}
