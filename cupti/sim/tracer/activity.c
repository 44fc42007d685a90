/* activity.c: the simulated libcupti.so.13: activity records on and off, flushing, and what else a
 * tool asks.
 *
 * Build (sim.mk does it): gcc -std=c11 -fPIC -fvisibility=hidden -O2 -shared
 *   -Wl,-soname,libcupti.so.13 -o libcupti.so.13 cupti/sim/tracer/XXX.c -lpthread
 *
 * Injected faults: WARPSCOPE_SIM_FAIL as in ../fault.h for any entry point here, those of buffer.c,
 * and WARPSCOPE_SIM_ENABLE_MS=N   switching one kind of records on or off takes N ms
 */
#include "tracer.h"

#include "../../ws_compat.h"
#include "../fault.h"

#include <time.h>
#include <unistd.h>

SIM_EXPORT extern const int warpscope_simulated_device;
const int warpscope_simulated_device = 1;

static struct sim_faults faults;
static uint64_t enable_ms;

static uint64_t number(const char *variable) {
  const char *text = getenv(variable);
  return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* The child of a fork has no worker and may have inherited a locked lock: it starts anew. */
static void forked(void) {
  pthread_mutex_init(&tracer.lock, NULL);
  tracer.worker = false;
  tracer.period_ms = 0;
}

__attribute__((constructor)) static void start(void) {
  sim_faults_read(&faults, getenv("WARPSCOPE_SIM_FAIL"));
  enable_ms = number("WARPSCOPE_SIM_ENABLE_MS");
  tracer.drop_every = number("WARPSCOPE_SIM_DROP");
  tracer.lose_buffer_every = number("WARPSCOPE_SIM_LOSE_BUFFER");
  tracer.zero_every = number("WARPSCOPE_SIM_ZERO_TIME");
  tracer.backwards_every = number("WARPSCOPE_SIM_BACKWARDS");
  tracer.newer_every = number("WARPSCOPE_SIM_NEWER");
  tracer.version = number("WARPSCOPE_SIM_CUPTI");
  tracer.dump_late = number("WARPSCOPE_SIM_DUMP_LATE");
  pthread_atfork(NULL, NULL, forked);
}

int sim_fails(const char *name) { return sim_faults_check(&faults, name); }

#define API(name, parameters)                                                                      \
  SIM_EXPORT int name parameters;                                                                  \
  int name parameters
#define FAULT(name)                                                                                \
  do {                                                                                             \
    int fault = sim_fails(name);                                                                   \
    if (fault != 0) return fault;                                                                  \
  } while (0)

API(cuptiActivityRegisterCallbacks, (cupti_request_fn request, cupti_complete_fn complete)) {
  FAULT("cuptiActivityRegisterCallbacks");
  if (request == NULL || complete == NULL) return CUPTI_INVALID_PARAMETER;
  pthread_mutex_lock(&tracer.lock);
  tracer.request = request;
  tracer.complete = complete;
  pthread_mutex_unlock(&tracer.lock);
  return CUPTI_OK;
}

static int enable_kind(uint32_t kind, bool enable) {
  if (enable_ms > 0) usleep((useconds_t)enable_ms * 1000);
  static const uint32_t known[] = {1,  2,  3,  4,  5,  8,  9,  10, 11, 12,
                                   13, 17, 22, 27, 37, 38, 39, 49, 50, 51};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i] != kind) continue;
    atomic_store(&tracer.kinds[kind], enable);
    if (enable && kind == CUPTI_KIND_GRAPH_TRACE) atomic_store(&tracer.graphs_were_on, true);
    /* The kind overrides what was said of single calls before. */
    for (int id = 0; kind == CUPTI_KIND_DRIVER && id < DRIVER_CBIDS; id++)
      atomic_store(&tracer.driver_api[id], enable);
    if (kind == CUPTI_KIND_DRIVER) atomic_store(&tracer.driver_off, !enable);
    if (enable && kind == KIND_DEVICE && tracer.driver != NULL) tracer_device_records();
    return CUPTI_OK;
  }
  return CUPTI_INVALID_KIND;
}

API(cuptiActivityEnable, (uint32_t kind)) {
  FAULT("cuptiActivityEnable");
  return enable_kind(kind, true);
}

/* Only the devices are listed anew. */
API(cuptiActivityEnableAndDump, (uint32_t kind)) {
  FAULT("cuptiActivityEnableAndDump");
  int result = enable_kind(kind, true);
  if (tracer.dump_late == 0) tracer_deliver(0); /* into a buffer at once */
  return result;
}

API(cuptiActivityDisable, (uint32_t kind)) {
  FAULT("cuptiActivityDisable");
  return enable_kind(kind, false);
}

/* Per context is not modelled: it is for all. */
API(cuptiActivityEnableContext, (void *context, uint32_t kind)) {
  FAULT("cuptiActivityEnableContext");
  (void)context;
  return enable_kind(kind, true);
}

API(cuptiActivityDisableContext, (void *context, uint32_t kind)) {
  FAULT("cuptiActivityDisableContext");
  (void)context;
  return enable_kind(kind, false);
}

