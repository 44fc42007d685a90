package analyze

import (
	"cmp"
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// mostMoves is how often, in the mean, a record may be moved before its list is sorted as one without any order.
const mostMoves = 8

// inOrder sorts a list by time; what is of the same time stays in its order. Lists of records are rows that are in order and
// overlap a little at their ends: each is merged into those before.
func inOrder[T any](list []T, at func(*T) event.Time) {
	var spare []T
	moves := mostMoves * len(list)
	for end := 1; end < len(list); {
		if at(&list[end-1]) <= at(&list[end]) {
			end++
			continue
		}
		// What comes next up to the first that is as late as the last one, and in order, is merged.
		last, to := at(&list[end-1]), end+1
		for to < len(list) && at(&list[to-1]) <= at(&list[to]) && at(&list[to]) < last {
			to++
		}
		first := at(&list[end])
		from := sort.Search(end, func(i int) bool { return at(&list[i]) > first })
		if moves -= to - from; moves < 0 {
			reorder(list, at)
			return
		}
		spare = append(spare[:0], list[end:to]...)
		old := end - 1
		for i, n := to-1, len(spare)-1; n >= 0; i-- {
			if old >= from && at(&list[old]) > at(&spare[n]) {
				list[i] = list[old]
				old--
				continue
			}
			list[i] = spare[n]
			n--
		}
		end = to
	}
}

// reorder sorts a list by time.
func reorder[T any](list []T, at func(*T) event.Time) {
	type place struct {
		t event.Time
		i int32
	}
	places := make([]place, len(list))
	for i := range list {
		places[i] = place{at(&list[i]), int32(i)}
	}
	slices.SortFunc(places, func(x, y place) int {
		if x.t != y.t {
			return cmp.Compare(x.t, y.t)
		}
		return cmp.Compare(x.i, y.i)
	})
	before := slices.Clone(list)
	for i, p := range places {
		list[i] = before[p.i]
	}
}
