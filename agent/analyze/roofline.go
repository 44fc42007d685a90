package analyze

import (
	"github.com/warpscope/warpscope/agent/ceilings"
)

// RooflineSummary holds work against what its GPU can do.
type RooflineSummary struct {
	Rows []RooflineRow `json:"rows"`
}

// RooflineRow is one GPU, in the steps of one process.
type RooflineRow struct {
	Key
	Unit     string    `json:"unit"`
	Product  string    `json:"product"`
	Ceilings []Ceiling `json:"ceilings"`
	// Points are the work, what matters most first.
	Points []RooflinePoint `json:"points"`
	// Missing says, a sentence each, what is not known and so not here.
	Missing []string `json:"missing"`
}

// Ceiling is what a GPU can do.
type Ceiling struct {
	Kind      string  `json:"kind"` // "matmul.bf16", as in agent/ceilings
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"` // operations, or bytes
	Memory    bool    `json:"memory"`
	Source    string  `json:"source"` // "measured", "datasheet"
}

// Sources of a point's figures.
const (
	SourceMeasured  = "measured"
	SourceEstimated = "estimated"
)

// What a RooflinePoint stands for.
const (
	PointPhase    = "phase"    // all steps of a phase
	PointOperator = "operator" // calls of an operator with certain shapes
)

// RooflinePoint is a piece of work. A rate of 0 is not known.
type RooflinePoint struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "phase", "operator"
	// Phase is that of the steps it stands for.
	Phase      string  `json:"phase"`
	Share      float64 `json:"share,omitempty"` // of the steps' time; 0: of all of it
	Operations float64 `json:"operations_per_s"`
	Bytes      float64 `json:"bytes_per_s"`
	// OperationsFrom and BytesFrom are "measured" or "estimated".
	OperationsFrom string `json:"operations_from"`
	BytesFrom      string `json:"bytes_from"`
	// Ceiling is the kind of that of its operations.
	Ceiling string `json:"ceiling"`
}

// EstimateNote says what estimated operations rest on.
const EstimateNote = "steps: ~ is an estimate from how busy the GPU's pipes were, as if each busy clock were a full one; tensor cores count as on 16-bit types, half of it in kernels named TF32"

// perClock is how many operations a multiprocessor's pipes can do in a clock, a multiplication and an addition
// counted as two.
type perClock struct{ half, integer, double, fp64, fp32, fp16 float64 }

// clockRates are by compute capability, of GPUs that have NVML's performance monitoring. "NVIDIA H100 Tensor Core GPU
// Architecture", peak rates of the SXM5 module over its 132 multiprocessors and its clock. Others are not guessed.
var clockRates = map[string]perClock{
	"9.0": {half: 4096, integer: 8192, double: 256, fp64: 128, fp32: 256, fp16: 512},
}

// activityOperations estimates the operations a second of a phase from how busy the pipes were: what they would do if each
// busy clock were a full one. Tensor cores do half of it on TF32. Against known products on an H100 it is 0 to 10% too
// high: the clock is that of a few moments.
func activityOperations(gpu *GPURow, p *PhaseActivity, tf32 float64) (tensor, others float64) {
	rates, ok := clockRates[gpu.Capability]
	if !ok || gpu.Multiprocessors == 0 || p.Clock == nil {
		return 0, 0
	}
	clocks := float64(gpu.Multiprocessors) * p.Clock.Mean * 1e6
	of := func(l *Level, rate float64) float64 {
		if l == nil {
			return 0
		}
		return l.Mean * rate * clocks
	}
	tensor = of(p.TensorHalf, rates.half*(1-tf32/2)) + of(p.TensorInteger, rates.integer) + of(p.TensorDouble, rates.double)
	return tensor, of(p.FP64, rates.fp64) + of(p.FP32, rates.fp32) + of(p.FP16, rates.fp16)
}

// roofs are the ceilings of operations in a roofline.
var roofs = []struct {
	kind ceilings.Kind
	name string
}{
	{ceilings.BFloat16, "bf16"}, {ceilings.TF32, "tf32"}, {ceilings.Float32, "fp32"},
}

// roofline holds what is known of steps against the GPUs' ceilings.
func (a *Analysis) roofline(r *Inspection) {
	if a.config.Parts&PartRoofline == 0 || r.Activity == nil {
		return
	}
	r.Roofline = &RooflineSummary{Rows: []RooflineRow{}}
	for i := range r.Activity.Rows {
		r.Roofline.Rows = append(r.Roofline.Rows, a.rooflineRow(r, &r.Activity.Rows[i]))
	}
	if a.config.Parts&PartShapes == 0 {
		return
	}
	switch s := a.operators.summary(ByOperator); {
	case s.Sampled == 0 || len(r.Roofline.Rows) == 0:
	case len(r.Roofline.Rows) == 1:
		r.Roofline.Rows[0].addOperators(s)
	default: // they are not told apart by GPU
		r.Roofline.Rows[0].Missing = append(r.Roofline.Rows[0].Missing, "operators of several processes or GPUs are not told apart here: none is drawn")
	}
}

