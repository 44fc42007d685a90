/* init.c: the simulated libcuda.so.1: start, versions, errors, cuGetProcAddress.
 *
 * Build (sim.mk does it): gcc -std=c11 -fPIC -fvisibility=hidden -O2 -shared
 *   -Wl,-soname,libcuda.so.1 -o libcuda.so.1 cupti/sim/driver/XXX.c -lpthread -ldl
 *
 * Environment, read once at cuInit:
 *   WARPSCOPE_SIM_DEVICES=N      devices, 1 to 8 (default 1; 0: CUDA_ERROR_NO_DEVICE)
 *   WARPSCOPE_SIM_MEMORY=16G     bytes of each, with K, M, G (default 16G)
 *   WARPSCOPE_SIM_CAPABILITY=8.6 compute capability of each (default 9.0)
 *   WARPSCOPE_SIM_FAIL=…         see ../fault.h
 *   CUDA_INJECTION64_PATH=LIB    is loaded and its InitializeInjection called, as by the real
 * driver
 */
#include "driver.h"

#include "../../ws_compat.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

SIM_EXPORT extern const int warpscope_simulated_device;
const int warpscope_simulated_device = 1;

static uint64_t parse_bytes(const char *text, uint64_t otherwise) {
  if (text == NULL || *text == '\0') return otherwise;
  char *end;
  uint64_t n = strtoull(text, &end, 10);
  switch (*end) {
  case 'G':
    return n << 30;
  case 'M':
    return n << 20;
  case 'K':
    return n << 10;
  default:
    return n;
  }
}

static void make_devices(void) {
  const char *devices = getenv("WARPSCOPE_SIM_DEVICES");
  sim.count = devices != NULL ? atoi(devices) : 1;
  if (sim.count < 0 || sim.count > SIM_MAX_DEVICES) sim.count = SIM_MAX_DEVICES;
  uint64_t memory = parse_bytes(getenv("WARPSCOPE_SIM_MEMORY"), 16ull << 30);
  const char *capability = getenv("WARPSCOPE_SIM_CAPABILITY");
  uint32_t major = 9, minor = 0;
  if (capability != NULL) {
    char *end;
    major = (uint32_t)strtoull(capability, &end, 10);
    if (*end == '.') minor = (uint32_t)strtoull(end + 1, NULL, 10);
  }
  for (int i = 0; i < sim.count; i++) {
    struct sim_device *d = &sim.devices[i];
    snprintf(d->name, sizeof d->name, "warpscope simulated GPU");
    d->info = (struct sim_device_info){.ordinal = (uint32_t)i,
                                       .name = d->name,
                                       .memory = memory,
                                       .multiprocessors = 132,
                                       .major = major,
                                       .minor = minor};
    memcpy(d->info.uuid, "warpscope-sim-\0", 15);
    d->info.uuid[15] = (uint8_t)i;
    d->default_pool = d->pool = sim_pool_new((uint32_t)i);
    d->default_pool->builtin = true;
  }
}

static int describe_context(void *context, uint32_t *id, uint32_t *device) {
  struct sim_context *c = sim_check(context, SIM_T_CONTEXT);
  if (c == NULL) return 0;
  *id = c->object.id;
  *device = c->device;
  return 1;
}

static int describe_stream(void *context, void *stream, uint32_t *id) {
  struct sim_context *c = sim_check(context, SIM_T_CONTEXT);
  if (c == NULL) c = sim_current();
  struct sim_stream *s = NULL;
  if (stream != NULL && stream != SIM_LEGACY_STREAM && stream != SIM_PER_THREAD_STREAM) {
    s = sim_check(stream, SIM_T_STREAM);
  } else if (c != NULL) {
    s = c->null_stream;
  }
  if (s == NULL) return 0;
  *id = s->object.id;
  return 1;
}

static int describe_device(uint32_t ordinal, struct sim_device_info *info) {
  if (ordinal >= (uint32_t)sim.count) return 0;
  *info = sim.devices[ordinal].info;
  return 1;
}

static void connect_tracer(void) {
  static const struct sim_driver driver = {.now = sim_now,
                                           .context = describe_context,
                                           .stream = describe_stream,
                                           .device = describe_device};
  Dl_info self;
  char path[4096];
  if (dladdr(&warpscope_simulated_device, &self) == 0) return;
  const char *slash = strrchr(self.dli_fname, '/');
  int length = slash != NULL ? (int)(slash - self.dli_fname + 1) : 0;
  int n = snprintf(path, sizeof path, "%.*slibcupti.so.13", length, self.dli_fname);
  if (n < 0 || (size_t)n >= sizeof path) return;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return; /* a device without a tracer works too */
  sim_connect_fn join = (sim_connect_fn)(uintptr_t)dlsym(library, SIM_CONNECT);
  if (join != NULL) sim_trace(join(&driver));
}

