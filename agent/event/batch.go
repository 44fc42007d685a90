package event

// Time is a moment in nanoseconds of CLOCK_MONOTONIC; 0 is unknown.
type Time int64

// Identifiers of things that a [Definitions] describes; 0 is none.
type (
	// StringID names a string.
	StringID uint32
	// LaunchID names a [Launch].
	LaunchID uint32
	// StackID names a [Stack].
	StackID uint32
	// FrameID names a [Frame].
	FrameID uint32
	// ProcessID names a [Process].
	ProcessID uint32
	// GPUID names a [GPU].
	GPUID uint32
)

// Batch holds events of one process (or, with Process 0, of the machine), by kind, in columns.
// All columns of one kind have the same length. Within a kind, events are nearly in the order of
// time, but not strictly.
type Batch struct {
	Process ProcessID

	Kernels     Kernels
	Copies      Copies
	Sets        Sets
	Syncs       Syncs
	Calls       Calls
	Markers     Markers
	Graphs      Graphs
	Overheads   Overheads
	Allocations Allocations
	Contexts    Contexts
	Modules     Modules
	Pools       Pools
	GPUSamples  GPUSamples
	Usages      Usages
	States      States
	Windows     Windows
	Facts       Facts
	Activities  Activities
}

// Kernels are single kernel executions on a GPU.
type Kernels struct {
	Start       []Time     // on the device
	Duration    []int64    // ns; -1 unknown
	Launch      []LaunchID // name and launch configuration
	Correlation []uint32   // joins Calls
	Device      []uint32   // ordinal in the process
	Context     []uint32
	Stream      []uint32
	Graph       []uint32 // 0: not from a graph
	GraphNode   []uint64
}

// Copies are memory copies.
type Copies struct {
	Start       []Time
	Duration    []int64 // ns; -1 unknown
	Bytes       []uint64
	Kind        []CopyKind
	Source      []MemoryKind
	Target      []MemoryKind
	Async       []bool
	Correlation []uint32
	Device      []uint32
	Peer        []uint32 // other device of a peer copy, else equal to Device
	Context     []uint32
	Stream      []uint32
	Graph       []uint32
	GraphNode   []uint64
}

// Sets are memory fills.
type Sets struct {
	Start       []Time
	Duration    []int64 // ns; -1 unknown
	Bytes       []uint64
	Value       []uint32
	Memory      []MemoryKind
	Correlation []uint32
	Device      []uint32
	Context     []uint32
	Stream      []uint32
	Graph       []uint32
	GraphNode   []uint64
}

// NoStream marks an event that is tied to no stream.
const NoStream = ^uint32(0)

// Syncs are waits of a CPU thread, or of a stream, as CUPTI recorded them.
type Syncs struct {
	Start       []Time
	Duration    []int64 // ns; -1 unknown
	Type        []SyncType
	Correlation []uint32
	Context     []uint32
	Stream      []uint32 // NoStream: none
	Event       []uint32 // 0: none
}

// Calls are the CPU side of API calls.
type Calls struct {
	Enter       []Time
	Duration    []int64 // ns; -1 unknown
	Name        []StringID
	Domain      []Domain
	Thread      []uint32 // the kernel's thread id
	Correlation []uint32
	Result      []int32 // CUresult or cudaError_t; 0 success
}

// Markers are NVTX marks and the two ends of NVTX ranges. A range is a MarkerStart and a MarkerEnd
// with one ID; the end carries no text. A MarkerData brings payload, color and category of the
// marker with the same ID.
type Markers struct {
	Time        []Time
	Kind        []MarkerKind
	ID          []uint32
	Thread      []uint32 // 0: unknown
	Text        []StringID
	Domain      []StringID // 0: the default domain
	PayloadKind []PayloadKind
	Payload     []uint64 // bits of PayloadKind; PayloadText: a StringID
	Color       []uint32 // ARGB; 0: none
	Category    []uint32
}

