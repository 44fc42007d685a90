/* memory.c: the address table, device, managed and host memory.
 *
 * "Device" memory is ordinary memory of the process, taken lazily by the kernel, so that copies
 * and sets really move bytes. Simulated kernels do not. Addresses are reused first-fit, as real
 * allocators reuse them. What is counted is what was asked for, without rounding.
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Address space, not memory, for all devices: as much as there is up to a terabyte (sanitizers and
 * limits leave less). */
static const uint64_t ARENA = 1ull << 40, SMALLEST_ARENA = 1ull << 34;
enum { ALIGN = 512 };

static struct sim_range *table;
static size_t count, room;
static uint64_t arena, arena_end;

/* Index of the first range that ends after `address`. */
static size_t lower(uint64_t address) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (table[middle].address + table[middle].size <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* The range that contains the address, mappings before reservations. NULL: none. */
struct sim_range *sim_find(uint64_t address) {
  size_t i = lower(address);
  return i < count && table[i].address <= address ? &table[i] : NULL;
}

int sim_range_add(const struct sim_range *range) {
  if (count == room) {
    size_t bigger = room == 0 ? 64 : 2 * room;
    struct sim_range *grown = realloc(table, bigger * sizeof *grown);
    if (grown == NULL) return CU_OUT_OF_MEMORY;
    table = grown;
    room = bigger;
  }
  size_t i = lower(range->address);
  memmove(&table[i + 1], &table[i], (count - i) * sizeof *table);
  table[i] = *range;
  count++;
  return CU_OK;
}

void sim_range_remove(struct sim_range *range) {
  size_t i = (size_t)(range - table);
  memmove(&table[i], &table[i + 1], (count - i - 1) * sizeof *table);
  count--;
}

bool sim_take(uint32_t device, uint64_t bytes) {
  struct sim_device *d = &sim.devices[device];
  if (bytes > d->info.memory - d->used) return false;
  d->used += bytes;
  return true;
}

void sim_give(uint32_t device, uint64_t bytes) { sim.devices[device].used -= bytes; }

/* First gap of the arena that is large enough; 0: none. */
static uint64_t place(uint64_t size) {
  if (arena == 0) {
    void *p = MAP_FAILED;
    uint64_t bytes = ARENA;
    for (; p == MAP_FAILED && bytes >= SMALLEST_ARENA; bytes /= 2) {
      p = mmap(
          NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p != MAP_FAILED) break;
    }
    if (p == MAP_FAILED) return 0;
    madvise(p, bytes, MADV_DONTDUMP);
    uint64_t begin = (uint64_t)(uintptr_t)p;
    arena = (begin + SIM_GRANULARITY - 1) / SIM_GRANULARITY * SIM_GRANULARITY;
    arena_end = begin + bytes;
  }
  uint64_t at = arena, end = arena_end;
  for (size_t i = lower(arena); i < count && table[i].address < end; i++) {
    if (table[i].address >= at && table[i].address - at >= size) return at;
    at = (table[i].address + table[i].size + ALIGN - 1) / ALIGN * ALIGN;
  }
  return end - at >= size ? at : 0;
}

int sim_allocate(uint32_t device,
                 enum sim_space space,
                 uint64_t size,
                 struct sim_pool *pool,
                 uint64_t *address) {
  if (size == 0 || address == NULL) return CU_INVALID_VALUE;
  if (size > ARENA) return CU_OUT_OF_MEMORY;
  bool taken = pool != NULL ? sim_pool_grow(pool, size) : sim_take(device, size);
  if (!taken) return CU_OUT_OF_MEMORY;
  struct sim_range range = {.address = place(size),
                            .size = size,
                            .space = space,
                            .device = device,
                            .pool = pool,
                            .context = sim_current()};
  if (range.address == 0 || sim_range_add(&range) != CU_OK) {
    if (pool != NULL) {
      sim_pool_shrink(pool, size);
    } else {
      sim_give(device, size);
    }
    return CU_OUT_OF_MEMORY;
  }
  *address = range.address;
  return CU_OK;
}

static void drop_pages(uint64_t address, uint64_t size) {
  uint64_t first = (address + 4095) / 4096 * 4096, last = (address + size) / 4096 * 4096;
  if (last > first) madvise((void *)(uintptr_t)first, last - first, MADV_DONTNEED);
}

static void release(struct sim_range *r) {
  switch (r->space) {
  case SIM_DEVICE:
  case SIM_MANAGED:
    sim_give(r->device, r->size);
    break;
  case SIM_POOLED:
    sim_pool_shrink(r->pool, r->size);
    break;
  default:
    break;
  }
  if (r->space == SIM_HOST) {
    free((void *)(uintptr_t)r->address);
  } else {
    drop_pages(r->address, r->size);
  }
  sim_range_remove(r);
}

int sim_release(uint64_t address, bool host) {
  struct sim_range *r = sim_find(address);
  if (r == NULL || r->address != address || r->space > SIM_HOST || (r->space == SIM_HOST) != host)
    return CU_INVALID_VALUE;
  release(r);
  return CU_OK;
}

void sim_forget_context(const struct sim_context *context) {
  for (size_t i = count; i > 0; i--) {
    if (table[i - 1].context == context && table[i - 1].space <= SIM_HOST) release(&table[i - 1]);
  }
}

/* Whether all the bytes are device-side memory that may be touched. Mappings may lie side by side.
 */
bool sim_accessible(uint64_t address, uint64_t size) {
  while (size > 0) {
    struct sim_range *r = sim_find(address);
    if (r == NULL || r->space == SIM_RESERVED || (r->space == SIM_MAPPED && !r->access))
      return false;
    uint64_t inside = r->address + r->size - address;
    if (inside >= size) return true;
    address += inside;
    size -= inside;
  }
  return true;
}

SIM_API2(cuMemGetInfo_v2, 242, size_t *, free_bytes, size_t *, total) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (free_bytes == NULL || total == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_device *d = &sim.devices[c->device];
  *total = d->info.memory;
  *free_bytes = d->info.memory - d->used;
  SIM_UNLOCK();
  return CU_OK;
}

static int allocate_here(enum sim_space space, uint64_t size, uint64_t *address) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  SIM_LOCK();
  int result = sim_allocate(c->device, space, size, NULL, address);
  SIM_UNLOCK();
  return result;
}

