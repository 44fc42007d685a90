/* ws_devices.h: what the worker asks the driver, outside callbacks.
 *
 * Owns: DEVICE and POOL records. Calls only driver functions that need no context and wait for
 * nothing on the device.
 */
#ifndef WS_DEVICES_H
#define WS_DEVICES_H

#include "ws_arena.h"
#include "ws_load.h"

/* Writes a DEVICE record for each ordinal. */
void ws_devices_describe(struct ws_shm *shm,
                         struct ws_arena *arena,
                         const struct ws_driver *driver);

/* Writes a POOL record for each device's default pool that holds memory. */
void ws_devices_pools(struct ws_shm *shm, const struct ws_driver *driver);

#endif
