/* ws_abi.h: the one definition of what a traced process and its reader share.
 *
 * Owns: the layout of the shared memory (header, two rings, live table, arena), every record in
 * the rings, every object in the arena, and the messages of the handshake. The Go mirror in
 * cupti/abi is generated from this file (make generate); nothing else declares these layouts.
 *
 * Rules: fixed-width fields, explicit padding, no bitfields, no unions. Fields are appended, ids
 * are never reused, unknown records are skipped by their size and counted. All integers are
 * little-endian (the two readers of this file run on the machine that wrote it, or on another
 * x86-64/aarch64 machine for a capture file).
 *
 * Writer: libwarpscope.so (or the in-process capture of package cupti). Reader: agent/collect.
 */
#ifndef WS_ABI_H
#define WS_ABI_H

#include <stdint.h>

#define WS_ABI_MAGIC 0x4d48534550525357ull /* "WSRPESHM" */
#define WS_ABI_VERSION 2u
#define WS_PAGE 4096u
#define WS_SLOT 64u /* rings are made of slots; a record is a whole number of them */

/* ---- header ----------------------------------------------------------------------------- */

/* What the program is traced for. */
enum ws_mode { WS_MODE_LEDGER = 1, WS_MODE_TIMELINE = 2 };
/* Which CPU-side calls are recorded. */
enum ws_api_level { WS_API_NONE = 0, WS_API_LAUNCH = 1, WS_API_ALL = 2 };
/* How CUDA graph launches are recorded. */
enum ws_graph_level { WS_GRAPHS_GRAPH = 0, WS_GRAPHS_NODE = 1 };

/* When the timeline is recorded, in so far as the program decides; the reader's want_timeline comes
 * on top of it. */
enum ws_trigger {
  WS_TRIGGER_ALWAYS = 0,
  WS_TRIGGER_PROFILER = 1, /* between cudaProfilerStart and cudaProfilerStop */
  WS_TRIGGER_RANGE = 2,    /* inside NVTX ranges of one name */
  WS_TRIGGER_STEPS = 3,    /* in some of the steps that warpscope_step counts */
  WS_TRIGGER_CALL = 4      /* between warpscope_start and warpscope_stop */
};
#define WS_RANGE_NAME 256u /* bytes of a range's name at most, with its domain and a NUL */

/* Life of a capture, in ws_header.state. */
enum ws_state {
  WS_STATE_EMPTY = 0,    /* memory laid out, capture not started */
  WS_STATE_ARMED = 1,    /* recording */
  WS_STATE_PAUSED = 2,   /* timeline off, by the reader or the trigger; the ledger goes on */
  WS_STATE_FINISHED = 3, /* the program ended in order, everything flushed */
  WS_STATE_REFUSED = 4   /* no capture: ws_header.reason says why */
};

/* Why a capture is refused or reduced, in ws_header.reason (a set: 1 << reason). */
enum ws_reason {
  WS_REASON_NO_CUPTI = 1,          /* no libcupti found */
  WS_REASON_CUPTI_TOO_OLD = 2,     /* a needed function is missing */
  WS_REASON_SUBSCRIBER_TAKEN = 3,  /* another tool holds CUPTI's callbacks: no ledger */
  WS_REASON_ACTIVITY_FAILED = 4,   /* activity records could not be enabled: no timeline */
  WS_REASON_NO_PRIVILEGE = 5,      /* the driver restricts profiling to administrators */
  WS_REASON_FOREIGN_INJECTION = 6, /* CUDA_INJECTION64_PATH names another tool */
  WS_REASON_CALLS_UNWATCHED =
      7, /* callbacks of some driver calls could not be had: their allocations are missing */
  WS_REASON_KINDS_MISSING =
      8, /* CUPTI refused some kinds of records: waits, NVTX, graphs or calls are missing */
  WS_REASON_UNDELIVERED =
      9, /* CUPTI did not hand over all that it had, or does not say how much it dropped */
  WS_REASON_NO_CLOCK = 10,  /* CUPTI's clock could not be read */
  WS_REASON_NO_THREAD = 11, /* no thread could be started: no capture */
  WS_REASON_LATE = 12, /* the capture began in a program that used CUDA already: what was before is
                          unknown */
  WS_REASON_BUFFERS_TAKEN = 13 /* another tool took CUPTI's records for itself: the timeline ends */
};

