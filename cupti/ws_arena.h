/* ws_arena.h: strings, launches, stacks and module maps, each stored once and named by an id.
 *
 * Owns: the append-only arena and the private tables that find what is in it already. Strings and
 * launches are interned by one thread at a time (start-up, then the worker); stacks by any thread,
 * without a lock. Nothing here fails: a full arena gives id 0 and is counted.
 */
#ifndef WS_ARENA_H
#define WS_ARENA_H

#include "ws_shm.h"

struct ws_arena {
  struct ws_shm *shm;
  struct ws_id_table *strings;
  struct ws_id_table *launches;
  struct ws_name_cache *names;
  struct ws_stack_table *stacks;
};

/* Allocates the private tables; false when there is no memory. */
bool ws_arena_open(struct ws_arena *arena, struct ws_shm *shm);

/* Frees the private tables; the shared memory keeps what it holds. A capture never calls it: its
 * callbacks may come at any time. */
void ws_arena_close(struct ws_arena *arena);

/* Id of a string; 0 for NULL. `type` is the record type whose loss is counted if it does not fit.
 * A string that is asked for again under the same address is compared, not hashed: records repeat
 * the pointers to their names. */
uint32_t ws_arena_string(struct ws_arena *arena, const char *text, unsigned type);
uint32_t ws_arena_bytes(struct ws_arena *arena, const char *text, size_t size, unsigned type);

/* Id of a kernel with its launch configuration. */
uint32_t ws_arena_launch(struct ws_arena *arena, const struct ws_launch *launch);

/* Id of a stack of return addresses under the module map `maps`. Any thread. */
uint32_t ws_arena_stack(struct ws_arena *arena, uint32_t maps, const uint64_t *pcs, size_t count);

/* Appends an object made of two parts (either may be empty); 0 when it does not fit. Any thread. */
uint32_t ws_arena_append(struct ws_arena *arena,
                         unsigned object,
                         const void *head,
                         size_t head_size,
                         const void *body,
                         size_t body_size);

#endif
