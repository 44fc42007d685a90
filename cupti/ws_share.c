#define _GNU_SOURCE
#include "ws_share.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/ws_abi.h"
#include "ws_compat.h"
#include "ws_futex.h"
#include "ws_share_store.h"

#define KINDS 256u
#define DOMAINS 16u
#define IDS 2048u
/* CUPTI 11.x to 13.x have 8 domains of callbacks. */
#define DOMAINS_KNOWN 8u
#define KNOWN_BUFFERS 256u
#define MS 1000000ull
/* How far a time of the GPU may lie from the CPU's clock that it is given in. */
#define SLACK 50000u
/* So much is given to the client at once; less waits until it flushes. */
#define GIVE_AT (16ull << 20)
/* A lock is not waited for any longer: CUPTI may hold what the other thread waits for, and the program
 * comes first. */
#define PATIENCE (1000 * MS)

enum { INVALID_PARAMETER = 1, KIND_KERNEL_SERIAL = CUPTI_KIND_KERNEL };

enum { CLOSED, LOADING, LOADED };

typedef uint64_t (*clock_fn)(void);

/* What one side has switched on. */
struct side {
  struct {
    _Atomic uint8_t on;   /* 1: on, 2: was on */
    _Atomic uint8_t late; /* the other side had it on before */
    _Atomic uint64_t from, until;
  } kind[KINDS];
  /* Of CUPTI_KIND_DRIVER and RUNTIME: 1 recorded though the kind is off, 3 was so, 2 left out though the
   * kind is on. */
  _Atomic uint8_t call[3][IDS];
  _Atomic uint8_t callback[DOMAINS][IDS];
};

static struct {
  _Atomic uint32_t state;
  _Atomic bool open; /* there is a capture */
  pid_t process;
  void *base; /* where this CUPTI is mapped */
  struct ws_cupti real;
  int (*enable_domain)(uint32_t, void *, uint32_t);
  int (*unsubscribe)(void *);
  int (*register_timestamp)(clock_fn);
  int (*finalize)(void);

  _Atomic uint32_t switching; /* a thread's id: the lock of what is switched on */
  uint32_t depth;
  _Atomic uint32_t flushing; /* the same of cuptiActivityFlushAll */
  uint32_t flush_depth;

  struct side ours, client;
  _Atomic bool had_client; /* ever */
  uint8_t really[KINDS];   /* on in CUPTI */

  void *subscriber;
  _Atomic(cupti_callback_fn) callback, client_callback;
  void *user, *client_user;

  _Atomic(cupti_request_fn) request, client_request;
  _Atomic(cupti_complete_fn) complete, client_complete;
  _Atomic(uint8_t *) known[KNOWN_BUFFERS]; /* buffers that are ours */
  _Atomic uint32_t completing;             /* threads inside completed() */
  struct ws_share_buffer standing;         /* the client's next buffer */
  _Atomic uint32_t standing_lock;
  uint32_t standing_depth;
  _Atomic uint32_t worker; /* the capture's thread: its calls are not the program's */

  _Atomic(clock_fn) client_clock;
  clock_fn clock; /* the one that CUPTI uses, if we chose it */
  struct ws_share_map map;
  _Atomic uint32_t mapping; /* lock of map */
  _Atomic uint64_t dropped, kept;
} share;

/* ---- locks that give up ---- */

static uint32_t self(void) {
  static __thread uint32_t id;
  if (!id) id = (uint32_t)syscall(SYS_gettid);
  return id;
}