/* ws_header.flags */
#define WS_FLAG_SIMULATED 1u /* libcuda or libcupti is the simulated device */
#define WS_FLAG_INPROCESS 2u /* captured by package cupti inside the agent */
#define WS_FLAG_FILE 4u      /* a capture file without an agent */

/* Why records were lost. */
enum ws_loss_cause {
  WS_LOSS_RING_FULL = 0,    /* the reader was too slow, or the capture file reached its bound */
  WS_LOSS_CUPTI = 1,        /* dropped inside CUPTI (cuptiActivityGetNumDroppedRecords) */
  WS_LOSS_NO_BUFFER = 2,    /* all activity buffers were in use: CUPTI wrote to the discard one */
  WS_LOSS_UNKNOWN_KIND = 3, /* a record kind that this version does not decode */
  WS_LOSS_ARENA_FULL = 4,   /* kept, but its name, launch or stack is unknown */
  WS_LOSS_NO_TIME = 5,      /* kept, but CUPTI gave no timestamps */
  WS_LOSS_LIVE_TABLE = 6,   /* kept, but not in the live table: it was full */
  WS_LOSS_CAUSES = 8
};

/* Record types; also the rows of ws_header.lost. */
enum ws_rec_type {
  WS_REC_PAD = 0, /* filler up to the end of the ring */
  WS_REC_KERNEL = 1,
  WS_REC_COPY = 2,
  WS_REC_SET = 3,
  WS_REC_SYNC = 4,
  WS_REC_API = 5,
  WS_REC_MARKER = 6,
  WS_REC_GRAPH = 7,
  WS_REC_OVERHEAD = 8,
  WS_REC_ALLOC = 9,
  WS_REC_CONTEXT = 10,
  WS_REC_MODULE = 11,
  WS_REC_CLOCK = 12,
  WS_REC_DEVICE = 13,
  WS_REC_POOL = 14,
  WS_REC_STATE = 15,
  WS_REC_TICK = 16,
  WS_REC_TYPES = 24
};

/* A part of the shared memory, both in bytes from its beginning, multiples of WS_PAGE. */
struct ws_region {
  uint64_t offset;
  uint64_t size;
};

/* The first page. Written by the library, but for the fields marked "reader". */
struct ws_header {
  uint64_t magic;       /* WS_ABI_MAGIC, written last */
  uint32_t abi_version; /* WS_ABI_VERSION */
  uint32_t header_size; /* sizeof(struct ws_header) */
  uint64_t total_size;  /* bytes */
  struct ws_region alloc_ring;
  struct ws_region timeline_ring;
  struct ws_region live_table;
  struct ws_region arena;
  int32_t pid; /* in the program's own PID namespace */
  int32_t ppid;
  uint64_t start_ticks; /* field 22 of /proc/self/stat: with the PID, which process this is */
  uint32_t uid;
  uint32_t mode;           /* ws_mode */
  uint32_t api;            /* ws_api_level */
  uint32_t graphs;         /* ws_graph_level */
  uint32_t flags;          /* WS_FLAG_* */
  uint32_t cupti_version;  /* cuptiGetVersion: 18 = 11.8, 26/28 = 12.x, 130000 = 13.0 */
  uint32_t driver_version; /* cuDriverGetVersion: 13000 = 13.0 */
  uint32_t reason;         /* set of 1 << ws_reason */
  uint64_t executable;     /* arena id of a string: /proc/self/exe */
  uint64_t command;        /* arena id of a string: arguments joined by NUL */
  uint64_t cupti_path;     /* arena id of a string */
  int64_t mono_start;      /* CLOCK_MONOTONIC at the start of the capture, ns */
  int64_t wall_start;      /* CLOCK_REALTIME at the same moment, ns */
  uint64_t arena_used;     /* bytes handed out in the arena (atomic) */
  uint32_t state;          /* ws_state (atomic) */
  uint32_t want_timeline;  /* reader: 1 record the timeline, 0 pause it (atomic); then the bell */
  uint64_t maps;           /* arena id of the newest module map (atomic) */
  uint64_t device_most;    /* bytes that CUPTI may take of each context's memory; 0: unknown */
  uint64_t heartbeat;      /* CLOCK_MONOTONIC of the worker's last turn, ns (atomic) */
  uint64_t buffer_bytes;   /* host bytes of activity buffers held (atomic) */
  uint64_t steps;          /* counted by warpscope_step (atomic) */
  uint32_t bell;     /* counts up, and is a futex, when the worker is to look at once (atomic) */
  uint32_t trigger;  /* ws_trigger */
  uint32_t openings; /* how often the trigger said that the timeline is to be on (atomic) */
  uint32_t readers;  /* reader: counts up when another agent goes on reading (atomic) */
  uint64_t when;     /* arena id of a string: the trigger as --capture takes it; 0: always */
  uint64_t reserved[12];
  uint64_t lost[WS_REC_TYPES][WS_LOSS_CAUSES]; /* records, by type and cause (atomic) */
};
_Static_assert(sizeof(struct ws_header) <= WS_PAGE, "header fits its page");

