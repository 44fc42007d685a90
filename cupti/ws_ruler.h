/* ws_ruler.h: how far the program has come, counted alike whether the timeline is on or off.
 *
 * Owns: which calls a program makes regularly, but not often (waits, copies, graph launches,
 * events), their counters, and the ticks that the reader measures the cost of tracing with. Where
 * a call comes too often to be counted for nothing it is let go, and tried again later. Callbacks
 * run on the program's threads: one clock reading, one addition, now and then one record.
 */
#ifndef WS_RULER_H
#define WS_RULER_H

#include <stdbool.h>

#include "ws_arena.h"
#include "ws_load.h"

#define WS_RULER_IDS 2048u
#define WS_RULER_DOMAINS 3u
#define WS_RULER_SLOTS 64u

struct ws_ruler_slot {
  _Atomic uint64_t count;  /* calls that returned */
  _Atomic uint64_t pushed; /* CLOCK_MONOTONIC of the last record */
  uint32_t name;           /* arena id */
  uint32_t domain, id;     /* 0, 0: not of CUPTI's, the program says so itself */
  /* the worker's */
  uint64_t seen;  /* count at the last look */
  uint64_t again; /* when a call that came too often is tried again; 0: it is counted */
  uint64_t rest;  /* how long it was left alone last */
};

struct ws_ruler {
  struct ws_shm *shm;
  struct ws_arena *arena;
  const struct ws_cupti *cupti;
  void *subscriber;
  uint8_t slot[WS_RULER_DOMAINS][WS_RULER_IDS]; /* index + 1 */
  struct ws_ruler_slot slots[WS_RULER_SLOTS];
  struct ws_ruler_slot steps;
  unsigned used;
  unsigned domains; /* that are counted: the driver's, and the runtime's where that is quiet */
  uint64_t looked;  /* when the worker looked last */
  uint64_t since;   /* when it began to listen for the driver's calls; 0: never looked */
  uint64_t heard;   /* such calls since */
};

/* Finds the calls of this CUPTI by name and has them counted. False: there are none. */
bool ws_ruler_open(struct ws_ruler *ruler,
                   struct ws_shm *shm,
                   struct ws_arena *arena,
                   const struct ws_cupti *cupti,
                   void *subscriber);

/* A call returned. Calls that are not counted are ignored. */
void ws_ruler_count(struct ws_ruler *ruler, uint32_t domain, uint32_t id);

/* The program says that a step has ended: the best of all rulers. Any thread. */
void ws_ruler_step(struct ws_ruler *ruler);

/* Lets calls go that come too often, takes them back later; counts the runtime's calls too where
 * hardly any of the driver's are heard although the program uses CUDA. The worker's. */
void ws_ruler_look(struct ws_ruler *ruler, uint64_t now, bool in_use);

#endif
