#define _GNU_SOURCE
#include "ws_load.h"

#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws_compat.h"

static const char *const sonames[] = {
    "libcupti.so.13", "libcupti.so.12", "libcupti.so.11.8", "libcupti.so.11.7", "libcupti.so"};
#define SONAMES (sizeof sonames / sizeof *sonames)

/* Where wheels keep CUPTI, seen from the folder of another CUDA library of the same installation.
 */
static const char *const beside[] = {"",
                                     "../lib",
                                     "../lib64",
                                     "../../cu13/lib",
                                     "../../cuda_cupti/lib",
                                     "../extras/CUPTI/lib64",
                                     "../../../extras/CUPTI/lib64"};
/* Libraries whose folder tells which installation the process uses. */
static const char *const landmarks[] = {
    "libcudart.so", "libcublas.so", "libcublasLt.so", "libnvrtc.so", "libcudnn.so"};
static const char *const toolkits[] = {"/usr/local/cuda/extras/CUPTI/lib64",
                                       "/usr/local/cuda/lib64",
                                       "/opt/cuda/extras/CUPTI/lib64",
                                       "/usr/local/cuda-*/extras/CUPTI/lib64",
                                       "/usr/lib/x86_64-linux-gnu"};

static void *open_in(const char *folder) {
  char path[1024];
  for (size_t i = 0; i < SONAMES; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, sonames[i]);
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (h) return h;
  }
  return NULL;
}

/* A library that is mapped already, whatever its path: wheels load CUPTI by absolute path. */
struct mapped {
  char cupti[512];
  char folders[8][512];
  size_t count;
};

static int look(struct dl_phdr_info *info, size_t size, void *user) {
  (void)size;
  struct mapped *m = user;
  const char *name = info->dlpi_name;
  const char *slash = name ? strrchr(name, '/') : NULL;
  if (!slash) return 0;
  if (strncmp(slash + 1, "libcupti.so", 11) == 0 && !m->cupti[0]) {
    snprintf(m->cupti, sizeof m->cupti, "%s", name);
    return 0;
  }
  for (size_t i = 0; i < sizeof landmarks / sizeof *landmarks && m->count < 8; i++) {
    if (strncmp(slash + 1, landmarks[i], strlen(landmarks[i])) != 0) continue;
    snprintf(m->folders[m->count++], sizeof m->folders[0], "%.*s", (int)(slash - name), name);
    break;
  }
  return 0;
}

static void *open_mapped(struct mapped *m) {
  for (size_t i = 0; i < SONAMES; i++) {
    void *h = dlopen(sonames[i], RTLD_NOW | RTLD_NOLOAD);
    if (h) return h;
  }
  return m->cupti[0] ? dlopen(m->cupti, RTLD_NOW | RTLD_NOLOAD) : NULL;
}

static void *open_beside(const struct mapped *m) {
  char folder[768];
  for (size_t i = 0; i < m->count; i++) {
    for (size_t j = 0; j < sizeof beside / sizeof *beside; j++) {
      snprintf(folder, sizeof folder, "%s/%s", m->folders[i], beside[j]);
      void *h = open_in(folder);
      if (h) return h;
    }
  }
  return NULL;
}

static void *open_toolkit(void) {
  for (size_t i = 0; i < sizeof toolkits / sizeof *toolkits; i++) {
    glob_t found;
    if (glob(toolkits[i], 0, NULL, &found) != 0) continue;
    void *h = NULL;
    for (size_t j = found.gl_pathc; j > 0 && !h; j--)
      h = open_in(found.gl_pathv[j - 1]); /* newest first */
    globfree(&found);
    if (h) return h;
  }
  return NULL;
}

static void *find(void) {
  const char *chosen = getenv("WARPSCOPE_CUPTI");
  if (chosen && *chosen) return dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
  struct mapped m = {0};
  dl_iterate_phdr(look, &m);
  void *h = open_mapped(&m);
  if (!h) h = open_beside(&m);
  for (size_t i = 0; i < SONAMES && !h; i++) h = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL);
  return h ? h : open_toolkit();
}

/* dlsym gives object pointers; C has no cast from them to functions. */
#define NEED(field, name)                                                                          \
  (*(void **)&c->field = dlsym(c->handle, name), complete = complete && c->field)
#define WANT(field, name) (*(void **)&c->field = dlsym(c->handle, name))

bool ws_load_cupti(struct ws_cupti *c) { return ws_load_from(find(), c); }

bool ws_load_from(void *handle, struct ws_cupti *c) {
  memset(c, 0, sizeof *c);
  c->handle = handle;
  if (!c->handle) return false;
  bool complete = true;
  NEED(get_version, "cuptiGetVersion");
  NEED(subscribe, "cuptiSubscribe");
  NEED(enable_callback, "cuptiEnableCallback");
  NEED(register_callbacks, "cuptiActivityRegisterCallbacks");
  NEED(activity_enable, "cuptiActivityEnable");
  NEED(activity_disable, "cuptiActivityDisable");
  NEED(flush_all, "cuptiActivityFlushAll");
  NEED(next_record, "cuptiActivityGetNextRecord");
  NEED(dropped, "cuptiActivityGetNumDroppedRecords");
  NEED(timestamp, "cuptiGetTimestamp");
  NEED(callback_name, "cuptiGetCallbackName");
  NEED(context_id, "cuptiGetContextId");
  NEED(device_id, "cuptiGetDeviceId");
  WANT(thread_id_type, "cuptiSetThreadIdType");
  WANT(stream_id, "cuptiGetStreamIdEx");
  WANT(enable_driver_api, "cuptiActivityEnableDriverApi");
  WANT(enable_runtime_api, "cuptiActivityEnableRuntimeApi");
  WANT(get_attribute, "cuptiActivityGetAttribute");
  WANT(set_attribute, "cuptiActivitySetAttribute");
  WANT(nvtx_initialize, "cuptiNvtxInitialize");
  WANT(nvtx_initialize2, "cuptiNvtxInitialize2");
  c->simulated = dlsym(c->handle, "warpscope_simulated_device") != NULL;
  void *symbol = dlsym(c->handle, "cuptiGetVersion");
  Dl_info where;
  if (symbol && dladdr(symbol, &where) && where.dli_fname)
    snprintf(c->path, sizeof c->path, "%s", where.dli_fname);
  if (complete) c->get_version(&c->version);
  return complete && c->version >= CUPTI_OLDEST;
}

void ws_load_driver(struct ws_driver *c) {
  memset(c, 0, sizeof *c);
  void *h = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (!h) return;
  c->simulated = dlsym(h, "warpscope_simulated_device") != NULL;
  *(void **)&c->version = dlsym(h, "cuDriverGetVersion");
  *(void **)&c->device_count = dlsym(h, "cuDeviceGetCount");
  *(void **)&c->device_get = dlsym(h, "cuDeviceGet");
  *(void **)&c->device_uuid = dlsym(h, "cuDeviceGetUuid_v2");
  *(void **)&c->device_name = dlsym(h, "cuDeviceGetName");
  *(void **)&c->device_memory = dlsym(h, "cuDeviceTotalMem_v2");
  *(void **)&c->device_attribute = dlsym(h, "cuDeviceGetAttribute");
  *(void **)&c->default_pool = dlsym(h, "cuDeviceGetDefaultMemPool");
  *(void **)&c->pool_attribute = dlsym(h, "cuMemPoolGetAttribute");
}