static uint64_t mono(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* False: taken without being had; not to be let go. */
static bool take(_Atomic uint32_t *lock, uint32_t *depth) {
  uint32_t me = self(), holder = 0;
  if (atomic_load_explicit(lock, memory_order_relaxed) == me) {
    ++*depth;
    return true;
  }
  for (uint64_t end = mono() + PATIENCE; !atomic_compare_exchange_strong(lock, &holder, me);) {
    uint64_t now = mono();
    if (now >= end) return false;
    ws_futex_wait(lock, holder, 1 * MS, false);
    holder = 0;
  }
  *depth = 1;
  return true;
}

static void let_go(_Atomic uint32_t *lock, uint32_t *depth, bool had) {
  if (!had || --*depth) return;
  atomic_store(lock, 0);
  ws_futex_wake(lock, false);
}

#define LOCKED bool had = take(&share.switching, &share.depth)
#define UNLOCK let_go(&share.switching, &share.depth, had)

/* ---- which record is whose ---- */

static bool has(const struct side *s, uint32_t kind) {
  return kind < KINDS && atomic_load_explicit(&s->kind[kind].on, memory_order_relaxed) == 1;
}

static bool is_on(const struct side *s) {
  for (uint32_t kind = 0; kind < KINDS; kind++)
    if (has(s, kind)) return true;
  return false;
}

static bool wants_call(const struct side *s, uint32_t domain, uint32_t id) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  uint8_t call =
      id < IDS ? atomic_load_explicit(&s->call[domain][id], memory_order_relaxed) : 0;
  return has(s, kind) ? call != 2 : call == 1;
}

/* Of these kinds a side may have single ids on. */
static bool is_calls(uint32_t kind) {
  return kind == CUPTI_KIND_DRIVER || kind == CUPTI_KIND_RUNTIME;
}

/* Times of the CPU are CUPTI's clock's own. */
static uint64_t slack(uint32_t kind) {
  bool cpu = is_calls(kind) || kind == CUPTI_KIND_SYNCHRONIZATION ||
             kind == CUPTI_KIND_OVERHEAD || kind == CUPTI_KIND_MARKER;
  return cpu ? 0 : SLACK;
}

static bool in_time(const struct side *s, uint32_t kind, uint64_t start) {
  uint8_t on = atomic_load(&s->kind[kind].on);
  if (!on) return false;
  if (!start) return on == 1 || !has(s == &share.ours ? &share.client : &share.ours, kind);
  if (atomic_load(&s->kind[kind].late) && start + slack(kind) < atomic_load(&s->kind[kind].from))
    return false;
  if (on == 1) return true;
  const struct side *other = s == &share.ours ? &share.client : &share.ours;
  bool alone = !is_calls(kind) && !atomic_load(&other->kind[kind].on);
  return alone || start <= atomic_load(&s->kind[kind].until) + slack(kind);
}

static bool belongs(const struct side *s, const struct cupti_record *r, size_t size) {
  uint32_t kind = r->kind;
  uint64_t start = ws_share_start(r, size);
  if (is_calls(kind)) {
    const struct cupti_api *a = (const void *)r;
    uint32_t worker = atomic_load_explicit(&share.worker, memory_order_relaxed);
    if (s == &share.client && worker && a->threadId == worker) return false;
    uint32_t domain =
        kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    uint8_t call = a->cbid < IDS ? atomic_load(&s->call[domain][a->cbid]) : 0;
    if (call == 1) return true;
    if (call == 3 && start <= atomic_load(&s->kind[kind].until)) return true;
    return call != 2 && in_time(s, kind, start);
  }
  /* 12.8 and newer send these along unasked. */
  if (kind == CUPTI_KIND_CUDA_EVENT)
    return in_time(s, kind, 0) || in_time(s, CUPTI_KIND_SYNCHRONIZATION, 0);
  if (kind >= KINDS) return s == &share.ours;
  return in_time(s, kind, start);
}

bool ws_share_is_ours(const struct cupti_record *r) {
  if (!atomic_load_explicit(&share.had_client, memory_order_acquire)) return true;
  return belongs(&share.ours, r, 64); /* no record is shorter than where its start ends */
}

/* ---- switching ---- */

static uint64_t cupti_now(void) {
  uint64_t t = 0;
  share.real.timestamp(&t);
  return t;
}

static void mark(struct side *s, uint32_t kind, bool on) {
  const struct side *other = s == &share.ours ? &share.client : &share.ours;
  if (on == has(s, kind)) return;
  uint64_t now = cupti_now();
  if (on) {
    atomic_store(&s->kind[kind].from, now);
    atomic_store(&s->kind[kind].late, is_calls(kind) || has(other, kind));
  } else {
    atomic_store(&s->kind[kind].until, now);
  }
  atomic_store(&s->kind[kind].on, on ? 1 : 2);
}

