/* vmm.c: physical memory by handle, address ranges, mappings. All physical memory is one sparse
 * file, so that a handle may be mapped twice and both places show the same bytes. It is given
 * back when the handle is released and nothing maps it any more. */
#include "driver.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int file = -1;
static uint64_t file_end;

/* The head of CUmemAllocationProp */
struct allocation_prop {
  uint32_t type, handles, location_type;
  int32_t location;
};

static bool valid(const struct allocation_prop *p) {
  if (p == NULL || p->type != 1) return false;
  return p->location_type == 2 ||
         (p->location_type == 1 && p->location >= 0 && p->location < sim.count);
}

static bool aligned(uint64_t n) { return n != 0 && n % SIM_GRANULARITY == 0; }

SIM_API3(cuMemGetAllocationGranularity,
         556,
         size_t *,
         out,
         const struct allocation_prop *,
         prop,
         int,
         option) {
  (void)option;
  if (out == NULL || !valid(prop)) return CU_INVALID_VALUE;
  *out = SIM_GRANULARITY;
  return CU_OK;
}

SIM_API4(cuMemCreate,
         549,
         uint64_t *,
         out,
         size_t,
         size,
         const struct allocation_prop *,
         prop,
         uint64_t,
         flags) {
  if (out == NULL || !aligned(size) || !valid(prop) || flags != 0) return CU_INVALID_VALUE;
  bool host = prop->location_type == 2;
  uint32_t device = host ? 0 : (uint32_t)prop->location;
  int result = CU_OK;
  SIM_LOCK();
  if (file < 0) file = memfd_create("warpscope-sim-memory", MFD_CLOEXEC);
  if (!host && !sim_take(device, size)) {
    result = CU_OUT_OF_MEMORY;
  } else if (file < 0 || ftruncate(file, (off_t)(file_end + size)) != 0) {
    if (!host) sim_give(device, size);
    result = CU_OUT_OF_MEMORY;
  } else {
    struct sim_handle *h = sim_new(SIM_T_HANDLE, sizeof *h);
    h->device = device;
    h->host = host;
    h->size = size;
    h->offset = file_end;
    h->references = 1;
    file_end += size;
    *out = (uint64_t)(uintptr_t)h;
  }
  SIM_UNLOCK();
  return result;
}

/* The lock is held. */
static void settle(struct sim_handle *h) {
  if (h->references > 0 || h->maps > 0) return;
  if (!h->host) sim_give(h->device, h->size);
  if (fallocate(
          file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)h->offset, (off_t)h->size) !=
      0) {
    /* the bytes stay in the file until the process ends */
  }
  sim_delete(h);
}

