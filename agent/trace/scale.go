package trace

import (
	"errors"
	"math/bits"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// What CUPTI calls the times of an API call is two readings of the host's clock. Taking one costs 20 to
// 40 ns and shifts by as much from one to the next, so that their last bits are noise, which no compressor
// shortens. The writer rounds them, and nothing else, unless it is told not to; the encoding itself is
// without loss and finds by itself how many low bits are always 0.

const (
	callResolution = 16 * time.Nanosecond // unless set
	maxResolution  = time.Millisecond
	maxScale       = 32 // that a reader takes
)

// WithCallResolution sets to which multiple the writer rounds when calls began and ended: a power of two,
// in nanoseconds; 16 ns unless set, 1 ns leaves them as they are.
func WithCallResolution(d time.Duration) Option {
	return func(o *writerOptions) error {
		if d < 1 || d > maxResolution || d&(d-1) != 0 {
			return errors.New("resolution of call times must be a power of two, from 1 ns to 1 ms")
		}
		o.callResolution = d
		return nil
	}
}

// roundCalls rounds the beginnings and ends of calls, from row first on, to the nearest multiple of unit.
// Both are rounded alike, so that calls stay in order and one within the other. What is unknown stays so.
func roundCalls(c *event.Calls, first int, unit time.Duration) {
	if unit <= 1 {
		return
	}
	half, mask := event.Time(unit/2), ^event.Time(unit-1)
	durations := c.Duration[first:]
	for i, enter := range c.Enter[first:] {
		if enter <= 0 || enter >= 1<<62 {
			continue
		}
		// Not to 0, which is unknown.
		rounded := max((enter+half)&mask, event.Time(unit))
		c.Enter[first+i] = rounded
		if d := durations[i]; d >= 0 && d < 1<<62 {
			durations[i] = max(0, int64((enter+event.Time(d)+half)&mask-rounded))
		}
	}
}

// commonScale returns how many low bits are 0 in all times, and in all durations that are known.
func commonScale(times, durations []uint64) uint {
	var any uint64
	for i, t := range times {
		any |= t
		if d := durations[i]; int64(d) >= 0 {
			any |= d
		}
	}
	if any == 0 {
		return 0
	}
	return uint(min(bits.TrailingZeros64(any), maxScale))
}

// shrink divides times by 2^scale.
func shrink(times []uint64, scale uint) {
	for i, t := range times {
		times[i] = uint64(int64(t) >> scale)
	}
}

// shrinkKnown divides durations by 2^scale, but for those below 0, which are unknown.
func shrinkKnown(durations []uint64, scale uint) {
	for i, d := range durations {
		if int64(d) >= 0 {
			durations[i] = d >> scale
		}
	}
}

// grow is the inverse of shrink.
func grow(times []uint64, scale uint) {
	for i, t := range times {
		times[i] = t << scale
	}
}

// growKnown sets dst to what shrinkKnown made src of.
func growKnown(dst, src []uint64, scale uint) {
	for i, d := range src {
		if int64(d) >= 0 {
			d <<= scale
		}
		dst[i] = d
	}
}
