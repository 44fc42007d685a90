package budget

import (
	"math"
	"slices"
)

const (
	// slowestRuler and fastestRuler bound the rate of calls, per second, that progress is measured by.
	slowestRuler = 1.0
	fastestRuler = 3000.0
	// probation is how long calls are watched before one sort is chosen.
	probation = 3 * second
	// maxCalls bounds the sorts of calls of one process.
	maxCalls = 128
	// maxPeriods bounds the switches that are kept.
	maxPeriods = 64
	// priorWindows is how many windows must have been measured before their own spread is trusted.
	priorWindows = 4
	// leastLoss is the share of a window's time that is always reckoned with.
	leastLoss = 0.002
)

// meter measures one process.
type meter struct {
	pid     int32
	calls   map[string]*series
	first   int64   // first tick of any call
	ruler   *series // nil: none chosen yet
	call    string
	rate    float64 // reference: counts a ns, when the ruler was chosen
	periods []period
	open    bool  // the last period is not over
	ended   int64 // the last measured period
	gone    bool
	waits   float64 // ns of switching, in and after measured windows
	waited  float64 // ns of those windows
	mark    mark

	losses  losses
	residue residue
	paused  int64 // ns of the program's own pauses, as far as they have been looked for
	looked  int64 // when that was
}

// mark is a moment up to which work has been accounted for.
type mark struct {
	at    int64   // 0: none
	known bool    // count is
	count float64 // of the ruler
}

func newMeter(pid int32) *meter { return &meter{pid: pid, calls: map[string]*series{}} }

func (m *meter) tick(call string, at int64, count uint64) {
	s := m.calls[call]
	if s == nil {
		if len(m.calls) >= maxCalls {
			return
		}
		s = &series{}
		m.calls[call] = s
	}
	if s.add(at, count) && s == m.ruler {
		m.ruler, m.first = nil, at
	}
	if m.first == 0 {
		m.first = at
	}
}

func (m *meter) switched(s Switch) {
	if s.On == m.open {
		return
	}
	if s.Began <= 0 || s.Taken < s.Began || s.Ended < s.Taken {
		return
	}
	if n := len(m.periods); n > 0 && s.Began < max(m.periods[n-1].on.Ended, m.periods[n-1].off.Ended) {
		return // out of order: what reports it may be damaged
	}
	m.open = s.On
	if !s.On {
		m.periods[len(m.periods)-1].off = s
		return
	}
	if len(m.periods) >= maxPeriods {
		m.periods = append(m.periods[:0], m.periods[maxPeriods/2:]...)
	}
	m.periods = append(m.periods, period{on: s})
}

// choose finds the call that progress is measured by: the one that comes most evenly.
func (m *meter) choose(now int64) bool {
	if m.ruler != nil {
		if now-m.ruler.last() < 20*second || m.ruler.last() == 0 {
			return true
		}
		if !slices.ContainsFunc(m.names(), func(n string) bool { return m.calls[n] != m.ruler && now-m.calls[n].last() < second }) {
			return true // all is silent
		}
		m.ruler = nil
		m.first = now // the others are watched anew
	}
	if m.first == 0 || now-m.first < probation {
		return false
	}
	best := math.Inf(1)
	for _, name := range m.names() {
		s := m.calls[name]
		spread, rate, ok := evenness(s, now-probation, now)
		if ok && spread < best*0.98 {
			best, m.ruler, m.call, m.rate = spread, s, name, rate
		}
	}
	m.looked, m.mark.known = now, false
	return m.ruler != nil
}

