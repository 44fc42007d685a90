package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Sort keys. Figures sort from the largest, names from A to Z.
const (
	SortTotal  = "total" // time; of memory: bytes at the peak; of streams: busy time
	SortCount  = "count"
	SortMean   = "mean"
	SortMedian = "median"
	SortP99    = "p99"
	SortMax    = "max"
	SortName   = "name"
	SortBytes  = "bytes" // of copies; of memory: bytes at the peak
	SortRate   = "rate"  // of copies
	SortGPU    = "gpu"   // of NVTX ranges: GPU time inside
	SortLive   = "live"  // of memory: bytes at the end
)

// sorts says which keys each summary knows.
var sorts = map[Part][]string{
	PartKernels: {SortTotal, SortCount, SortMean, SortMedian, SortP99, SortMax, SortName},
	PartCopies:  {SortTotal, SortCount, SortMean, SortMedian, SortP99, SortMax, SortName, SortBytes, SortRate},
	PartStreams: {SortTotal, SortCount, SortName},
	PartCalls:   {SortTotal, SortCount, SortMean, SortMedian, SortP99, SortMax, SortName},
	PartMemory:  {SortTotal, SortCount, SortName, SortBytes, SortLive},
	PartRanges:  {SortTotal, SortCount, SortMean, SortMedian, SortP99, SortMax, SortName, SortGPU},

	PartOperators: {SortTotal, SortCount, SortName, SortGPU, SortBytes},
}

// SortKeys returns the keys that at least one of parts can be sorted by.
func SortKeys(parts Part) []string {
	var keys []string
	for _, key := range []string{SortTotal, SortCount, SortMean, SortMedian, SortP99, SortMax, SortName, SortBytes, SortRate, SortGPU, SortLive} {
		for part, known := range sorts {
			if parts&part != 0 && slices.Contains(known, key) && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Arrange sorts what r holds by a key ("": as it is), and keeps the first top rows of each list
// (0: all). How many were left out stands beside each list.
func (r *Inspection) Arrange(key string, top int) error {
	parts := r.parts()
	if key != "" && !slices.Contains(SortKeys(parts), key) {
		return fmt.Errorf("sort by %q: not one of %s", key, strings.Join(SortKeys(parts), ", "))
	}
	has := func(p Part) bool { return parts&p != 0 && slices.Contains(sorts[p], key) }
	if has(PartKernels) {
		arrange(r.Kernels.Groups, key, func(g *KernelGroup) (*Spread, string) { return &g.Spread, g.Name })
	}
	if has(PartCopies) {
		switch key {
		case SortBytes:
			slices.SortStableFunc(r.Copies.Groups, func(x, y CopyGroup) int { return cmp.Compare(y.Bytes, x.Bytes) })
		case SortRate:
			slices.SortStableFunc(r.Copies.Groups, func(x, y CopyGroup) int { return cmp.Compare(y.BytesPerSecond, x.BytesPerSecond) })
		default:
			arrange(r.Copies.Groups, key, func(g *CopyGroup) (*Spread, string) { return &g.Spread, g.Name })
		}
	}
	if has(PartCalls) {
		arrange(r.Calls.APIs, key, func(g *CallRow) (*Spread, string) { return &g.Spread, g.Name })
	}
	if has(PartRanges) {
		if key == SortGPU {
			slices.SortStableFunc(r.Ranges.Ranges, func(x, y RangeRow) int { return cmp.Compare(y.GPUNS, x.GPUNS) })
		} else {
			arrange(r.Ranges.Ranges, key, func(g *RangeRow) (*Spread, string) { return &g.Spread, g.Name })
		}
	}
	if has(PartStreams) {
		slices.SortStableFunc(r.Streams.Streams, func(x, y StreamRow) int {
			switch key {
			case SortCount:
				return cmp.Compare(y.Kernels+y.Copies+y.Sets+y.Graphs, x.Kernels+x.Copies+x.Sets+x.Graphs)
			case SortName:
				return cmp.Compare(x.Name, y.Name)
			}
			return cmp.Compare(y.BusyNS, x.BusyNS)
		})
	}
	if has(PartMemory) {
		r.Memory.arrange(key)
	}
	if has(PartOperators) {
		r.Operators.arrange(key)
	}
	r.trim(top)
	return nil
}

func (r *Inspection) parts() Part {
	var p Part
	for part, there := range map[Part]bool{
		PartKernels: r.Kernels != nil, PartCopies: r.Copies != nil, PartStreams: r.Streams != nil,
		PartCalls: r.Calls != nil, PartMemory: r.Memory != nil, PartRanges: r.Ranges != nil,
		PartOperators: r.Operators != nil,
	} {
		if there {
			p |= part
		}
	}
	return p
}

func arrange[T any](rows []T, key string, get func(*T) (*Spread, string)) {
	slices.SortStableFunc(rows, func(x, y T) int {
		a, nameA := get(&x)
		b, nameB := get(&y)
		switch key {
		case SortCount:
			return cmp.Compare(b.Count, a.Count)
		case SortMean:
			return cmp.Compare(b.MeanNS, a.MeanNS)
		case SortMedian:
			return cmp.Compare(b.MedianNS, a.MedianNS)
		case SortP99:
			return cmp.Compare(b.P99NS, a.P99NS)
		case SortMax:
			return cmp.Compare(b.MaxNS, a.MaxNS)
		case SortName:
			return cmp.Compare(nameA, nameB)
		}
		return cmp.Compare(b.TotalNS, a.TotalNS)
	})
}

func (m *MemorySummary) arrange(key string) {
	for i := range m.Processes {
		for j := range m.Processes[i].Totals {
			slices.SortStableFunc(m.Processes[i].Totals[j].Libraries, func(x, y LibraryRow) int {
				switch key {
				case SortCount:
					return cmp.Compare(y.Allocated, x.Allocated)
				case SortName:
					return cmp.Compare(x.Library, y.Library)
				case SortLive:
					return cmp.Compare(y.LiveBytes, x.LiveBytes)
				}
				return cmp.Compare(y.AtPeakBytes, x.AtPeakBytes)
			})
		}
	}
}

// trim keeps the first top rows of each list.
func (r *Inspection) trim(top int) {
	if top <= 0 {
		return
	}
	if k := r.Kernels; k != nil {
		k.Groups, k.Omitted = first(k.Groups, top)
	}
	if c := r.Copies; c != nil {
		c.Groups, c.Omitted = first(c.Groups, top)
	}
	if c := r.Calls; c != nil {
		c.APIs, c.Omitted = first(c.APIs, top)
	}
	if s := r.Streams; s != nil {
		s.Streams, s.Omitted = first(s.Streams, top)
	}
	if n := r.Ranges; n != nil {
		n.Ranges, n.Omitted = first(n.Ranges, top)
	}
	if o := r.Operators; o != nil {
		o.Rows, o.Omitted = first(o.Rows, top)
	}
	if m := r.Memory; m != nil {
		for i := range m.Processes {
			p := &m.Processes[i]
			p.Largest, p.OmittedLargest = first(p.Largest, top)
			p.Failures, p.OmittedFailures = first(p.Failures, top)
			for j := range p.Totals {
				p.Totals[j].Libraries, p.Totals[j].Omitted = first(p.Totals[j].Libraries, top)
			}
		}
	}
}

func first[T any](rows []T, n int) ([]T, int) {
	if len(rows) <= n {
		return rows, 0
	}
	return rows[:n], len(rows) - n
}
