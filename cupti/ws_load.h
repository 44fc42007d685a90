/* ws_load.h: finding CUPTI and the driver in a running process.
 *
 * Owns: which copy of CUPTI is used and the table of its functions. The copy that the process has
 * mapped comes first: a second instance of CUPTI would take the only subscriber place from, say,
 * torch.profiler.
 */
#ifndef WS_LOAD_H
#define WS_LOAD_H

#include <stdbool.h>

#include "include/ws_cupti.h"

/* Function pointers; those under "optional" may be NULL. */
struct ws_cupti {
  void *handle;
  char path[512];
  uint32_t version;
  bool simulated;

  int (*get_version)(uint32_t *);
  int (*subscribe)(void **subscriber, cupti_callback_fn, void *user);
  int (*enable_callback)(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
  int (*register_callbacks)(cupti_request_fn, cupti_complete_fn);
  int (*activity_enable)(uint32_t kind);
  int (*activity_disable)(uint32_t kind);
  int (*flush_all)(uint32_t flag);
  int (*next_record)(uint8_t *buffer, size_t valid, struct cupti_record **record);
  int (*dropped)(void *context, uint32_t stream, size_t *count);
  int (*timestamp)(uint64_t *);
  int (*callback_name)(uint32_t domain, uint32_t id, const char **name);
  int (*context_id)(void *context, uint32_t *id);
  int (*device_id)(void *context, uint32_t *id);

  /* optional */
  int (*thread_id_type)(uint32_t type);
  int (*stream_id)(void *context, void *stream, uint8_t per_thread, uint32_t *id);
  int (*enable_driver_api)(uint32_t id, uint8_t enable);  /* 12.5 and newer */
  int (*enable_runtime_api)(uint32_t id, uint8_t enable); /* 12.5 and newer */
  int (*get_attribute)(uint32_t attribute, size_t *size, void *value);
  int (*set_attribute)(uint32_t attribute, size_t *size, void *value);
  int (*nvtx_initialize)(void *get_export_table);
  int (*nvtx_initialize2)(void *get_export_table);
};

/* The driver functions that are asked outside callbacks; all may be NULL. */
struct ws_driver {
  bool simulated;
  int (*version)(int *);
  int (*device_count)(int *);
  int (*device_get)(int *device, int ordinal);
  int (*device_uuid)(uint8_t uuid[16], int device);
  int (*device_name)(char *name, int size, int device);
  int (*device_memory)(size_t *bytes, int device);
  int (*device_attribute)(int *value, int attribute, int device);
  int (*default_pool)(void **pool, int device);
  int (*pool_attribute)(void *pool, int attribute, void *value);
};

/* Fills the table; false if no CUPTI was found (cupti->path empty) or a needed function is missing
 * (cupti->path names the library). */
bool ws_load_cupti(struct ws_cupti *cupti);

/* The same for the CUPTI behind a handle of dlopen's. */
bool ws_load_from(void *handle, struct ws_cupti *cupti);

/* Looks up the driver that the process has loaded. */
void ws_load_driver(struct ws_driver *driver);

#endif
