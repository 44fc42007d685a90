package budget

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// firstLoss is the share of a window's time that is reckoned to be lost before any was measured:
	// a program that runs at half its pace.
	firstLoss = 0.5
	// reserve is the part of the budget that windows are planned with: what is measured scatters.
	reserve = 0.8
	// fewestCells bounds the share of time that is recorded to a half: the other half is what the
	// recording is compared with.
	fewestCells = 2
	// Windows are this long, in intervals of the ruler and in time: the first ones, and later.
	firstIntervals, laterIntervals = 3, 10
	firstWindow, laterWindow       = 100 * millisecond, 200 * millisecond
	longestWindow                  = 5 * second
	// callback is what CUPTI is reckoned to take for a call that is counted, both its sides together.
	// Stated, not measured here: from inside it does not show.
	callback = 1e3 // ns
	// latest is how long after its plan a window may have begun.
	latest = second
)

// Config says what is allowed.
type Config struct {
	// Share of the program's time that the recording may cost, in (0, 1).
	Share float64
	Seed  uint64
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	if !(c.Share > 0 && c.Share < 1) {
		return errors.New("plan windows: the budget is a share between 0 and 1")
	}
	return nil
}

// Window is a finished window of one process, or (with Length 0) a time without one.
type Window struct {
	PID           int32
	Begin, Length int64 // ns, when recording took effect for kernels; Length 0: nothing was recorded
	Planned       int64 // ns, the length that was planned
	SpanBegin     int64 // the time that the window stands for, in which its place was drawn …
	Span          int64 // … and its length, ns
	Work          int64 // done in the window, in ns that it takes without recording
	SpanWork      int64 // done in the whole span
	Loss          int64 // ns that the program lost to the window; may be negative, it is measured
	Measured      bool  // whether Loss is known
}

// Weight is the inverse of the probability with which a moment of the span was recorded.
func (w *Window) Weight() float64 {
	if w.Planned <= 0 {
		return 0
	}
	return float64(w.Span) / float64(w.Planned)
}

// window is one window as planned.
type window struct {
	spanBegin, spanEnd int64
	on, off            int64
	planned            int64          // length; more than one window's where two met
	settled            map[int32]bool // processes for which it is over and measured
}

// Controller plans the windows of one run. It is told what happens and asked what to do; it is not
// safe for concurrent use.
type Controller struct {
	config  Config
	random  *rand.Rand
	meters  map[int32]*meter
	begun   int64 // when measuring began; 0: not yet
	from    int64 // when the first span began; 0: not yet
	end     int64 // of the last span
	on      bool  // the last answer
	windows []*window
	done    []Window
	stopped string            // why nothing is recorded any more
	costs   map[int32]float64 // ns of callbacks, as told
}

// New returns a Controller.
func New(c Config) (*Controller, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Controller{
		config: c, random: rand.New(rand.NewPCG(c.Seed, 0x77617270)),
		meters: map[int32]*meter{}, costs: map[int32]float64{},
	}, nil
}

// maxMeters bounds the processes that are measured.
const maxMeters = 256

func (c *Controller) meter(pid int32) *meter {
	m := c.meters[pid]
	if m == nil && len(c.meters) < maxMeters {
		m = newMeter(pid)
		c.meters[pid] = m
	}
	return m
}

// Tick says that by a moment a process had made count calls of one sort.
func (c *Controller) Tick(pid int32, call string, at int64, count uint64) {
	if m := c.meter(pid); m != nil {
		m.tick(call, at, count)
	}
}

// Switch says that the timeline of a process was switched.
func (c *Controller) Switch(pid int32, s Switch) {
	if m := c.meter(pid); m != nil {
		m.switched(s)
	}
}

// Cost says how much time, in ns and since it began, a process has spent in callbacks of the capture
// that go on whether the timeline is on or not.
func (c *Controller) Cost(pid int32, ns float64) { c.costs[pid] = ns }

// Gone says that a process has ended.
func (c *Controller) Gone(pid int32) {
	if m := c.meters[pid]; m != nil {
		m.gone = true
	}
}

// Next says whether the timeline is to be on at a moment, and when to ask again at the latest.
func (c *Controller) Next(now int64) (on bool, again int64) {
	on, again = c.next(now)
	c.on = on
	return on, again
}

