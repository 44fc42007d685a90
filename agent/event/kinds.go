package event

// CopyKind is the direction of a copy; the numbers are CUPTI's.
type CopyKind uint8

// MemoryKind is what a copy reads or writes; the numbers are CUPTI's.
type MemoryKind uint8

// SyncType is what was waited for; the numbers are CUPTI's.
type SyncType uint8

// Domain tells driver calls from runtime calls.
type Domain uint8

// MarkerKind tells what an NVTX record is.
type MarkerKind uint8

// PayloadKind is the type of an NVTX payload.
type PayloadKind uint8

// OverheadKind is what the tracing or the driver spent time on; the numbers are CUPTI's.
type OverheadKind uint32

// AllocOp is what an allocation record did.
type AllocOp uint8

// Space is where memory lies, or how it was obtained.
type Space uint8

// State is the state of a process's capture.
type State uint8

// Reason is why a capture was refused or reduced; records carry sets of 1 << Reason.
type Reason uint8

// Kind is a kind of record, as loss counters name it.
type Kind uint8

// LossCause is why records were lost or are incomplete.
type LossCause uint8

// Values of CopyKind.
const (
	CopyUnknown CopyKind = iota
	CopyHostToDevice
	CopyDeviceToHost
	CopyHostToArray
	CopyArrayToHost
	CopyArrayToArray
	CopyArrayToDevice
	CopyDeviceToArray
	CopyDeviceToDevice
	CopyHostToHost
	CopyPeerToPeer
)

// Values of MemoryKind.
const (
	MemoryUnknown MemoryKind = iota
	MemoryPageable
	MemoryPinned
	MemoryDevice
	MemoryArray
	MemoryManaged
	MemoryDeviceStatic
	MemoryManagedStatic
)

// Values of SyncType.
const (
	SyncUnknown SyncType = iota
	SyncEvent
	SyncStreamWait
	SyncStream
	SyncContext
)

// Values of Domain.
const (
	DomainDriver  Domain = 1
	DomainRuntime Domain = 2
)

// Values of MarkerKind.
const (
	MarkerInstant MarkerKind = 1
	MarkerStart   MarkerKind = 2
	MarkerEnd     MarkerKind = 4
	MarkerData    MarkerKind = 8
)

// Values of PayloadKind.
const (
	PayloadNone PayloadKind = iota
	PayloadUint64
	PayloadInt64
	PayloadDouble
	PayloadText
)

// Values of AllocOp.
const (
	OpFailed AllocOp = iota // any other call that failed for lack of memory
	OpAlloc
	OpFree
	OpMap
	OpUnmap
	OpReserve
	OpUnreserve
	OpImport
	OpRetain
	OpPoolCreate
	OpPoolDestroy
	OpPoolTrim
)

// Values of Space.
const (
	SpaceUnknown Space = iota
	SpaceDevice
	SpacePool
	SpaceManaged
	SpaceHost
	SpaceRegistered
	SpaceHandle
	SpaceVirtual
	SpaceArray
	SpaceIPC
	SpaceGraph
)

// Values of State.
const (
	StateEmpty State = iota
	StateArmed
	StatePaused
	StateFinished
	StateRefused
	StateKilled // the program died without ending its capture
)

// Values of Reason.
const (
	ReasonNoCUPTI          Reason = 1
	ReasonCUPTITooOld      Reason = 2
	ReasonSubscriberTaken  Reason = 3
	ReasonActivityFailed   Reason = 4
	ReasonNoPrivilege      Reason = 5
	ReasonForeignInjection Reason = 6
	ReasonCallsUnwatched   Reason = 7 // some driver calls could not be watched
	ReasonKindsMissing     Reason = 8 // CUPTI refused some kinds of records
	ReasonUndelivered      Reason = 9 // CUPTI did not hand over all that it had
	ReasonNoClock          Reason = 10
	ReasonNoThread         Reason = 11
	ReasonLate             Reason = 12 // capture began when CUDA was in use: what was before is unknown
	ReasonBuffersTaken     Reason = 13 // another tool took CUPTI's records: the timeline ends there
)

// Values of Kind.
const (
	KindUnknown Kind = iota
	KindKernel
	KindCopy
	KindSet
	KindSync
	KindCall
	KindMarker
	KindGraph
	KindOverhead
	KindAllocation
	KindContext
	KindModule
	KindClock
	KindDevice
	KindPool
	KindState
	KindGPUSample
	KindUsage
	KindWindow
	KindFact
	KindActivity
)

// Values of LossCause.
const (
	LossRingFull    LossCause = iota // the reader was too slow, or a capture file reached its bound
	LossCUPTI                        // dropped inside CUPTI
	LossNoBuffer                     // all activity buffers were in use
	LossUnknownKind                  // a record kind that this version does not decode
	LossArenaFull                    // kept, but its name, launch or stack is unknown
	LossNoTime                       // kept, but CUPTI gave no timestamps
	LossLiveTable                    // kept, but missing from the live table
	LossTorn                         // its writer died while writing it
	LossTraceFull                    // --max-size was reached
	LossDisk                         // the trace could not be written
	LossUndelivered                  // what CUPTI still held when the process died: nobody knows how much
	LossAged                         // dropped as older than --keep
)
