/* ws_decode.h: CUPTI's activity records to the records of ws_abi.h.
 *
 * Owns: the meaning of CUPTI's records. Runs on the worker thread (and under Go's tests, over
 * recorded buffers). It keeps nothing of a buffer once it returns.
 */
#ifndef WS_DECODE_H
#define WS_DECODE_H

#include "ws_arena.h"
#include "ws_load.h"

#define WS_CALL_IDS                                                                                \
  2048u /* API ids that are known by name; 13.0 has 807 driver and 500 runtime ids */

struct ws_decoder {
  struct ws_shm *shm;
  struct ws_arena *arena;
  const struct ws_cupti *cupti;
  uint32_t call_names[3][WS_CALL_IDS]; /* by domain and id: arena id, 0: not asked yet */
  uint8_t call_hidden[3][WS_CALL_IDS]; /* 1: not recorded at this ws_api_level */
  uint32_t own_thread;                 /* its calls are the capture's, not the program's; 0: none */
  bool threads_unknown;                /* CUPTI names threads otherwise than the kernel does */
};

/* Decodes `valid` bytes of records into the timeline ring; returns how many records there were. */
size_t ws_decode(struct ws_decoder *decoder, uint8_t *data, size_t valid);

/* Counts the records of a discard buffer as lost. Threads may have written over each other there,
 * so it is at least this many. */
void ws_decode_lost(struct ws_decoder *decoder, uint8_t *data, size_t valid);

#endif