static bool wanted(uint32_t kind) {
  if (kind == CUPTI_KIND_GRAPH_TRACE) {
    /* Whole graphs and their nodes exclude each other: who asks for kernels wants the nodes'. */
    bool nodes = has(&share.client, CUPTI_KIND_CONCURRENT_KERNEL) && !has(&share.client, kind);
    return has(&share.client, kind) || (has(&share.ours, kind) && !nodes);
  }
  return has(&share.ours, kind) || has(&share.client, kind);
}

typedef int (*call_fn)(uint32_t, uint8_t);

/* Calls of one domain. CUPTI's switch of the kind overrides those of single ids, in both directions. */
static int apply_calls(uint32_t domain, bool changed) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  call_fn single = domain == CUPTI_DOMAIN_DRIVER ? share.real.enable_driver_api
                                                 : share.real.enable_runtime_api;
  bool want = wanted(kind);
  int r = CUPTI_OK;
  if (want != share.really[kind]) {
    r = want ? share.real.activity_enable(kind) : share.real.activity_disable(kind);
    if (r != CUPTI_OK) return r;
    share.really[kind] = want;
    changed = true;
  }
  if (!changed || !single) return r;
  for (uint32_t id = 1; id < IDS; id++) {
    bool on = wants_call(&share.ours, domain, id) || wants_call(&share.client, domain, id);
    if (on != want) single(id, on);
  }
  return r;
}

static int apply(uint32_t kind) {
  if (kind == CUPTI_KIND_DRIVER) return apply_calls(CUPTI_DOMAIN_DRIVER, false);
  if (kind == CUPTI_KIND_RUNTIME) return apply_calls(CUPTI_DOMAIN_RUNTIME, false);
  bool want = wanted(kind);
  if (want == share.really[kind]) return CUPTI_OK;
  int r = want ? share.real.activity_enable(kind) : share.real.activity_disable(kind);
  if (r == CUPTI_OK) share.really[kind] = want;
  return r;
}

static int set(struct side *s, uint32_t kind, bool on) {
  if (kind >= KINDS)
    return on ? share.real.activity_enable(kind) : share.real.activity_disable(kind);
  LOCKED;
  bool was = has(s, kind);
  mark(s, kind, on);
  int r = apply(kind);
  if (r != CUPTI_OK && on && !was) atomic_store(&s->kind[kind].on, 0);
  if (kind == CUPTI_KIND_CONCURRENT_KERNEL) apply(CUPTI_KIND_GRAPH_TRACE);
  UNLOCK;
  return r;
}

static int set_call(struct side *s, uint32_t domain, uint32_t id, bool on) {
  uint32_t kind = domain == CUPTI_DOMAIN_DRIVER ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
  call_fn single = domain == CUPTI_DOMAIN_DRIVER ? share.real.enable_driver_api
                                                 : share.real.enable_runtime_api;
  if (!single) return INVALID_PARAMETER;
  if (id >= IDS) return single(id, on);
  LOCKED;
  uint8_t was = atomic_load(&s->call[domain][id]);
  if (was == 1 && !on) atomic_store(&s->kind[kind].until, cupti_now());
  atomic_store(&s->call[domain][id],
               has(s, kind) ? (on ? 0 : 2) : (on ? 1 : (was == 1 || was == 3 ? 3 : 0)));
  bool want = wants_call(&share.ours, domain, id) || wants_call(&share.client, domain, id);
  int r = single(id, want);
  UNLOCK;
  return r;
}

static int our_enable(uint32_t kind) { return set(&share.ours, kind, true); }
static int our_disable(uint32_t kind) { return set(&share.ours, kind, false); }
static int our_driver_call(uint32_t id, uint8_t on) {
  return set_call(&share.ours, CUPTI_DOMAIN_DRIVER, id, on);
}
static int our_runtime_call(uint32_t id, uint8_t on) {
  return set_call(&share.ours, CUPTI_DOMAIN_RUNTIME, id, on);
}

/* ---- callbacks ---- */

/* The client's word of a call, while ours is in CUPTI's place for it. */
struct word {
  uint32_t correlation;
  uint64_t value;
};
#define WORDS 16u
static __thread struct word words[WORDS];
static __thread uint32_t words_used;

