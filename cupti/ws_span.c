#define _GNU_SOURCE
#include "ws_span.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ws_ledger.h"

#define SPAN_NAMES 64u
#define SPAN_NAME_MAX 64u
/* NVTX's own ids count up from 1. */
#define SPAN_ID_FIRST (1u << 31)

enum { FREE = 0, BEING_WRITTEN = 1, WRITTEN = 2 };

static struct {
  struct ws_shm *shm;
  struct ws_arena *arena;
  const struct ws_cupti *cupti;
  const _Atomic uint32_t *armed;
  pid_t process; /* a vforked child shares the armed flag */
  uint32_t domain;
  _Atomic uint32_t next;
  struct {
    _Atomic uint32_t state;
    uint32_t id; /* in the arena */
    char text[SPAN_NAME_MAX];
  } names[SPAN_NAMES];
  _Atomic uint32_t open;
} spans;

void ws_span_open(struct ws_shm *shm,
                  struct ws_arena *arena,
                  const struct ws_cupti *cupti,
                  const _Atomic uint32_t *armed) {
  spans.shm = shm;
  spans.arena = arena;
  spans.cupti = cupti;
  spans.armed = armed;
  spans.process = getpid();
  spans.domain = ws_arena_string(arena, "warpscope", WS_REC_MARKER);
  atomic_store(&spans.open, 1);
}

/* The arena's own table of strings belongs to the worker. */
static uint32_t name_id(const char *name) {
  size_t size = strlen(name);
  if (size >= SPAN_NAME_MAX) return 0;
  for (unsigned i = 0; i < SPAN_NAMES; i++) {
    uint32_t state = atomic_load(&spans.names[i].state);
    if (state == FREE &&
        atomic_compare_exchange_strong(&spans.names[i].state, &state, BEING_WRITTEN)) {
      memcpy(spans.names[i].text, name, size + 1);
      spans.names[i].id = ws_arena_append(spans.arena, WS_OBJ_STRING, NULL, 0, name, size);
      atomic_store(&spans.names[i].state, WRITTEN);
      return spans.names[i].id;
    }
    if (state == WRITTEN && strcmp(spans.names[i].text, name) == 0) return spans.names[i].id;
  }
  return 0;
}

bool ws_span_end(const char *name, uint64_t began, uint64_t value) {
  if (!name || !atomic_load(&spans.open) || atomic_load(spans.armed) != WS_ARMED ||
      spans.process != getpid())
    return false;
  uint64_t now = 0, mono = ws_mono();
  if (began > mono || spans.cupti->timestamp(&now) != CUPTI_OK) return false;
  uint32_t text = name_id(name);
  if (!text || mono - began > now) return false;
  uint32_t id = SPAN_ID_FIRST | atomic_fetch_add(&spans.next, 1);
  struct ws_marker start = {
      .rec = {.type = WS_REC_MARKER, .flags = WS_MARKER_START},
      .time = now - (mono - began),
      .id = id,
      .thread = (uint32_t)syscall(SYS_gettid),
      .text = text,
      .domain = spans.domain,
      .payload = value,
      .payload_kind = WS_PAYLOAD_UINT64,
  };
  struct ws_marker end = {
      .rec = {.type = WS_REC_MARKER, .flags = WS_MARKER_END},
      .time = now,
      .id = id,
      .thread = start.thread,
      .domain = spans.domain,
  };
  return ws_ring_push(spans.shm, &spans.shm->alloc, &start.rec, 1) &&
         ws_ring_push(spans.shm, &spans.shm->alloc, &end.rec, 1);
}
