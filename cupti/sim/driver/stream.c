/* stream.c: the time model, streams and events.
 *
 * A stream is the device time at which all that was put into it is done. Work starts when the
 * stream is free and the launch has reached the device, and takes the time that its maker invented
 * for it. Different streams overlap freely; the default stream and the blocking streams of a
 * context wait for each other, as on a real device.
 */
#include "driver.h"

#include <time.h>

/* From the call to the first instruction on the device, invented. */
enum { LAUNCH_NS = 1500 };

uint64_t sim_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

struct sim_stream *sim_stream(void *handle) {
  if (handle == NULL || handle == SIM_LEGACY_STREAM || handle == SIM_PER_THREAD_STREAM) {
    struct sim_context *c = sim_current();
    return c != NULL ? c->null_stream : NULL;
  }
  return sim_check(handle, SIM_T_STREAM);
}

static bool is_null(const struct sim_stream *s) { return s->context->null_stream == s; }

/* The moment at which everything that `s` is ordered after is done. */
static uint64_t ready(struct sim_stream *s) {
  uint64_t when = s->tail;
  if (!is_null(s)) {
    if (s->blocking && s->context->null_stream->tail > when) when = s->context->null_stream->tail;
    return when;
  }
  for (struct sim_object *o = sim.objects[SIM_T_STREAM]; o != NULL; o = o->next) {
    struct sim_stream *other = (struct sim_stream *)o;
    if (o->magic == SIM_MAGIC + SIM_T_STREAM && other->context == s->context && other->blocking &&
        other->tail > when)
      when = other->tail;
  }
  return when;
}

/* Puts work into a stream, or into the graph that the stream is captured into. The lock is held. */
int sim_schedule(struct sim_stream *s, struct sim_work *work, uint64_t duration) {
  work->device = s->context->device;
  work->context = s->context->object.id;
  work->stream = s->object.id;
  work->correlation = sim_correlation();
  if (s->capture != NULL) return sim_capture(s, work, duration);
  uint64_t start = sim_now() + LAUNCH_NS, free_at = ready(s);
  work->start = start > free_at ? start : free_at;
  work->end = work->start + duration;
  s->tail = work->end;
  sim_emit(work);
  return CU_OK;
}

void sim_wait_until(uint64_t when) {
  struct timespec t = {.tv_sec = (time_t)(when / 1000000000ull),
                       .tv_nsec = (long)(when % 1000000000ull)};
  while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL) != 0) {
  }
}

/* Waits and tells the tracer about it, as CUPTI's synchronisation records do. */
int sim_sync(struct sim_context *context,
             struct sim_stream *stream,
             uint64_t when,
             uint32_t type,
             uint32_t event) {
  struct sim_work work = {.kind = SIM_SYNC,
                          .device = context->device,
                          .context = context->object.id,
                          .stream = stream != NULL ? stream->object.id : UINT32_MAX,
                          .correlation = sim_correlation(),
                          .start = sim_now(),
                          .copy_kind = (uint8_t)type,
                          .bytes = event};
  if (when > work.start) sim_wait_until(when);
  work.end = sim_now();
  sim_emit(&work);
  return CU_OK;
}

enum { SYNC_EVENT = 1, SYNC_WAIT = 2, SYNC_STREAM = 3, SYNC_CONTEXT = 4 };

static int create(void **out, unsigned flags, int priority) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (out == NULL || flags > 1) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_stream *s = sim_new(SIM_T_STREAM, sizeof *s);
  s->context = c;
  s->blocking = flags == 0;
  s->priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
  SIM_UNLOCK();
  sim_resource(SIM_STREAM_CREATED, c, s, s->object.id, NULL, 0);
  *out = s;
  return CU_OK;
}

SIM_API2(cuStreamCreate, 124, void **, out, unsigned, flags) { return create(out, flags, 0); }

SIM_API3(cuStreamCreateWithPriority, 367, void **, out, unsigned, flags, int, priority) {
  return create(out, flags, priority);
}

SIM_API1(cuStreamDestroy_v2, 326, void *, handle) {
  struct sim_stream *s = sim_check(handle, SIM_T_STREAM);
  if (s == NULL || is_null(s)) return CU_INVALID_HANDLE;
  sim_resource(SIM_STREAM_DESTROYING, s->context, s, s->object.id, NULL, 0);
  SIM_LOCK();
  sim_delete(s);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API1(cuStreamSynchronize, 126, void *, handle) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  bool capturing = s->capture != NULL;
  uint64_t when = is_null(s) ? ready(s) : s->tail;
  sim_pools_trim(s->context->device);
  SIM_UNLOCK();
  return capturing ? CU_CAPTURE_UNSUPPORTED : sim_sync(s->context, s, when, SYNC_STREAM, 0);
}