static void to_client(cupti_callback_fn f, uint32_t domain, uint32_t id, const void *data) {
  f(share.client_user, domain, id, data);
}

/* Both want the call: the place that CUPTI keeps for a word between its enter and exit is used twice. */
static void to_both(
    cupti_callback_fn ours, cupti_callback_fn client, uint32_t domain, uint32_t id, const void *data) {
  const struct cupti_callback *c = data;
  bool call = domain == CUPTI_DOMAIN_DRIVER || domain == CUPTI_DOMAIN_RUNTIME;
  if (!call || !c || !c->correlationData) {
    ours(share.user, domain, id, data);
    to_client(client, domain, id, data);
  } else if (c->callbackSite == CUPTI_ENTER) {
    to_client(client, domain, id, data);
    if (words_used < WORDS)
      words[words_used++] = (struct word){c->correlationId, *c->correlationData};
    ours(share.user, domain, id, data);
  } else {
    ours(share.user, domain, id, data);
    while (words_used) {
      struct word w = words[--words_used];
      if (w.correlation != c->correlationId) continue; /* its exit was not seen */
      *c->correlationData = w.value;
      break;
    }
    to_client(client, domain, id, data);
  }
}

static void dispatch(void *unused, uint32_t domain, uint32_t id, const void *data) {
  (void)unused;
  if (domain >= DOMAINS || id >= IDS) return;
  cupti_callback_fn ours = atomic_load_explicit(&share.callback, memory_order_acquire);
  cupti_callback_fn client = atomic_load_explicit(&share.client_callback, memory_order_acquire);
  if (!atomic_load_explicit(&share.ours.callback[domain][id], memory_order_relaxed)) ours = NULL;
  if (!atomic_load_explicit(&share.client.callback[domain][id], memory_order_relaxed)) client = NULL;
  if (ours && client)
    to_both(ours, client, domain, id, data);
  else if (ours)
    ours(share.user, domain, id, data);
  else if (client)
    to_client(client, domain, id, data);
}

static int our_subscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  LOCKED;
  int r = CUPTI_OK;
  if (!share.subscriber) r = share.real.subscribe(&share.subscriber, dispatch, NULL);
  if (r == CUPTI_OK) {
    share.user = user;
    atomic_store_explicit(&share.callback, callback, memory_order_release);
    *subscriber = share.subscriber;
  }
  UNLOCK;
  return r;
}

static int
set_callback(struct side *s, uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  if (domain >= DOMAINS || id >= IDS)
    return share.real.enable_callback(enable, subscriber, domain, id);
  const struct side *other = s == &share.ours ? &share.client : &share.ours;
  LOCKED;
  atomic_store(&s->callback[domain][id], enable != 0);
  int r = CUPTI_OK;
  if (!atomic_load(&other->callback[domain][id])) {
    r = share.real.enable_callback(enable, subscriber, domain, id);
    if (r != CUPTI_OK) atomic_store(&s->callback[domain][id], 0);
  }
  UNLOCK;
  return r;
}

static int our_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  return set_callback(&share.ours, enable, subscriber, domain, id);
}

int ws_share_subscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  if (!subscriber) return INVALID_PARAMETER;
  LOCKED;
  int r = atomic_load(&share.client_callback) ? CUPTI_MULTIPLE_SUBSCRIBERS : CUPTI_OK;
  if (r == CUPTI_OK && !share.subscriber)
    r = share.real.subscribe(&share.subscriber, dispatch, NULL);
  if (r == CUPTI_OK) {
    *subscriber = share.subscriber;
    share.client_user = user;
    atomic_store_explicit(&share.client_callback, callback, memory_order_release);
  }
  UNLOCK;
  return r;
}

static bool is_client(const void *subscriber) {
  return subscriber && subscriber == share.subscriber && atomic_load(&share.client_callback);
}

int ws_share_enable_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  if (!is_client(subscriber)) return INVALID_PARAMETER;
  return set_callback(&share.client, enable, subscriber, domain, id);
}

