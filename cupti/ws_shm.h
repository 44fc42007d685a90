/* ws_shm.h: the writer's side of the shared memory: layout, rings, loss counters.
 *
 * Owns: where each region lies and how a record is published. Any thread may push to any ring;
 * nothing here waits, allocates or makes a system call but ws_shm_secure.
 */
#ifndef WS_SHM_H
#define WS_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "include/ws_abi.h"

/* Bytes of each region, without the header page; rings and tables are rounded as needed. */
struct ws_sizes {
  uint64_t alloc_ring, timeline_ring, live_table, arena;
};

struct ws_ring_view {
  struct ws_ring *control;
  uint8_t *data;
  uint64_t mask;
  uint64_t ahead; /* capture files: how much disk space is kept ready */
};

/* One capture's memory as this process sees it. */
struct ws_shm {
  struct ws_header *header;
  uint8_t *base;
  struct ws_ring_view alloc;
  struct ws_ring_view timeline;
  uint8_t *arena;
  _Atomic uint64_t arena_limit; /* bytes that may be handed out */
  int fd;                       /* capture file that grows with its contents; -1: memory is there */
  const char *path; /* of the capture file, for the day on which the program closes a descriptor
                       unknown to it */
  uint64_t file_device, file_inode;
};

/* Total bytes that ws_shm_format needs for these sizes. */
uint64_t ws_shm_size(const struct ws_sizes *sizes);

/* Lays out `base` (zeroed, ws_shm_size bytes). fd >= 0: a sparse file of which nothing but what
 * ws_shm_secure has allocated may be written; the descriptor is shm's from now on. */
void ws_shm_format(struct ws_shm *shm, void *base, const struct ws_sizes *sizes, int fd);

/* Capture files: allocates disk space ahead of the writers; worker thread only. Returns false when
 * the disk is full: writers then drop and count. */
bool ws_shm_secure(struct ws_shm *shm);

/* Capture files: gives back the space that nothing was written to. What is pushed after it is
 * dropped and counted. With `cut` the file ends behind the timeline, whose writer must be gone. */
void ws_shm_trim(struct ws_shm *shm, bool cut);

/* Publishes the header: the memory is complete and may be read. */
void ws_shm_publish(struct ws_shm *shm);

/* Copies a record of `slots` slots into the ring. rec->type and flags must be set. A full ring
 * counts the loss and returns false. */
bool ws_ring_push(struct ws_shm *shm,
                  struct ws_ring_view *ring,
                  struct ws_rec *rec,
                  unsigned slots);

void ws_lost(struct ws_shm *shm, unsigned type, unsigned cause, uint64_t count);

/* Adds a ws_reason to the header's. */
void ws_reason(struct ws_shm *shm, unsigned reason);

/* CLOCK_MONOTONIC and CLOCK_REALTIME in ns. */
uint64_t ws_mono(void);
uint64_t ws_wall(void);

#endif
