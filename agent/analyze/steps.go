package analyze

import (
	"math"
	"slices"
)

// StepSummary says where steps begin and end, and how long they take.
type StepSummary struct {
	// Rows is one for each GPU of each process that ran something on it.
	Rows []StepRow `json:"rows"`
}

// How the steps of a StepRow were found.
const (
	StepsByRange  = "nvtx"    // NVTX ranges
	StepsByPeriod = "kernels" // the sequence of kernels repeats
	StepsByNone   = "none"    // nothing repeats: what follows looks at all of it
)

// StepRow is the steps of one process on one GPU.
type StepRow struct {
	Key
	Source string `json:"source"`
	// Marker is what marks a step: the text of the ranges, or the kernel each step begins with.
	Marker string `json:"marker"`
	// Unit is what a step is: "training step", "token", "step", "repetition" of what may
	// be less than a step, or "trace" without steps.
	Unit string `json:"unit"`
	// Repeats counts how often the sequence of kernels repeats, by kernels alone; 0: it does not.
	Repeats int `json:"sequence_repeats"`
	// Found counts all steps, Measured those that all figures per step are taken from.
	Found    int         `json:"found"`
	Measured int         `json:"measured"`
	Phases   []StepPhase `json:"phases"`
	// Steps are all steps in the order of time, at most [MaxStepTimes].
	Steps   []StepTime `json:"steps"`
	Omitted int        `json:"omitted"`
	// CoveredNS is the time of measured steps as a part of the GPU's active time.
	CoveredNS int64 `json:"covered_ns"`
	ActiveNS  int64 `json:"active_ns"`
	// CutNS is where the part of the trace that was looked at begins, where not all fits in memory; 0: at its start.
	CutNS int64 `json:"cut_ns,omitempty"`
}

// PartOnly says that what repeats takes less than half of the time: it is likely less than a step, and the account is not
// that of the program.
func (r *StepRow) PartOnly() bool { return r.Unit == "repetition" && 2*r.CoveredNS < r.ActiveNS }

// MaxStepTimes bounds the steps that are listed one by one.
const MaxStepTimes = 1 << 16

// Phases of steps.
const (
	PhaseSteady      = "steady"                // measured
	PhaseWarmUp      = "warm-up"               // at the beginning, slower
	PhasePrefill     = "prefill"               // of inference: the prompt
	PhaseInterrupted = "interrupted"           // many times as long as the others: a checkpoint, an evaluation
	PhaseOther       = "different"             // other kernels than in most steps
	PhaseSampled     = "sampled"               // slowed by the recording of PyTorch's operators
	PhaseGap         = "interrupted recording" // the timeline was off for a part of it
	PhaseTail        = "cut off"               // the trace ends in it
)

// StepPhase is all steps of one phase.
type StepPhase struct {
	Phase   string `json:"phase"`
	Count   int    `json:"count"`
	Wall    Figure `json:"wall_ns"`
	Busy    Figure `json:"gpu_busy_ns"`
	Kernels Figure `json:"kernels"`
}

// StepTime is one step.
type StepTime struct {
	StartNS int64  `json:"start_ns"` // since the start of the trace, by the GPU's clock
	WallNS  int64  `json:"wall_ns"`
	BusyNS  int64  `json:"gpu_busy_ns"`
	Kernels int    `json:"kernels"`
	Phase   string `json:"phase"`
}

// Figure is a quantity over several steps: its mean, its median and its spread.
type Figure struct {
	Mean   float64 `json:"mean"`
	Median int64   `json:"median"`
	P10    int64   `json:"p10"`
	P90    int64   `json:"p90"`
	Min    int64   `json:"min"`
	Max    int64   `json:"max"`
}

// figureOf describes values; it sorts them.
func figureOf(values []int64) Figure {
	if len(values) == 0 {
		return Figure{}
	}
	slices.Sort(values)
	var sum float64
	for _, v := range values {
		sum += float64(v)
	}
	at := func(q float64) int64 {
		return values[min(max(int(math.Ceil(q*float64(len(values))))-1, 0), len(values)-1)]
	}
	return Figure{
		Mean: sum / float64(len(values)), Median: at(0.5), P10: at(0.1), P90: at(0.9), Min: values[0], Max: values[len(values)-1],
	}
}

func median(values []int64) int64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Clone(values)
	slices.Sort(v)
	return v[(len(v)-1)/2]
}

// stepRow describes a lane's steps.
func (ln *lane) stepRow(a *Analysis) StepRow {
	r := StepRow{
		Key: ln.key(a), Source: ln.source, Marker: ln.marker, Unit: ln.unit, Repeats: ln.repeats, Found: len(ln.steps),
		Phases: []StepPhase{}, Steps: []StepTime{}, ActiveNS: ln.active(),
	}
	if ln.source == StepsByNone {
		r.Found = 0
	}
	if cut := max(ln.cut, ln.l.cut); cut > 0 && len(ln.steps) > 0 && ln.steps[0].start >= cut {
		r.CutNS = a.offset(cut)
	}
	var order []string
	for i := range ln.steps {
		s := &ln.steps[i]
		if !slices.Contains(order, s.phase) {
			order = append(order, s.phase)
		}
		if s.phase == PhaseSteady {
			r.Measured++
			r.CoveredNS += s.wall()
		}
		if len(r.Steps) < MaxStepTimes {
			r.Steps = append(r.Steps, StepTime{a.offset(s.start), s.wall(), s.busy, s.kernels, s.phase})
		} else {
			r.Omitted++
		}
	}
	for _, phase := range order {
		var wall, busy, kernels []int64
		for i := range ln.steps {
			if s := &ln.steps[i]; s.phase == phase {
				wall, busy, kernels = append(wall, s.wall()), append(busy, s.busy), append(kernels, int64(s.kernels))
			}
		}
		r.Phases = append(r.Phases, StepPhase{phase, len(wall), figureOf(wall), figureOf(busy), figureOf(kernels)})
	}
	return r
}
