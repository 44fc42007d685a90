package analyze

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"

	"github.com/warpscope/warpscope/agent/ceilings"
	"github.com/warpscope/warpscope/agent/event"
)

// Part is a set of things to compute. What every report shows is always computed.
type Part uint

// The parts.
const (
	PartKernels Part = 1 << iota
	PartCopies
	PartStreams
	PartCalls // calls, waits and overheads
	PartMemory
	PartRanges
	PartSteps     // where steps begin and end
	PartAccount   // where the time of a step goes
	PartIdle      // why GPUs have nothing to do
	PartActivity  // what the GPU's units did in steps
	PartRoofline  // steps under the GPU's ceilings
	PartShapes    // with PartRoofline: sampled operators, too
	PartOperators // PyTorch's operators, modules or regions in sampled steps
	PartsOfSteps  = PartSteps | PartAccount | PartIdle | PartActivity | PartRoofline
	PartOverview  = PartKernels | PartCopies | PartCalls | PartMemory
)

// Config says what to compute.
type Config struct {
	Parts   Part
	Window  Window
	Name    *regexp.Regexp // kernels, calls and ranges: on their demangled names; nil: all
	GroupBy GroupBy        // kernels and copies; "": ByName
	// Operators says what rows of PartOperators stand for; "": ByOperator.
	Operators GroupBy
	// IgnoreRanges finds steps by the sequence of kernels alone, not by NVTX ranges.
	IgnoreRanges bool
	// Start is when the trace begins, for an analysis that is given a part of it; 0: it is given all,
	// and finds out.
	Start event.Time
	// Ceilings returns what is known of a GPU's ceilings, by its UUID and its product's name; nil: nothing.
	Ceilings func(uuid, product string) (ceilings.GPU, error)
}

// Analysis computes an Inspection from the parts of one trace, given to it in order. It copies
// what it keeps.
type Analysis struct {
	config     Config
	tables     event.Tables
	demangle   demangler
	clock      Clock
	span       span
	resolved   bool
	processes  []*process // by ProcessID
	devices    devices
	streams    streams
	kernels    *kernelTable
	copies     copyTable
	calls      callTable
	pools      map[poolKey]*PoolRow
	held       *heldFacts
	graphs     graphTable
	ranges     *rangeTable
	operators  *operatorTable
	timelines  *timelines
	provenance *event.Provenance
	summary    *event.Summary
	imported   string // the tool that recorded the trace; "": warpscope
	first      event.Time
	last       event.Time
	scratch    []uint32
}

var _ event.Sink = (*Analysis)(nil)

// New returns an empty Analysis.
func New(config Config) *Analysis {
	if config.GroupBy == "" {
		config.GroupBy = ByName
	}
	a := &Analysis{config: config, span: span{all: true, from: math.MinInt64, to: math.MaxInt64}, pools: make(map[poolKey]*PoolRow), held: newHeld()}
	a.clock.Begin(config.Start)
	a.kernels = newKernelTable(config.GroupBy, a.matches)
	a.copies.by = config.GroupBy
	if config.GroupBy == ByRange {
		a.copies.by = ByName
	}
	if config.Parts&PartRanges != 0 || config.GroupBy == ByRange {
		a.ranges = newRangeTable(a)
	}
	if config.Parts&(PartOperators|PartShapes) != 0 {
		a.operators = newOperatorTable(a)
	}
	if config.Parts&PartsOfSteps != 0 {
		a.timelines = newTimelines(a)
	}
	return a
}

// matches says whether a kernel's name is asked for.
func (a *Analysis) matches(name event.StringID) bool {
	if a.config.Name == nil {
		return true
	}
	symbol := a.tables.String(name)
	return a.config.Name.MatchString(a.demangle.name(symbol)) || a.config.Name.MatchString(symbol)
}

// Provenance says where the trace comes from.
func (a *Analysis) Provenance(p *event.Provenance) {
	q := *p
	a.provenance = &q
	a.clock.Provenance(p)
}

// Summary gives the trace's own account; the last one counts.
func (a *Analysis) Summary(s *event.Summary) {
	q := *s
	a.summary = &q
}

// Imported says that another tool recorded the trace. What warpscope records and that tool does not
// (allocations, modules, NVML readings) is then unknown, not absent.
func (a *Analysis) Imported(tool string) { a.imported = tool }

