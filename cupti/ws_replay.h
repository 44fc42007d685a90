/* ws_replay.h: recorded CUPTI records through the decoder, without CUPTI.
 *
 * Owns: reading the files of tools/rawdump.c. For tests: what CUPTI once wrote on a GPU is decoded
 * again wherever the tests run.
 */
#ifndef WS_REPLAY_H
#define WS_REPLAY_H

#include "ws_shm.h"

/* Decodes a dump into shm's timeline ring. Returns the number of records, or negative: -1 not a
 * dump, -2 cut off or damaged, -3 no memory. */
int64_t ws_replay(struct ws_shm *shm, const uint8_t *dump, size_t size);

#endif
