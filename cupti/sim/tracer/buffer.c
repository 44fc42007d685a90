/* buffer.c: from records to the tool's buffers and back to the tool.
 *
 * A record waits here until the device has done the work, then goes into the current buffer.
 * Buffers are asked for on whatever thread adds or delivers records, given back when full or at a
 * flush, by that thread or by the worker of cuptiActivityFlushPeriod. The lock is let go for
 * every call of the tool's functions.
 *
 * Environment, read when the library is loaded (N counts from 1, 0 or absent: never):
 *   WARPSCOPE_SIM_DROP=N         every Nth record is lost and counted as dropped
 *   WARPSCOPE_SIM_LOSE_BUFFER=N  every Nth buffer comes back empty, its records counted as dropped
 *   WARPSCOPE_SIM_ZERO_TIME=N    every Nth device record has no times
 *   WARPSCOPE_SIM_BACKWARDS=N    every Nth device record ends before it starts
 *   WARPSCOPE_SIM_NEWER=N        a CUPTI of the future: another version, records that have grown,
 * and behind every Nth one of a kind that nobody knows yet
 *   WARPSCOPE_SIM_CUPTI=N        what cuptiGetVersion says (26 is 12.8)
 *   WARPSCOPE_SIM_DUMP_LATE=1    what cuptiActivityEnableAndDump lists is written at the next flush
 */
#include "tracer.h"

#include <stdlib.h>
#include <string.h>

struct tracer tracer = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Thread_local bool inside;

bool tracer_in_callback(void) { return inside; }

static bool every(uint64_t n, uint64_t *counter) { return n != 0 && ++*counter % n == 0; }

/* What records of the future have more, and the kind that nobody knows yet. */
enum { GROWN = 24, KIND_OF_THE_FUTURE = 200, FUTURE_BYTES = 56 };

static size_t grown(void) { return tracer.newer_every != 0 ? GROWN : 0; }

static size_t size_of_kind(uint32_t kind) {
  switch (kind) {
  case CUPTI_KIND_KERNEL:
  case CUPTI_KIND_CONCURRENT_KERNEL:
    return sizeof(struct record_kernel);
  case CUPTI_KIND_MEMCPY:
    return sizeof(struct record_memcpy);
  case CUPTI_KIND_MEMCPY2:
    return sizeof(struct record_memcpy_peer);
  case CUPTI_KIND_MEMSET:
    return sizeof(struct record_memset);
  case CUPTI_KIND_DRIVER:
  case CUPTI_KIND_RUNTIME:
    return sizeof(struct cupti_api);
  case CUPTI_KIND_SYNCHRONIZATION:
    return sizeof(struct record_sync);
  case CUPTI_KIND_GRAPH_TRACE:
    return sizeof(struct record_graph_trace);
  case CUPTI_KIND_OVERHEAD:
    return sizeof(struct record_overhead);
  case CUPTI_KIND_MARKER:
    return sizeof(struct cupti_marker);
  case CUPTI_KIND_MARKER_DATA:
    return sizeof(struct record_marker_data);
  case KIND_DEVICE:
    return sizeof(struct record_device);
  case KIND_CONTEXT:
    return sizeof(struct record_context);
  case KIND_MODULE:
    return sizeof(struct record_module);
  default:
    return 0;
  }
}

/* Kinds to sizes, for cuptiActivityGetNextRecord; 0: unknown. */
size_t tracer_record_size(const uint8_t *record) {
  uint32_t kind;
  memcpy(&kind, record, sizeof kind);
  if (tracer.newer_every != 0 && kind == KIND_OF_THE_FUTURE) return FUTURE_BYTES;
  size_t size = size_of_kind(kind);
  return size != 0 ? size + grown() : 0;
}

/* Lock held; let go and taken again. */
static void give_back(void) {
  uint8_t *buffer = tracer.buffer;
  size_t size = tracer.size, used = tracer.used;
  cupti_complete_fn complete = tracer.complete;
  tracer.buffer = NULL;
  if (every(tracer.lose_buffer_every, &tracer.completed)) {
    tracer.dropped += tracer.records;
    used = 0;
  }
  if (complete == NULL) return;
  pthread_mutex_unlock(&tracer.lock);
  inside = true;
  complete(NULL, 0, buffer, size, used);
  inside = false;
  pthread_mutex_lock(&tracer.lock);
}

/* Lock held; let go and taken again. False: the tool has no buffer for us. */
static bool take_buffer(void) {
  cupti_request_fn request = tracer.request;
  if (request == NULL) return false;
  uint8_t *buffer = NULL;
  size_t size = 0, max_records = 0;
  pthread_mutex_unlock(&tracer.lock);
  inside = true;
  request(&buffer, &size, &max_records);
  inside = false;
  pthread_mutex_lock(&tracer.lock);
  if (buffer == NULL || size == 0 || ((uintptr_t)buffer & 7) != 0) return false;
  while (tracer.buffer != NULL)
    give_back(); /* another thread was faster: its buffer goes back early */
  tracer.buffer = buffer;
  tracer.size = size;
  tracer.max_records = max_records;
  tracer.used = tracer.records = 0;
  return true;
}