int ws_share_enable_domain(uint32_t enable, void *subscriber, uint32_t domain) {
  if (!is_client(subscriber) || domain >= DOMAINS) return INVALID_PARAMETER;
  LOCKED;
  int r = CUPTI_OK;
  if (enable) {
    r = share.enable_domain(enable, subscriber, domain);
    for (uint32_t id = 0; id < IDS && r == CUPTI_OK; id++)
      atomic_store(&share.client.callback[domain][id], 1);
  } else {
    /* One by one: ours of the domain stay. */
    for (uint32_t id = 0; id < IDS; id++) {
      if (!atomic_exchange(&share.client.callback[domain][id], 0)) continue;
      if (!atomic_load(&share.ours.callback[domain][id]))
        share.real.enable_callback(0, subscriber, domain, id);
    }
  }
  UNLOCK;
  return r;
}

int ws_share_enable_all(uint32_t enable, void *subscriber) {
  int r = is_client(subscriber) ? CUPTI_OK : INVALID_PARAMETER;
  for (uint32_t domain = 1; domain <= DOMAINS_KNOWN && r == CUPTI_OK; domain++)
    r = ws_share_enable_domain(enable, subscriber, domain);
  return r;
}

int ws_share_unsubscribe(void *subscriber) {
  if (!is_client(subscriber)) return INVALID_PARAMETER;
  ws_share_enable_all(0, subscriber);
  atomic_store(&share.client_callback, NULL);
  if (atomic_load(&share.callback)) return CUPTI_OK;
  share.subscriber = NULL;
  return share.unsubscribe(subscriber);
}

/* ---- buffers ---- */

static void know(uint8_t *data) {
  for (uint32_t i = 0; i < KNOWN_BUFFERS; i++) {
    uint8_t *there = atomic_load_explicit(&share.known[i], memory_order_relaxed), *none = NULL;
    if (there == data) return;
    if (!there && (atomic_compare_exchange_strong(&share.known[i], &none, data) || none == data))
      return;
  }
}

static bool is_known(const uint8_t *data) {
  for (uint32_t i = 0; i < KNOWN_BUFFERS; i++) {
    const uint8_t *there = atomic_load_explicit(&share.known[i], memory_order_relaxed);
    if (there == data) return true;
    if (!there) return false;
  }
  return true;
}

static void requested(uint8_t **data, size_t *size, size_t *max_records) {
  atomic_load(&share.request)(data, size, max_records);
  know(*data);
}

/* The client's part of a buffer. */
static void keep(uint8_t *data, size_t valid) {
  struct cupti_record *r = NULL, *next = NULL;
  int code = share.real.next_record(data, valid, &next);
  while (code == CUPTI_OK && next) {
    r = next;
    code = share.real.next_record(data, valid, &next);
    bool more = code == CUPTI_OK && next != r;
    uint8_t *end = more ? (uint8_t *)next : data + valid;
    size_t size = (size_t)(end - (uint8_t *)r);
    if (belongs(&share.client, r, size)) {
      if (ws_share_store_add(r, size))
        atomic_fetch_add(&share.kept, 1);
      else
        atomic_fetch_add(&share.dropped, 1);
    }
    if (!more) break;
  }
}

/* A buffer that the client gave before there was a capture: our records of it are copied out and the
 * client's moved together. */
static size_t divide(void *context, uint32_t stream, uint8_t *data, size_t valid) {
  uint8_t *ours = NULL;
  size_t size = 0, max_records = 0, used = 0, left = 0;
  struct cupti_record *r = NULL, *next = NULL;
  int code = share.real.next_record(data, valid, &next);
  while (code == CUPTI_OK && next && next != r) {
    r = next;
    code = share.real.next_record(data, valid, &next);
    uint8_t *end = code == CUPTI_OK && next != r ? (uint8_t *)next : data + valid;
    size_t length = (size_t)(end - (uint8_t *)r);
    if (ours && size - used < length) {
      atomic_load(&share.complete)(context, stream, ours, size, used);
      ours = NULL;
    }
    if (!ours) {
      requested(&ours, &size, &max_records);
      used = 0;
    }
    if (size - used >= length) memcpy(ours + used, r, length), used += length;
    if (!belongs(&share.client, r, length)) continue;
    memmove(data + left, r, length);
    left += length;
  }
  if (ours) atomic_load(&share.complete)(context, stream, ours, size, used);
  return left;
}