// Graphs are launches of whole CUDA graphs.
type Graphs struct {
	Start       []Time
	Duration    []int64 // ns; -1 unknown
	Graph       []uint32
	Correlation []uint32
	Device      []uint32
	Context     []uint32
	Stream      []uint32
}

// Overheads are times that the tracing itself or the driver's compiler took.
type Overheads struct {
	Start       []Time
	Duration    []int64
	Kind        []OverheadKind
	Thread      []uint32
	Correlation []uint32
}

// Allocations are driver calls that take or give back memory, and calls that failed. Sequence
// orders them as they took effect (allocations when they returned, releases when they began);
// consumers that keep a live set apply them in that order.
type Allocations struct {
	Sequence []uint64
	Enter    []Time
	Duration []int64 // ns inside the call
	Op       []AllocOp
	Space    []Space
	Address  []uint64 // or the handle, for SpaceHandle
	Size     []uint64 // bytes asked for; of a release: released, 0 if unknown
	Handle   []uint64 // map, unmap: the physical handle; pool calls: the pool
	Device   []int32  // ordinal; -1 unknown
	Context  []uint32
	Stream   []uint32 // NoStream: none
	Thread   []uint32
	API      []StringID // the call's name
	Result   []int32    // CUresult; 0 success, 2 out of memory
	Known    []bool     // of a release: what it released had been seen allocated
	Stack    []StackID
}

// Contexts are creations and destructions of CUDA contexts.
type Contexts struct {
	Time       []Time
	Created    []bool
	Context    []uint32
	Device     []int32 // ordinal; -1 unknown
	NullStream []uint32
}

// Modules are loads and unloads of device code.
type Modules struct {
	Time    []Time
	Loaded  []bool
	Module  []uint32
	Context []uint32
	Bytes   []uint64 // of the image
	Thread  []uint32
}

// Pools are samples of a stream-ordered memory pool's own account.
type Pools struct {
	Time         []Time
	Device       []int32
	Pool         []uint64 // handle; 0: the device's default pool
	Reserved     []uint64 // bytes
	Used         []uint64
	ReservedHigh []uint64
	UsedHigh     []uint64
}

// GPUSamples are NVML readings of a GPU. A negative value was not available.
type GPUSamples struct {
	Time           []Time
	GPU            []GPUID
	UsedMemory     []int64 // bytes, everybody's
	ReservedMemory []int64 // bytes kept by driver and firmware
	Utilization    []int32 // % of time with a kernel running (NVML's definition)
	MemoryActivity []int32 // % of time with memory being read or written
	SMClock        []int32 // MHz
	MemoryClock    []int32 // MHz
	Power          []int32 // mW
	Temperature    []int32 // °C
	Throttle       []int64 // bits of nvmlClocksEventReasons
}

// Usages are NVML readings of one process's memory on one GPU.
type Usages struct {
	Time  []Time
	GPU   []GPUID
	PID   []int32 // in the agent's PID namespace
	Bytes []int64 // -1 not available
}

// States are changes of a process's capture.
type States struct {
	Time   []Time
	State  []State
	Reason []uint32 // set of 1 << Reason
}

// Windows are the times in which a timeline under a budget was recorded, and those that they stand
// for: what totals are estimated with. The place of each window in its span was drawn at random; a moment of the
// span was recorded with the probability Planned/Span. Spans of a process follow each other without gaps.
type Windows struct {
	Begin    []Time  // when recording took effect for launches; 0: nothing was recorded in this span
	Length   []int64 // ns
	Planned  []int64 // ns: the length that was planned
	Start    []Time  // of the span
	Span     []int64 // ns
	Work     []int64 // ns: how long what was done in the window takes without recording
	SpanWork []int64 // the same of the whole span
	Loss     []int64 // ns that the program lost to the window, as measured: may be negative
	Measured []bool  // whether Loss is known
}