// Define adds definitions.
func (a *Analysis) Define(d *event.Definitions) error {
	a.tables.Apply(d)
	a.clock.Define(d)
	if a.operators != nil {
		a.operators.define(d)
	}
	for i := range d.Launches {
		a.kernels.launch(d.Launches[i].Name)
	}
	return nil
}

// begin settles the window once the trace's start is known.
func (a *Analysis) begin(t event.Time) {
	if a.resolved {
		return
	}
	a.clock.Begin(t)
	if a.clock.Origin() == 0 {
		return
	}
	a.resolved = true
	if w := a.config.Window; w.From.Set || w.To.Set {
		a.span.from, a.span.to = a.clock.Bounds(w)
		a.span.all = false
	}
}

// process returns the state of a process; those that were never defined share that of the machine.
func (a *Analysis) process(id event.ProcessID) *process {
	if uint64(id) > uint64(len(a.tables.Processes())) || id >= maxProcesses {
		id = 0
	}
	for len(a.processes) <= int(id) {
		n := event.ProcessID(len(a.processes))
		a.processes = append(a.processes, &process{id: n, info: a.tables.Process(n)})
	}
	return a.processes[id]
}

// inOrder returns the processes that the trace defines, then what belongs to none.
func (a *Analysis) inOrder() []*process {
	for i := range a.tables.Processes() {
		a.process(event.ProcessID(i + 1))
	}
	if len(a.processes) == 0 {
		return nil
	}
	return append(slices.Clone(a.processes[1:]), a.processes[0])
}

// Batch adds events.
func (a *Analysis) Batch(b *event.Batch) error {
	if err := check(b); err != nil {
		return err
	}
	p := a.process(b.Process)
	first, last := extent(b)
	a.begin(first)
	a.count(p, b, first, last)
	if !p.nodes && slices.ContainsFunc(b.Kernels.Graph, func(g uint32) bool { return g != 0 }) {
		p.nodes = true
	}
	a.gpuWork(p, b)
	if a.config.Parts&(PartStreams) != 0 {
		a.streamWork(p, b)
	}
	if a.config.Parts&PartKernels != 0 {
		a.kernelWork(p, b)
		a.graphs.add(&a.span, p, &b.Graphs)
	}
	if a.config.Parts&PartCopies != 0 {
		a.copyWork(p, b)
	}
	if a.config.Parts&PartCalls != 0 {
		strings, _, _, _, _, _ := a.tables.Counts()
		a.calls.add(&a.span, &b.Calls, strings)
		a.calls.addSyncs(&a.span, &b.Syncs)
		a.calls.addOverheads(&a.span, &b.Overheads)
	}
	if a.config.Parts&PartMemory != 0 {
		if len(b.Allocations.Sequence) > 0 {
			a.ledger(p).Add(&b.Allocations)
		}
		a.addPools(p, &b.Pools)
		p.loads(a, b)
		a.held.add(a, &b.Facts)
	}
	if a.ranges != nil {
		a.ranges.add(p, b)
	}
	if a.operators != nil && a.operators.any {
		a.operators.ranges.add(p, b)
	}
	if a.timelines != nil {
		a.timelines.add(p, b)
	}
	a.addSamples(b)
	a.sample(p, b)
	for i, t := range b.States.Time {
		p.windows.add(t, b.States.State[i])
		p.states = append(p.states, stateChange{t, b.States.State[i], b.States.Reason[i]})
		if len(p.states) > maxStates {
			p.states = append(p.states[:1], p.states[len(p.states)-maxStates/2:]...)
		}
	}
	for i, context := range b.Contexts.Context {
		if b.Contexts.Created[i] && len(p.null) < maxStreams {
			if p.null == nil {
				p.null = make(map[uint32]uint32)
			}
			p.null[context] = b.Contexts.NullStream[i]
		}
	}
	return nil
}

// maxStates bounds the changes of state that are kept of a process.
const maxStates = 4096

// Live adds a checkpoint of what one process has allocated.
func (a *Analysis) Live(l *event.LiveSet) error {
	if a.config.Parts&PartMemory == 0 {
		return nil
	}
	if err := checkAllocations(&l.Live); err != nil {
		return err
	}
	a.begin(l.Time)
	a.ledger(a.process(l.Process)).Checkpoint(l)
	return nil
}

