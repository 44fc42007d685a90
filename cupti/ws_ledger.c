#define _GNU_SOURCE
#include "ws_ledger.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ws_calls.h"
#include "ws_live.h"
#include "ws_unwind.h"

static uint32_t thread_id(void) {
  static __thread uint32_t id;
  if (!id) id = (uint32_t)syscall(SYS_gettid);
  return id;
}

void ws_ledger_open(struct ws_ledger *l) {
  unsigned essential = 0;
  for (uint32_t id = 1; id < WS_CALLBACK_IDS; id++) {
    const char *name = NULL;
    if (l->cupti->callback_name(CUPTI_DOMAIN_DRIVER, id, &name) != CUPTI_OK || !name) continue;
    unsigned call = ws_call_find(name);
    if (ws_call_is_essential(name)) essential++;
    l->work[id] = ws_call_is_work(name);
    l->call[id] = (uint8_t)call;
    if (call) l->name[id] = ws_arena_string(l->arena, name, WS_REC_ALLOC);
  }
  /* CUPTI says of an id that does not exist what it says of one whose name it cannot tell. */
  if (essential < WS_ESSENTIAL_CALLS) l->unwatched = WS_ESSENTIAL_CALLS - essential;
}

int ws_ledger_subscribe(struct ws_ledger *l, void *subscriber) {
  int watched = 0;
  for (uint32_t id = 1; id < WS_CALLBACK_IDS; id++) {
    if (!l->call[id]) continue;
    if (l->cupti->enable_callback(1, subscriber, CUPTI_DOMAIN_DRIVER, id) == CUPTI_OK)
      watched++;
    else
      l->unwatched++;
  }
  static const uint32_t resources[] = {
      CUPTI_CONTEXT_CREATED, CUPTI_CONTEXT_DESTROYING, CUPTI_MODULE_LOADED, CUPTI_MODULE_UNLOADING};
  for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
    if (l->cupti->enable_callback(1, subscriber, CUPTI_DOMAIN_RESOURCE, resources[i]) != CUPTI_OK)
      l->unwatched++;
  return watched ? watched : -1;
}

static bool is_slow(const struct ws_ledger *l, uint32_t id) {
  return l->call[id] && ws_call_at(l->call[id])->op == WS_OP_FAILED;
}

/* More in a tenth of a second and the call is let go: two callbacks each, of a microsecond, are
 * 0.05 % of the time then. */
#define OFTEN 24u
#define PAUSE_FIRST 10u
#define PAUSE_MOST 640u

void ws_ledger_look(struct ws_ledger *l, void *subscriber) {
  for (uint32_t id = 1; id < WS_CALLBACK_IDS; id++) {
    if (!is_slow(l, id)) continue;
    uint32_t came = atomic_load_explicit(&l->slow[id].came, memory_order_relaxed);
    uint32_t more = came - l->slow[id].seen;
    l->slow[id].seen = came;
    if (l->slow[id].paused) {
      if (--l->slow[id].paused == 0)
        l->cupti->enable_callback(1, subscriber, CUPTI_DOMAIN_DRIVER, id);
    } else if (more > OFTEN) {
      uint32_t pause = l->slow[id].pause ? l->slow[id].pause * 2 : PAUSE_FIRST;
      l->slow[id].pause = pause < PAUSE_MOST ? pause : PAUSE_MOST;
      l->slow[id].paused = l->slow[id].pause;
      l->cupti->enable_callback(0, subscriber, CUPTI_DOMAIN_DRIVER, id);
    }
  }
}

void ws_ledger_watch_work(struct ws_ledger *l, void *subscriber, bool on) {
  for (uint32_t id = 1; id < WS_CALLBACK_IDS; id++)
    if (l->work[id] && !l->call[id])
      l->cupti->enable_callback(on, subscriber, CUPTI_DOMAIN_DRIVER, id);
}

static int32_t context_device(const struct ws_ledger *l, uint32_t context) {
  return context < WS_CONTEXTS ? atomic_load_explicit(&l->device[context], memory_order_relaxed) - 1
                               : -1;
}

/* A context that was there before the capture: nobody said that it was created. It becomes known by
 * the first call in it. Two threads may both come here; the record is written once. */
static void meet_context(struct ws_ledger *l, void *handle, uint32_t context) {
  uint32_t device = 0;
  int32_t unknown = 0;
  if (!handle || !context || context >= WS_CONTEXTS || atomic_load(&l->device[context])) return;
  if (l->cupti->device_id(handle, &device) != CUPTI_OK) return;
  if (!atomic_compare_exchange_strong(&l->device[context], &unknown, (int32_t)device + 1)) return;
  struct ws_context r = {.rec = {.type = WS_REC_CONTEXT, .flags = 1},
                         .time = ws_mono(),
                         .context = context,
                         .device = (int32_t)device};
  ws_ring_push(l->shm, &l->shm->alloc, &r.rec, 1);
}

