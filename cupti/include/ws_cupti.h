/* ws_cupti.h: the part of CUPTI's and the driver's interface that warpscope uses, declared by hand.
 *
 * Owns: prefixes of CUPTI's records, the numbers of kinds and domains, and the parameter blocks of
 * the driver calls that the ledger reads. Never includes NVIDIA's headers. CUPTI always writes its
 * newest version of a record and has so far only appended to these, so a prefix is read and
 * records are stepped with cuptiActivityGetNextRecord alone; `make check` asserts every offset
 * against the real headers of CUPTI 11.8 to the newest.
 */
#ifndef WS_CUPTI_H
#define WS_CUPTI_H

#include <stddef.h>
#include <stdint.h>

/* CUptiResult and CUresult: 0 is success. */
enum {
  CUPTI_OK = 0,
  CUPTI_MAX_LIMIT_REACHED = 12,
  CUPTI_MULTIPLE_SUBSCRIBERS = 39,
  CUPTI_INSUFFICIENT_PRIVILEGES = 35,
  CUDA_OOM = 2
};

/* cuptiGetVersion of 11.8, the oldest whose records these are. */
enum { CUPTI_OLDEST = 18 };

enum cupti_kind {
  CUPTI_KIND_MEMCPY = 1,
  CUPTI_KIND_MEMSET = 2,
  CUPTI_KIND_KERNEL = 3,
  CUPTI_KIND_DRIVER = 4,
  CUPTI_KIND_RUNTIME = 5,
  CUPTI_KIND_CONCURRENT_KERNEL = 10,
  CUPTI_KIND_MARKER = 12,
  CUPTI_KIND_MARKER_DATA = 13,
  CUPTI_KIND_OVERHEAD = 17,
  CUPTI_KIND_MEMCPY2 = 22,
  CUPTI_KIND_CUDA_EVENT = 36,
  CUPTI_KIND_SYNCHRONIZATION = 38,
  CUPTI_KIND_GRAPH_TRACE = 51
};

enum cupti_domain { CUPTI_DOMAIN_DRIVER = 1, CUPTI_DOMAIN_RUNTIME = 2, CUPTI_DOMAIN_RESOURCE = 3 };
enum cupti_site { CUPTI_ENTER = 0, CUPTI_EXIT = 1 };
enum cupti_resource {
  CUPTI_CONTEXT_CREATED = 1,
  CUPTI_CONTEXT_DESTROYING = 2,
  CUPTI_MODULE_LOADED = 6,
  CUPTI_MODULE_UNLOADING = 7
};
enum { CUPTI_FLUSH_NORMAL = 0, CUPTI_FLUSH_FORCED = 1 };
enum { CUPTI_THREAD_ID_SYSTEM = 1 };
enum { CUPTI_ATTR_DEVICE_BUFFER_SIZE = 0, CUPTI_ATTR_DEVICE_BUFFERS_MOST = 2 };
enum { CUPTI_OBJECT_PROCESS = 1, CUPTI_OBJECT_THREAD = 2 };
enum { CUPTI_MARKER_INSTANT = 1, CUPTI_MARKER_START = 2, CUPTI_MARKER_END = 4 };
enum { CUPTI_FLAG_MEMCPY_ASYNC = 1 };
/* CUpti_MetricValueKind, of NVTX payloads */
enum { CUPTI_VALUE_DOUBLE = 0, CUPTI_VALUE_UINT64 = 1, CUPTI_VALUE_INT64 = 4 };

/* CUPTI packs its activity records (but CUpti_ActivityGraphTrace) to 1 byte. */
#define CUPTI_PACKED __attribute__((packed, aligned(8)))

struct CUPTI_PACKED cupti_record {
  uint32_t kind;
};

