/* context.c: primary and created contexts, the current one of each thread. */
#include "driver.h"

enum { STACK = 64 };
static _Thread_local struct sim_context *stack[STACK];
static _Thread_local int depth;

struct sim_context *sim_current(void) {
  if (depth == 0 || !sim.initialised) return NULL;
  return sim_check(stack[depth - 1], SIM_T_CONTEXT);
}

struct sim_context *sim_context_new(uint32_t device, uint32_t flags) {
  if (!sim_take(device, SIM_CONTEXT_BYTES)) return NULL;
  struct sim_context *c = sim_new(SIM_T_CONTEXT, sizeof *c);
  c->device = device;
  c->flags = flags;
  static const uint64_t limits[16] = {1024, 1 << 20, 8 << 20, 2, 2048, 64};
  for (int i = 0; i < 16; i++) c->limits[i] = limits[i];
  c->null_stream = sim_new(SIM_T_STREAM, sizeof *c->null_stream);
  c->null_stream->context = c;
  c->null_stream->blocking = true;
  return c;
}

static bool valid(int dev) { return dev >= 0 && dev < sim.count; }

/* The lock is held by nobody. */
static void destroy(struct sim_context *c) {
  sim_resource(SIM_CONTEXT_DESTROYING, c, NULL, c->object.id, NULL, 0);
  SIM_LOCK();
  sim_forget_context(c);
  sim_give(c->device, SIM_CONTEXT_BYTES);
  sim_delete(c->null_stream);
  sim_delete(c);
  if (sim.devices[c->device].primary == c) sim.devices[c->device].primary = NULL;
  SIM_UNLOCK();
}

SIM_API2(cuDevicePrimaryCtxRetain, 386, void **, out, int, dev) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (!valid(dev)) return CU_INVALID_DEVICE;
  struct sim_device *d = &sim.devices[dev];
  bool created = false;
  SIM_LOCK();
  if (d->primary == NULL) {
    d->primary = sim_context_new((uint32_t)dev, 0);
    if (d->primary != NULL) d->primary->primary = created = true;
  }
  struct sim_context *c = d->primary;
  if (c != NULL) c->retained++;
  SIM_UNLOCK();
  if (c == NULL) return CU_OUT_OF_MEMORY;
  if (created) sim_resource(SIM_CONTEXT_CREATED, c, NULL, c->object.id, NULL, 0);
  *out = c;
  return CU_OK;
}

SIM_API1(cuDevicePrimaryCtxRelease_v2, 544, int, dev) {
  if (!valid(dev)) return CU_INVALID_DEVICE;
  struct sim_context *c = sim.devices[dev].primary;
  if (c == NULL || c->retained == 0) return CU_INVALID_CONTEXT;
  if (--c->retained == 0) destroy(c);
  return CU_OK;
}

SIM_API1(cuDevicePrimaryCtxReset_v2, 545, int, dev) {
  if (!valid(dev)) return CU_INVALID_DEVICE;
  struct sim_context *c = sim.devices[dev].primary;
  if (c != NULL) destroy(c);
  return CU_OK;
}

SIM_API3(cuDevicePrimaryCtxGetState, 392, int, dev, unsigned *, flags, int *, active) {
  if (!valid(dev)) return CU_INVALID_DEVICE;
  if (flags == NULL || active == NULL) return CU_INVALID_VALUE;
  struct sim_context *c = sim.devices[dev].primary;
  *flags = c != NULL ? c->flags : 0;
  *active = c != NULL;
  return CU_OK;
}

static int push(struct sim_context *c) {
  if (depth == STACK) return CU_OUT_OF_MEMORY;
  stack[depth++] = c;
  return CU_OK;
}

SIM_API3(cuCtxCreate_v2, 235, void **, out, unsigned, flags, int, dev) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (!valid(dev)) return CU_INVALID_DEVICE;
  SIM_LOCK();
  struct sim_context *c = sim_context_new((uint32_t)dev, flags);
  SIM_UNLOCK();
  if (c == NULL) return CU_OUT_OF_MEMORY;
  sim_resource(SIM_CONTEXT_CREATED, c, NULL, c->object.id, NULL, 0);
  *out = c;
  return push(c);
}

SIM_API1(cuCtxDestroy_v2, 322, void *, handle) {
  struct sim_context *c = sim_check(handle, SIM_T_CONTEXT);
  if (c == NULL || c->primary) return CU_INVALID_CONTEXT;
  if (depth > 0 && stack[depth - 1] == c) depth--;
  destroy(c);
  return CU_OK;
}

SIM_API1(cuCtxSetCurrent, 303, void *, handle) {
  if (handle == NULL) {
    if (depth > 0) depth--;
    return CU_OK;
  }
  struct sim_context *c = sim_check(handle, SIM_T_CONTEXT);
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (depth == 0) return push(c);
  stack[depth - 1] = c;
  return CU_OK;
}

SIM_API1(cuCtxGetCurrent, 304, void **, out) {
  if (out == NULL) return CU_INVALID_VALUE;
  *out = sim_current();
  return CU_OK;
}

SIM_API1(cuCtxPushCurrent_v2, 323, void *, handle) {
  struct sim_context *c = sim_check(handle, SIM_T_CONTEXT);
  return c == NULL ? CU_INVALID_CONTEXT : push(c);
}

SIM_API1(cuCtxPopCurrent_v2, 324, void **, out) {
  if (depth == 0) return CU_INVALID_CONTEXT;
  depth--;
  if (out != NULL) *out = stack[depth];
  return CU_OK;
}

SIM_API1(cuCtxGetDevice, 16, int *, dev) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (dev == NULL) return CU_INVALID_VALUE;
  *dev = (int)c->device;
  return CU_OK;
}

SIM_API2(cuCtxGetId, 695, void *, handle, uint64_t *, id) {
  struct sim_context *c = handle == NULL ? sim_current() : sim_check(handle, SIM_T_CONTEXT);
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (id == NULL) return CU_INVALID_VALUE;
  *id = c->object.id;
  return CU_OK;
}

SIM_API2(cuCtxGetLimit, 137, size_t *, value, unsigned, limit) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (value == NULL || limit >= 16) return CU_INVALID_VALUE;
  *value = c->limits[limit];
  return CU_OK;
}

/* Tools are told by the callbacks of these calls; the driver itself does nothing. */
SIM_API0(cuProfilerStart, 308) { return sim_current() != NULL ? CU_OK : CU_INVALID_CONTEXT; }
SIM_API0(cuProfilerStop, 309) { return sim_current() != NULL ? CU_OK : CU_INVALID_CONTEXT; }

SIM_API2(cuCtxSetLimit, 136, unsigned, limit, size_t, value) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (limit >= 16) return CU_INVALID_VALUE;
  c->limits[limit] = value;
  return CU_OK;
}

SIM_API2(cuCtxGetStreamPriorityRange, 370, int *, least, int *, greatest) {
  if (sim_current() == NULL) return CU_INVALID_CONTEXT;
  if (least != NULL) *least = 0;
  if (greatest != NULL) *greatest = -5;
  return CU_OK;
}
