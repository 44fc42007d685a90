//go:build ignore

// Definitions for go tool cgo -godefs: generate.sh turns this file into abi.go. Names are mechanical:
// WS_REC_KERNEL becomes RecKernel, struct ws_kernel becomes Kernel. abi_test.go fails when
// something in ws_abi.h is missing here.
package abi

// #include "ws_abi.h"
import "C"

// Macros.
const (
	AbiMagic      = C.WS_ABI_MAGIC
	AbiVersion    = C.WS_ABI_VERSION
	Page          = C.WS_PAGE
	Slot          = C.WS_SLOT
	FlagSimulated = C.WS_FLAG_SIMULATED
	FlagInprocess = C.WS_FLAG_INPROCESS
	FlagFile      = C.WS_FLAG_FILE
	CopyAsync     = C.WS_COPY_ASYNC
	CopyPeer      = C.WS_COPY_PEER
	MarkerInstant = C.WS_MARKER_INSTANT
	MarkerStart   = C.WS_MARKER_START
	MarkerEnd     = C.WS_MARKER_END
	MarkerData    = C.WS_MARKER_DATA
	LiveEmpty     = C.WS_LIVE_EMPTY
	LiveDead      = C.WS_LIVE_DEAD
	LiveBusy      = C.WS_LIVE_BUSY
	KeyShift      = C.WS_KEY_SHIFT
	KeyMask       = C.WS_KEY_MASK
	RangeName     = C.WS_RANGE_NAME
)

// Values of enum ws_mode.
const (
	ModeLedger   = C.WS_MODE_LEDGER
	ModeTimeline = C.WS_MODE_TIMELINE
)

// Values of enum ws_api_level.
const (
	ApiNone   = C.WS_API_NONE
	ApiLaunch = C.WS_API_LAUNCH
	ApiAll    = C.WS_API_ALL
)

// Values of enum ws_graph_level.
const (
	GraphsGraph = C.WS_GRAPHS_GRAPH
	GraphsNode  = C.WS_GRAPHS_NODE
)

// Values of enum ws_trigger.
const (
	TriggerAlways   = C.WS_TRIGGER_ALWAYS
	TriggerProfiler = C.WS_TRIGGER_PROFILER
	TriggerRange    = C.WS_TRIGGER_RANGE
	TriggerSteps    = C.WS_TRIGGER_STEPS
	TriggerCall     = C.WS_TRIGGER_CALL
)

// Values of enum ws_state.
const (
	StateEmpty    = C.WS_STATE_EMPTY
	StateArmed    = C.WS_STATE_ARMED
	StatePaused   = C.WS_STATE_PAUSED
	StateFinished = C.WS_STATE_FINISHED
	StateRefused  = C.WS_STATE_REFUSED
)

// Values of enum ws_reason.
const (
	ReasonNoCupti          = C.WS_REASON_NO_CUPTI
	ReasonCuptiTooOld      = C.WS_REASON_CUPTI_TOO_OLD
	ReasonSubscriberTaken  = C.WS_REASON_SUBSCRIBER_TAKEN
	ReasonActivityFailed   = C.WS_REASON_ACTIVITY_FAILED
	ReasonNoPrivilege      = C.WS_REASON_NO_PRIVILEGE
	ReasonForeignInjection = C.WS_REASON_FOREIGN_INJECTION
	ReasonCallsUnwatched   = C.WS_REASON_CALLS_UNWATCHED
	ReasonKindsMissing     = C.WS_REASON_KINDS_MISSING
	ReasonUndelivered      = C.WS_REASON_UNDELIVERED
	ReasonNoClock          = C.WS_REASON_NO_CLOCK
	ReasonNoThread         = C.WS_REASON_NO_THREAD
	ReasonLate             = C.WS_REASON_LATE
	ReasonBuffersTaken     = C.WS_REASON_BUFFERS_TAKEN
)

// Values of enum ws_loss_cause.
const (
	LossRingFull    = C.WS_LOSS_RING_FULL
	LossCupti       = C.WS_LOSS_CUPTI
	LossNoBuffer    = C.WS_LOSS_NO_BUFFER
	LossUnknownKind = C.WS_LOSS_UNKNOWN_KIND
	LossArenaFull   = C.WS_LOSS_ARENA_FULL
	LossNoTime      = C.WS_LOSS_NO_TIME
	LossLiveTable   = C.WS_LOSS_LIVE_TABLE
	LossCauses      = C.WS_LOSS_CAUSES
)

// Values of enum ws_rec_type.
const (
	RecPad      = C.WS_REC_PAD
	RecKernel   = C.WS_REC_KERNEL
	RecCopy     = C.WS_REC_COPY
	RecSet      = C.WS_REC_SET
	RecSync     = C.WS_REC_SYNC
	RecApi      = C.WS_REC_API
	RecMarker   = C.WS_REC_MARKER
	RecGraph    = C.WS_REC_GRAPH
	RecOverhead = C.WS_REC_OVERHEAD
	RecAlloc    = C.WS_REC_ALLOC
	RecContext  = C.WS_REC_CONTEXT
	RecModule   = C.WS_REC_MODULE
	RecClock    = C.WS_REC_CLOCK
	RecDevice   = C.WS_REC_DEVICE
	RecPool     = C.WS_REC_POOL
	RecState    = C.WS_REC_STATE
	RecTick     = C.WS_REC_TICK
	RecTypes    = C.WS_REC_TYPES
)