/* CUpti_ActivityKernel8 … (11.8 and newer) */
struct CUPTI_PACKED cupti_kernel {
  uint32_t kind;
  uint8_t cacheConfig;
  uint8_t sharedMemoryConfig;
  uint16_t registersPerThread;
  uint32_t partitionedGlobalCacheRequested;
  uint32_t partitionedGlobalCacheExecuted;
  uint64_t start;
  uint64_t end;
  uint64_t completed;
  uint32_t deviceId;
  uint32_t contextId;
  uint32_t streamId;
  int32_t gridX, gridY, gridZ;
  int32_t blockX, blockY, blockZ;
  int32_t staticSharedMemory;
  int32_t dynamicSharedMemory;
  uint32_t localMemoryPerThread;
  uint32_t localMemoryTotal;
  uint32_t correlationId;
  int64_t gridId;
  const char *name;
  void *reserved0;
  uint64_t queued;
  uint64_t submitted;
  uint8_t launchType;
  uint8_t isSharedMemoryCarveoutRequested;
  uint8_t sharedMemoryCarveoutRequested;
  uint8_t padding;
  uint32_t sharedMemoryExecuted;
  uint64_t graphNodeId;
  uint32_t shmemLimitConfig;
  uint32_t graphId;
  void *pAccessPolicyWindow;
  uint32_t channelID;
  uint32_t channelType;
  uint32_t clusterX, clusterY, clusterZ;
  uint32_t clusterSchedulingPolicy;
  uint64_t localMemoryTotal_v2;
};

/* CUpti_ActivityMemcpy5 … */
struct CUPTI_PACKED cupti_memcpy {
  uint32_t kind;
  uint8_t copyKind, srcKind, dstKind, flags;
  uint64_t bytes;
  uint64_t start;
  uint64_t end;
  uint32_t deviceId;
  uint32_t contextId;
  uint32_t streamId;
  uint32_t correlationId;
  uint32_t runtimeCorrelationId;
  uint32_t pad;
  void *reserved0;
  uint64_t graphNodeId;
  uint32_t graphId;
};

/* CUpti_ActivityMemcpyPtoP4 … */
struct CUPTI_PACKED cupti_memcpy_peer {
  uint32_t kind;
  uint8_t copyKind, srcKind, dstKind, flags;
  uint64_t bytes;
  uint64_t start;
  uint64_t end;
  uint32_t deviceId;
  uint32_t contextId;
  uint32_t streamId;
  uint32_t srcDeviceId;
  uint32_t srcContextId;
  uint32_t dstDeviceId;
  uint32_t dstContextId;
  uint32_t correlationId;
  void *reserved0;
  uint64_t graphNodeId;
  uint32_t graphId;
};

/* CUpti_ActivityMemset4 … */
struct CUPTI_PACKED cupti_memset {
  uint32_t kind;
  uint32_t value;
  uint64_t bytes;
  uint64_t start;
  uint64_t end;
  uint32_t deviceId;
  uint32_t contextId;
  uint32_t streamId;
  uint32_t correlationId;
  uint16_t flags;
  uint16_t memoryKind;
  uint32_t pad;
  void *reserved0;
  uint64_t graphNodeId;
  uint32_t graphId;
};

/* CUpti_ActivitySynchronization … */
struct CUPTI_PACKED cupti_sync {
  uint32_t kind;
  uint32_t type;
  uint64_t start;
  uint64_t end;
  uint32_t correlationId;
  uint32_t contextId;
  uint32_t streamId;
  uint32_t cudaEventId;
};

/* CUpti_ActivityAPI */
struct CUPTI_PACKED cupti_api {
  uint32_t kind;
  uint32_t cbid;
  uint64_t start;
  uint64_t end;
  uint32_t processId;
  uint32_t threadId;
  uint32_t correlationId;
  uint32_t returnValue;
};

/* CUpti_ActivityMarker2; objectId is a union: {processId, threadId} or {device, context, stream} */
struct CUPTI_PACKED cupti_marker {
  uint32_t kind;
  uint32_t flags;
  uint64_t timestamp;
  uint32_t id;
  uint32_t objectKind;
  uint32_t objectId[3];
  uint32_t pad;
  const char *name;
  const char *domain;
};

/* CUpti_ActivityMarkerData … */
struct CUPTI_PACKED cupti_marker_data {
  uint32_t kind;
  uint32_t flags;
  uint32_t id;
  uint32_t payloadKind;
  uint64_t payload;
  uint32_t color;
  uint32_t category;
};

/* CUpti_ActivityOverhead … */
struct CUPTI_PACKED cupti_overhead {
  uint32_t kind;
  uint32_t overheadKind;
  uint32_t objectKind;
  uint32_t objectId[3];
  uint64_t start;
  uint64_t end;
};

/* CUpti_ActivityGraphTrace …: the one that is not packed */
struct cupti_graph_trace {
  uint32_t kind;
  uint32_t correlationId;
  uint64_t start;
  uint64_t end;
  uint32_t deviceId;
  uint32_t graphId;
  uint32_t contextId;
  uint32_t streamId;
};

