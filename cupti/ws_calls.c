#define _GNU_SOURCE
#include "ws_calls.h"

#include <string.h>

static const struct ws_call table[] = {
    {"cuMemAlloc_v2", WS_OP_ALLOC, WS_SPACE_DEVICE, WS_KEY_ADDRESS, WS_SHAPE_ALLOC},
    {"cuMemAllocPitch_v2", WS_OP_ALLOC, WS_SPACE_DEVICE, WS_KEY_ADDRESS, WS_SHAPE_ALLOC_PITCH},
    {"cuMemAllocManaged", WS_OP_ALLOC, WS_SPACE_MANAGED, WS_KEY_ADDRESS, WS_SHAPE_ALLOC},
    {"cuMemFree_v2", WS_OP_FREE, WS_SPACE_DEVICE, WS_KEY_ADDRESS, WS_SHAPE_FREE},
    {"cuMemAllocAsync", WS_OP_ALLOC, WS_SPACE_POOL, WS_KEY_ADDRESS, WS_SHAPE_ALLOC_ASYNC},
    {"cuMemAllocFromPoolAsync", WS_OP_ALLOC, WS_SPACE_POOL, WS_KEY_ADDRESS, WS_SHAPE_ALLOC_POOL},
    {"cuMemFreeAsync", WS_OP_FREE, WS_SPACE_POOL, WS_KEY_ADDRESS, WS_SHAPE_FREE_ASYNC},
    {"cuMemAllocHost_v2", WS_OP_ALLOC, WS_SPACE_HOST, WS_KEY_ADDRESS, WS_SHAPE_ALLOC},
    {"cuMemHostAlloc", WS_OP_ALLOC, WS_SPACE_HOST, WS_KEY_ADDRESS, WS_SHAPE_ALLOC},
    {"cuMemHostAlloc_v2", WS_OP_ALLOC, WS_SPACE_HOST, WS_KEY_ADDRESS, WS_SHAPE_ALLOC},
    {"cuMemFreeHost", WS_OP_FREE, WS_SPACE_HOST, WS_KEY_ADDRESS, WS_SHAPE_FREE},
    {"cuMemHostRegister", WS_OP_ALLOC, WS_SPACE_REGISTERED, WS_KEY_REGISTERED, WS_SHAPE_RANGE},
    {"cuMemHostRegister_v2", WS_OP_ALLOC, WS_SPACE_REGISTERED, WS_KEY_REGISTERED, WS_SHAPE_RANGE},
    {"cuMemHostUnregister", WS_OP_FREE, WS_SPACE_REGISTERED, WS_KEY_REGISTERED, WS_SHAPE_FREE},
    {"cuMemCreate", WS_OP_ALLOC, WS_SPACE_HANDLE, WS_KEY_HANDLE, WS_SHAPE_CREATE},
    {"cuMemRelease", WS_OP_FREE, WS_SPACE_HANDLE, WS_KEY_HANDLE, WS_SHAPE_FREE},
    {"cuMemImportFromShareableHandle",
     WS_OP_IMPORT,
     WS_SPACE_HANDLE,
     WS_KEY_HANDLE,
     WS_SHAPE_IMPORT},
    {"cuMemRetainAllocationHandle", WS_OP_RETAIN, WS_SPACE_HANDLE, WS_KEY_HANDLE, WS_SHAPE_IMPORT},
    {"cuMemMap", WS_OP_MAP, WS_SPACE_VIRTUAL, WS_KEY_MAPPING, WS_SHAPE_MAP},
    {"cuMemUnmap", WS_OP_UNMAP, WS_SPACE_VIRTUAL, WS_KEY_MAPPING, WS_SHAPE_RANGE},
    {"cuMemAddressReserve", WS_OP_RESERVE, WS_SPACE_VIRTUAL, WS_KEY_RESERVATION, WS_SHAPE_RESERVE},
    {"cuMemAddressFree", WS_OP_UNRESERVE, WS_SPACE_VIRTUAL, WS_KEY_RESERVATION, WS_SHAPE_RANGE},
    {"cuMulticastCreate", WS_OP_ALLOC, WS_SPACE_HANDLE, WS_KEY_HANDLE, WS_SHAPE_NONE},
    {"cuIpcOpenMemHandle_v2", WS_OP_IMPORT, WS_SPACE_IPC, WS_KEY_ADDRESS, WS_SHAPE_IPC},
    {"cuIpcCloseMemHandle", WS_OP_FREE, WS_SPACE_IPC, WS_KEY_ADDRESS, WS_SHAPE_FREE},
    {"cuArrayCreate_v2", WS_OP_ALLOC, WS_SPACE_ARRAY, WS_KEY_ARRAY, WS_SHAPE_ARRAY},
    {"cuArray3DCreate_v2", WS_OP_ALLOC, WS_SPACE_ARRAY, WS_KEY_ARRAY, WS_SHAPE_ARRAY3D},
    {"cuMipmappedArrayCreate", WS_OP_ALLOC, WS_SPACE_ARRAY, WS_KEY_ARRAY, WS_SHAPE_MIPMAP},
    {"cuArrayDestroy", WS_OP_FREE, WS_SPACE_ARRAY, WS_KEY_ARRAY, WS_SHAPE_FREE},
    {"cuMipmappedArrayDestroy", WS_OP_FREE, WS_SPACE_ARRAY, WS_KEY_ARRAY, WS_SHAPE_FREE},
    {"cuMemPoolCreate", WS_OP_POOL_CREATE, WS_SPACE_POOL, WS_KEY_HANDLE, WS_SHAPE_POOL_NEW},
    {"cuMemPoolDestroy", WS_OP_POOL_DESTROY, WS_SPACE_POOL, WS_KEY_HANDLE, WS_SHAPE_POOL},
    {"cuMemPoolTrimTo", WS_OP_POOL_TRIM, WS_SPACE_POOL, WS_KEY_HANDLE, WS_SHAPE_POOL},
    {"cuGraphAddMemAllocNode", WS_OP_ALLOC, WS_SPACE_GRAPH, WS_KEY_ADDRESS, WS_SHAPE_GRAPH_ALLOC},
    {"cuGraphAddMemFreeNode", WS_OP_FREE, WS_SPACE_GRAPH, WS_KEY_ADDRESS, WS_SHAPE_GRAPH_FREE},
    {"", WS_OP_FAILED, WS_SPACE_UNKNOWN, WS_KEY_ADDRESS, WS_SHAPE_NONE}, /* the slow calls below */
};
#define CALLS (sizeof table / sizeof *table)

