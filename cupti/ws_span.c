#define _GNU_SOURCE
#include "ws_span.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ws_futex.h"
#include "ws_ledger.h"

#define SPAN_NAMES 64u
#define SPAN_NAME_MAX 64u
/* NVTX's own ids count up from 1. */
#define SPAN_ID_FIRST (1u << 31)
/* Of texts that the program makes up: a twelfth of the arena, all together. */
#define SPAN_TEXT_MAX 8192u
#define SPAN_TEXTS_MAX (20u << 20)

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
  _Atomic uint64_t text_bytes; /* of ws_span_text */
  _Atomic uint32_t open;
} spans;

static bool recording(void) {
  return atomic_load(&spans.open) && atomic_load(spans.armed) == WS_ARMED &&
         spans.process == getpid();
}

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
  if (!name || !recording()) return false;
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

uint32_t ws_span_text(const char *text, size_t size) {
  if (!text || size == 0 || size > SPAN_TEXT_MAX || !recording()) return 0;
  if (atomic_fetch_add(&spans.text_bytes, size) + size > SPAN_TEXTS_MAX) return 0;
  return ws_arena_append(spans.arena, WS_OBJ_STRING, NULL, 0, text, size);
}

/* When a moment of CLOCK_MONOTONIC was by CUPTI's clock, of which `now` is `mono`; 0: unknown. */
static uint64_t cupti_time(uint64_t now, uint64_t mono, uint64_t moment) {
  return moment > mono || mono - moment >= now ? 0 : now - (mono - moment);
}

size_t ws_span_marks(const struct warpscope_mark *marks, size_t count) {
  uint64_t now = 0, mono = ws_mono();
  if (!marks || !recording() || spans.cupti->timestamp(&now) != CUPTI_OK) return 0;
  size_t done = 0;
  for (size_t i = 0; i < count; i++) {
    const struct warpscope_mark *m = &marks[i];
    struct ws_marker first = {
        .rec = {.type = WS_REC_MARKER, .flags = m->ended ? WS_MARKER_START : WS_MARKER_INSTANT},
        .time = cupti_time(now, mono, m->began),
        .id = SPAN_ID_FIRST | atomic_fetch_add(&spans.next, 1),
        .thread = m->thread,
        .text = m->text,
        .domain = m->domain,
        .payload = m->value,
        .payload_kind = WS_PAYLOAD_UINT64,
    };
    struct ws_marker second = {
        .rec = {.type = WS_REC_MARKER, .flags = WS_MARKER_END},
        .time = cupti_time(now, mono, m->ended),
        .id = first.id,
        .thread = m->thread,
        .domain = m->domain,
    };
    if (!first.time || !m->text || (m->ended && second.time < first.time)) continue;
    if (!ws_ring_push(spans.shm, &spans.shm->alloc, &first.rec, 1)) continue;
    if (m->ended && !ws_ring_push(spans.shm, &spans.shm->alloc, &second.rec, 1)) continue;
    done++;
  }
  return done;
}

uint64_t ws_span_sleep(uint64_t until, uint32_t *word) {
  for (;;) {
    uint64_t now = ws_mono();
    if (now >= until || __atomic_load_n(word, __ATOMIC_ACQUIRE) != 0) return now;
    if (!ws_futex_wait(word, 0, until - now, false)) return 0;
  }
}

void ws_span_wake(uint32_t *word) {
  __atomic_store_n(word, 1, __ATOMIC_RELEASE);
  ws_futex_wake(word, false);
}
