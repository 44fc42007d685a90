/* record.c: what the driver tells, as CUPTI's records. */
#include "tracer.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t tracer_thread(void) {
  if (tracer.thread_id_type == CUPTI_THREAD_ID_SYSTEM) return (uint32_t)syscall(SYS_gettid);
  return (uint32_t)(uintptr_t)pthread_self(); /* CUPTI's default: useless outside the process */
}

static bool on(uint32_t kind) {
  return atomic_load_explicit(&tracer.kinds[kind], memory_order_relaxed);
}

/* Where records have times besides those of the device; 0 ends. */
static void cpu_times(uint32_t kind, size_t at[3]) {
  at[0] = at[1] = at[2] = 0;
  switch (kind) {
  case CUPTI_KIND_DRIVER:
    at[0] = offsetof(struct cupti_api, start);
    at[1] = offsetof(struct cupti_api, end);
    break;
  case CUPTI_KIND_SYNCHRONIZATION:
    at[0] = offsetof(struct cupti_sync, start);
    at[1] = offsetof(struct cupti_sync, end);
    break;
  case CUPTI_KIND_OVERHEAD:
    at[0] = offsetof(struct cupti_overhead, start);
    at[1] = offsetof(struct cupti_overhead, end);
    break;
  case CUPTI_KIND_MARKER:
    at[0] = offsetof(struct cupti_marker, timestamp);
    break;
  default:
    break;
  }
}

/* To the tool's clock, along the line through its readings at registration and now. */
static double slope_now(uint64_t (*clock)(void)) {
  double passed = (double)(tracer.driver->now() - tracer.wall_then);
  return passed > 0 ? (double)(clock() - tracer.clock_then) / passed : 1;
}

static void retime(struct record *r, size_t at, double slope) {
  uint64_t time;
  if (at == 0) return;
  memcpy(&time, (uint8_t *)r->bytes + at, sizeof time);
  if (time == 0) return;
  double since = (double)(int64_t)(time - tracer.wall_then);
  time = tracer.clock_then + (uint64_t)(int64_t)(slope * since);
  memcpy((uint8_t *)r->bytes + at, &time, sizeof time);
}

static void add(uint64_t ready, const void *bytes, size_t size, size_t start_at, size_t end_at) {
  struct record r = {.ready = ready,
                     .size = (uint32_t)size,
                     .start_at = (uint32_t)start_at,
                     .end_at = (uint32_t)end_at};
  memcpy(r.bytes, bytes, size);
  uint64_t (*clock)(void) = atomic_load(&tracer.timestamp);
  if (clock != NULL) {
    size_t others[3];
    double slope = slope_now(clock);
    cpu_times((uint32_t)r.bytes[0], others);
    retime(&r, start_at, slope);
    retime(&r, end_at, slope);
    for (int i = 0; others[i] != 0; i++) retime(&r, others[i], slope);
  }
  tracer_add(&r);
}

static void kernel(const struct sim_work *w) {
  uint32_t kind =
      on(CUPTI_KIND_CONCURRENT_KERNEL) ? CUPTI_KIND_CONCURRENT_KERNEL : CUPTI_KIND_KERNEL;
  if (!on(kind)) return;
  struct record_kernel r = {.head = {.kind = kind,
                                     .registersPerThread = (uint16_t)w->registers,
                                     .start = w->start,
                                     .end = w->end,
                                     .deviceId = w->device,
                                     .contextId = w->context,
                                     .streamId = w->stream,
                                     .gridX = (int32_t)w->grid[0],
                                     .gridY = (int32_t)w->grid[1],
                                     .gridZ = (int32_t)w->grid[2],
                                     .blockX = (int32_t)w->block[0],
                                     .blockY = (int32_t)w->block[1],
                                     .blockZ = (int32_t)w->block[2],
                                     .staticSharedMemory = (int32_t)w->static_shared,
                                     .dynamicSharedMemory = (int32_t)w->dynamic_shared,
                                     .localMemoryPerThread = w->local_thread,
                                     .correlationId = w->correlation,
                                     .gridId = (int64_t)w->correlation,
                                     .name = w->name,
                                     .graphNodeId = w->graph_node,
                                     .graphId = w->graph,
                                     .clusterX = w->cluster[0],
                                     .clusterY = w->cluster[1],
                                     .clusterZ = w->cluster[2]}};
  add(w->end,
      &r,
      sizeof r,
      offsetof(struct cupti_kernel, start),
      offsetof(struct cupti_kernel, end));
}

