package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// kinds is the number of kinds of records.
const kinds = int(event.KindActivity) + 1

// Inspection is all that was asked of a trace. The parts that every report shows come first; the
// others are nil unless asked for.
type Inspection struct {
	File string `json:"file,omitempty"`
	// Simulated says that some process ran on the simulated device: the trace proves plumbing,
	// not performance.
	Simulated  bool         `json:"simulated"`
	Provenance Origin       `json:"provenance"`
	Range      TimeRange    `json:"range"`
	GPUs       []GPURow     `json:"gpus"`
	Processes  []ProcessRow `json:"processes"`
	// Doubts say, a sentence each, what makes the figures about steps doubtful; nil where nothing does.
	Doubts []string `json:"doubts,omitempty"`
	// DoubtfulCauses says that causes of idleness, and what rests on them, are among it.
	DoubtfulCauses bool        `json:"doubtful_causes,omitempty"`
	Records        []KindCount `json:"records"`
	// Partial says that only some kinds of records, or a part of the time, were read: then
	// Records says less than the trace holds. The reader of the file fills it in.
	Partial bool        `json:"partial"`
	Losses  LossSummary `json:"losses"`
	// Sampling is set where the timeline was recorded in windows, under a budget: whatever is counted, but
	// for allocations and NVML's readings, is then a part of what there was, unless it is marked as estimated.
	Sampling *SamplingSummary `json:"sampling,omitempty"`
	// Damage says what of the file could not be read; the reader of the file fills it in.
	Damage []string `json:"damage"`

	Kernels *KernelSummary `json:"kernels,omitempty"`
	Graphs  *GraphSummary  `json:"graph_launches,omitempty"`
	Copies  *CopySummary   `json:"copies,omitempty"`
	Streams *StreamSummary `json:"streams,omitempty"`
	Calls   *CallSummary   `json:"calls,omitempty"`
	Memory  *MemorySummary `json:"memory,omitempty"`
	// GPUMemory is the account of each GPU at the first of the moments that Memory gives accounts of.
	GPUMemory []GPUAccount  `json:"gpu_memory,omitempty"`
	Ranges    *RangeSummary `json:"nvtx,omitempty"`

	Operators *OperatorSummary `json:"operators,omitempty"`

	Steps   *StepSummary    `json:"steps,omitempty"`
	Account *AccountSummary `json:"account,omitempty"`
	Idle    *IdleSummary    `json:"idle,omitempty"`

	Activity *ActivitySummary `json:"activity,omitempty"`
	Roofline *RooflineSummary `json:"roofline,omitempty"`

	joins joins
}

// Origin says where a trace comes from.
type Origin struct {
	Tool string `json:"tool"`
	// Imported names the tool that recorded the trace, if that was not warpscope: then allocations,
	// modules and NVML readings are unknown, not absent.
	Imported    string   `json:"imported,omitempty"`
	Host        string   `json:"host"`
	Kernel      string   `json:"kernel"`
	Driver      string   `json:"driver"`
	Command     []string `json:"command"`
	CPUs        int32    `json:"cpus"`
	MemoryBytes uint64   `json:"memory_bytes"`
	// CallResolutionNS says to which multiple the times of calls were rounded when the trace was written;
	// 0: they are as CUPTI gave them.
	CallResolutionNS uint32   `json:"call_resolution_ns"`
	Notes            []string `json:"notes"`
	// Complete says that the trace was closed in order; ExitCode and Signal are then the program's.
	Complete bool   `json:"complete"`
	ExitCode *int32 `json:"exit_code,omitempty"`
	Signal   int32  `json:"signal,omitempty"`
}

// TimeRange is when the trace was made, and the part looked at.
type TimeRange struct {
	StartUnixNS int64 `json:"start_unix_ns"` // 0 unknown
	DurationNS  int64 `json:"duration_ns"`
	// Window is set when only a part was looked at; both ends since the start of the trace.
	Window       bool  `json:"window"`
	WindowFromNS int64 `json:"window_from_ns"`
	WindowToNS   int64 `json:"window_to_ns"`
}

