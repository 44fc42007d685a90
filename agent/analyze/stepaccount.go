package analyze

import (
	"cmp"
	"slices"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
)

// AccountSummary says where the wall time of the measured steps went.
type AccountSummary struct {
	Rows []AccountRow `json:"rows"`
}

// AccountRow is the account of one process on one GPU. Each moment of each measured step stands in
// exactly one line: the lines' TotalNS add up to WallNS, to the nanosecond.
type AccountRow struct {
	Key
	Unit   string `json:"unit"`
	Steps  int    `json:"steps"`
	WallNS int64  `json:"wall_ns"` // of all measured steps
	Wall   Figure `json:"wall_per_step_ns"`
	// Lines is in the order of an account: computing, communication, copies, idle; in each the
	// largest first. Lines without time are left out.
	Lines []AccountLine `json:"lines"`
	// OverlappedCommunicationNS and OverlappedCopiesNS ran while something computed: they cost no time
	// of their own, and are part of no line.
	OverlappedCommunicationNS int64 `json:"overlapped_communication_ns"`
	OverlappedCopiesNS        int64 `json:"overlapped_copies_ns"`
	// Kernels are the kernels in the measured steps by the sum of their durations, at most
	// [MaxAccountKernels].
	Kernels        []AccountKernel `json:"kernels"`
	OmittedKernels int             `json:"omitted_kernels"`
	Facts          AccountFacts    `json:"facts"`

	totals [lineCount]int64
	// By step, then lineID; of every stride-th step where there are very many.
	lines  [][lineCount]int64
	walls  []int64
	stride int
}

// MaxAccountKernels bounds the kernels of an account.
const MaxAccountKernels = 256

// Groups of lines.
const (
	GroupCompute       = "compute"
	GroupCommunication = "communication"
	GroupCopies        = "copies"
	GroupIdle          = "idle"
)

// AccountLine is one way in which time was spent.
type AccountLine struct {
	ID      string  `json:"id"` // "matmul", "copies-pageable", "idle-sync" …
	Title   string  `json:"title"`
	Group   string  `json:"group"`
	TotalNS int64   `json:"total_ns"`
	Share   float64 `json:"share"` // of WallNS
	PerStep Figure  `json:"per_step_ns"`
}

// AccountKernel is one kernel in the measured steps.
type AccountKernel struct {
	Name    string  `json:"name"`
	Symbol  string  `json:"symbol,omitempty"`
	Class   string  `json:"class"`
	Count   uint64  `json:"count"`
	TotalNS int64   `json:"total_ns"`
	PerStep float64 `json:"per_step_ns"`
}

