/* ws_buffers.h: the pool of activity buffers.
 *
 * Owns: the memory that CUPTI fills and the queue of full buffers on their way to the worker. The
 * two callbacks run on the program's threads inside CUPTI: they exchange pointers, and map new
 * memory only when the pool is empty.
 */
#ifndef WS_BUFFERS_H
#define WS_BUFFERS_H

#include "ws_shm.h"

/* A buffer that CUPTI gave back. */
struct ws_filled {
  uint8_t *data;
  size_t valid; /* bytes of records in it */
  void *context;
  uint32_t stream;
  bool discarded; /* the discard buffer: to be counted, not decoded */
};

void ws_buffers_open(struct ws_shm *shm);

/* For CUPTI: gives a buffer. Never NULL: without memory a discard buffer, whose records are counted
 * as lost. */
void ws_buffers_request(uint8_t **data, size_t *size, size_t *max_records);

/* For CUPTI: takes one back. */
void ws_buffers_complete(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid);

/* Whether this is the buffer whose records are lost. */
bool ws_buffers_is_discard(const uint8_t *data);

/* Worker: nobody asks for full buffers any more; from now on they are free again at once. */
void ws_buffers_close(void);

/* Worker: once a turn. Fits the size of buffers to the rate at which they come back. `now`:
 * CLOCK_MONOTONIC. */
void ws_buffers_turn(uint64_t now);

/* How many buffers CUPTI has. */
uint32_t ws_buffers_out(void);

/* Worker: the next full buffer; false if there is none. */
bool ws_buffers_next(struct ws_filled *filled);

/* Worker: the buffer has been read and may be used again. */
void ws_buffers_recycle(uint8_t *data);

#endif