SIM_API1(cuMemRelease, 550, uint64_t, handle) {
  struct sim_handle *h = sim_check((void *)(uintptr_t)handle, SIM_T_HANDLE);
  if (h == NULL || h->references == 0) return CU_INVALID_VALUE;
  SIM_LOCK();
  h->references--;
  settle(h);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API5(cuMemAddressReserve,
         547,
         uint64_t *,
         out,
         size_t,
         size,
         size_t,
         alignment,
         uint64_t,
         hint,
         uint64_t,
         flags) {
  (void)hint;
  if (out == NULL || !aligned(size) || flags != 0 || size > 1ull << 44) return CU_INVALID_VALUE;
  if (alignment != 0 && (alignment & (alignment - 1)) != 0) return CU_INVALID_VALUE;
  if (alignment < SIM_GRANULARITY) alignment = SIM_GRANULARITY;
  uint64_t whole = size + alignment;
  void *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return CU_OUT_OF_MEMORY;
  uint64_t begin = (uint64_t)(uintptr_t)p, at = (begin + alignment - 1) / alignment * alignment;
  if (at > begin) munmap(p, at - begin);
  if (begin + whole > at + size) munmap((void *)(uintptr_t)(at + size), begin + whole - at - size);
  struct sim_range range = {.address = at, .size = size, .space = SIM_RESERVED, .reservation = at};
  SIM_LOCK();
  int result = sim_range_add(&range);
  SIM_UNLOCK();
  if (result == CU_OK) *out = at;
  return result;
}

SIM_API2(cuMemAddressFree, 548, uint64_t, address, size_t, size) {
  SIM_LOCK();
  struct sim_range *r = sim_find(address);
  /* A reservation in which something is mapped has been cut into pieces: it does not match. */
  bool whole = r != NULL && r->space == SIM_RESERVED && r->address == address && r->size == size;
  if (whole) {
    sim_range_remove(r);
    munmap((void *)(uintptr_t)address, size);
  }
  SIM_UNLOCK();
  return whole ? CU_OK : CU_INVALID_VALUE;
}

SIM_API5(cuMemMap,
         551,
         uint64_t,
         address,
         size_t,
         size,
         size_t,
         offset,
         uint64_t,
         handle,
         uint64_t,
         flags) {
  struct sim_handle *h = sim_check((void *)(uintptr_t)handle, SIM_T_HANDLE);
  if (h == NULL || h->references == 0 || !aligned(size) || address % SIM_GRANULARITY != 0 ||
      flags != 0)
    return CU_INVALID_VALUE;
  if (offset != 0 || size > h->size)
    return CU_INVALID_VALUE; /* the real driver wants offset 0 too */
  SIM_LOCK();
  struct sim_range *r = sim_find(address);
  int result = CU_INVALID_VALUE;
  if (r != NULL && r->space == SIM_RESERVED && r->address + r->size - address >= size) {
    struct sim_range old = *r;
    struct sim_range mapped = {.address = address,
                               .size = size,
                               .space = SIM_MAPPED,
                               .device = h->device,
                               .handle = h,
                               .reservation = old.reservation};
    void *p = mmap((void *)(uintptr_t)address,
                   size,
                   PROT_NONE,
                   MAP_SHARED | MAP_FIXED,
                   file,
                   (off_t)h->offset);
    result = p == MAP_FAILED ? CU_OUT_OF_MEMORY : CU_OK;
    if (result == CU_OK) {
      struct sim_range before = {.address = old.address,
                                 .size = address - old.address,
                                 .space = SIM_RESERVED,
                                 .reservation = old.reservation};
      struct sim_range after = {.address = address + size,
                                .size = old.address + old.size - address - size,
                                .space = SIM_RESERVED,
                                .reservation = old.reservation};
      sim_range_remove(r);
      if (before.size > 0) sim_range_add(&before);
      sim_range_add(&mapped);
      if (after.size > 0) sim_range_add(&after);
      h->maps++;
    }
  }
  SIM_UNLOCK();
  return result;
}

/* Joins the free pieces around a range again, so that the reservation can be given back whole. */
static void join(uint64_t address) {
  struct sim_range *r = sim_find(address);
  struct sim_range whole = *r;
  struct sim_range *next = sim_find(whole.address + whole.size);
  if (next != NULL && next->space == SIM_RESERVED && next->reservation == whole.reservation) {
    whole.size += next->size;
    sim_range_remove(next);
  }
  struct sim_range *before = sim_find(whole.address - 1);
  if (before != NULL && before->space == SIM_RESERVED && before->reservation == whole.reservation) {
    whole.address = before->address;
    whole.size += before->size;
    sim_range_remove(before);
  }
  sim_range_remove(sim_find(address));
  sim_range_add(&whole);
}

SIM_API2(cuMemUnmap, 552, uint64_t, address, size_t, size) {
  uint64_t end = address + size;
  int result = size == 0 ? CU_INVALID_VALUE : CU_OK;
  SIM_LOCK();
  for (uint64_t at = address; at < end && result == CU_OK;) { /* only whole mappings */
    struct sim_range *r = sim_find(at);
    if (r == NULL || r->space != SIM_MAPPED || r->address != at || r->size > end - at)
      result = CU_INVALID_VALUE;
    if (r != NULL) at += r->size;
  }
  while (address < end && result == CU_OK) {
    struct sim_range *r = sim_find(address);
    struct sim_handle *h = r->handle;
    uint64_t length = r->size;
    void *empty = mmap((void *)(uintptr_t)address,
                       length,
                       PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                       -1,
                       0);
    if (empty == MAP_FAILED) { /* the mapping stays where it is */
      result = CU_OUT_OF_MEMORY;
      break;
    }
    *r = (struct sim_range){
        .address = address, .size = length, .space = SIM_RESERVED, .reservation = r->reservation};
    join(address);
    h->maps--;
    settle(h);
    address += length;
  }
  SIM_UNLOCK();
  return result;
}

/* CUmemAccessDesc */
struct access_desc {
  uint32_t location_type;
  int32_t location;
  uint32_t flags;
};

SIM_API4(cuMemSetAccess,
         553,
         uint64_t,
         address,
         size_t,
         size,
         const struct access_desc *,
         desc,
         size_t,
         count) {
  if (desc == NULL || count == 0 || size == 0) return CU_INVALID_VALUE;
  int result = CU_OK;
  SIM_LOCK();
  for (uint64_t at = address; at < address + size && result == CU_OK;) {
    struct sim_range *r = sim_find(at);
    if (r == NULL || r->space != SIM_MAPPED) {
      result = CU_INVALID_VALUE;
      break;
    }
    for (size_t i = 0; i < count; i++) r->access = desc[i].flags != 0;
    mprotect(
        (void *)(uintptr_t)r->address, r->size, r->access ? PROT_READ | PROT_WRITE : PROT_NONE);
    at = r->address + r->size;
  }
  SIM_UNLOCK();
  return result;
}

SIM_API2(cuMemRetainAllocationHandle, 565, uint64_t *, out, void *, address) {
  if (out == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_range *r = sim_find((uint64_t)(uintptr_t)address);
  bool known = r != NULL && r->space == SIM_MAPPED;
  if (known) {
    r->handle->references++;
    *out = (uint64_t)(uintptr_t)r->handle;
  }
  SIM_UNLOCK();
  return known ? CU_OK : CU_INVALID_VALUE;
}