static bool room_for(const struct record *r) {
  return tracer.size - tracer.used >= r->size + grown() + (grown() != 0 ? FUTURE_BYTES : 0) &&
         (tracer.max_records == 0 || tracer.records < tracer.max_records);
}

static void write_record(const struct record *r) {
  if (every(tracer.drop_every, &tracer.written)) {
    tracer.dropped++;
    return;
  }
  /* Both let the lock go: other threads may have filled or changed the buffer meanwhile. */
  while (tracer.buffer == NULL || !room_for(r)) {
    if (tracer.buffer != NULL && tracer.used > 0) {
      give_back();
    } else if (tracer.buffer != NULL ||
               !take_buffer()) { /* one record is more than a buffer holds */
      tracer.dropped++;
      return;
    }
  }
  uint8_t *to = tracer.buffer + tracer.used;
  memcpy(to, r->bytes, r->size);
  if (r->end_at != 0 && tracer.zero_every + tracer.backwards_every != 0) {
    uint64_t times[2] = {0, 0};
    tracer.timed++;
    bool zero = tracer.zero_every != 0 && tracer.timed % tracer.zero_every == 0;
    bool swap = tracer.backwards_every != 0 && tracer.timed % tracer.backwards_every == 0;
    if (swap && !zero) {
      memcpy(&times[0], to + r->end_at, 8);
      memcpy(&times[1], to + r->start_at, 8);
    }
    if (zero || swap) {
      memcpy(to + r->start_at, &times[0], 8);
      memcpy(to + r->end_at, &times[1], 8);
    }
  }
  memset(to + r->size, 0xa5, grown());
  tracer.used += r->size + grown();
  tracer.records++;
  if (!every(tracer.newer_every, &tracer.unheard)) return;
  uint32_t kind = KIND_OF_THE_FUTURE;
  memset(tracer.buffer + tracer.used, 0x5a, FUTURE_BYTES);
  memcpy(tracer.buffer + tracer.used, &kind, sizeof kind);
  tracer.used += FUTURE_BYTES;
  tracer.records++;
}

void tracer_add(const struct record *record) {
  pthread_mutex_lock(&tracer.lock);
  if (tracer.count == tracer.room) {
    size_t room = tracer.room == 0 ? 256 : 2 * tracer.room;
    struct record *grown = realloc(tracer.pending, room * sizeof *grown);
    if (grown == NULL) {
      tracer.dropped++;
      pthread_mutex_unlock(&tracer.lock);
      return;
    }
    tracer.pending = grown;
    tracer.room = room;
  }
  tracer.pending[tracer.count++] = *record;
  pthread_mutex_unlock(&tracer.lock);
}

/* Lock held. Takes the whole list, so that the tool's functions may run while it is written. */
static void deliver(uint64_t until) {
  struct record *list = tracer.pending;
  size_t count = tracer.count, kept = 0;
  tracer.pending = NULL;
  tracer.count = tracer.room = 0;
  for (size_t i = 0; i < count; i++) {
    if (list[i].ready <= until) {
      write_record(&list[i]);
    } else {
      list[kept++] = list[i];
    }
  }
  if (kept == 0) {
    free(list);
    return;
  }
  /* What came meanwhile goes behind what was kept. */
  struct record *later = tracer.pending;
  size_t extra = tracer.count;
  struct record *joined = realloc(list, (kept + extra) * sizeof *joined);
  if (joined == NULL) {
    tracer.dropped += kept;
    free(list);
    return;
  }
  if (extra > 0) memcpy(joined + kept, later, extra * sizeof *joined);
  free(later);
  tracer.pending = joined;
  tracer.count = tracer.room = kept + extra;
}

void tracer_deliver(uint64_t until) {
  if (inside) return;
  pthread_mutex_lock(&tracer.lock);
  deliver(until);
  pthread_mutex_unlock(&tracer.lock);
}

int tracer_flush(bool forced) {
  if (inside) return CUPTI_INVALID_OPERATION;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t now = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
  pthread_mutex_lock(&tracer.lock);
  for (size_t i = 0; forced && i < tracer.count; i++) {
    struct record *r = &tracer.pending[i];
    /* Work that is not done is delivered now, with no end, and never again. */
    if (r->ready > now && r->end_at != 0) memset((uint8_t *)r->bytes + r->end_at, 0, 8);
  }
  deliver(forced ? UINT64_MAX : now);
  if (tracer.buffer != NULL && tracer.used > 0) give_back();
  bool overhead = atomic_load(&tracer.kinds[CUPTI_KIND_OVERHEAD]) && tracer.driver != NULL;
  pthread_mutex_unlock(&tracer.lock);
  if (overhead) {
    clock_gettime(CLOCK_REALTIME, &t);
    tracer_overhead(now, (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec);
  }
  return CUPTI_OK;
}

/* cuptiFinalize: what is still here is lost, as it is with the real one. */
void tracer_discard(void) {
  pthread_mutex_lock(&tracer.lock);
  free(tracer.pending);
  tracer.pending = NULL;
  tracer.count = tracer.room = 0;
  if (tracer.buffer != NULL) give_back();
  pthread_mutex_unlock(&tracer.lock);
}
