/* ws_interpose.c: CUPTI's functions, as other tools of the program call them.
 *
 * Owns: the exported functions of CUPTI's names that come before CUPTI's own for every library that
 * is linked to it (torch.profiler's is libtorch_cpu.so). Each goes straight through while there is
 * no capture here, and is served by ws_share otherwise. Tools that ask dlsym for CUPTI's functions
 * get these too (ws_dlsym.c). With WARPSCOPE_DEBUG=FILE each call is a line of FILE.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../ws_compat.h"
#include "../ws_share.h"
#include "ws_interpose.h"

#define EXPORT __attribute__((visibility("default")))

enum { NOT_INITIALIZED = 15, SUCCESS = 0 };
enum { ATTRIBUTE_ZEROED_BUFFERS = 5, ATTRIBUTE_PER_THREAD_BUFFERS = 9 };

/* ---- what is called in truth ---- */

/* Where a function was found for a caller. Few places of a program call CUPTI. */
#define PLACES 8u
struct target {
  const char *symbol;
  struct {
    _Atomic(void *) caller;
    _Atomic bool inside; /* the caller is CUPTI itself */
    _Atomic(void *) function;
  } place[PLACES];
};

static void *base_of(void *address) {
  Dl_info where;
  return address && dladdr(address, &where) ? where.dli_fbase : NULL;
}

static bool is_foreign(void *function) {
  return function && base_of(function) != base_of((void *)&base_of);
}

/* The function in a library that is loaded. */
static void *in_library(const char *path, const char *name) {
  void *h = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (!h) return NULL;
  void *f = dlsym(h, name);
  dlclose(h);
  return f;
}

static int look(struct dl_phdr_info *info, size_t size, void *user) {
  (void)size;
  char *path = user;
  const char *slash = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;
  if (!slash || strncmp(slash + 1, "libcupti.so", 11) != 0) return 0;
  snprintf(path, 1024, "%s", info->dlpi_name);
  return 1;
}

/* The function that the caller would have got without us. */
static void *find(const char *name, void *caller) {
  Dl_info who;
  void *f = NULL;
  if (!ws_compat_complete()) return NULL;
  if (dladdr(caller, &who) && who.dli_fname && who.dli_fname[0] == '/') {
    f = in_library(who.dli_fname, name);
    if (is_foreign(f)) return f;
  }
  f = dlsym(RTLD_NEXT, name);
  if (is_foreign(f)) return f;
  /* It was asked of dlsym: a process has one CUPTI. */
  f = ws_share_function(name);
  if (is_foreign(f)) return f;
  char path[1024] = "";
  dl_iterate_phdr(look, path);
  f = path[0] ? in_library(path, name) : NULL;
  return is_foreign(f) ? f : NULL;
}

/* *inside: CUPTI calls a function of its own by its name. */
static void *real(struct target *t, void *caller, bool *inside) {
  for (unsigned i = 0; i < PLACES; i++) {
    if (atomic_load_explicit(&t->place[i].caller, memory_order_relaxed) != caller) continue;
    void *f = atomic_load_explicit(&t->place[i].function, memory_order_acquire);
    *inside = atomic_load_explicit(&t->place[i].inside, memory_order_relaxed);
    if (f) return f;
  }
  void *f = find(t->symbol, caller);
  *inside = f && base_of(caller) == base_of(f);
  for (unsigned i = 0; f && i < PLACES; i++) {
    void *none = NULL;
    if (!atomic_compare_exchange_strong(&t->place[i].caller, &none, caller)) continue;
    atomic_store_explicit(&t->place[i].inside, *inside, memory_order_relaxed);
    atomic_store_explicit(&t->place[i].function, f, memory_order_release);
    break;
  }
  return f;
}

/* ---- the log ---- */