/* First page of a ring region; the data follows at WS_PAGE. Positions are bytes that only grow;
 * position & (capacity-1) is the place in the data. */
struct ws_ring {
  uint64_t capacity; /* bytes of data, a power of two */
  uint64_t pad0[7];
  uint64_t reserved; /* writers: bytes handed out (atomic) */
  uint64_t pad1[7];
  uint64_t tail; /* reader: bytes consumed (atomic); stays 0 in a capture file */
  uint64_t pad2[7];
  uint64_t limit; /* writers may not pass this position: disk space secured so far (atomic) */
  uint64_t pad3[7];
};
_Static_assert(sizeof(struct ws_ring) == 256, "ring control");

/* ---- records ---------------------------------------------------------------------------- */

/* Every record begins a slot with this. `commit` is written last: it equals
 * (uint32_t)(position / WS_SLOT) + 1, so that bytes of an earlier lap, or a reservation whose
 * writer died, are never taken for a record. */
struct ws_rec {
  uint32_t commit;
  uint8_t type;  /* ws_rec_type */
  uint8_t slots; /* length of the record in slots; PAD: 0 = up to the end of the ring */
  uint16_t flags;
};

/* Times of device-side records are CUPTI's clock in ns; CLOCK records tie it to
 * CLOCK_MONOTONIC. 0 = unknown. Ids of contexts, streams, graphs and correlations are CUPTI's,
 * unique in the process. Arena ids are 0 where there is nothing. */

struct ws_kernel {
  struct ws_rec rec; /* flags: WS_KERNEL_* */
  uint64_t start;
  uint64_t end;
  uint32_t launch; /* arena id of a ws_launch (name and configuration) */
  uint32_t correlation;
  uint32_t context;
  uint32_t stream;
  uint64_t graph_node; /* 0: not from a graph */
  uint32_t graph;
  uint16_t device; /* ordinal inside the process */
  uint16_t reserved;
  uint64_t reserved2;
};
_Static_assert(sizeof(struct ws_kernel) == 64, "kernel");

struct ws_copy {
  struct ws_rec rec; /* flags: WS_COPY_ASYNC, WS_COPY_PEER */
  uint64_t start;
  uint64_t end;
  uint64_t bytes;
  uint32_t correlation;
  uint32_t context;
  uint32_t stream;
  uint32_t graph;
  uint64_t graph_node;
  uint16_t device;
  uint16_t peer; /* the other device of a peer copy */
  uint8_t kind;  /* ws_copy_kind */
  uint8_t src;   /* ws_memory_kind */
  uint8_t dst;   /* ws_memory_kind */
  uint8_t reserved;
};
_Static_assert(sizeof(struct ws_copy) == 64, "copy");
#define WS_COPY_ASYNC 1u
#define WS_COPY_PEER 2u

