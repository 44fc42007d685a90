/* ws_capture.h: one capture from start to end.
 *
 * Owns: CUPTI's subscription and record kinds, the worker thread, the clock, and the order of
 * shutting down. It is given its memory and configuration; where they come from (an agent, a file,
 * the Go package cupti) is its caller's affair. It never waits on the program's threads and gives
 * up, recorded in the header, rather than fail.
 */
#ifndef WS_CAPTURE_H
#define WS_CAPTURE_H

#include "ws_control.h"

struct ws_config {
  uint32_t mode;       /* ws_mode */
  uint32_t api;        /* ws_api_level */
  uint32_t graphs;     /* ws_graph_level */
  uint32_t flags;      /* WS_FLAG_FILE, WS_FLAG_INPROCESS */
  bool paused;         /* the timeline waits for the reader */
  struct ws_when when; /* the trigger of the timeline */
  bool ruler;          /* count how far the program comes: WS_REC_TICK */
  bool late; /* the program has used CUDA before: it has contexts and memory unknown to us */
};

/* Starts recording into shm, which is formatted and, for a capture file, secured. Called once per
 * process, at the earliest when the driver initialises. False if nothing could be armed; the
 * header then says why. */
bool ws_capture_start(struct ws_shm *shm, const struct ws_config *config);

/* Flushes everything, in at most `timeout_ms`, and ends the timeline. Allocations are recorded on:
 * programs release memory after exit() was called. Both this and the next return false if the time
 * was not enough, and do nothing when called again. */
bool ws_capture_stop(unsigned timeout_ms);

/* The same, and ends the capture. */
bool ws_capture_finish(unsigned timeout_ms);

/* True in the process that armed the capture, false in its forked children. */
bool ws_capture_armed(void);

/* No capture can be had for this process: what ws_capture_switch and _step are told from now on. */
void ws_capture_refuse(void);

/* warpscope_start, _stop and _step; a ws_control_result. Any thread, at any time, in children too.
 */
int ws_capture_switch(bool on);
int ws_capture_step(void);

/* Whether the timeline is recorded now. Any thread. */
bool ws_capture_recording(void);

/* NVTX found us before or after CUDA did: hands its table over to CUPTI. 1 if CUPTI took it. */
int ws_capture_nvtx(void *get_export_table, int version);

#endif
