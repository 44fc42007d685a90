/* ws_span.h: what the program itself says it was doing.
 *
 * Owns: spans of host time that the program, or the Python module for it, reports through
 * warpscope_span: steps, garbage collections, waits for input. They are ranges of the domain
 * "warpscope" and lie in the allocation ring: few, and not to be lost. Never called by CUPTI.
 */
#ifndef WS_SPAN_H
#define WS_SPAN_H

#include "ws_arena.h"
#include "ws_load.h"

/* Makes the capture known. Before that, and in a forked child, spans are refused. */
void ws_span_open(struct ws_shm *shm,
                  struct ws_arena *arena,
                  const struct ws_cupti *cupti,
                  const _Atomic uint32_t *armed);

/* Records that the calling thread did `name` from `began` (CLOCK_MONOTONIC, ns) until now, with a
 * number that belongs to it. Any thread; names beyond SPAN_NAMES are refused. True if recorded. */
bool ws_span_end(const char *name, uint64_t began, uint64_t value);

#endif