/* CUPTI's own numbers. */
enum ws_copy_kind {
  WS_COPY_UNKNOWN = 0,
  WS_COPY_HTOD = 1,
  WS_COPY_DTOH = 2,
  WS_COPY_HTOA = 3,
  WS_COPY_ATOH = 4,
  WS_COPY_ATOA = 5,
  WS_COPY_ATOD = 6,
  WS_COPY_DTOA = 7,
  WS_COPY_DTOD = 8,
  WS_COPY_HTOH = 9,
  WS_COPY_PTOP = 10
};
enum ws_memory_kind {
  WS_MEM_UNKNOWN = 0,
  WS_MEM_PAGEABLE = 1,
  WS_MEM_PINNED = 2,
  WS_MEM_DEVICE = 3,
  WS_MEM_ARRAY = 4,
  WS_MEM_MANAGED = 5,
  WS_MEM_DEVICE_STATIC = 6,
  WS_MEM_MANAGED_STATIC = 7
};

struct ws_set {
  struct ws_rec rec;
  uint64_t start;
  uint64_t end;
  uint64_t bytes;
  uint32_t correlation;
  uint32_t context;
  uint32_t stream;
  uint32_t graph;
  uint64_t graph_node;
  uint32_t value;
  uint16_t device;
  uint8_t memory; /* ws_memory_kind */
  uint8_t reserved;
};
_Static_assert(sizeof(struct ws_set) == 64, "set");

/* A wait as CUPTI saw it on the CPU. */
struct ws_sync {
  struct ws_rec rec;
  uint64_t start;
  uint64_t end;
  uint32_t correlation;
  uint32_t context;
  uint32_t stream; /* UINT32_MAX: none */
  uint32_t event;  /* event id; 0: none */
  uint8_t type;    /* ws_sync_type */
  uint8_t reserved[7];
  uint64_t reserved2[2];
};
_Static_assert(sizeof(struct ws_sync) == 64, "sync");
enum ws_sync_type {
  WS_SYNC_UNKNOWN = 0,
  WS_SYNC_EVENT = 1,
  WS_SYNC_STREAM_WAIT = 2,
  WS_SYNC_STREAM = 3,
  WS_SYNC_CONTEXT = 4
};

/* The CPU side of a call. */
struct ws_api {
  struct ws_rec rec;
  uint64_t enter;
  uint64_t exit;
  uint32_t correlation;
  uint32_t thread; /* kernel's thread id */
  uint32_t name;   /* arena id of a string: "cuLaunchKernel" */
  uint32_t cbid;
  int32_t result; /* CUresult or cudaError_t; 0 = success */
  uint8_t domain; /* ws_api_domain */
  uint8_t reserved[3];
  uint64_t reserved2[2];
};
_Static_assert(sizeof(struct ws_api) == 64, "api");
enum ws_api_domain { WS_DOMAIN_DRIVER = 1, WS_DOMAIN_RUNTIME = 2 };

/* NVTX. A range is a START and an END with one id; the END carries no text. */
struct ws_marker {
  struct ws_rec rec; /* flags: WS_MARKER_* */
  uint64_t time;
  uint32_t id;
  uint32_t thread;  /* 0: unknown. CUPTI names the thread of start/end ranges too */
  uint32_t text;    /* arena id of a string */
  uint32_t domain;  /* arena id of a string; 0: the default domain */
  uint64_t payload; /* bits of payload_kind */
  uint32_t color;   /* ARGB; 0: none */
  uint32_t category;
  uint8_t payload_kind; /* ws_payload_kind */
  uint8_t reserved[7];
  uint64_t reserved2;
};
_Static_assert(sizeof(struct ws_marker) == 64, "marker");
#define WS_MARKER_INSTANT 1u
#define WS_MARKER_START 2u
#define WS_MARKER_END 4u
#define WS_MARKER_DATA 8u /* only payload, color and category, for the marker with this id */
enum ws_payload_kind {
  WS_PAYLOAD_NONE = 0,
  WS_PAYLOAD_UINT64 = 1,
  WS_PAYLOAD_INT64 = 2,
  WS_PAYLOAD_DOUBLE = 3,
  WS_PAYLOAD_TEXT = 4 /* arena id */
};