/* Calls that may take memory inside the driver and are far too rare to matter: watched for
 * failure. Beginnings of names. Launches, copies and queries are not here: they are too many. */
static const char *const slow[] = {
    "cuModuleLoad",
    "cuModuleGetFunction",
    "cuModuleGetGlobal",
    "cuLibraryLoad",
    "cuLibraryGetModule",
    "cuKernelGetFunction",
    "cuLink",
    "cuCtxCreate",
    "cuCtxSetLimit",
    "cuDevicePrimaryCtx",
    "cuGraphInstantiate",
    "cuGraphUpload",
    "cuGraphExecUpdate",
    "cuStreamCreate",
    "cuEventCreate",
    "cuTexObjectCreate",
    "cuSurfObjectCreate",
    "cuImportExternal",
    "cuExternalMemory",
    "cuFuncSetAttribute",
    "cuFuncLoad",
    "cuMemAdvise",
    "cuMemPrefetch",
    "cuMulticast",
    "cuGreenCtxCreate",
    "cuMemPoolImport",
    "cuCtxEnablePeer",
    "cuGraphicsResource",
    "cuGraphicsMap",
    "cuMemSetAccess",
    "cuDeviceGraphMemTrim",
    "cuMemExport",
};

static const char *const launches[] = {"cuLaunch",
                                       "cuGraphLaunch",
                                       "cuMemcpy",
                                       "cuMemset",
                                       "cuStreamSynchronize",
                                       "cuCtxSynchronize",
                                       "cuEventSynchronize",
                                       "cudaLaunch",
                                       "cudaGraphLaunch",
                                       "cudaMemcpy",
                                       "cudaMemset",
                                       "cudaStreamSynchronize",
                                       "cudaDeviceSynchronize",
                                       "cudaEventSynchronize"};

static bool begins(const char *name, const char *const *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strncmp(name, list[i], strlen(list[i])) == 0) return true;
  return false;
}

/* Length of a name without the mark of per-thread default streams. */
static size_t plain_length(const char *name) {
  size_t n = strlen(name);
  if (n > 5 && (strcmp(name + n - 5, "_ptsz") == 0 || strcmp(name + n - 5, "_ptds") == 0)) n -= 5;
  return n;
}

unsigned ws_call_find(const char *name) {
  size_t n = plain_length(name);
  for (unsigned i = 0; i + 1 < CALLS; i++)
    if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0) return i + 1;
  return begins(name, slow, sizeof slow / sizeof *slow) ? (unsigned)CALLS : 0;
}

const struct ws_call *ws_call_at(unsigned index) { return &table[index - 1]; }

bool ws_call_is_launch(const char *name) {
  return begins(name, launches, sizeof launches / sizeof *launches);
}

bool ws_call_is_work(const char *name) {
  static const char *const work[] = {"cuLaunch", "cuGraphLaunch", "cuMemcpy", "cuMemset"};
  return begins(name, work, sizeof work / sizeof *work);
}

static const char *const essential[WS_ESSENTIAL_CALLS] = {
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemAllocManaged",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemCreate",
    "cuMemRelease",
    "cuMemMap",
    "cuMemUnmap",
    "cuMemAllocFromPoolAsync",
};

bool ws_call_is_essential(const char *name) {
  for (unsigned i = 0; i < WS_ESSENTIAL_CALLS; i++)
    if (strcmp(name, essential[i]) == 0) return true;
  return false;
}

