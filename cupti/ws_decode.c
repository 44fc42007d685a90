#define _GNU_SOURCE
#include "ws_decode.h"

#include <string.h>

#include "ws_share.h"

static void push(struct ws_decoder *d, struct ws_rec *rec) {
  ws_ring_push(d->shm, &d->shm->timeline, rec, 1);
}

static uint16_t ordinal(uint32_t device) {
  return device > UINT16_MAX ? UINT16_MAX : (uint16_t)device;
}

static void check_time(struct ws_decoder *d, unsigned type, uint64_t start, uint64_t end) {
  if (!start || end < start) ws_lost(d->shm, type, WS_LOSS_NO_TIME, 1);
}

static uint32_t launch_id(struct ws_decoder *d, const struct cupti_kernel *k) {
  struct ws_launch l = {
      .name = ws_arena_string(d->arena, k->name, WS_REC_KERNEL),
      .grid = {(uint32_t)k->gridX, (uint32_t)k->gridY, (uint32_t)k->gridZ},
      .block = {(uint32_t)k->blockX, (uint32_t)k->blockY, (uint32_t)k->blockZ},
      .registers = k->registersPerThread,
      .static_shared = (uint32_t)k->staticSharedMemory,
      .dynamic_shared = (uint32_t)k->dynamicSharedMemory,
      .local_thread = k->localMemoryPerThread,
      .cluster = {k->clusterX, k->clusterY, k->clusterZ},
      .local_total = k->localMemoryTotal_v2 ? k->localMemoryTotal_v2 : k->localMemoryTotal,
  };
  return ws_arena_launch(d->arena, &l);
}

static void kernel(struct ws_decoder *d, const struct cupti_kernel *k) {
  check_time(d, WS_REC_KERNEL, k->start, k->end);
  struct ws_kernel r = {
      .rec = {.type = WS_REC_KERNEL},
      .start = k->start,
      .end = k->end,
      .launch = launch_id(d, k),
      .correlation = k->correlationId,
      .context = k->contextId,
      .stream = k->streamId,
      .graph_node = k->graphNodeId,
      .graph = k->graphId,
      .device = ordinal(k->deviceId),
  };
  push(d, &r.rec);
}

static void copy(struct ws_decoder *d, const struct cupti_memcpy *c) {
  check_time(d, WS_REC_COPY, c->start, c->end);
  struct ws_copy r = {
      .rec = {.type = WS_REC_COPY, .flags = c->flags & CUPTI_FLAG_MEMCPY_ASYNC ? WS_COPY_ASYNC : 0},
      .start = c->start,
      .end = c->end,
      .bytes = c->bytes,
      .correlation = c->correlationId,
      .context = c->contextId,
      .stream = c->streamId,
      .graph = c->graphId,
      .graph_node = c->graphNodeId,
      .device = ordinal(c->deviceId),
      .peer = ordinal(c->deviceId),
      .kind = c->copyKind,
      .src = c->srcKind,
      .dst = c->dstKind,
  };
  push(d, &r.rec);
}

static void copy_peer(struct ws_decoder *d, const struct cupti_memcpy_peer *c) {
  check_time(d, WS_REC_COPY, c->start, c->end);
  struct ws_copy r = {
      .rec = {.type = WS_REC_COPY,
              .flags = (uint16_t)(WS_COPY_PEER |
                                  (c->flags & CUPTI_FLAG_MEMCPY_ASYNC ? WS_COPY_ASYNC : 0))},
      .start = c->start,
      .end = c->end,
      .bytes = c->bytes,
      .correlation = c->correlationId,
      .context = c->contextId,
      .stream = c->streamId,
      .graph = c->graphId,
      .graph_node = c->graphNodeId,
      .device = ordinal(c->srcDeviceId),
      .peer = ordinal(c->dstDeviceId),
      .kind = c->copyKind,
      .src = c->srcKind,
      .dst = c->dstKind,
  };
  push(d, &r.rec);
}

static void set(struct ws_decoder *d, const struct cupti_memset *s) {
  check_time(d, WS_REC_SET, s->start, s->end);
  struct ws_set r = {
      .rec = {.type = WS_REC_SET},
      .start = s->start,
      .end = s->end,
      .bytes = s->bytes,
      .correlation = s->correlationId,
      .context = s->contextId,
      .stream = s->streamId,
      .graph = s->graphId,
      .graph_node = s->graphNodeId,
      .value = s->value,
      .device = ordinal(s->deviceId),
      .memory = (uint8_t)s->memoryKind,
  };
  push(d, &r.rec);
}

