package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// GroupBy says what rows of a summary stand for.
type GroupBy string

// The ways to group.
const (
	ByName    GroupBy = "name" // kernels by name, copies by kind
	ByStream  GroupBy = "stream"
	ByDevice  GroupBy = "device"
	ByProcess GroupBy = "process"
	ByRange   GroupBy = "nvtx" // the innermost NVTX range around the launch
)

// KernelSummary says which kernels ran how long.
type KernelSummary struct {
	GroupBy GroupBy `json:"group_by"`
	// All is over all kernels that matched.
	All Spread `json:"all"`
	// Names counts distinct kernel names among them.
	Names int `json:"names"`
	// BusyNS is what BusyShare is a share of: the time that GPUs were busy, summed over GPUs.
	BusyNS int64 `json:"gpu_busy_ns"`
	// Groups is in descending order of total time.
	Groups []KernelGroup `json:"groups"`
	// Omitted counts rows that were asked to be left out.
	Omitted int `json:"omitted"`
	// Estimated is of All, in a trace that was recorded under a budget.
	Estimated *Estimated `json:"estimated,omitempty"`
}

// KernelGroup is a row of a KernelSummary.
type KernelGroup struct {
	Key
	// Symbol is the kernel's mangled name, where Name is not it.
	Symbol string `json:"symbol,omitempty"`
	Spread
	// BusyShare is TotalNS as a part of the GPUs' busy time; kernels that run at once make the
	// sum of shares exceed 1.
	BusyShare float64 `json:"busy_share"`
	// Launches are the launch configurations by total time, the largest first, at most
	// [MaxConfigurations]; Configurations counts all.
	Configurations int            `json:"configurations"`
	Launches       []LaunchConfig `json:"launches,omitempty"`
	// Estimated is what there was in all, of a trace that was recorded under a budget: Count and TotalNS
	// are of its windows only.
	Estimated *Estimated `json:"estimated,omitempty"`

	id event.StringID // its name's
}

// MaxConfigurations bounds the launch configurations listed for a kernel.
const MaxConfigurations = 8

// LaunchConfig is one way in which a kernel was launched.
type LaunchConfig struct {
	Grid               [3]uint32 `json:"grid"`
	Block              [3]uint32 `json:"block"`
	Cluster            [3]uint32 `json:"cluster"`
	Registers          uint32    `json:"registers_per_thread"`
	StaticSharedBytes  uint32    `json:"static_shared_bytes"`
	DynamicSharedBytes uint32    `json:"dynamic_shared_bytes"`
	LocalThreadBytes   uint32    `json:"local_bytes_per_thread"`
	Count              uint64    `json:"count"`
	TotalNS            int64     `json:"total_ns"`
}

// launchRow is what is added up for one LaunchID: a dense table of them keeps maps out of the loop
// over kernels.
type launchRow struct {
	group   *kernelGroup
	count   uint64
	total   int64
	unknown uint64
}

type kernelGroup struct {
	name    event.StringID
	spread  Distribution
	unknown uint64
	rows    []uint32 // of the table of launches
	key     Key
}

// kernelTable adds up kernels. Row 0 is for kernels whose launch is not known.
type kernelTable struct {
	by     GroupBy
	match  func(event.StringID) bool
	rows   []launchRow
	byName map[event.StringID]*kernelGroup
	groups []*kernelGroup // by index, when not by name
}

func newKernelTable(by GroupBy, match func(event.StringID) bool) *kernelTable {
	t := &kernelTable{by: by, match: match, byName: make(map[event.StringID]*kernelGroup)}
	t.launch(0)
	return t
}

// launch appends the row of the next LaunchID, for a kernel called name. A row without a group is
// for kernels that do not match.
func (t *kernelTable) launch(name event.StringID) {
	row := launchRow{}
	if t.match(name) {
		group := t.byName[name]
		if group == nil {
			group = &kernelGroup{name: name}
			t.byName[name] = group
		}
		group.rows = append(group.rows, uint32(len(t.rows)))
		row.group = group
	}
	t.rows = append(t.rows, row)
}

// name returns the name of a launch, false if it does not match.
func (t *kernelTable) name(id event.LaunchID) (event.StringID, bool) {
	if uint64(id) >= uint64(len(t.rows)) {
		id = 0
	}
	if g := t.rows[id].group; g != nil {
		return g.name, true
	}
	return 0, false
}

