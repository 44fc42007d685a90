#include "ws_share_times.h"

#include <string.h>

#include "include/ws_cupti.h"

#define AT(type, field) offsetof(struct type, field)

/* Kinds that the capture does not read; offsets of CUPTI 11.8 to 13.0. */
enum {
  KIND_CDP_KERNEL = 18,
  KIND_PREEMPTION = 19,
  KIND_ENVIRONMENT = 20,
  KIND_UNIFIED_MEMORY = 25,
  KIND_OPENACC_DATA = 33,
  KIND_OPENACC_OTHER = 35,
  KIND_MEMORY = 45,
  KIND_OPENMP = 47,
  KIND_MEMORY2 = 49,
  KIND_MEMORY_POOL = 50,
  KIND_JIT = 52,
  KIND_DEVICE_GRAPH = 53,
  KIND_DECOMPRESS = 54
};

const uint16_t *ws_share_times(uint32_t kind) {
  static const uint16_t kernel[] = {AT(cupti_kernel, start),
                                    AT(cupti_kernel, end),
                                    AT(cupti_kernel, completed),
                                    AT(cupti_kernel, queued),
                                    AT(cupti_kernel, submitted),
                                    0};
  static const uint16_t copy[] = {AT(cupti_memcpy, start), AT(cupti_memcpy, end), 0};
  static const uint16_t peer[] = {AT(cupti_memcpy_peer, start), AT(cupti_memcpy_peer, end), 0};
  static const uint16_t set[] = {AT(cupti_memset, start), AT(cupti_memset, end), 0};
  static const uint16_t call[] = {AT(cupti_api, start), AT(cupti_api, end), 0};
  static const uint16_t sync[] = {AT(cupti_sync, start), AT(cupti_sync, end), 0};
  static const uint16_t marker[] = {AT(cupti_marker, timestamp), 0};
  static const uint16_t overhead[] = {AT(cupti_overhead, start), AT(cupti_overhead, end), 0};
  static const uint16_t graph[] = {AT(cupti_graph_trace, start), AT(cupti_graph_trace, end), 0};
  static const uint16_t at8[] = {8, 0}, at16_24[] = {16, 24, 0}, at24_32[] = {24, 32, 0};
  static const uint16_t at32[] = {32, 0}, at40[] = {40, 0}, at56[] = {56, 0};
  static const uint16_t at48_56[] = {48, 56, 0}, at64_72[] = {64, 72, 0};
  static const uint16_t device_kernel[] = {8, 16, 96, 104, 112, 0};
  switch (kind) {
  case CUPTI_KIND_KERNEL:
  case CUPTI_KIND_CONCURRENT_KERNEL:
    return kernel;
  case CUPTI_KIND_MEMCPY:
    return copy;
  case CUPTI_KIND_MEMCPY2:
    return peer;
  case CUPTI_KIND_MEMSET:
    return set;
  case CUPTI_KIND_DRIVER:
  case CUPTI_KIND_RUNTIME:
    return call;
  case CUPTI_KIND_SYNCHRONIZATION:
    return sync;
  case CUPTI_KIND_MARKER:
    return marker;
  case CUPTI_KIND_OVERHEAD:
    return overhead;
  case CUPTI_KIND_GRAPH_TRACE:
  case KIND_DEVICE_GRAPH:
    return graph;
  case CUPTI_KIND_CUDA_EVENT:
    return at40; /* 12.8 and newer; older ones are shorter than that */
  case KIND_CDP_KERNEL:
    return device_kernel;
  case KIND_PREEMPTION:
  case KIND_ENVIRONMENT:
    return at8;
  case KIND_UNIFIED_MEMORY:
  case KIND_OPENMP:
  case KIND_JIT:
    return at16_24;
  case KIND_MEMORY:
    return at24_32;
  case KIND_MEMORY2:
    return at32;
  case KIND_MEMORY_POOL:
    return at56;
  case KIND_DECOMPRESS:
    return at48_56;
  case KIND_OPENACC_DATA:
  case KIND_OPENACC_DATA + 1:
  case KIND_OPENACC_OTHER:
    return at64_72;
  default:
    return NULL;
  }
}

uint64_t ws_share_start(const void *record, size_t size) {
  uint32_t kind;
  uint64_t time = 0;
  memcpy(&kind, record, sizeof kind);
  const uint16_t *at = ws_share_times(kind);
  if (at && *at + sizeof time <= size) memcpy(&time, (const uint8_t *)record + *at, sizeof time);
  return time;
}

void ws_share_map_add(struct ws_share_map *m, uint64_t from, uint64_t to) {
  /* A clock that was set back (NTP) begins anew. */
  if (m->count && (from <= m->pair[m->count - 1].from || to <= m->pair[m->count - 1].to))
    m->count = 0;
  if (m->count == WS_SHARE_PAIRS) {
    /* Half of them, older ones at twice the distance. */
    for (uint32_t i = 0; i < WS_SHARE_PAIRS / 2; i++) m->pair[i] = m->pair[2 * i];
    m->count = WS_SHARE_PAIRS / 2;
  }
  m->pair[m->count].from = from;
  m->pair[m->count].to = to;
  m->count++;
}

uint64_t ws_share_map_time(const struct ws_share_map *m, uint64_t time) {
  if (!time || !m->count) return time;
  if (m->count == 1) return m->pair[0].to + (time - m->pair[0].from);
  uint32_t low = 0, high = m->count - 1;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (m->pair[middle].from <= time)
      low = middle;
    else
      high = middle;
  }
  __int128 span = (__int128)m->pair[high].from - m->pair[low].from;
  __int128 gain = (__int128)m->pair[high].to - m->pair[low].to;
  __int128 offset = (__int128)time - m->pair[low].from;
  return (uint64_t)((__int128)m->pair[low].to + offset * gain / span);
}

void ws_share_map_record(const struct ws_share_map *m, void *record, size_t size) {
  uint32_t kind;
  memcpy(&kind, record, sizeof kind);
  for (const uint16_t *at = ws_share_times(kind); at && *at; at++) {
    uint64_t time;
    if (*at + sizeof time > size) return;
    memcpy(&time, (uint8_t *)record + *at, sizeof time);
    time = ws_share_map_time(m, time);
    memcpy((uint8_t *)record + *at, &time, sizeof time);
  }
}
