#define _GNU_SOURCE
#include "ws_live.h"

#include <sched.h>
#include <string.h>

static struct ws_live_table *table(struct ws_shm *shm) {
  return (struct ws_live_table *)(void *)(shm->base + shm->header->live_table.offset);
}

static struct ws_live *entries(struct ws_shm *shm) {
  return (struct ws_live *)(void *)(shm->base + shm->header->live_table.offset + WS_PAGE);
}

void ws_live_open(struct ws_shm *shm) {
  table(shm)->capacity = (shm->header->live_table.size - WS_PAGE) / sizeof(struct ws_live);
}

static uint64_t spread(uint64_t key) {
  key *= 0x9e3779b97f4a7c15ull;
  return key ^ (key >> 32);
}

static uint64_t settled(struct ws_live *e) {
  for (unsigned spin = 0;; spin++) {
    uint64_t key = __atomic_load_n(&e->key, __ATOMIC_ACQUIRE);
    if (key != WS_LIVE_BUSY) return key;
    if (spin > 1000) sched_yield();
  }
}

/* Owns the entry with this key: its key is BUSY until release() is called. NULL: there is none. */
static struct ws_live *acquire(struct ws_shm *shm, uint64_t key) {
  struct ws_live *e = entries(shm);
  uint64_t mask = table(shm)->capacity - 1;
  uint64_t i = spread(key) & mask;
  for (uint64_t probe = 0; probe <= mask; probe++, i = (i + 1) & mask) {
    for (;;) {
      uint64_t seen = settled(&e[i]);
      if (seen == WS_LIVE_EMPTY) return NULL;
      if (seen != key) break;
      if (__atomic_compare_exchange_n(&e[i].key, &seen, WS_LIVE_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return &e[i];
    }
  }
  return NULL;
}

static void release(struct ws_live *e, uint64_t key) {
  __atomic_store_n(&e->key, key, __ATOMIC_RELEASE);
}

static void fill(struct ws_live *to, const struct ws_live *from) {
  memcpy((uint8_t *)to + sizeof to->key, (const uint8_t *)from + sizeof from->key, sizeof *to - sizeof to->key);
}

bool ws_live_put(struct ws_shm *shm, const struct ws_live *entry) {
  struct ws_live *e = acquire(shm, entry->key);
  if (e) {
    fill(e, entry);
    release(e, entry->key);
    return true;
  }
  e = entries(shm);
  struct ws_live_table *t = table(shm);
  uint64_t mask = t->capacity - 1;
  /* An eighth stays empty, so that probes end. */
  bool may_take_new = __atomic_load_n(&t->used, __ATOMIC_RELAXED) < t->capacity - t->capacity / 8;
  uint64_t i = spread(entry->key) & mask;
  for (uint64_t probe = 0; probe <= mask; probe++, i = (i + 1) & mask) {
    uint64_t seen = settled(&e[i]);
    if (seen != WS_LIVE_DEAD && (seen != WS_LIVE_EMPTY || !may_take_new)) {
      if (seen == WS_LIVE_EMPTY) break;
      continue;
    }
    if (!__atomic_compare_exchange_n(&e[i].key, &seen, WS_LIVE_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      i = (i - 1) & mask; /* somebody was faster: look at this entry again */
      continue;
    }
    if (seen == WS_LIVE_EMPTY) __atomic_fetch_add(&t->used, 1, __ATOMIC_RELAXED);
    fill(&e[i], entry);
    release(&e[i], entry->key);
    return true;
  }
  ws_lost(shm, WS_REC_ALLOC, WS_LOSS_LIVE_TABLE, 1);
  return false;
}

bool ws_live_take(struct ws_shm *shm, uint64_t key, uint64_t seq, struct ws_live *taken) {
  struct ws_live *e = acquire(shm, key);
  if (!e) return false;
  bool older = e->seq < seq;
  fill(taken, e);
  taken->key = key;
  release(e, older ? WS_LIVE_DEAD : key);
  return older;
}

bool ws_live_map(struct ws_shm *shm, uint64_t handle_key, int change) {
  struct ws_live *e = acquire(shm, handle_key);
  if (!e) return false;
  if (change > 0)
    e->maps++;
  else if (e->maps > 0)
    e->maps--;
  release(e, e->released && e->maps == 0 ? WS_LIVE_DEAD : handle_key);
  return true;
}

bool ws_live_release(struct ws_shm *shm, uint64_t handle_key, uint64_t seq, struct ws_live *released) {
  struct ws_live *e = acquire(shm, handle_key);
  if (!e) return false;
  bool older = e->seq < seq && !e->released;
  if (older) {
    fill(released, e);
    released->key = handle_key;
    e->released = 1;
  }
  release(e, e->released && e->maps == 0 ? WS_LIVE_DEAD : handle_key);
  return older;
}

unsigned ws_live_drop_context(struct ws_shm *shm, uint32_t context) {
  struct ws_live *e = entries(shm);
  uint64_t capacity = table(shm)->capacity;
  unsigned dropped = 0;
  for (uint64_t i = 0; i < capacity; i++) {
    uint64_t key = settled(&e[i]);
    if (key == WS_LIVE_EMPTY || key == WS_LIVE_DEAD) continue;
    /* handles belong to the process, not to a context */
    if (e[i].context != context || e[i].space == WS_SPACE_HANDLE) continue;
    if (!__atomic_compare_exchange_n(&e[i].key, &key, WS_LIVE_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) continue;
    release(&e[i], WS_LIVE_DEAD);
    dropped++;
  }
  return dropped;
}
