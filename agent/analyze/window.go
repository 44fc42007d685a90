package analyze

import (
	"math"

	"github.com/warpscope/warpscope/agent/event"
)

// Moment is a time that was asked for: relative to the start of the trace, or of the wall clock.
type Moment struct {
	Set  bool
	Wall bool  // NS counts from 1970; otherwise from the start of the trace
	NS   int64 // ns
}

// Window is the part of a trace to look at: events that begin from From up to, not including, To.
// Its zero value is all of the trace.
type Window struct{ From, To Moment }

// Clock knows when a trace begins and how its times relate to wall time. Its zero value is ready.
type Clock struct {
	mono   event.Time
	wall   int64
	origin event.Time
}

// Provenance tells the clock what ties it to wall time.
func (c *Clock) Provenance(p *event.Provenance) { c.mono, c.wall = p.MonoTime, p.WallTime }

// Define tells the clock of processes. The trace starts with the first capture of the first
// definitions that have one: later ones must not move the zero of times already shown.
func (c *Clock) Define(d *event.Definitions) {
	if c.origin != 0 {
		return
	}
	for _, p := range d.Processes {
		if p.StartTime > 0 && (c.origin == 0 || p.StartTime < c.origin) {
			c.origin = p.StartTime
		}
	}
}

// Begin sets the start of the trace to t if nothing better is known.
func (c *Clock) Begin(t event.Time) {
	if c.origin == 0 {
		c.origin = t
	}
}

// Origin returns the start of the trace; 0 unknown as yet.
func (c *Clock) Origin() event.Time { return c.origin }

// Wall returns t in ns since 1970; 0 if the trace does not say.
func (c *Clock) Wall(t event.Time) int64 {
	if c.wall == 0 || t == 0 {
		return 0
	}
	return c.wall + int64(t-c.mono)
}

// HasWall says whether the trace ties its times to wall time.
func (c *Clock) HasWall() bool { return c.wall != 0 }

// Bounds returns the window in the trace's own time.
func (c *Clock) Bounds(w Window) (from, to event.Time) {
	return c.bound(w.From, math.MinInt64), c.bound(w.To, math.MaxInt64)
}

func (c *Clock) bound(m Moment, open event.Time) event.Time {
	switch {
	case !m.Set:
		return open
	case m.Wall:
		return c.mono + event.Time(m.NS-c.wall)
	}
	return c.origin + event.Time(m.NS)
}
