package event

// Snapshot is what PyTorch's caching allocator held at a moment, and what it did before: tensors inside
// the memory that it had taken from the driver. Sizes are bytes.
type Snapshot struct {
	Settings AllocatorSettings
	Texts    []string     // contexts and metadata, by index; the first is ""
	Lines    []SourceLine // places in code, by index
	Stacks   [][]uint32   // indexes into Lines, innermost first; the first is empty
	Streams  []uint64     // cudaStream_t, by index; the first is the default stream
	Pools    []PoolKey    // by index; the first is the default pool
	Devices  []DeviceSnapshot
	Marks    []SnapshotMark
	Notes    []string // what of it was not understood, a sentence each
	// Added is what warpscope's Python module knew when memory ran out; nil: the snapshot is not its.
	Added *SnapshotFailure
	// Roles are what warpscope's Python module knew of tensors where nothing had failed.
	Roles []RoleRange
}

// SnapshotFailure is an allocation that failed, as warpscope's Python module saw it. Sizes are bytes, 0
// where they are not known.
type SnapshotFailure struct {
	Device    int32
	PID       int32
	Time      int64 // ns of CLOCK_MONOTONIC
	Requested uint64
	Limit     uint64 // the device's size, or what the program has allowed itself
	Total     uint64 // of the device
	Free      uint64 // on the device
	Framework string // its version
	Stack     []CodeLine
	// Elsewhere: the stack is the main thread's, which waited for the one that failed.
	Elsewhere bool
	Limited   []CodeLine // who set the limit; nil: nobody, or it is not known
	Roles     []RoleRange
	// Complete: all optimizers were looked at for Roles.
	Complete bool
	// Progress is how far training was; nil: not known.
	Progress *Progress
}

// Progress is how far a program's training was, by calls of its optimizer.
type Progress struct {
	Steps uint64
	// Live is what tensors held after each Every-th step, in bytes.
	Every uint64
	Live  []uint64
	// Applied: the last step has used the gradients, and they have not been given back since.
	Applied bool
	// Zeroed counts calls of zero_grad, Kept those of them that keep the gradients' memory.
	Zeroed, Kept uint64
	// StackSteps is in how many steps allocations had their stacks recorded.
	StackSteps uint64
}

// CodeLine is a line of code with its text. Stacks of them begin with the innermost.
type CodeLine struct {
	SourceLine

	Text string
}

// RoleRange is memory whose use is known: "parameters", "gradients", "optimizer state".
type RoleRange struct {
	Address, Size uint64
	Role          string
}

// SourceLine is a line of code.
type SourceLine struct {
	Function string
	File     string
	Line     int32 // 0 unknown
}

// PoolKey names a memory pool of the allocator; zeros: the default one. First is set of pools that CUDA
// graphs made for themselves, Second of those that programs made.
type PoolKey struct{ First, Second uint64 }

// AllocatorSettings are the allocator's settings, as recorded.
type AllocatorSettings struct {
	Known      bool   // they were recorded; else they are the defaults
	Text       string // PYTORCH_CUDA_ALLOC_CONF, or what was set last
	Expandable bool
	MaxSplit   uint64  // 0: no limit
	GC         float64 // garbage_collection_threshold; 0: none
	// Divisions are roundup_power2_divisions, by interval: of 1 MiB, 2 MiB, … 32 GiB.
	Divisions [16]uint64
	// LargeSegment and NonSplitRounding are large_segment_size_mb and max_non_split_rounding_mb.
	LargeSegment     uint64
	NonSplitRounding uint64
	Fraction         float64 // per_process_memory_fraction; 0 not set
	Backend          string  // "": native
}

// DeviceSnapshot is one device's part.
type DeviceSnapshot struct {
	Device   int32
	Segments []TensorSegment // by address
	Events   []TensorEvent   // by time
}

// TensorSegment is memory taken from the driver.
type TensorSegment struct {
	Address    uint64
	Size       uint64
	Stream     uint32 // index into Streams
	Pool       uint32 // index into Pools
	Stack      uint32 // of who made it grow
	Small      bool   // for requests of up to 1 MiB
	Expandable bool
	Blocks     []TensorBlock // by address, without gaps
}

// TensorBlock is a part of a segment.
type TensorBlock struct {
	Address   uint64
	Size      uint64
	Requested uint64 // what was asked for; 0 of free ones
	State     BlockState
	Stack     uint32 // of who asked; 0 not recorded
}

// BlockState is what a block is used for.
type BlockState uint8

// Values of BlockState.
const (
	BlockFree    BlockState = iota
	BlockLive               // a tensor's
	BlockPending            // given back, but another stream may still use it
)

// TensorAction is what the allocator did.
type TensorAction uint8

// Values of TensorAction.
const (
	TensorUnknown TensorAction = iota
	TensorAlloc
	TensorFreeRequested
	TensorFreeCompleted
	TensorSegmentAlloc
	TensorSegmentFree
	TensorSegmentMap
	TensorSegmentUnmap
	TensorSnapshot
	TensorOOM
)

// PoolUnknown is the pool of an event that does not name it.
const PoolUnknown = ^uint32(0)

// TensorEvent is one thing that the allocator did.
type TensorEvent struct {
	Address  uint64 // of TensorOOM: bytes that the device had free
	Size     uint64 // of TensorAlloc and frees: as asked for
	Time     int64  // ns since 1970; 0 unknown
	Stream   uint32 // index into Streams
	Pool     uint32 // index into Pools, or PoolUnknown
	Stack    uint32 // index into Stacks
	Context  uint32 // index into Texts: of torch.compile
	Metadata uint32 // index into Texts: the program's own
	Action   TensorAction
}

// SnapshotMark is something the program said of itself while it ran.
type SnapshotMark struct {
	Device int32
	Time   int64 // ns since 1970; 0 unknown
	Name   string
	Stage  string // "START", "END"; "" neither
}

// Failure is an allocation that failed, as a program's message tells it. Sizes are bytes, -1 where the
// message does not say.
type Failure struct {
	Framework string // "PyTorch", "JAX", "CuPy", "vLLM", "CUDA"
	Class     string // of the exception; "" unknown
	Device    int32  // -1 unknown
	Asked     int64  // by the allocator from the driver, or by the program
	Capacity  int64
	Free      int64
	Allowed   int64 // by set_per_process_memory_fraction
	Allocated int64 // by tensors
	Private   int64 // in private pools, of Allocated
	Reserved  int64 // held by the allocator in all
	Idle      int64 // reserved, but in no tensor
	Needed    int64 // of a KV cache: what one request needs …
	Available int64 // … and what there is
	Limit     int64 // tokens: the longest sequence asked for
	Fits      int64 // tokens: the longest that the message says would fit
	Processes []FailureProcess
	// Style is the form of the message: "2.x" and "1.x" of PyTorch, else "".
	Style  string
	Hint   string       // what the message itself advises
	Frames []SourceLine // of the traceback before it, innermost first
	Text   string       // the sentence that was read
}

// FailureProcess is a process that a message names.
type FailureProcess struct {
	PID   int64 // 0: this one, without a number
	Bytes int64
	Self  bool // the message says that it is the one that failed
}
