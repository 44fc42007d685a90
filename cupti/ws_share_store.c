#define _GNU_SOURCE
#include "ws_share_store.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK (1u << 20)

struct chunk {
  struct chunk *next;
  size_t used; /* of bytes */
  uint8_t bytes[];
};
#define ROOM (CHUNK - sizeof(struct chunk))

static struct {
  _Atomic uint32_t lock; /* held for the time of a copy */
  struct chunk *first, *last;
  _Atomic uint64_t mapped;
} store;

static void lock(void) {
  uint32_t open = 0;
  while (!atomic_compare_exchange_weak_explicit(
      &store.lock, &open, 1, memory_order_acquire, memory_order_relaxed)) {
    open = 0;
    sched_yield();
  }
}

static void unlock(void) { atomic_store_explicit(&store.lock, 0, memory_order_release); }

static struct chunk *map_chunk(void) {
  if (atomic_fetch_add(&store.mapped, CHUNK) + CHUNK <= WS_SHARE_BYTES) {
    void *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) return p;
  }
  atomic_fetch_sub(&store.mapped, CHUNK);
  return NULL;
}

static void unmap_chunk(struct chunk *c) {
  munmap(c, CHUNK);
  atomic_fetch_sub(&store.mapped, CHUNK);
}

bool ws_share_store_add(const void *record, size_t size) {
  size_t need = sizeof(uint64_t) + ((size + 7) & ~(size_t)7);
  if (need > ROOM) return false;
  lock();
  struct chunk *c = store.last;
  if (!c || ROOM - c->used < need) {
    c = map_chunk();
    if (!c) {
      unlock();
      return false;
    }
    if (store.last)
      store.last->next = c;
    else
      store.first = c;
    store.last = c;
  }
  uint64_t length = size;
  memcpy(c->bytes + c->used, &length, sizeof length);
  memcpy(c->bytes + c->used + sizeof length, record, size);
  c->used += need;
  unlock();
  return true;
}

static struct chunk *take(void) {
  lock();
  struct chunk *c = store.first;
  store.first = store.last = NULL;
  unlock();
  return c;
}

void ws_share_store_clear(void) {
  for (struct chunk *c = take(), *next; c; c = next) {
    next = c->next;
    unmap_chunk(c);
  }
}

uint64_t ws_share_store_size(void) {
  return atomic_load_explicit(&store.mapped, memory_order_relaxed);
}

static bool has_room(const struct ws_share_buffer *t, size_t size) {
  return t->data && t->size - t->used >= size && (!t->max_records || t->records < t->max_records);
}

size_t ws_share_store_give(cupti_request_fn request,
                           cupti_complete_fn complete,
                           struct ws_share_buffer t,
                           const struct ws_share_map *map,
                           size_t *given) {
  size_t refused = 0;
  *given = 0;
  for (struct chunk *c = take(), *next; c; c = next) {
    for (size_t at = 0; at < c->used;) {
      uint64_t size;
      memcpy(&size, c->bytes + at, sizeof size);
      const uint8_t *record = c->bytes + at + sizeof size;
      at += sizeof size + ((size + 7) & ~(size_t)7);
      if (!has_room(&t, size)) {
        if (t.data) complete(NULL, 0, t.data, t.size, t.used);
        t = (struct ws_share_buffer){0};
        request(&t.data, &t.size, &t.max_records);
      }
      if (!has_room(&t, size)) {
        refused++;
        continue;
      }
      memcpy(t.data + t.used, record, size);
      if (map) ws_share_map_record(map, t.data + t.used, size);
      t.used += size;
      t.records++;
      ++*given;
    }
    next = c->next;
    unmap_chunk(c);
  }
  if (t.data) complete(NULL, 0, t.data, t.size, t.used);
  return refused;
}