SIM_API2(cuMemAlloc_v2, 243, uint64_t *, address, size_t, size) {
  return allocate_here(SIM_DEVICE, size, address);
}

SIM_API5(cuMemAllocPitch_v2,
         244,
         uint64_t *,
         address,
         size_t *,
         pitch,
         size_t,
         width,
         size_t,
         height,
         unsigned,
         element) {
  (void)element;
  if (pitch == NULL) return CU_INVALID_VALUE;
  *pitch = (width + ALIGN - 1) / ALIGN * ALIGN;
  if (height != 0 && *pitch > ARENA / height) return CU_OUT_OF_MEMORY;
  return allocate_here(SIM_DEVICE, *pitch * height, address);
}

SIM_API3(cuMemAllocManaged, 371, uint64_t *, address, size_t, size, unsigned, flags) {
  if (flags != 1 && flags != 2) return CU_INVALID_VALUE;
  return allocate_here(SIM_MANAGED, size, address);
}

SIM_API1(cuMemFree_v2, 245, uint64_t, address) {
  if (address == 0) return CU_OK;
  SIM_LOCK();
  int result = sim_release(address, false);
  SIM_UNLOCK();
  return result;
}

SIM_API3(cuMemGetAddressRange_v2, 246, uint64_t *, base, size_t *, size, uint64_t, address) {
  SIM_LOCK();
  struct sim_range *r = sim_find(address);
  if (r != NULL && base != NULL) *base = r->address;
  if (r != NULL && size != NULL) *size = r->size;
  SIM_UNLOCK();
  return r == NULL ? CU_NOT_FOUND : CU_OK;
}

