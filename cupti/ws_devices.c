#include "ws_devices.h"

enum {
  MULTIPROCESSORS = 16,
  CAPABILITY_MAJOR = 75,
  CAPABILITY_MINOR = 76
}; /* CUdevice_attribute */
enum {
  POOL_RESERVED = 5,
  POOL_RESERVED_HIGH = 6,
  POOL_USED = 7,
  POOL_USED_HIGH = 8
}; /* CUmemPool_attribute */
#define ORDINALS_MAX 64

static int device_count(const struct ws_driver *d) {
  int count = 0;
  if (!d->device_count || !d->device_get || d->device_count(&count) != 0) return 0;
  return count < ORDINALS_MAX ? count : ORDINALS_MAX;
}

static int attribute(const struct ws_driver *d, int name, int device) {
  int value = 0;
  if (!d->device_attribute || d->device_attribute(&value, name, device) != 0) return 0;
  return value;
}

void ws_devices_describe(struct ws_shm *shm, struct ws_arena *arena, const struct ws_driver *d) {
  for (int ordinal = 0; ordinal < device_count(d); ordinal++) {
    int device;
    if (d->device_get(&device, ordinal) != 0) continue;
    struct ws_device r = {
        .rec = {.type = WS_REC_DEVICE},
        .device = ordinal,
        .multiprocessors = (uint32_t)attribute(d, MULTIPROCESSORS, device),
        .major = (uint16_t)attribute(d, CAPABILITY_MAJOR, device),
        .minor = (uint16_t)attribute(d, CAPABILITY_MINOR, device),
    };
    size_t memory = 0;
    char name[128] = "";
    if (d->device_uuid) d->device_uuid(r.uuid, device);
    if (d->device_memory && d->device_memory(&memory, device) == 0) r.memory = memory;
    if (d->device_name && d->device_name(name, sizeof name, device) == 0)
      r.name = ws_arena_string(arena, name, WS_REC_DEVICE);
    ws_ring_push(shm, &shm->alloc, &r.rec, 1);
  }
}

void ws_devices_pools(struct ws_shm *shm, const struct ws_driver *d) {
  if (!d->default_pool || !d->pool_attribute) return;
  for (int ordinal = 0; ordinal < device_count(d); ordinal++) {
    int device;
    void *pool;
    if (d->device_get(&device, ordinal) != 0 || d->default_pool(&pool, device) != 0) continue;
    struct ws_pool r = {.rec = {.type = WS_REC_POOL}, .time = ws_mono(), .device = ordinal};
    d->pool_attribute(pool, POOL_RESERVED, &r.bytes_reserved);
    d->pool_attribute(pool, POOL_USED, &r.used);
    d->pool_attribute(pool, POOL_RESERVED_HIGH, &r.reserved_high);
    d->pool_attribute(pool, POOL_USED_HIGH, &r.used_high);
    if (r.reserved_high) ws_ring_push(shm, &shm->alloc, &r.rec, 1);
  }
}
