package budget

import "math"

// losses is what windows cost, in ns, as they were measured. The first one is kept apart: CUPTI sets itself
// up in it, which no other window has to pay for.
type losses struct {
	first         *firstOne
	n             int
	loss, on      float64 // sums over measured windows
	ll, lo, oo    float64
	unmeasured    float64 // ns of recording that could not be measured
	unmeasuredNum int

	// The same of windows that were none.
	placebos int
	worst    float64
	psum, pp float64
}

type firstOne struct{ loss, on float64 }

// placebo adds what the measure showed where nothing was switched.
func (l *losses) placebo(loss float64) {
	l.placebos++
	l.worst = max(l.worst, loss)
	l.psum += loss
	l.pp += loss * loss
}

// fewPlacebos is how many are needed for their mean to be taken off.
const fewPlacebos = 10

// noise is the mean and the standard deviation of windows that were none. Where a program pauses a
// switch is now and then held responsible for it: that is the mean.
func (l *losses) noise() (mean, sd float64) {
	n := float64(l.placebos)
	if l.placebos < 2 {
		return 0, 0
	}
	mean = l.psum / n
	sd = math.Sqrt(max(0, l.pp-n*mean*mean) / (n - 1))
	if l.placebos < fewPlacebos {
		mean = 0
	}
	return max(0, mean), sd
}

func (l *losses) add(loss, on float64) {
	if l.first == nil {
		l.first = &firstOne{loss, on}
		return
	}
	l.n++
	l.loss += loss
	l.on += on
	l.ll += loss * loss
	l.lo += loss * on
	l.oo += on * on
}

func (l *losses) miss(on float64) {
	l.unmeasured += on
	l.unmeasuredNum++
}

// share is the part of recorded time that was lost; firstLoss where nothing is known yet.
func (l *losses) share() float64 {
	if l.on <= 0 {
		return firstLoss
	}
	mean, _ := l.noise()
	return (l.loss - float64(l.n)*mean) / l.on
}

// spread is the standard deviation of one window's loss around what its length explains, but no less
// than the measure's own.
func (l *losses) spread() float64 {
	if l.n < 2 {
		return math.Inf(1)
	}
	r := l.loss / l.on
	_, noise := l.noise()
	return max(noise, math.Sqrt(max(0, l.ll-2*r*l.lo+r*r*l.oo)/float64(l.n-1)))
}

// scatter is by how much the sum over n windows may exceed its estimate, with 95 %. How far the measure
// itself scatters is known from windows that were none, often before there are any others.
func (l *losses) scatter(n float64) float64 {
	if n <= 0 {
		return 0
	}
	var t float64
	if mean, noise := l.noise(); l.placebos >= fewPlacebos {
		variance := n * noise * noise
		if mean > 0 { // it is taken off n times
			variance += n * n * noise * noise / float64(l.placebos)
		}
		t = student(oneSided, l.placebos-1) * math.Sqrt(variance)
	}
	if l.n >= priorWindows || l.n >= 2 && l.placebos < fewPlacebos {
		t = max(t, student(oneSided, l.n-1)*l.spread()*math.Sqrt(n))
	}
	return t
}

// windows is how many there were, measured or not; recorded is their length, in ns.
func (l *losses) windows() int {
	if l.first == nil {
		return l.n + l.unmeasuredNum
	}
	return l.n + l.unmeasuredNum + 1
}

func (l *losses) recorded() float64 {
	if l.first == nil {
		return l.on + l.unmeasured
	}
	return l.on + l.unmeasured + l.first.on
}

// certain says that enough windows were measured to tell the loss by them alone.
func (l *losses) certain() bool { return l.n >= priorWindows }

// total returns the time lost in all windows, estimated, and its upper bound of 95 %. Before there
// are enough windows the bound reckons with firstLoss.
func (l *losses) total() (estimate, bound float64) {
	least := firstLoss * (l.on + l.unmeasured)
	if l.on+l.unmeasured > 0 {
		estimate = l.share() * (l.on + l.unmeasured)
	}
	if l.first != nil {
		estimate += l.first.loss
		least += max(l.first.loss, firstLoss*l.first.on)
	}
	bound = estimate + l.scatter(float64(l.windows()))
	if !l.certain() {
		bound = max(bound, least)
	}
	return estimate, bound
}

// outliers is how many windows there is room for that look as bad as the worst of those that were none: where a
// program pauses some will.
const outliers = 6

// with is what the bound is reckoned to be with n more windows of a length in all.
func (l *losses) with(n int, length float64) float64 {
	_, bound := l.total()
	had := float64(l.windows())
	return bound + l.next()*length + outliers*l.worst + l.scatter(had+float64(n)) - l.scatter(had)
}

// next is the share of its time that a window to come is reckoned to cost at most.
func (l *losses) next() float64 {
	all := l.on + l.unmeasured
	if all <= 0 {
		return firstLoss
	}
	bound := l.share() + l.scatter(float64(l.n+l.unmeasuredNum))/all
	if !l.certain() {
		return max(firstLoss, bound)
	}
	return max(leastLoss, bound)
}
