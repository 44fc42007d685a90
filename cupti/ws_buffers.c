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

static struct {
  struct ws_shm *shm;
  pid_t process; /* whose pool this is: a child made without the C library's fork gets our callbacks
                    too */
  _Atomic(uint8_t *) idle[BUFFERS_MAX];
  _Atomic uint32_t mapped;
  _Atomic bool closed;
  _Atomic uint32_t discards; /* discard buffers in the queue */
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
  *size = BUFFER_SIZE;
  *max_records = 0;
  for (unsigned i = 0; i < BUFFERS_MAX; i++) {
    if (!atomic_load_explicit(&pool.idle[i], memory_order_relaxed)) continue;
    uint8_t *p = atomic_exchange_explicit(&pool.idle[i], NULL, memory_order_acquire);
    if (!p) continue;
    *data = p;
    return;
  }
  *data = map_one();
  if (!*data) *data = discard;
}

void ws_buffers_complete(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  (void)size;
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

bool ws_buffers_next(struct ws_filled *filled) {
  uint32_t at = pool.tail % (2 * BUFFERS_MAX);
  if (atomic_load_explicit(&pool.queue[at].ready, memory_order_acquire) != 2) return false;
  *filled = pool.queue[at].filled;
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
