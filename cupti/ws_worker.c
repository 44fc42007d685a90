#define _GNU_SOURCE
#include "ws_worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ws_buffers.h"
#include "ws_compat.h"
#include "ws_devices.h"
#include "ws_futex.h"
#include "ws_maps.h"
#include "ws_share.h"
#include "ws_unwind.h"

#define MS 1000000ull
/* How often the worker looks for full buffers. */
#define TURN (20 * MS)
/* How often CUPTI is asked for what it has: what SIGKILL can lose. */
#define FLUSH_EVERY (250 * MS)
/* For how long after the timeline was switched off: what was launched before ends by then. */
#define FLUSH_AFTER (2000 * MS)
/* How long the end waits for buffers that other threads have in hand. */
#define SETTLE (20 * MS)
#define CLOCK_EVERY (1000 * MS)
#define HOUSEKEEPING_EVERY (100 * MS)
/* The worker's own stack: what a program has set as the default for its threads may be too small
 * for CUPTI, or more than its limits leave. */
#define STACK (1u << 20)
#define STACK_LEAST (128u << 10)

void ws_worker_open(struct ws_worker *w,
                    struct ws_shm *shm,
                    struct ws_arena *arena,
                    const struct ws_cupti *cupti,
                    struct ws_ledger *ledger,
                    struct ws_control *control,
                    const struct ws_config *config) {
  w->shm = shm;
  w->arena = arena;
  w->cupti = cupti;
  w->ledger = ledger;
  w->control = control;
  w->config = *config;
  if (config->late) w->contexts_seen = UINT32_MAX; /* there are some: their devices are described */
  w->decoder.shm = shm;
  w->decoder.arena = arena;
  w->decoder.cupti = cupti;
  w->timeline = (struct ws_timeline){
      .shm = shm, .cupti = cupti, .config = &w->config, .hidden = w->decoder.call_hidden};
}

void ws_worker_clock(struct ws_worker *w) {
  struct ws_clock best = {.rec = {.type = WS_REC_CLOCK}};
  uint64_t width = UINT64_MAX;
  for (int i = 0; i < 20; i++) {
    uint64_t cupti = 0;
    uint64_t before = ws_mono();
    if (w->cupti->timestamp(&cupti) != CUPTI_OK) continue;
    uint64_t after = ws_mono();
    if (after - before >= width) continue;
    width = after - before;
    best.cupti = cupti;
    best.mono_before = before;
    best.mono_after = after;
    best.wall = ws_wall();
  }
  if (best.cupti) {
    ws_ring_push(w->shm, &w->shm->alloc, &best.rec, 1);
    w->clock_read = true;
    __atomic_fetch_and(&w->shm->header->reason, ~(1u << WS_REASON_NO_CLOCK), __ATOMIC_RELAXED);
  } else if (!w->clock_read) {
    ws_reason(w->shm, WS_REASON_NO_CLOCK);
  }
}

/* Where frames say nothing: CUPTI's code and our own. */
static void learn_inside(struct ws_worker *w, const struct ws_maps_module *m) {
  struct ws_ledger *l = w->ledger;
  uint64_t here = (uint64_t)(uintptr_t)&ws_worker_maps;
  unsigned which = strcmp(m->path, w->cupti->path) == 0  ? 0
                   : here - m->start < m->end - m->start ? 1
                                                         : 2;
  if (which == 2) return;
  atomic_store(&l->inside[which].start, m->start);
  atomic_store(&l->inside[which].end, m->end);
}