__attribute__((format(printf, 3, 4))) static int
note(int result, bool served, const char *format, ...) {
  const char *path = getenv("WARPSCOPE_DEBUG");
  if (!path || !*path) return result;
  char line[512];
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  int n = snprintf(line,
                   sizeof line,
                   "%lld.%06ld %d/%ld ",
                   (long long)t.tv_sec,
                   t.tv_nsec / 1000,
                   (int)getpid(),
                   syscall(SYS_gettid));
  va_list arguments;
  va_start(arguments, format);
  n += vsnprintf(line + n, sizeof line - (size_t)n, format, arguments);
  va_end(arguments);
  if (n > (int)sizeof line - 40) n = (int)sizeof line - 40;
  n += snprintf(line + n, sizeof line - (size_t)n, " = %d%s\n", result, served ? " shared" : "");
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return result;
  ssize_t written = write(fd, line, (size_t)n);
  (void)written; /* a full disk is not the program's affair */
  close(fd);
  return result;
}

/* ---- the functions ---- */

bool ws_interpose_is_enabled(void) {
  const char *off = getenv("WARPSCOPE_DISABLE");
  return !off || !*off || strcmp(off, "0") == 0;
}

/* Declares the function and finds the real one; `serves`: the call is ours to answer. */
#define BEGIN(name)                                                                                \
  static struct target target = {.symbol = #name};                                                 \
  __typeof__(&(name)) f;                                                                           \
  bool inside = false;                                                                             \
  *(void **)&f = real(&target, __builtin_return_address(0), &inside);                              \
  if (!f) return note(NOT_INITIALIZED, false, #name ": no CUPTI here");                            \
  bool serves = !inside && ws_interpose_is_enabled() && ws_share_serves(*(void **)&f)

EXPORT int cuptiSubscribe(void **subscriber, cupti_callback_fn callback, void *user);
int cuptiSubscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  BEGIN(cuptiSubscribe);
  int r = serves ? ws_share_subscribe(subscriber, callback, user) : f(subscriber, callback, user);
  return note(r, serves, "cuptiSubscribe(%p)", *(void **)&callback);
}

/* The second version's parameters (a name, several subscribers at once) do not concern a client
 * that is served here. */
EXPORT int
cuptiSubscribe_v2(void **subscriber, cupti_callback_fn callback, void *user, void *parameters);
int cuptiSubscribe_v2(void **subscriber, cupti_callback_fn callback, void *user, void *parameters) {
  BEGIN(cuptiSubscribe_v2);
  int r = serves ? ws_share_subscribe(subscriber, callback, user)
                 : f(subscriber, callback, user, parameters);
  return note(r, serves, "cuptiSubscribe_v2(%p)", *(void **)&callback);
}

EXPORT int cuptiUnsubscribe(void *subscriber);
int cuptiUnsubscribe(void *subscriber) {
  BEGIN(cuptiUnsubscribe);
  int r = serves ? ws_share_unsubscribe(subscriber) : f(subscriber);
  return note(r, serves, "cuptiUnsubscribe(%p)", subscriber);
}

EXPORT int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  BEGIN(cuptiEnableCallback);
  int r = serves ? ws_share_enable_callback(enable, subscriber, domain, id)
                 : f(enable, subscriber, domain, id);
  return note(r, serves, "cuptiEnableCallback(%u, %u, %u)", enable, domain, id);
}

EXPORT int cuptiEnableDomain(uint32_t enable, void *subscriber, uint32_t domain);
int cuptiEnableDomain(uint32_t enable, void *subscriber, uint32_t domain) {
  BEGIN(cuptiEnableDomain);
  int r =
      serves ? ws_share_enable_domain(enable, subscriber, domain) : f(enable, subscriber, domain);
  return note(r, serves, "cuptiEnableDomain(%u, %u)", enable, domain);
}

EXPORT int cuptiEnableAllDomains(uint32_t enable, void *subscriber);
int cuptiEnableAllDomains(uint32_t enable, void *subscriber) {
  BEGIN(cuptiEnableAllDomains);
  int r = serves ? ws_share_enable_all(enable, subscriber) : f(enable, subscriber);
  return note(r, serves, "cuptiEnableAllDomains(%u)", enable);
}

