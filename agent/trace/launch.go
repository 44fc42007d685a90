package trace

import (
	"math/rand/v2"

	"github.com/warpscope/warpscope/agent/event"
)

// A kernel that finds the GPU idle starts a fixed time after the call that launched it returns. So where
// that is so, the kernel tells when the call was.

// unlaunched is the start of what a call did not launch.
const unlaunched = int64(-1) << 63

// launches finds, for each call, when the kernel it launched began.
type launches struct {
	starts []int64  // by call; unlaunched: none
	table  []uint64 // open addressing: a correlation, and the number of its kernel and one
	seed   uint64   // so that no file can be made to collide in it
	scale  uint     // calls' times are in units of 2^scale ns; starts are in ns
}

// slot returns where in the table to begin looking for a correlation.
func (l *launches) slot(correlation uint32) uint32 { return uint32(uint64(correlation) * l.seed >> 32) }

// find sets starts for the calls of b, from row first on.
func (l *launches) find(b *event.Batch, first, n int) {
	size := 1024
	for size < 2*len(b.Kernels.Start) {
		size *= 2
	}
	if l.seed == 0 {
		l.seed = rand.Uint64() | 1
	}
	l.table, l.starts = resize(l.table, size), resize(l.starts, n)
	clear(l.table)
	mask := uint32(size - 1)
	for row, c := range b.Kernels.Correlation {
		for at := l.slot(c) & mask; ; at = (at + 1) & mask {
			if l.table[at] == 0 {
				l.table[at] = uint64(c)<<32 | uint64(row+1)
			}
			if uint32(l.table[at]>>32) == c {
				break // the first of several
			}
		}
	}
	for i, c := range b.Calls.Correlation[first : first+n] {
		l.starts[i] = unlaunched
		for at := l.slot(c) & mask; l.table[at] != 0; at = (at + 1) & mask {
			if uint32(l.table[at]>>32) == c {
				l.starts[i] = int64(b.Kernels.Start[uint32(l.table[at])-1])
				break
			}
		}
	}
}

// lag returns how long after the end of its call a kernel most often starts; false if that is no matter
// of a few microseconds.
func (l *launches) lag(enters, durations []uint64) (int64, bool) {
	const bin, bins, least = 128, 256, -8 << 10 // ns; a kernel can start before its call returns
	var count [bins]int
	for i, s := range l.starts {
		if d := s - int64((enters[i]+durations[i])<<l.scale) - least; s != unlaunched && d >= 0 && d < bin*bins {
			count[d/bin]++
		}
	}
	best, near := 0, 0
	for i := 1; i < bins-1; i++ {
		if n := count[i-1] + count[i] + count[i+1]; n > near {
			best, near = i, n
		}
	}
	return least + int64(best)*bin + bin/2, near*32 > len(l.starts)
}

// expect returns when the call in row i began: going by the calls before it at expected, or where that
// is not far, going by the kernel that it launched.
func (l *launches) expect(i int, expected, duration int64, c *coding) int64 {
	if s := l.starts[i]; s != unlaunched {
		if t := (s-c.lag)>>l.scale - duration; t-expected < c.reach && expected-t < c.reach {
			return t
		}
	}
	return expected
}

// residuals is residuals for the chain of launches.
func (l *launches) residuals(values []uint64, c *coding, slots []uint32, durations []uint64, m *memory) uint64 {
	m.forget()
	base := values[0]
	before := int64(base)
	for i, v := range values {
		duration := int64(durations[i])
		values[i] = zigzag(int64(v) - l.expect(i, before+m.predict(slots[i]), duration, c))
		m.learn(slots[i], int64(v)-before)
		before = int64(v) + max(0, duration)
	}
	return base
}

// restore is restore for the chain of launches.
func (l *launches) restore(values []uint64, base uint64, c *coding, slots []uint32, durations []uint64, m *memory) {
	m.forget()
	before := int64(base)
	for i, r := range values {
		duration := int64(durations[i])
		v := unzigzag(r) + l.expect(i, before+m.predict(slots[i]), duration, c)
		m.learn(slots[i], v-before)
		values[i] = uint64(v)
		before = v + max(0, duration)
	}
}