// GPURow says how busy a GPU was.
type GPURow struct {
	Name            string `json:"name"`
	GPU             string `json:"gpu"` // "GPU 0"
	UUID            string `json:"uuid"`
	MemoryBytes     uint64 `json:"memory_bytes"`
	Multiprocessors uint32 `json:"multiprocessors"`
	Capability      string `json:"compute_capability"` // "9.0"
	PCIBusID        string `json:"pci_bus_id"`
	// BusyNS is the time in which a kernel, copy or fill was running, each moment counted once.
	BusyNS int64 `json:"busy_ns"`
	// BusyShare is of the time looked at; ActiveShare of the time from the GPU's first event to
	// its last.
	BusyShare   float64 `json:"busy_share"`
	ActiveNS    int64   `json:"active_ns"`
	ActiveShare float64 `json:"active_share"`
	// UncertainNS is how much BusyNS may be too small, because records came very late.
	UncertainNS int64          `json:"busy_uncertain_ns,omitempty"`
	Kernels     uint64         `json:"kernels"`
	Copies      uint64         `json:"copies"`
	Sets        uint64         `json:"sets"`
	Graphs      uint64         `json:"graph_launches"`
	Samples     *SampleSummary `json:"nvml,omitempty"`
}

// ProcessRow describes a traced process.
type ProcessRow struct {
	Key
	InnerPID    int32    `json:"inner_pid,omitempty"`
	ParentPID   int32    `json:"parent_pid,omitempty"`
	Executable  string   `json:"executable"`
	Command     []string `json:"command"`
	Mode        string   `json:"mode"`
	API         string   `json:"api"`
	Graphs      string   `json:"graphs"`
	CUPTI       string   `json:"cupti"` // "13.0"; "" none
	CUPTIPath   string   `json:"cupti_path"`
	CUDADriver  string   `json:"cuda_driver"`
	Simulated   bool     `json:"simulated"`
	State       string   `json:"state"` // of the capture, the last known; "" unknown
	Reasons     []string `json:"reasons"`
	PausedTimes int      `json:"paused_times,omitempty"`
	Windows     int      `json:"windows,omitempty"`     // where it was paused: how often the timeline was recorded …
	RecordedNS  int64    `json:"recorded_ns,omitempty"` // … and for how long in all
	StartNS     int64    `json:"start_ns"`              // since the start of the trace
	FirstNS     int64    `json:"first_ns"`
	LastNS      int64    `json:"last_ns"`
	Kernels     uint64   `json:"kernels"`
	Copies      uint64   `json:"copies"`
	Allocations uint64   `json:"allocations"`
}

// KindCount counts the records of a kind.
type KindCount struct {
	Kind string `json:"kind"`
	// Read counts what was read here, in the time looked at and outside it.
	Read uint64 `json:"read"`
	// Recorded is what the trace's own summary says was recorded; nil without a summary.
	Recorded *uint64 `json:"recorded,omitempty"`
}

// LossSummary says what was lost.
type LossSummary struct {
	// Known is false if the trace has no summary, or is an import whose tool does not count: then
	// losses were not told.
	Known bool `json:"known"`
	// Lost counts records that are missing, Incomplete those that lack something.
	Lost       uint64 `json:"lost"`
	Incomplete uint64 `json:"incomplete"`
	// Dropped counts what is older than the trace was to keep.
	Dropped uint64    `json:"dropped,omitempty"`
	Rows    []LossRow `json:"rows"`
}

// LossRow counts records of one kind lost for one cause.
type LossRow struct {
	PID   int32  `json:"pid,omitempty"`
	Kind  string `json:"kind"`
	Cause string `json:"cause"`
	Kept  bool   `json:"kept"` // in the trace, incomplete
	Count uint64 `json:"count"`
	// Unknown says that nobody knows how many; Count is 0.
	Unknown bool `json:"unknown,omitempty"`
}

// GraphSummary is about launches of whole CUDA graphs.
type GraphSummary struct {
	Spread
	BusyShare float64 `json:"busy_share"`
	Graphs    int     `json:"graphs"` // distinct
	// NodesRecorded says that kernels inside graphs were recorded one by one.
	NodesRecorded bool `json:"nodes_recorded"`
}

func lossSummary(tables *event.Tables, s *event.Summary) LossSummary {
	out := LossSummary{Known: s != nil && !s.LossesUnknown, Rows: []LossRow{}}
	if s == nil {
		return out
	}
	for _, l := range s.Losses {
		unknown := l.Cause == event.LossUndelivered
		if l.Count == 0 && !unknown {
			continue
		}
		row := LossRow{Unknown: unknown, PID: tables.Process(l.Process).PID, Kind: KindName(l.Kind), Cause: CauseName(l.Cause), Kept: Kept(l.Cause), Count: l.Count}
		switch {
		case row.Kept:
			out.Incomplete += l.Count
		case l.Cause == event.LossAged:
			out.Dropped += l.Count
		default:
			out.Lost += l.Count
		}
		out.Rows = append(out.Rows, row)
	}
	slices.SortStableFunc(out.Rows, func(x, y LossRow) int { return cmp.Compare(y.Count, x.Count) })
	return out
}