API(cuptiActivityEnableDriverApi, (uint32_t cbid, uint8_t enable)) {
  FAULT("cuptiActivityEnableDriverApi");
  if (cbid == 0 || cbid >= DRIVER_CBIDS) return CUPTI_INVALID_PARAMETER;
  atomic_store(&tracer.driver_api[cbid], enable != 0);
  return CUPTI_OK;
}

/* There is no runtime in the simulation: nothing to enable, nothing to refuse. */
API(cuptiActivityEnableRuntimeApi, (uint32_t cbid, uint8_t enable)) {
  FAULT("cuptiActivityEnableRuntimeApi");
  (void)enable;
  return cbid == 0 ? CUPTI_INVALID_PARAMETER : CUPTI_OK;
}

API(cuptiActivityFlushAll, (uint32_t flag)) {
  FAULT("cuptiActivityFlushAll");
  return tracer_flush(flag == CUPTI_FLUSH_FORCED);
}

static void *work(void *unused) {
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&tracer.lock);
    uint32_t period = tracer.period_ms;
    if (period == 0) tracer.worker = false;
    pthread_mutex_unlock(&tracer.lock);
    if (period == 0) return NULL;
    struct timespec t = {.tv_sec = period / 1000, .tv_nsec = (long)(period % 1000) * 1000000};
    nanosleep(&t, NULL);
    tracer_flush(false);
  }
}

/* 0 ends the worker at its next turn. */
API(cuptiActivityFlushPeriod, (uint32_t ms)) {
  FAULT("cuptiActivityFlushPeriod");
  pthread_mutex_lock(&tracer.lock);
  tracer.period_ms = ms;
  bool begin = ms > 0 && !tracer.worker;
  if (begin) tracer.worker = true;
  pthread_mutex_unlock(&tracer.lock);
  pthread_t thread;
  if (begin && pthread_create(&thread, NULL, work, NULL) == 0) pthread_detach(thread);
  return CUPTI_OK;
}

API(cuptiActivityGetNextRecord, (uint8_t * buffer, size_t valid, uint8_t **record)) {
  FAULT("cuptiActivityGetNextRecord");
  if (buffer == NULL || record == NULL) return CUPTI_INVALID_PARAMETER;
  size_t at = *record == NULL ? 0 : (size_t)(*record - buffer) + tracer_record_size(*record);
  if (at + sizeof(uint32_t) > valid) return CUPTI_MAX_LIMIT;
  size_t size = tracer_record_size(buffer + at);
  if (size == 0) return CUPTI_INVALID_KIND;
  if (at + size > valid) return CUPTI_MAX_LIMIT;
  *record = buffer + at;
  return CUPTI_OK;
}

/* Since it was asked last. */
API(cuptiActivityGetNumDroppedRecords, (void *context, uint32_t stream, size_t *dropped)) {
  FAULT("cuptiActivityGetNumDroppedRecords");
  (void)context, (void)stream;
  if (dropped == NULL) return CUPTI_INVALID_PARAMETER;
  pthread_mutex_lock(&tracer.lock);
  *dropped = tracer.dropped;
  tracer.dropped = 0;
  pthread_mutex_unlock(&tracer.lock);
  return CUPTI_OK;
}

enum { ATTRIBUTES = 11 };

/* Accepted, without effect: there are no device-side buffers. */
/* Of buffers that the simulated device does not have: sizes and limits, as CUPTI has them at first.
 */
static _Atomic size_t attributes[ATTRIBUTES] = {3200000, 8388608, 250};

API(cuptiActivitySetAttribute, (uint32_t attribute, size_t *size, void *value)) {
  FAULT("cuptiActivitySetAttribute");
  if (attribute >= ATTRIBUTES || size == NULL || value == NULL) return CUPTI_INVALID_PARAMETER;
  if (*size == sizeof(size_t)) atomic_store(&attributes[attribute], *(const size_t *)value);
  return CUPTI_OK;
}

API(cuptiActivityGetAttribute, (uint32_t attribute, size_t *size, void *value)) {
  FAULT("cuptiActivityGetAttribute");
  if (attribute >= ATTRIBUTES || size == NULL || value == NULL || *size < sizeof(size_t))
    return CUPTI_INVALID_PARAMETER;
  *(size_t *)value = atomic_load(&attributes[attribute]);
  *size = sizeof(size_t);
  return CUPTI_OK;
}

