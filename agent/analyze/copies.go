package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// CopySummary says what was copied and filled.
type CopySummary struct {
	GroupBy GroupBy `json:"group_by"`
	// All is over all copies.
	All CopyGroup `json:"all"`
	// BusyNS is what BusyShare is a share of.
	BusyNS int64 `json:"gpu_busy_ns"`
	// Groups is in descending order of total time; fills (memsets) are apart in Sets.
	Groups  []CopyGroup `json:"groups"`
	Sets    []CopyGroup `json:"sets"`
	Omitted int         `json:"omitted"` // of Groups
}

// CopyGroup is a row of a CopySummary.
type CopyGroup struct {
	Key
	Kind   string `json:"kind,omitempty"`   // "host to device"
	Source string `json:"source,omitempty"` // "pageable"
	Target string `json:"target,omitempty"`
	Bytes  uint64 `json:"bytes"`
	// BytesPerSecond is over the copies whose duration is known; 0 if none is.
	BytesPerSecond float64 `json:"bytes_per_second"`
	// Async counts those that were asked for asynchronously.
	Async uint64 `json:"async_count"`
	Spread
	BusyShare float64 `json:"busy_share"`
}

type copyGroup struct {
	key            Key
	kind           event.CopyKind
	source, target event.MemoryKind
	spread         Distribution
	bytes, timed   uint64 // bytes of all, and of those with a duration
	async, unknown uint64
}

// Bounds of the dense table of copies; larger values of a damaged trace count as unknown.
const (
	copyKinds   = int(event.CopyPeerToPeer) + 1
	memoryKinds = int(event.MemoryManagedStatic) + 1
)

// copyTable adds up copies and fills.
type copyTable struct {
	by     GroupBy
	groups []*copyGroup // by kind, source and target; or by index
	sets   [memoryKinds]*copyGroup
}

func (g *copyGroup) add(bytes uint64, duration int64, async bool) {
	g.bytes += bytes
	if async {
		g.async++
	}
	if uint64(duration) >= maxDuration {
		g.unknown++
		return
	}
	g.timed += bytes
	g.spread.Add(duration)
}

// add adds copies; index and key group them, unless index is nil.
func (t *copyTable) add(s *span, c *event.Copies, index []uint32, key func(uint32) Key) {
	for i, kind := range c.Kind {
		if !s.has(c.Start[i]) {
			continue
		}
		source, target := c.Source[i], c.Target[i]
		if int(kind) >= copyKinds {
			kind = event.CopyUnknown
		}
		if int(source) >= memoryKinds {
			source = event.MemoryUnknown
		}
		if int(target) >= memoryKinds {
			target = event.MemoryUnknown
		}
		at := uint32((int(kind)*memoryKinds+int(source))*memoryKinds + int(target))
		if index != nil {
			at = index[i]
		}
		for uint64(at) >= uint64(len(t.groups)) {
			t.groups = append(t.groups, nil)
		}
		g := t.groups[at]
		if g == nil {
			g = &copyGroup{kind: kind, source: source, target: target}
			if index != nil {
				*g = copyGroup{key: key(at)}
			}
			t.groups[at] = g
		}
		g.add(c.Bytes[i], c.Duration[i], c.Async[i])
	}
}

// addSets adds fills.
func (t *copyTable) addSets(s *span, sets *event.Sets) {
	for i, kind := range sets.Memory {
		if !s.has(sets.Start[i]) {
			continue
		}
		if int(kind) >= memoryKinds {
			kind = event.MemoryUnknown
		}
		g := t.sets[kind]
		if g == nil {
			g = &copyGroup{target: kind}
			t.sets[kind] = g
		}
		g.add(sets.Bytes[i], sets.Duration[i], false)
	}
}

// summary computes the result.
func (t *copyTable) summary(busy int64) *CopySummary {
	s := &CopySummary{GroupBy: t.by, BusyNS: busy, Groups: []CopyGroup{}, Sets: []CopyGroup{}}
	var all copyGroup
	for _, g := range t.groups {
		if g == nil {
			continue
		}
		row := g.row(busy)
		if t.by == ByName {
			row.Kind = CopyKindName(g.kind)
			row.Source, row.Target = MemoryKindName(g.source), MemoryKindName(g.target)
			row.Name = row.Kind
		}
		s.Groups = append(s.Groups, row)
		all.spread.Merge(&g.spread)
		all.bytes += g.bytes
		all.timed += g.timed
		all.async += g.async
		all.unknown += g.unknown
	}
	s.All = all.row(busy)
	for _, g := range t.sets {
		if g == nil {
			continue
		}
		row := g.row(busy)
		row.Name, row.Target = "fill", MemoryKindName(g.target)
		s.Sets = append(s.Sets, row)
	}
	order := func(x, y CopyGroup) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Name, y.Name))
	}
	slices.SortStableFunc(s.Groups, order)
	slices.SortStableFunc(s.Sets, order)
	return s
}

func (g *copyGroup) row(busy int64) CopyGroup {
	row := CopyGroup{Key: g.key, Bytes: g.bytes, Async: g.async, Spread: g.spread.Spread()}
	row.Unknown = g.unknown
	if row.TotalNS > 0 {
		row.BytesPerSecond = float64(g.timed) / float64(row.TotalNS) * 1e9
	}
	row.BusyShare = share(row.TotalNS, busy)
	return row
}