// Values of enum ws_copy_kind.
const (
	CopyUnknown = C.WS_COPY_UNKNOWN
	CopyHtod    = C.WS_COPY_HTOD
	CopyDtoh    = C.WS_COPY_DTOH
	CopyHtoa    = C.WS_COPY_HTOA
	CopyAtoh    = C.WS_COPY_ATOH
	CopyAtoa    = C.WS_COPY_ATOA
	CopyAtod    = C.WS_COPY_ATOD
	CopyDtoa    = C.WS_COPY_DTOA
	CopyDtod    = C.WS_COPY_DTOD
	CopyHtoh    = C.WS_COPY_HTOH
	CopyPtop    = C.WS_COPY_PTOP
)

// Values of enum ws_memory_kind.
const (
	MemUnknown       = C.WS_MEM_UNKNOWN
	MemPageable      = C.WS_MEM_PAGEABLE
	MemPinned        = C.WS_MEM_PINNED
	MemDevice        = C.WS_MEM_DEVICE
	MemArray         = C.WS_MEM_ARRAY
	MemManaged       = C.WS_MEM_MANAGED
	MemDeviceStatic  = C.WS_MEM_DEVICE_STATIC
	MemManagedStatic = C.WS_MEM_MANAGED_STATIC
)

// Values of enum ws_sync_type.
const (
	SyncUnknown    = C.WS_SYNC_UNKNOWN
	SyncEvent      = C.WS_SYNC_EVENT
	SyncStreamWait = C.WS_SYNC_STREAM_WAIT
	SyncStream     = C.WS_SYNC_STREAM
	SyncContext    = C.WS_SYNC_CONTEXT
)

// Values of enum ws_api_domain.
const (
	DomainDriver  = C.WS_DOMAIN_DRIVER
	DomainRuntime = C.WS_DOMAIN_RUNTIME
)

// Values of enum ws_payload_kind.
const (
	PayloadNone   = C.WS_PAYLOAD_NONE
	PayloadUint64 = C.WS_PAYLOAD_UINT64
	PayloadInt64  = C.WS_PAYLOAD_INT64
	PayloadDouble = C.WS_PAYLOAD_DOUBLE
	PayloadText   = C.WS_PAYLOAD_TEXT
)

// Values of enum ws_alloc_op.
const (
	OpFailed      = C.WS_OP_FAILED
	OpAlloc       = C.WS_OP_ALLOC
	OpFree        = C.WS_OP_FREE
	OpMap         = C.WS_OP_MAP
	OpUnmap       = C.WS_OP_UNMAP
	OpReserve     = C.WS_OP_RESERVE
	OpUnreserve   = C.WS_OP_UNRESERVE
	OpImport      = C.WS_OP_IMPORT
	OpRetain      = C.WS_OP_RETAIN
	OpPoolCreate  = C.WS_OP_POOL_CREATE
	OpPoolDestroy = C.WS_OP_POOL_DESTROY
	OpPoolTrim    = C.WS_OP_POOL_TRIM
)

// Values of enum ws_space.
const (
	SpaceUnknown    = C.WS_SPACE_UNKNOWN
	SpaceDevice     = C.WS_SPACE_DEVICE
	SpacePool       = C.WS_SPACE_POOL
	SpaceManaged    = C.WS_SPACE_MANAGED
	SpaceHost       = C.WS_SPACE_HOST
	SpaceRegistered = C.WS_SPACE_REGISTERED
	SpaceHandle     = C.WS_SPACE_HANDLE
	SpaceVirtual    = C.WS_SPACE_VIRTUAL
	SpaceArray      = C.WS_SPACE_ARRAY
	SpaceIpc        = C.WS_SPACE_IPC
	SpaceGraph      = C.WS_SPACE_GRAPH
)

// Values of enum ws_key_class.
const (
	KeyAddress     = C.WS_KEY_ADDRESS
	KeyHandle      = C.WS_KEY_HANDLE
	KeyMapping     = C.WS_KEY_MAPPING
	KeyReservation = C.WS_KEY_RESERVATION
	KeyRegistered  = C.WS_KEY_REGISTERED
	KeyArray       = C.WS_KEY_ARRAY
)

// Values of enum ws_object_type.
const (
	ObjString = C.WS_OBJ_STRING
	ObjLaunch = C.WS_OBJ_LAUNCH
	ObjStack  = C.WS_OBJ_STACK
	ObjMaps   = C.WS_OBJ_MAPS
)

// Structures.
type (
	Region      C.struct_ws_region
	Header      C.struct_ws_header
	Ring        C.struct_ws_ring
	Rec         C.struct_ws_rec
	Kernel      C.struct_ws_kernel
	Copy        C.struct_ws_copy
	Set         C.struct_ws_set
	Sync        C.struct_ws_sync
	Api         C.struct_ws_api
	Marker      C.struct_ws_marker
	Graph       C.struct_ws_graph
	Overhead    C.struct_ws_overhead
	Alloc       C.struct_ws_alloc
	Context     C.struct_ws_context
	Module      C.struct_ws_module
	Clock       C.struct_ws_clock
	Device      C.struct_ws_device
	Pool        C.struct_ws_pool
	StateChange C.struct_ws_state_change
	Tick        C.struct_ws_tick
	LiveTable   C.struct_ws_live_table
	Live        C.struct_ws_live
	Object      C.struct_ws_object
	Launch      C.struct_ws_launch
	Stack       C.struct_ws_stack
	Maps        C.struct_ws_maps
	Map         C.struct_ws_map
	Hello       C.struct_ws_hello
	Welcome     C.struct_ws_welcome
)
