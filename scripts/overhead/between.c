/* between.c: stands between warpscope's library and CUPTI in a measured process.
 *
 * Loaded in CUPTI's place (WARPSCOPE_CUPTI), it passes everything on, but can be told to
 *   - throw records away instead (between_bare): the same kinds are on, switched by the same calls,
 *     and their buffers are recycled unread, with no flush and no callback of the library's. What
 *     differs from warpscope is what warpscope itself costs, in the same process, step by step;
 *   - hold back the calls' records (between_calls), which makes --api=none of --api=launch;
 *   - take the library's callbacks off, or some of them (between_mute): CUPTI is there and the
 * ledger is not. What it does not define comes from CUPTI itself, which it is linked to: dlsym on
 * its handle finds that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "pool.h"
#include "ws_calls.h"
#include "ws_cupti.h"

#define EXPORT __attribute__((visibility("default")))
#define REFUSED 999 /* CUPTI_ERROR_UNKNOWN */
#define WATCHED_MOST 512
#define CALLS 2048u

typedef void (*request_fn)(uint8_t **, size_t *, size_t *);
typedef void (*complete_fn)(void *, uint32_t, uint8_t *, size_t, size_t);
typedef void (*callback_fn)(void *, uint32_t, uint32_t, const void *);

/* Which callbacks are off. */
enum {
  MUTE_NONE = 0,
  MUTE_ALL = 1,
  MUTE_SLOW = 2,    /* those on calls that are watched for failure alone */
  MUTE_BUT_ONE = 3, /* all but one that no program calls */
  MUTE_NEVER = 4    /* none, nor those that the library has let go */
};

EXPORT int cuptiActivityRegisterCallbacks(request_fn request, complete_fn complete);
EXPORT int cuptiActivityFlushAll(uint32_t flag);
EXPORT int cuptiSubscribe(void **subscriber, callback_fn callback, void *user);
EXPORT int cuptiActivityEnableAndDump(uint32_t kind);
EXPORT int cuptiActivityEnableDriverApi(uint32_t id, uint8_t on);
EXPORT int cuptiActivityEnableRuntimeApi(uint32_t id, uint8_t on);
EXPORT int cuptiEnableCallback(uint32_t on, void *subscriber, uint32_t domain, uint32_t id);
EXPORT int between_bare(int on);
EXPORT void between_calls(int on);
EXPORT int between_mute(int which);
EXPORT void between_look(int on);
EXPORT uint64_t between_bytes(void);
EXPORT uint64_t between_records(uint32_t kind);
EXPORT uint32_t between_watched(void);
EXPORT uint64_t between_called(uint32_t id);
EXPORT const char *between_name(uint32_t id);
EXPORT const char *between_path(void);
EXPORT uint32_t between_version(void);

static struct {
  int (*register_callbacks)(request_fn, complete_fn);
  int (*flush_all)(uint32_t);
  int (*enable_and_dump)(uint32_t);
  int (*enable_driver_api)(uint32_t, uint8_t);
  int (*enable_runtime_api)(uint32_t, uint8_t);
  int (*enable_callback)(uint32_t, void *, uint32_t, uint32_t);
  int (*next_record)(uint8_t *, size_t, struct cupti_record **);
  int (*get_version)(uint32_t *);
  int (*subscribe)(void **, callback_fn, void *);
  int (*callback_name)(uint32_t, uint32_t, const char **);
  char path[512];
} real;

struct watch {
  void *subscriber;
  uint32_t domain, id;
  bool on; /* as the library wants it */
};

static struct {
  request_fn request;
  complete_fn complete;
  _Atomic bool bare, no_calls, look;
  int muted;
  callback_fn callback;
  _Atomic uint64_t bytes;
  _Atomic uint64_t called[CALLS]; /* by id of the driver's calls: how often a callback was called */
  _Atomic uint64_t records[256];
  _Atomic uint32_t watched;
  struct watch watch[WATCHED_MOST];
} between;

#define FIND(field, name) (*(void **)&real.field = dlsym(handle, name))

/* Before the library is there, whose table of functions would else be in the way. */
__attribute__((constructor)) static void find(void) {
  void *handle = dlopen("libcupti.so.13", RTLD_NOW | RTLD_NOLOAD);
  Dl_info where;
  if (!handle) return;
  FIND(register_callbacks, "cuptiActivityRegisterCallbacks");
  FIND(flush_all, "cuptiActivityFlushAll");
  FIND(enable_and_dump, "cuptiActivityEnableAndDump");
  FIND(enable_driver_api, "cuptiActivityEnableDriverApi");
  FIND(enable_runtime_api, "cuptiActivityEnableRuntimeApi");
  FIND(enable_callback, "cuptiEnableCallback");
  FIND(next_record, "cuptiActivityGetNextRecord");
  FIND(get_version, "cuptiGetVersion");
  FIND(subscribe, "cuptiSubscribe");
  FIND(callback_name, "cuptiGetCallbackName");
  if (real.get_version && dladdr(*(void **)&real.get_version, &where) && where.dli_fname)
    snprintf(real.path, sizeof real.path, "%s", where.dli_fname);
  pool_fill();
}

static void request(uint8_t **buffer, size_t *size, size_t *most) {
  if (atomic_load(&between.bare))
    pool_take(buffer, size, most);
  else
    between.request(buffer, size, most);
}

