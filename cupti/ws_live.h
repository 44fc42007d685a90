/* ws_live.h: the exact table of what is allocated now, in shared memory.
 *
 * Owns: ws_live_table. Any thread may call; writers take turns (ten instructions each). It never
 * knows more than it is told: what was allocated before the capture is not in it.
 */
#ifndef WS_LIVE_H
#define WS_LIVE_H

#include "ws_shm.h"

static inline uint64_t ws_live_key(uint64_t value, unsigned key_class) {
  return (value & WS_KEY_MASK) | (uint64_t)key_class << WS_KEY_SHIFT;
}

/* Sets up the table; the capacity is what the region holds. */
void ws_live_open(struct ws_shm *shm);

/* Adds entry->key or replaces what it had. False (and counted) when the table is full. */
bool ws_live_put(struct ws_shm *shm, const struct ws_live *entry);

/* Removes key if it was put before `seq` (a later allocation may have taken the address already)
 * and copies what was there. False if there was no such entry. */
bool ws_live_take(struct ws_shm *shm, uint64_t key, uint64_t seq, struct ws_live *taken);

/* A handle is mapped once more (+1) or less (-1); the last unmapping of a released handle removes
 * it. False if the handle is unknown. */
bool ws_live_map(struct ws_shm *shm, uint64_t handle_key, int change);

/* A handle is released: removed at once, or with its last mapping. */
bool ws_live_release(struct ws_shm *shm,
                     uint64_t handle_key,
                     uint64_t seq,
                     struct ws_live *released);

/* Removes everything of a destroyed context; returns how many. */
unsigned ws_live_drop_context(struct ws_shm *shm, uint32_t context);

#endif
