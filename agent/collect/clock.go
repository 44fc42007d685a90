package collect

import (
	"math"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	// jitter is how far two readings of one offset may differ before it counts as moved, beside
	// the uncertainty of the reading itself.
	jitter = 1000 // ns
	// maxSegments bounds the memory of a clock. At one reading a second, all of which move, they
	// last for a day; then every second one goes.
	maxSegments = 1 << 17
)

// segment is an offset (monotonic - cupti, ns) that holds from a moment of CUPTI's clock on.
type segment struct {
	from   uint64
	offset int64
}

// clock turns CUPTI's timestamps into CLOCK_MONOTONIC. The offset is constant in pieces: one record
// is shifted as a whole, so that durations are CUPTI's.
type clock struct {
	segments []segment
	last     segment // the newest one
	hit      int     // the one that was used last
}

// known tells whether there was a reading yet.
func (c *clock) known() bool { return len(c.segments) > 0 }

// add takes a bracketed reading.
func (c *clock) add(r *abi.Clock) {
	bracket := r.After - r.Before
	if r.Cupti == 0 || r.Before == 0 || bracket > math.MaxInt32 {
		return // no reading, or one that took seconds: worse than the previous one
	}
	offset := int64(r.Before + bracket/2 - r.Cupti)
	if c.known() {
		moved := offset - c.last.offset
		if moved < 0 {
			moved = -moved
		}
		if moved <= jitter+int64(bracket/2) {
			return
		}
	}
	c.append(segment{from: r.Cupti, offset: offset})
}

// guess sets an offset for a capture without readings: CUPTI's clock is CLOCK_REALTIME unless
// told otherwise. sample is a timestamp of it.
func (c *clock) guess(sample uint64, monoStart, wallStart int64) {
	const day = int64(24 * 3600e9)
	offset := int64(0)
	if d := int64(sample) - wallStart; d > -day && d < 365*day {
		offset = monoStart - wallStart
	}
	c.append(segment{from: sample, offset: offset})
}

func (c *clock) append(s segment) {
	if len(c.segments) == maxSegments {
		thin := c.segments[:0]
		for i := 1; i < maxSegments; i += 2 {
			thin = append(thin, c.segments[i])
		}
		c.segments = thin
	}
	// The clock may have been set back; the search below needs the order.
	for len(c.segments) > 0 && c.segments[len(c.segments)-1].from >= s.from {
		c.segments = c.segments[:len(c.segments)-1]
	}
	c.segments = append(c.segments, s)
	c.last, c.hit = s, 0
}

// at returns the offset for a record that begins at a moment of CUPTI's clock. A moment before the
// first reading has that one's offset.
func (c *clock) at(cupti uint64) int64 {
	if cupti >= c.last.from || len(c.segments) == 0 {
		return c.last.offset
	}
	// Records come nearly in order: mostly it is the segment of the one before.
	i := c.hit
	if c.segments[i].from > cupti || c.segments[i+1].from <= cupti {
		i = max(sort.Search(len(c.segments), func(i int) bool { return c.segments[i].from > cupti })-1, 0)
		c.hit = min(i, max(len(c.segments)-2, 0))
	}
	return c.segments[i].offset
}

// moment converts a timestamp; 0 stays unknown.
func (c *clock) moment(cupti uint64) event.Time {
	if cupti == 0 {
		return 0
	}
	return event.Time(int64(cupti) + c.at(cupti))
}

// span converts the two ends of a record to a start and a duration, -1 if unknown.
func (c *clock) span(start, end uint64) (event.Time, int64) {
	if start == 0 {
		return 0, -1
	}
	return event.Time(int64(start) + c.at(start)), duration(start, end)
}

// duration returns end - start in ns, -1 if either is unknown or they make no sense.
func duration(start, end uint64) int64 {
	if start == 0 || end < start || end-start > math.MaxInt64 {
		return -1
	}
	return int64(end - start)
}
