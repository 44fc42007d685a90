#define _GNU_SOURCE
#include "ws_arena.h"

#include <stdlib.h>
#include <string.h>

/* Distinct stacks that are found again; more are stored anew each time. A PyTorch training run has
 * a few hundred. */
#define STACK_SLOTS (1u << 17)
/* Strings are stored whole up to this; C++ kernel names of 4 KiB exist. */
#define STRING_MAX 65536u
/* Addresses of strings that are found without hashing. A program has a few hundred kernels. */
#define NAME_SLOTS 4096u

/* Open addressing, worker thread only: id 0 is empty. */
struct ws_id_table {
  uint32_t *ids;
  uint32_t *hashes;
  size_t mask;
  size_t used;
};

/* The id that the string at an address had when it was last asked for. The memory may hold another
 * one by now (its module was unloaded, and CUPTI has used the place again), so what is found here
 * is only where to look. Worker thread only. */
struct ws_name_cache {
  struct {
    const char *text;
    uint32_t id;
  } slots[NAME_SLOTS];
};

struct ws_stack_table {
  _Atomic uint64_t slots[STACK_SLOTS]; /* high half: hash, low half: id */
};

static uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v;
  h *= 0x9fb21c651e98df25ull;
  return h ^ (h >> 29);
}

static uint64_t hash_bytes(const void *data, size_t size) {
  const uint8_t *p = data;
  uint64_t h = 0x2545f4914f6cdd1dull ^ size;
  for (; size >= 8; p += 8, size -= 8) {
    uint64_t w;
    memcpy(&w, p, 8);
    h = mix(h, w);
  }
  uint64_t w = 0;
  memcpy(&w, p, size);
  h = mix(h, w);
  return h ^ (h >> 32);
}

static void table_free(struct ws_id_table *t) {
  if (!t) return;
  free(t->ids);
  free(t->hashes);
  free(t);
}

static struct ws_id_table *table_new(size_t capacity) {
  struct ws_id_table *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->ids = calloc(capacity, sizeof *t->ids);
  t->hashes = calloc(capacity, sizeof *t->hashes);
  t->mask = capacity - 1;
  if (t->ids && t->hashes) return t;
  table_free(t);
  return NULL;
}

void ws_arena_close(struct ws_arena *arena) {
  table_free(arena->strings);
  table_free(arena->launches);
  free(arena->names);
  free(arena->stacks);
}

bool ws_arena_open(struct ws_arena *arena, struct ws_shm *shm) {
  arena->shm = shm;
  arena->strings = table_new(4096);
  arena->launches = table_new(4096);
  arena->names = calloc(1, sizeof *arena->names);
  arena->stacks = calloc(1, sizeof *arena->stacks);
  return arena->strings && arena->launches && arena->names && arena->stacks;
}

static const struct ws_object *object_at(const struct ws_arena *arena, uint32_t id) {
  return (const struct ws_object *)(const void *)(arena->shm->arena + (uint64_t)id * 8);
}