void ws_worker_maps(struct ws_worker *w) {
  w->unknown_seen = ws_unwind_unknown();
  if (ws_maps_refresh() != 1) return;
  const struct ws_maps_snapshot *s = ws_maps_current();
  struct ws_map *maps = s ? calloc(s->count, sizeof *maps) : NULL;
  if (!maps) return;
  for (uint32_t i = 0; i < s->count; i++) {
    const struct ws_maps_module *m = &s->modules[i];
    learn_inside(w, m);
    maps[i] = (struct ws_map){
        .base = m->base,
        .start = m->start,
        .end = m->end,
        .path = ws_arena_bytes(w->arena, m->path, m->path_length, WS_REC_ALLOC),
        .build_id = m->build_id[0] ? ws_arena_string(w->arena, m->build_id, WS_REC_ALLOC) : 0,
    };
  }
  struct ws_maps head = {s->count, s->generation};
  uint32_t id =
      ws_arena_append(w->arena, WS_OBJ_MAPS, &head, sizeof head, maps, s->count * sizeof *maps);
  free(maps);
  if (!id) {
    ws_lost(w->shm, WS_REC_ALLOC, WS_LOSS_ARENA_FULL, 1);
    return;
  }
  atomic_store(&w->ledger->maps, id);
  __atomic_store_n(&w->shm->header->maps, id, __ATOMIC_RELEASE);
}

/* What CUPTI dropped since it was asked last. */
static void count_dropped(struct ws_worker *w, void *context, uint32_t stream) {
  size_t dropped = 0;
  if (w->cupti->dropped(context, stream, &dropped) != CUPTI_OK)
    ws_reason(w->shm, WS_REASON_UNDELIVERED);
  else if (dropped)
    ws_lost(w->shm, WS_REC_PAD, WS_LOSS_CUPTI, dropped);
}

static bool drain_one(struct ws_worker *w) {
  struct ws_filled f;
  if (!ws_buffers_next(&f)) return false;
  ws_shm_secure(w->shm); /* more than one buffer's records fit into what it keeps ahead */
  if (f.discarded)
    ws_decode_lost(&w->decoder, f.data, f.valid);
  else
    ws_decode(&w->decoder, f.data, f.valid);
  ws_buffers_recycle(f.data);
  count_dropped(w, f.context, f.stream);
  return true;
}

static void drain(struct ws_worker *w) {
  while (drain_one(w)) {
  }
}

/* began: of a switch of the timeline, when it began; else 0. */
static void change_state(struct ws_worker *w, uint32_t state, uint64_t began) {
  struct ws_state_change r = {.rec = {.type = WS_REC_STATE},
                              .time = ws_mono(),
                              .state = state,
                              .began = began,
                              .taken = began ? w->timeline.taken : 0,
                              .reason = __atomic_load_n(&w->shm->header->reason, __ATOMIC_RELAXED)};
  ws_ring_push(w->shm, &w->shm->alloc, &r.rec, 1);
  __atomic_store_n(&w->shm->header->state, state, __ATOMIC_RELEASE);
}

/* Switches the timeline as the reader and the trigger want it; threads of the program wait for it.
 */
static void follow(struct ws_worker *w) {
  uint32_t generation;
  bool want = ws_control_wants(w->control, &generation), was = w->timeline.on;
  if (!want) w->stepped_back = false;
  if (w->timeline_possible && want != was && !w->stepped_back) {
    uint64_t began = ws_mono();
    if (ws_share_is_robbed()) ws_share_reclaim(); /* the user wants the timeline back */
    if (ws_timeline_set(&w->timeline, want) == CUPTI_OK) {
      change_state(w, want ? WS_STATE_ARMED : WS_STATE_PAUSED, began);
    } else {
      ws_reason(w->shm, WS_REASON_ACTIVITY_FAILED);
      w->timeline_possible = false;
      ws_control_close(w->control);
    }
  }
  ws_control_followed(w->control, generation);
  if (!was || w->timeline.on) return;
  if (w->cupti->flush_all(CUPTI_FLUSH_NORMAL) != CUPTI_OK) ws_reason(w->shm, WS_REASON_UNDELIVERED);
  /* What was launched before may still have to run. */
  w->flush_until = ws_mono() + FLUSH_AFTER;
}