func (m *meter) names() []string {
	var names []string
	for name := range m.calls {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// evenness returns how much the progress by s differs between parts of a time, relative to its
// mean, and its rate in counts a ns.
func evenness(s *series, from, to int64) (spread, rate float64, ok bool) {
	const parts = 10
	from, to = max(from, s.at[0]), min(to, s.last())
	first, last := s.upTo(from), s.upTo(to)
	if first < 0 || to-from < probation*2/3 || last-first < 3 {
		return 0, 0, false
	}
	v := view{s: s, usual: max(1, s.usual(from, to, nil)), slow: 1}
	all, active, known := v.progress(from, to)
	if !known || active <= 0 {
		return 0, 0, false
	}
	rate = all / float64(active)
	if rate*float64(second) < slowestRuler || rate*float64(second) > fastestRuler {
		return 0, 0, false
	}
	var values []float64
	for i := range int64(parts) {
		a, b := from+(to-from)*i/parts, from+(to-from)*(i+1)/parts
		n, t, known := v.progress(a, b)
		if known && t > (b-a)/2 {
			values = append(values, n/float64(t))
		}
	}
	if len(values) < 4 {
		return 0, 0, false
	}
	mean, sd := moments(values)
	return sd / mean, rate, true
}

// interval is the usual time of one count, in ns.
func (m *meter) interval() int64 {
	if m.rate <= 0 {
		return 0
	}
	return int64(1 / m.rate)
}

// length is that of the next window.
func (m *meter) length() int64 {
	if !m.losses.certain() {
		return min(max(firstWindow, firstIntervals*m.interval()), longestWindow)
	}
	return min(max(laterWindow, laterIntervals*m.interval()), longestWindow)
}

// called is what CUPTI is reckoned to have taken for the calls that are counted, in ns.
func (m *meter) called() float64 {
	var calls uint64
	for _, s := range m.calls {
		if n := len(s.count); n > 0 {
			calls += s.count[n-1]
		}
	}
	return float64(calls) * callback
}

// around returns the periods that touch a time.
func (m *meter) around(from, to int64) []period {
	var list []period
	for _, p := range m.periods {
		if p.on.Began <= to && (p.off.Ended == 0 || p.off.Ended >= from) {
			list = append(list, p)
		}
	}
	return list
}

// margins returns how far from a switch its effect on the ruler may be seen: before it, because an
// interval that it falls into is slowed as a whole; after it, because of what is written and
// flushed then.
func (m *meter) margins() (before, after int64) {
	i := m.interval()
	return i + i/2 + 5*millisecond, i + i/2 + 50*millisecond
}

// measure returns how much time the program lost to one period, in ns: the time it took for the work
// around it, less what that work takes in the time before and after. done says that there is nothing
// more to wait for.
func (m *meter) measure(p *period, now int64) (loss float64, ok, done bool) {
	before, after := m.margins()
	from, to := p.on.Began-before, p.off.Ended+after
	flank := m.flank(to - from)
	left, right := from-flank, to+flank
	for i := range m.periods { // flanks are without other periods
		q := &m.periods[i]
		if q.off.Ended != 0 && q.off.Ended < p.on.Began {
			left = max(left, q.off.Ended+after)
		}
		if q.on.Began > p.off.Ended {
			right = min(right, q.on.Began-before)
		}
	}
	// A period to come may still shorten the flank: it is measured once the flank is over.
	if end := max(right, to); m.ruler.last() < end && now < end+30*second {
		return 0, false, false
	}
	loss, ok = m.compareTimes(left, from, to, right, m.around(from, to))
	return loss, ok, true
}

// flank is how long the times are that a time of some length is compared with.
func (m *meter) flank(length int64) int64 { return min(max(3*length/2, 4*m.interval()), 5*second) }

// compareTimes returns by how much longer the time between from and to was than its work takes in the
// times from left and to right. Pauses are cut out of all of them, but those that may be the doing of a
// switch.
func (m *meter) compareTimes(left, from, to, right int64, periods []period) (loss float64, ok bool) {
	v := view{s: m.ruler, periods: periods, slow: 1}
	v.usual = m.ruler.usual(left, right, func(a, b int64) bool { return b > from && a < to })
	if v.usual == 0 {
		return 0, false
	}
	var counts float64
	var active int64
	for _, side := range [2][2]int64{{left, from}, {to, right}} {
		if side[1] <= side[0] {
			continue
		}
		if n, t, known := v.progress(side[0], side[1]); known {
			counts += n
			active += t
		}
	}
	inside, time, known := v.progress(from, to)
	if !known || counts < 3 || active < (to-from)/4 {
		return 0, false
	}
	return float64(time) - inside*float64(active)/counts, true
}

// placebo measures windows that were none, in the time before a period in which nothing was
// switched: what the measure shows where there is nothing to be seen.
func (m *meter) placebo(p *period, previousEnd int64) {
	const most = 20
	before, after := m.margins()
	start := max(previousEnd+after, m.ruler.at[0])
	length := m.length()
	whole := before + length + after
	flank := m.flank(whole)
	for right := p.on.Began - before; right-whole-2*flank >= start; right -= whole + 2*flank {
		from := right - flank - whole
		on, off := from+before, from+before+length
		fake := period{on: Switch{Began: on, Taken: on, Ended: on + millisecond}, off: Switch{Began: off, Taken: off, Ended: off + millisecond}}
		if loss, ok := m.compareTimes(from-flank, from, from+whole, right, []period{fake}); ok {
			m.losses.placebo(loss)
		}
		if p.on.Began-right > most*(whole+2*flank) {
			return
		}
	}
}

// look adds pauses of the program's own up to the last tick.
func (m *meter) look() {
	s := m.ruler
	if s == nil {
		return
	}
	const recent = 31
	for i := max(1, s.upTo(m.looked)+1); i < len(s.at); i++ {
		m.looked = s.at[i]
		length := s.at[i] - s.at[i-1]
		if length < 2*shortestPause {
			continue
		}
		v := view{s: s, periods: m.around(s.at[i-1], s.at[i]), slow: 1}
		v.usual = s.usual(s.at[max(0, i-1-recent)], s.at[i-1], nil)
		if v.usual > 0 && v.isPause(i) {
			m.paused += length - v.usual*int64(s.count[i]-s.count[i-1])
		}
	}
}

// active is the program's time since it has been measured, without pauses of its own.
func (m *meter) active(since, now int64) float64 {
	return float64(max(0, now-since-m.paused))
}

func moments(values []float64) (mean, sd float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	for _, v := range values {
		sd += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(sd / float64(max(1, len(values)-1)))
}