/* A whole launch of a CUDA graph. */
struct ws_graph {
  struct ws_rec rec;
  uint64_t start;
  uint64_t end;
  uint32_t correlation;
  uint32_t context;
  uint32_t stream;
  uint32_t graph;
  uint16_t device;
  uint16_t reserved[3];
  uint64_t reserved2[2];
};
_Static_assert(sizeof(struct ws_graph) == 64, "graph");

/* Time that CUPTI or the driver took for the tracing itself. */
struct ws_overhead {
  struct ws_rec rec;
  uint64_t start;
  uint64_t end;
  uint32_t kind; /* CUpti_ActivityOverheadKind */
  uint32_t thread;
  uint32_t correlation;
  uint32_t reserved;
  uint64_t reserved2[3];
};
_Static_assert(sizeof(struct ws_overhead) == 64, "overhead");

/* A driver call that takes or gives back memory, or one that failed. Times are CLOCK_MONOTONIC.
 * `seq` orders them as they took effect: allocations by their exit, releases by their enter, so
 * that a release comes before the next allocation of its address. */
struct ws_alloc {
  struct ws_rec rec;
  uint64_t seq;
  uint64_t enter;
  uint64_t exit;
  uint64_t address;       /* address, or handle for WS_SPACE_HANDLE */
  uint64_t size;          /* bytes asked for; of a release: of what was released, 0 if unknown */
  uint64_t handle;        /* MAP, UNMAP: the physical handle; pool calls: the pool */
  uint64_t stream_handle; /* CUstream of stream-ordered calls */
  uint32_t context;
  uint32_t thread;
  uint32_t stack;  /* arena id of a ws_stack; 0: not taken */
  uint32_t api;    /* arena id of a string: the call's name */
  int32_t result;  /* CUresult; 0 = success, 2 = out of memory */
  int32_t device;  /* ordinal; -1 unknown */
  uint32_t stream; /* CUPTI stream id; UINT32_MAX: none */
  uint8_t op;      /* ws_alloc_op */
  uint8_t space;   /* ws_space */
  uint8_t known;   /* releases: 1 if the live table knew what was released */
  uint8_t reserved;
  uint64_t reserved2[4];
};
_Static_assert(sizeof(struct ws_alloc) == 128, "alloc");
enum ws_alloc_op {
  WS_OP_FAILED = 0, /* any other call that failed for lack of memory */
  WS_OP_ALLOC = 1,
  WS_OP_FREE = 2,
  WS_OP_MAP = 3, /* a handle's bytes appear at an address */
  WS_OP_UNMAP = 4,
  WS_OP_RESERVE = 5, /* address space only, no bytes */
  WS_OP_UNRESERVE = 6,
  WS_OP_IMPORT = 7, /* bytes of another process */
  WS_OP_RETAIN = 8,
  WS_OP_POOL_CREATE = 9,
  WS_OP_POOL_DESTROY = 10,
  WS_OP_POOL_TRIM = 11
};
enum ws_space {
  WS_SPACE_UNKNOWN = 0,
  WS_SPACE_DEVICE = 1, /* cuMemAlloc family */
  WS_SPACE_POOL = 2,   /* stream-ordered: cuMemAllocAsync, cuMemAllocFromPoolAsync */
  WS_SPACE_MANAGED = 3,
  WS_SPACE_HOST = 4,       /* pinned by the driver: cuMemHostAlloc */
  WS_SPACE_REGISTERED = 5, /* the program's own memory, pinned: cuMemHostRegister */
  WS_SPACE_HANDLE = 6,     /* physical memory of the VMM calls, by handle */
  WS_SPACE_VIRTUAL = 7,    /* VMM address ranges: no bytes of their own */
  WS_SPACE_ARRAY = 8,
  WS_SPACE_IPC = 9,
  WS_SPACE_GRAPH = 10
};

