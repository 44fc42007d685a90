package analyze

import (
	"cmp"
	"math"
	"slices"
)

// Difference explains how the steps of two traces differ: which classes, kernels and causes took
// the milliseconds.
type Difference struct {
	FileA     string `json:"file_a"`
	FileB     string `json:"file_b"`
	Simulated bool   `json:"simulated"` // either of them
	// Sampled says that either was recorded in windows, under a budget: its steps are cut apart.
	Sampled bool `json:"sampled,omitempty"`
	// DoubtsA and DoubtsB say what makes the figures of each doubtful.
	DoubtsA []string `json:"doubts_a,omitempty"`
	DoubtsB []string `json:"doubts_b,omitempty"`
	// Settings are what differs beside what the programs did.
	Settings []DiffSetting `json:"settings"`
	Rows     []DiffRow     `json:"rows"`
	// OnlyA and OnlyB name GPUs that have no partner in the other trace.
	OnlyA []string `json:"only_a"`
	OnlyB []string `json:"only_b"`
}

// DiffRow compares one GPU's steps with its partner's. All times are means per step in ns.
type DiffRow struct {
	A      Key     `json:"a"`
	B      Key     `json:"b"`
	UnitA  string  `json:"unit_a"`
	UnitB  string  `json:"unit_b"`
	StepsA int     `json:"steps_a"`
	StepsB int     `json:"steps_b"`
	WallA  float64 `json:"wall_a_ns"`
	WallB  float64 `json:"wall_b_ns"`
	Delta  float64 `json:"delta_ns"`
	// NoiseNS is how far the two means may differ by chance: twice the standard error of their
	// difference, from the spread of the steps.
	NoiseNS float64 `json:"noise_ns"`
	// Lines add up to Delta. They, and Kernels, are in descending order of the change.
	Lines   []DiffLine   `json:"lines"`
	Kernels []DiffKernel `json:"kernels"`
	Omitted int          `json:"omitted_kernels"`
	// Places are where GPUs are idle for longer or shorter; nil where that was not looked at.
	Places []DiffPlace `json:"places,omitempty"`
	Clock  DiffClock   `json:"clock"`
}

// DiffLine is the change of one line of the account.
type DiffLine struct {
	ID    string  `json:"id"`
	Title string  `json:"title"`
	Group string  `json:"group"`
	A     float64 `json:"a_ns"`
	B     float64 `json:"b_ns"`
	Delta float64 `json:"delta_ns"`
}

// DiffKernel is the change of one kernel: of its calls in a step, and of its time.
type DiffKernel struct {
	Name   string  `json:"name"`
	Symbol string  `json:"symbol,omitempty"`
	Class  string  `json:"class"`
	CountA float64 `json:"count_a"` // a step
	CountB float64 `json:"count_b"`
	A      float64 `json:"a_ns"` // a step
	B      float64 `json:"b_ns"`
	Delta  float64 `json:"delta_ns"`
}

// Compare explains how the steps of b differ from those of a. Both need their account.
func Compare(a, b *Inspection) *Difference {
	d := &Difference{FileA: a.File, FileB: b.File, Simulated: a.Simulated || b.Simulated, Sampled: a.Sampling != nil || b.Sampling != nil, Settings: settings(a, b), Rows: []DiffRow{}, OnlyA: []string{}, OnlyB: []string{}}
	d.DoubtsA, d.DoubtsB = a.Doubts, b.Doubts
	rowsA, rowsB := accounts(a), accounts(b)
	for i := range max(len(rowsA), len(rowsB)) {
		switch {
		case i >= len(rowsB):
			d.OnlyA = append(d.OnlyA, rowsA[i].Name+", "+rowsA[i].GPU)
		case i >= len(rowsA):
			d.OnlyB = append(d.OnlyB, rowsB[i].Name+", "+rowsB[i].GPU)
		default:
			row := compareRows(rowsA[i], rowsB[i])
			row.places(a.idleOf(&rowsA[i].Key), b.idleOf(&rowsB[i].Key))
			d.Rows = append(d.Rows, row)
		}
	}
	return d
}

