package analyze

import "github.com/warpscope/warpscope/agent/event"

// windows adds up for how long the timeline of a process was recorded.
type windows struct {
	count  int
	total  int64      // ns
	since  event.Time // of the window that is open; 0: none is
	paused bool       // ever
}

// add takes the next change of state.
func (w *windows) add(t event.Time, state event.State) {
	if state == event.StateArmed {
		if w.since == 0 && t > 0 {
			w.count++
			w.since = t
		}
		return
	}
	w.paused = w.paused || state == event.StatePaused
	w.total = w.until(t)
	w.since = 0
}

// until returns the total with the open window ending at t.
func (w *windows) until(t event.Time) int64 {
	if w.since == 0 || t <= w.since || uint64(t-w.since) > maxDuration {
		return w.total
	}
	total := w.total + int64(t-w.since)
	if total < w.total { // of a damaged trace
		return w.total
	}
	return total
}

// paused says whether the timeline of a process was off for a part of an interval, and on again later.
func (p *process) paused(from, to event.Time) bool {
	off := event.Time(0)
	for i := range p.states {
		switch s := &p.states[i]; {
		case s.state == event.StatePaused && off == 0:
			off = s.time
		case s.state == event.StateArmed && off != 0:
			if off < to && s.time > from {
				return true
			}
			off = 0
		}
	}
	return false
}