static void copy(const struct sim_work *w) {
  enum { PEER = 10 };
  if (w->copy_kind != PEER) {
    if (!on(CUPTI_KIND_MEMCPY)) return;
    struct record_memcpy r = {.head = {.kind = CUPTI_KIND_MEMCPY,
                                       .copyKind = w->copy_kind,
                                       .srcKind = w->src_kind,
                                       .dstKind = w->dst_kind,
                                       .flags = w->async,
                                       .bytes = w->bytes,
                                       .start = w->start,
                                       .end = w->end,
                                       .deviceId = w->device,
                                       .contextId = w->context,
                                       .streamId = w->stream,
                                       .correlationId = w->correlation,
                                       .graphNodeId = w->graph_node,
                                       .graphId = w->graph},
                              .copyCount = 1};
    add(w->end,
        &r,
        sizeof r,
        offsetof(struct cupti_memcpy, start),
        offsetof(struct cupti_memcpy, end));
    return;
  }
  if (!on(CUPTI_KIND_MEMCPY2)) return;
  struct record_memcpy_peer r = {.head = {.kind = CUPTI_KIND_MEMCPY2,
                                          .copyKind = w->copy_kind,
                                          .srcKind = w->src_kind,
                                          .dstKind = w->dst_kind,
                                          .flags = w->async,
                                          .bytes = w->bytes,
                                          .start = w->start,
                                          .end = w->end,
                                          .deviceId = w->device,
                                          .contextId = w->context,
                                          .streamId = w->stream,
                                          .srcDeviceId = w->device,
                                          .srcContextId = w->context,
                                          .dstDeviceId = w->peer,
                                          .dstContextId = w->peer_context,
                                          .correlationId = w->correlation,
                                          .graphNodeId = w->graph_node,
                                          .graphId = w->graph}};
  add(w->end,
      &r,
      sizeof r,
      offsetof(struct cupti_memcpy_peer, start),
      offsetof(struct cupti_memcpy_peer, end));
}

static void set(const struct sim_work *w) {
  if (!on(CUPTI_KIND_MEMSET)) return;
  struct record_memset r = {.head = {.kind = CUPTI_KIND_MEMSET,
                                     .value = w->value,
                                     .bytes = w->bytes,
                                     .start = w->start,
                                     .end = w->end,
                                     .deviceId = w->device,
                                     .contextId = w->context,
                                     .streamId = w->stream,
                                     .correlationId = w->correlation,
                                     .flags = w->async,
                                     .memoryKind = w->dst_kind,
                                     .graphNodeId = w->graph_node,
                                     .graphId = w->graph}};
  add(w->end,
      &r,
      sizeof r,
      offsetof(struct cupti_memset, start),
      offsetof(struct cupti_memset, end));
}

void tracer_graph_made(uint32_t id) {
  if (!atomic_load(&tracer.graphs_were_on) || on(CUPTI_KIND_GRAPH_TRACE)) return;
  atomic_store(&tracer.blind[atomic_fetch_add(&tracer.blind_count, 1) % BLIND_GRAPHS], id);
}

static void graph(const struct sim_work *w) {
  for (uint32_t i = 0; i < BLIND_GRAPHS; i++)
    if (atomic_load(&tracer.blind[i]) == w->graph) raise(SIGSEGV);
  struct record_graph_trace r = {.head = {.kind = CUPTI_KIND_GRAPH_TRACE,
                                          .correlationId = w->correlation,
                                          .start = w->start,
                                          .end = w->end,
                                          .deviceId = w->device,
                                          .graphId = w->graph,
                                          .contextId = w->context,
                                          .streamId = w->stream},
                                 .endDeviceId = w->device,
                                 .endContextId = w->context};
  add(w->end,
      &r,
      sizeof r,
      offsetof(struct cupti_graph_trace, start),
      offsetof(struct cupti_graph_trace, end));
}

static void wait(const struct sim_work *w) {
  if (!on(CUPTI_KIND_SYNCHRONIZATION)) return;
  struct record_sync r = {.head = {.kind = CUPTI_KIND_SYNCHRONIZATION,
                                   .type = w->copy_kind,
                                   .start = w->start,
                                   .end = w->end,
                                   .correlationId = w->correlation,
                                   .contextId = w->context,
                                   .streamId = w->stream,
                                   .cudaEventId = (uint32_t)w->bytes}};
  add(0, &r, sizeof r, 0, 0);
}