static void sync_record(struct ws_decoder *d, const struct cupti_sync *s) {
  check_time(d, WS_REC_SYNC, s->start, s->end);
  struct ws_sync r = {
      .rec = {.type = WS_REC_SYNC},
      .start = s->start,
      .end = s->end,
      .correlation = s->correlationId,
      .context = s->contextId,
      .stream = s->streamId,
      .event = s->cudaEventId == UINT32_MAX ? 0 : s->cudaEventId,
      .type = (uint8_t)s->type,
  };
  push(d, &r.rec);
}

/* CUPTI names runtime calls after the version that brought them: cudaLaunchKernel_v7000. */
static size_t plain_length(const char *name) {
  size_t n = strlen(name), digits = 0;
  while (digits < n && name[n - 1 - digits] >= '0' && name[n - 1 - digits] <= '9') digits++;
  if (digits < 4 || n < digits + 3 || memcmp(name + n - digits - 2, "_v", 2) != 0) return n;
  return n - digits - 2;
}

static uint32_t call_name(struct ws_decoder *d, uint32_t domain, uint32_t id) {
  uint32_t *cached = id < WS_CALL_IDS ? &d->call_names[domain][id] : NULL;
  if (cached && *cached) return *cached;
  const char *name = NULL;
  if (!d->cupti || d->cupti->callback_name(domain, id, &name) != CUPTI_OK || !name) return 0;
  uint32_t text = ws_arena_bytes(d->arena, name, plain_length(name), WS_REC_API);
  if (cached) *cached = text;
  return text;
}

static void call(struct ws_decoder *d, const struct cupti_api *a, uint32_t domain) {
  if (a->cbid < WS_CALL_IDS && d->call_hidden[domain][a->cbid]) return;
  if (a->threadId == d->own_thread && d->own_thread && !d->threads_unknown) return;
  check_time(d, WS_REC_API, a->start, a->end);
  struct ws_api r = {
      .rec = {.type = WS_REC_API},
      .enter = a->start,
      .exit = a->end,
      .correlation = a->correlationId,
      .thread = d->threads_unknown ? 0 : a->threadId,
      .name = call_name(d, domain, a->cbid),
      .cbid = a->cbid,
      .result = (int32_t)a->returnValue,
      .domain = (uint8_t)domain,
  };
  push(d, &r.rec);
}

static void marker(struct ws_decoder *d, const struct cupti_marker *m) {
  uint16_t flags = 0;
  if (m->flags & CUPTI_MARKER_INSTANT) flags |= WS_MARKER_INSTANT;
  if (m->flags & CUPTI_MARKER_START) flags |= WS_MARKER_START;
  if (m->flags & CUPTI_MARKER_END) flags |= WS_MARKER_END;
  struct ws_marker r = {
      .rec = {.type = WS_REC_MARKER, .flags = flags},
      .time = m->timestamp,
      .id = m->id,
      .thread = m->objectKind == CUPTI_OBJECT_THREAD && !d->threads_unknown ? m->objectId[1] : 0,
      .text = ws_arena_string(d->arena, m->name, WS_REC_MARKER),
      .domain = m->domain && *m->domain ? ws_arena_string(d->arena, m->domain, WS_REC_MARKER) : 0,
  };
  push(d, &r.rec);
}

static uint8_t payload_kind(uint32_t kind, uint64_t bits) {
  switch (kind) {
  case CUPTI_VALUE_DOUBLE:
    return bits ? WS_PAYLOAD_DOUBLE : WS_PAYLOAD_NONE;
  case CUPTI_VALUE_UINT64:
    return WS_PAYLOAD_UINT64;
  case CUPTI_VALUE_INT64:
    return WS_PAYLOAD_INT64;
  default:
    return WS_PAYLOAD_NONE; /* extended payloads carry a pointer */
  }
}

static void marker_data(struct ws_decoder *d, const struct cupti_marker_data *m) {
  uint8_t kind = payload_kind(m->payloadKind, m->payload);
  if (kind == WS_PAYLOAD_NONE && !m->color && !m->category) return; /* says nothing */
  struct ws_marker r = {
      .rec = {.type = WS_REC_MARKER, .flags = WS_MARKER_DATA},
      .id = m->id,
      .payload = m->payload,
      .payload_kind = kind,
      .color = m->color,
      .category = m->category,
  };
  push(d, &r.rec);
}