// AccountFacts is what rules want to know of the measured steps beside the account.
type AccountFacts struct {
	Launches     uint64 `json:"launches"`      // pieces of work: kernels, copies, fills, graphs
	Kernels      uint64 `json:"kernels"`       // recorded one by one
	MedianKernel int64  `json:"median_kernel"` // ns
	GraphLaunch  uint64 `json:"graph_launches"`
	Joined       uint64 `json:"joined"` // launches whose call is in the trace
	// BeforeCall counts those of them that begin well before their call: the clocks disagree.
	BeforeCall uint64 `json:"before_their_call,omitempty"`
	// SmallNS is the time in which only kernels ran that have blocks for no more than half of the GPU's
	// multiprocessors, each alone; 0 where that number is not known.
	SmallNS    int64 `json:"small_kernels_ns"`
	SmallKnown bool  `json:"small_kernels_known"`
	// ChainNS is the time of elementwise, reduction and moving kernels that follow one another on a
	// stream, ChainFusedNS that of the longest of each chain, ChainKernels their number.
	ChainNS      int64  `json:"chain_ns"`
	ChainFusedNS int64  `json:"chain_fused_ns"`
	ChainKernels uint64 `json:"chain_kernels"`
	Chains       uint64 `json:"chains"`
	// Scores counts chains with a softmax between two matrix products, attention whose scores pass through memory:
	// ScoresNS is their time, ScoreProductsNS that of the products. They are in no other chain.
	Scores          uint64 `json:"attention_chains"`
	ScoresNS        int64  `json:"attention_chains_ns"`
	ScoreProductsNS int64  `json:"attention_products_ns"`
	// Streams counts streams with computing work, AllStreams those with any.
	Streams    int `json:"streams"`
	AllStreams int `json:"all_streams"`
	// Copies between host and GPU; bytes are rounded up to KiB.
	PageableCopies   uint64 `json:"pageable_copies"`
	PageableNS       int64  `json:"pageable_ns"`
	PageableKiB      uint64 `json:"pageable_kib"`
	PinnedCopies     uint64 `json:"pinned_copies"`
	PinnedNS         int64  `json:"pinned_ns"`
	PinnedKiB        uint64 `json:"pinned_kib"`
	Communications   uint64 `json:"communications"`
	CommunicationNS  int64  `json:"communication_ns"`
	SameStreamNS     int64  `json:"same_stream_communication_ns"` // on the stream that computes
	Syncs            uint64 `json:"syncs"`                        // waiting calls that began in the steps
	SyncNS           int64  `json:"sync_ns"`
	Allocations      uint64 `json:"allocations"`
	AllocationNS     int64  `json:"allocation_ns"`
	CodeLoads        uint64 `json:"code_loads"`
	StepsWithLoads   int    `json:"steps_with_loads"`
	HostLaunchNS     int64  `json:"host_launch_ns"` // inside launching calls
	CaptureOverheads int64  `json:"capture_overhead_ns"`
	// SampledOperators says that operators with their shapes were recorded in some steps.
	SampledOperators bool `json:"sampled_operators"`
	// Clock readings of the GPU in the measured steps.
	Samples      int              `json:"samples"`
	ClockMedian  int64            `json:"clock_median_mhz"`
	ClockHighest int64            `json:"clock_highest_mhz"` // in the whole trace
	Throttled    map[string]int   `json:"throttled_samples,omitempty"`
	ThrottleMHz  map[string]int64 `json:"throttled_clock_mhz,omitempty"` // median while throttled
	// PowerMW is what the GPU may take, PowerStandardMW what it is made for; 0 unknown.
	PowerMW         int64 `json:"power_limit_mw,omitempty"`
	PowerStandardMW int64 `json:"power_default_mw,omitempty"`
}

// lineID is the index of a line: classes of kernels first, then copies, then causes of idleness.
type lineID int

const (
	lineCopyPageable = lineID(classes) + lineID(iota)
	lineCopyPinned
	lineCopyDevice
	lineIdle // and the causes from here on
)

const lineCount = int(lineIdle) + int(causes)

func (l lineID) describe() (id, title, group string) {
	switch {
	case l < lineID(classes):
		c := Class(l)
		if c == ClassCommunication {
			return "communication", "communication, exposed", GroupCommunication
		}
		return c.String(), ClassTitle(c), GroupCompute
	case l == lineCopyPageable:
		return "copies-pageable", "copies with pageable memory, exposed", GroupCopies
	case l == lineCopyPinned:
		return "copies-pinned", "copies with pinned memory, exposed", GroupCopies
	case l == lineCopyDevice:
		return "copies-device", "copies on the GPU and fills, exposed", GroupCopies
	}
	c := cause(l - lineIdle)
	return "idle-" + c.String(), "idle: " + c.title(), GroupIdle
}

// account adds the fresh steps that are measured.
func (ln *lane) account(a *Analysis) {
	if ln.sweep == nil {
		ln.idle = newIdleTable(a, ln)
		ln.sweep = newAccountSweep(a, ln, ln.idle)
		ln.factSum = newFactSums()
	}
	ln.sweep.begin()
	ln.idle.begin()
	// The one writes what the other does not read.
	var both sync.WaitGroup
	both.Go(func() {
		ln.addKernels(a)
		ln.addFacts(a)
	})
	r, fresh := &ln.row, ln.fresh()
	for i := range fresh {
		st := &fresh[i]
		if st.phase != PhaseSteady {
			continue
		}
		ln.idle.ahead.most = st.wall()
		r.add(ln.sweep.step(st), st.wall())
		ln.idle.python.step(st.start, st.end)
	}
	both.Wait()
}

// maxStepLines bounds the steps whose lines are kept one by one.
const maxStepLines = 1 << 16

