#define _GNU_SOURCE
#include "ws_capture.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ws_buffers.h"
#include "ws_compat.h"
#include "ws_decode.h"
#include "ws_ledger.h"
#include "ws_live.h"
#include "ws_process.h"
#include "ws_ranges.h"
#include "ws_share.h"
#include "ws_span.h"
#include "ws_unwind.h"
#include "ws_worker.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* The one capture of this process. */
static struct {
  struct ws_shm *shm;
  struct ws_arena arena;
  struct ws_cupti cupti;
  struct ws_ledger ledger;
  struct ws_control control;
  struct ws_worker worker;
  struct ws_ruler ruler;
  _Atomic uint32_t *armed; /* in a page that a forked child sees zeroed */
} capture;

/* Where callbacks look before there is a capture. */
static _Atomic uint32_t never;

static _Atomic uint32_t *fork_safe_flag(void) {
  void *page = mmap(NULL, WS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return NULL;
  if (madvise(page, WS_PAGE, MADV_WIPEONFORK) != 0) {
    /* Before Linux 4.14: the child must not publish into its parent's memory, so no capture. */
    munmap(page, WS_PAGE);
    return NULL;
  }
  return page;
}

bool ws_capture_armed(void) {
  /* A forked child sees the flag zeroed; a vforked one shares it and differs by its PID alone. */
  return capture.armed && atomic_load(capture.armed) == WS_ARMED &&
         capture.shm->header->pid == getpid();
}

static void callback(void *user, uint32_t domain, uint32_t id, const void *data) {
  if (data && atomic_load_explicit(capture.armed, memory_order_relaxed) == WS_ARMED &&
      ws_control_callback(&capture.control, domain, id, data))
    return;
  ws_ledger_callback(user, domain, id, data);
}

static bool start_ledger(struct ws_shm *shm, bool late) {
  struct ws_ledger *l = &capture.ledger;
  l->late = late;
  l->shm = shm;
  l->arena = &capture.arena;
  l->cupti = &capture.cupti;
  l->armed = capture.armed;
  ws_ledger_open(l);
  void *subscriber = NULL;
  int r = capture.cupti.subscribe(&subscriber, callback, l);
  if (r != CUPTI_OK) {
    bool taken =
        r == CUPTI_MULTIPLE_SUBSCRIBERS || r == CUPTI_MAX_LIMIT_REACHED; /* 12.x and newer, older */
    ws_reason(shm,
              r == CUPTI_INSUFFICIENT_PRIVILEGES ? WS_REASON_NO_PRIVILEGE
              : taken                            ? WS_REASON_SUBSCRIBER_TAKEN
                                                 : WS_REASON_CALLS_UNWATCHED);
    return false;
  }
  capture.worker.subscriber = subscriber;
  bool watched = ws_ledger_subscribe(l, subscriber) > 0;
  if (!watched || l->unwatched) ws_reason(shm, WS_REASON_CALLS_UNWATCHED);
  ws_control_subscribe(&capture.control, subscriber);
  return watched;
}

/* `on`: from the start. */
static bool start_timeline(struct ws_shm *shm, bool on) {
  ws_buffers_open(shm);
  if (capture.cupti.thread_id_type &&
      capture.cupti.thread_id_type(CUPTI_THREAD_ID_SYSTEM) != CUPTI_OK)
    capture.worker.decoder.threads_unknown =
        true; /* they would be the C library's numbers, beside the kernel's of the ledger */
  int r = capture.cupti.register_callbacks(ws_buffers_request, ws_buffers_complete);
  if (r != CUPTI_OK) {
    ws_reason(shm, WS_REASON_ACTIVITY_FAILED);
    return false;
  }
  ws_timeline_bound(&capture.worker.timeline);
  if (!on) return true;
  r = ws_timeline_set(&capture.worker.timeline, true);
  if (r == CUPTI_OK) return true;
  ws_reason(
      shm, r == CUPTI_INSUFFICIENT_PRIVILEGES ? WS_REASON_NO_PRIVILEGE : WS_REASON_ACTIVITY_FAILED);
  return false;
}

static void
describe(struct ws_shm *shm, const struct ws_config *config, const struct ws_driver *driver) {
  struct ws_header *h = shm->header;
  ws_process_describe(h, &capture.arena);
  h->mode = config->mode;
  h->api = config->api;
  h->graphs = config->graphs;
  h->flags = config->flags;
  h->want_timeline = config->mode == WS_MODE_TIMELINE && !config->paused;
  h->mono_start = (int64_t)ws_mono();
  h->wall_start = (int64_t)ws_wall();
  if (driver->simulated || capture.cupti.simulated) h->flags |= WS_FLAG_SIMULATED;
  if (config->late) ws_reason(shm, WS_REASON_LATE);
  char when[WS_RANGE_NAME + 8];
  ws_when_print(&config->when, when, sizeof when);
  if (config->when.trigger && config->mode == WS_MODE_TIMELINE)
    h->when = ws_arena_string(&capture.arena, when, WS_REC_STATE);
  int version = 0;
  if (driver->version && driver->version(&version) == 0) h->driver_version = (uint32_t)version;
  h->cupti_version = capture.cupti.version;
  h->cupti_path = ws_arena_string(&capture.arena, capture.cupti.path, WS_REC_STATE);
}

/* A graph that was instantiated while CUPTI records no graphs, and is launched after it began to,
 * ends the program with a segmentation fault (seen with 13.0.1, where graphs had been recorded
 * before). Nodes can be switched on and off at any time. So whole graphs are recorded only where
 * they are from the beginning. */
static uint32_t safe_graphs(const struct ws_config *c) {
  bool begins = !c->late && !c->paused && !c->ruler && c->when.trigger == WS_TRIGGER_ALWAYS;
  return begins ? c->graphs : WS_GRAPHS_NODE;
}

static bool begin(struct ws_shm *shm, const struct ws_config *wanted) {
  struct ws_config own = *wanted, *config = &own;
  own.graphs = safe_graphs(wanted);
  capture.shm = shm;
  if (!ws_arena_open(&capture.arena, shm)) return false;
  ws_live_open(shm);

  bool complete = ws_load_cupti(&capture.cupti);
  /* Here and not in the worker: the loader's lock may be held for as long as this thread likes. */
  ws_load_driver(&capture.worker.driver);
  describe(shm, config, &capture.worker.driver);
  if (!complete) {
    ws_reason(shm, capture.cupti.handle ? WS_REASON_CUPTI_TOO_OLD : WS_REASON_NO_CUPTI);
    __atomic_store_n(&shm->header->state, WS_STATE_REFUSED, __ATOMIC_RELEASE);
    ws_shm_publish(shm);
    return false;
  }
  ws_share_open(&capture.cupti);
  ws_share_set_driver(capture.worker.driver.device_count);
  ws_shm_publish(shm);
  ws_worker_open(&capture.worker,
                 shm,
                 &capture.arena,
                 &capture.cupti,
                 &capture.ledger,
                 &capture.control,
                 config);
  /* The clock and the module map come before the first record that needs them. */
  ws_worker_clock(&capture.worker);
  ws_unwind_use_find_object(dlsym(RTLD_DEFAULT, "_dl_find_object"));
  ws_worker_maps(&capture.worker);

  bool on = ws_control_open(&capture.control, shm, &capture.cupti, capture.armed, &config->when) &&
            !config->paused;
  ws_span_open(shm, &capture.arena, &capture.cupti, capture.armed);
  bool ledger = start_ledger(shm, config->late);
  bool timeline = config->mode == WS_MODE_TIMELINE && start_timeline(shm, on);
  if (!ledger && !timeline) {
    __atomic_store_n(&shm->header->state, WS_STATE_REFUSED, __ATOMIC_RELEASE);
    return false;
  }
  if (config->ruler && timeline && capture.worker.subscriber &&
      ws_ruler_open(
          &capture.ruler, shm, &capture.arena, &capture.cupti, capture.worker.subscriber)) {
    capture.ledger.ruler = &capture.ruler;
    capture.worker.ruler = &capture.ruler;
  }
  capture.worker.timeline_possible = timeline;
  if (!timeline) ws_control_close(&capture.control);
  __atomic_store_n(
      &shm->header->state, timeline && !on ? WS_STATE_PAUSED : WS_STATE_ARMED, __ATOMIC_RELEASE);
  atomic_store(capture.armed, WS_ARMED);
  /* A child shares nothing with our reader; it does not even see the memory. */
  madvise(shm->base, shm->header->total_size, MADV_DONTFORK);
  if (ws_worker_start(&capture.worker)) return true;
  /* Without the worker nothing is flushed, no stack can be read, and nobody ends the capture. */
  atomic_store(capture.armed, WS_DISARMED);
  if (timeline) ws_timeline_set(&capture.worker.timeline, false);
  ws_reason(shm, WS_REASON_NO_THREAD);
  __atomic_store_n(&shm->header->state, WS_STATE_REFUSED, __ATOMIC_RELEASE);
  return false;
}

bool ws_capture_start(struct ws_shm *shm, const struct ws_config *config) {
  if (capture.armed) return false;
  capture.armed = fork_safe_flag();
  if (!capture.armed) {
    capture.armed = &never;
    ws_capture_refuse();
    return false;
  }
  bool started = begin(shm, config);
  if (!started) ws_capture_refuse();
  return started;
}

bool ws_capture_stop(unsigned timeout_ms) {
  if (!ws_capture_armed()) return true;
  bool whole = ws_worker_stop(&capture.worker, timeout_ms);
  if (whole) ws_buffers_close(); /* another tool of the program's may go on */
  return whole;
}

bool ws_capture_finish(unsigned timeout_ms) {
  if (!ws_capture_armed()) return true;
  bool whole = ws_worker_stop(&capture.worker, timeout_ms);
  atomic_store(capture.armed, WS_ENDED);
  return whole;
}

void ws_capture_refuse(void) {
  if (!capture.armed) capture.armed = &never;
  ws_control_close(&capture.control);
}

/* After its beginning a capture is this process's or, in a child, none. */
static bool is_another(void) { return capture.armed && !ws_capture_armed(); }

int ws_capture_switch(bool on) {
  return is_another() ? WS_CONTROL_OVER : ws_control_switch(&capture.control, on);
}

bool ws_capture_recording(void) {
  if (!ws_capture_armed() || capture.shm->header->mode != WS_MODE_TIMELINE) return false;
  return __atomic_load_n(&capture.shm->header->state, __ATOMIC_ACQUIRE) == WS_STATE_ARMED;
}

int ws_capture_step(void) {
  if (ws_capture_armed() && capture.ledger.ruler) ws_ruler_step(capture.ledger.ruler);
  return is_another() ? WS_CONTROL_OVER : ws_control_step(&capture.control);
}

/* The range that is the trigger; NULL: none is. From the environment, because NVTX may come before
 * the capture has begun; an agent puts there what it will say. */
static const char *trigger_range(void) {
  static struct ws_when when;
  const char *text = getenv("WARPSCOPE_CAPTURE");
  return text && ws_when_parse(&when, text) && when.trigger == WS_TRIGGER_RANGE ? when.range : NULL;
}

int ws_capture_nvtx(void *get_export_table, int version) {
  /* Ranges may begin before CUDA does: CUPTI is found now and kept for the capture. */
  static struct ws_cupti early;
  struct ws_cupti *c = capture.cupti.handle ? &capture.cupti : &early;
  if (!c->handle && !ws_load_cupti(c)) return 0;
  int (*initialize)(void *) = version == 2 ? c->nvtx_initialize2 : c->nvtx_initialize;
  const void *(*export_table)(uint32_t) = (const void *(*)(uint32_t))(uintptr_t)get_export_table;
  const char *range = trigger_range();
  struct ws_ranges_before before;
  if (range) ws_ranges_look(export_table, &before);
  if (!initialize || initialize(get_export_table) != CUPTI_OK) return 0; /* NVTX: a failure */
  if (range) ws_ranges_install(&capture.control, range, export_table, &before);
  return 1;
}
