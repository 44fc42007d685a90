package analyze

import (
	"slices"
	"sort"
)

// callIndex finds calls by their correlation.
type callIndex struct {
	cpu  []cpuWork
	keys []uint64 // correlation << 32 | index, in order

	byThread map[uint32][]int32 // indices, in the order of their start; nil until they are asked for
}

func newCallIndex(cpu []cpuWork) *callIndex {
	c := &callIndex{cpu: cpu}
	n := 0
	for i := range cpu {
		if cpu[i].launches() {
			n++
		}
	}
	c.keys = make([]uint64, 0, n)
	for i := range cpu {
		if w := &cpu[i]; w.launches() {
			c.keys = append(c.keys, uint64(w.correlation)<<32|uint64(uint32(i)))
		}
	}
	slices.Sort(c.keys)
	return c
}

// launches says whether work on a GPU may come from a call.
func (w *cpuWork) launches() bool {
	return w.correlation != 0 && (w.kind == cpuLaunch || w.kind == cpuCopy || w.kind == cpuSync || w.kind == cpuOther)
}

// nearby calls are looked at one by one.
const nearbyCalls = 8

// callCursor looks calls up. Work is looked at in an order that is mostly that of its calls, so that the next one is
// near the last one found.
type callCursor struct {
	*callIndex
	at int
}

// of returns the index of the first call with a correlation, -1 if there is none.
func (c *callCursor) of(correlation uint32) int {
	if correlation == 0 {
		return -1
	}
	key := uint64(correlation) << 32
	at := c.at
	if at < len(c.keys) && c.keys[at] < key {
		for end := min(at+nearbyCalls, len(c.keys)); at < end && c.keys[at] < key; at++ {
		}
	}
	if at == len(c.keys) || c.keys[at] < key || at > 0 && c.keys[at-1] >= key {
		at = sort.Search(len(c.keys), func(i int) bool { return c.keys[i] >= key })
	}
	if at == len(c.keys) || uint32(c.keys[at]>>32) != correlation {
		return -1
	}
	c.at = at
	return int(uint32(c.keys[at]))
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
