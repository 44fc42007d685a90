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

#ifdef __cplusplus
}
#endif

#endif
