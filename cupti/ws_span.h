/* ws_span.h: what the program itself says it was doing.
 *
 * Owns: spans of host time that the program, or the Python module for it, reports through
 * warpscope_span: steps, garbage collections, waits for input. They are ranges of the domain
 * "warpscope" and lie in the allocation ring: few, and not to be lost. Never called by CUPTI.
 */
#ifndef WS_SPAN_H
#define WS_SPAN_H

#include "include/warpscope.h"
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

/* Puts a text into the arena, once more each time; 0: no capture, or no room for it. Any thread. */
uint32_t ws_span_text(const char *text, size_t size);

/* Records moments and ranges whose texts came from ws_span_text; how many were. Any thread. */
size_t ws_span_marks(const struct warpscope_mark *marks, size_t count);

/* Sleeps until a moment of CLOCK_MONOTONIC, or until ws_span_wake is called for the word, which is
 * 0 at first. When it woke; 0: it cannot sleep. */
uint64_t ws_span_sleep(uint64_t until, uint32_t *word);
void ws_span_wake(uint32_t *word);

#endif