/* With graph-level records the nodes are not shown, without them the whole is not. */
void tracer_work(const struct sim_work *work, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct sim_work *w = &work[i];
    if (w->kind == SIM_GRAPH ? !on(CUPTI_KIND_GRAPH_TRACE)
                             : w->graph != 0 && on(CUPTI_KIND_GRAPH_TRACE))
      continue;
    switch (w->kind) {
    case SIM_KERNEL:
      kernel(w);
      break;
    case SIM_COPY:
      copy(w);
      break;
    case SIM_SET:
      set(w);
      break;
    case SIM_GRAPH:
      graph(w);
      break;
    case SIM_SYNC:
      wait(w);
      break;
    default:
      break;
    }
  }
  tracer_deliver(tracer.driver->now());
}

void tracer_api(const struct sim_call *call) {
  if (atomic_load_explicit(&tracer.driver_off, memory_order_relaxed) ||
      !atomic_load_explicit(&tracer.driver_api[call->cbid], memory_order_relaxed))
    return;
  struct cupti_api r = {.kind = CUPTI_KIND_DRIVER,
                        .cbid = call->cbid,
                        .start = call->enter,
                        .end = call->exit,
                        .processId = (uint32_t)getpid(),
                        .threadId = tracer_thread(),
                        .correlationId = call->correlation,
                        .returnValue = (uint32_t)call->result};
  add(0, &r, sizeof r, 0, 0);
}

void tracer_context_record(void *context) {
  if (!on(KIND_CONTEXT)) return;
  struct record_context r = {.kind = KIND_CONTEXT, .computeApiKind = 1};
  uint32_t id, device, stream = 0;
  if (!tracer.driver->context(context, &id, &device)) return;
  tracer.driver->stream(context, NULL, &stream);
  r.contextId = id;
  r.deviceId = device;
  r.nullStreamId = (uint16_t)stream;
  add(0, &r, sizeof r, 0, 0);
}

void tracer_module_record(void *context, uint32_t id, const void *image, size_t size) {
  if (!on(KIND_MODULE)) return;
  struct record_module r = {
      .kind = KIND_MODULE, .id = id, .cubinSize = (uint32_t)size, .cubin = image};
  uint32_t context_id = 0, device;
  tracer.driver->context(context, &context_id, &device);
  r.contextId = context_id;
  add(0, &r, sizeof r, 0, 0);
}

void tracer_device_records(void) {
  struct sim_device_info info;
  for (uint32_t i = 0; on(KIND_DEVICE) && tracer.driver->device(i, &info); i++) {
    struct record_device r = {.kind = KIND_DEVICE,
                              .globalMemorySize = info.memory,
                              .numThreadsPerWarp = 32,
                              .numMultiprocessors = info.multiprocessors,
                              .computeCapabilityMajor = info.major,
                              .computeCapabilityMinor = info.minor,
                              .id = i,
                              .name = info.name,
                              .isCudaVisible = 1};
    memcpy(r.uuid, info.uuid, sizeof r.uuid);
    add(0, &r, sizeof r, 0, 0);
  }
}

void tracer_overhead(uint64_t start, uint64_t end) {
  enum { BUFFER_FLUSH = 1 << 16 };
  struct record_overhead r = {.head = {.kind = CUPTI_KIND_OVERHEAD,
                                       .overheadKind = BUFFER_FLUSH,
                                       .objectKind = CUPTI_OBJECT_THREAD,
                                       .objectId = {(uint32_t)getpid(), tracer_thread(), 0},
                                       .start = start,
                                       .end = end}};
  add(0, &r, sizeof r, 0, 0);
}

void tracer_marker(uint32_t flags, uint32_t id, const char *name, const char *domain) {
  if (!on(CUPTI_KIND_MARKER) || tracer.driver == NULL) return;
  struct cupti_marker r = {.kind = CUPTI_KIND_MARKER,
                           .flags = flags,
                           .timestamp = tracer.driver->now(),
                           .id = id,
                           .objectKind = CUPTI_OBJECT_THREAD,
                           .objectId = {(uint32_t)getpid(), tracer_thread(), 0},
                           .name = name,
                           .domain = domain};
  add(0, &r, sizeof r, 0, 0);
}

void tracer_marker_data(uint32_t id,
                        uint32_t kind,
                        uint64_t payload,
                        uint32_t flags,
                        uint32_t color,
                        uint32_t category) {
  if (!on(CUPTI_KIND_MARKER_DATA) || tracer.driver == NULL) return;
  struct record_marker_data r = {.head = {.kind = CUPTI_KIND_MARKER_DATA,
                                          .flags = flags,
                                          .id = id,
                                          .payloadKind = kind,
                                          .payload = payload,
                                          .color = color,
                                          .category = category}};
  add(0, &r, sizeof r, 0, 0);
}