static void give(bool all, uint64_t *given);
static void stand(void);

static void completed(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  if (!is_known(data)) {
    cupti_complete_fn f = atomic_load(&share.client_complete);
    if (valid && share.process == getpid()) valid = divide(context, stream, data, valid);
    if (f) f(context, stream, data, size, valid);
    return;
  }
  atomic_fetch_add(&share.completing, 1);
  if (valid && atomic_load(&share.had_client) && atomic_load(&share.client_complete) &&
      share.process == getpid()) {
    keep(data, valid);
    uint64_t given;
    if (ws_share_store_size() >= GIVE_AT) give(false, &given);
  }
  atomic_load(&share.complete)(context, stream, data, size, valid);
  atomic_fetch_sub(&share.completing, 1);
}

static int our_register(cupti_request_fn request, cupti_complete_fn complete) {
  atomic_store(&share.request, request);
  atomic_store(&share.complete, complete);
  int r = share.real.register_callbacks(requested, completed);
  if (r == CUPTI_OK && is_on(&share.client)) stand();
  return r;
}

static int flush(uint32_t flag) {
  bool had = take(&share.flushing, &share.flush_depth);
  int r = share.real.flush_all(flag);
  let_go(&share.flushing, &share.flush_depth, had);
  return r;
}

static void pair(void);

/* The capture's thread flushes regularly: the map between the clocks stays near what comes. */
static int our_flush(uint32_t flag) {
  atomic_store(&share.worker, self());
  bool client = atomic_load(&share.had_client) && atomic_load(&share.client_complete);
  if (client) pair();
  int r = flush(flag);
  if (client) pair();
  return r;
}

static int our_dropped(void *context, uint32_t stream, size_t *count) {
  int r = share.real.dropped(context, stream, count);
  if (r == CUPTI_OK && atomic_load(&share.client_complete)) /* nobody knows whose they were */
    atomic_fetch_add(&share.dropped, *count);
  return r;
}

int ws_share_register(cupti_request_fn request, cupti_complete_fn complete) {
  if (!request || !complete) return INVALID_PARAMETER;
  int r = ws_share_has_buffers() ? CUPTI_OK : share.real.register_callbacks(request, complete);
  if (r != CUPTI_OK) return r;
  atomic_store(&share.client_request, request);
  atomic_store(&share.client_complete, complete);
  return CUPTI_OK;
}

bool ws_share_has_buffers(void) { return atomic_load(&share.complete) != NULL; }

/* ---- the client's clock ---- */

/* What a client that registers none expects. */
static uint64_t wall(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static clock_fn client_clock(void) {
  clock_fn f = atomic_load(&share.client_clock);
  return f || !share.clock ? f : wall;
}

/* Reads both clocks, the closest of some tries. */
static void pair(void) {
  clock_fn f = client_clock();
  if (!f || f == share.clock) return;
  uint64_t width = UINT64_MAX, from = 0, to = 0;
  for (int i = 0; i < 32; i++) {
    uint64_t before = cupti_now(), theirs = f(), after = cupti_now();
    if (!before || after < before || after - before >= width) continue;
    width = after - before;
    from = before + width / 2;
    to = theirs;
  }
  uint32_t depth = 0;
  bool had = take(&share.mapping, &depth);
  if (had && width != UINT64_MAX) ws_share_map_add(&share.map, from, to);
  let_go(&share.mapping, &depth, had);
}

/* The client's clock is read as CUPTI reads its own: nothing is to be changed. */
static bool same_clock(clock_fn f) {
  if (f == share.clock) return true;
  if (!share.clock) return false;
  for (int i = 0; i < 3; i++) {
    uint64_t before = share.clock(), theirs = f(), after = share.clock();
    if (theirs < before || theirs > after) return false;
  }
  return true;
}

int ws_share_clock(uint64_t (*timestamp)(void)) {
  if (!timestamp) return INVALID_PARAMETER;
  if (!ws_share_has_buffers()) {
    int r = share.register_timestamp ? share.register_timestamp(timestamp) : INVALID_PARAMETER;
    if (r != CUPTI_OK) return r;
    share.clock = timestamp;
  }
  uint32_t depth = 0;
  bool had = take(&share.mapping, &depth);
  if (atomic_load(&share.client_clock) != timestamp) share.map.count = 0;
  let_go(&share.mapping, &depth, had);
  atomic_store(&share.client_clock, timestamp);
  pair();
  return CUPTI_OK;
}

int ws_share_timestamp(uint64_t *timestamp) {
  if (!timestamp) return INVALID_PARAMETER;
  clock_fn f = client_clock();
  if (!f) return share.real.timestamp(timestamp);
  *timestamp = f();
  return CUPTI_OK;
}

#if defined(__x86_64__)
static uint64_t ticks(void) { return __builtin_ia32_rdtsc(); }
#elif defined(__aarch64__)
static uint64_t ticks(void) {
  uint64_t t;
  __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(t));
  return t;
}
#else
static uint64_t ticks(void) { return wall(); }
#endif