// add adds a step.
func (r *AccountRow) add(lines [lineCount]int64, wall int64) {
	for l, ns := range lines {
		r.totals[l] += ns
	}
	r.stride = max(r.stride, 1)
	if r.Steps%r.stride == 0 {
		r.lines, r.walls = append(r.lines, lines), append(r.walls, wall)
	}
	r.WallNS += wall
	r.Steps++
	if len(r.lines) < maxStepLines {
		return
	}
	for i := range len(r.lines) / 2 {
		r.lines[i], r.walls[i] = r.lines[2*i], r.walls[2*i]
	}
	r.lines, r.walls = r.lines[:len(r.lines)/2], r.walls[:len(r.walls)/2]
	r.stride *= 2
}

// accountRow returns the account of all measured steps.
func (ln *lane) accountRow(a *Analysis) AccountRow {
	r := ln.row
	r.Key, r.Unit, r.Lines, r.Kernels = ln.key(a), ln.unit, []AccountLine{}, []AccountKernel{}
	if ln.sweep == nil {
		return r
	}
	r.OverlappedCommunicationNS, r.OverlappedCopiesNS = ln.sweep.overlappedComm, ln.sweep.overlappedCopy
	r.fill()
	ln.kernelRows(a, &r)
	r.Facts = ln.facts(a)
	return r
}

// fill computes the lines of all steps.
func (r *AccountRow) fill() {
	r.Wall = figureOf(slices.Clone(r.walls))
	r.Wall.Mean = r.mean(r.WallNS)
	values := make([]int64, len(r.lines))
	for l, total := range r.totals {
		if total == 0 {
			continue
		}
		for i := range r.lines {
			values[i] = r.lines[i][l]
		}
		id, title, group := lineID(l).describe()
		f := figureOf(values)
		f.Mean = r.mean(total)
		r.Lines = append(r.Lines, AccountLine{id, title, group, total, share(total, r.WallNS), f})
	}
	order := []string{GroupCompute, GroupCommunication, GroupCopies, GroupIdle}
	slices.SortStableFunc(r.Lines, func(x, y AccountLine) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Group), slices.Index(order, y.Group)), cmp.Compare(y.TotalNS, x.TotalNS))
	})
}

// Line returns a line by its identifier; its zero value if no time was spent so.
func (r *AccountRow) Line(id string) AccountLine {
	for _, l := range r.Lines {
		if l.ID == id {
			return l
		}
	}
	return AccountLine{ID: id}
}

// Group returns the time of a group of lines, in ns over all measured steps.
func (r *AccountRow) Group(group string) int64 {
	var ns int64
	for _, l := range r.Lines {
		if l.Group == group {
			ns += l.TotalNS
		}
	}
	return ns
}

// addKernels adds up the kernels in fresh measured steps by name.
func (ln *lane) addKernels(a *Analysis) {
	byLaunch := make(map[uint32]*AccountKernel)
	fresh := ln.fresh()
	for i := range fresh {
		st := &fresh[i]
		if st.phase != PhaseSteady {
			continue
		}
		for n := st.from; n < st.to; n++ {
			w := &ln.work[n]
			if w.kind != workKernel {
				continue
			}
			row := byLaunch[w.id]
			if row == nil {
				name := a.tables.Launch(event.LaunchID(w.id)).Name
				if row = ln.kernels[name]; row == nil {
					row = &AccountKernel{Symbol: a.tables.String(name), Class: w.class.String()}
					ln.kernels[name] = row
				}
				byLaunch[w.id] = row
			}
			row.Count++
			row.TotalNS += int64(w.end - w.start)
		}
	}
}

// kernelRows lists the kernels.
func (ln *lane) kernelRows(a *Analysis, r *AccountRow) {
	for _, row := range ln.kernels {
		if row.Name = a.demangle.name(row.Symbol); row.Name == row.Symbol {
			row.Symbol = ""
		}
		row.PerStep = float64(row.TotalNS) / float64(max(r.Steps, 1))
		r.Kernels = append(r.Kernels, *row)
	}
	slices.SortFunc(r.Kernels, func(x, y AccountKernel) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(x.Name, y.Name))
	})
	r.Kernels, r.OmittedKernels = first(r.Kernels, MaxAccountKernels)
}
