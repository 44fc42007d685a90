/* tracer.h: inside of the simulated libcupti.so.13.
 *
 * Owns: the records as CUPTI 13.0 lays them out, whole where ../../include/ws_cupti.h declares only
 * the prefixes that warpscope reads, and the state of the tracer. One lock guards it; it is
 * never held while a tool's callback runs.
 */
#ifndef WARPSCOPE_SIM_TRACER_H
#define WARPSCOPE_SIM_TRACER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../../include/ws_cupti.h"
#include "../sim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SIM_CUPTI_VERSION = 130000, SIM_CUPTI_NEWER = 170203 };

/* CUptiResult, as far as it is used */
enum {
  CUPTI_INVALID_PARAMETER = 1,
  CUPTI_INVALID_CONTEXT = 3,
  CUPTI_INVALID_OPERATION = 7,
  CUPTI_MAX_LIMIT = 12,
  CUPTI_NOT_INITIALIZED = 15,
  CUPTI_INVALID_STREAM = 20,
  CUPTI_INVALID_KIND = 21,
  CUPTI_NOT_SUPPORTED = 27,
  CUPTI_UNKNOWN = 999
};
enum {
  KIND_DEVICE = 8,
  KIND_CONTEXT = 9,
  KIND_MODULE = 27,
  KINDS = 56,
  DRIVER_CBIDS = 807,
  DOMAINS = 7
};

/* The heads are padded to 8 bytes: where a comment says so, the field that CUPTI has in the padding
 * (channelID) stays 0. */
struct CUPTI_PACKED record_kernel { /* CUpti_ActivityKernel10 */
  struct cupti_kernel head;
  uint32_t maxPotentialClusterSize;
  uint32_t maxActiveClusters;
  uint8_t isDeviceLaunched;
  uint8_t padding3[7];
};
struct CUPTI_PACKED record_memcpy { /* CUpti_ActivityMemcpy6 */
  struct cupti_memcpy head;         /* channelID in its padding */
  uint32_t channelType;
  uint8_t isDeviceLaunched;
  uint8_t pad2[3];
  uint64_t copyCount;
};
struct CUPTI_PACKED record_memcpy_peer { /* CUpti_ActivityMemcpyPtoP4 */
  struct cupti_memcpy_peer head;         /* channelID in its padding */
  uint32_t channelType;
};
struct CUPTI_PACKED record_memset { /* CUpti_ActivityMemset4 */
  struct cupti_memset head;         /* channelID in its padding */
  uint32_t channelType;
  uint8_t isDeviceLaunched;
  uint8_t pad2[3];
};
struct CUPTI_PACKED record_sync { /* CUpti_ActivitySynchronization2 */
  struct cupti_sync head;
  uint64_t cudaEventSyncId;
  uint32_t returnValue;
  uint32_t pad;
};
struct CUPTI_PACKED record_marker_data { /* CUpti_ActivityMarkerData2 */
  struct cupti_marker_data head;
  uint32_t cuptiDomainId;
  uint32_t padding;
};
struct CUPTI_PACKED record_overhead { /* CUpti_ActivityOverhead3 */
  struct cupti_overhead head;
  uint32_t correlationId;
  uint32_t reserved0;
  void *overheadData;
};
struct record_graph_trace { /* CUpti_ActivityGraphTrace2, not packed */
  struct cupti_graph_trace head;
  void *reserved;
  uint32_t endDeviceId;
  uint32_t endContextId;
};
struct CUPTI_PACKED record_device { /* CUpti_ActivityDevice5 */
  uint32_t kind, flags;
  uint64_t globalMemoryBandwidth, globalMemorySize;
  uint32_t constantMemorySize, l2CacheSize, numThreadsPerWarp, coreClockRate, numMemcpyEngines,
      numMultiprocessors;
  uint32_t maxIPC, maxWarpsPerMultiprocessor, maxBlocksPerMultiprocessor,
      maxSharedMemoryPerMultiprocessor;
  uint32_t maxRegistersPerMultiprocessor, maxRegistersPerBlock, maxSharedMemoryPerBlock,
      maxThreadsPerBlock;
  uint32_t maxBlockDim[3], maxGridDim[3];
  uint32_t computeCapabilityMajor, computeCapabilityMinor, id, eccEnabled;
  uint8_t uuid[16];
  const char *name;
  uint8_t isCudaVisible, isMigEnabled, reserved[6];
  uint32_t gpuInstanceId, computeInstanceId;
  uint8_t migUuid[16];
  uint32_t isNumaNode, numaId;
};
struct CUPTI_PACKED record_context { /* CUpti_ActivityContext3 */
  uint32_t kind, contextId, deviceId;
  uint16_t computeApiKind, nullStreamId;
  uint32_t parentContextId;
  uint8_t isGreenContext, padding;
  uint16_t numMultiprocessors;
  uint32_t cigMode, padding2;
};
struct CUPTI_PACKED record_module { /* CUpti_ActivityModule */
  uint32_t kind, contextId, id, cubinSize;
  const void *cubin;
};