static uint64_t texel(uint32_t format, uint32_t channels) {
  uint64_t bytes = 1; /* CU_AD_FORMAT_*: 0x01 u8, 0x08 s8 */
  if (format == 0x02 || format == 0x09 || format == 0x10) bytes = 2;
  if (format == 0x03 || format == 0x0a || format == 0x20) bytes = 4;
  return bytes * (channels ? channels : 1);
}

static uint64_t extent(size_t n) { return n ? n : 1; }

static uint64_t array3d_bytes(const struct cu_array3d_desc *d) {
  return extent(d->width) * extent(d->height) * extent(d->depth) * texel(d->format, d->channels);
}

static uint64_t out(const uint64_t *result, bool done) { return done && result ? *result : 0; }

void ws_call_args(const struct ws_call *call, const void *params, bool done, struct ws_args *a) {
  *a = (struct ws_args){.device = -1};
  if (!params) return;
  switch (call->shape) {
  case WS_SHAPE_ALLOC: {
    const struct cu_alloc *p = params;
    a->address = out(p->address, done);
    a->size = p->size;
    break;
  }
  case WS_SHAPE_ALLOC_ASYNC: {
    const struct cu_alloc_async *p = params;
    a->address = out(p->address, done);
    a->size = p->size;
    a->stream = p->stream;
    a->has_stream = true;
    break;
  }
  case WS_SHAPE_ALLOC_POOL: {
    const struct cu_alloc_pool *p = params;
    a->address = out(p->address, done);
    a->size = p->size;
    a->handle = (uint64_t)(uintptr_t)p->pool;
    a->stream = p->stream;
    a->has_stream = true;
    break;
  }
  case WS_SHAPE_ALLOC_PITCH: {
    const struct cu_alloc_pitch *p = params;
    a->address = out(p->address, done);
    a->size = (done && p->pitch ? *p->pitch : p->width) * p->height;
    break;
  }
  case WS_SHAPE_FREE:
  case WS_SHAPE_POOL: {
    const struct cu_free *p = params;
    a->address = p->address;
    if (call->shape == WS_SHAPE_POOL) a->handle = p->address;
    break;
  }
  case WS_SHAPE_FREE_ASYNC: {
    const struct cu_free_async *p = params;
    a->address = p->address;
    a->stream = p->stream;
    a->has_stream = true;
    break;
  }
  case WS_SHAPE_RANGE: {
    const struct cu_range *p = params;
    a->address = p->address;
    a->size = p->size;
    break;
  }
  case WS_SHAPE_RESERVE: {
    const struct cu_reserve *p = params;
    a->address = out(p->address, done);
    a->size = p->size;
    break;
  }
  case WS_SHAPE_CREATE: {
    const struct cu_create *p = params;
    a->address = a->handle = out(p->handle, done);
    a->size = p->size;
    const struct cu_allocation_prop *prop = p->prop;
    if (prop && prop->location_type == 1) a->device = prop->location_id;
    break;
  }
  case WS_SHAPE_MAP: {
    const struct cu_map *p = params;
    a->address = p->address;
    a->size = p->size;
    a->handle = p->handle;
    break;
  }
  case WS_SHAPE_IMPORT:
  case WS_SHAPE_POOL_NEW: {
    const struct cu_import *p = params;
    a->address = a->handle = out(p->handle, done);
    break;
  }
  case WS_SHAPE_IPC: {
    const struct cu_alloc *p = params; /* the handle of 64 bytes follows by value */
    a->address = out(p->address, done);
    break;
  }
  case WS_SHAPE_ARRAY: {
    const struct cu_array *p = params;
    const struct cu_array_desc *d = p->descriptor;
    a->address = out(p->handle, done);
    if (d) a->size = extent(d->width) * extent(d->height) * texel(d->format, d->channels);
    break;
  }
  case WS_SHAPE_ARRAY3D: {
    const struct cu_array *p = params;
    a->address = out(p->handle, done);
    if (p->descriptor) a->size = array3d_bytes(p->descriptor);
    break;
  }
  case WS_SHAPE_MIPMAP: {
    const struct cu_mipmap *p = params;
    a->address = out(p->handle, done);
    if (p->descriptor) {
      uint64_t level = array3d_bytes(p->descriptor);
      for (uint32_t i = 0; i < p->levels && level; i++, level /= 4) a->size += level;
    }
    break;
  }
  case WS_SHAPE_GRAPH_ALLOC: {
    const struct cu_graph_alloc *p = params;
    if (!p->params) break;
    memcpy(&a->size, p->params + CU_NODE_ALLOC_BYTES, 8);
    if (done) memcpy(&a->address, p->params + CU_NODE_ALLOC_ADDRESS, 8);
    break;
  }
  case WS_SHAPE_GRAPH_FREE: {
    const struct cu_graph_free *p = params;
    a->address = p->address;
    break;
  }
  default:
    break;
  }
}
