package analyze

import (
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// maxWindows bounds the windows of activity that are kept: 14 hours at five a second.
	maxWindows = 1 << 18
	// activityLag is how old the counters may be that a window begins or ends with: the driver refreshes them every
	// tenth of a second.
	activityLag = event.Time(100_000_000)
	// activityInside is which part of a window, and of the time that its counters may be old, must lie in steps of a
	// phase for it to tell of that phase.
	activityInside = 0.97
)

// ActivitySummary says what the units of GPUs did in each phase of steps, from NVML's averages over windows. It is
// everybody's work on the GPU, and nothing of it tells of single kernels.
type ActivitySummary struct {
	Rows []ActivityRow `json:"rows"`
}

// ActivityRow is one GPU, in the steps of one process.
type ActivityRow struct {
	Key
	Unit string `json:"unit"`
	// Windows counts those in the trace, of which some lie in no phase alone.
	Windows int `json:"windows"`
	// Unmonitored says why there are none, where the trace does.
	Unmonitored string `json:"unmonitored,omitempty"`
	// TF32Share is the part of kernels whose names say TF32 in the time of matrix products, attention and convolutions in the
	// measured steps: NVML does not tell their work on tensor cores from that on 16-bit types.
	TF32Share float64         `json:"tf32_share"`
	Phases    []PhaseActivity `json:"phases"`
}

// PhaseActivity is the windows that lie in steps of one phase. Figures that NVML did not give are nil. Those without a
// unit are parts of what the GPU could do at the clock of the time.
type PhaseActivity struct {
	Phase         string `json:"phase"`
	Windows       int    `json:"windows"`
	NS            int64  `json:"ns"` // of all windows
	SM            *Level `json:"sm,omitempty"`
	Occupancy     *Level `json:"occupancy,omitempty"`
	Tensor        *Level `json:"tensor,omitempty"`
	TensorHalf    *Level `json:"tensor_half,omitempty"` // on 16-bit types and TF32
	TensorInteger *Level `json:"tensor_integer,omitempty"`
	TensorDouble  *Level `json:"tensor_double,omitempty"`
	FP64          *Level `json:"fp64,omitempty"`
	FP32          *Level `json:"fp32,omitempty"`
	FP16          *Level `json:"fp16,omitempty"`
	Integer       *Level `json:"integer,omitempty"`
	DRAM          *Level `json:"dram,omitempty"`
	// Rates, bytes a second.
	DRAMBytes *Level `json:"dram_bytes_per_s,omitempty"`
	PCIeOut   *Level `json:"pcie_out_bytes_per_s,omitempty"`
	PCIeIn    *Level `json:"pcie_in_bytes_per_s,omitempty"`
	NVLinkOut *Level `json:"nvlink_out_bytes_per_s,omitempty"`
	NVLinkIn  *Level `json:"nvlink_in_bytes_per_s,omitempty"`
	// What NVML reads of every GPU: the SM clock in steps of the phase, MHz; the part of the time, about a second before a
	// reading, in which any kernel ran, and in which memory was read or written.
	Clock          *Level `json:"sm_clock_mhz,omitempty"`
	Utilization    *Level `json:"utilization,omitempty"`
	MemoryActivity *Level `json:"memory_activity,omitempty"`
}

// Level is a quantity over windows: its mean over their time, and its spread.
type Level struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// The figures of a window that are shares, then the rates.
const (
	figureSM = iota
	figureOccupancy
	figureTensor
	figureTensorHalf
	figureTensorInteger
	figureTensorDouble
	figureFP64
	figureFP32
	figureFP16
	figureInteger
	figureDRAM
	figureDRAMBytes
	figurePCIeOut
	figurePCIeIn
	figureNVLinkOut
	figureNVLinkIn
	activityFigures
)

// activityWindow is what a GPU's units did in a window; negative figures are unknown.
type activityWindow struct {
	start, end event.Time
	gpu        event.GPUID
	figures    [activityFigures]float64
}