/* Sizes and offsets of CUPTI 13.0.85, x86-64. */
_Static_assert(sizeof(struct record_kernel) == 216, "Kernel10");
_Static_assert(offsetof(struct record_kernel, maxActiveClusters) == 204, "Kernel10");
_Static_assert(offsetof(struct record_kernel, isDeviceLaunched) == 208, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, start) == 16, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, gridX) == 52, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, correlationId) == 92, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, name) == 104, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, launchType) == 136, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, graphNodeId) == 144, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, graphId) == 156, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, clusterX) == 176, "Kernel10");
_Static_assert(offsetof(struct cupti_kernel, localMemoryTotal_v2) == 192, "Kernel10");
_Static_assert(sizeof(struct record_memcpy) == 96, "Memcpy6");
_Static_assert(offsetof(struct cupti_memcpy, graphNodeId) == 64, "Memcpy6");
_Static_assert(offsetof(struct record_memcpy, channelType) == 80, "Memcpy6");
_Static_assert(offsetof(struct record_memcpy, copyCount) == 88, "Memcpy6");
_Static_assert(sizeof(struct record_memcpy_peer) == 96, "MemcpyPtoP4");
_Static_assert(offsetof(struct cupti_memcpy_peer, correlationId) == 60, "MemcpyPtoP4");
_Static_assert(offsetof(struct cupti_memcpy_peer, graphNodeId) == 72, "MemcpyPtoP4");
_Static_assert(sizeof(struct record_memset) == 88, "Memset4");
_Static_assert(offsetof(struct cupti_memset, flags) == 48, "Memset4");
_Static_assert(offsetof(struct cupti_memset, graphNodeId) == 64, "Memset4");
_Static_assert(sizeof(struct cupti_api) == 40, "API");
_Static_assert(sizeof(struct record_sync) == 56, "Synchronization2");
_Static_assert(sizeof(struct record_graph_trace) == 56, "GraphTrace2");
_Static_assert(offsetof(struct cupti_graph_trace, graphId) == 28, "GraphTrace2");
_Static_assert(sizeof(struct record_overhead) == 56, "Overhead3");
_Static_assert(offsetof(struct cupti_overhead, start) == 24, "Overhead3");
_Static_assert(sizeof(struct cupti_marker) == 56, "Marker2");
_Static_assert(offsetof(struct cupti_marker, name) == 40, "Marker2");
_Static_assert(sizeof(struct record_marker_data) == 40, "MarkerData2");
_Static_assert(sizeof(struct record_device) == 184, "Device5");
_Static_assert(offsetof(struct record_device, id) == 112, "Device5");
_Static_assert(offsetof(struct record_device, name) == 136, "Device5");
_Static_assert(sizeof(struct record_context) == 32, "Context3");
_Static_assert(sizeof(struct record_module) == 24, "Module");
_Static_assert(sizeof(struct cupti_callback) == 72, "CallbackData");
_Static_assert(offsetof(struct cupti_callback, correlationId) == 64, "CallbackData");
_Static_assert(sizeof(struct cupti_resource_data) == 24, "ResourceData");
_Static_assert(sizeof(struct cupti_module_data) == 24, "ModuleResourceData");

/* A record on its way: how long it is and from when on it may be delivered. */
struct record {
  uint64_t ready; /* CLOCK_REALTIME ns; 0: at once */
  uint32_t size;
  uint32_t start_at, end_at; /* where its times are; end_at 0: it has none of the device */
  uint64_t bytes[28];        /* the longest record: 216 bytes */
};

#define BLIND_GRAPHS 64u

struct tracer {
  pthread_mutex_t lock;
  const struct sim_driver *driver;
  /* callbacks */
  cupti_callback_fn callback;
  void *user;
  bool subscribed;
  _Atomic bool enabled[DOMAINS][DRIVER_CBIDS];
  /* activity */
  cupti_request_fn request;
  cupti_complete_fn complete;
  _Atomic bool kinds[KINDS];
  _Atomic bool driver_api[DRIVER_CBIDS]; /* CUPTI_KIND_DRIVER, cuptiActivityEnableDriverApi */
  _Atomic bool
      driver_off; /* the kind was switched off: single calls have no effect, as in CUPTI 13.0.1 */
  /* Executable graphs that were made while whole graphs were recorded no more: as in CUPTI 13.0.1,
   * their launch ends the program if they are recorded again. */
  _Atomic bool graphs_were_on;
  _Atomic uint32_t blind[BLIND_GRAPHS];
  _Atomic uint32_t blind_count;
  uint64_t (*_Atomic timestamp)(void); /* the tool's clock, NULL: CLOCK_REALTIME */
  uint64_t wall_then, clock_then;      /* readings of both when it was registered */
  struct record *pending;
  size_t count, room;
  uint8_t *buffer;
  size_t size, used, records, max_records;
  uint64_t dropped;
  uint64_t written, completed, timed, unheard; /* for the injected faults */
  uint32_t thread_id_type;
  uint32_t period_ms;
  bool worker;
  /* faults */
  uint64_t drop_every, lose_buffer_every, zero_every, backwards_every, newer_every, version,
      dump_late;
};
extern struct tracer tracer;

/* Begins every entry point: sim_fails("cuptiXxx") returns the code injected for this call, or 0. */
int sim_fails(const char *name);
bool tracer_in_callback(void); /* of a buffer: CUPTI must not be called from there */

/* record.c */
void tracer_graph_made(uint32_t id);

/* buffer.c */
void tracer_add(const struct record *record);
void tracer_deliver(uint64_t until); /* moves what is done by then into buffers */
int tracer_flush(bool forced);
void tracer_discard(void);
size_t tracer_record_size(const uint8_t *record);

/* record.c */
void tracer_work(const struct sim_work *work, size_t count);
void tracer_api(const struct sim_call *call);
void tracer_context_record(void *context);
void tracer_module_record(void *context, uint32_t id, const void *image, size_t size);
void tracer_device_records(void);
void tracer_overhead(uint64_t start, uint64_t end);
void tracer_marker(uint32_t flags, uint32_t id, const char *name, const char *domain);
void tracer_marker_data(uint32_t id,
                        uint32_t kind,
                        uint64_t payload,
                        uint32_t flags,
                        uint32_t color,
                        uint32_t category);
uint32_t tracer_thread(void);

/* names.c */
const char *tracer_driver_name(uint32_t cbid); /* NULL: not simulated */

#endif
