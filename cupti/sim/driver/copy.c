/* copy.c: copies and sets. The bytes move when the call is made; the time they take is invented. */
#include "driver.h"

#include <string.h>

/* CUPTI's numbers */
enum { HTOD = 1, DTOH = 2, DTOD = 8, HTOH = 9, PTOP = 10 };
enum { PAGEABLE = 1, PINNED = 2, DEVICE = 3, MANAGED = 5 };

/* Bytes a microsecond. */
enum { PAGEABLE_RATE = 10000, PINNED_RATE = 50000, DEVICE_RATE = 1500000, SET_RATE = 2500000 };

static uint8_t kind_of(uint64_t address) {
  struct sim_range *r = sim_find(address);
  if (r == NULL) return PAGEABLE;
  switch (r->space) {
  case SIM_HOST:
  case SIM_REGISTERED:
    return PINNED;
  case SIM_MANAGED:
    return MANAGED;
  default:
    return DEVICE;
  }
}

static bool on_host(uint8_t kind) { return kind == PAGEABLE || kind == PINNED; }

struct copy {
  uint64_t to, from, bytes;
  uint8_t kind; /* 0: by the addresses */
  bool async;
  uint32_t peer, peer_context;
};

static int copy(const struct copy *c, void *stream) {
  struct sim_stream *s = sim_stream(stream);
  if (s == NULL) return sim_current() == NULL ? CU_INVALID_CONTEXT : CU_INVALID_HANDLE;
  if (c->bytes == 0) return CU_OK;
  SIM_LOCK();
  struct sim_work work = {.kind = SIM_COPY,
                          .bytes = c->bytes,
                          .async = c->async,
                          .src_kind = kind_of(c->from),
                          .dst_kind = kind_of(c->to),
                          .copy_kind = c->kind,
                          .peer = c->peer,
                          .peer_context = c->peer_context};
  bool from_host = on_host(work.src_kind), to_host = on_host(work.dst_kind);
  if (work.copy_kind == 0)
    work.copy_kind = from_host ? (to_host ? HTOH : HTOD) : to_host ? DTOH : DTOD;
  bool device_from = work.copy_kind != HTOD && work.copy_kind != HTOH,
       device_to = work.copy_kind != DTOH && work.copy_kind != HTOH;
  if ((device_from && !sim_accessible(c->from, c->bytes)) ||
      (device_to && !sim_accessible(c->to, c->bytes))) {
    SIM_UNLOCK();
    return CU_INVALID_VALUE;
  }
  uint64_t rate = DEVICE_RATE;
  if (from_host || to_host)
    rate = work.src_kind == PAGEABLE || work.dst_kind == PAGEABLE ? PAGEABLE_RATE : PINNED_RATE;
  if (s->capture == NULL)
    memmove((void *)(uintptr_t)c->to, (const void *)(uintptr_t)c->from, c->bytes);
  int result = sim_schedule(s, &work, 1000 + c->bytes * 1000 / rate);
  SIM_UNLOCK();
  if (result == CU_OK && !c->async) sim_wait_until(work.end);
  return result;
}

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

SIM_API3(cuMemcpyHtoD_v2, 276, uint64_t, to, const void *, from, size_t, bytes) {
  return copy(&(struct copy){.to = to, .from = ADDRESS(from), .bytes = bytes, .kind = HTOD}, NULL);
}

SIM_API3(cuMemcpyDtoH_v2, 278, void *, to, uint64_t, from, size_t, bytes) {
  return copy(&(struct copy){.to = ADDRESS(to), .from = from, .bytes = bytes, .kind = DTOH}, NULL);
}

SIM_API3(cuMemcpyDtoD_v2, 280, uint64_t, to, uint64_t, from, size_t, bytes) {
  return copy(&(struct copy){.to = to, .from = from, .bytes = bytes, .kind = DTOD, .async = true},
              NULL);
}

SIM_API4(
    cuMemcpyHtoDAsync_v2, 277, uint64_t, to, const void *, from, size_t, bytes, void *, stream) {
  return copy(
      &(struct copy){.to = to, .from = ADDRESS(from), .bytes = bytes, .kind = HTOD, .async = true},
      stream);
}

SIM_API4(cuMemcpyDtoHAsync_v2, 279, void *, to, uint64_t, from, size_t, bytes, void *, stream) {
  return copy(
      &(struct copy){.to = ADDRESS(to), .from = from, .bytes = bytes, .kind = DTOH, .async = true},
      stream);
}

