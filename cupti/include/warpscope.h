/* warpscope.h: a program's own say in what warpscope records of it.
 *
 *   #include <warpscope.h>
 *
 *   if (warpscope_start) warpscope_start();   // NULL where the program runs without warpscope
 *
 * The functions are in libwarpscope.so, which `warpscope run` brings into the program; link with
 * nothing. They may be called from any thread, at any time, before CUDA is initialised and after it
 * has gone, and in forked children, where they do nothing. They concern the timeline (kernels,
 * copies, waits, calls) alone: allocations are recorded all the time.
 *
 * start and stop return when recording has been switched, so that what is launched next is
 * recorded, or is not. That takes some milliseconds, and one second at most. Where nothing changes
 * they take less than a microsecond, as does step.
 */
#ifndef WARPSCOPE_H
#define WARPSCOPE_H

#include <stddef.h>
#include <stdint.h>

/* What they return. */
#define WARPSCOPE_OK 0    /* done */
#define WARPSCOPE_NOTED 1 /* CUDA is not initialised yet: recording will begin like this */
#define WARPSCOPE_NOT_RECORDED (-1) /* no timeline is recorded in this process, nor will be */
#define WARPSCOPE_LATE (-2)         /* not within a second; it will be switched all the same */

#ifndef WARPSCOPE_FUNCTION
#define WARPSCOPE_FUNCTION __attribute__((weak))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Switch the timeline on and off. With `warpscope run --capture call` it is off until the first
 * start. With another trigger (ranges, steps, cudaProfilerStart) the latest event decides. */
WARPSCOPE_FUNCTION int warpscope_start(void);
WARPSCOPE_FUNCTION int warpscope_stop(void);

/* A step has ended and the next begins: for `warpscope run --capture steps:A-B`. The first step is
 * what comes before the first call. */
WARPSCOPE_FUNCTION int warpscope_step(void);

/* This thread has done `name` from began_ns (CLOCK_MONOTONIC) until now; value is a number that
 * belongs to it. A range of the domain "warpscope" in the trace, with --mode ledger too. At most 64
 * different names of at most 63 bytes; others are WARPSCOPE_NOT_RECORDED. */
WARPSCOPE_FUNCTION int warpscope_span(const char *name, uint64_t began_ns, uint64_t value);

/* What follows is for warpscope's module for Python, and may change with it. */

/* A text for marks: its number, 0 if there is no capture or no room. The same text twice takes
 * twice the room: callers keep the number. */
WARPSCOPE_FUNCTION uint32_t warpscope_text(const char *text, size_t size);

/* Something that a thread did or was at. */
struct warpscope_mark {
  uint64_t began; /* CLOCK_MONOTONIC, ns */
  uint64_t ended; /* 0: it is a moment */
  uint64_t value;
  uint32_t thread; /* the kernel's thread id, or any other number for a thread */
  uint32_t text;   /* both from warpscope_text */
  uint32_t domain;
  uint32_t reserved;
};

/* Records marks as NVTX markers; how many were recorded. */
WARPSCOPE_FUNCTION size_t warpscope_marks(const struct warpscope_mark *marks, size_t count);

/* Sleeps until a moment of CLOCK_MONOTONIC (ns) or until another thread calls warpscope_wake with
 * the same word, which is 0 before. Returns when it woke: what Python measures its own waiting
 * from. */
WARPSCOPE_FUNCTION uint64_t warpscope_sleep(uint64_t until_ns, uint32_t *word);
WARPSCOPE_FUNCTION void warpscope_wake(uint32_t *word);

/* 1 while the timeline is recorded, else 0. */
WARPSCOPE_FUNCTION int warpscope_recording(void);

#ifdef __cplusplus
}
#endif

#endif
