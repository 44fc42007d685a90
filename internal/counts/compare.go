package counts

import (
	"slices"
	"strings"
)

// row is one figure, seen from both sides.
type row struct {
	what            string
	traced, counted uint64
}

func (r row) equal() bool { return r.traced == r.counted }

// directions are the copy kinds that programs count, in CUPTI's and in warpscope's words.
var directions = [][2]string{
	{"HtoD", "host to device"}, {"DtoH", "device to host"}, {"DtoD", "device to device"},
	{"HtoH", "host to host"}, {"PtoP", "peer to peer"},
}

// compare lists every figure that the count has.
func compare(traced *inspection, counted *count) []row {
	var rows []row
	add := func(what string, traced uint64, counted *uint64) {
		if counted != nil {
			rows = append(rows, row{what, traced, *counted})
		}
	}
	none := uint64(0)
	if !traced.Losses.Known {
		// A count can be equal by chance; a trace that does not know its losses is not whole.
		rows = append(rows, row{"losses known (1: yes)", 0, 1})
	}
	add("records lost", traced.Losses.Lost, &none)

	var kernels uint64
	if traced.Kernels != nil {
		kernels = traced.Kernels.All.Count
	}
	add("kernels", kernels, counted.Kernels)
	rows = append(rows, kernelRows(traced, counted)...)

	var copies, sets, setBytes uint64
	byKind := map[string]moved{}
	if c := traced.Copies; c != nil {
		copies = c.All.Count
		for _, g := range c.Groups {
			m := byKind[g.Kind]
			byKind[g.Kind] = moved{m.Count + g.Count, m.Bytes + g.Bytes}
		}
		for _, g := range c.Sets {
			sets += g.Count
			setBytes += g.Bytes
		}
	}
	add("copies", copies, counted.Copies)
	for _, d := range directions {
		var m moved
		found := false
		for kind, k := range counted.CopiesByKind {
			if kind == d[0] || strings.HasPrefix(kind, d[0]+" ") {
				m, found = moved{m.Count + k.Count, m.Bytes + k.Bytes}, true
			}
		}
		if found {
			add("copies "+d[1], byKind[d[1]].Count, &m.Count)
			add("bytes copied "+d[1], byKind[d[1]].Bytes, &m.Bytes)
		}
	}
	add("sets", sets, counted.Sets)
	add("bytes set", setBytes, counted.SetBytes)

	var launches, ranges uint64
	if traced.GraphLaunches != nil {
		launches = traced.GraphLaunches.Count
	}
	add("graph launches", launches, counted.GraphLaunches)
	if traced.Ranges != nil {
		for _, g := range traced.Ranges.Ranges {
			ranges += g.Count
		}
	}
	add("NVTX ranges", ranges, counted.Ranges)

	allocations, bytes, releases, failed, failedBytes := traced.memory()
	add("allocations on GPUs", allocations, counted.Allocations)
	add("bytes allocated on GPUs", bytes, counted.AllocatedBytes)
	add("releases on GPUs", releases, counted.Releases)
	add("failed calls", failed, counted.Failed)
	add("bytes asked for by failed calls", failedBytes, counted.FailedBytes)
	return rows
}

// kernelRows compares kernels name by name. Two demanglers need not write a name alike; where names
// differ, the numbers of launches must still pair off, so they are compared in order of size.
func kernelRows(traced *inspection, counted *count) []row {
	if counted.KernelsByName == nil || traced.Kernels == nil {
		return nil
	}
	left := map[string]uint64{}
	for name, n := range counted.KernelsByName {
		if n > 0 {
			left[plain(name)] += n
		}
	}
	var other []uint64 // launches of traced kernels whose name was not counted
	var rows []row
	same := row{what: "kernels with a name known to both"}
	for _, g := range traced.Kernels.Groups {
		name := plain(g.Name)
		n, ok := left[name]
		if !ok {
			other = append(other, g.Count)
			continue
		}
		delete(left, name)
		if g.Count != n {
			rows = append(rows, row{"kernels " + shorten(name), g.Count, n})
		}
		same.traced += g.Count
		same.counted += n
	}
	rows = append(rows, same)
	var rest []uint64
	for _, n := range left {
		rest = append(rest, n)
	}
	slices.Sort(other)
	slices.Sort(rest)
	for i := range max(len(other), len(rest)) {
		r := row{what: "kernels whose names are written differently"}
		if i < len(other) {
			r.traced = other[len(other)-1-i]
		}
		if i < len(rest) {
			r.counted = rest[len(rest)-1-i]
		}
		rows = append(rows, r)
	}
	return rows
}

// plain removes what demanglers write differently.
func plain(name string) string { return strings.ReplaceAll(name, " ", "") }

func shorten(name string) string {
	if len(name) > 32 {
		return name[:32] + "…"
	}
	return name
}