struct ws_context {
  struct ws_rec rec; /* flags: 1 created, 0 destroyed */
  uint64_t time;     /* CLOCK_MONOTONIC */
  uint32_t context;
  int32_t device;
  uint32_t null_stream;
  uint32_t reserved;
  uint64_t reserved2[4];
};
_Static_assert(sizeof(struct ws_context) == 64, "context");

struct ws_module {
  struct ws_rec rec; /* flags: 1 loaded, 0 unloaded */
  uint64_t time;     /* CLOCK_MONOTONIC */
  uint64_t bytes;    /* of the image */
  uint32_t context;
  uint32_t module;
  uint32_t thread;
  uint32_t reserved;
  uint64_t reserved2[3];
};
_Static_assert(sizeof(struct ws_module) == 64, "module");

/* CUPTI's clock beside the host's, bracketed: cupti was read between the two others. */
struct ws_clock {
  struct ws_rec rec;
  uint64_t cupti;
  uint64_t mono_before;
  uint64_t mono_after;
  uint64_t wall; /* CLOCK_REALTIME read right after mono_after */
  uint64_t reserved[3];
};
_Static_assert(sizeof(struct ws_clock) == 64, "clock");

/* Which GPU an ordinal of this process is. */
struct ws_device {
  struct ws_rec rec;
  uint8_t uuid[16];
  int32_t device;  /* ordinal */
  uint32_t name;   /* arena id of a string */
  uint64_t memory; /* bytes */
  uint32_t multiprocessors;
  uint16_t major, minor; /* compute capability */
  uint64_t reserved[2];
};
_Static_assert(sizeof(struct ws_device) == 64, "device");

/* A memory pool's own account, asked outside callbacks. */
struct ws_pool {
  struct ws_rec rec;
  uint64_t time; /* CLOCK_MONOTONIC */
  uint64_t pool; /* handle; 0: the device's default pool */
  uint64_t bytes_reserved;
  uint64_t used;
  uint64_t reserved_high;
  uint64_t used_high;
  int32_t device;
  uint32_t reserved;
};
_Static_assert(sizeof(struct ws_pool) == 64, "pool");

/* The capture changed: timeline on, off, gap. */
struct ws_state_change {
  struct ws_rec rec;
  uint64_t time;   /* CLOCK_MONOTONIC */
  uint32_t state;  /* ws_state */
  uint32_t reason; /* set of 1 << ws_reason */
  uint64_t began;  /* of a switch of the timeline: when it began, CLOCK_MONOTONIC; 0: none */
  uint64_t taken;  /* when it took effect for kernels: launches before and after differ */
  uint64_t reserved[3];
};
_Static_assert(sizeof(struct ws_state_change) == 64, "state");

/* How far the program has come: calls of one sort that it makes again and again. Written now and
 * then, not for each of them. */
struct ws_tick {
  struct ws_rec rec;
  uint64_t time;  /* CLOCK_MONOTONIC */
  uint64_t count; /* of such calls so far, by then */
  uint32_t name;  /* arena id of a string: which calls */
  uint32_t reserved;
  uint64_t reserved2[4];
};
_Static_assert(sizeof(struct ws_tick) == 64, "tick");

/* ---- live table ------------------------------------------------------------------------- */

/* What is allocated now: open addressing, linear probing, hash of key. Exact whatever happens to
 * the ring. One page of ws_live_table, then `capacity` entries. A copy of the table is consistent
 * if `version` was the same even number before and after; removals move entries. */
