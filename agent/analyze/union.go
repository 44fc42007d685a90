package analyze

import (
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// unionLimit bounds the disjoint intervals that a Union keeps open for late arrivals: 16 MiB.
// Only a record that arrives after a million newer, separate intervals is then cut short.
const unionLimit = 1 << 20

// strayLimit is how many intervals that arrived out of order are merged at a time.
const strayLimit = 1 << 14

type interval struct{ start, end event.Time }

// Union measures how much time a set of intervals covers, each moment counted once. Intervals may
// arrive in any order; memory is bounded, and what that costs in exactness is counted. Its zero
// value is ready.
type Union struct {
	runs  []interval // sorted, disjoint
	stray []interval
	spare []interval // of merge, to use again
	done  int64      // ns covered before floor
	floor event.Time // intervals before it can no longer be told apart
	late  int64      // ns of intervals before floor: not counted
	limit int        // 0: unionLimit
}

// Add adds the interval from start up to, not including, end.
func (u *Union) Add(start, end event.Time) {
	if end <= start {
		return
	}
	if n := len(u.runs); n > 0 {
		last := &u.runs[n-1]
		if start >= last.start {
			if start <= last.end {
				last.end = max(last.end, end)
				return
			}
			// What begins after the last run is not before the floor.
			if n+1 < cap(u.runs) && n+1 < u.most() {
				u.runs = append(u.runs, interval{start, end})
				return
			}
			u.push(start, end)
			return
		}
		if u.insert(start, end) {
			return
		}
		u.stray = append(u.stray, interval{start, end})
		if len(u.stray) >= strayLimit {
			u.merge()
		}
		return
	}
	u.push(start, end)
}

// nearby is how many runs back a place is looked for: CUPTI delivers the kernels of overlapping
// streams by their ends, so that most of those out of order belong a few runs back.
const nearby = 48

// insert puts an interval that begins before the last run into its place, if that is nearby.
func (u *Union) insert(start, end event.Time) bool {
	n := len(u.runs)
	low := max(n-nearby, 0)
	at := n - 2
	for at >= low && u.runs[at].start > start {
		at--
	}
	if at < low {
		return false
	}
	// The run at `at` begins no later than start. It takes the interval in, or a new run follows it.
	if u.runs[at].end < start {
		at++
		if end < u.runs[at].start {
			u.runs = append(u.runs, interval{})
			copy(u.runs[at+1:], u.runs[at:])
			u.runs[at] = interval{start, end}
			return true
		}
		u.runs[at].start = start
	}
	last := at
	for last+1 < n && u.runs[last+1].start <= end {
		last++
	}
	u.runs[at].end = max(u.runs[at].end, u.runs[last].end, end)
	if last > at {
		u.runs = append(u.runs[:at+1], u.runs[last+1:]...)
	}
	return true
}

func (u *Union) push(start, end event.Time) {
	if start < u.floor {
		u.late += int64(min(end, u.floor) - start)
		if end <= u.floor {
			return
		}
		start = u.floor
	}
	u.runs = append(u.runs, interval{start, end})
	if len(u.runs) >= u.most() {
		u.merge()
		u.settle(u.most() / 2)
	}
}

// most is how many runs are kept.
func (u *Union) most() int {
	if u.limit != 0 {
		return u.limit
	}
	return unionLimit
}

// settle closes the oldest runs until keep are left.
func (u *Union) settle(keep int) {
	n := len(u.runs) - keep
	if n <= 0 {
		return
	}
	for _, r := range u.runs[:n] {
		u.done += int64(r.end - r.start)
	}
	u.floor = u.runs[n-1].end
	u.runs = append(u.runs[:0], u.runs[n:]...)
}

// merge brings the strays into the runs.
func (u *Union) merge() {
	if len(u.stray) == 0 {
		return
	}
	slices.SortFunc(u.stray, func(a, b interval) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	first := u.stray[0].start
	from := sort.Search(len(u.runs), func(i int) bool { return u.runs[i].end >= first })
	u.spare = append(u.spare[:0], u.runs[from:]...)
	tail := u.spare
	u.runs = u.runs[:from]
	stray := u.stray
	for len(tail) > 0 || len(stray) > 0 {
		if len(stray) == 0 || (len(tail) > 0 && tail[0].start <= stray[0].start) {
			u.extend(tail[0])
			tail = tail[1:]
			continue
		}
		u.extend(stray[0])
		stray = stray[1:]
	}
	u.stray = u.stray[:0]
}

// extend appends i, whose start is not before those of the runs.
func (u *Union) extend(i interval) {
	if i.start < u.floor {
		u.late += int64(min(i.end, u.floor) - i.start)
		if i.end <= u.floor {
			return
		}
		i.start = u.floor
	}
	if n := len(u.runs); n > 0 && i.start <= u.runs[n-1].end {
		u.runs[n-1].end = max(u.runs[n-1].end, i.end)
		return
	}
	u.runs = append(u.runs, i)
}

// Total returns the time covered, in ns.
func (u *Union) Total() int64 {
	u.merge()
	total := u.done
	for _, r := range u.runs {
		total += int64(r.end - r.start)
	}
	return total
}

// Late returns the ns of intervals that arrived too late to be told apart from what is counted
// already: the total may be too small by up to that much. It is 0 but for badly disordered input.
func (u *Union) Late() int64 { return u.late }
