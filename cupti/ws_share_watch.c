#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ws_share_inside.h"

/* A tool that comes by nobody registers its buffers without our notice, and CUPTI hands ours to it,
 * with all records. What CUPTI can be asked for at any time is a list of the devices, as records:
 * where they do not come back, somebody else has got them. The question is put when the timeline
 * begins, until it has once shown that this CUPTI answers it (there may be no context yet), and
 * again when no buffer has come for a while. In an idle program that is twice a second. */
/* Before 13.0 CUPTI keeps records of all threads in one buffer and holds it back while any kernel
 * in it runs. What tells there is whether the answer was written: into a buffer of ours, or for
 * want of one CUPTI has asked for one. */
#define BUFFER_PER_THREAD 130000u
#define QUIET (400 * 1000000ull)
#define QUESTIONS 2u
/* So often the first question is put before it is given up. */
#define TRIES 40u

enum answer { NONE, REFUSED, ANSWERED };

static struct {
  uint64_t since; /* the last buffer came, or the question was answered */
  uint64_t came;
  uint32_t unanswered;
  bool answers; /* this CUPTI does, at any time */
  bool returns; /* the answer comes back with a flush, where nothing holds it */
  uint32_t tries;
  _Atomic bool asked, robbed;
} watch;

static uint64_t mono(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* *written: the answer was there before the flush. */
static enum answer ask(uint32_t flush, bool *written) {
  uint64_t came = atomic_load(&ws_shared.came), went = atomic_load(&ws_shared.went);
  bool shared = ws_shared.real.version < BUFFER_PER_THREAD;
  uint64_t sum = shared ? ws_shared_written() : 0;
  atomic_store(&watch.asked, true);
  bool had = ws_lock_take(&ws_shared.switching);
  int r = ws_shared.enable_and_dump(CUPTI_KIND_DEVICE);
  if (r == CUPTI_OK && !ws_shared.really[CUPTI_KIND_DEVICE])
    ws_shared.real.activity_disable(CUPTI_KIND_DEVICE);
  ws_lock_let_go(&ws_shared.switching, had);
  *written = shared && (atomic_load(&ws_shared.went) != went || ws_shared_written() != sum);
  if (r == CUPTI_OK) r = ws_shared_flush(flush);
  if (r != CUPTI_OK) return REFUSED; /* which says nothing */
  return *written || atomic_load(&ws_shared.came) != came ? ANSWERED : NONE;
}

/* The first question, until it is answered. */
static void try(uint64_t now) {
  bool written, shared = ws_shared.real.version < BUFFER_PER_THREAD;
  uint64_t came = atomic_load(&ws_shared.came);
  watch.tries++;
  bool answered = ask(CUPTI_FLUSH_NORMAL, &written) == ANSWERED;
  watch.returns = answered && atomic_load(&ws_shared.came) != came;
  watch.answers = shared ? written : watch.returns;
  watch.since = now;
  watch.came = atomic_load(&ws_shared.came);
}

void ws_shared_watch(bool forced) {
  if (!ws_shared.enable_and_dump || !ws_share_has_buffers() || atomic_load(&watch.robbed)) return;
  uint64_t now = mono(), came = atomic_load(&ws_shared.came);
  bool written;
  if (forced) { /* nothing holds an answer now */
    if (watch.returns && !watch.answers && ask(CUPTI_FLUSH_FORCED, &written) == NONE)
      atomic_store(&watch.robbed, true);
    return;
  }
  /* Again when buffers have come since: now there is a context. */
  if (!watch.answers && !watch.returns && watch.tries < TRIES &&
      (!watch.tries || came != watch.came)) {
    try(now);
    return;
  }
  if (came != watch.came) {
    watch.came = came;
    watch.since = now;
    watch.unanswered = 0;
    return;
  }
  if (!watch.answers || now - watch.since < QUIET) return;
  if (ask(CUPTI_FLUSH_NORMAL, &written) != NONE) {
    watch.unanswered = 0;
    watch.came = atomic_load(&ws_shared.came);
    watch.since = now;
  } else if (++watch.unanswered >= QUESTIONS) {
    atomic_store(&watch.robbed, true);
  }
}

bool ws_shared_has_asked(void) { return atomic_load_explicit(&watch.asked, memory_order_relaxed); }

bool ws_share_is_robbed(void) { return atomic_load_explicit(&watch.robbed, memory_order_relaxed); }

void ws_share_reclaim(void) {
  cupti_request_fn request = atomic_load(&ws_shared.request);
  cupti_complete_fn complete = atomic_load(&ws_shared.complete);
  if (request && complete) ws_our_register(request, complete);
  /* What is on in CUPTI is not known: the other tool has switched kinds as it pleased. */
  memset(ws_shared.really, 0, sizeof ws_shared.really);
  memset(ws_shared.really_call, 0, sizeof ws_shared.really_call);
  for (uint32_t i = 0; i < 3; i++) ws_shared.spoilt[i] = true;
  watch.unanswered = 0;
  watch.answers = watch.returns = false;
  watch.tries = 0;
  atomic_store(&watch.robbed, false);
}
