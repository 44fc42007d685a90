#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ws_compat.h"
#include "ws_futex.h"
#include "ws_share_inside.h"

#define MS 1000000ull
#define PATIENCE (1000 * MS)
/* How far a time of the GPU may lie from the CPU's clock that it is given in. */
#define SLACK 50000u

enum { CLOSED, LOADING, LOADED };

struct ws_shared ws_shared;

uint32_t ws_thread(void) {
  static __thread uint32_t id;
  if (!id) id = (uint32_t)syscall(SYS_gettid);
  return id;
}

static uint64_t mono(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool ws_lock_take(struct ws_lock *l) {
  uint32_t me = ws_thread(), holder = 0;
  if (atomic_load_explicit(&l->holder, memory_order_relaxed) == me) {
    l->depth++;
    return true;
  }
  for (uint64_t end = mono() + PATIENCE;
       !atomic_compare_exchange_strong(&l->holder, &holder, me);) {
    if (mono() >= end) return false;
    ws_futex_wait(&l->holder, holder, 1 * MS, false);
    holder = 0;
  }
  l->depth = 1;
  return true;
}

void ws_lock_let_go(struct ws_lock *l, bool had) {
  if (!had || --l->depth) return;
  atomic_store(&l->holder, 0);
  ws_futex_wake(&l->holder, false);
}

bool ws_side_has(const struct ws_side *s, uint32_t kind) {
  return kind < WS_SHARE_KINDS &&
         atomic_load_explicit(&s->kind[kind].on, memory_order_relaxed) == WS_ON;
}

bool ws_side_is_on(const struct ws_side *s) {
  for (uint32_t kind = 0; kind < WS_SHARE_KINDS; kind++)
    if (ws_side_has(s, kind)) return true;
  return false;
}

bool ws_side_wants_call(const struct ws_side *s, uint32_t domain, uint32_t id) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  uint8_t call =
      id < WS_SHARE_IDS ? atomic_load_explicit(&s->call[domain][id], memory_order_relaxed) : 0;
  return ws_side_has(s, kind) ? call != WS_CALL_OFF : call == WS_CALL_ON;
}

bool ws_is_calls(uint32_t kind) { return kind == CUPTI_KIND_DRIVER || kind == CUPTI_KIND_RUNTIME; }

/* Times of the CPU are CUPTI's clock's own. */
static uint64_t slack(uint32_t kind) {
  bool cpu = ws_is_calls(kind) || kind == CUPTI_KIND_SYNCHRONIZATION ||
             kind == CUPTI_KIND_OVERHEAD || kind == CUPTI_KIND_MARKER;
  return cpu ? 0 : SLACK;
}

/* Whether the kind was on at that time, in a window that is over. */
static bool was_on(const struct ws_side *s, uint32_t kind, uint64_t start) {
  uint32_t count = atomic_load(&s->kind[kind].windows);
  for (uint32_t i = 0; i < count && i < WS_SHARE_WINDOWS; i++) {
    uint64_t from = atomic_load(&s->kind[kind].window[i].from);
    uint64_t until = atomic_load(&s->kind[kind].window[i].until);
    if (start + slack(kind) >= from && start <= until + slack(kind)) return true;
  }
  return false;
}

/* Whether a graph was launched in a window: by the numbers of calls, and where one of those is not
 * known by times, which cannot tell a graph that was queued at a switch from one that was launched
 * after it. */
static bool launched_in(const struct cupti_graph_trace *g,
                        uint64_t from,
                        uint32_t first,
                        uint64_t until,
                        uint32_t last) {
  uint32_t n = g->correlationId;
  bool begun = n && first ? (int32_t)(n - first) > 0 : !g->start || g->start >= from;
  bool over = n && last ? (int32_t)(n - last) > 0 : g->start > until;
  return begun && !over;
}

/* Whole graphs are recorded while nobody has them on, too (ws_share_kinds.c). */
static bool has_graph(const struct ws_side *s, const struct cupti_graph_trace *g) {
  const uint32_t kind = CUPTI_KIND_GRAPH_TRACE;
  if (atomic_load(&s->kind[kind].on) == WS_ON &&
      launched_in(
          g, atomic_load(&s->kind[kind].from), atomic_load(&s->kind[kind].first), UINT64_MAX, 0))
    return true;
  uint32_t count = atomic_load(&s->kind[kind].windows);
  for (uint32_t i = 0; i < count && i < WS_SHARE_WINDOWS; i++)
    if (launched_in(g,
                    atomic_load(&s->kind[kind].window[i].from),
                    atomic_load(&s->kind[kind].window[i].first),
                    atomic_load(&s->kind[kind].window[i].until),
                    atomic_load(&s->kind[kind].window[i].last)))
      return true;
  return false;
}

static bool in_time(const struct ws_side *s, uint32_t kind, uint64_t start) {
  const struct ws_side *other = s == &ws_shared.ours ? &ws_shared.client : &ws_shared.ours;
  uint8_t on = atomic_load(&s->kind[kind].on);
  if (!on) return false;
  if (!start) return on == WS_ON || !ws_side_has(other, kind);
  if (!ws_is_calls(kind) && atomic_load(&other->kind[kind].on) == WS_NEVER) return true;
  if (on == WS_ON && start + slack(kind) >= atomic_load(&s->kind[kind].from)) return true;
  if (was_on(s, kind, start)) return true;
  /* What was launched before and began after is the side's that switched off last. */
  uint64_t until = atomic_load(&s->kind[kind].until);
  return on == WS_WAS_ON && !ws_is_calls(kind) && start > until && !ws_side_has(other, kind) &&
         atomic_load(&other->kind[kind].until) <= until;
}

