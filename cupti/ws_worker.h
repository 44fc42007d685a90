/* ws_worker.h: the one thread of the capture library.
 *
 * Owns: everything that must not happen on the program's threads: decoding buffers, flushing
 * CUPTI, reading the clock, the module map, devices and pools, switching the timeline on and off,
 * and the end. It blocks all signals, holds no lock of the program's, and starts only in a process
 * that uses CUDA.
 */
#ifndef WS_WORKER_H
#define WS_WORKER_H

#include "ws_capture.h"
#include "ws_decode.h"
#include "ws_ledger.h"
#include "ws_timeline.h"

struct ws_worker {
  struct ws_shm *shm;
  struct ws_arena *arena;
  const struct ws_cupti *cupti;
  struct ws_ledger *ledger;
  struct ws_control *control;
  void *subscriber; /* of the ledger's callbacks; NULL: none */
  struct ws_config config;
  struct ws_decoder decoder;
  struct ws_driver driver;
  struct ws_timeline timeline;
  struct ws_ruler *ruler; /* NULL: none */
  bool timeline_possible;
  bool stepped_back; /* for another tool, until the timeline is wanted off */
  bool clock_read;   /* at least once */
  uint32_t contexts_seen;
  uint32_t readers_seen;
  uint64_t pools_seen;
  uint64_t unknown_seen; /* of ws_unwind_unknown */
  uint64_t flush_until;  /* until then CUPTI is asked for what ended after the timeline */
  _Atomic uint32_t stop; /* 0 running, 1 asked to end */
  _Atomic uint32_t done; /* futex: 1 ended */
};

void ws_worker_open(struct ws_worker *worker,
                    struct ws_shm *shm,
                    struct ws_arena *arena,
                    const struct ws_cupti *cupti,
                    struct ws_ledger *ledger,
                    struct ws_control *control,
                    const struct ws_config *config);

/* Writes a CLOCK record; publishes the module map if it changed. */
void ws_worker_clock(struct ws_worker *worker);
void ws_worker_maps(struct ws_worker *worker);

/* False if the system gives no thread. */
bool ws_worker_start(struct ws_worker *worker);

/* Flushes, drains and ends, waiting at most timeout_ms. False if it takes longer; it may then still
 * be at work. */
bool ws_worker_stop(struct ws_worker *worker, unsigned timeout_ms);

#endif
