package budget

import "math"

// Design is the sample as a whole: which windows there were, and how much of the program they saw.
// The zero value is an empty one.
type Design struct {
	windows int
	total   float64 // work of the program from the first span to the last
	inside  float64 // of it, in windows
	sum     float64 // of weight times work, over windows
	squares float64 // of the same work, times weight and weight less one: with weight 1 all was seen
	plain   float64 // of weight times work, squared
	flat    float64 // of work, squared
	spread  float64 // of work times weight and weight less one
}

// Window adds a window: its weight (the length of its span over its own) and the work that the
// program did inside it.
func (d *Design) Window(weight, work float64) {
	d.windows++
	d.inside += work
	d.sum += weight * work
	d.squares += weight * (weight - 1) * work * work
	d.plain += weight * work * weight * work
	d.flat += work * work
	d.spread += weight * (weight - 1) * work
}

// Span adds work that the program did, in windows or not.
func (d *Design) Span(work float64) { d.total += work }

// Windows returns how many windows there were.
func (d *Design) Windows() int { return d.windows }

// Total returns the work of the program over all spans.
func (d *Design) Total() float64 { return d.total }

// Share returns the share of the program's work that windows saw.
func (d *Design) Share() float64 {
	if d.total <= 0 {
		return 0
	}
	return min(1, d.inside/d.total)
}

// Sum is something that was counted in windows, such as launches of one kernel. The zero value
// is nothing.
type Sum struct {
	windows              int // in which there was any
	seen                 float64
	sum, squares, across float64
	plain                float64
	flat, flatAcross     float64
}

// Add adds what one window saw: amount of it, and the window as Design.Window was told of it.
func (s *Sum) Add(weight, work, amount float64) {
	if amount == 0 {
		return
	}
	s.windows++
	s.seen += amount
	s.sum += weight * amount
	s.squares += weight * (weight - 1) * amount * amount
	s.across += weight * (weight - 1) * amount * work
	s.plain += weight * amount * weight * amount
	s.flat += amount * amount
	s.flatAcross += amount * work
}

// Estimate is what there was in all, estimated, with its interval of 95 %.
type Estimate struct {
	Value, Low, High float64
	Windows          int // in which any of it was seen
}

// PlusMinus returns half the interval's width.
func (e Estimate) PlusMinus() float64 { return max(e.High-e.Value, e.Value-e.Low) }

// confidence of two-sided intervals and of one-sided bounds.
const (
	twoSided = 0.975
	oneSided = 0.95
	// edges is what is allowed for the edges of windows, as a share: what the program did in the
	// parts of intervals that they cut is known by time alone.
	edges = 0.01
)

// Estimate returns the total of s over the whole design. Windows are the sampling units: how much
// they differ among each other, by the work done in them, is the error. With fewer than two windows nothing bounds it
// from above and High is infinite.
func (d *Design) Estimate(s *Sum) Estimate {
	e := Estimate{Windows: s.windows}
	if d.sum <= 0 || d.total <= 0 || s.seen <= 0 {
		e.Value, e.Low, e.High = s.seen, s.seen, math.Inf(1)
		return e
	}
	ratio := s.sum / d.sum
	e.Value = max(ratio*d.total, s.seen)
	n := float64(d.windows)
	if d.windows < 2 {
		e.Low, e.High = s.seen, math.Inf(1)
		return e
	}
	residuals := max(0, s.squares-2*ratio*s.across+ratio*ratio*d.squares)
	// Rare things are missed by the few windows that stand for much, and then those do not differ. How
	// unevenly they come all windows tell alike: the variance is no less than by that.
	even := s.seen / d.inside
	uneven := max(0, s.flat-2*even*s.flatAcross+even*even*d.flat) / s.seen
	variance := n / (n - 1) * max(residuals, uneven*ratio*d.spread)
	err := d.total / d.sum * math.Sqrt(variance)
	// What was seen in few windows tells as little about its spread as few windows would, and so do windows
	// of which few carry most of the weight.
	t := student(twoSided, max(1, int(min(alike(d.sum, d.plain), alike(s.sum, s.plain))+0.5)-1))
	err = t*err + edges*e.Value
	e.Low = max(e.Value-err, s.seen)
	e.High = e.Value + err
	return e
}

// alike is how many windows of the same weight would tell as much.
func alike(sum, squares float64) float64 {
	if squares <= 0 {
		return 0
	}
	return sum * sum / squares
}