static bool is_inside(const struct ws_ledger *l, uint64_t pc) {
  for (unsigned i = 0; i < 2; i++) {
    uint64_t start = atomic_load_explicit(&l->inside[i].start, memory_order_relaxed);
    uint64_t end = atomic_load_explicit(&l->inside[i].end, memory_order_relaxed);
    if (pc - start < end - start) return true;
  }
  return false;
}

static uint32_t take_stack(struct ws_ledger *l) {
  uint64_t pcs[WS_STACK_DEPTH];
  size_t n = ws_unwind(pcs, WS_STACK_DEPTH, 0), first = 0;
  while (first < n && is_inside(l, pcs[first])) first++;
  return ws_arena_stack(
      l->arena, atomic_load_explicit(&l->maps, memory_order_relaxed), pcs + first, n - first);
}

/* Applies a successful call to the live table and learns what a release released. */
static void apply(struct ws_ledger *l, const struct ws_call *c, struct ws_alloc *r) {
  struct ws_live was = {0};
  uint64_t key = ws_live_key(r->address, c->key);
  struct ws_live entry = {
      .key = key,
      .size = r->size,
      .seq = r->seq,
      .handle = r->handle,
      .stream_handle = r->stream_handle,
      .stack = r->stack,
      .api = r->api,
      .device = r->device,
      .context = r->context,
      .space = c->space,
  };
  switch (c->op) {
  case WS_OP_ALLOC:
  case WS_OP_IMPORT:
  case WS_OP_RESERVE:
    if (r->address) ws_live_put(l->shm, &entry);
    break;
  case WS_OP_MAP:
    ws_live_put(l->shm, &entry);
    r->known = ws_live_map(l->shm, ws_live_key(r->handle, WS_KEY_HANDLE), 1);
    break;
  case WS_OP_UNMAP:
    /* one call may unmap several neighbouring mappings */
    for (uint64_t at = r->address, left = r->size; left;) {
      if (!ws_live_take(l->shm, ws_live_key(at, WS_KEY_MAPPING), r->seq, &was) || !was.size ||
          was.size > left)
        break;
      ws_live_map(l->shm, ws_live_key(was.handle, WS_KEY_HANDLE), -1);
      r->known = 1;
      r->handle = was.handle;
      at += was.size;
      left -= was.size;
    }
    break;
  case WS_OP_FREE:
    r->known = 1;
    if (!r->address) break; /* cuMemFree(0) is allowed and releases nothing */
    r->known = c->key == WS_KEY_HANDLE ? ws_live_release(l->shm, key, r->seq, &was)
                                       : ws_live_take(l->shm, key, r->seq, &was);
    if (!r->known) break;
    r->size = was.size;
    r->space = was.space; /* cuMemFree gives back pool, managed and device memory alike */
    r->device = was.device;
    if (was.handle) r->handle = was.handle;
    break;
  case WS_OP_UNRESERVE:
    r->known = ws_live_take(l->shm, key, r->seq, &was);
    break;
  default:
    break;
  }
}

static bool is_release(uint8_t op) {
  return op == WS_OP_FREE || op == WS_OP_UNMAP || op == WS_OP_UNRESERVE || op == WS_OP_POOL_DESTROY;
}

/* The call behind a callback returned. */
static void call_returned(struct ws_ledger *l,
                          const struct ws_call *c,
                          uint32_t id,
                          const struct cupti_callback *cb) {
  int32_t result = cb->functionReturnValue ? *(const int32_t *)cb->functionReturnValue : 0;
  if (c->op == WS_OP_FAILED && result != CUDA_OOM) return;
  struct ws_args a;
  ws_call_args(c, cb->functionParams, result == 0, &a);
  if (l->late) meet_context(l, cb->context, cb->contextUid);
  uint64_t now = ws_mono();
  uint64_t enter = cb->correlationData && *cb->correlationData ? *cb->correlationData : now;
  struct ws_alloc r = {
      .rec = {.type = WS_REC_ALLOC},
      .seq = is_release(c->op) ? enter : now,
      .enter = enter,
      .exit = now,
      .address = a.address,
      .size = a.size,
      .handle = a.handle,
      .stream_handle = (uint64_t)(uintptr_t)a.stream,
      .context = cb->contextUid,
      .thread = thread_id(),
      .api = l->name[id],
      .result = result,
      .device = a.device >= 0 ? a.device : context_device(l, cb->contextUid),
      .stream = UINT32_MAX,
      .op = c->op,
      .space = c->space,
  };
  if (a.has_stream && l->cupti->stream_id && cb->context) {
    uint32_t stream;
    if (l->cupti->stream_id(cb->context, a.stream, 0, &stream) == CUPTI_OK) r.stream = stream;
  }
  r.stack = take_stack(l);
  if (result == 0) {
    apply(l, c, &r);
    if (c->space == WS_SPACE_POOL) atomic_fetch_add_explicit(&l->pools, 1, memory_order_relaxed);
  } else if (result == CUDA_OOM) {
    atomic_fetch_add_explicit(&l->out_of_memory, 1, memory_order_relaxed);
  }
  ws_ring_push(l->shm, &l->shm->alloc, &r.rec, sizeof r / WS_SLOT);
}

