package kernels

import (
	"slices"
	"testing"
)

// TestHopperWorkIsDoneOnce wants every step of every tile done once, sums taken by who begins the tile from clusters that start before it, and
// less time where tiles are cut.
func TestHopperWorkIsDoneOnce(t *testing.T) {
	for _, shape := range [][3]int{
		{16, 16, 16}, {16, 528, 4096}, {1040, 784, 2064}, {4096, 4096, 4096}, {8192, 8192, 8192}, {8192, 8192, 512}, {16384, 16384, 16384}, {4096, 14336, 4096},
		{5008, 5008, 5008}, {256 * 67, 256, 8192}, {256, 65536, 64},
	} {
		for _, multiprocessors := range []int{2, 4, 64, 114, 132} {
			checkWork(t, Product{Element: BFloat16, M: shape[0], N: shape[1], K: shape[2]}, multiprocessors)
		}
	}
}

// TestHopperCutsWhatLeavesMultiprocessorsIdle says by example which products are cut.
func TestHopperCutsWhatLeavesMultiprocessorsIdle(t *testing.T) {
	for _, c := range []struct {
		shape    [3]int
		clusters int
		cut      bool
	}{
		{[3]int{8192, 8192, 8192}, 66, true},     // 15.5 tiles a cluster
		{[3]int{4096, 4096, 4096}, 64, false},    // 3.9: 8 clusters cannot help 58
		{[3]int{8192, 8192, 256}, 64, false},     // too short
		{[3]int{256 * 66, 256, 4096}, 66, false}, // comes out even
		{[3]int{16, 16, 16}, 1, false},
	} {
		w := Product{Element: BFloat16, M: c.shape[0], N: c.shape[1], K: c.shape[2]}.HopperWork(132)
		if w.Clusters != c.clusters || w.Scratch > 0 != c.cut {
			t.Errorf("%v: %d clusters, %d bytes for sums, want %d, cut: %t", c.shape, w.Clusters, w.Scratch, c.clusters, c.cut)
		}
	}
}

func checkWork(t *testing.T, p Product, multiprocessors int) {
	t.Helper()
	type tile struct{ row, column int }
	type given struct {
		tile
		cluster int
	}
	w := p.HopperWork(multiprocessors)
	done, places := map[tile][][2]int{}, map[int]given{}
	list := entries(w)
	for i, e := range list {
		at := tile{e.row, e.column}
		if e.begin < e.end {
			done[at] = append(done[at], [2]int{e.begin, e.end})
		}
		if e.give > 0 {
			if _, twice := places[e.give-1]; twice || e.begin == 0 {
				t.Fatalf("%v on %d: place %d is given by %+v, not alone", p, multiprocessors, e.give-1, e)
			}
			places[e.give-1] = given{at, i % w.Clusters}
		}
	}
	taken := 0
	for i, e := range list {
		for at := e.take; at < e.taken; at++ {
			if g := places[at]; g.tile != (tile{e.row, e.column}) || g.cluster >= i%w.Clusters || e.begin > 0 {
				t.Fatalf("%v on %d: cluster %d takes what %+v left for %+v", p, multiprocessors, i%w.Clusters, g, e)
			}
			taken++
		}
	}
	tiles, steps := ceil(p.M, hopperCluster*hopperRows)*ceil(p.N, hopperColumns), ceil(p.K*p.Element.Bytes(), hopperDepth)
	if len(done) != tiles || taken != len(places) || w.Scratch != uint64(taken*hopperCluster*placeBytes) {
		t.Errorf("%v on %d: %d of %d tiles, %d of %d sums taken, %d bytes", p, multiprocessors, len(done), tiles, taken, len(places), w.Scratch)
	}
	for at, parts := range done {
		slices.SortFunc(parts, func(a, b [2]int) int { return a[0] - b[0] })
		end := 0
		for _, part := range parts {
			if part[0] != end {
				t.Fatalf("%v on %d: parts of %v are %v", p, multiprocessors, at, parts)
			}
			end = part[1]
		}
		if end != steps {
			t.Fatalf("%v on %d: parts of %v are %v of %d steps", p, multiprocessors, at, parts, steps)
		}
	}
	if w.Clusters*hopperCluster > multiprocessors {
		t.Errorf("%v: %d clusters on %d multiprocessors would wait for each other", p, w.Clusters, multiprocessors)
	}
	if uncut := ceil(tiles, multiprocessors/hopperCluster) * steps; slowest(w) > uncut {
		t.Errorf("%v on %d: the slowest cluster takes %d steps, %d without cutting", p, multiprocessors, slowest(w), uncut)
	}
}

func entries(w HopperWork) []entry {
	var list []entry
	for i := 0; i < len(w.List); i += workWords {
		a, b, c, d := int(w.List[i]), int(w.List[i+1]), int(w.List[i+2]), int(w.List[i+3])
		list = append(list, entry{column: a & 0xffff, row: a >> 16, begin: b & 0xffff, end: b >> 16, give: c, take: d & 0xffff, taken: d >> 16})
	}
	return list
}

// slowest is the most steps that a cluster has, sums counted as cut counts them.
func slowest(w HopperWork) int {
	load := make([]int, w.Clusters)
	for i, e := range entries(w) {
		n := e.end - e.begin + partCost*(e.taken-e.take)
		if e.give > 0 {
			n += partCost
		}
		load[i%w.Clusters] += n
	}
	return slices.Max(load)
}