// accounts returns the accounts in an order that both traces of a program share: by rank, then by GPU,
// then by how much they hold; process numbers differ from run to run.
func accounts(in *Inspection) []*AccountRow {
	var out []*AccountRow
	if in.Account == nil {
		return nil
	}
	for i := range in.Account.Rows {
		if r := &in.Account.Rows[i]; r.Steps > 0 {
			out = append(out, r)
		}
	}
	rank := func(r *AccountRow) int32 {
		if r.Rank == nil {
			return math.MaxInt32
		}
		return *r.Rank
	}
	slices.SortStableFunc(out, func(x, y *AccountRow) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.GPU, y.GPU), cmp.Compare(y.WallNS, x.WallNS))
	})
	return out
}

func compareRows(a, b *AccountRow) DiffRow {
	r := DiffRow{
		A: a.Key, B: b.Key, UnitA: a.Unit, UnitB: b.Unit, StepsA: a.Steps, StepsB: b.Steps,
		WallA: a.mean(a.WallNS), WallB: b.mean(b.WallNS), Lines: []DiffLine{}, Kernels: []DiffKernel{},
	}
	r.Delta = r.WallB - r.WallA
	r.NoiseNS = 2 * math.Sqrt(a.variance()/float64(a.Steps)+b.variance()/float64(b.Steps))
	for l := range lineCount {
		id, title, group := lineID(l).describe()
		line := DiffLine{ID: id, Title: title, Group: group, A: a.mean(a.Line(id).TotalNS), B: b.mean(b.Line(id).TotalNS)}
		if line.Delta = line.B - line.A; line.A != 0 || line.B != 0 {
			r.Lines = append(r.Lines, line)
		}
	}
	slices.SortStableFunc(r.Lines, func(x, y DiffLine) int { return cmp.Compare(math.Abs(y.Delta), math.Abs(x.Delta)) })
	r.kernels(a, b)
	r.Clock.A, r.Clock.ThrottledA = a.Facts.clock()
	r.Clock.B, r.Clock.ThrottledB = b.Facts.clock()
	return r
}

// mean returns ns over all steps as ns per step.
func (r *AccountRow) mean(ns int64) float64 { return float64(ns) / float64(max(r.Steps, 1)) }

// variance returns that of the steps' wall time, in ns².
func (r *AccountRow) variance() float64 {
	if len(r.walls) < 2 {
		return 0
	}
	mean, sum := r.mean(r.WallNS), 0.0
	for _, w := range r.walls {
		sum += (float64(w) - mean) * (float64(w) - mean)
	}
	return sum / float64(len(r.walls)-1)
}

func (r *DiffRow) kernels(a, b *AccountRow) {
	at := make(map[string]int)
	row := func(k *AccountKernel) *DiffKernel {
		key := k.Symbol + "\x00" + k.Name
		i, ok := at[key]
		if !ok {
			i = len(r.Kernels)
			at[key] = i
			r.Kernels = append(r.Kernels, DiffKernel{Name: k.Name, Symbol: k.Symbol, Class: k.Class})
		}
		return &r.Kernels[i]
	}
	for i := range a.Kernels {
		k := row(&a.Kernels[i])
		k.A, k.CountA = a.mean(a.Kernels[i].TotalNS), float64(a.Kernels[i].Count)/float64(max(a.Steps, 1))
	}
	for i := range b.Kernels {
		k := row(&b.Kernels[i])
		k.B, k.CountB = b.mean(b.Kernels[i].TotalNS), float64(b.Kernels[i].Count)/float64(max(b.Steps, 1))
	}
	for i := range r.Kernels {
		r.Kernels[i].Delta = r.Kernels[i].B - r.Kernels[i].A
	}
	slices.SortStableFunc(r.Kernels, func(x, y DiffKernel) int {
		return cmp.Or(cmp.Compare(math.Abs(y.Delta), math.Abs(x.Delta)), cmp.Compare(x.Name, y.Name))
	})
	r.Kernels, r.Omitted = first(r.Kernels, MaxAccountKernels)
}