/* Another tool has CUPTI's buffers now. What is on stays on, since it may want the same. */
static void step_back(struct ws_worker *w) {
  if (!w->timeline.on || !ws_share_is_robbed()) return;
  w->timeline.on = false;
  w->stepped_back = true;
  ws_reason(w->shm, WS_REASON_BUFFERS_TAKEN);
  ws_reason(w->shm, WS_REASON_UNDELIVERED);
  change_state(w, WS_STATE_PAUSED, 0);
}

static void housekeeping(struct ws_worker *w, uint64_t now) {
  __atomic_store_n(&w->shm->header->heartbeat, now, __ATOMIC_RELAXED);
  ws_worker_maps(w);
  uint32_t contexts = atomic_load(&w->ledger->contexts);
  /* A reader that comes later has not read the descriptions. */
  uint32_t readers = __atomic_load_n(&w->shm->header->readers, __ATOMIC_ACQUIRE);
  if (contexts != w->contexts_seen || readers != w->readers_seen) {
    w->contexts_seen = contexts;
    w->readers_seen = readers;
    ws_devices_describe(w->shm, w->arena, &w->driver);
  }
  uint64_t pools = atomic_load(&w->ledger->pools);
  if (pools != w->pools_seen) {
    w->pools_seen = pools;
    ws_devices_pools(w->shm, &w->driver);
  }
}

/* The last chance: once more if it fails. */
static void flush_last(struct ws_worker *w) {
  for (int i = 0; i < 2; i++)
    if (w->cupti->flush_all(CUPTI_FLUSH_FORCED) == CUPTI_OK) return;
  ws_reason(w->shm, WS_REASON_UNDELIVERED);
}

/* The program's threads launch on while exit takes everything down, CUPTI's own data too, and each
 * of their launches would lead into it. That work is missing is said already. */
static void let_go(struct ws_worker *w) {
  ws_reason(w->shm, WS_REASON_UNDELIVERED);
  if (w->subscriber) ws_ledger_watch_work(w->ledger, w->subscriber, false);
  ws_timeline_set(&w->timeline, false);
  flush_last(w);
  drain(w);
  /* A thread that filled its buffer may be on its way to give it back. */
  for (uint64_t until = ws_mono() + SETTLE; ws_buffers_out() && ws_mono() < until; drain(w))
    usleep(1000);
  drain(w);
}

static void end(struct ws_worker *w) {
  follow(w);
  ws_control_close(w->control);
  housekeeping(w, ws_mono());
  if (!w->timeline.on && w->flush_until) {
    flush_last(w);
    drain(w);
  }
  if (w->timeline.on) {
    if (w->subscriber) ws_ledger_watch_work(w->ledger, w->subscriber, true);
    /* What other threads launch meanwhile comes with one flush more, or is said to be missing. */
    uint64_t seen = atomic_load(&w->ledger->late_work), before = seen + 1;
    for (int i = 0; i < 3 && seen != before; i++) {
      before = seen;
      flush_last(w);
      drain(w);
      seen = atomic_load(&w->ledger->late_work);
    }
    atomic_store(&w->ledger->over, 1);
    if (atomic_load(&w->ledger->late_work) != before) let_go(w);
    count_dropped(w, NULL, 0); /* where everything was dropped no buffer came */
    step_back(w);
  }
  ws_worker_clock(w);
  change_state(w, WS_STATE_FINISHED, 0);
}

/* Whether all of the program's threads have ended, so that this one alone keeps the process there:
 * the program's last thread left by pthread_exit, or by the system call, and not by exit. *status
 * is the main thread's, as the system call got it. */
static bool is_alone(int *status) {
  char stat[1024];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, stat, sizeof stat - 1);
  close(fd);
  stat[n > 0 ? n : 0] = 0;
  char *p = strrchr(stat, ')'); /* the name before it may hold anything */
  if (!p || p[1] != ' ' || p[2] != 'Z') return false;
  for (int field = 2; p && field < 20; field++) p = strchr(p + 1, ' ');
  if (!p || atoi(p + 1) != 2) return false; /* the main thread, which is a zombie, and this one */
  for (int field = 20; p && field < 52; field++) p = strchr(p + 1, ' ');
  *status = p ? atoi(p + 1) >> 8 : 0;
  return true;
}

