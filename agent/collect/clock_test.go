package collect

import (
	"testing"

	"github.com/warpscope/warpscope/cupti/abi"
)

func reading(cupti, mono uint64) *abi.Clock {
	return &abi.Clock{Cupti: cupti, Before: mono, After: mono}
}

func TestClock(t *testing.T) {
	var c clock
	c.add(&abi.Clock{Cupti: 5, Before: 10, After: 5}) // backwards: no reading
	c.add(&abi.Clock{Cupti: 0, Before: 10, After: 11})
	if c.known() {
		t.Error("took a reading that is none")
	}
	c.add(reading(1_000_000, 11_000_000))
	c.add(reading(2_000_000, 12_000_900))                                             // jitter
	c.add(&abi.Clock{Cupti: 3_000_000, Before: 13_000_000, After: 13_000_000 + 8000}) // uncertain by 4 µs
	c.add(reading(4_000_000, 14_005_000))                                             // moved
	c.add(reading(5_000_000, 15_002_000))                                             // and back
	for _, w := range []struct {
		cupti uint64
		want  int64
	}{
		{1, 10_000_001}, {999_999, 10_999_999}, {1_000_000, 11_000_000}, {3_999_999, 13_999_999},
		{4_000_000, 14_005_000}, {4_999_999, 15_004_999}, {5_000_000, 15_002_000}, {9_000_000, 19_002_000},
		{2_000_000, 12_000_000}, {4_500_000, 14_505_000}, {0, 0},
	} {
		if got := int64(c.moment(w.cupti)); got != w.want {
			t.Errorf("%d: %d, want %d", w.cupti, got, w.want)
		}
	}
	// Both ends of one record use one offset.
	if start, d := c.span(3_999_000, 4_001_000); start != 13_999_000 || d != 2000 {
		t.Errorf("span from %d, %d ns", start, d)
	}
	for _, w := range []struct {
		start, end uint64
		want       int64
	}{{5, 5, 0}, {5, 4, -1}, {0, 4, -1}, {5, 0, -1}, {1, 1<<63 + 1, -1}} {
		if got := duration(w.start, w.end); got != w.want {
			t.Errorf("duration %d to %d: %d, want %d", w.start, w.end, got, w.want)
		}
	}
}

// A clock that moves at every reading for weeks stays bounded and right to within a few readings.
func TestClockThins(t *testing.T) {
	var c clock
	const readings = 3 * maxSegments
	for i := uint64(1); i <= readings; i++ {
		c.add(reading(i*1000, i*1000+i*5000))
	}
	if len(c.segments) > maxSegments {
		t.Errorf("%d segments", len(c.segments))
	}
	for i := uint64(10); i < readings; i += 9973 {
		off := int64(c.moment(i*1000)) - int64(i*1000+i*5000)
		if off > 32*5000 || off < -32*5000 {
			t.Fatalf("reading %d of %d: off by %d ns", i, readings, off)
		}
	}
}

func TestClockSetBack(t *testing.T) {
	var c clock
	c.add(reading(1000, 1000))
	c.add(reading(9000, 2_000_000))
	c.add(reading(5000, 3_000_000)) // wall time was set back
	if got := int64(c.moment(6000)); got != 3_001_000 {
		t.Errorf("%d", got)
	}
	if got := int64(c.moment(2000)); got != 2000 {
		t.Errorf("%d", got)
	}
}