func (a *Analysis) ledger(p *process) *Ledger {
	if p.ledger == nil {
		p.account = newAccount(&a.span, &a.tables)
		p.account.changed = func(ordinal int32, t event.Time, bytes uint64) {
			a.devices.of(p, uint32(ordinal)).allocated.add(t, bytes)
		}
		p.ledger = newLedger(p.account, a.span.to)
	}
	return p.ledger
}

func (a *Analysis) kernelWork(p *process, b *event.Batch) {
	switch a.config.GroupBy {
	case ByName:
		a.kernels.add(&a.span, &b.Kernels)
	case ByRange: // the table of ranges adds them, once it knows who launched them
	default:
		index := a.groups(p, b.Kernels.Device, b.Kernels.Context, b.Kernels.Stream)
		a.kernels.addTo(&a.span, &b.Kernels, index, a.groupKey)
	}
}

func (a *Analysis) copyWork(p *process, b *event.Batch) {
	if a.copies.by == ByName {
		a.copies.add(&a.span, &b.Copies, nil, nil)
	} else {
		index := a.groups(p, b.Copies.Device, b.Copies.Context, b.Copies.Stream)
		a.copies.add(&a.span, &b.Copies, index, a.groupKey)
	}
	a.copies.addSets(&a.span, &b.Sets)
}

// groups returns for each event the index of its group; it is valid until the next call.
func (a *Analysis) groups(p *process, ordinals, contexts, ids []uint32) []uint32 {
	a.scratch = a.scratch[:0]
	for i, ordinal := range ordinals {
		var at uint32
		switch a.config.GroupBy {
		case ByStream:
			at = a.streamIndex(p, contexts[i], ids[i], ordinal)
		case ByDevice:
			at = uint32(a.devices.of(p, ordinal).index)
		case ByProcess:
			at = uint32(p.id)
		}
		a.scratch = append(a.scratch, at)
	}
	return a.scratch
}

func (a *Analysis) groupKey(at uint32) Key {
	switch a.config.GroupBy {
	case ByStream:
		return a.streamKey(at)
	case ByDevice:
		return a.deviceKey(int(at))
	}
	return a.processKey(event.ProcessID(at))
}

// Inspect returns what was computed. The Analysis must not be used afterwards.
func (a *Analysis) Inspect() *Inspection {
	a.begin(a.first)
	if a.ranges != nil {
		a.ranges.finish()
	}
	if a.operators != nil {
		a.operators.ranges.finish()
	}
	r := &Inspection{Damage: []string{}}
	r.Simulated = a.provenance != nil && a.provenance.Simulated
	r.Provenance = a.origin()
	r.Range = a.timeRange()
	busy := a.gpuRows(r)
	a.processRows(r)
	r.Records = a.records()
	r.Losses = lossSummary(&a.tables, a.summary)
	if a.config.Parts&PartKernels != 0 {
		r.Kernels = a.kernels.summary(a, busy)
		r.Graphs = a.graphs.summary(busy, slices.ContainsFunc(a.processes, func(p *process) bool { return p.nodes }))
	}
	if a.config.Parts&PartCopies != 0 {
		r.Copies = a.copies.summary(busy)
	}
	if a.config.Parts&PartStreams != 0 {
		r.Streams = a.streamSummary(busy)
	}
	if a.config.Parts&PartCalls != 0 {
		r.Calls = a.calls.summary(&a.tables)
	}
	if a.config.Parts&PartMemory != 0 {
		r.Memory = a.memorySummary()
	}
	if a.config.Parts&PartRanges != 0 {
		r.Ranges = a.ranges.summary(busy)
	}
	if a.config.Parts&PartOperators != 0 {
		r.Operators = a.operators.summary(cmp.Or(a.config.Operators, ByOperator))
	}
	if a.timelines != nil {
		a.timelines.finish(r, a.config.Parts)
		a.roofline(r)
	}
	a.sampled(r)
	r.Doubt()
	return r
}