SIM_API0(cuCtxSynchronize, 17) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  uint64_t when = 0;
  SIM_LOCK();
  for (struct sim_object *o = sim.objects[SIM_T_STREAM]; o != NULL; o = o->next) {
    struct sim_stream *s = (struct sim_stream *)o;
    if (s->context == c && s->tail > when) when = s->tail;
  }
  sim_pools_trim(c->device);
  SIM_UNLOCK();
  return sim_sync(c, NULL, when, SYNC_CONTEXT, 0);
}

SIM_API1(cuStreamQuery, 125, void *, handle) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  uint64_t when = s->tail;
  SIM_UNLOCK();
  return when > sim_now() ? CU_NOT_READY : CU_OK;
}

SIM_API2(cuStreamGetPriority, 368, void *, handle, int *, priority) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  if (priority == NULL) return CU_INVALID_VALUE;
  *priority = s->priority;
  return CU_OK;
}

SIM_API2(cuStreamGetCtx, 483, void *, handle, void **, context) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  if (context == NULL) return CU_INVALID_VALUE;
  *context = s->context;
  return CU_OK;
}

SIM_API2(cuEventCreate, 118, void **, out, unsigned, flags) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (out == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_event *e = sim_new(SIM_T_EVENT, sizeof *e);
  e->context = c;
  e->timing = (flags & 2) == 0; /* CU_EVENT_DISABLE_TIMING */
  SIM_UNLOCK();
  *out = e;
  return CU_OK;
}

SIM_API1(cuEventDestroy_v2, 325, void *, handle) {
  struct sim_event *e = sim_check(handle, SIM_T_EVENT);
  if (e == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  sim_delete(e);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API2(cuEventRecord, 119, void *, handle, void *, stream) {
  struct sim_event *e = sim_check(handle, SIM_T_EVENT);
  struct sim_stream *s = sim_stream(stream);
  if (e == NULL || s == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  e->capture = s->capture;
  uint64_t when = ready(s), now = sim_now();
  e->when = when > now ? when : now;
  e->stream_id = s->object.id;
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API3(cuStreamWaitEvent, 295, void *, stream, void *, handle, unsigned, flags) {
  (void)flags;
  struct sim_event *e = sim_check(handle, SIM_T_EVENT);
  struct sim_stream *s = sim_stream(stream);
  if (e == NULL || s == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  if (e->capture != NULL) s->capture = e->capture; /* the stream joins the capture */
  if (s->capture == NULL && e->when > s->tail) s->tail = e->when;
  bool captured = s->capture != NULL;
  SIM_UNLOCK();
  return captured ? CU_OK : sim_sync(s->context, s, 0, SYNC_WAIT, e->object.id);
}

SIM_API1(cuEventQuery, 120, void *, handle) {
  struct sim_event *e = sim_check(handle, SIM_T_EVENT);
  if (e == NULL) return CU_INVALID_HANDLE;
  if (e->capture != NULL) return CU_CAPTURED_EVENT;
  return e->when > sim_now() ? CU_NOT_READY : CU_OK;
}

SIM_API1(cuEventSynchronize, 121, void *, handle) {
  struct sim_event *e = sim_check(handle, SIM_T_EVENT);
  if (e == NULL) return CU_INVALID_HANDLE;
  if (e->capture != NULL) return CU_CAPTURED_EVENT;
  return sim_sync(e->context, NULL, e->when, SYNC_EVENT, e->object.id);
}

static int elapsed(float *ms, void *start, void *end) {
  struct sim_event *a = sim_check(start, SIM_T_EVENT), *b = sim_check(end, SIM_T_EVENT);
  if (a == NULL || b == NULL || a->when == 0 || b->when == 0 || !a->timing || !b->timing)
    return CU_INVALID_HANDLE;
  if (ms == NULL) return CU_INVALID_VALUE;
  uint64_t now = sim_now();
  if (a->when > now || b->when > now) return CU_NOT_READY;
  *ms = (float)((double)(int64_t)(b->when - a->when) / 1e6);
  return CU_OK;
}

SIM_API3(cuEventElapsedTime, 123, float *, ms, void *, start, void *, end) {
  return elapsed(ms, start, end);
}

SIM_API3(cuEventElapsedTime_v2, 780, float *, ms, void *, start, void *, end) {
  return elapsed(ms, start, end);
}
