#define _GNU_SOURCE
#include "ws_buffers.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

/* Big enough that a launch-bound program (40k kernels/s of 216 bytes) fills one in 120 ms, small
 * enough that one buffer for each thread (CUPTI 13.0 and newer) stays cheap. */
#define BUFFER_SIZE (1u << 20)
/* At most this many at once: 64 MiB of host memory. */
#define BUFFERS_MAX 64u

/* A flush brings only buffers without a record of work that is still under way. On a GPU that is
 * never idle that is none but the full ones, so that a buffer which takes ten seconds to fill is
 * what SIGKILL can lose. CUPTI is told of as much of each buffer as fills in this time at the rate
 * measured. */
#define FILL_NS 125000000ull
#define RATE_NS 500000000ull /* over which the rate is measured */
#define SIZE_LEAST (16u << 10)
#define SIZE_FIRST (64u << 10)
/* So many requests between two turns of the worker, for each buffer that was in use at the first:
 * the rate has grown, or the worker is held up. */
#define REQUESTS_MANY 4u
/* CUPTI keeps buffers whose work is still to come: a program that launches graphs far ahead, node
 * by node, would have all of them while they are small. */
#define OUT_MANY (BUFFERS_MAX / 4)

static struct {
  struct ws_shm *shm;
  pid_t process; /* whose pool this is: a child made without the C library's fork gets our callbacks
                    too */
  _Atomic(uint8_t *) idle[BUFFERS_MAX];
  _Atomic uint32_t mapped;
  _Atomic bool closed;
  _Atomic uint32_t discards; /* discard buffers in the queue */
  _Atomic uint32_t size;     /* bytes of a buffer that CUPTI is told of */
  _Atomic uint32_t out;      /* buffers that CUPTI has */
  _Atomic uint32_t had;      /* at the worker's last turn */
  _Atomic uint32_t requests; /* since the worker's last turn */
  uint64_t bytes, since;     /* worker: delivered since a moment; 0: none yet */
  struct {
    _Atomic uint32_t ready; /* 0 free, 1 being written, 2 to be read */
    struct ws_filled filled;
  } queue[2 * BUFFERS_MAX];
  _Atomic uint32_t head; /* next place for CUPTI's threads */
  uint32_t tail;         /* next place for the worker */
} pool;

static uint8_t discard[BUFFER_SIZE] __attribute__((aligned(64)));

void ws_buffers_open(struct ws_shm *shm) {
  pool.shm = shm;
  pool.process = getpid();
  atomic_store(&pool.size, SIZE_FIRST);
}

void ws_buffers_turn(uint64_t now) {
  uint32_t out = atomic_load_explicit(&pool.out, memory_order_relaxed);
  atomic_store_explicit(&pool.requests, 0, memory_order_relaxed);
  atomic_store_explicit(&pool.had, out, memory_order_relaxed);
  if (!pool.since) pool.since = now;
  uint64_t passed = now - pool.since;
  if (passed < RATE_NS) return;
  uint64_t size = pool.bytes * FILL_NS / passed / (out ? out : 1);
  size = size < SIZE_LEAST ? SIZE_LEAST : size > BUFFER_SIZE ? BUFFER_SIZE : size & ~4095ull;
  atomic_store_explicit(&pool.size, (uint32_t)size, memory_order_relaxed);
  pool.bytes = 0;
  pool.since = now;
}

static uint32_t size_of_next(void) {
  uint32_t out = atomic_load_explicit(&pool.out, memory_order_relaxed);
  uint32_t had = atomic_load_explicit(&pool.had, memory_order_relaxed);
  uint32_t requests = atomic_fetch_add_explicit(&pool.requests, 1, memory_order_relaxed);
  if (out >= OUT_MANY || requests >= REQUESTS_MANY * (had ? had : 1)) return BUFFER_SIZE;
  return atomic_load_explicit(&pool.size, memory_order_relaxed);
}

bool ws_buffers_is_discard(const uint8_t *data) { return data == discard; }

void ws_buffers_close(void) { atomic_store(&pool.closed, true); }

/* The shared memory is not mapped in children. */
static bool ours(void) { return pool.process == getpid(); }

static uint8_t *map_one(void) {
  if (atomic_fetch_add(&pool.mapped, 1) >= BUFFERS_MAX) {
    atomic_fetch_sub(&pool.mapped, 1);
    return NULL;
  }
  void *p = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    atomic_fetch_sub(&pool.mapped, 1);
    return NULL;
  }
  if (ours()) __atomic_fetch_add(&pool.shm->header->buffer_bytes, BUFFER_SIZE, __ATOMIC_RELAXED);
  return p;
}

void ws_buffers_request(uint8_t **data, size_t *size, size_t *max_records) {
  *size = size_of_next();
  *max_records = 0;
  atomic_fetch_add_explicit(&pool.out, 1, memory_order_relaxed);
  for (unsigned i = 0; i < BUFFERS_MAX; i++) {
    if (!atomic_load_explicit(&pool.idle[i], memory_order_relaxed)) continue;
    uint8_t *p = atomic_exchange_explicit(&pool.idle[i], NULL, memory_order_acquire);
    if (!p) continue;
    *data = p;
    return;
  }
  *data = map_one();
  if (*data) return;
  *data = discard;
  *size = BUFFER_SIZE;
}

void ws_buffers_complete(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  (void)size;
  atomic_fetch_sub_explicit(&pool.out, 1, memory_order_relaxed);
  if (atomic_load(&pool.closed)) {
    if (data != discard) ws_buffers_recycle(data);
    return;
  }
  /* Twice as many places as buffers, so a place for a real one is always free soon. The discard
   * buffer may come back any number of times, even on the worker's own thread, which must not wait
   * for itself. */
  if (data == discard && atomic_fetch_add(&pool.discards, 1) >= BUFFERS_MAX) {
    atomic_fetch_sub(&pool.discards, 1);
    if (ours()) ws_lost(pool.shm, WS_REC_PAD, WS_LOSS_NO_BUFFER, 1);
    return;
  }
  uint32_t at = atomic_fetch_add(&pool.head, 1) % (2 * BUFFERS_MAX);
  uint32_t expected = 0;
  while (!atomic_compare_exchange_weak_explicit(
      &pool.queue[at].ready, &expected, 1, memory_order_acquire, memory_order_relaxed)) {
    expected = 0;
    sched_yield();
  }
  pool.queue[at].filled = (struct ws_filled){data, valid, context, stream, data == discard};
  atomic_store_explicit(&pool.queue[at].ready, 2, memory_order_release);
}

uint32_t ws_buffers_out(void) { return atomic_load(&pool.out); }

bool ws_buffers_next(struct ws_filled *filled) {
  uint32_t at = pool.tail % (2 * BUFFERS_MAX);
  if (atomic_load_explicit(&pool.queue[at].ready, memory_order_acquire) != 2) return false;
  *filled = pool.queue[at].filled;
  pool.bytes += filled->valid;
  atomic_store_explicit(&pool.queue[at].ready, 0, memory_order_release);
  pool.tail++;
  return true;
}

void ws_buffers_recycle(uint8_t *data) {
  if (data == discard) {
    atomic_fetch_sub(&pool.discards, 1);
    return;
  }
  for (unsigned i = 0; i < BUFFERS_MAX; i++) {
    uint8_t *empty = NULL;
    if (atomic_compare_exchange_strong_explicit(
            &pool.idle[i], &empty, data, memory_order_release, memory_order_relaxed))
      return;
  }
  munmap(data, BUFFER_SIZE); /* not reached: there are as many places as buffers */
  atomic_fetch_sub(&pool.mapped, 1);
}
