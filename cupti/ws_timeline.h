/* ws_timeline.h: which records CUPTI makes.
 *
 * Owns: the activity kinds of the timeline and the calls whose CPU side is recorded; switching them
 * on and off. Never decides when (the worker does) and never touches buffers.
 */
#ifndef WS_TIMELINE_H
#define WS_TIMELINE_H

#include "ws_capture.h"
#include "ws_decode.h"

struct ws_timeline {
  struct ws_shm *shm;
  const struct ws_cupti *cupti;
  const struct ws_config *config;
  uint8_t (*hidden)[WS_CALL_IDS]; /* per domain and id: recorded by CUPTI, but not asked for */
  bool learnt[3];                 /* per domain: `launch` and `hidden` are filled */
  uint8_t launch[3][WS_CALL_IDS]; /* 1: what WS_API_LAUNCH asks for */
  bool on;
  uint64_t taken; /* when the last switch took effect for kernels, CLOCK_MONOTONIC */
};

/* Bounds what CUPTI takes of the GPU's memory, and says in the header how much that may be. Before
 * there are contexts; those that are there keep what they have. */
void ws_timeline_bound(struct ws_timeline *timeline);

/* Switches the activity records on or off; a CUptiResult. What is refused and can be done without
 * is noted in the header's reasons. One caller at a time. */
int ws_timeline_set(struct ws_timeline *timeline, bool on);

#endif
