#define _GNU_SOURCE
#include <string.h>

#include "ws_share_inside.h"

/* Only the capture's graphs need it: nobody else's are on in CUPTI while they are off. */
static uint32_t number_now(const struct ws_side *s, uint32_t kind) {
  return s == &ws_shared.ours && kind == CUPTI_KIND_GRAPH_TRACE ? ws_shared_number() : 0;
}

/* The last window ends. Single ids are switched one after the other: theirs is one window. */
static void close_window(struct ws_side *s, uint32_t kind) {
  uint64_t from = atomic_load(&s->kind[kind].from), now = ws_shared_now();
  if (!now) now = UINT64_MAX / 2; /* not to be read */
  uint32_t count = atomic_load(&s->kind[kind].windows);
  uint32_t last = count ? (count - 1) % WS_SHARE_WINDOWS : 0;
  bool again = count && atomic_load(&s->kind[kind].window[last].from) == from;
  uint32_t at = again ? last : count % WS_SHARE_WINDOWS;
  atomic_store(&s->kind[kind].window[at].first, atomic_load(&s->kind[kind].first));
  atomic_store(&s->kind[kind].window[at].last, number_now(s, kind));
  atomic_store(&s->kind[kind].window[at].until, now);
  atomic_store(&s->kind[kind].window[at].from, from);
  if (!again) atomic_store(&s->kind[kind].windows, count + 1);
  atomic_store(&s->kind[kind].until, now);
}

static void mark(struct ws_side *s, uint32_t kind, bool on) {
  if (on == ws_side_has(s, kind)) return;
  if (on) {
    bool again = atomic_load(&s->kind[kind].on) != WS_NEVER;
    atomic_store(&s->kind[kind].first, again ? number_now(s, kind) : 0);
    atomic_store(&s->kind[kind].from, ws_shared_now());
  } else {
    close_window(s, kind);
  }
  atomic_store(&s->kind[kind].on, on ? WS_ON : WS_WAS_ON);
}

/* Whole graphs and their nodes exclude each other: who asks for kernels wants the nodes'. What was
 * on stays on, and what went off for a client stays off: a graph that is instantiated while graphs
 * are not recorded, and launched when they are again, ends the program (seen with 13.0.1). */
static bool wants_graphs(void) {
  const uint32_t kind = CUPTI_KIND_GRAPH_TRACE;
  if (ws_side_has(&ws_shared.client, kind)) return true;
  if (ws_side_has(&ws_shared.client, CUPTI_KIND_CONCURRENT_KERNEL)) ws_shared.nodes = true;
  return !ws_shared.nodes && atomic_load(&ws_shared.ours.kind[kind].on) != WS_NEVER;
}

static bool wanted(uint32_t kind) {
  if (kind == CUPTI_KIND_GRAPH_TRACE) return wants_graphs();
  return ws_side_has(&ws_shared.ours, kind) || ws_side_has(&ws_shared.client, kind);
}

typedef int (*call_fn)(uint32_t, uint8_t);

static call_fn single_of(uint32_t domain) {
  return domain == CUPTI_DOMAIN_DRIVER ? ws_shared.real.enable_driver_api
                                       : ws_shared.real.enable_runtime_api;
}

static bool wants(uint32_t domain, uint32_t id) {
  return ws_side_wants_call(&ws_shared.ours, domain, id) ||
         ws_side_wants_call(&ws_shared.client, domain, id);
}

static void set_all(uint32_t domain, bool on) {
  memset(ws_shared.really_call[domain], on, sizeof ws_shared.really_call[domain]);
}

/* Calls of one domain. CUPTI's switch of the kind overrides those of single ids; and once the kind
 * was switched off, single ids have no effect (seen with 13.0.1). So the kind stays on while any id
 * is wanted, the others off one by one. */
static int apply_calls(uint32_t domain) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  call_fn single = single_of(domain);
  bool all = wanted(kind), some = false;
  for (uint32_t id = 1; id < WS_SHARE_IDS && single && !some; id++) some = wants(domain, id);
  int r = CUPTI_OK;
  if (all && !ws_shared.really[kind]) {
    r = ws_shared.real.activity_enable(kind);
    if (r != CUPTI_OK) return r;
    ws_shared.really[kind] = true;
    set_all(domain, true);
  } else if (!all && !some && ws_shared.really[kind]) {
    r = ws_shared.real.activity_disable(kind);
    if (r != CUPTI_OK) return r;
    ws_shared.really[kind] = false;
    ws_shared.spoilt[domain] = true;
    set_all(domain, false);
  }
  for (uint32_t id = 1; id < WS_SHARE_IDS && single; id++) {
    bool on = wants(domain, id);
    if (on == ws_shared.really_call[domain][id]) continue;
    ws_shared.really_call[domain][id] = on;
    single(id, on); /* ids that do not exist are refused */
  }
  return r;
}

static int apply(uint32_t kind) {
  if (kind == CUPTI_KIND_DRIVER) return apply_calls(CUPTI_DOMAIN_DRIVER);
  if (kind == CUPTI_KIND_RUNTIME) return apply_calls(CUPTI_DOMAIN_RUNTIME);
  bool want = wanted(kind);
  if (want == ws_shared.really[kind]) return CUPTI_OK;
  int r = want ? ws_shared.real.activity_enable(kind) : ws_shared.real.activity_disable(kind);
  if (r == CUPTI_OK) ws_shared.really[kind] = want;
  return r;
}