EXPORT int cuptiActivityRegisterCallbacks(cupti_request_fn request, cupti_complete_fn complete);
int cuptiActivityRegisterCallbacks(cupti_request_fn request, cupti_complete_fn complete) {
  BEGIN(cuptiActivityRegisterCallbacks);
  int r = serves ? ws_share_register(request, complete) : f(request, complete);
  return note(r, serves, "cuptiActivityRegisterCallbacks(%p)", *(void **)&request);
}

EXPORT int cuptiActivityEnable(uint32_t kind);
int cuptiActivityEnable(uint32_t kind) {
  BEGIN(cuptiActivityEnable);
  int r = serves ? ws_share_enable(kind) : f(kind);
  return note(r, serves, "cuptiActivityEnable(%u)", kind);
}

EXPORT int cuptiActivityEnableAndDump(uint32_t kind);
int cuptiActivityEnableAndDump(uint32_t kind) {
  BEGIN(cuptiActivityEnableAndDump);
  int r = serves ? ws_share_enable_and_dump(kind) : f(kind);
  return note(r, serves, "cuptiActivityEnableAndDump(%u)", kind);
}

EXPORT int cuptiActivityDisable(uint32_t kind);
int cuptiActivityDisable(uint32_t kind) {
  BEGIN(cuptiActivityDisable);
  int r = serves ? ws_share_disable(kind) : f(kind);
  return note(r, serves, "cuptiActivityDisable(%u)", kind);
}

/* Of one context: the capture has the kind on in all, and so has the client then. */
EXPORT int cuptiActivityEnableContext(void *context, uint32_t kind);
int cuptiActivityEnableContext(void *context, uint32_t kind) {
  BEGIN(cuptiActivityEnableContext);
  int r = serves ? ws_share_enable(kind) : f(context, kind);
  return note(r, serves, "cuptiActivityEnableContext(%p, %u)", context, kind);
}

EXPORT int cuptiActivityDisableContext(void *context, uint32_t kind);
int cuptiActivityDisableContext(void *context, uint32_t kind) {
  BEGIN(cuptiActivityDisableContext);
  int r = serves ? ws_share_disable(kind) : f(context, kind);
  return note(r, serves, "cuptiActivityDisableContext(%p, %u)", context, kind);
}

EXPORT int cuptiActivityEnableDriverApi(uint32_t id, uint8_t enable);
int cuptiActivityEnableDriverApi(uint32_t id, uint8_t enable) {
  BEGIN(cuptiActivityEnableDriverApi);
  int r = serves ? ws_share_enable_call(CUPTI_DOMAIN_DRIVER, id, enable) : f(id, enable);
  return note(r, serves, "cuptiActivityEnableDriverApi(%u, %u)", id, enable);
}

EXPORT int cuptiActivityEnableRuntimeApi(uint32_t id, uint8_t enable);
int cuptiActivityEnableRuntimeApi(uint32_t id, uint8_t enable) {
  BEGIN(cuptiActivityEnableRuntimeApi);
  int r = serves ? ws_share_enable_call(CUPTI_DOMAIN_RUNTIME, id, enable) : f(id, enable);
  return note(r, serves, "cuptiActivityEnableRuntimeApi(%u, %u)", id, enable);
}

EXPORT int cuptiActivityFlushAll(uint32_t flag);
int cuptiActivityFlushAll(uint32_t flag) {
  BEGIN(cuptiActivityFlushAll);
  uint64_t given = 0;
  int r = serves ? ws_share_flush(flag, &given) : f(flag);
  return note(
      r, serves, "cuptiActivityFlushAll(%u): %llu records", flag, (unsigned long long)given);
}