/* ---- the client's records ---- */

int ws_share_enable(uint32_t kind) {
  /* What is complete is not the client's. */
  if (has(&share.ours, kind) && !has(&share.client, kind)) flush(CUPTI_FLUSH_NORMAL);
  atomic_store_explicit(&share.had_client, true, memory_order_release);
  pair();
  int r = set(&share.client, kind, true);
  if (is_calls(kind)) {
    /* The kind overrides what was said of single ids before. */
    uint32_t domain = kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    for (uint32_t id = 0; id < IDS; id++) atomic_store(&share.client.call[domain][id], 0);
  }
  if (r == CUPTI_OK) stand();
  return r;
}

int ws_share_disable(uint32_t kind) {
  pair();
  if (is_calls(kind)) {
    uint32_t domain = kind == CUPTI_KIND_DRIVER ? CUPTI_DOMAIN_DRIVER : CUPTI_DOMAIN_RUNTIME;
    LOCKED;
    for (uint32_t id = 0; id < IDS; id++) {
      uint8_t one = 1;
      atomic_compare_exchange_strong(&share.client.call[domain][id], &one, 0);
    }
    UNLOCK;
  }
  return set(&share.client, kind, false);
}

int ws_share_enable_call(uint32_t domain, uint32_t id, bool enable) {
  atomic_store_explicit(&share.had_client, true, memory_order_release);
  return set_call(&share.client, domain, id, enable);
}

/* A client that has no buffer out has nothing to flush, torch.profiler thinks: one is always out while it
 * has anything on. */
static void stand(void) {
  cupti_request_fn request = atomic_load(&share.client_request);
  bool had = take(&share.standing_lock, &share.standing_depth);
  if (request && !share.standing.data && ws_share_has_buffers()) {
    struct ws_share_buffer b = {0};
    request(&b.data, &b.size, &b.max_records);
    share.standing = b;
  }
  let_go(&share.standing_lock, &share.standing_depth, had);
}

/* Gives the client what is kept for it. all: the standing buffer too, empty as it may be. */
static void give(bool all, uint64_t *given) {
  *given = 0;
  cupti_request_fn request = atomic_load(&share.client_request);
  cupti_complete_fn complete = atomic_load(&share.client_complete);
  if (!request || !complete) {
    ws_share_store_clear();
    return;
  }
  clock_fn f = client_clock();
  bool as_they_are = !f || same_clock(f);
  uint32_t depth = 0;
  bool had = take(&share.mapping, &depth);
  struct ws_share_map map = share.map;
  let_go(&share.mapping, &depth, had);
  struct ws_share_buffer buffer = {0};
  if (all || ws_share_store_size()) {
    had = take(&share.standing_lock, &share.standing_depth);
    buffer = share.standing;
    share.standing = (struct ws_share_buffer){0};
    let_go(&share.standing_lock, &share.standing_depth, had);
  }
  size_t count = 0;
  size_t refused =
      ws_share_store_give(request, complete, buffer, as_they_are ? NULL : &map, &count);
  atomic_fetch_add(&share.dropped, refused);
  *given = count;
}

