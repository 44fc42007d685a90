package analyze

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// RangeSummary says how long NVTX ranges took, and how much of the GPUs' work was launched from
// inside them.
type RangeSummary struct {
	// BusyNS is what GPUShare is a share of.
	BusyNS int64 `json:"gpu_busy_ns"`
	// Ranges is in descending order of total time. Nested ranges are counted in each of them.
	Ranges  []RangeRow `json:"ranges"`
	Omitted int        `json:"omitted"`
	// OutsideNS is the GPU time launched outside any range, UnjoinedNS that whose launching call
	// is not in the trace.
	OutsideNS  int64 `json:"gpu_outside_ns"`
	UnjoinedNS int64 `json:"gpu_unjoined_ns"`
	// UnmatchedEnds counts ends whose start is not in the trace.
	UnmatchedEnds uint64 `json:"unmatched_ends"`
}

// RangeRow is all ranges with one text in one domain, and the marks with it.
type RangeRow struct {
	Key
	Spread
	Open  uint64 `json:"still_open"` // at the end of the trace
	Marks uint64 `json:"marks"`
	// GPUNS is the sum of the durations of kernels, copies and fills whose launch lay inside.
	GPUNS    int64   `json:"gpu_ns"`
	GPUShare float64 `json:"gpu_share"`
	Kernels  uint64  `json:"kernels"`
	// EstimatedNS is the part of GPUNS that was put here by time, not by the launching thread:
	// its thread had no range of its own, or its call was not recorded.
	EstimatedNS int64 `json:"gpu_estimated_ns"`
}

type rangeGroup struct {
	domain, text event.StringID
	other        bool
	spread       Distribution
	open, marks  uint64
	gpu          gpuSum
}

// gpuSum adds up GPU work.
type gpuSum struct {
	time, estimated int64
	kernels         uint64
}

func (g *gpuSum) add(o gpuSum) {
	g.time += o.time
	g.estimated += o.estimated
	g.kernels += o.kernels
}

// rangeNode is a nesting of ranges: its parent's, and one more.
type rangeNode struct {
	parent, key uint32
	again       bool // a range with the same key is around it
	gpu         gpuSum
}

type nodeKey struct{ parent, key uint32 }

// maxRangeGroups bounds the texts kept apart, maxSets the combinations of start/end ranges.
const (
	maxRangeGroups = 1 << 16
	maxSets        = 1 << 14
	maxInSets      = 1 << 16
)

// rangeTable joins ranges and GPU work of all processes.
type rangeTable struct {
	a         *Analysis
	sweeps    map[event.ProcessID]*sweep
	keys      map[[2]event.StringID]uint32
	groups    []*rangeGroup
	nodes     []rangeNode // 0: outside any range of a thread
	children  map[nodeKey]uint32
	sets      [][]uint32 // keys of start/end ranges; 0: none
	setIndex  map[string]uint32
	inSets    map[[2]uint32]*gpuSum // by set and node: work inside start/end ranges
	domains   pythonDomains
	operators *operatorTable // nil: ranges of the program
	unjoined  int64
	unmatched uint64
}

func newRangeTable(a *Analysis) *rangeTable {
	return &rangeTable{
		a: a, sweeps: make(map[event.ProcessID]*sweep), keys: make(map[[2]event.StringID]uint32),
		nodes: []rangeNode{{}}, children: make(map[nodeKey]uint32), sets: [][]uint32{nil},
		setIndex: map[string]uint32{"": 0}, inSets: make(map[[2]uint32]*gpuSum),
	}
}

// takes says whether a marker belongs here: what the module for Python recorded of operators belongs to their own table,
// which takes nothing else.
func (t *rangeTable) takes(m *event.Markers, i int) bool {
	kind := t.domains.of(&t.a.tables, m.Domain[i])
	if t.operators != nil {
		return t.operators.takes(kind, m, i)
	}
	return kind <= pythonRange
}

func (t *rangeTable) add(p *process, b *event.Batch) {
	s := t.sweeps[p.id]
	if s == nil {
		s = newSweep(t, p)
		t.sweeps[p.id] = s
	}
	s.add(b)
}

func (t *rangeTable) finish() {
	for _, s := range t.sweeps {
		s.finish()
	}
}

func (t *rangeTable) key(domain, text event.StringID) uint32 {
	at, ok := t.keys[[2]event.StringID{domain, text}]
	if !ok {
		if len(t.groups) > maxRangeGroups {
			return maxRangeGroups
		}
		at = uint32(len(t.groups))
		t.groups = append(t.groups, &rangeGroup{domain: domain, text: text, other: at == maxRangeGroups})
		if at < maxRangeGroups {
			t.keys[[2]event.StringID{domain, text}] = at
		}
	}
	return at
}

func (t *rangeTable) group(domain, text event.StringID) *rangeGroup {
	return t.groups[t.key(domain, text)]
}

func (t *rangeTable) child(parent, key uint32) uint32 {
	k := nodeKey{parent, key}
	at, ok := t.children[k]
	if !ok {
		if len(t.nodes) >= maxNodes {
			return parent
		}
		at = uint32(len(t.nodes))
		t.nodes = append(t.nodes, rangeNode{parent: parent, key: key, again: t.within(parent, key)})
		t.children[k] = at
	}
	return at
}