struct ws_live_table {
  uint64_t capacity; /* entries, a power of two */
  uint64_t used;     /* entries in use (atomic) */
  uint64_t version;  /* odd while an entry is being changed (atomic) */
  uint64_t reserved[5];
};
#define WS_LIVE_EMPTY 0ull
#define WS_LIVE_DEAD (~0ull)     /* not used by this version */
#define WS_LIVE_BUSY (~0ull - 1) /* being changed: wait a moment */
#define WS_KEY_SHIFT 60          /* the low bits are the address or handle itself */
#define WS_KEY_MASK ((1ull << WS_KEY_SHIFT) - 1)
/* Numbers of different things may be equal, so a key carries which it is. */
enum ws_key_class {
  WS_KEY_ADDRESS = 0, /* device, managed, pool and driver-pinned memory: one address space */
  WS_KEY_HANDLE = 1,
  WS_KEY_MAPPING = 2,
  WS_KEY_RESERVATION = 3,
  WS_KEY_REGISTERED = 4,
  WS_KEY_ARRAY = 5
};
struct ws_live {
  uint64_t key; /* address or handle | class << WS_KEY_SHIFT (atomic, written last) */
  uint64_t size;
  uint64_t seq;
  uint64_t handle; /* mappings: the physical handle */
  uint64_t stream_handle;
  uint32_t stack;
  uint32_t api;
  int32_t device;
  uint32_t context;
  uint8_t space;    /* ws_space */
  uint8_t released; /* HANDLE: released, alive only because it is mapped */
  uint16_t reserved;
  uint32_t maps; /* HANDLE: how often it is mapped (atomic) */
};
_Static_assert(sizeof(struct ws_live) == 64, "live");

/* ---- arena ------------------------------------------------------------------------------ */

/* Append-only, never moved, never changed: an id is the object's offset in the arena / 8, so a
 * reader that starts late can resolve every id. Offset 0 is never handed out. */
struct ws_object {
  uint32_t type; /* ws_object_type, written last (atomic): 0 = not finished */
  uint32_t size; /* bytes after this header */
};
enum ws_object_type { WS_OBJ_STRING = 1, WS_OBJ_LAUNCH = 2, WS_OBJ_STACK = 3, WS_OBJ_MAPS = 4 };

/* WS_OBJ_STRING: `size` bytes, no terminator. */

/* WS_OBJ_LAUNCH: a kernel and how it was launched. */
struct ws_launch {
  uint32_t name; /* arena id of a string (mangled) */
  uint32_t grid[3];
  uint32_t block[3];
  uint32_t registers;
  uint32_t static_shared;  /* bytes a block */
  uint32_t dynamic_shared; /* bytes a block */
  uint32_t local_thread;   /* bytes a thread */
  uint32_t cluster[3];     /* 0 or 1: none */
  uint64_t local_total;    /* bytes */
};
_Static_assert(sizeof(struct ws_launch) == 64, "launch");

/* WS_OBJ_STACK: callers, innermost first; `count` addresses follow. */
struct ws_stack {
  uint32_t maps; /* arena id of the module map in force */
  uint32_t count;
};

/* WS_OBJ_MAPS: the loaded modules; `count` ws_map follow. */
struct ws_maps {
  uint32_t count;
  uint32_t generation;
};
struct ws_map {
  uint64_t base;       /* load address: what is added to the file's own addresses */
  uint64_t start, end; /* of the executable segments */
  uint32_t path;       /* arena id of a string */
  uint32_t build_id;   /* arena id of a string: hexadecimal; 0: none */
};

/* ---- handshake -------------------------------------------------------------------------- */

/* Library → agent over WARPSCOPE_SOCKET (SOCK_SEQPACKET). */
struct ws_hello {
  uint64_t magic;
  uint32_t abi_version;
  int32_t pid;
};

/* Agent → library, with the memory's file descriptor (SCM_RIGHTS). */
struct ws_welcome {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t mode, api, graphs;
  uint32_t start_paused; /* 1: wait for want_timeline */
  uint32_t trigger;      /* ws_trigger */
  uint64_t alloc_ring, timeline_ring, live_table,
      arena;                      /* bytes of each region, without its control page */
  uint64_t ruler;                 /* 1: count how far the program comes, in TICK records */
  uint64_t first_step, last_step; /* WS_TRIGGER_STEPS: from 1, both included */
  char range[WS_RANGE_NAME];      /* WS_TRIGGER_RANGE: NAME or NAME@DOMAIN, ended by NUL */
};

#endif