// add adds kernels, each to the group of its name.
func (t *kernelTable) add(s *span, k *event.Kernels) {
	rows := t.rows
	starts, durations := k.Start, k.Duration
	for i, id := range k.Launch {
		if uint64(id) >= uint64(len(rows)) {
			id = 0
		}
		row := &rows[id]
		if row.group == nil || !s.has(starts[i]) {
			continue
		}
		duration := durations[i]
		if uint64(duration) >= maxDuration {
			row.unknown++
			continue
		}
		row.count++
		row.total += duration
		row.group.spread.Add(duration)
	}
}

// addTo adds kernels to the group whose index stands beside each; key describes a new group.
func (t *kernelTable) addTo(s *span, k *event.Kernels, index []uint32, key func(uint32) Key) {
	for i, id := range k.Launch {
		if !s.has(k.Start[i]) {
			continue
		}
		t.addOne(index[i], id, k.Duration[i], key)
	}
}

// addOne adds a kernel to the group with an index, if its name matches.
func (t *kernelTable) addOne(index uint32, id event.LaunchID, duration int64, key func(uint32) Key) {
	if uint64(id) >= uint64(len(t.rows)) {
		id = 0
	}
	if t.rows[id].group == nil {
		return
	}
	g := t.indexed(index, key)
	if uint64(duration) >= maxDuration {
		g.unknown++
		return
	}
	t.rows[id].count++
	g.spread.Add(duration)
}

// indexed returns the group with an index, new ones described by key.
func (t *kernelTable) indexed(index uint32, key func(uint32) Key) *kernelGroup {
	for uint64(index) >= uint64(len(t.groups)) {
		t.groups = append(t.groups, nil)
	}
	g := t.groups[index]
	if g == nil {
		g = &kernelGroup{key: key(index)}
		t.groups[index] = g
	}
	return g
}

// summary computes the result.
func (t *kernelTable) summary(a *Analysis, busy int64) *KernelSummary {
	s := &KernelSummary{GroupBy: t.by, BusyNS: busy, Groups: []KernelGroup{}}
	var all Distribution
	var unknown uint64
	for _, g := range t.byName {
		var count uint64
		for _, id := range g.rows {
			count += t.rows[id].count + t.rows[id].unknown
			g.unknown += t.rows[id].unknown
			t.rows[id].unknown = 0
		}
		if count == 0 {
			continue
		}
		s.Names++
		if t.by != ByName {
			continue
		}
		symbol := a.tables.String(g.name)
		row := KernelGroup{Key: Key{Name: a.demangle.name(symbol)}, Symbol: symbol, id: g.name}
		if symbol == "" {
			row.Name = "(unknown kernel)"
		}
		row.Launches, row.Configurations = t.configurations(a, g)
		s.Groups = append(s.Groups, finish(row, g, busy, &all, &unknown))
	}
	for _, g := range t.groups {
		if g != nil {
			s.Groups = append(s.Groups, finish(KernelGroup{Key: g.key}, g, busy, &all, &unknown))
		}
	}
	slices.SortFunc(s.Groups, func(x, y KernelGroup) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(y.Count, x.Count),
			cmp.Compare(x.Name, y.Name), cmp.Compare(x.Symbol, y.Symbol))
	})
	s.All = all.Spread()
	s.All.Unknown = unknown
	return s
}

func finish(row KernelGroup, g *kernelGroup, busy int64, all *Distribution, unknown *uint64) KernelGroup {
	if row.Symbol == row.Name {
		row.Symbol = ""
	}
	row.Spread = g.spread.Spread()
	row.Unknown = g.unknown
	row.BusyShare = share(row.TotalNS, busy)
	all.Merge(&g.spread)
	*unknown += g.unknown
	return row
}

func (t *kernelTable) configurations(a *Analysis, g *kernelGroup) ([]LaunchConfig, int) {
	var list []LaunchConfig
	for _, id := range g.rows {
		row := &t.rows[id]
		if id == 0 || row.count == 0 {
			continue
		}
		l := a.tables.Launch(event.LaunchID(id))
		list = append(list, LaunchConfig{
			Grid: l.Grid, Block: l.Block, Cluster: l.Cluster, Registers: l.Registers,
			StaticSharedBytes: l.StaticShared, DynamicSharedBytes: l.DynamicShared, LocalThreadBytes: l.LocalThread,
			Count: row.count, TotalNS: row.total,
		})
	}
	slices.SortStableFunc(list, func(x, y LaunchConfig) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(y.Count, x.Count))
	})
	return list[:min(len(list), MaxConfigurations)], len(list)
}

// share returns part as a share of whole, 0 if whole is.
func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