EXPORT int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped);
int cuptiActivityGetNumDroppedRecords(void *context, uint32_t stream, size_t *dropped) {
  BEGIN(cuptiActivityGetNumDroppedRecords);
  int r = serves ? ws_share_dropped(context, stream, dropped) : f(context, stream, dropped);
  return note(r, serves, "cuptiActivityGetNumDroppedRecords(): %zu", dropped && !r ? *dropped : 0);
}

EXPORT int cuptiActivityRegisterTimestampCallback(uint64_t (*timestamp)(void));
int cuptiActivityRegisterTimestampCallback(uint64_t (*timestamp)(void)) {
  BEGIN(cuptiActivityRegisterTimestampCallback);
  int r = serves ? ws_share_clock(timestamp) : f(timestamp);
  return note(r, serves, "cuptiActivityRegisterTimestampCallback(%p)", *(void **)&timestamp);
}

EXPORT int cuptiGetTimestamp(uint64_t *timestamp);
int cuptiGetTimestamp(uint64_t *timestamp) {
  BEGIN(cuptiGetTimestamp);
  return serves ? ws_share_timestamp(timestamp) : f(timestamp);
}

/* What concerns the buffers is said of those that the capture gives. */
EXPORT int cuptiActivitySetAttribute(uint32_t attribute, size_t *size, void *value);
int cuptiActivitySetAttribute(uint32_t attribute, size_t *size, void *value) {
  BEGIN(cuptiActivitySetAttribute);
  bool swallowed =
      serves && ws_share_has_buffers() &&
      (attribute == ATTRIBUTE_ZEROED_BUFFERS || attribute == ATTRIBUTE_PER_THREAD_BUFFERS);
  int r = swallowed ? SUCCESS : f(attribute, size, value);
  return note(r, swallowed, "cuptiActivitySetAttribute(%u)", attribute);
}

/* The capture has chosen the kernel's ids. */
EXPORT int cuptiSetThreadIdType(uint32_t type);
int cuptiSetThreadIdType(uint32_t type) {
  BEGIN(cuptiSetThreadIdType);
  serves = serves && ws_share_has_buffers();
  int r = serves ? SUCCESS : f(type);
  return note(r, serves, "cuptiSetThreadIdType(%u)", type);
}

EXPORT int cuptiFinalize(void);
int cuptiFinalize(void) {
  BEGIN(cuptiFinalize);
  int r = serves ? ws_share_finalize() : f();
  return note(r, serves, "cuptiFinalize()");
}

void *ws_interpose_function(const char *name) {
#define FUNCTION(name)                                                                             \
  { #name, (void *)&(name) }
  static const struct {
    const char *name;
    void *function;
  } functions[] = {
      FUNCTION(cuptiActivityDisable),
      FUNCTION(cuptiActivityDisableContext),
      FUNCTION(cuptiActivityEnable),
      FUNCTION(cuptiActivityEnableAndDump),
      FUNCTION(cuptiActivityEnableContext),
      FUNCTION(cuptiActivityEnableDriverApi),
      FUNCTION(cuptiActivityEnableRuntimeApi),
      FUNCTION(cuptiActivityFlushAll),
      FUNCTION(cuptiActivityGetNumDroppedRecords),
      FUNCTION(cuptiActivityRegisterCallbacks),
      FUNCTION(cuptiActivityRegisterTimestampCallback),
      FUNCTION(cuptiActivitySetAttribute),
      FUNCTION(cuptiEnableAllDomains),
      FUNCTION(cuptiEnableCallback),
      FUNCTION(cuptiEnableDomain),
      FUNCTION(cuptiFinalize),
      FUNCTION(cuptiGetTimestamp),
      FUNCTION(cuptiSetThreadIdType),
      FUNCTION(cuptiSubscribe),
      FUNCTION(cuptiSubscribe_v2),
      FUNCTION(cuptiUnsubscribe),
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, name) == 0) return functions[i].function;
  return NULL;
}