func (a *Analysis) origin() Origin {
	o := Origin{Imported: a.imported, Command: []string{}, Notes: []string{}}
	if p := a.provenance; p != nil {
		o.Tool, o.Host, o.Kernel, o.Driver = p.Tool, p.Hostname, p.Kernel, p.Driver
		o.CPUs, o.MemoryBytes, o.CallResolutionNS = p.CPUs, p.MemoryBytes, p.CallResolution
		o.Command = append(o.Command, p.Command...)
		o.Notes = append(o.Notes, p.Notes...)
	}
	if s := a.summary; s != nil {
		o.Complete, o.Signal = true, s.Signal
		if s.ExitCode >= 0 {
			o.ExitCode = &s.ExitCode
		}
		o.Notes = append(o.Notes, s.Notes...)
	}
	return o
}

func (a *Analysis) timeRange() TimeRange {
	start, end := a.ends()
	r := TimeRange{StartUnixNS: a.clock.Wall(start), DurationNS: int64(end - start)}
	if !a.span.all {
		r.Window = true
		r.WindowFromNS = int64(max(a.span.from, start) - a.clock.Origin())
		r.WindowToNS = int64(min(a.span.to, end) - a.clock.Origin())
	}
	return r
}

// ends returns the first and last moment of the trace.
func (a *Analysis) ends() (start, end event.Time) {
	start, end = a.clock.Origin(), a.last
	if a.first != 0 && a.first < start {
		start = a.first
	}
	if a.summary != nil && a.summary.End > end && a.summary.End < 1<<62 {
		end = a.summary.End
	}
	return start, max(start, end)
}

func (a *Analysis) gpuRows(r *Inspection) (busy int64) {
	for i := range a.tables.GPUs() {
		a.devices.gpu(event.GPUID(i + 1))
	}
	start, end := a.ends()
	start, end = a.span.clip(start, end)
	r.GPUs = []GPURow{}
	for i, d := range a.devices.list {
		gpu := a.tables.GPU(d.gpu)
		key := a.deviceKey(i)
		row := GPURow{
			Name: gpu.Name, GPU: key.Name, UUID: gpu.UUID, MemoryBytes: gpu.Memory, Multiprocessors: gpu.Multiprocessors,
			PCIBusID: gpu.PCIBusID, BusyNS: d.busy.Total(), UncertainNS: d.busy.Late(),
			Kernels: d.kernels, Copies: d.copies, Sets: d.sets, Graphs: d.graphs, Samples: a.sampleSummary(&d.samples),
		}
		if gpu.Capability[0] != 0 {
			row.Capability = fmt.Sprintf("%d.%d", gpu.Capability[0], gpu.Capability[1])
		}
		row.ActiveNS = int64(d.last - d.first)
		row.BusyShare, row.ActiveShare = share(row.BusyNS, int64(end-start)), share(row.BusyNS, row.ActiveNS)
		busy += row.BusyNS
		r.GPUs = append(r.GPUs, row)
	}
	return busy
}

func (a *Analysis) processRows(r *Inspection) {
	r.Processes = []ProcessRow{}
	for _, p := range a.inOrder() {
		if p.id == 0 {
			continue
		}
		i := p.info
		row := ProcessRow{
			Key: a.processKey(p.id), InnerPID: i.InnerPID, ParentPID: i.ParentPID, Executable: i.Executable,
			Command: append([]string{}, i.Command...), Mode: i.Mode, API: i.API, Graphs: i.Graphs,
			CUPTI: CUPTIVersionName(i.CUPTIVersion), CUPTIPath: i.CUPTIPath, CUDADriver: CUDAVersionName(i.DriverVersion),
			Simulated: i.Simulated, StartNS: a.offset(i.StartTime), FirstNS: a.offset(p.first), LastNS: a.offset(p.last),
			Kernels: p.counts[event.KindKernel], Copies: p.counts[event.KindCopy], Allocations: p.counts[event.KindAllocation],
			Reasons: []string{},
		}
		for _, s := range p.states {
			row.State = StateName(s.state)
			row.Reasons = ReasonNames(s.reason)
			if s.state == event.StatePaused {
				row.PausedTimes++
			}
		}
		if w := &p.windows; w.paused {
			row.Windows, row.RecordedNS = w.count, w.until(p.last)
		}
		r.Simulated = r.Simulated || i.Simulated
		r.Processes = append(r.Processes, row)
	}
}