// addActivity keeps the windows of GPUs' activity.
func (t *timelines) addActivity(a *event.Activities) {
	for i, start := range a.Start {
		if !known(start, a.Duration[i]) || !t.a.span.has(start) {
			continue
		}
		w := activityWindow{start: start, end: start + event.Time(a.Duration[i]), gpu: a.GPU[i]}
		for f, v := range [...]int32{
			a.SM[i], a.Occupancy[i], a.Tensor[i], a.TensorHalf[i], a.TensorInteger[i], a.TensorDouble[i], a.FP64[i], a.FP32[i], a.FP16[i], a.Integer[i], a.DRAM[i],
		} {
			w.figures[f] = float64(v) / 1e6
		}
		w.figures[figureDRAMBytes] = -1
		if a.DRAM[i] >= 0 && a.DRAMPeak[i] > 0 {
			w.figures[figureDRAMBytes] = float64(a.DRAM[i]) / 1e6 * float64(a.DRAMPeak[i])
		}
		for f, v := range [...]int64{a.PCIeOut[i], a.PCIeIn[i], a.NVLinkOut[i], a.NVLinkIn[i]} {
			w.figures[figurePCIeOut+f] = float64(v)
		}
		t.activity = append(t.activity, w)
	}
	if len(t.activity) > maxWindows {
		t.activity = append(t.activity[:0], t.activity[len(t.activity)-maxWindows/2:]...)
	}
}

// gpuFacts is what a trace says of a GPU once.
type gpuFacts struct {
	unmonitored          string // why its units were not watched
	power, powerStandard int64  // that it may take, and that it is made for, mW; 0 unknown
}

// maxFacts bounds the GPUs of which facts are kept: a machine has few, a damaged trace may name any.
const maxFacts = 1024

// addFacts keeps what is said of GPUs.
func (t *timelines) addFacts(f *event.Facts) {
	for i, id := range f.Name {
		name := t.a.tables.String(id)
		if f.GPU[i] == 0 || name != event.FactUnmonitored && name != event.FactPowerLimit && name != event.FactPowerDefault {
			continue
		}
		of, known := t.facts[f.GPU[i]]
		if !known && len(t.facts) >= maxFacts {
			continue
		}
		switch name {
		case event.FactUnmonitored:
			of.unmonitored = t.a.tables.String(f.Text[i])
		case event.FactPowerLimit:
			of.power = f.Value[i]
		case event.FactPowerDefault:
			of.powerStandard = f.Value[i]
		}
		if t.facts == nil {
			t.facts = make(map[event.GPUID]gpuFacts)
		}
		t.facts[f.GPU[i]] = of
	}
}

// weighed gathers a figure over windows.
type weighed struct {
	Level
	sum, weight float64
}

func (l *weighed) add(v, weight float64) {
	if v < 0 || weight <= 0 {
		return
	}
	if l.weight == 0 || v < l.Min {
		l.Min = v
	}
	l.Max = max(l.Max, v)
	l.sum += v * weight
	l.weight += weight
}

func (l *weighed) result() *Level {
	if l.weight == 0 {
		return nil
	}
	l.Mean = l.sum / l.weight
	return &l.Level
}

// phaseLevels gathers what is known of a phase.
type phaseLevels struct {
	windows int
	ns      int64
	figures [activityFigures]weighed
	clock   weighed

	utilization, memory weighed
}

// activity says what the lane's GPU did in each phase of its steps.
func (ln *lane) activity(a *Analysis) ActivityRow {
	r := ActivityRow{Key: ln.key(a), Unit: ln.unit, Phases: []PhaseActivity{}}
	gpu := a.devices.list[ln.device].gpu
	if gpu == 0 {
		return r
	}
	r.Unmonitored = a.timelines.facts[gpu].unmonitored
	phases := make(map[string]*phaseLevels)
	var order []string
	of := func(phase string) *phaseLevels {
		p := phases[phase]
		if p == nil {
			p = &phaseLevels{}
			phases[phase] = p
			order = append(order, phase)
		}
		return p
	}
	first := 0
	for i := range a.timelines.activity {
		w := &a.timelines.activity[i]
		if w.gpu != gpu {
			continue
		}
		r.Windows++
		phase := ln.phaseOf(w, &first)
		if phase == "" {
			continue
		}
		p := of(phase)
		p.windows++
		p.ns += int64(w.end - w.start)
		for f := range p.figures {
			p.figures[f].add(w.figures[f], float64(w.end-w.start))
		}
	}
	if len(phases) > 0 {
		r.TF32Share = share(ln.tensors[1], ln.tensors[0])
	}
	ln.readByPhase(a, gpu, of)
	for _, phase := range order {
		r.Phases = append(r.Phases, phases[phase].result(phase))
	}
	// What is measured comes first.
	slices.SortStableFunc(r.Phases, func(x, y PhaseActivity) int {
		switch {
		case x.Phase == PhaseSteady && y.Phase != PhaseSteady:
			return -1
		case y.Phase == PhaseSteady && x.Phase != PhaseSteady:
			return 1
		}
		return 0
	})
	return r
}

