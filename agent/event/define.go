package event

// Definitions describe what identifiers mean. They are incremental: a trace carries many, each
// preceding the first use of what it defines. Identifiers are handed out from 1 upwards without
// gaps, so that each slice continues where the previous Definitions ended.
type Definitions struct {
	Strings   []string
	Launches  []Launch
	Frames    []Frame
	Stacks    []Stack
	GPUs      []GPU
	Processes []Process
}

// Launch is a kernel and how it was launched.
type Launch struct {
	Name          StringID // mangled, as the compiler named it
	Grid          [3]uint32
	Block         [3]uint32
	Cluster       [3]uint32 // zeros or ones: no cluster
	Registers     uint32    // a thread
	StaticShared  uint32    // bytes a block
	DynamicShared uint32    // bytes a block
	LocalThread   uint32    // bytes a thread
	LocalTotal    uint64    // bytes
}

// Frame is a place in a program's code.
type Frame struct {
	Module  StringID // path of the library or executable; 0 unknown
	BuildID StringID
	Symbol  StringID // as the linker named it; 0 unknown
	Offset  uint64   // from Symbol; from the module's base if Symbol is 0; the address if Module is 0
}

// Stack is a chain of callers, innermost first.
type Stack []FrameID

// GPU is a device of the machine.
type GPU struct {
	UUID            string // "GPU-…"
	Name            string
	Memory          uint64 // bytes
	Multiprocessors uint32 // 0 unknown
	Capability      [2]uint32
	PCIBusID        string
	Index           int32 // NVML's; -1 unknown
}

// Process is a traced process.
type Process struct {
	PID           int32 // as the agent sees it
	InnerPID      int32 // as the program sees it
	ParentPID     int32
	StartTime     Time // of its capture
	Executable    string
	Command       []string
	Mode          string // "ledger", "timeline"
	API           string // "none", "launch", "all"
	Graphs        string // "graph", "node"
	CUPTIVersion  uint32 // cuptiGetVersion: 18 = 11.8, 130000 = 13.0
	CUPTIPath     string
	DriverVersion uint32  // 13000 = 13.0
	Devices       []GPUID // by ordinal; 0 unknown
	Simulated     bool
	Rank          int32 // -1: none known
}

// Provenance says where a trace comes from.
type Provenance struct {
	Tool        string // "warpscope 0.1.0"
	Hostname    string
	Kernel      string // operating system's
	Driver      string // NVML's driver version, e.g. "580.159.04"; "" unknown
	Command     []string
	MonoTime    Time  // a moment on CLOCK_MONOTONIC …
	WallTime    int64 // … and the same one in ns since 1970
	Simulated   bool  // any process ran on the simulated device
	Notes       []string
	CPUs        int32
	MemoryBytes uint64
	// CallResolution says to which multiple, in ns, the times of calls were rounded when the trace was
	// written; 0: they are as CUPTI gave them.
	CallResolution uint32
}

// Loss counts records that were lost or are incomplete.
type Loss struct {
	Process ProcessID
	Kind    Kind
	Cause   LossCause
	Count   uint64 // 0, with LossUndelivered alone: nobody knows how many
}

// Summary closes a trace: what was recorded and what was lost, exactly.
type Summary struct {
	Recorded map[Kind]uint64
	Losses   []Loss
	End      Time
	ExitCode int32 // of the program; -1 unknown
	Signal   int32 // that ended it; 0 none
	Notes    []string
	// LossesUnknown says that Losses does not tell all, because nobody counted: the trace is an
	// import, or was recovered from a part of a file.
	LossesUnknown bool
}

// LiveSet is what was allocated at a moment, for one process: the open allocations, whose rows
// are those of the Allocations that made them. Exact also after records were lost.
type LiveSet struct {
	Process ProcessID
	Time    Time
	Live    Allocations
}
