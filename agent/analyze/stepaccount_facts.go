package analyze

import (
	"slices"
	"sort"

	"github.com/warpscope/warpscope/agent/event"
)

// maxClockReadings bounds the readings of clocks that are kept: 11 days at two a second.
const maxClockReadings = 1 << 21

// clockReading is what NVML said of a GPU's clock at a moment.
type clockReading struct {
	time     event.Time
	gpu      event.GPUID
	clock    int32
	throttle int64
	// utilization and activity are of the GPU and of its memory, in percent.
	utilization, activity int32
}

// addReadings keeps what NVML said of clocks.
func (t *timelines) addReadings(g *event.GPUSamples) {
	for i, at := range g.Time {
		if t.a.span.has(at) && len(t.readings) < maxClockReadings {
			t.readings = append(t.readings, clockReading{at, g.GPU[i], g.SMClock[i], g.Throttle[i], g.Utilization[i], g.MemoryActivity[i]})
		}
	}
}

// factSums gathers facts over the parts of a lane.
type factSums struct {
	AccountFacts
	durations Distribution // of kernels
	streams   map[uint32]bool
	chains    map[uint32]*chain
	traits    traitTable
}

func newFactSums() *factSums {
	return &factSums{streams: make(map[uint32]bool), chains: make(map[uint32]*chain), traits: make(traitTable)}
}

// addFacts collects what rules want to know of the fresh measured steps.
func (ln *lane) addFacts(a *Analysis) {
	f, fresh := ln.factSum, ln.fresh()
	calls := &callCursor{callIndex: ln.calls}
	for i := range fresh {
		st := &fresh[i]
		if st.phase != PhaseSteady {
			continue
		}
		for n := st.from; n < st.to; n++ {
			w := &ln.work[n]
			f.add(w, calls)
			if w.kind == workKernel {
				f.durations.Add(int64(w.end - w.start))
			}
			if w.kind == workKernel || w.kind == workGraph {
				if w.class != ClassCommunication {
					f.streams[w.stream] = true
				} else if w.stream == ln.work[ln.main[0]].stream {
					f.SameStreamNS += int64(w.end - w.start)
				}
			}
			c := f.chains[w.stream]
			if c == nil {
				c = &chain{}
				f.chains[w.stream] = c
			}
			c.add(w, f.traits.of(a, w), &f.AccountFacts)
		}
		for _, c := range f.chains {
			c.close(&f.AccountFacts)
			*c = chain{}
		}
		ln.host(st, &f.AccountFacts)
	}
}

// facts returns what was collected.
func (ln *lane) facts(a *Analysis) AccountFacts {
	f := ln.factSum.AccountFacts
	f.SmallNS, f.SmallKnown = ln.sweep.small, ln.sweep.smallKnown
	for _, kind := range ln.l.python.domains {
		f.SampledOperators = f.SampledOperators || kind == pythonSampled
	}
	f.MedianKernel = ln.factSum.durations.Spread().MedianNS
	f.Streams, f.AllStreams = len(ln.factSum.streams), len(ln.factSum.chains)
	ln.clocks(a, &f)
	return f
}

func (f *AccountFacts) add(w *gpuWork, calls *callCursor) {
	ns := int64(w.end - w.start)
	f.Launches++
	if at := calls.of(w.correlation); at >= 0 {
		f.Joined++
		if w.start+earlier < calls.cpu[at].start {
			f.BeforeCall++
		}
	}
	switch {
	case w.kind == workGraph:
		f.GraphLaunch++
	case w.kind == workCopy && w.how == copyPageable:
		f.PageableCopies++
		f.PageableNS += ns
		f.PageableKiB += uint64(w.kib)
	case w.kind == workCopy && w.how == copyPinned:
		f.PinnedCopies++
		f.PinnedNS += ns
		f.PinnedKiB += uint64(w.kib)
	case w.kind == workKernel:
		f.Kernels++
		if w.class == ClassCommunication {
			f.Communications++
			f.CommunicationNS += ns
		}
	}
}

