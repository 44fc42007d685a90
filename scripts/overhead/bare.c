/* bare.c: a CUPTI consumer that does nothing with what it gets.
 *
 * What it costs is CUPTI's own price for a set of records; a capture of the same records can cost
 * more, never less. Buffers come from a pool that is filled, touched and recycled outside of what
 * is measured, and a full one goes straight back, unread.
 *
 * Built into libbare.so, loaded by ctypes (overhead/switches.py) or, with BARE_KINDS set, by
 * CUDA_INJECTION64_PATH. Kinds are CUpti_ActivityKind numbers, "launch" (the calls that
 * `warpscope run --api launch` records) and "allocations" (empty callbacks on the allocation
 * calls).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "ws_calls.h"
#include "ws_load.h"

#define EXPORT __attribute__((visibility("default")))
/* More than any CUPTI has callbacks of one domain. */
#define CALLS 2048u
#define KINDS_MAX 32

EXPORT int bare_start(const char *kinds);
EXPORT int bare_stop(void);
EXPORT int bare_finalise(void);
EXPORT uint64_t bare_strangers(void);
EXPORT int InitializeInjection(void);

static struct {
  struct ws_cupti cupti;
  bool loaded, launches, watched;
  void *subscriber;
  uint32_t kinds[KINDS_MAX];
  int count;
  _Atomic uint64_t strangers;
} bare;

static void complete(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  (void)context, (void)stream, (void)size, (void)valid;
  /* CUPTI may hand over what another consumer of this process had given it: not ours to use. */
  if (!pool_give(buffer)) atomic_fetch_add(&bare.strangers, 1);
}

static void on_call(void *user, uint32_t domain, uint32_t id, const void *data) {
  (void)user, (void)domain, (void)id, (void)data;
}

/* Single launch calls of both domains; before CUPTI 12.5 only all calls can be had. */
static int set_launches(bool on) {
  const struct ws_cupti *c = &bare.cupti;
  int failed = 0;
  for (uint32_t domain = CUPTI_DOMAIN_DRIVER; domain <= CUPTI_DOMAIN_RUNTIME; domain++) {
    bool driver = domain == CUPTI_DOMAIN_DRIVER;
    int (*single)(uint32_t, uint8_t) = driver ? c->enable_driver_api : c->enable_runtime_api;
    if (!single) {
      uint32_t kind = driver ? CUPTI_KIND_DRIVER : CUPTI_KIND_RUNTIME;
      failed |= on ? c->activity_enable(kind) : c->activity_disable(kind);
      continue;
    }
    for (uint32_t id = 1; id < CALLS; id++) {
      const char *name = NULL;
      if (c->callback_name(domain, id, &name) != CUPTI_OK || !name || !ws_call_is_launch(name))
        continue;
      failed |= single(id, on);
    }
  }
  return failed;
}

static int watch_allocations(bool on) {
  const struct ws_cupti *c = &bare.cupti;
  int failed = bare.subscriber ? CUPTI_OK : c->subscribe(&bare.subscriber, on_call, NULL);
  for (uint32_t id = 1; id < CALLS && !failed; id++) {
    const char *name = NULL;
    if (c->callback_name(CUPTI_DOMAIN_DRIVER, id, &name) == CUPTI_OK && name && ws_call_find(name))
      failed = c->enable_callback(on, bare.subscriber, CUPTI_DOMAIN_DRIVER, id);
  }
  return failed;
}

static int enable(const char *word) {
  if (strcmp(word, "launch") == 0) {
    bare.launches = true;
    return set_launches(true);
  }
  if (strcmp(word, "allocations") == 0) {
    bare.watched = true;
    return watch_allocations(true);
  }
  int kind = atoi(word);
  if (kind <= 0 || bare.count == KINDS_MAX) return -1;
  int failed = bare.cupti.activity_enable((uint32_t)kind);
  if (!failed) bare.kinds[bare.count++] = (uint32_t)kind;
  return failed;
}

/* 0, or CUPTI's error (-1: no CUPTI was found, or no such kind); nothing is enabled then. */
int bare_start(const char *kinds) {
  if (!bare.loaded && !ws_load_cupti(&bare.cupti)) return -1;
  bare.loaded = true;
  pool_fill();
  char words[256], *rest = NULL;
  snprintf(words, sizeof words, "%s", kinds);
  /* Whoever recorded before gets its buffers back, before the callbacks are ours. */
  bare.cupti.flush_all(CUPTI_FLUSH_FORCED);
  int failed = bare.cupti.register_callbacks(pool_take, complete);
  for (char *w = strtok_r(words, ",", &rest); w && !failed; w = strtok_r(NULL, ",", &rest))
    failed = enable(w);
  if (failed) bare_stop();
  return failed;
}

/* 0, or CUPTI's error; what was recorded has been delivered afterwards. */
int bare_stop(void) {
  if (!bare.loaded) return -1;
  int failed = 0;
  if (bare.launches) failed |= set_launches(false);
  if (bare.watched) failed |= watch_allocations(false);
  for (int i = 0; i < bare.count; i++) failed |= bare.cupti.activity_disable(bare.kinds[i]);
  bare.launches = bare.watched = false;
  bare.count = 0;
  int flushed = bare.cupti.flush_all(CUPTI_FLUSH_FORCED); /* no buffer of ours stays with CUPTI */
  return failed ? failed : flushed;
}

/* 0, CUPTI's error, or -1. CUPTI lets go of the process; bare_start begins anew. */
int bare_finalise(void) {
  int (*finalize)(void) = NULL;
  if (bare.loaded) *(void **)&finalize = dlsym(bare.cupti.handle, "cuptiFinalize");
  int failed = finalize ? finalize() : -1;
  if (!failed) bare.subscriber = NULL;
  return failed;
}

uint64_t bare_strangers(void) { return atomic_load(&bare.strangers); }

/* Called by the driver as it initialises, for programs that load nothing themselves. */
int InitializeInjection(void) {
  const char *kinds = getenv("BARE_KINDS");
  if (!kinds || !*kinds) return 1;
  int failed = bare_start(kinds);
  if (failed) fprintf(stderr, "libbare.so: CUPTI's error %d, nothing is recorded\n", failed);
  return 1;
}