// useTensors adds up kernels that use tensor cores in fresh steps, and those of them on TF32.
func (ln *lane) useTensors(a *Analysis) {
	named := make(map[uint32]bool)
	steps := ln.fresh()
	for i := range steps {
		s := &steps[i]
		if s.phase != PhaseSteady {
			continue
		}
		for n := s.from; n < s.to; n++ {
			w := &ln.work[n]
			if w.kind != workKernel || w.class != ClassMatmul && w.class != ClassAttention && w.class != ClassConvolution {
				continue
			}
			is, seen := named[w.id]
			if !seen {
				is = strings.Contains(strings.ToLower(a.tables.String(a.tables.Launch(event.LaunchID(w.id)).Name)), "tf32")
				named[w.id] = is
			}
			ln.tensors[0] += int64(w.end - w.start)
			if is {
				ln.tensors[1] += int64(w.end - w.start)
			}
		}
	}
}

// phaseOf returns the phase whose steps a window lies in, "" if in none alone. Windows come in the order of time; first is
// the first step that the next one may touch.
func (ln *lane) phaseOf(w *activityWindow, first *int) string {
	from := w.start - activityLag
	for *first < len(ln.steps) && ln.steps[*first].end <= from {
		*first++
	}
	phase, covered := "", event.Time(0)
	for i := *first; i < len(ln.steps) && ln.steps[i].start < w.end; i++ {
		s := &ln.steps[i]
		inside := min(s.end, w.end) - max(s.start, from)
		if inside <= 0 {
			continue
		}
		if phase == "" {
			phase = s.phase
		} else if phase != s.phase {
			return ""
		}
		covered += inside
	}
	if float64(covered) < activityInside*float64(w.end-from) {
		return ""
	}
	return phase
}

// readByPhase adds NVML's readings.
func (ln *lane) readByPhase(a *Analysis, gpu event.GPUID, of func(phase string) *phaseLevels) {
	n := 0
	for i := range a.timelines.readings {
		r := &a.timelines.readings[i]
		if r.gpu != gpu {
			continue
		}
		for n < len(ln.steps) && ln.steps[n].end <= r.time {
			n++
		}
		if n < len(ln.steps) && ln.steps[n].start <= r.time {
			p := of(ln.steps[n].phase)
			if r.clock > 0 {
				p.clock.add(float64(r.clock), 1)
			}
			p.utilization.add(float64(r.utilization)/100, 1)
			p.memory.add(float64(r.activity)/100, 1)
		}
	}
}

func (p *phaseLevels) result(phase string) PhaseActivity {
	f := func(i int) *Level { return p.figures[i].result() }
	return PhaseActivity{
		Phase: phase, Windows: p.windows, NS: p.ns, SM: f(figureSM), Occupancy: f(figureOccupancy),
		Tensor: f(figureTensor), TensorHalf: f(figureTensorHalf), TensorInteger: f(figureTensorInteger), TensorDouble: f(figureTensorDouble),
		FP64: f(figureFP64), FP32: f(figureFP32), FP16: f(figureFP16), Integer: f(figureInteger), DRAM: f(figureDRAM), DRAMBytes: f(figureDRAMBytes),
		PCIeOut: f(figurePCIeOut), PCIeIn: f(figurePCIeIn), NVLinkOut: f(figureNVLinkOut), NVLinkIn: f(figureNVLinkIn), Clock: p.clock.result(),
		Utilization: p.utilization.result(), MemoryActivity: p.memory.result(),
	}
}

// Phase returns the activity in one phase; nil: nothing was read in it.
func (r *ActivityRow) Phase(phase string) *PhaseActivity {
	for i := range r.Phases {
		if r.Phases[i].Phase == phase {
			return &r.Phases[i]
		}
	}
	return nil
}