// host counts what threads did in a step.
func (ln *lane) host(st *step, f *AccountFacts) {
	cpu := ln.calls.cpu
	at := sort.Search(len(cpu), func(i int) bool { return cpu[i].start >= st.start })
	loads := uint64(0)
	for ; at < len(cpu) && cpu[at].start < st.end; at++ {
		c := &cpu[at]
		ns := int64(c.end - c.start)
		switch c.kind {
		case cpuSync:
			f.Syncs++
			f.SyncNS += ns
		case cpuAlloc:
			f.Allocations++
			f.AllocationNS += ns
		case cpuCode:
			loads++
		case cpuLaunch:
			f.HostLaunchNS += ns
		case cpuCapture:
			f.CaptureOverheads += ns
		}
	}
	f.CodeLoads += loads
	if loads > 0 {
		f.StepsWithLoads++
	}
}

// clocks compares the GPU's clock in the measured steps with its highest.
func (ln *lane) clocks(a *Analysis, f *AccountFacts) {
	gpu := a.devices.list[ln.device].gpu
	if gpu == 0 {
		return
	}
	f.PowerMW, f.PowerStandardMW = a.timelines.facts[gpu].power, a.timelines.facts[gpu].powerStandard
	readings := a.timelines.readings
	var clocks []int64
	throttled := make(map[string][]int64)
	n := 0
	for i := range readings {
		r := &readings[i]
		if r.gpu != gpu || r.clock < 0 {
			continue
		}
		f.ClockHighest = max(f.ClockHighest, int64(r.clock))
		for n < len(ln.steps) && ln.steps[n].end <= r.time {
			n++
		}
		if n == len(ln.steps) || ln.steps[n].start > r.time || ln.steps[n].phase != PhaseSteady {
			continue
		}
		f.Samples++
		clocks = append(clocks, int64(r.clock))
		for bit := range 63 {
			if r.throttle > 0 && r.throttle&(1<<bit) != 0 {
				if name := throttleName(bit); name != "" {
					throttled[name] = append(throttled[name], int64(r.clock))
				}
			}
		}
	}
	f.ClockMedian = median(clocks)
	for name, clocks := range throttled {
		if f.Throttled == nil {
			f.Throttled, f.ThrottleMHz = make(map[string]int), make(map[string]int64)
		}
		f.Throttled[name], f.ThrottleMHz[name] = len(clocks), median(clocks)
	}
}

// finish sorts what came out of order, finds the steps and computes what was asked for.
func (t *timelines) finish(r *Inspection, parts Part) {
	slices.SortStableFunc(t.readings, func(x, y clockReading) int { return int(min(max(x.time-y.time, -1), 1)) })
	slices.SortStableFunc(t.activity, func(x, y activityWindow) int { return int(min(max(x.start-y.start, -1), 1)) })
	r.joins.timeless = t.timeless
	activity := &ActivitySummary{Rows: []ActivityRow{}}
	steps, account, idle := &StepSummary{Rows: []StepRow{}}, &AccountSummary{Rows: []AccountRow{}}, &IdleSummary{Rows: []IdleRow{}}
	for _, l := range t.inOrder {
		l.sort()
		for _, ln := range l.split() {
			ln.finish(t.a)
			steps.Rows = append(steps.Rows, ln.stepRow(t.a))
			activity.Rows = append(activity.Rows, ln.activity(t.a))
			if parts&(PartAccount|PartIdle) == 0 {
				continue
			}
			row := ln.accountRow(t.a)
			r.joins.joined, r.joins.early = r.joins.joined+row.Facts.Joined, r.joins.early+row.Facts.BeforeCall
			account.Rows = append(account.Rows, row)
			idle.Rows = append(idle.Rows, ln.idle.row(&row))
		}
		l.gpu, l.cpu = nil, nil
	}
	if parts&PartSteps != 0 {
		r.Steps = steps
	}
	if parts&PartActivity != 0 {
		r.Activity = activity
	}
	if parts&PartAccount != 0 {
		r.Account = account
	}
	if parts&PartIdle != 0 {
		r.Idle = idle
	}
}
