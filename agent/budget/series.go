package budget

import (
	"slices"
	"sort"
)

const (
	second      = int64(1e9)
	millisecond = int64(1e6)

	// maxTicks bounds what is kept of one sort of call: at the library's 500 records a second a
	// minute, longer than any window with what is compared with it.
	maxTicks = 1 << 15
	// pause is how many usual intervals make a pause.
	pause = 6
	// start is within how many usual intervals of a switch a pause may be the switch's doing.
	start = 1.25
	// shortestPause is the least of them: below it nothing is called a pause.
	shortestPause = 50 * millisecond
)

// series is how one sort of call was counted, in time.
type series struct {
	at    []int64
	count []uint64
}

// add adds a tick; restarted says that the count began anew: another program has the PID now.
func (s *series) add(at int64, count uint64) (restarted bool) {
	if n := len(s.at); n > 0 {
		if count < s.count[n-1] && at > s.at[n-1] {
			s.at, s.count, restarted = s.at[:0], s.count[:0], true
		} else if at <= s.at[n-1] || count <= s.count[n-1] {
			return false // two threads, the later one was first
		}
	}
	if len(s.at) >= maxTicks {
		half := len(s.at) / 2
		s.at = append(s.at[:0], s.at[half:]...)
		s.count = append(s.count[:0], s.count[half:]...)
	}
	s.at = append(s.at, at)
	s.count = append(s.count, count)
	return restarted
}

func (s *series) last() int64 {
	if len(s.at) == 0 {
		return 0
	}
	return s.at[len(s.at)-1]
}

// upTo returns the index of the last tick at or before t, -1 if there is none.
func (s *series) upTo(t int64) int {
	return sort.Search(len(s.at), func(i int) bool { return s.at[i] > t }) - 1
}

// usual returns the median time of one count over the intervals between from and to; 0: too few.
func (s *series) usual(from, to int64, skip func(from, to int64) bool) int64 {
	var each []int64
	for i := max(1, s.upTo(from)+1); i < len(s.at) && s.at[i] <= to; i++ {
		if s.at[i-1] < from || skip != nil && skip(s.at[i-1], s.at[i]) {
			continue
		}
		each = append(each, (s.at[i]-s.at[i-1])/int64(s.count[i]-s.count[i-1]))
	}
	if len(each) < 3 {
		return 0
	}
	slices.Sort(each)
	return each[len(each)/2]
}

// period is a time in which the timeline was on, as the library carried it out; times are as in Switch.
type period struct {
	on, off Switch
}

// Switch is one switching of a timeline. Times are ns of one clock.
type Switch struct {
	On                  bool
	Began, Taken, Ended int64
}

// view reads a series with some times cut out (pauses of the program's own) and some slowed (in which
// the timeline was on).
type view struct {
	s       *series
	usual   int64    // time of one count
	periods []period // around the times that are asked for
	slow    float64  // share of its pace that the program keeps while the timeline is on
}

// isLong says whether interval i (from tick i-1 to tick i) was far longer than usual.
func (v *view) isLong(i int) bool {
	length := v.s.at[i] - v.s.at[i-1]
	return length >= shortestPause && length >= pause*v.usual*int64(v.s.count[i]-v.s.count[i-1])
}

// atSwitch says whether a switch fell into interval i when the program would have still been
// on its way: if the interval became long, then it may have become so by the switch.
func (v *view) atSwitch(i int) bool {
	from, to := v.s.at[i-1], v.s.at[i]
	near := int64(start * float64(v.usual*int64(v.s.count[i]-v.s.count[i-1])))
	for _, p := range v.periods {
		for _, x := range [2]Switch{p.on, p.off} {
			if x.Began != 0 && x.Ended >= from && x.Began <= to && x.Began-from < near {
				return true
			}
		}
	}
	return false
}

// isPause says whether interval i is a pause of the program's own, which is cut out.
func (v *view) isPause(i int) bool { return v.isLong(i) && !v.atSwitch(i) }

// progress returns how many counts there were between from and to, parts of intervals by their
// time, and the time itself without the program's pauses. Known is false where ticks do not
// reach over both ends.
func (v *view) progress(from, to int64) (counts float64, active int64, known bool) {
	s := v.s
	first := s.upTo(from)
	if first < 0 || s.last() < to || to < from {
		return 0, 0, false
	}
	for i := first + 1; i < len(s.at) && s.at[i-1] < to; i++ {
		a, b := max(from, s.at[i-1]), min(to, s.at[i])
		n := float64(s.count[i] - s.count[i-1])
		length := b - a
		if v.isPause(i) {
			// It counts as the usual time, in proportion.
			usual := v.usual * int64(s.count[i]-s.count[i-1])
			length = int64(float64(usual) * float64(b-a) / float64(s.at[i]-s.at[i-1]))
		}
		active += length
		whole := v.work(s.at[i-1], s.at[i])
		if whole > 0 {
			counts += n * v.work(a, b) / whole
		}
	}
	return counts, active, true
}

// work is the time from a to b, that with the timeline on counted by what the program does in it, and
// that in which it was being switched not at all: the program waits then.
func (v *view) work(a, b int64) float64 {
	t := float64(b - a)
	for _, p := range v.periods {
		from, to := p.on.Ended, p.off.Began
		if p.off.Ended == 0 {
			to = b
		}
		t -= overlap(a, b, p.on.Began, p.on.Ended) + overlap(a, b, p.off.Began, p.off.Ended)
		t -= (1 - v.slow) * overlap(a, b, from, to)
	}
	return max(t, 1e-3*float64(b-a))
}

// overlap is the length of what the times from a to b and from c to d have in common.
func overlap(a, b, c, d int64) float64 {
	return float64(max(0, min(b, d)-max(a, c)))
}

// countAt returns the count at a moment between the first tick and the last.
func (s *series) countAt(t int64) float64 {
	i := s.upTo(t)
	if i < 0 {
		return float64(s.count[0])
	}
	if i+1 >= len(s.at) {
		return float64(s.count[i])
	}
	part := float64(t-s.at[i]) / float64(s.at[i+1]-s.at[i])
	return float64(s.count[i]) + part*float64(s.count[i+1]-s.count[i])
}