static void inject(void) {
  const char *path = getenv("CUDA_INJECTION64_PATH");
  if (path == NULL || *path == '\0') return;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return;
  int (*start)(void) = (int (*)(void))(uintptr_t)dlsym(library, "InitializeInjection");
  if (start != NULL) start();
}

static void forked(void) {
  /* A context does not survive fork: the child gets errors until it execs, as on a real device. */
  pthread_mutex_init(&sim.lock, NULL);
  sim.initialised = false;
  sim.starter = 0;
  sim.forked = true;
}

SIM_API1(cuInit, 1, unsigned, flags) {
  if (flags != 0) return CU_INVALID_VALUE;
  int self = (int)syscall(SYS_gettid);
  SIM_LOCK();
  while (sim.starter != 0 && sim.starter != self) { /* another thread is at it */
    SIM_UNLOCK();
    sched_yield();
    SIM_LOCK();
  }
  if (sim.forked || sim.initialised || sim.starter == self) {
    SIM_UNLOCK();
    return sim.forked ? CU_NOT_INITIALIZED : CU_OK;
  }
  make_devices();
  if (sim.count == 0) {
    SIM_UNLOCK();
    return CU_NO_DEVICE;
  }
  sim.starter = self;
  SIM_UNLOCK();
  pthread_atfork(NULL, NULL, forked);
  sim_read_faults();
  connect_tracer();
  inject();
  sim.initialised = true;
  sim.starter = 0;
  sim_resource(SIM_INIT_FINISHED, NULL, NULL, 0, NULL, 0);
  return CU_OK;
}

SIM_API1(cuDriverGetVersion, 2, int *, version) {
  if (version == NULL) return CU_INVALID_VALUE;
  *version = SIM_DRIVER_VERSION;
  return CU_OK;
}

static const struct {
  int code;
  const char *name, *text;
} errors[] = {
    {CU_OK, "CUDA_SUCCESS", "no error"},
    {CU_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CU_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CU_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CU_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CU_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CU_PRIMARY_CONTEXT_ACTIVE, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", "primary context is active"},
    {CU_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CU_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CU_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CU_LAUNCH_OUT_OF_RESOURCES,
     "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CU_HOST_ALREADY_REGISTERED,
     "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {CU_HOST_NOT_REGISTERED,
     "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {CU_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CU_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CU_CAPTURE_UNSUPPORTED,
     "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CU_CAPTURE_UNMATCHED,
     "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "the capture was not initiated in this stream"},
    {CU_CAPTURED_EVENT,
     "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static int find_error(int code) {
  for (int i = 0; i < (int)(sizeof errors / sizeof *errors); i++) {
    if (errors[i].code == code) return i;
  }
  return -1;
}

SIM_API2(cuGetErrorName, 373, int, error, const char **, text) {
  int i = find_error(error);
  if (text == NULL) return CU_INVALID_VALUE;
  *text = i < 0 ? NULL : errors[i].name;
  return i < 0 ? CU_INVALID_VALUE : CU_OK;
}

SIM_API2(cuGetErrorString, 372, int, error, const char **, text) {
  int i = find_error(error);
  if (text == NULL) return CU_INVALID_VALUE;
  *text = i < 0 ? NULL : errors[i].text;
  return i < 0 ? CU_INVALID_VALUE : CU_OK;
}

/* The newest version of a symbol: callers name cuMemAlloc and mean cuMemAlloc_v2. */
static void *newest(const char *symbol) {
  static void *self;
  if (self == NULL) {
    Dl_info info;
    if (dladdr(&warpscope_simulated_device, &info) == 0) return NULL;
    self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    if (self == NULL) return NULL;
  }
  char versioned[128];
  int n = snprintf(versioned, sizeof versioned, "%s_v2", symbol);
  void *found = n > 0 && (size_t)n < sizeof versioned ? dlsym(self, versioned) : NULL;
  return found != NULL ? found : dlsym(self, symbol);
}

SIM_API5(cuGetProcAddress_v2,
         677,
         const char *,
         symbol,
         void **,
         fn,
         int,
         version,
         uint64_t,
         flags,
         uint32_t *,
         status) {
  (void)version;
  (void)flags; /* per-thread default streams are not modelled: the same functions */
  if (symbol == NULL || fn == NULL) return CU_INVALID_VALUE;
  *fn = strncmp(symbol, "cu", 2) == 0 ? newest(symbol) : NULL;
  if (status != NULL) *status = *fn != NULL ? 0 : 1;
  return *fn != NULL || status != NULL ? CU_OK : CU_NOT_FOUND;
}

SIM_API4(cuGetProcAddress, 626, const char *, symbol, void **, fn, int, version, uint64_t, flags) {
  return do_cuGetProcAddress_v2(symbol, fn, version, flags, NULL);
}