bool ws_side_owns(const struct ws_side *s, const struct cupti_record *r, size_t size) {
  uint32_t kind = r->kind;
  /* 12.8 and newer send these along unasked. */
  if (kind == CUPTI_KIND_CUDA_EVENT)
    return in_time(s, kind, 0) || in_time(s, CUPTI_KIND_SYNCHRONIZATION, 0);
  uint64_t start = ws_share_start(r, size);
  if (ws_is_calls(kind)) {
    const struct cupti_api *a = (const void *)r;
    uint32_t worker = atomic_load_explicit(&ws_shared.worker, memory_order_relaxed);
    if (s == &ws_shared.client && worker && a->threadId == worker) return false;
    uint32_t domain = kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    uint8_t call = a->cbid < WS_SHARE_IDS ? atomic_load(&s->call[domain][a->cbid]) : 0;
    if (call == WS_CALL_ON && start >= atomic_load(&s->kind[kind].from)) return true;
    if (call == WS_CALL_ON || call == WS_CALL_WAS_ON) return was_on(s, kind, start);
    return call != WS_CALL_OFF && in_time(s, kind, start);
  }
  if (kind >= WS_SHARE_KINDS) return s == &ws_shared.ours;
  if (kind == CUPTI_KIND_GRAPH_TRACE) return has_graph(s, (const void *)r);
  return in_time(s, kind, start);
}

void ws_share_set_driver(int (*count_devices)(int *)) { ws_shared.count_devices = count_devices; }

void ws_share_set_worker(uint32_t thread) { atomic_store(&ws_shared.worker, thread); }

bool ws_share_is_ours(const struct cupti_record *r) {
  if (r->kind == CUPTI_KIND_DEVICE && ws_shared_has_asked()) return false;
  if (r->kind == CUPTI_KIND_GRAPH_TRACE &&
      atomic_load(&ws_shared.ours.kind[CUPTI_KIND_GRAPH_TRACE].on) != WS_NEVER)
    return ws_side_owns(&ws_shared.ours, r, 64);
  if (!atomic_load_explicit(&ws_shared.had_client, memory_order_acquire)) return true;
  return ws_side_owns(&ws_shared.ours, r, 64); /* no record is shorter than where its start ends */
}

static void *base_of(void *function) {
  Dl_info where;
  return function && dladdr(function, &where) ? where.dli_fbase : NULL;
}

/* Takes this CUPTI for the one that is shared; false if it is another one. */
static bool load(const struct ws_cupti *c) {
  uint32_t closed = CLOSED;
  void *base = base_of(*(void **)&c->get_version);
  if (!base) return false;
  if (!atomic_compare_exchange_strong(&ws_shared.state, &closed, LOADING)) {
    for (int i = 0; i < 1000 && atomic_load(&ws_shared.state) != LOADED; i++) usleep(1000);
    return atomic_load(&ws_shared.state) == LOADED && ws_shared.base == base;
  }
  ws_shared.real = *c;
  ws_shared.process = getpid();
  ws_shared.base = base;
  *(void **)&ws_shared.enable_domain = dlsym(c->handle, "cuptiEnableDomain");
  *(void **)&ws_shared.unsubscribe = dlsym(c->handle, "cuptiUnsubscribe");
  *(void **)&ws_shared.finalize = dlsym(c->handle, "cuptiFinalize");
  *(void **)&ws_shared.enable_and_dump = dlsym(c->handle, "cuptiActivityEnableAndDump");
  *(void **)&ws_shared.register_timestamp =
      dlsym(c->handle, "cuptiActivityRegisterTimestampCallback");
  atomic_store(&ws_shared.state, LOADED);
  return true;
}

bool ws_share_serves(void *function) {
  if (atomic_load_explicit(&ws_shared.state, memory_order_acquire) != LOADED) {
    Dl_info where;
    struct ws_cupti client;
    if (!function || !dladdr(function, &where) || !where.dli_fname) return false;
    if (!ws_load_from(dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD), &client) || !load(&client))
      return false;
  }
  return ws_shared.process == getpid() && base_of(function) == ws_shared.base;
}

void *ws_share_function(const char *name) {
  if (atomic_load_explicit(&ws_shared.state, memory_order_acquire) != LOADED) return NULL;
  return dlsym(ws_shared.real.handle, name);
}

void ws_share_open(struct ws_cupti *c) {
  if (!load(c) || ws_shared.process != getpid()) return;
  if (!ws_shared.enable_domain || !ws_shared.unsubscribe) return;
  const char *chosen = getenv("WARPSCOPE_SHARE_CLOCK");
  if (chosen && strcmp(chosen, "tsc") == 0 && ws_shared.register_timestamp && !ws_shared.clock &&
      ws_shared.register_timestamp(ws_ticks) == CUPTI_OK)
    ws_shared.clock = ws_ticks;
  c->subscribe = ws_our_subscribe;
  c->enable_callback = ws_our_callback;
  c->register_callbacks = ws_our_register;
  c->activity_enable = ws_our_enable;
  c->activity_disable = ws_our_disable;
  if (c->enable_driver_api) c->enable_driver_api = ws_our_driver_call;
  if (c->enable_runtime_api) c->enable_runtime_api = ws_our_runtime_call;
  c->flush_all = ws_our_flush;
  c->dropped = ws_our_dropped;
  atomic_store_explicit(&ws_shared.open, true, memory_order_release);
}