uint32_t ws_arena_append(struct ws_arena *arena,
                         unsigned object,
                         const void *head,
                         size_t head_size,
                         const void *body,
                         size_t body_size) {
  struct ws_shm *shm = arena->shm;
  uint64_t size = sizeof(struct ws_object) + head_size + body_size;
  uint64_t step = (size + 7) & ~7ull;
  uint64_t at = __atomic_load_n(&shm->header->arena_used, __ATOMIC_RELAXED);
  do {
    if (at + step > atomic_load_explicit(&shm->arena_limit, memory_order_relaxed)) return 0;
  } while (!__atomic_compare_exchange_n(
      &shm->header->arena_used, &at, at + step, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  struct ws_object *o = (struct ws_object *)(void *)(shm->arena + at);
  o->size = (uint32_t)(head_size + body_size);
  uint8_t *p = (uint8_t *)(o + 1);
  if (head_size) memcpy(p, head, head_size);
  if (body_size) memcpy(p + head_size, body, body_size);
  __atomic_store_n(&o->type, object, __ATOMIC_RELEASE);
  return (uint32_t)(at / 8);
}

static bool table_grow(struct ws_id_table *t) {
  struct ws_id_table *bigger = table_new((t->mask + 1) * 2);
  if (!bigger) return false;
  for (size_t i = 0; i <= t->mask; i++) {
    if (!t->ids[i]) continue;
    size_t j = t->hashes[i] & bigger->mask;
    while (bigger->ids[j]) j = (j + 1) & bigger->mask;
    bigger->ids[j] = t->ids[i];
    bigger->hashes[j] = t->hashes[i];
  }
  free(t->ids);
  free(t->hashes);
  t->ids = bigger->ids;
  t->hashes = bigger->hashes;
  t->mask = bigger->mask;
  free(bigger);
  return true;
}

static uint32_t intern(struct ws_arena *arena,
                       struct ws_id_table *t,
                       unsigned object,
                       const void *data,
                       size_t size,
                       unsigned type) {
  uint32_t hash = (uint32_t)hash_bytes(data, size);
  size_t i = hash & t->mask;
  for (; t->ids[i]; i = (i + 1) & t->mask) {
    if (t->hashes[i] != hash) continue;
    const struct ws_object *o = object_at(arena, t->ids[i]);
    if (o->size == size && memcmp(o + 1, data, size) == 0) return t->ids[i];
  }
  uint32_t id = ws_arena_append(arena, object, data, size, NULL, 0);
  if (!id) {
    ws_lost(arena->shm, type, WS_LOSS_ARENA_FULL, 1);
    return 0;
  }
  if (t->used * 2 > t->mask) {
    if (!table_grow(t)) return id; /* stored, but not found again */
    for (i = hash & t->mask; t->ids[i]; i = (i + 1) & t->mask) {
    }
  }
  t->ids[i] = id;
  t->hashes[i] = hash;
  t->used++;
  return id;
}

uint32_t ws_arena_bytes(struct ws_arena *arena, const char *text, size_t size, unsigned type) {
  if (size > STRING_MAX) size = STRING_MAX;
  return intern(arena, arena->strings, WS_OBJ_STRING, text, size, type);
}

uint32_t ws_arena_string(struct ws_arena *arena, const char *text, unsigned type) {
  if (!text) return 0;
  size_t i = (size_t)(mix(0, (uint64_t)(uintptr_t)text) >> 32) & (NAME_SLOTS - 1);
  const char **known = &arena->names->slots[i].text;
  uint32_t *id = &arena->names->slots[i].id;
  if (*known == text) {
    const struct ws_object *o = object_at(arena, *id);
    /* No further than the end of text: what is stored holds no zero byte. */
    if (o->size < STRING_MAX && strncmp(text, (const char *)(o + 1), o->size) == 0 &&
        text[o->size] == 0)
      return *id;
  }
  uint32_t found = ws_arena_bytes(arena, text, strnlen(text, STRING_MAX), type);
  *known = found ? text : NULL;
  *id = found;
  return found;
}

uint32_t ws_arena_launch(struct ws_arena *arena, const struct ws_launch *launch) {
  return intern(arena, arena->launches, WS_OBJ_LAUNCH, launch, sizeof *launch, WS_REC_KERNEL);
}

uint32_t ws_arena_stack(struct ws_arena *arena, uint32_t maps, const uint64_t *pcs, size_t count) {
  if (!count) return 0;
  struct ws_stack head = {maps, (uint32_t)count};
  size_t size = count * sizeof *pcs;
  uint64_t hash = mix(hash_bytes(pcs, size), maps) >> 32;
  size_t i = hash & (STACK_SLOTS - 1);
  for (unsigned probe = 0; probe < 16; probe++, i = (i + 1) & (STACK_SLOTS - 1)) {
    uint64_t slot = atomic_load_explicit(&arena->stacks->slots[i], memory_order_acquire);
    if (!slot) break;
    if (slot >> 32 != hash) continue;
    uint32_t id = (uint32_t)slot;
    const struct ws_object *o = object_at(arena, id);
    const struct ws_stack *s = (const void *)(o + 1);
    if (o->size == sizeof head + size && s->maps == maps && memcmp(s + 1, pcs, size) == 0)
      return id;
  }
  uint32_t id = ws_arena_append(arena, WS_OBJ_STACK, &head, sizeof head, pcs, size);
  if (!id) {
    ws_lost(arena->shm, WS_REC_ALLOC, WS_LOSS_ARENA_FULL, 1);
    return 0;
  }
  uint64_t empty = 0; /* lost race: the other stack is found, this one only stored twice */
  atomic_compare_exchange_strong_explicit(&arena->stacks->slots[i],
                                          &empty,
                                          hash << 32 | id,
                                          memory_order_release,
                                          memory_order_relaxed);
  return id;
}