static void count(uint8_t *buffer, size_t valid) {
  struct cupti_record *record = NULL;
  while (real.next_record(buffer, valid, &record) == CUPTI_OK)
    if (record->kind < 256) atomic_fetch_add(&between.records[record->kind], 1);
}

static void complete(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  bool look = atomic_load(&between.look);
  if (look && atomic_load(&between.bare)) count(buffer, valid);
  if (pool_give(buffer))
    atomic_fetch_add(&between.bytes, valid);
  else
    between.complete(context, stream, buffer, size, valid);
}

int cuptiActivityRegisterCallbacks(request_fn theirs, complete_fn done) {
  between.request = theirs;
  between.complete = done;
  return real.register_callbacks(request, complete);
}

int cuptiActivityFlushAll(uint32_t flag) {
  return atomic_load(&between.bare) ? CUPTI_OK : real.flush_all(flag);
}

/* The library asks so whether its buffers were stolen; a refusal is no answer to it. */
int cuptiActivityEnableAndDump(uint32_t kind) {
  return atomic_load(&between.bare) || !real.enable_and_dump ? REFUSED : real.enable_and_dump(kind);
}

int cuptiActivityEnableDriverApi(uint32_t id, uint8_t on) {
  return atomic_load(&between.no_calls) ? CUPTI_OK : real.enable_driver_api(id, on);
}

int cuptiActivityEnableRuntimeApi(uint32_t id, uint8_t on) {
  return atomic_load(&between.no_calls) ? CUPTI_OK : real.enable_runtime_api(id, on);
}

static void called(void *user, uint32_t domain, uint32_t id, const void *data) {
  if (atomic_load_explicit(&between.look, memory_order_relaxed) && domain == CUPTI_DOMAIN_DRIVER &&
      id < CALLS)
    atomic_fetch_add(&between.called[id], 1);
  between.callback(user, domain, id, data);
}

int cuptiSubscribe(void **subscriber, callback_fn callback, void *user) {
  between.callback = callback;
  return real.subscribe(subscriber, called, user);
}

static bool is_muted(int which, uint32_t domain, uint32_t id) {
  if (which != MUTE_SLOW && which != MUTE_BUT_ONE) return which == MUTE_ALL;
  const char *name = between_name(id);
  if (which == MUTE_BUT_ONE) return strcmp(name, "cuMipmappedArrayDestroy") != 0;
  unsigned call = domain == CUPTI_DOMAIN_DRIVER ? ws_call_find(name) : 0;
  return call && ws_call_at(call)->op == WS_OP_FAILED;
}

/* Whether CUPTI has it on. */
static bool is_on(int which, uint32_t i) {
  const struct watch *w = &between.watch[i];
  return which == MUTE_NEVER || (w->on && !is_muted(which, w->domain, w->id));
}

/* Of the driver's and the runtime's calls; what tells of contexts and modules stays. */
int cuptiEnableCallback(uint32_t on, void *subscriber, uint32_t domain, uint32_t id) {
  if (domain < CUPTI_DOMAIN_DRIVER || domain > CUPTI_DOMAIN_RUNTIME)
    return real.enable_callback(on, subscriber, domain, id);
  uint32_t n = atomic_load(&between.watched), i = 0;
  while (i < n && (between.watch[i].domain != domain || between.watch[i].id != id)) i++;
  bool was = i < n && is_on(between.muted, i);
  if (i == WATCHED_MOST) return REFUSED;
  between.watch[i] = (struct watch){subscriber, domain, id, on != 0};
  bool now = is_on(between.muted, i);
  if (i == n) atomic_store(&between.watched, n + 1);
  return was == now ? CUPTI_OK : real.enable_callback(now, subscriber, domain, id);
}

/* 0 or CUPTI's error. What each side recorded is delivered to it first: nothing may run meanwhile.
 */
int between_bare(int on) {
  int failed = real.flush_all(CUPTI_FLUSH_FORCED);
  atomic_store(&between.bare, on != 0);
  return failed;
}

/* Only while nothing is recorded. */
void between_calls(int on) { atomic_store(&between.no_calls, on == 0); }

/* 0 or CUPTI's error. */
int between_mute(int which) {
  int failed = 0, before = between.muted;
  uint32_t n = atomic_load(&between.watched);
  between.muted = which;
  for (uint32_t i = 0; i < n && which != before; i++) {
    const struct watch *w = &between.watch[i];
    bool now = is_on(which, i);
    if (is_on(before, i) != now)
      failed |= real.enable_callback(now, w->subscriber, w->domain, w->id);
  }
  return failed;
}

void between_look(int on) { atomic_store(&between.look, on != 0); }
uint64_t between_bytes(void) { return atomic_load(&between.bytes); }
uint64_t between_records(uint32_t kind) {
  return kind < 256 ? atomic_load(&between.records[kind]) : 0;
}
uint32_t between_watched(void) { return atomic_load(&between.watched); }
const char *between_path(void) { return real.path; }
uint32_t between_version(void) {
  uint32_t version = 0;
  if (real.get_version) real.get_version(&version);
  return version;
}

uint64_t between_called(uint32_t id) { return id < CALLS ? atomic_load(&between.called[id]) : 0; }
const char *between_name(uint32_t id) {
  const char *name = NULL;
  if (!real.callback_name || real.callback_name(CUPTI_DOMAIN_DRIVER, id, &name) != CUPTI_OK)
    return "";
  return name ? name : "";
}