static void
context_changed(struct ws_ledger *l, const struct cupti_resource_data *data, bool created) {
  uint32_t context = 0, device = 0;
  if (l->cupti->context_id(data->context, &context) != CUPTI_OK) {
    ws_reason(
        l->shm,
        WS_REASON_CALLS_UNWATCHED); /* which context it was, and so what went with it, is unknown */
    return;
  }
  bool known = l->cupti->device_id(data->context, &device) == CUPTI_OK;
  if (created && known && context < WS_CONTEXTS)
    atomic_store(&l->device[context], (int32_t)device + 1);
  struct ws_context r = {
      .rec = {.type = WS_REC_CONTEXT, .flags = created},
      .time = ws_mono(),
      .context = context,
      .device = known ? (int32_t)device : context_device(l, context),
  };
  ws_ring_push(l->shm, &l->shm->alloc, &r.rec, 1);
  if (created)
    atomic_fetch_add(&l->contexts, 1);
  else
    ws_live_drop_context(l->shm, context);
}

static void
module_changed(struct ws_ledger *l, const struct cupti_resource_data *data, bool loaded) {
  const struct cupti_module_data *m = data->resourceDescriptor;
  uint32_t context = 0;
  if (!m) return;
  l->cupti->context_id(data->context, &context);
  struct ws_module r = {
      .rec = {.type = WS_REC_MODULE, .flags = loaded},
      .time = ws_mono(),
      .bytes = m->cubinSize,
      .context = context,
      .module = m->moduleId,
      .thread = thread_id(),
  };
  ws_ring_push(l->shm, &l->shm->alloc, &r.rec, 1);
}

void ws_ledger_callback(void *user, uint32_t domain, uint32_t id, const void *data) {
  struct ws_ledger *l = user;
  uint32_t armed = atomic_load_explicit(l->armed, memory_order_relaxed);
  if (armed == WS_DISARMED || !data) return;
  if (armed == WS_ENDED) {
    /* What libraries release while the process is taken down is of no interest. */
    if (domain == CUPTI_DOMAIN_DRIVER && id < WS_CALLBACK_IDS && l->work[id])
      ws_reason(l->shm, WS_REASON_UNDELIVERED);
    return;
  }
  if (l->ruler && domain < WS_RULER_DOMAINS &&
      ((const struct cupti_callback *)data)->callbackSite == CUPTI_EXIT)
    ws_ruler_count(l->ruler, domain, id);
  if (domain == CUPTI_DOMAIN_DRIVER && id < WS_CALLBACK_IDS && l->call[id]) {
    const struct cupti_callback *cb = data;
    if (cb->callbackSite == CUPTI_EXIT) {
      call_returned(l, ws_call_at(l->call[id]), id, cb);
      return;
    }
    if (is_slow(l, id)) atomic_fetch_add_explicit(&l->slow[id].came, 1, memory_order_relaxed);
    if (cb->correlationData) *cb->correlationData = ws_mono();
    return;
  }
  if (domain == CUPTI_DOMAIN_DRIVER && id < WS_CALLBACK_IDS && l->work[id]) {
    atomic_fetch_add(&l->late_work, 1);
    if (atomic_load(&l->over)) ws_reason(l->shm, WS_REASON_UNDELIVERED);
  }
  if (domain != CUPTI_DOMAIN_RESOURCE) return;
  switch (id) {
  case CUPTI_CONTEXT_CREATED:
  case CUPTI_CONTEXT_DESTROYING:
    context_changed(l, data, id == CUPTI_CONTEXT_CREATED);
    break;
  case CUPTI_MODULE_LOADED:
  case CUPTI_MODULE_UNLOADING:
    module_changed(l, data, id == CUPTI_MODULE_LOADED);
    break;
  default:
    break;
  }
}
