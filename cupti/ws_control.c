#define _GNU_SOURCE
#include "ws_control.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws_futex.h"
#include "ws_ledger.h"

#define MS 1000000ull
/* How long a thread waits until the worker has switched. CUPTI takes some milliseconds for it. */
#define PATIENCE (1000 * MS)
/* The same where the worker did not come in time twice: CUPTI may make it wait for this very
 * thread. */
#define PATIENCE_LOST (10 * MS)

enum { BEFORE = 0, ARMED = 1, OVER = 2 };
enum { CALLED_START = 1, CALLED_STOP = 2 };

/* The word: one atomic for everything, so that threads whose ranges begin and end at the same
 * moment agree on the order. */
#define ON 1ull
#define RANGE 2ull
#define NEXT (1ull << 32)
#define RANGES(word) ((uint32_t)(word) >> 1)
#define GENERATION(word) ((uint32_t)((word) >> 32))

/* ---- configuration ---- */

/* A number without sign, and what follows it; NULL: there is none. */
static const char *number_parse(const char *text, uint64_t *number) {
  char *end;
  if (*text < '0' || *text > '9') return NULL; /* strtoull takes spaces and signs */
  *number = strtoull(text, &end, 10);
  return *number < UINT64_MAX ? end : NULL;
}

static bool steps_parse(struct ws_when *when, const char *text) {
  text = number_parse(text, &when->first_step);
  when->last_step = when->first_step;
  if (text && *text == '-') text = number_parse(text + 1, &when->last_step);
  return text && *text == 0 && when->first_step > 0 && when->last_step >= when->first_step;
}

bool ws_when_parse(struct ws_when *when, const char *text) {
  *when = (struct ws_when){.trigger = WS_TRIGGER_ALWAYS};
  if (strcmp(text, "always") == 0) return true;
  if (strcmp(text, "cuda-profiler-api") == 0) {
    when->trigger = WS_TRIGGER_PROFILER;
    return true;
  }
  if (strcmp(text, "call") == 0) {
    when->trigger = WS_TRIGGER_CALL;
    return true;
  }
  if (strncmp(text, "nvtx:", 5) == 0) {
    size_t length = strlen(text + 5);
    if (length == 0 || length >= sizeof when->range) return false;
    memcpy(when->range, text + 5, length + 1);
    when->trigger = WS_TRIGGER_RANGE;
    return true;
  }
  if (strncmp(text, "steps:", 6) != 0 || !steps_parse(when, text + 6)) return false;
  when->trigger = WS_TRIGGER_STEPS;
  return true;
}

void ws_when_print(const struct ws_when *when, char *text, size_t size) {
  static const char *const words[] = {[WS_TRIGGER_ALWAYS] = "always",
                                      [WS_TRIGGER_PROFILER] = "cuda-profiler-api",
                                      [WS_TRIGGER_CALL] = "call"};
  if (when->trigger == WS_TRIGGER_RANGE)
    snprintf(text, size, "nvtx:%s", when->range);
  else if (when->trigger == WS_TRIGGER_STEPS)
    snprintf(text, size, "steps:%" PRIu64 "-%" PRIu64, when->first_step, when->last_step);
  else
    snprintf(text, size, "%s", when->trigger <= WS_TRIGGER_CALL ? words[when->trigger] : "");
}

/* ---- the word ---- */

enum event { START, STOP, RANGE_BEGINS, RANGE_ENDS };

static uint64_t after(uint64_t word, enum event event) {
  uint64_t now = word;
  switch (event) {
  case START:
    now |= ON;
    break;
  case STOP:
    now &= ~ON;
    break;
  case RANGE_BEGINS:
    if (RANGES(word) == 0) now |= ON;
    now += RANGE;
    break;
  case RANGE_ENDS:
    if (RANGES(word) == 0) break; /* it began before we looked */
    now -= RANGE;
    if (RANGES(now) == 0) now &= ~ON;
    break;
  }
  return (now ^ word) & ON ? now + NEXT : now;
}

static uint64_t apply(struct ws_control *c, enum event event) {
  uint64_t was = atomic_load(&c->word), now;
  do now = after(was, event);
  while (!atomic_compare_exchange_weak(&c->word, &was, now));
  return now;
}

/* Whether a worker is there to switch. Not in a forked child, which does not even see the memory.
 */
static bool is_live(struct ws_control *c) {
  return atomic_load(&c->life) == ARMED && atomic_load(c->armed) == WS_ARMED;
}

void ws_control_ring(struct ws_shm *shm) {
  __atomic_fetch_add(&shm->header->bell, 1, __ATOMIC_RELEASE);
  ws_futex_wake(&shm->header->bell, true);
}

static bool is_behind(uint32_t followed, uint32_t generation) {
  return (int32_t)(followed - generation) < 0;
}

/* Waits until the worker has come to what the word says. */
static int await(struct ws_control *c, uint64_t word) {
  uint32_t generation = GENERATION(word), followed = atomic_load(&c->followed);
  if (!is_behind(followed, generation)) return WS_CONTROL_DONE;
  ws_control_ring(c->shm);
  uint64_t deadline = ws_mono() + (atomic_load(&c->vain) < 2 ? PATIENCE : PATIENCE_LOST);
  while (is_behind(followed, generation) && atomic_load(&c->life) == ARMED) {
    uint64_t now = ws_mono();
    if (now >= deadline) {
      atomic_fetch_add(&c->vain, 1);
      return WS_CONTROL_LATE;
    }
    ws_futex_wait(&c->followed, followed, deadline - now, false);
    followed = atomic_load(&c->followed);
  }
  if (atomic_load(&c->life) != ARMED) return WS_CONTROL_OVER;
  atomic_store(&c->vain, 0);
  return WS_CONTROL_DONE;
}

