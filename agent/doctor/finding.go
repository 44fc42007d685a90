package doctor

import "github.com/warpscope/warpscope/agent/analyze"

// Severity is how much a finding matters.
type Severity string

// The severities. An error costs at least a fifth of the time, a warning at least a twentieth.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	NoteSev Severity = "note"
)

// rank orders severities; the highest matters most.
func (s Severity) rank() int {
	switch s {
	case Error:
		return 2
	case Warning:
		return 1
	}
	return 0
}

// Confidence is how sure a finding's explanation is.
type Confidence string

// The confidences: high is read off records, medium is concluded from them, low is an estimate.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
)

// Sources of figures.
const (
	Measured  = "measured"
	Counted   = "counted"
	Estimated = "estimated"
)

// Evidence is a figure that a finding rests on.
type Evidence struct {
	What   string  `json:"what"`
	Figure float64 `json:"figure"`
	// Unit is "s" for seconds a step, "share" for a part of 1, "count" for a number a step,
	// "B/s", "FLOP/s", "MHz".
	Unit   string `json:"unit"`
	Source string `json:"source"`
	// Where says at which call or kernel, on which GPU; "" everywhere.
	Where string `json:"where,omitempty"`
}

// Cost is what a finding costs: time of rules about time, bytes of rules about memory.
type Cost struct {
	SecondsPerStep float64 `json:"seconds_per_step,omitempty"`
	// Share is the cost as a part of a step.
	Share  float64 `json:"share,omitempty"`
	Bytes  uint64  `json:"bytes,omitempty"`
	Source string  `json:"source"`
}

// Fix is one change that helps.
type Fix struct {
	Change    string `json:"change"`
	Direction string `json:"direction"` // "add", "remove", "replace", "raise", "lower"
	Gain      string `json:"expected_gain"`
	// Paste is text to paste; "" where there is none.
	Paste string `json:"paste,omitempty"`
}

// Finding is something that costs time or memory.
type Finding struct {
	ID         string     `json:"id"`
	Title      string     `json:"title"`
	Severity   Severity   `json:"severity"`
	Confidence Confidence `json:"confidence"`
	// Where names the process and the GPU.
	Where    string     `json:"where"`
	Cost     Cost       `json:"cost"`
	Evidence []Evidence `json:"evidence"`
	Fix      []Fix      `json:"fix"`
	RuledOut []string   `json:"ruled_out"`

	// verdict: it says what limits the step; among notes it comes first, whatever they cost.
	verdict bool
	// decisive: it explains a failure by itself, and comes before what costs more with the same severity.
	decisive bool
}

// Note says what could not be judged, and what would bring the evidence.
type Note struct {
	ID    string `json:"id,omitempty"` // of the rule that lacks evidence; "" for others
	Text  string `json:"text"`
	Rerun string `json:"rerun,omitempty"`
}

// Clear is a rule that looked, and found nothing.
type Clear struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Diagnosis is all that the doctor has to say of a trace.
type Diagnosis struct {
	File      string `json:"file,omitempty"`
	Simulated bool   `json:"simulated"`
	Verdict   string `json:"verdict"`
	// Doubts say what makes all figures doubtful, like records that were lost.
	Doubts   []string  `json:"doubts,omitempty"`
	Findings []Finding `json:"findings"` // the most important first
	Notes    []Note    `json:"notes"`
	RuledOut []Clear   `json:"ruled_out"`
	// Account is where the memory was, of a diagnosis of memory that has a trace.
	Account *analyze.MemoryAccount `json:"account,omitempty"`
	// Unit and StepNS are the step that costs are a part of: of the GPU with the first finding.
	Unit   string  `json:"unit"`
	StepNS float64 `json:"step_ns"`
}
