#include "ws_ruler.h"

#include <string.h>

/* A call is counted up to this rate. CUPTI comes by twice a call and takes some tenths of a
 * microsecond each time: a thousand calls are less than a thousandth of a second. */
#define MOST_A_SECOND 1000u
/* Rates are judged over at least this long. */
#define LOOK_EVERY 100000000ull
/* How long a call that came too often is left alone: at first, and at most. */
#define REST 2000000000ull
#define REST_MOST 64000000000ull
/* Records of one call are at least this far apart; what comes between is in their counts. */
#define APART 2000000ull
/* With fewer calls of the driver's than FEW in this time the runtime's are counted too: some of
 * what goes through the runtime reaches the driver by ways that CUPTI does not watch. */
#define QUIET 2000000000ull
#define FEW 10u

static const char *const regular[] = {
    "cuCtxSynchronize",       "cuStreamSynchronize",   "cuEventSynchronize",   "cuEventRecord",
    "cuEventRecordWithFlags", "cuStreamWaitEvent",     "cuGraphLaunch",        "cuMemcpy",
    "cuMemcpyAsync",          "cuMemcpyHtoD",          "cuMemcpyHtoDAsync",    "cuMemcpyDtoH",
    "cuMemcpyDtoHAsync",      "cuMemcpyDtoDAsync",     "cuMemsetD8Async",      "cuMemsetD32Async",
    "cudaDeviceSynchronize",  "cudaStreamSynchronize", "cudaEventSynchronize", "cudaEventRecord",
    "cudaStreamWaitEvent",    "cudaGraphLaunch",       "cudaMemcpy",           "cudaMemcpyAsync",
    "cudaMemsetAsync",
};

/* CUPTI's names carry versions and variants: cuMemcpyHtoDAsync_v2, cudaEventRecord_ptsz_v7000. */
static bool is_regular(const char *name) {
  for (size_t i = 0; i < sizeof regular / sizeof *regular; i++) {
    size_t n = strlen(regular[i]);
    if (strncmp(name, regular[i], n) == 0 && (name[n] == 0 || name[n] == '_')) return true;
  }
  return false;
}

static bool enable(const struct ws_ruler *r, const struct ws_ruler_slot *s, bool on) {
  return r->cupti->enable_callback(on, r->subscriber, s->domain, s->id) == CUPTI_OK;
}

/* Counts the calls of one domain. */
static void count_domain(struct ws_ruler *r, uint32_t domain) {
  r->domains = domain;
  for (uint32_t id = 1; id < WS_RULER_IDS && r->used < WS_RULER_SLOTS; id++) {
    const char *name = NULL;
    if (r->cupti->callback_name(domain, id, &name) != CUPTI_OK || !name || !is_regular(name))
      continue;
    struct ws_ruler_slot *s = &r->slots[r->used];
    s->domain = domain;
    s->id = id;
    s->name = ws_arena_string(r->arena, name, WS_REC_TICK);
    if (!s->name) continue;
    /* Before it is enabled: its callbacks come at once, on other threads. */
    __atomic_store_n(&r->slot[domain][id], (uint8_t)(r->used + 1), __ATOMIC_RELEASE);
    if (enable(r, s, true))
      r->used++;
    else
      __atomic_store_n(&r->slot[domain][id], 0, __ATOMIC_RELEASE);
  }
}

bool ws_ruler_open(struct ws_ruler *r,
                   struct ws_shm *shm,
                   struct ws_arena *arena,
                   const struct ws_cupti *cupti,
                   void *subscriber) {
  r->shm = shm;
  r->arena = arena;
  r->cupti = cupti;
  r->subscriber = subscriber;
  r->steps.name = ws_arena_string(arena, "warpscope_step", WS_REC_TICK);
  count_domain(r, CUPTI_DOMAIN_DRIVER);
  return r->used > 0;
}

static void counted(struct ws_ruler *r, struct ws_ruler_slot *s) {
  uint64_t n = atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed) + 1;
  uint64_t now = ws_mono();
  uint64_t before = atomic_load_explicit(&s->pushed, memory_order_relaxed);
  if (now < before + APART || !atomic_compare_exchange_strong(&s->pushed, &before, now)) return;
  struct ws_tick t = {
      .rec = {.type = WS_REC_TICK},
      .time = now,
      .count = n,
      .name = s->name,
  };
  ws_ring_push(r->shm, &r->shm->alloc, &t.rec, 1);
}

void ws_ruler_count(struct ws_ruler *r, uint32_t domain, uint32_t id) {
  if (domain >= WS_RULER_DOMAINS || id >= WS_RULER_IDS) return;
  unsigned slot = __atomic_load_n(&r->slot[domain][id], __ATOMIC_ACQUIRE);
  if (slot) counted(r, &r->slots[slot - 1]);
}

void ws_ruler_step(struct ws_ruler *r) { counted(r, &r->steps); }

void ws_ruler_look(struct ws_ruler *r, uint64_t now, bool in_use) {
  uint64_t passed = now - r->looked;
  if (passed < LOOK_EVERY) return;
  bool first = r->looked == 0;
  r->looked = now;
  if (!r->since || !in_use) {
    r->since = now;
    r->heard = 0;
  }
  uint64_t steps = atomic_load_explicit(&r->steps.count, memory_order_relaxed);
  r->heard += steps - r->steps.seen;
  r->steps.seen = steps;
  for (unsigned i = 0; i < r->used; i++) {
    struct ws_ruler_slot *s = &r->slots[i];
    uint64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    uint64_t calls = count - s->seen;
    s->seen = count;
    r->heard += s->again ? FEW : calls;
    if (s->again) {
      if (now >= s->again && enable(r, s, true)) s->again = 0;
      continue;
    }
    /* calls / passed > MOST_A_SECOND, in ns */
    if (first || calls < MOST_A_SECOND / 20 || calls * 1000000000ull <= MOST_A_SECOND * passed)
      continue;
    if (!enable(r, s, false)) continue;
    s->rest = !s->rest ? REST : s->rest < REST_MOST ? 2 * s->rest : s->rest;
    s->again = now + s->rest;
  }
  if (now - r->since < QUIET) return;
  if (r->heard < FEW && r->domains == CUPTI_DOMAIN_DRIVER) count_domain(r, CUPTI_DOMAIN_RUNTIME);
  r->since = now;
  r->heard = 0;
}
