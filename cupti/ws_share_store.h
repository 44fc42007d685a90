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

/* Gives all to the client in buffers of its own, with its clock's times unless map is NULL. Returns how
 * many records it had no room for. */
size_t ws_share_store_give(cupti_request_fn request,
                           cupti_complete_fn complete,
                           const struct ws_share_map *map,
                           size_t *given);

#endif