/* CUpti_CallbackData */
struct cupti_callback {
  uint32_t callbackSite;
  const char *functionName;
  const void *functionParams;
  void *functionReturnValue;
  const char *symbolName;
  void *context;
  uint32_t contextUid;
  uint64_t *correlationData;
  uint32_t correlationId;
};

/* CUpti_ResourceData */
struct cupti_resource_data {
  void *context;
  void *stream;
  void *resourceDescriptor;
};

/* CUpti_ModuleResourceData */
struct cupti_module_data {
  uint32_t moduleId;
  size_t cubinSize;
  const char *pCubin;
};

typedef void (*cupti_callback_fn)(void *user, uint32_t domain, uint32_t id, const void *data);
typedef void (*cupti_request_fn)(uint8_t **buffer, size_t *size, size_t *max_records);
typedef void (*cupti_complete_fn)(
    void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid);

/* ---- parameters of driver calls (generated_cuda_meta.h: cuXxx_params) ---- */

struct cu_alloc { /* cuMemAlloc_v2, cuMemAllocHost_v2, cuMemHostAlloc, cuMemAllocManaged */
  uint64_t *address;
  size_t size;
};
struct cu_alloc_async { /* cuMemAllocAsync */
  uint64_t *address;
  size_t size;
  void *stream;
};
struct cu_alloc_pool { /* cuMemAllocFromPoolAsync */
  uint64_t *address;
  size_t size;
  void *pool;
  void *stream;
};
struct cu_alloc_pitch { /* cuMemAllocPitch_v2 */
  uint64_t *address;
  size_t *pitch;
  size_t width;
  size_t height;
  uint32_t element;
};
struct cu_free { /* cuMemFree_v2, cuMemFreeHost, cuMemHostUnregister, cuMemRelease, cuArrayDestroy,
                    … */
  uint64_t address;
};
struct cu_free_async { /* cuMemFreeAsync */
  uint64_t address;
  void *stream;
};
struct cu_range { /* cuMemHostRegister_v2, cuMemUnmap, cuMemAddressFree, cuMemPoolTrimTo */
  uint64_t address;
  size_t size;
};
struct cu_reserve { /* cuMemAddressReserve */
  uint64_t *address;
  size_t size;
  size_t alignment;
  uint64_t hint;
  uint64_t flags;
};
struct cu_create { /* cuMemCreate */
  uint64_t *handle;
  size_t size;
  const void *prop; /* CUmemAllocationProp */
  uint64_t flags;
};
struct cu_allocation_prop { /* head of CUmemAllocationProp */
  uint32_t type;
  uint32_t handle_types;
  uint32_t location_type; /* 1: device */
  int32_t location_id;
};
struct cu_map { /* cuMemMap */
  uint64_t address;
  size_t size;
  size_t offset;
  uint64_t handle;
  uint64_t flags;
};
struct cu_import { /* cuMemImportFromShareableHandle, cuMemRetainAllocationHandle, cuMemPoolCreate
                    */
  uint64_t *handle;
  const void *from;
};
struct cu_array { /* cuArrayCreate_v2, cuArray3DCreate_v2 */
  uint64_t *handle;
  const void *descriptor;
};
struct cu_array_desc { /* CUDA_ARRAY_DESCRIPTOR_v2 */
  size_t width;
  size_t height;
  uint32_t format;
  uint32_t channels;
};
struct cu_array3d_desc { /* CUDA_ARRAY3D_DESCRIPTOR_v2 */
  size_t width;
  size_t height;
  size_t depth;
  uint32_t format;
  uint32_t channels;
  uint32_t flags;
};
struct cu_mipmap { /* cuMipmappedArrayCreate */
  uint64_t *handle;
  const void *descriptor;
  uint32_t levels;
};
struct cu_graph_alloc { /* cuGraphAddMemAllocNode */
  void **node;
  void *graph;
  const void *dependencies;
  size_t count;
  const uint8_t *params; /* CUDA_MEM_ALLOC_NODE_PARAMS_v1 */
};
enum { CU_NODE_ALLOC_BYTES = 104, CU_NODE_ALLOC_ADDRESS = 112 };
struct cu_graph_free { /* cuGraphAddMemFreeNode */
  void **node;
  void *graph;
  const void *dependencies;
  size_t count;
  uint64_t address;
};

#endif