static int happened(struct ws_control *c, enum event event) {
  uint64_t word = apply(c, event);
  return is_live(c) ? await(c, word) : WS_CONTROL_OVER;
}

/* ---- events ---- */

/* The step that is under way: the first until warpscope_step has been called. */
static bool in_steps(const struct ws_when *when, uint64_t counted) {
  return counted + 1 >= when->first_step && counted < when->last_step;
}

int ws_control_switch(struct ws_control *c, bool on) {
  if (atomic_load(&c->life) != BEFORE) return happened(c, on ? START : STOP);
  atomic_store(&c->called, on ? CALLED_START : CALLED_STOP);
  return WS_CONTROL_NOTED;
}

int ws_control_step(struct ws_control *c) {
  uint64_t counted = atomic_fetch_add(&c->steps, 1) + 1;
  if (atomic_load(&c->life) == BEFORE) return WS_CONTROL_NOTED;
  if (!is_live(c)) return WS_CONTROL_OVER;
  __atomic_store_n(&c->shm->header->steps, counted, __ATOMIC_RELAXED);
  if (c->when.trigger != WS_TRIGGER_STEPS ||
      in_steps(&c->when, counted) == in_steps(&c->when, counted - 1))
    return WS_CONTROL_DONE;
  /* Two threads may be here for the two ends: both follow the newest count. */
  int result;
  do {
    counted = atomic_load(&c->steps);
    result = happened(c, in_steps(&c->when, counted) ? START : STOP);
  } while (counted != atomic_load(&c->steps));
  return result;
}

void ws_control_range(struct ws_control *c, bool begins) {
  happened(c, begins ? RANGE_BEGINS : RANGE_ENDS);
}

bool ws_control_callback(struct ws_control *c,
                         uint32_t domain,
                         uint32_t id,
                         const struct cupti_callback *data) {
  if (c->when.trigger != WS_TRIGGER_PROFILER || domain == 0 || domain > 2) return false;
  bool start = id == c->profiler[domain][0];
  if (!start && id != c->profiler[domain][1]) return false;
  /* The runtime's call contains the driver's: the second of the two finds it done. */
  if (data->callbackSite == (start ? CUPTI_EXIT : CUPTI_ENTER)) happened(c, start ? START : STOP);
  return true;
}

/* ---- the capture's side ---- */

bool ws_control_open(struct ws_control *c,
                     struct ws_shm *shm,
                     const struct ws_cupti *cupti,
                     const _Atomic uint32_t *armed,
                     const struct ws_when *when) {
  c->shm = shm;
  c->cupti = cupti;
  c->armed = armed;
  c->when = *when;
  shm->header->trigger = when->trigger;
  shm->header->steps = atomic_load(&c->steps);
  uint64_t was = atomic_load(&c->word);
  uint32_t called = atomic_load(&c->called);
  bool on = when->trigger == WS_TRIGGER_ALWAYS ||
            (when->trigger == WS_TRIGGER_RANGE && RANGES(was) > 0) ||
            (when->trigger == WS_TRIGGER_STEPS && in_steps(when, atomic_load(&c->steps)));
  if (called) on = called == CALLED_START;
  while (!atomic_compare_exchange_weak(&c->word, &was, on ? was | ON : was & ~ON)) {
  }
  atomic_store(&c->followed, GENERATION(was));
  c->seen = GENERATION(was);
  shm->header->openings = on;
  atomic_store(&c->life, ARMED);
  return on;
}

void ws_control_subscribe(struct ws_control *c, void *subscriber) {
  /* The runtime's names end in a version: cudaProfilerStart_v4000. */
  static const char *const names[3][2] = {
      {0}, {"cuProfilerStart", "cuProfilerStop"}, {"cudaProfilerStart", "cudaProfilerStop"}};
  if (c->when.trigger != WS_TRIGGER_PROFILER) return;
  for (uint32_t domain = CUPTI_DOMAIN_DRIVER; domain <= CUPTI_DOMAIN_RUNTIME; domain++) {
    for (uint32_t id = 1; id < 2048; id++) {
      const char *name = NULL;
      if (c->cupti->callback_name(domain, id, &name) != CUPTI_OK || !name) continue;
      for (int i = 0; i < 2; i++) {
        if (strncmp(name, names[domain][i], strlen(names[domain][i])) != 0) continue;
        if (c->cupti->enable_callback(1, subscriber, domain, id) == CUPTI_OK)
          c->profiler[domain][i] = id;
      }
    }
  }
}

bool ws_control_wants(struct ws_control *c, uint32_t *generation) {
  uint64_t word = atomic_load(&c->word);
  *generation = GENERATION(word);
  if (c->seen != *generation && word & ON)
    __atomic_fetch_add(&c->shm->header->openings, 1, __ATOMIC_RELAXED);
  c->seen = *generation;
  return word & ON && __atomic_load_n(&c->shm->header->want_timeline, __ATOMIC_ACQUIRE) != 0;
}

void ws_control_followed(struct ws_control *c, uint32_t generation) {
  if (atomic_exchange(&c->followed, generation) != generation) ws_futex_wake(&c->followed, false);
}

void ws_control_close(struct ws_control *c) {
  atomic_store(&c->life, OVER);
  /* A new value, so that nobody goes to sleep on the old one. */
  atomic_fetch_add(&c->followed, 1);
  ws_futex_wake(&c->followed, false);
}