// within says whether a nesting has a range with the key.
func (t *rangeTable) within(node, key uint32) bool {
	for ; node != 0; node = t.nodes[node].parent {
		if t.nodes[node].key == key {
			return true
		}
	}
	return false
}

// internSet returns the number of a combination of start/end ranges.
func (t *rangeTable) internSet(open []openRange) uint32 {
	keys := make([]uint32, 0, len(open))
	for _, o := range open {
		keys = append(keys, o.key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	name := make([]byte, 0, 4*len(keys))
	for _, k := range keys {
		name = binary.LittleEndian.AppendUint32(name, k)
	}
	at, ok := t.setIndex[string(name)]
	if !ok && len(t.sets) < maxSets {
		at = uint32(len(t.sets))
		t.sets = append(t.sets, keys)
		t.setIndex[string(name)] = at
	}
	return at
}

func (t *rangeTable) closed(o *openRange, end event.Time) {
	if !t.a.span.has(o.start) {
		return
	}
	if d := int64(end - o.start); uint64(d) < maxDuration {
		t.groups[o.key].spread.Add(d)
	}
}

func (t *rangeTable) open(o *openRange) {
	if t.a.span.has(o.start) {
		t.groups[o.key].open++
	}
}

// attribute adds work to where it was launched.
func (t *rangeTable) attribute(at place, w *work) {
	if t.operators != nil {
		t.operators.attribute(at, w)
		return
	}
	if w.kernel && t.a.config.GroupBy == ByRange {
		t.a.kernels.addOne(t.kernelGroup(at), w.launch, w.duration, t.kernelKey)
	}
	sum := gpuSum{}
	if w.kernel {
		sum.kernels = 1
	}
	if uint64(w.duration) < maxDuration {
		sum.time = w.duration
		if at.byTime {
			sum.estimated = w.duration
		}
	}
	t.nodes[at.node].gpu.add(sum)
	if at.set != 0 {
		k := [2]uint32{at.set, at.node}
		in := t.inSets[k]
		if in == nil {
			if len(t.inSets) >= maxInSets {
				return
			}
			in = &gpuSum{}
			t.inSets[k] = in
		}
		in.add(sum)
	}
}

// orphan adds work whose launching call is not in the trace.
func (t *rangeTable) orphan(w *work) {
	if t.operators != nil {
		return
	}
	if w.kernel && t.a.config.GroupBy == ByRange {
		t.a.kernels.addOne(unjoinedGroup, w.launch, w.duration, t.kernelKey)
	}
	if uint64(w.duration) < maxDuration {
		t.unjoined += w.duration
	}
}

// Groups of kernels by range: 0 is outside any range, those of ranges are one higher than their key.
const unjoinedGroup = maxRangeGroups + 2

func (t *rangeTable) kernelGroup(at place) uint32 {
	switch {
	case at.node != 0:
		return t.nodes[at.node].key + 1
	case at.set != 0:
		return t.sets[at.set][0] + 1
	}
	return 0
}

func (t *rangeTable) kernelKey(group uint32) Key {
	switch group {
	case 0:
		return Key{Name: "(outside any range)"}
	case unjoinedGroup:
		return Key{Name: "(launching call not recorded)"}
	}
	return t.name(t.groups[group-1])
}

func (t *rangeTable) name(g *rangeGroup) Key {
	if g.other {
		return Key{Name: "(other ranges)"}
	}
	k := Key{Name: t.a.tables.String(g.text), Domain: t.a.tables.String(g.domain)}
	if k.Name == "" {
		k.Name = "(no text)"
	}
	return k
}

// summary computes the result.
func (t *rangeTable) summary(busy int64) *RangeSummary {
	s := &RangeSummary{BusyNS: busy, Ranges: []RangeRow{}, UnjoinedNS: t.unjoined, UnmatchedEnds: t.unmatched}
	// A nesting is made after the one around it: from the last to the first, each is complete
	// when its turn comes.
	s.OutsideNS = t.nodes[0].gpu.time
	for i := len(t.nodes) - 1; i > 0; i-- {
		n := &t.nodes[i]
		if !n.again {
			t.groups[n.key].gpu.add(n.gpu)
		}
		if n.parent != 0 {
			t.nodes[n.parent].gpu.add(n.gpu)
		}
	}
	for at, sum := range t.inSets {
		if at[1] == 0 {
			s.OutsideNS -= sum.time
		}
		for _, key := range t.sets[at[0]] {
			if !t.within(at[1], key) {
				t.groups[key].gpu.add(*sum)
			}
		}
	}
	for _, g := range t.groups {
		row := RangeRow{
			Key: t.name(g), Spread: g.spread.Spread(), Open: g.open, Marks: g.marks,
			GPUNS: g.gpu.time, GPUShare: share(g.gpu.time, busy), Kernels: g.gpu.kernels, EstimatedNS: g.gpu.estimated,
		}
		if row.Count+row.Open+row.Marks == 0 && row.GPUNS == 0 {
			continue
		}
		if re := t.a.config.Name; re != nil && !re.MatchString(row.Name) {
			continue
		}
		s.Ranges = append(s.Ranges, row)
	}
	slices.SortStableFunc(s.Ranges, func(x, y RangeRow) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(y.GPUNS, x.GPUNS), cmp.Compare(x.Name, y.Name))
	})
	return s
}
