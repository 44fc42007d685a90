#define _GNU_SOURCE
#include "ws_replay.h"

#include <stdlib.h>
#include <string.h>

#include "ws_decode.h"

#define HEAD 16u /* magic, version, 0 */

/* A string of the dump and the address it had when it was recorded. */
struct text {
  uint64_t pointer;
  char *copy;
};

struct replay {
  struct text *texts;
  size_t count;
  struct cupti_record *next; /* handed out by the next call of next_record */
};

/* The decoder asks CUPTI for the next record; a replay has one at a time. */
static _Thread_local struct replay *current;

static int next_record(uint8_t *buffer, size_t valid, struct cupti_record **record) {
  (void)buffer, (void)valid;
  *record = current->next;
  current->next = NULL;
  return *record ? CUPTI_OK : CUPTI_MAX_LIMIT_REACHED;
}

static int no_name(uint32_t domain, uint32_t id, const char **name) {
  (void)domain, (void)id;
  *name = NULL;
  return -1;
}

static const char *find(const struct replay *r, const char *recorded) {
  for (size_t i = r->count; i > 0; i--) /* an address may have been used twice: the latest counts */
    if (r->texts[i - 1].pointer == (uint64_t)(uintptr_t)recorded) return r->texts[i - 1].copy;
  return NULL;
}

static bool add(struct replay *r, const uint8_t *data, uint32_t size) {
  struct text *bigger = size < 8 ? NULL : realloc(r->texts, (r->count + 1) * sizeof *bigger);
  if (!bigger) return false;
  r->texts = bigger;
  struct text *t = &r->texts[r->count];
  memcpy(&t->pointer, data, 8);
  t->copy = strndup((const char *)data + 8, size - 8);
  if (!t->copy) return false;
  r->count++;
  return true;
}

static size_t least(uint32_t kind) {
  switch (kind) {
  case CUPTI_KIND_CONCURRENT_KERNEL:
  case CUPTI_KIND_KERNEL:
    return sizeof(struct cupti_kernel);
  case CUPTI_KIND_MEMCPY:
    return sizeof(struct cupti_memcpy);
  case CUPTI_KIND_MEMCPY2:
    return sizeof(struct cupti_memcpy_peer);
  case CUPTI_KIND_MEMSET:
    return sizeof(struct cupti_memset);
  case CUPTI_KIND_SYNCHRONIZATION:
    return sizeof(struct cupti_sync);
  case CUPTI_KIND_DRIVER:
  case CUPTI_KIND_RUNTIME:
    return sizeof(struct cupti_api);
  case CUPTI_KIND_MARKER:
    return sizeof(struct cupti_marker);
  case CUPTI_KIND_MARKER_DATA:
    return sizeof(struct cupti_marker_data);
  case CUPTI_KIND_OVERHEAD:
    return sizeof(struct cupti_overhead);
  case CUPTI_KIND_GRAPH_TRACE:
    return sizeof(struct cupti_graph_trace);
  default:
    return sizeof(struct cupti_record);
  }
}

static bool decode(struct ws_decoder *d, struct replay *r, const uint8_t *data, uint32_t size) {
  struct cupti_record *record = aligned_alloc(8, (size + 7u) & ~7u);
  if (!record) return false;
  memcpy(record, data, size);
  bool whole = size >= 4 && size >= least(record->kind);
  if (whole && record->kind == CUPTI_KIND_CONCURRENT_KERNEL) {
    struct cupti_kernel *k = (void *)record;
    k->name = find(r, k->name);
  }
  if (whole && record->kind == CUPTI_KIND_MARKER) {
    struct cupti_marker *m = (void *)record;
    m->name = find(r, m->name);
    m->domain = find(r, m->domain);
  }
  if (whole) {
    r->next = record;
    ws_decode(d, NULL, 0);
  }
  free(record);
  return whole;
}

int64_t ws_replay(struct ws_shm *shm, const uint8_t *dump, size_t size) {
  if (size < HEAD || memcmp(dump, "WSRAW\0\0\1", 8) != 0) return -1;
  struct ws_arena arena = {0};
  struct ws_cupti cupti = {.next_record = next_record, .callback_name = no_name};
  struct replay r = {0};
  struct ws_decoder *d = calloc(1, sizeof *d);
  int64_t records = -3;
  if (!d || !ws_arena_open(&arena, shm)) goto out;
  d->shm = shm;
  d->arena = &arena;
  d->cupti = &cupti;
  current = &r;
  records = 0;
  for (size_t at = HEAD; at < size;) {
    uint32_t tag, length;
    if (size - at < 8) goto damaged;
    memcpy(&tag, dump + at, 4);
    memcpy(&length, dump + at + 4, 4);
    at += 8;
    if (length > size - at) goto damaged;
    if (tag == 'S' && !add(&r, dump + at, length)) goto damaged;
    if (tag == 'R') {
      if (!decode(d, &r, dump + at, length)) goto damaged;
      records++;
    }
    at += length;
  }
  goto out;
damaged:
  records = -2;
out:
  current = NULL;
  for (size_t i = 0; i < r.count; i++) free(r.texts[i].copy);
  free(r.texts);
  free(d);
  ws_arena_close(&arena);
  return records;
}