static int allocate_host(void **out, size_t size) {
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (out == NULL || size == 0 || size > ARENA) return CU_INVALID_VALUE;
  void *p = NULL;
  if (posix_memalign(&p, 4096, size) != 0) return CU_OUT_OF_MEMORY;
  struct sim_range range = {.address = (uint64_t)(uintptr_t)p,
                            .size = size,
                            .space = SIM_HOST,
                            .device = c->device,
                            .context = c};
  SIM_LOCK();
  int result = sim_range_add(&range);
  SIM_UNLOCK();
  if (result != CU_OK) {
    free(p);
    return result;
  }
  *out = p;
  return CU_OK;
}

SIM_API3(cuMemHostAlloc, 39, void **, out, size_t, size, unsigned, flags) {
  return flags > 15 ? CU_INVALID_VALUE : allocate_host(out, size);
}

SIM_API2(cuMemAllocHost_v2, 294, void **, out, size_t, size) { return allocate_host(out, size); }

SIM_API1(cuMemFreeHost, 38, void *, p) {
  SIM_LOCK();
  int result = sim_release((uint64_t)(uintptr_t)p, true);
  SIM_UNLOCK();
  return result;
}

SIM_API3(cuMemHostRegister_v2, 379, void *, p, size_t, size, unsigned, flags) {
  (void)flags;
  struct sim_context *c = sim_current();
  if (c == NULL) return CU_INVALID_CONTEXT;
  if (p == NULL || size == 0) return CU_INVALID_VALUE;
  struct sim_range range = {.address = (uint64_t)(uintptr_t)p,
                            .size = size,
                            .space = SIM_REGISTERED,
                            .device = c->device,
                            .context = c};
  SIM_LOCK();
  size_t i = lower(range.address);
  bool overlaps = i < count && table[i].address < range.address + size;
  int result = overlaps ? CU_HOST_ALREADY_REGISTERED : sim_range_add(&range);
  SIM_UNLOCK();
  return result;
}

SIM_API1(cuMemHostUnregister, 302, void *, p) {
  SIM_LOCK();
  struct sim_range *r = sim_find((uint64_t)(uintptr_t)p);
  bool known = r != NULL && r->space == SIM_REGISTERED && r->address == (uint64_t)(uintptr_t)p;
  if (known) sim_range_remove(r);
  SIM_UNLOCK();
  return known ? CU_OK : CU_HOST_NOT_REGISTERED;
}

SIM_API3(cuMemHostGetDevicePointer_v2, 247, uint64_t *, address, void *, p, unsigned, flags) {
  if (address == NULL || flags != 0) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_range *r = sim_find((uint64_t)(uintptr_t)p);
  SIM_UNLOCK();
  if (r == NULL) return CU_INVALID_VALUE;
  *address = (uint64_t)(uintptr_t)p;
  return CU_OK;
}

/* CUpointer_attribute, those that have an answer here */
SIM_API3(cuPointerGetAttribute, 310, void *, data, int, attribute, uint64_t, address) {
  if (data == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_range *r = sim_find(address);
  struct sim_range found = r != NULL ? *r : (struct sim_range){0};
  SIM_UNLOCK();
  if (r == NULL || found.space == SIM_RESERVED) return CU_INVALID_VALUE;
  bool host = found.space == SIM_HOST || found.space == SIM_REGISTERED;
  switch (attribute) {
  case 1:
    *(struct sim_context **)data = found.context;
    return CU_OK;
  case 2:
    memcpy(data, &(uint32_t){host ? 1 : 2}, 4);
    return CU_OK;
  case 3:
    memcpy(data, &address, sizeof address);
    return CU_OK;
  case 8:
    memcpy(data, &(uint8_t){found.space == SIM_MANAGED}, 1);
    return CU_OK;
  case 9:
    memcpy(data, &found.device, sizeof found.device);
    return CU_OK;
  case 11:
    memcpy(data, &found.address, sizeof found.address);
    return CU_OK;
  case 12:
    memcpy(data, &found.size, sizeof found.size);
    return CU_OK;
  default:
    return CU_NOT_SUPPORTED;
  }
}
