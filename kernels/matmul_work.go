package kernels

import "slices"

// The tile of the Hopper kernels, as matmul_sm90.cuh instantiates them.
const (
	hopperRows, hopperColumns = 128, 256
	hopperDepth               = 128 // bytes of K in a step
	hopperStages              = 4
	hopperCluster             = 2 // blocks, along M
	hopperGroup               = 8 // clusters' tiles along M that are in use together
	hopperWarpgroups          = 2 // that multiply
)

const (
	workWords = 4 // of an entry
	// What a block leaves of a tile for another: sums of 32 bits, and a flag with room for each warpgroup.
	placeBytes = hopperRows*hopperColumns*4 + hopperWarpgroups*128
	mostParts  = 3 // of a tile's end
	partCost   = 6 // steps that leaving sums takes, or adding them, on an H100: what 4096³ lost when 58 tiles were left to 8 clusters
)

// HopperWork is who multiplies what on Hopper: in turns of one entry for each cluster.
type HopperWork struct {
	List     []uint32 // for the kernel's `list`
	Clusters int
	Scratch  uint64 // bytes of the kernel's `scratch`, zeroes before the first launch
}

// entry is one cluster's work in a turn: steps of a tile's K, none at all if begin is end. Sums of a part that is not a tile's beginning go to
// place give - 1 (0: it is one); the beginning's cluster takes those of places take to taken.
type entry struct{ column, row, begin, end, give, take, taken int }

func (e entry) words() []uint32 {
	return []uint32{uint32(e.row<<16 | e.column), uint32(e.end<<16 | e.begin), uint32(e.give), uint32(e.taken<<16 | e.take)}
}

// HopperWork deals the product out. Tiles come in groups of rows, inside them column by column, so that what is in use at one time fits in
// L2. If the last round is not full, its tiles are cut along K, so that all multiprocessors have work until the end; where that gains nothing,
// no more clusters run than finish in the same number of rounds.
func (p Product) HopperWork(multiprocessors int) HopperWork {
	tiles := p.hopperTiles()
	clusters := min(multiprocessors/hopperCluster, len(tiles))
	full := len(tiles) / clusters * clusters
	last, places := cut(tiles[full:], clusters)
	if places == 0 {
		clusters = ceil(len(tiles), ceil(len(tiles), clusters))
	}
	w := HopperWork{Clusters: clusters, Scratch: uint64(places * hopperCluster * placeBytes)}
	for _, e := range slices.Concat(tiles[:full], last) {
		w.List = append(w.List, e.words()...)
	}
	return w
}

// hopperTiles are all tiles of clusters in their order.
func (p Product) hopperTiles() []entry {
	rows, columns := ceil(p.M, hopperRows*hopperCluster), ceil(p.N, hopperColumns)
	steps := ceil(p.K*p.Element.Bytes(), hopperDepth)
	tiles := make([]entry, 0, rows*columns)
	for first := 0; first < rows; first += hopperGroup {
		for c := range columns {
			for r := first; r < min(first+hopperGroup, rows); r++ {
				tiles = append(tiles, entry{row: r, column: c, end: steps})
			}
		}
	}
	return tiles
}

// cut deals tiles out that are fewer than the clusters: the last clusters own one each, and do its first steps; the others do the rest. Helpers
// come first, since blocks start in their order: who is waited for has started. It returns the tiles as they are, and no places, where cutting gains
// nothing.
func cut(tiles []entry, clusters int) ([]entry, int) {
	owners, helpers := len(tiles), clusters-len(tiles)
	if owners == 0 || helpers == 0 {
		return tiles, 0
	}
	steps := tiles[0].end
	best := sharing{time: steps - steps/32} // what is not worth the sums
	for own := ceil(steps, mostParts+1); own < steps; own++ {
		if d, fits := newSharing(owners, helpers, steps, own); fits && d.time < best.time {
			best = d
		}
	}
	if best.places == 0 {
		return tiles, 0
	}
	turns := 1
	for _, parts := range best.parts {
		turns = max(turns, len(parts))
	}
	list := make([]entry, turns*clusters)
	for i, t := range tiles {
		t.end = best.own
		list[helpers+i] = t
	}
	for h, parts := range best.parts {
		for turn, p := range parts {
			owner := &list[helpers+p.owner]
			if owner.taken == 0 {
				owner.take = p.place
			}
			owner.take, owner.taken = min(owner.take, p.place), max(owner.taken, p.place+1)
			list[turn*clusters+h] = entry{row: owner.row, column: owner.column, begin: p.begin, end: p.end, give: p.place + 1}
		}
	}
	return list, best.places
}

// part is a piece of an owner's tile that a helper does.
type part struct{ owner, begin, end, place int }

// sharing is who helps whom, when owners do their first `own` steps themselves.
type sharing struct {
	own, time, places int // steps; steps until all are done; how many sums are left
	parts             [][]part
}

// newSharing gives each owner's rest to the helper who has most time until the owners are done, in equal pieces where nobody has enough.
func newSharing(owners, helpers, steps, own int) (sharing, bool) {
	d := sharing{own: own, time: own, parts: make([][]part, helpers)}
	room := make([]int, helpers)
	for h := range room {
		room[h] = own - partCost
	}
	for o := range owners {
		size, first := steps-own, d.places
		if slices.Max(room) < size {
			size = ceil(size, mostParts)
		}
		for at := own; at < steps; at += size {
			h := slices.Index(room, slices.Max(room))
			if room[h] < size {
				return d, false
			}
			d.parts[h] = append(d.parts[h], part{o, at, min(at+size, steps), d.places})
			room[h] -= size + partCost
			d.places++
		}
		d.time = max(d.time, own+partCost*(d.places-first))
	}
	return d, true
}
