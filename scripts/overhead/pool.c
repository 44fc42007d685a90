#define _GNU_SOURCE
#include "pool.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define BUFFER_SIZE (1u << 20)
#define BUFFERS 64
#define FIRST 16

static struct {
  _Atomic uint64_t taken;
  _Atomic(uint8_t *) own[BUFFERS]; /* every buffer that was ever made */
  _Atomic(uint8_t *) idle[BUFFERS];
} pool;

void pool_take(uint8_t **buffer, size_t *size, size_t *most) {
  *size = BUFFER_SIZE;
  *most = 0;
  for (int i = 0; i < BUFFERS; i++) {
    *buffer = atomic_exchange(&pool.idle[i], NULL);
    if (*buffer) return;
  }
  *buffer = NULL;
  uint64_t at = atomic_fetch_add(&pool.taken, 1);
  if (at < BUFFERS) {
    void *p = mmap(NULL,
                   BUFFER_SIZE,
                   PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1,
                   0);
    *buffer = p == MAP_FAILED ? NULL : p;
    atomic_store(&pool.own[at], *buffer);
  }
  if (!*buffer) *size = 0;
}

static bool is_own(const uint8_t *buffer) {
  for (int i = 0; i < BUFFERS; i++)
    if (atomic_load_explicit(&pool.own[i], memory_order_relaxed) == buffer) return true;
  return false;
}

bool pool_give(uint8_t *buffer) {
  if (!buffer || !is_own(buffer)) return false;
  for (int i = 0; i < BUFFERS; i++) {
    uint8_t *empty = NULL;
    if (atomic_compare_exchange_strong(&pool.idle[i], &empty, buffer)) break;
  }
  return true;
}

void pool_fill(void) {
  if (atomic_load(&pool.taken)) return;
  uint8_t *buffers[FIRST];
  size_t size = 0, most = 0;
  for (int i = 0; i < FIRST; i++) pool_take(&buffers[i], &size, &most);
  for (int i = 0; i < FIRST; i++) pool_give(buffers[i]);
}