func (a *Analysis) rooflineRow(in *Inspection, activity *ActivityRow) RooflineRow {
	r := RooflineRow{Key: activity.Key, Unit: activity.Unit, Ceilings: []Ceiling{}, Points: []RooflinePoint{}, Missing: []string{}}
	gpu := in.GPU(activity.UUID, activity.GPU)
	if gpu == nil {
		r.Missing = append(r.Missing, "the trace does not say which GPU it was")
		return r
	}
	r.Product = gpu.Name
	a.ceilings(&r, gpu)
	for i := range activity.Phases {
		p := &activity.Phases[i]
		if p.Windows == 0 {
			continue
		}
		tensor, others := activityOperations(gpu, p, activity.TF32Share)
		point := RooflinePoint{Name: p.Phase + " " + activity.Unit + "s", Kind: PointPhase, Phase: p.Phase, Operations: tensor + others, OperationsFrom: SourceEstimated, BytesFrom: SourceMeasured, Ceiling: string(ceilings.BFloat16)}
		if p.DRAMBytes != nil {
			point.Bytes = p.DRAMBytes.Mean
		}
		if activity.TF32Share > 0.5 {
			point.Ceiling = string(ceilings.TF32)
		}
		if others > tensor {
			point.Ceiling = string(ceilings.Float32)
		}
		r.Points = append(r.Points, point)
	}
	if len(r.Points) == 0 {
		text, _ := in.NoActivity(activity)
		r.Missing = append(r.Missing, text)
	} else if _, ok := clockRates[gpu.Capability]; !ok {
		r.Missing = append(r.Missing, "what a busy clock of its pipes does is not known of compute capability "+gpu.Capability+": operations are not estimated")
	}
	return r
}

// ceilings adds what is known of the GPU's.
func (a *Analysis) ceilings(r *RooflineRow, gpu *GPURow) {
	if a.config.Ceilings == nil {
		r.Missing = append(r.Missing, "no ceilings were asked for")
		return
	}
	of, err := a.config.Ceilings(gpu.UUID, gpu.Name)
	if err != nil {
		r.Missing = append(r.Missing, err.Error()+"; warpscope bench measures them")
		return
	}
	// Traffic is of any mix of reads and writes: its ceiling is the highest rate that was measured, but for writes alone.
	var memory Ceiling
	for _, kind := range []ceilings.Kind{ceilings.Copy, ceilings.Read, ceilings.Triad} {
		rate, ok := of.Rate(kind)
		better := rate.PerSecond > memory.PerSecond && memory.Source != string(ceilings.Measured)
		if rate.Source == ceilings.Measured {
			better = rate.PerSecond > memory.PerSecond || memory.Source != string(ceilings.Measured)
		}
		if ok && better {
			memory = Ceiling{Kind: string(kind), Name: "memory", PerSecond: rate.PerSecond, Memory: true, Source: string(rate.Source)}
		}
	}
	if memory.Memory {
		r.Ceilings = append(r.Ceilings, memory)
	}
	for _, d := range roofs {
		if rate, ok := of.Rate(d.kind); ok {
			r.Ceilings = append(r.Ceilings, Ceiling{Kind: string(d.kind), Name: d.name, PerSecond: rate.PerSecond, Source: string(rate.Source)})
		}
	}
}

// Memory returns the ceiling of memory traffic; nil: it is not known.
func (r *RooflineRow) Memory() *Ceiling {
	for i := range r.Ceilings {
		if r.Ceilings[i].Memory {
			return &r.Ceilings[i]
		}
	}
	return nil
}

// Ceiling returns a ceiling by its kind; nil: it is not known.
func (r *RooflineRow) Ceiling(kind ceilings.Kind) *Ceiling {
	for i := range r.Ceilings {
		if r.Ceilings[i].Kind == string(kind) {
			return &r.Ceilings[i]
		}
	}
	return nil
}

// GPU returns the row of a GPU, by its UUID or else its name; nil: there is none.
func (r *Inspection) GPU(uuid, name string) *GPURow {
	for i := range r.GPUs {
		if g := &r.GPUs[i]; uuid != "" && g.UUID == uuid || uuid == "" && g.GPU == name {
			return g
		}
	}
	return nil
}

// NoActivity says why nothing is known of what the GPU's units did in steps, and whether another run of the same kind
// can tell.
func (r *Inspection) NoActivity(activity *ActivityRow) (text string, again bool) {
	gpu := r.GPU(activity.UUID, activity.GPU)
	switch {
	case activity.Windows > 0:
		return "what the GPU's units did was read in windows of a tenth of a second, and none of them lies in steps of one phase alone: a longer run tells", true
	case activity.Unmonitored != "":
		return "what the GPU's units did was not read: " + activity.Unmonitored, false
	case gpu != nil && len(gpu.Capability) == 3 && gpu.Capability < "9.0":
		return "what the GPU's units did is not in the trace: its performance monitoring is for Hopper and newer GPUs", false
	case r.Provenance.Imported != "":
		return "what the GPU's units did is not in the trace: " + r.Provenance.Imported + " does not record it", true
	}
	return "what the GPU's units did is not in the trace", true
}