static void graph(struct ws_decoder *d, const struct cupti_graph_trace *g) {
  check_time(d, WS_REC_GRAPH, g->start, g->end);
  struct ws_graph r = {
      .rec = {.type = WS_REC_GRAPH},
      .start = g->start,
      .end = g->end,
      .correlation = g->correlationId,
      .context = g->contextId,
      .stream = g->streamId,
      .graph = g->graphId,
      .device = ordinal(g->deviceId),
  };
  push(d, &r.rec);
}

static void overhead(struct ws_decoder *d, const struct cupti_overhead *o) {
  struct ws_overhead r = {
      .rec = {.type = WS_REC_OVERHEAD},
      .start = o->start,
      .end = o->end,
      .kind = o->overheadKind,
      .thread = o->objectKind == CUPTI_OBJECT_THREAD && !d->threads_unknown ? o->objectId[1] : 0,
  };
  push(d, &r.rec);
}

/* The next record of a buffer. Any other end than the buffer's own means that what follows cannot
 * be read, and nobody knows how much that is. */
static bool next(struct ws_decoder *d, uint8_t *data, size_t valid, struct cupti_record **r) {
  int code = d->cupti->next_record(data, valid, r);
  if (code == CUPTI_OK && *r) return true;
  if (code != CUPTI_OK && code != CUPTI_MAX_LIMIT_REACHED) ws_reason(d->shm, WS_REASON_UNDELIVERED);
  return false;
}

size_t ws_decode(struct ws_decoder *d, uint8_t *data, size_t valid) {
  struct cupti_record *r = NULL;
  size_t count = 0;
  while (next(d, data, valid, &r)) {
    count++;
    if (!ws_share_is_ours(r)) continue;
    const void *p = r;
    switch (r->kind) {
    case CUPTI_KIND_KERNEL:
    case CUPTI_KIND_CONCURRENT_KERNEL:
      kernel(d, p);
      break;
    case CUPTI_KIND_MEMCPY:
      copy(d, p);
      break;
    case CUPTI_KIND_MEMCPY2:
      copy_peer(d, p);
      break;
    case CUPTI_KIND_MEMSET:
      set(d, p);
      break;
    case CUPTI_KIND_SYNCHRONIZATION:
      sync_record(d, p);
      break;
    case CUPTI_KIND_DRIVER:
      call(d, p, CUPTI_DOMAIN_DRIVER);
      break;
    case CUPTI_KIND_RUNTIME:
      call(d, p, CUPTI_DOMAIN_RUNTIME);
      break;
    case CUPTI_KIND_MARKER:
      marker(d, p);
      break;
    case CUPTI_KIND_MARKER_DATA:
      marker_data(d, p);
      break;
    case CUPTI_KIND_GRAPH_TRACE:
      graph(d, p);
      break;
    case CUPTI_KIND_OVERHEAD:
      overhead(d, p);
      break;
    case CUPTI_KIND_CUDA_EVENT:
      break; /* 12.8 sends these along with SYNCHRONIZATION, unasked */
    default:
      ws_lost(d->shm, WS_REC_PAD, WS_LOSS_UNKNOWN_KIND, 1);
    }
  }
  return count;
}

static unsigned record_type(uint32_t kind) {
  switch (kind) {
  case CUPTI_KIND_KERNEL:
  case CUPTI_KIND_CONCURRENT_KERNEL:
    return WS_REC_KERNEL;
  case CUPTI_KIND_MEMCPY:
  case CUPTI_KIND_MEMCPY2:
    return WS_REC_COPY;
  case CUPTI_KIND_MEMSET:
    return WS_REC_SET;
  case CUPTI_KIND_SYNCHRONIZATION:
    return WS_REC_SYNC;
  case CUPTI_KIND_DRIVER:
  case CUPTI_KIND_RUNTIME:
    return WS_REC_API;
  case CUPTI_KIND_MARKER:
  case CUPTI_KIND_MARKER_DATA:
    return WS_REC_MARKER;
  case CUPTI_KIND_GRAPH_TRACE:
    return WS_REC_GRAPH;
  case CUPTI_KIND_OVERHEAD:
    return WS_REC_OVERHEAD;
  default:
    return WS_REC_PAD;
  }
}

void ws_decode_lost(struct ws_decoder *d, uint8_t *data, size_t valid) {
  struct cupti_record *r = NULL;
  while (next(d, data, valid, &r)) ws_lost(d->shm, record_type(r->kind), WS_LOSS_NO_BUFFER, 1);
}
