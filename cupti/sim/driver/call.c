/* call.c: what happens around every driver call: correlation, faults, the tracer's turn. */
#include "driver.h"

#include "../fault.h"

#include <sys/syscall.h>
#include <unistd.h>

static _Atomic(const struct sim_tracer *) tracer;
static _Atomic uint32_t correlations;
static struct sim_faults faults;
static _Thread_local struct sim_frame *running;

void sim_trace(const struct sim_tracer *t) {
  atomic_store_explicit(&tracer, t, memory_order_release);
}

void sim_read_faults(void) { sim_faults_read(&faults, getenv("WARPSCOPE_SIM_FAIL")); }

/* These work before cuInit: cuInit, cuDriverGetVersion, the errors' texts and cuGetProcAddress. */
static bool before_init(uint32_t cbid) {
  return cbid == 1 || cbid == 2 || cbid == 372 || cbid == 373 || cbid == 626 || cbid == 677;
}

/* False: the call must fail with frame->call.result. */
bool sim_enter(struct sim_frame *frame, const char *name, uint32_t cbid, const void *params) {
  memset(frame, 0, sizeof *frame);
  struct sim_call *call = &frame->call;
  call->name = name;
  call->cbid = cbid;
  call->params = params;
  call->correlation = atomic_fetch_add_explicit(&correlations, 1, memory_order_relaxed) + 1;
  struct sim_context *context = sim_current();
  call->context = context;
  call->context_id = context != NULL ? context->object.id : 0;
  frame->outer = running;
  running = frame;
  call->enter = sim_now();
  const struct sim_tracer *t = atomic_load_explicit(&tracer, memory_order_acquire);
  if (t != NULL) t->call(call, 0);
  call->result = sim_faults_check(&faults, name);
  /* While cuInit calls the injected library, that thread alone may go on. */
  bool ready = sim.initialised || sim.starter == (int)syscall(SYS_gettid);
  if (call->result == CU_OK && !ready && !before_init(cbid)) call->result = CU_NOT_INITIALIZED;
  return call->result == CU_OK;
}

int sim_exit(struct sim_frame *frame, int result) {
  struct sim_call *call = &frame->call;
  call->result = result;
  call->exit = sim_now();
  const struct sim_tracer *t = atomic_load_explicit(&tracer, memory_order_acquire);
  if (t != NULL) {
    if (frame->count > 0) t->work(frame->work, frame->count);
    t->call(call, 1);
  }
  free(frame->work);
  running = frame->outer;
  return result;
}

void sim_emit(const struct sim_work *work) {
  struct sim_frame *frame = running;
  if (frame->count == frame->room) {
    size_t room = frame->room == 0 ? 4 : 2 * frame->room;
    struct sim_work *grown = realloc(frame->work, room * sizeof *grown);
    if (grown == NULL) return; /* a simulator on a machine without memory: the record is lost */
    frame->work = grown;
    frame->room = room;
  }
  frame->work[frame->count++] = *work;
}

uint32_t sim_correlation(void) { return running->call.correlation; }

void sim_symbol(const char *name) { running->call.symbol = name; }

void sim_resource(enum sim_resource what,
                  void *context,
                  void *stream,
                  uint32_t id,
                  const void *image,
                  size_t size) {
  const struct sim_tracer *t = atomic_load_explicit(&tracer, memory_order_acquire);
  if (t != NULL) t->resource(what, context, stream, id, image, size);
}