static uint64_t wall(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

API(cuptiGetTimestamp, (uint64_t * timestamp)) {
  FAULT("cuptiGetTimestamp");
  if (timestamp == NULL) return CUPTI_INVALID_PARAMETER;
  uint64_t (*chosen)(void) = atomic_load(&tracer.timestamp);
  *timestamp = chosen != NULL ? chosen() : wall();
  return CUPTI_OK;
}

/* Records that are on their way keep the times that they have. */
API(cuptiActivityRegisterTimestampCallback, (uint64_t(*timestamp)(void))) {
  FAULT("cuptiActivityRegisterTimestampCallback");
  if (timestamp == NULL) return CUPTI_INVALID_PARAMETER;
  pthread_mutex_lock(&tracer.lock);
  tracer.wall_then = wall();
  tracer.clock_then = timestamp();
  pthread_mutex_unlock(&tracer.lock);
  atomic_store(&tracer.timestamp, timestamp);
  return CUPTI_OK;
}

API(cuptiGetVersion, (uint32_t * version)) {
  FAULT("cuptiGetVersion");
  if (version == NULL) return CUPTI_INVALID_PARAMETER;
  *version = tracer.newer_every != 0 ? SIM_CUPTI_NEWER
             : tracer.version != 0   ? (uint32_t)tracer.version
                                     : SIM_CUPTI_VERSION;
  return CUPTI_OK;
}

API(cuptiSetThreadIdType, (uint32_t type)) {
  FAULT("cuptiSetThreadIdType");
  if (type > CUPTI_THREAD_ID_SYSTEM) return CUPTI_INVALID_PARAMETER;
  tracer.thread_id_type = type;
  return CUPTI_OK;
}

API(cuptiGetThreadIdType, (uint32_t * type)) {
  FAULT("cuptiGetThreadIdType");
  if (type == NULL) return CUPTI_INVALID_PARAMETER;
  *type = tracer.thread_id_type;
  return CUPTI_OK;
}

API(cuptiGetContextId, (void *context, uint32_t *id)) {
  FAULT("cuptiGetContextId");
  uint32_t device;
  if (id == NULL) return CUPTI_INVALID_PARAMETER;
  if (tracer.driver == NULL) return CUPTI_NOT_INITIALIZED;
  return tracer.driver->context(context, id, &device) ? CUPTI_OK : CUPTI_INVALID_CONTEXT;
}

API(cuptiGetDeviceId, (void *context, uint32_t *device)) {
  FAULT("cuptiGetDeviceId");
  uint32_t id;
  if (device == NULL) return CUPTI_INVALID_PARAMETER;
  if (tracer.driver == NULL) return CUPTI_NOT_INITIALIZED;
  return tracer.driver->context(context, &id, device) ? CUPTI_OK : CUPTI_INVALID_CONTEXT;
}

API(cuptiGetStreamIdEx, (void *context, void *stream, uint8_t per_thread, uint32_t *id)) {
  FAULT("cuptiGetStreamIdEx");
  (void)per_thread;
  if (id == NULL) return CUPTI_INVALID_PARAMETER;
  if (tracer.driver == NULL) return CUPTI_NOT_INITIALIZED;
  return tracer.driver->stream(context, stream, id) ? CUPTI_OK : CUPTI_INVALID_STREAM;
}

API(cuptiGetResultString, (int result, const char **text)) {
  FAULT("cuptiGetResultString");
  if (text == NULL) return CUPTI_INVALID_PARAMETER;
  switch (result) {
  case CUPTI_OK:
    *text = "CUPTI_SUCCESS";
    break;
  case CUPTI_INVALID_PARAMETER:
    *text = "CUPTI_ERROR_INVALID_PARAMETER";
    break;
  case CUPTI_INVALID_CONTEXT:
    *text = "CUPTI_ERROR_INVALID_CONTEXT";
    break;
  case CUPTI_INVALID_OPERATION:
    *text = "CUPTI_ERROR_INVALID_OPERATION";
    break;
  case CUPTI_MAX_LIMIT:
    *text = "CUPTI_ERROR_MAX_LIMIT_REACHED";
    break;
  case CUPTI_NOT_INITIALIZED:
    *text = "CUPTI_ERROR_NOT_INITIALIZED";
    break;
  case CUPTI_INVALID_KIND:
    *text = "CUPTI_ERROR_INVALID_KIND";
    break;
  case CUPTI_NOT_SUPPORTED:
    *text = "CUPTI_ERROR_NOT_SUPPORTED";
    break;
  case CUPTI_INSUFFICIENT_PRIVILEGES:
    *text = "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES";
    break;
  case CUPTI_MULTIPLE_SUBSCRIBERS:
    *text = "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED";
    break;
  default:
    *text = "CUPTI_ERROR_UNKNOWN";
    break;
  }
  return CUPTI_OK;
}

API(cuptiGetLastError, (void)) { return CUPTI_OK; }

API(cuptiFinalize, (void)) {
  FAULT("cuptiFinalize");
  for (int i = 0; i < KINDS; i++) atomic_store(&tracer.kinds[i], false);
  for (int i = 0; i < DRIVER_CBIDS; i++) {
    atomic_store(&tracer.driver_api[i], false);
    for (int domain = 0; domain < DOMAINS; domain++)
      atomic_store(&tracer.enabled[domain][i], false);
  }
  tracer_discard();
  pthread_mutex_lock(&tracer.lock);
  tracer.subscribed = false;
  tracer.callback = NULL;
  tracer.request = NULL;
  tracer.complete = NULL;
  tracer.period_ms = 0;
  pthread_mutex_unlock(&tracer.lock);
  return CUPTI_OK;
}