SIM_API4(cuMemcpyDtoDAsync_v2, 281, uint64_t, to, uint64_t, from, size_t, bytes, void *, stream) {
  return copy(&(struct copy){.to = to, .from = from, .bytes = bytes, .kind = DTOD, .async = true},
              stream);
}

SIM_API3(cuMemcpy, 305, uint64_t, to, uint64_t, from, size_t, bytes) {
  return copy(&(struct copy){.to = to, .from = from, .bytes = bytes}, NULL);
}

SIM_API4(cuMemcpyAsync, 306, uint64_t, to, uint64_t, from, size_t, bytes, void *, stream) {
  return copy(&(struct copy){.to = to, .from = from, .bytes = bytes, .async = true}, stream);
}

static int copy_peer(uint64_t to,
                     void *to_context,
                     uint64_t from,
                     void *from_context,
                     size_t bytes,
                     bool async,
                     void *stream) {
  struct sim_context *dst = sim_check(to_context, SIM_T_CONTEXT),
                     *src = sim_check(from_context, SIM_T_CONTEXT);
  if (dst == NULL || src == NULL) return CU_INVALID_CONTEXT;
  uint8_t kind = dst->device == src->device ? DTOD : PTOP;
  return copy(&(struct copy){.to = to,
                             .from = from,
                             .bytes = bytes,
                             .kind = kind,
                             .async = async,
                             .peer = dst->device,
                             .peer_context = dst->object.id},
              stream);
}

SIM_API5(cuMemcpyPeer,
         318,
         uint64_t,
         to,
         void *,
         to_context,
         uint64_t,
         from,
         void *,
         from_context,
         size_t,
         bytes) {
  return copy_peer(to, to_context, from, from_context, bytes, false, NULL);
}

SIM_API6(cuMemcpyPeerAsync,
         319,
         uint64_t,
         to,
         void *,
         to_context,
         uint64_t,
         from,
         void *,
         from_context,
         size_t,
         bytes,
         void *,
         stream) {
  return copy_peer(to, to_context, from, from_context, bytes, true, stream);
}

static int set(uint64_t to, uint32_t value, size_t width, size_t count, bool async, void *stream) {
  struct sim_stream *s = sim_stream(stream);
  if (s == NULL) return sim_current() == NULL ? CU_INVALID_CONTEXT : CU_INVALID_HANDLE;
  if (to % width != 0) return CU_INVALID_VALUE;
  if (count == 0) return CU_OK;
  uint64_t bytes = count * width;
  SIM_LOCK();
  if (!sim_accessible(to, bytes)) {
    SIM_UNLOCK();
    return CU_INVALID_VALUE;
  }
  struct sim_work work = {
      .kind = SIM_SET, .bytes = bytes, .value = value, .async = async, .dst_kind = kind_of(to)};
  if (s->capture == NULL) {
    unsigned char *p = (unsigned char *)(uintptr_t)to;
    if (width == 1) {
      memset(p, (int)value, bytes);
    } else {
      for (size_t i = 0; i < bytes; i += width)
        memcpy(p + i, &value, width); /* little-endian: the low bytes */
    }
  }
  int result = sim_schedule(s, &work, 1000 + bytes * 1000 / SET_RATE);
  SIM_UNLOCK();
  return result;
}

SIM_API3(cuMemsetD8_v2, 249, uint64_t, to, uint8_t, value, size_t, count) {
  return set(to, value, 1, count, false, NULL);
}

SIM_API3(cuMemsetD16_v2, 250, uint64_t, to, uint16_t, value, size_t, count) {
  return set(to, value, 2, count, false, NULL);
}

SIM_API3(cuMemsetD32_v2, 251, uint64_t, to, uint32_t, value, size_t, count) {
  return set(to, value, 4, count, false, NULL);
}

SIM_API4(cuMemsetD8Async, 216, uint64_t, to, uint8_t, value, size_t, count, void *, stream) {
  return set(to, value, 1, count, true, stream);
}

SIM_API4(cuMemsetD16Async, 218, uint64_t, to, uint16_t, value, size_t, count, void *, stream) {
  return set(to, value, 2, count, true, stream);
}

SIM_API4(cuMemsetD32Async, 220, uint64_t, to, uint32_t, value, size_t, count, void *, stream) {
  return set(to, value, 4, count, true, stream);
}
