package analyze

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// callIndex finds calls by their correlation.
type callIndex struct {
	cpu []cpuWork
	at  []uint32 // index and 1; 0: free
	// Most often correlations are a range with few holes: at is by their distance from base. Else it is a table with
	// linear probing, by a random multiple: a damaged trace must not make it slow.
	dense bool
	base  uint32
	times uint64
	shift int

	byThread map[uint32][]int32 // indices, in the order of their start; nil until they are asked for
}

func newCallIndex(cpu []cpuWork) *callIndex {
	c := &callIndex{cpu: cpu}
	low, high, n := uint32(math.MaxUint32), uint32(0), 0
	for i := range cpu {
		if w := &cpu[i]; w.launches() {
			low, high = min(low, w.correlation), max(high, w.correlation)
			n++
		}
	}
	switch {
	case n == 0:
		c.dense = true
	case uint64(high-low) < 8*uint64(n)+1024:
		c.dense, c.base, c.at = true, low, make([]uint32, high-low+1)
	default:
		size := bits.Len(uint(2 * n))
		c.at, c.shift, c.times = make([]uint32, 1<<size), 64-size, rand.Uint64()|1
	}
	for i := range cpu {
		// Of several calls with one number it is the first.
		if w := &cpu[i]; w.launches() {
			if slot := c.slot(w.correlation); c.at[slot] == 0 {
				c.at[slot] = uint32(i) + 1
			}
		}
	}
	return c
}

// slot returns where a correlation is, or would be.
func (c *callIndex) slot(correlation uint32) uint32 {
	if c.dense {
		return correlation - c.base
	}
	slot := uint32(uint64(correlation) * c.times >> c.shift)
	for c.at[slot] != 0 && c.cpu[c.at[slot]-1].correlation != correlation {
		slot = (slot + 1) & uint32(len(c.at)-1)
	}
	return slot
}

// launches says whether work on a GPU may come from a call.
func (w *cpuWork) launches() bool {
	return w.correlation != 0 && (w.kind == cpuLaunch || w.kind == cpuCopy || w.kind == cpuSync || w.kind == cpuOther)
}

// of returns the index of the call with a correlation, -1 if there is none.
func (c *callIndex) of(correlation uint32) int {
	if correlation == 0 {
		return -1
	}
	slot := c.slot(correlation)
	if slot >= uint32(len(c.at)) {
		return -1
	}
	return int(c.at[slot]) - 1
}

// threads returns the calls of each thread, by their indices.
func (c *callIndex) threads() map[uint32][]int32 {
	if c.byThread != nil {
		return c.byThread
	}
	counts := make(map[uint32]int)
	for i := range c.cpu {
		counts[c.cpu[i].thread]++
	}
	c.byThread = make(map[uint32][]int32, len(counts))
	for thread, n := range counts {
		c.byThread[thread] = make([]int32, 0, n)
	}
	for i := range c.cpu {
		thread := c.cpu[i].thread
		c.byThread[thread] = append(c.byThread[thread], int32(i))
	}
	return c.byThread
}
