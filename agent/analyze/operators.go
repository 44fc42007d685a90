package analyze

import (
	"cmp"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// Ways to group what PyTorch did in sampled steps.
const (
	ByOperator GroupBy = "op"     // operators, with the shapes of their inputs
	ByModule   GroupBy = "module" // modules by their path
	ByRegion   GroupBy = "region" // record_function
)

// OfOperators says whether rows are of sampled steps.
func (g GroupBy) OfOperators() bool { return g == ByOperator || g == ByModule || g == ByRegion }

// OperatorSummary says what PyTorch did in the steps that the Python module sampled. Figures are of these steps
// alone: the recording makes them slower on the CPU, not on the GPU.
type OperatorSummary struct {
	GroupBy GroupBy `json:"group_by"`
	// Sampled counts steps, or calls of the outermost module where a program has no steps; SampledNS is
	// how long they took on the CPU, CostNS what the sampling cost in all.
	Sampled   int   `json:"sampled"`
	SampledNS int64 `json:"sampled_ns"`
	CostNS    int64 `json:"cost_ns"`
	// GPUNS is all GPU time that was launched by operators; Rows add up to it, but for what modules and regions have
	// inside each other.
	GPUNS int64 `json:"gpu_ns"`
	// Rows is in descending order of GPU time.
	Rows    []OperatorRow `json:"rows"`
	Omitted int           `json:"omitted"`
}

// OperatorRow is an operator with shapes, a module, or a region.
type OperatorRow struct {
	Name string `json:"name"` // "aten::addmm", a module's path; "" is what belongs to none
	// Detail is the shapes of an operator's inputs, or a module's class.
	Detail string `json:"detail,omitempty"`
	Count  uint64 `json:"count"` // calls; of modules, those of the forward pass
	CPUNS  int64  `json:"cpu_ns"`
	// GPUNS is the time of what was launched inside, with what is inside other rows; SelfNS without.
	GPUNS    int64   `json:"gpu_ns"`
	SelfNS   int64   `json:"gpu_self_ns"`
	GPUShare float64 `json:"gpu_share"` // SelfNS of all
	Kernels  uint64  `json:"kernels"`   // launched inside, not inside other rows
	// BackwardNS is the part of SelfNS that the backward pass launched; of modules.
	BackwardNS int64 `json:"gpu_backward_ns,omitempty"`
	// KeptBytes is by how much the GPU's tensors grew in a call of a module, on average: mostly activations kept for the
	// backward pass. Nil where it is not recorded.
	KeptBytes *int64 `json:"kept_bytes,omitempty"`
	// DriverBytes is what the driver's allocator was asked for inside.
	DriverBytes uint64 `json:"driver_bytes,omitempty"`
	// Modules and Operators are where most of SelfNS belongs: of an operator its modules, of others their operators.
	Modules   []OperatorPart `json:"modules,omitempty"`
	Operators []OperatorPart `json:"operators,omitempty"`
}

// OperatorPart is a part of a row's GPU time.
type OperatorPart struct {
	Name  string `json:"name"`
	GPUNS int64  `json:"gpu_ns"`
}

// shownParts is how many parts of a row are listed.
const shownParts = 4

// operatorTable groups work by the ranges that the Python module made.
type operatorTable struct {
	// any: the module for Python has named its domains, which it does before it tells of anything in them.
	any    bool
	ranges *rangeTable
	// grew is by how much memory grew in calls of modules, by text; known where it did in one at all.
	grew    map[event.StringID]int64
	calls   map[event.StringID]uint64
	memory  bool
	sampled int
	wall    int64
	cost    int64
	driver  map[uint32]uint64 // bytes asked of the driver, by node
	own     map[uint32]gpuSum // by node
}

// define looks for the names of the domains that sampled steps are told in. Without them, nothing needs to be joined.
func (t *operatorTable) define(d *event.Definitions) {
	t.any = t.any || slices.ContainsFunc(d.Strings, func(s string) bool {
		return s == domainOperator || s == domainModule || s == domainRegion || s == domainSampled
	})
}

func newOperatorTable(a *Analysis) *operatorTable {
	t := &operatorTable{
		ranges: newRangeTable(a), grew: make(map[event.StringID]int64), calls: make(map[event.StringID]uint64),
		driver: make(map[uint32]uint64), own: make(map[uint32]gpuSum),
	}
	t.ranges.operators = t
	return t
}

// takes says whether a marker is a range of an operator, module or region, and counts what is none.
func (t *operatorTable) takes(kind pythonKind, m *event.Markers, i int) bool {
	switch kind {
	case pythonSampled:
		if !t.ranges.a.span.has(m.Time[i]) {
			return false
		}
		switch ns := int64(min(m.Payload[i], maxDuration)); t.ranges.a.tables.String(m.Text[i]) {
		case sampledText:
			t.sampled++
			t.wall += ns
		case costText:
			t.cost += ns
		}
		return false
	case pythonModule:
		if m.Kind[i] == event.MarkerStart && m.Payload[i] != backwardCall && len(t.calls) < maxRangeGroups && t.ranges.a.span.has(m.Time[i]) {
			t.calls[m.Text[i]]++
			t.grew[m.Text[i]] += int64(m.Payload[i])
			t.memory = t.memory || m.Payload[i] != 0
		}
		return true
	case pythonOperator, pythonRegion:
		return true
	}
	return false
}

// unnamedThread is set in the numbers of threads that are not the kernel's.
const unnamedThread = 1 << 31

// backwardCall is the value of a module's range that was told of its backward pass.
const backwardCall = 1 << 63

func (t *operatorTable) attribute(at place, w *work) {
	if at.node == 0 {
		return
	}
	if w.bytes > 0 {
		t.driver[at.node] += w.bytes
		return
	}
	if uint64(w.duration) >= maxDuration {
		return
	}
	sum := t.own[at.node]
	sum.time += w.duration
	if w.kernel {
		sum.kernels++
	}
	t.own[at.node] = sum
}

// kindOf tells what a key is.
func (t *operatorTable) kindOf(key uint32) pythonKind {
	g := t.ranges.groups[key]
	if g.other {
		return pythonNone
	}
	return t.ranges.domains.of(&t.ranges.a.tables, g.domain)
}

// innermost returns the key of the innermost range of a kind around a node, false if there is none.
func (t *operatorTable) innermost(node uint32, kind pythonKind) (uint32, bool) {
	for ; node != 0; node = t.ranges.nodes[node].parent {
		if key := t.ranges.nodes[node].key; t.kindOf(key) == kind {
			return key, true
		}
	}
	return 0, false
}

// backward says whether a node is inside an operator of the backward pass: PyTorch calls it "AddmmBackward0".
func (t *operatorTable) backward(node uint32) bool {
	for ; node != 0; node = t.ranges.nodes[node].parent {
		key := t.ranges.nodes[node].key
		if t.kindOf(key) != pythonOperator {
			continue
		}
		name, _, _ := strings.Cut(t.ranges.a.tables.String(t.ranges.groups[key].text), "\t")
		if strings.HasSuffix(strings.TrimRight(name, "0123456789"), "Backward") {
			return true
		}
	}
	return false
}

// operatorGroup is a row while it is added up.
type operatorGroup struct {
	row   OperatorRow
	parts map[string]int64
}

// summary computes the result.
func (t *operatorTable) summary(by GroupBy) *OperatorSummary {
	s := &OperatorSummary{GroupBy: by, Sampled: t.sampled, SampledNS: t.wall, CostNS: t.cost, Rows: []OperatorRow{}}
	kind, other := pythonOperator, pythonModule
	switch by {
	case ByModule:
		kind, other = pythonModule, pythonOperator
	case ByRegion:
		kind, other = pythonRegion, pythonOperator
	}
	groups := make(map[string]*operatorGroup)
	group := func(key uint32, found bool) *operatorGroup {
		text := ""
		if found {
			text = t.ranges.a.tables.String(t.ranges.groups[key].text)
		}
		g := groups[text]
		if g == nil {
			g = &operatorGroup{parts: make(map[string]int64)}
			g.row.Name, g.row.Detail, _ = strings.Cut(text, "\t")
			groups[text] = g
		}
		return g
	}
	for node := range t.ranges.nodes {
		id := uint32(node)
		sum, own := t.own[id]
		driver := t.driver[id]
		if id == 0 || !own && driver == 0 {
			continue
		}
		key, found := t.innermost(id, kind)
		g := group(key, found)
		g.row.SelfNS += sum.time
		if kind == pythonModule && t.backward(id) {
			g.row.BackwardNS += sum.time
		}
		g.row.Kernels += sum.kernels
		g.row.DriverBytes += driver
		s.GPUNS += sum.time
		if part, ok := t.innermost(id, other); ok && sum.time > 0 {
			name, _, _ := strings.Cut(t.ranges.a.tables.String(t.ranges.groups[part].text), "\t")
			g.parts[name] += sum.time
		}
		// Once for each row around it.
		seen := map[uint32]bool{}
		for n := id; n != 0; n = t.ranges.nodes[n].parent {
			if k := t.ranges.nodes[n].key; t.kindOf(k) == kind && !seen[k] {
				seen[k] = true
				group(k, true).row.GPUNS += sum.time
			}
		}
		if !found {
			g.row.GPUNS += sum.time
		}
	}
	t.count(kind, group)
	t.rows(s, groups)
	return s
}

// count adds how often each was called, and how long that took.
func (t *operatorTable) count(kind pythonKind, group func(key uint32, found bool) *operatorGroup) {
	for key, r := range t.ranges.groups {
		if t.kindOf(uint32(key)) != kind {
			continue
		}
		spread := r.spread.Spread()
		if spread.Count == 0 {
			continue
		}
		g := group(uint32(key), true)
		g.row.Count += spread.Count
		g.row.CPUNS += spread.TotalNS
		if kind == pythonModule {
			g.row.Count = t.calls[r.text]
			if t.memory {
				grew := t.grew[r.text] / int64(max(t.calls[r.text], 1))
				g.row.KeptBytes = &grew
			}
		}
	}
}

// rows puts groups in order.
func (t *operatorTable) rows(s *OperatorSummary, groups map[string]*operatorGroup) {
	for _, g := range groups {
		g.row.GPUShare = share(g.row.SelfNS, s.GPUNS)
		if re := t.ranges.a.config.Name; re != nil && !re.MatchString(g.row.Name) {
			continue
		}
		var parts []OperatorPart
		for name, ns := range g.parts {
			parts = append(parts, OperatorPart{name, ns})
		}
		slices.SortFunc(parts, func(x, y OperatorPart) int { return cmp.Or(cmp.Compare(y.GPUNS, x.GPUNS), cmp.Compare(x.Name, y.Name)) })
		parts = parts[:min(len(parts), shownParts)]
		if s.GroupBy == ByOperator {
			g.row.Modules = parts
		} else {
			g.row.Operators = parts
		}
		s.Rows = append(s.Rows, g.row)
	}
	slices.SortFunc(s.Rows, func(x, y OperatorRow) int {
		return cmp.Or(cmp.Compare(y.SelfNS, x.SelfNS), cmp.Compare(y.CPUNS, x.CPUNS), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Detail, y.Detail))
	})
}

// arrange sorts rows by a key.
func (s *OperatorSummary) arrange(key string) {
	slices.SortStableFunc(s.Rows, func(x, y OperatorRow) int {
		switch key {
		case SortCount:
			return cmp.Compare(y.Count, x.Count)
		case SortName:
			return cmp.Compare(x.Name, y.Name)
		case SortGPU:
			return cmp.Compare(y.GPUNS, x.GPUNS)
		case SortBytes:
			return cmp.Compare(y.bytes(), x.bytes())
		}
		return cmp.Compare(y.SelfNS, x.SelfNS)
	})
}

// bytes is the memory that a row is known to have taken.
func (r *OperatorRow) bytes() int64 {
	if r.KeptBytes != nil {
		return *r.KeptBytes
	}
	return int64(min(r.DriverBytes, maxDuration))
}