static int set(struct ws_side *s, uint32_t kind, bool on) {
  if (kind >= WS_SHARE_KINDS)
    return on ? ws_shared.real.activity_enable(kind) : ws_shared.real.activity_disable(kind);
  bool had = ws_lock_take(&ws_shared.switching);
  bool was = ws_side_has(s, kind);
  mark(s, kind, on);
  int r = apply(kind);
  if (r != CUPTI_OK && on && !was) atomic_store(&s->kind[kind].on, WS_NEVER);
  if (kind == CUPTI_KIND_CONCURRENT_KERNEL) apply(CUPTI_KIND_GRAPH_TRACE);
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

/* Switches one id in CUPTI. */
static int apply_call(uint32_t domain, uint32_t id) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  bool on = wants(domain, id);
  if (on && ws_shared.spoilt[domain] && !ws_shared.really[kind]) {
    /* By way of the kind, whose other ids go off again. */
    int r = ws_shared.real.activity_enable(kind);
    if (r != CUPTI_OK) return r;
    ws_shared.really[kind] = true;
    set_all(domain, true);
    return apply_calls(domain);
  }
  ws_shared.really_call[domain][id] = on;
  return single_of(domain)(id, on);
}

static bool is_any_on(const struct ws_side *s, uint32_t domain) {
  for (uint32_t id = 1; id < WS_SHARE_IDS; id++)
    if (atomic_load_explicit(&s->call[domain][id], memory_order_relaxed) == WS_CALL_ON) return true;
  return false;
}

static int set_call(struct ws_side *s, uint32_t domain, uint32_t id, bool on) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  if (!single_of(domain)) return CUPTI_BAD_PARAMETER;
  if (id >= WS_SHARE_IDS) return single_of(domain)(id, on);
  bool had = ws_lock_take(&ws_shared.switching);
  uint8_t was = atomic_load(&s->call[domain][id]);
  bool kind_on = ws_side_has(s, kind);
  if (was == WS_CALL_ON && !on && !kind_on) close_window(s, kind);
  /* The first id of some begins a window. */
  if (on && !kind_on && !is_any_on(s, domain)) atomic_store(&s->kind[kind].from, ws_shared_now());
  uint8_t off = was == WS_CALL_ON || was == WS_CALL_WAS_ON ? WS_CALL_WAS_ON : WS_CALL_AS_KIND;
  if (ws_side_has(s, kind))
    atomic_store(&s->call[domain][id], on ? WS_CALL_AS_KIND : WS_CALL_OFF);
  else
    atomic_store(&s->call[domain][id], on ? WS_CALL_ON : off);
  int r = apply_call(domain, id);
  if (!on && ws_shared.really[kind]) apply_calls(domain); /* was it the last one? */
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

int ws_our_enable(uint32_t kind) { return set(&ws_shared.ours, kind, true); }
int ws_our_disable(uint32_t kind) { return set(&ws_shared.ours, kind, false); }
int ws_our_driver_call(uint32_t id, uint8_t on) {
  return set_call(&ws_shared.ours, CUPTI_DOMAIN_DRIVER, id, on);
}
int ws_our_runtime_call(uint32_t id, uint8_t on) {
  return set_call(&ws_shared.ours, CUPTI_DOMAIN_RUNTIME, id, on);
}

int ws_share_enable(uint32_t kind) {
  /* What is complete is not the client's. */
  if (ws_side_is_on(&ws_shared.ours) && !ws_side_is_on(&ws_shared.client))
    ws_shared_flush(CUPTI_FLUSH_NORMAL);
  atomic_store_explicit(&ws_shared.had_client, true, memory_order_release);
  ws_shared_pair();
  int r = set(&ws_shared.client, kind, true);
  if (ws_is_calls(kind)) {
    /* The kind overrides what was said of single ids before. */
    uint32_t domain = kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    for (uint32_t id = 0; id < WS_SHARE_IDS; id++)
      atomic_store(&ws_shared.client.call[domain][id], WS_CALL_AS_KIND);
  }
  if (r == CUPTI_OK) ws_shared_stand();
  return r;
}

int ws_share_enable_and_dump(uint32_t kind) {
  if (!ws_shared.enable_and_dump) return CUPTI_BAD_PARAMETER;
  int r = ws_share_enable(kind);
  return r == CUPTI_OK ? ws_shared.enable_and_dump(kind) : r;
}

int ws_share_disable(uint32_t kind) {
  ws_shared_pair();
  if (ws_is_calls(kind)) {
    uint32_t domain = kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    bool had = ws_lock_take(&ws_shared.switching);
    for (uint32_t id = 0; id < WS_SHARE_IDS; id++) {
      uint8_t one = WS_CALL_ON;
      atomic_compare_exchange_strong(&ws_shared.client.call[domain][id], &one, WS_CALL_AS_KIND);
    }
    ws_lock_let_go(&ws_shared.switching, had);
  }
  return set(&ws_shared.client, kind, false);
}

int ws_share_enable_call(uint32_t domain, uint32_t id, bool enable) {
  atomic_store_explicit(&ws_shared.had_client, true, memory_order_release);
  return set_call(&ws_shared.client, domain, id, enable);
}