func (c *Controller) next(now int64) (on bool, again int64) {
	c.settle(now, false)
	soon := now + 20*millisecond
	if c.stopped != "" {
		return false, soon
	}
	if n := len(c.windows); n > 0 {
		if w := c.windows[n-1]; now < w.spanEnd {
			return c.at(w, now, soon)
		}
	}
	ready := c.ready(now)
	if len(ready) == 0 {
		return false, soon
	}
	if c.begun == 0 {
		c.begun = now
	}
	c.judge(ready, now)
	if c.stopped != "" {
		return false, soon
	}
	w, ok := c.plan(ready, now)
	if !ok {
		return false, soon
	}
	return c.at(w, now, soon)
}

func (c *Controller) at(w *window, now, soon int64) (bool, int64) {
	for _, edge := range [3]int64{w.on, w.off, w.spanEnd} {
		if edge > now {
			soon = min(soon, edge)
		}
	}
	return now >= w.on && now < w.off, soon
}

// ready returns the processes that can be measured.
func (c *Controller) ready(now int64) []*meter {
	var list []*meter
	for _, pid := range c.pids() {
		if m := c.meters[pid]; !m.gone && m.choose(now) {
			m.look()
			list = append(list, m)
		}
	}
	return list
}

func (c *Controller) pids() []int32 {
	var list []int32
	for pid := range c.meters {
		list = append(list, pid)
	}
	slices.Sort(list)
	return list
}

// allowed is the share of time that windows of a process may cost: the budget without what goes on
// between them.
func (c *Controller) allowed(m *meter, now int64) float64 {
	share := c.config.Share - c.idle(m, now) - m.residue.charge()
	return share / (1 + share) // of the time that it takes, not of what it would take
}

// idle is the share of time that callbacks cost.
func (c *Controller) idle(m *meter, now int64) float64 {
	since := float64(max(second, now-m.first))
	return (m.called() + c.costs[m.pid]) / since
}

// judge ends the recording where what goes on between windows exceeds the budget by itself.
func (c *Controller) judge(ready []*meter, now int64) {
	for _, m := range ready {
		low, high, known := m.residue.interval()
		switch idle := c.idle(m, now); {
		case idle >= c.config.Share:
			c.stopped = fmt.Sprintf("counting the calls of process %d and its allocations alone costs %.2f %% of its time", m.pid, 100*idle)
		case known && low+idle >= c.config.Share:
			c.stopped = fmt.Sprintf("process %d went on more slowly by %.2f %% (%.2f to %.2f %%) after the timeline was off again",
				m.pid, 100*m.residue.loss, 100*low, 100*high)
		}
	}
}

// plan draws the next window.
func (c *Controller) plan(ready []*meter, now int64) (*window, bool) {
	length, cells := int64(0), int64(fewestCells)
	for _, m := range ready {
		length = max(length, m.length())
	}
	for _, m := range ready {
		allowed := c.allowed(m, now)
		if allowed <= 0 {
			return nil, false
		}
		next := m.losses.next()
		cells = max(cells, int64(math.Ceil(next/(reserve*allowed))))
		n, open := c.pending(m)
		if m.losses.with(n+1, open+float64(length)) > allowed*m.active(c.begun, now) {
			return nil, false
		}
	}
	cell := c.random.Int64N(cells)
	span := cells * length
	if n := len(c.windows); n > 0 && cell == 0 {
		// Beside the last one, and nobody has been told to switch off: both are one window.
		if w := c.windows[n-1]; c.on && w.off == w.spanEnd {
			w.off, w.spanEnd = now+length, now+span
			w.planned += length
			c.end = w.spanEnd
			return w, true
		}
	}
	if c.from == 0 {
		c.from, c.end = now, now
	}
	for _, m := range c.meters {
		m.begin(c.end)
	}
	w := &window{spanBegin: c.end, spanEnd: now + span, on: now + cell*length, planned: length, settled: map[int32]bool{}}
	w.off = w.on + length
	c.end = w.spanEnd
	c.windows = append(c.windows, w)
	return w, true
}

// pending is how many windows of a process are not measured yet, and their length in ns.
func (c *Controller) pending(m *meter) (n int, length float64) {
	for _, w := range c.windows {
		if !w.settled[m.pid] {
			n++
			length += float64(w.planned)
		}
	}
	return n, length
}
