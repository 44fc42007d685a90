/* ws_control.h: whether the timeline is to be on.
 *
 * Owns: the answer, which is what the reader wants (ws_header.want_timeline) and what the trigger
 * says: always, cudaProfilerStart and Stop, NVTX ranges of one name (ws_ranges.c brings them),
 * steps, or warpscope_start and _stop. The latest of these events decides. Never switches anything
 * itself: the worker does, and the threads of the program whose event it was wait for that, within
 * a bound. None of this is called in a launch or an allocation.
 */
#ifndef WS_CONTROL_H
#define WS_CONTROL_H

#include "ws_load.h"
#include "ws_shm.h"

/* When the program lets the timeline be recorded. */
struct ws_when {
  uint32_t trigger;               /* ws_trigger */
  uint64_t first_step, last_step; /* WS_TRIGGER_STEPS */
  char range[WS_RANGE_NAME];      /* WS_TRIGGER_RANGE: NAME or NAME@DOMAIN */
};

/* Reads what --capture and WARPSCOPE_CAPTURE take: always, cuda-profiler-api, nvtx:NAME[@DOMAIN],
 * steps:A-B or call. False for anything else. */
bool ws_when_parse(struct ws_when *when, const char *text);

/* The inverse, into a buffer of WS_RANGE_NAME + 8 bytes or more. */
void ws_when_print(const struct ws_when *when, char *text, size_t size);

/* What became of an event. */
enum ws_control_result {
  WS_CONTROL_DONE = 0,  /* the worker has switched, or had nothing to switch */
  WS_CONTROL_NOTED = 1, /* there is no capture yet; it will begin like this */
  WS_CONTROL_OVER = -1, /* no timeline is recorded here, and none will be */
  WS_CONTROL_LATE = -2  /* the worker takes longer than the bound; it will still switch */
};

/* All zero is the state before a capture. */
struct ws_control {
  struct ws_shm *shm;
  const struct ws_cupti *cupti;
  const _Atomic uint32_t *armed; /* as the ledger's */
  struct ws_when when;
  _Atomic uint32_t life;     /* 0 before the capture, then armed, then over */
  _Atomic uint32_t called;   /* before the capture: the last of warpscope_start and _stop */
  _Atomic uint64_t word;     /* generation << 32 | open ranges << 1 | on */
  _Atomic uint32_t followed; /* futex: generation that the worker has followed */
  _Atomic uint64_t steps;    /* counted so far */
  _Atomic uint32_t vain;     /* waits in a row that were so */
  uint32_t seen;             /* worker: generation that was looked at last */
  uint32_t profiler[3][2];   /* by domain: callback ids of ProfilerStart and Stop, 0: none */
};

/* The capture is about to begin; says whether the trigger lets the timeline be on from the start.
 */
bool ws_control_open(struct ws_control *control,
                     struct ws_shm *shm,
                     const struct ws_cupti *cupti,
                     const _Atomic uint32_t *armed,
                     const struct ws_when *when);

/* WS_TRIGGER_PROFILER: asks for the callbacks. */
void ws_control_subscribe(struct ws_control *control, void *subscriber);

/* A callback of CUPTI's; true if it was asked for here. */
bool ws_control_callback(struct ws_control *control,
                         uint32_t domain,
                         uint32_t id,
                         const struct cupti_callback *data);

/* warpscope_start and _stop; a ws_control_result. */
int ws_control_switch(struct ws_control *control, bool on);

/* warpscope_step: a step has ended. */
int ws_control_step(struct ws_control *control);

/* A range of the trigger's name begins or ends, in any thread. Before the capture they are counted.
 */
void ws_control_range(struct ws_control *control, bool begins);

/* Worker: whether the timeline is to be on, and to which generation of events that is the answer.
 */
bool ws_control_wants(struct ws_control *control, uint32_t *generation);

/* Worker: it is on or off as of that generation. */
void ws_control_followed(struct ws_control *control, uint32_t generation);

/* Worker: nothing is switched any more. */
void ws_control_close(struct ws_control *control);

/* Wakes the worker. */
void ws_control_ring(struct ws_shm *shm);

#endif
