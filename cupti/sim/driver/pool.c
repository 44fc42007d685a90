/* pool.c: stream-ordered memory. A pool takes memory from the device in 32 MiB pieces and gives
 * back, at a synchronisation, what exceeds its release threshold. Order within streams is not
 * modelled: memory is there at once and gone at once. */
#include "driver.h"

struct sim_pool *sim_pool_new(uint32_t device) {
  struct sim_pool *p = sim_new(SIM_T_POOL, sizeof *p);
  p->device = device;
  return p;
}

static uint64_t chunks(uint64_t bytes) {
  return (bytes + SIM_POOL_CHUNK - 1) / SIM_POOL_CHUNK * SIM_POOL_CHUNK;
}

bool sim_pool_grow(struct sim_pool *p, uint64_t bytes) {
  uint64_t wanted = chunks(p->used + bytes);
  if (wanted > p->reserved) {
    if (!sim_take(p->device, wanted - p->reserved)) return false;
    p->reserved = wanted;
  }
  p->used += bytes;
  if (p->used > p->used_high) p->used_high = p->used;
  if (p->reserved > p->reserved_high) p->reserved_high = p->reserved;
  return true;
}

void sim_pool_shrink(struct sim_pool *p, uint64_t bytes) { p->used -= bytes; }

static void trim(struct sim_pool *p, uint64_t keep) {
  uint64_t needed = chunks(p->used);
  if (needed < chunks(keep)) needed = chunks(keep);
  if (p->reserved > needed) {
    sim_give(p->device, p->reserved - needed);
    p->reserved = needed;
  }
}

void sim_pools_trim(uint32_t device) {
  for (struct sim_object *o = sim.objects[SIM_T_POOL]; o != NULL; o = o->next) {
    struct sim_pool *p = (struct sim_pool *)o;
    if (o->magic == SIM_MAGIC + SIM_T_POOL && p->device == device)
      trim(p, p->threshold > p->reserved ? p->reserved : p->threshold);
  }
}

static int allocate(uint64_t *address, size_t size, struct sim_pool *pool, void *stream) {
  struct sim_stream *s = sim_stream(stream);
  if (s == NULL) return sim_current() == NULL ? CU_INVALID_CONTEXT : CU_INVALID_HANDLE;
  SIM_LOCK();
  if (pool == NULL) pool = sim.devices[s->context->device].pool;
  int result = s->capture != NULL ? CU_CAPTURE_UNSUPPORTED
                                  : sim_allocate(pool->device, SIM_POOLED, size, pool, address);
  SIM_UNLOCK();
  return result;
}

SIM_API3(cuMemAllocAsync, 598, uint64_t *, address, size_t, size, void *, stream) {
  return allocate(address, size, NULL, stream);
}

SIM_API4(
    cuMemAllocFromPoolAsync, 611, uint64_t *, address, size_t, size, void *, pool, void *, stream) {
  struct sim_pool *p = sim_check(pool, SIM_T_POOL);
  return p == NULL ? CU_INVALID_VALUE : allocate(address, size, p, stream);
}

SIM_API2(cuMemFreeAsync, 600, uint64_t, address, void *, stream) {
  if (sim_stream(stream) == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  int result = sim_release(address, false);
  SIM_UNLOCK();
  return result;
}

/* The head of CUmemPoolProps */
struct pool_props {
  uint32_t type, handles, location_type;
  int32_t location;
};

SIM_API2(cuMemPoolCreate, 607, void **, out, const struct pool_props *, props) {
  if (out == NULL || props == NULL || props->type != 1 || props->location_type != 1)
    return CU_INVALID_VALUE;
  if (props->location < 0 || props->location >= sim.count) return CU_INVALID_VALUE;
  SIM_LOCK();
  *out = sim_pool_new((uint32_t)props->location);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API1(cuMemPoolDestroy, 608, void *, handle) {
  struct sim_pool *p = sim_check(handle, SIM_T_POOL);
  if (p == NULL || p->builtin) return CU_INVALID_VALUE;
  SIM_LOCK();
  trim(p, 0);
  sim_delete(p);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API2(cuMemPoolTrimTo, 602, void *, handle, size_t, keep) {
  struct sim_pool *p = sim_check(handle, SIM_T_POOL);
  if (p == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  trim(p, keep);
  SIM_UNLOCK();
  return CU_OK;
}

/* CUmemPool_attribute */
enum { THRESHOLD = 4, RESERVED = 5, RESERVED_HIGH = 6, USED = 7, USED_HIGH = 8 };

SIM_API3(cuMemPoolSetAttribute, 603, void *, handle, int, attribute, void *, value) {
  struct sim_pool *p = sim_check(handle, SIM_T_POOL);
  if (p == NULL || value == NULL || attribute < 1 || attribute > USED_HIGH) return CU_INVALID_VALUE;
  SIM_LOCK();
  if (attribute == THRESHOLD) p->threshold = *(const uint64_t *)value;
  if (attribute == RESERVED_HIGH)
    p->reserved_high = p->reserved; /* only 0 may be written: starts anew */
  if (attribute == USED_HIGH) p->used_high = p->used;
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API3(cuMemPoolGetAttribute, 604, void *, handle, int, attribute, void *, value) {
  struct sim_pool *p = sim_check(handle, SIM_T_POOL);
  if (p == NULL || value == NULL || attribute < 1 || attribute > USED_HIGH) return CU_INVALID_VALUE;
  SIM_LOCK();
  switch (attribute) {
  case THRESHOLD:
    *(uint64_t *)value = p->threshold;
    break;
  case RESERVED:
    *(uint64_t *)value = p->reserved;
    break;
  case RESERVED_HIGH:
    *(uint64_t *)value = p->reserved_high;
    break;
  case USED:
    *(uint64_t *)value = p->used;
    break;
  case USED_HIGH:
    *(uint64_t *)value = p->used_high;
    break;
  default:
    *(int *)value = 1;
    break; /* the reuse policies are ints, on by default */
  }
  SIM_UNLOCK();
  return CU_OK;
}

static int pool_of(void **out, int dev, bool builtin) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (dev < 0 || dev >= sim.count) return CU_INVALID_DEVICE;
  *out = builtin ? sim.devices[dev].default_pool : sim.devices[dev].pool;
  return CU_OK;
}

SIM_API2(cuDeviceGetDefaultMemPool, 606, void **, out, int, dev) { return pool_of(out, dev, true); }

SIM_API2(cuDeviceGetMemPool, 610, void **, out, int, dev) { return pool_of(out, dev, false); }

SIM_API2(cuDeviceSetMemPool, 609, int, dev, void *, pool) {
  struct sim_pool *p = sim_check(pool, SIM_T_POOL);
  if (dev < 0 || dev >= sim.count) return CU_INVALID_DEVICE;
  if (p == NULL || p->device != (uint32_t)dev) return CU_INVALID_VALUE;
  SIM_LOCK();
  sim.devices[dev].pool = p;
  SIM_UNLOCK();
  return CU_OK;
}