int ws_share_flush(uint32_t flag, uint64_t *given) {
  *given = 0;
  int r = flush(flag);
  if (!ws_share_has_buffers()) return r;
  /* Buffers that other threads have in hand belong to what was asked for. */
  for (int i = 0; i < 200 && atomic_load(&share.completing); i++) usleep(1000);
  pair();
  bool on = is_on(&share.client);
  give(!on, given);
  if (on) stand();
  return r;
}

int ws_share_dropped(void *context, uint32_t stream, size_t *dropped) {
  if (!dropped) return INVALID_PARAMETER;
  if (!ws_share_has_buffers()) return share.real.dropped(context, stream, dropped);
  *dropped = (size_t)atomic_exchange(&share.dropped, 0);
  return CUPTI_OK;
}

int ws_share_finalize(void) {
  for (uint32_t kind = 0; kind < KINDS; kind++)
    if (has(&share.client, kind)) ws_share_disable(kind);
  if (atomic_load(&share.client_callback)) ws_share_unsubscribe(share.subscriber);
  uint64_t given;
  if (ws_share_has_buffers()) give(true, &given);
  atomic_store(&share.client_request, NULL);
  atomic_store(&share.client_complete, NULL);
  atomic_store(&share.client_clock, NULL);
  ws_share_store_clear();
  if (atomic_load(&share.open)) return CUPTI_OK;
  share.clock = NULL;
  share.subscriber = NULL;
  memset(share.really, 0, sizeof share.really);
  return share.finalize ? share.finalize() : CUPTI_OK;
}

/* ---- beginning ---- */

static void *base_of(void *function) {
  Dl_info where;
  return function && dladdr(function, &where) ? where.dli_fbase : NULL;
}

/* Takes this CUPTI for the one that is shared; false if it is another one. */
static bool load(const struct ws_cupti *c) {
  uint32_t closed = CLOSED;
  void *base = base_of(*(void **)&c->get_version);
  if (!base) return false;
  if (!atomic_compare_exchange_strong(&share.state, &closed, LOADING)) {
    for (int i = 0; i < 1000 && atomic_load(&share.state) != LOADED; i++) usleep(1000);
    return atomic_load(&share.state) == LOADED && share.base == base;
  }
  share.real = *c;
  share.process = getpid();
  share.base = base;
  *(void **)&share.enable_domain = dlsym(c->handle, "cuptiEnableDomain");
  *(void **)&share.unsubscribe = dlsym(c->handle, "cuptiUnsubscribe");
  *(void **)&share.finalize = dlsym(c->handle, "cuptiFinalize");
  *(void **)&share.register_timestamp = dlsym(c->handle, "cuptiActivityRegisterTimestampCallback");
  atomic_store(&share.state, LOADED);
  return true;
}

bool ws_share_serves(void *function) {
  if (atomic_load_explicit(&share.state, memory_order_acquire) != LOADED) {
    Dl_info where;
    struct ws_cupti client;
    if (!function || !dladdr(function, &where) || !where.dli_fname) return false;
    if (!ws_load_from(dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD), &client) || !load(&client))
      return false;
  }
  return share.process == getpid() && base_of(function) == share.base;
}

void ws_share_open(struct ws_cupti *c) {
  if (!load(c) || share.process != getpid()) return;
  if (!share.enable_domain || !share.unsubscribe) return;
  const char *chosen = getenv("WARPSCOPE_SHARE_CLOCK");
  if (chosen && strcmp(chosen, "tsc") == 0 && share.register_timestamp && !share.clock &&
      share.register_timestamp(ticks) == CUPTI_OK)
    share.clock = ticks;
  c->subscribe = our_subscribe;
  c->enable_callback = our_callback;
  c->register_callbacks = our_register;
  c->activity_enable = our_enable;
  c->activity_disable = our_disable;
  if (c->enable_driver_api) c->enable_driver_api = our_driver_call;
  if (c->enable_runtime_api) c->enable_runtime_api = our_runtime_call;
  c->flush_all = our_flush;
  c->dropped = our_dropped;
  atomic_store_explicit(&share.open, true, memory_order_release);
}
