package analyze

import (
	"math"
	"math/bits"
	"slices"
)

const (
	// exactLimit is how many values a Distribution keeps as they are: 8 KiB a group, and most
	// groups of a short trace stay exact.
	exactLimit = 1024
	// pageBits sets the histogram's resolution: 128 buckets for each power of two, so that the
	// middle of a bucket is within 1/256 of every value in it.
	pageBits = 7
	pageSize = 1 << pageBits
)

// PercentileError is the largest relative error of a percentile that is not exact.
const PercentileError = 1.0 / (2 * pageSize)

// maxDuration bounds what is taken for a duration: 2^53 ns are 104 days. Beyond it a record is
// damaged, and counts as one without a duration.
const maxDuration = 1 << 53

// Distribution collects durations (or other non-negative values below 2^53) and gives their
// count, sum, extremes and percentiles. Up to 1024 values percentiles are exact; beyond, they come
// from a histogram whose relative error is at most [PercentileError]. Its zero value is ready.
type Distribution struct {
	count    uint64
	sum      int64
	min, max int64
	exact    []int64
	sorted   bool
	pages    *[54 - pageBits + 1]*[pageSize]uint64
}

// Add adds a value. Values outside 0 … 2^53 must have been sorted out by the caller.
func (d *Distribution) Add(v int64) {
	d.count++
	d.sum += v
	if v > d.max {
		d.max = v
	}
	if d.pages == nil {
		d.addExact(v)
		return
	}
	d.bucket(v)
}

func (d *Distribution) addExact(v int64) {
	d.sorted = false
	if d.count == 1 || v < d.min {
		d.min = v
	}
	d.exact = append(d.exact, v)
	if len(d.exact) > exactLimit {
		d.spill()
	}
}

// spill turns the exact values into the histogram.
func (d *Distribution) spill() {
	d.pages = new([54 - pageBits + 1]*[pageSize]uint64)
	for _, v := range d.exact {
		d.bucket(v)
	}
	d.exact = nil
}

// bucket counts v. Page 0 holds the values below pageSize one by one, page e those with e more
// bits, by their leading pageBits+1 bits.
func (d *Distribution) bucket(v int64) {
	if v < d.min {
		d.min = v
	}
	e := max(bits.Len64(uint64(v))-pageBits, 0)
	shift := max(e-1, 0)
	page := d.pages[e]
	if page == nil {
		page = new([pageSize]uint64)
		d.pages[e] = page
	}
	page[(v>>shift)&(pageSize-1)]++
}

// Count returns how many values were added.
func (d *Distribution) Count() uint64 { return d.count }

// Sum returns the sum of the values.
func (d *Distribution) Sum() int64 { return d.sum }

// Exact says whether percentiles are exact.
func (d *Distribution) Exact() bool { return d.pages == nil }

// Quantile returns the value at rank ⌈q·count⌉ in ascending order; 0 if there are no values.
func (d *Distribution) Quantile(q float64) int64 {
	if d.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(d.count)))
	rank = min(max(rank, 1), d.count)
	if d.pages == nil {
		if !d.sorted {
			slices.Sort(d.exact)
			d.sorted = true
		}
		return d.exact[rank-1]
	}
	var seen uint64
	for e, page := range d.pages {
		if page == nil {
			continue
		}
		for i, n := range page {
			seen += n
			if seen < rank {
				continue
			}
			return min(max(middle(e, i), d.min), d.max)
		}
	}
	return d.max
}

// middle returns the value that stands for bucket i of page e.
func middle(e, i int) int64 {
	if e == 0 {
		return int64(i)
	}
	width := int64(1) << (e - 1)
	return (int64(i)|pageSize)*width + width/2
}

// Spread is what a report says of a set of durations. Percentiles are the value at rank
// ⌈q·count⌉; PercentileError is 0 when they are exact, else their largest relative error.
type Spread struct {
	Count           uint64  `json:"count"`
	TotalNS         int64   `json:"total_ns"`
	MeanNS          float64 `json:"mean_ns"`
	MinNS           int64   `json:"min_ns"`
	MedianNS        int64   `json:"median_ns"`
	P99NS           int64   `json:"p99_ns"`
	MaxNS           int64   `json:"max_ns"`
	PercentileError float64 `json:"percentile_error"`
	// Unknown counts records without a usable duration; they are in no other figure.
	Unknown uint64 `json:"without_duration,omitempty"`
}

// Spread summarises the values.
func (d *Distribution) Spread() Spread {
	s := Spread{Count: d.count, TotalNS: d.sum}
	if d.count == 0 {
		return s
	}
	s.MeanNS = float64(d.sum) / float64(d.count)
	s.MinNS, s.MaxNS = d.min, d.max
	s.MedianNS, s.P99NS = d.Quantile(0.5), d.Quantile(0.99)
	if !d.Exact() {
		s.PercentileError = PercentileError
	}
	return s
}

// Merge adds the values of o, which stays as it is.
func (d *Distribution) Merge(o *Distribution) {
	if o.count == 0 {
		return
	}
	if o.pages == nil {
		for _, v := range o.exact {
			d.Add(v)
		}
		return
	}
	if d.pages == nil {
		d.spill()
	}
	if d.count == 0 || o.min < d.min {
		d.min = o.min
	}
	d.max = max(d.max, o.max)
	d.count += o.count
	d.sum += o.sum
	for e, page := range o.pages {
		if page == nil {
			continue
		}
		if d.pages[e] == nil {
			d.pages[e] = new([pageSize]uint64)
		}
		for i, n := range page {
			d.pages[e][i] += n
		}
	}
}
