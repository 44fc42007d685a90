/* ws_share.h: one CUPTI for two: the capture and another tool of the program's, its client.
 *
 * Owns: what is switched on in CUPTI (the union of what both want), the one subscriber place, the
 * one pair of buffer callbacks, and which record is whose. CUPTI serves one tool: torch.profiler
 * would take the capture's records away, and a capture that is there first leaves torch.profiler
 * without any. The capture calls CUPTI through the table that ws_share_open changes; the client
 * comes through the interposed functions (preload/ws_interpose.c). Never decides what the capture
 * records.
 */
#ifndef WS_SHARE_H
#define WS_SHARE_H

#include <stdatomic.h>

#include "ws_load.h"

/* From now on calls through this table are the capture's side. The table is the CUPTI that is used.
 */
void ws_share_open(struct ws_cupti *cupti);

/* cuDeviceGetCount: a call whose number tells which graphs were launched before a switch. Before
 * anything is switched; without it (NULL) graphs count by when they begin on the GPU. */
void ws_share_set_driver(int (*count_devices)(int *));

/* Worker: which thread it is; its calls of CUDA are not the client's to see. */
void ws_share_set_worker(uint32_t thread);

/* Worker: whether another tool, one that did not come through the functions below, has put its
 * buffers in the place of ours. Known a second after it happened; the timeline has ended then. */
bool ws_share_is_robbed(void);

/* Worker: takes the place back, when the user wants the timeline again. */
void ws_share_reclaim(void);

/* Whether a record is the capture's. True for all while there is no client. */
bool ws_share_is_ours(const struct cupti_record *record);

/* ---- the client's side: what the functions of these names do ---- */

/* The CUPTI of a client's call, by any of its functions. False: it is not the one that the capture
 * uses, or this is a child of the process: the call goes through. Before there is a capture
 * everything goes through too, and is noted, so that a capture can begin beside a client that is
 * there already. */
bool ws_share_serves(void *function);

/* A function of the CUPTI that is shared, by its name; NULL: there is none, or none is shared yet.
 */
void *ws_share_function(const char *name);

/* Whether activity records are shared: the capture has registered its buffers. */
bool ws_share_has_buffers(void);

int ws_share_subscribe(void **subscriber, cupti_callback_fn callback, void *user);
int ws_share_unsubscribe(void *subscriber);
int ws_share_enable_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
int ws_share_enable_domain(uint32_t enable, void *subscriber, uint32_t domain);
int ws_share_enable_all(uint32_t enable, void *subscriber);
int ws_share_register(cupti_request_fn request, cupti_complete_fn complete);
int ws_share_enable(uint32_t kind);
int ws_share_disable(uint32_t kind);
int ws_share_enable_and_dump(uint32_t kind);
int ws_share_enable_call(uint32_t domain, uint32_t id, bool enable); /* one id of DRIVER, RUNTIME */
/* *given: how many records the client got. */
int ws_share_flush(uint32_t flag, uint64_t *given);
int ws_share_dropped(void *context, uint32_t stream, size_t *dropped);
int ws_share_clock(uint64_t (*timestamp)(void));
int ws_share_timestamp(uint64_t *timestamp);
int ws_share_finalize(void);

#endif