static void *run(void *user) {
  struct ws_worker *w = user;
  uint64_t next_flush = 0, next_clock = 0, next_housekeeping = 0, position = UINT64_MAX;
  prctl(PR_SET_NAME, "warpscope");
  w->decoder.own_thread = (uint32_t)syscall(SYS_gettid);
  ws_share_set_worker(w->decoder.own_thread);
  int status = 0;
  uint32_t *bell = &w->shm->header->bell, seen = 0;
  while (!atomic_load(&w->stop)) {
    if (!ws_futex_wait(bell, seen, TURN, true)) usleep(TURN / 1000);
    seen = __atomic_load_n(bell, __ATOMIC_ACQUIRE);
    follow(w);
    uint64_t now = ws_mono();
    ws_shm_secure(w->shm);
    ws_buffers_turn(now);
    if (ws_unwind_unknown() != w->unknown_seen)
      ws_worker_maps(w); /* a stack met code that is new */
    if (now >= next_housekeeping) {
      housekeeping(w, now);
      if (w->subscriber) ws_ledger_look(w->ledger, w->subscriber);
      next_housekeeping = now + HOUSEKEEPING_EVERY;
      /* A program that allocates is there. */
      uint64_t before = position;
      position = __atomic_load_n(&w->shm->alloc.control->reserved, __ATOMIC_RELAXED);
      if (position == before && is_alone(&status)) break;
    }
    if (w->ruler) ws_ruler_look(w->ruler, now, atomic_load(&w->ledger->contexts) > 0);
    if ((w->timeline.on || now < w->flush_until) && now >= next_flush) {
      w->cupti->flush_all(CUPTI_FLUSH_NORMAL);
      next_flush = ws_mono() + FLUSH_EVERY;
    }
    /* A buffer takes a millisecond or two, all of them a hundred: who rings does not wait for that.
     */
    while (__atomic_load_n(bell, __ATOMIC_RELAXED) == seen && drain_one(w)) {
    }
    step_back(w);
    if (now >= next_clock) {
      ws_worker_clock(w);
      next_clock = now + CLOCK_EVERY;
    }
  }
  end(w);
  atomic_store(&w->done, 1);
  ws_futex_wake(&w->done, false);
  /* The last thread's status is the process's. The C library's pthread_exit gives 0 and calls exit
   * in the thread that is the last to return. */
  if (status) syscall(SYS_exit, status);
  return NULL;
}

bool ws_worker_start(struct ws_worker *w) {
  /* The program's handlers must not run on a thread that it does not know. 32 and 33 are the C
   * library's own: setuid waits until every thread has answered one of them. */
  uint64_t all = ~(3ull << 31), before = 0;
  pthread_t thread;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  int r = -1;
  for (size_t stack = STACK; r != 0 && stack >= STACK_LEAST; stack /= 2) {
    pthread_attr_setstacksize(&attributes, stack);
    r = pthread_create(&thread, &attributes, run, w);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
  pthread_attr_destroy(&attributes);
  if (r == 0)
    pthread_detach(thread);
  else
    atomic_store(&w->done, 1); /* nobody waits for it */
  return r == 0;
}

bool ws_worker_stop(struct ws_worker *w, unsigned timeout_ms) {
  uint64_t deadline = ws_mono() + timeout_ms * MS;
  atomic_store(&w->stop, 1);
  ws_control_ring(w->shm);
  while (!atomic_load(&w->done)) {
    uint64_t now = ws_mono();
    if (now >= deadline) return false;
    ws_futex_wait(&w->done, 0, deadline - now, false);
  }
  return true;
}
