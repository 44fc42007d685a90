package budget

import (
	"math"
	"slices"
)

const (
	// residueSpan is the length of each of the two times whose pace is compared.
	residueSpan = second
	// leastPlacebos is how many comparisons of times between which nothing was switched tell how much
	// the pace wanders by itself: 19 are the least of which one in twenty is the largest.
	leastPlacebos = 19
	mostPlacebos  = 256
)

// residue is what having recorded once leaves behind for good: the pace after the first window
// against the pace before it, beside the same comparison at times at which nothing was switched.
type residue struct {
	known    bool
	loss     float64 // share of time, from the first window on
	from, to int64   // the first window, with its margins
	gap      int64   // its length: that between the times that are compared
	placebos []float64
}

// pace returns the logarithm of the pace after a gap over the pace before it.
func (m *meter) pace(before, after int64) (change float64, ok bool) {
	v := view{s: m.ruler, slow: 1, periods: m.around(before-residueSpan, after+residueSpan)}
	v.usual = m.ruler.usual(before-residueSpan, after+residueSpan, nil)
	if v.usual == 0 {
		return 0, false
	}
	n1, t1, known1 := v.progress(before-residueSpan, before)
	n2, t2, known2 := v.progress(after, after+residueSpan)
	if !known1 || !known2 || n1 < 3 || n2 < 3 || t1 < residueSpan/2 || t2 < residueSpan/2 {
		return 0, false
	}
	return math.Log(n2 / float64(t2) * float64(t1) / n1), true
}

// compare is called once a period has been measured: of the first one it takes the change, and of
// the times before each one, as long as they are undisturbed, placebos.
func (m *meter) compare(p *period, previousEnd int64) {
	r := &m.residue
	before, after := m.margins()
	from, to := p.on.Began-before, p.off.Ended+after
	if r.gap == 0 {
		r.from, r.to, r.gap = from, to, to-from
	}
	if !r.known { // what comes after it may not have been seen at first
		if change, ok := m.pace(r.from, r.to); ok {
			r.known, r.loss = true, 1-math.Exp(change)
		}
	}
	start := max(previousEnd+after, m.ruler.at[0])
	at := from - residueSpan
	for range mostPlacebos {
		if at-r.gap-residueSpan <= start || len(r.placebos) >= mostPlacebos {
			return
		}
		if change, ok := m.pace(at-r.gap, at); ok {
			r.placebos = append(r.placebos, change)
		}
		at -= r.gap + 2*residueSpan
	}
}

// interval returns the bounds of 90 % of the lasting loss, so that each holds with 95 %; known is false
// where there is too little to tell.
func (r *residue) interval() (low, high float64, known bool) {
	if !r.known || len(r.placebos) < leastPlacebos {
		return 0, 0, false
	}
	// By rank, and not by a variance: most of the time nothing changes, and then a phase of the
	// program ends.
	sizes := make([]float64, len(r.placebos))
	for i, p := range r.placebos {
		sizes[i] = math.Abs(p)
	}
	slices.Sort(sizes)
	n := len(sizes)
	err := sizes[min(n-1, int(math.Ceil(0.9*float64(n+1)))-1)]
	return r.loss - err, r.loss + err, true
}

// charge is the share of time that the lasting loss is reckoned to cost: what is certain of it.
func (r *residue) charge() float64 {
	low, _, _ := r.interval()
	return max(0, low)
}
