/* ws_share_store.h: records on their way to the client.
 *
 * Owns: copies of records between CUPTI's buffers and the client's, at most WS_SHARE_BYTES of them.
 * Adding one takes a lock for the time of a copy and may map memory; it calls nobody.
 */
#ifndef WS_SHARE_STORE_H
#define WS_SHARE_STORE_H

#include "ws_share_times.h"

#include "include/ws_cupti.h"

#define WS_SHARE_BYTES (256ull << 20)

/* Keeps a copy; false if there is no room for it. */
bool ws_share_store_add(const void *record, size_t size);

/* Forgets everything. */
void ws_share_store_clear(void);

/* Bytes that are kept. */
uint64_t ws_share_store_size(void);

/* A buffer of the client's that is being filled; data NULL: none. */
struct ws_share_buffer {
  uint8_t *data;
  size_t size, used, records, max_records;
};

/* Gives all to the client, first in `buffer`, then in such as it is asked for, with its clock's
 * times unless map is NULL; all of them are the client's again then. Returns how many records it
 * had no room for; *given: how many it got. */
size_t ws_share_store_give(cupti_request_fn request,
                           cupti_complete_fn complete,
                           struct ws_share_buffer buffer,
                           const struct ws_share_map *map,
                           size_t *given);

#endif
