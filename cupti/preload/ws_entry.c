/* ws_entry.c: how libwarpscope.so gets into a process and out of it.
 *
 * Owns: the constructor (LD_PRELOAD, or dlopen into a running program), the entry points that the
 * CUDA driver and NVTX look for, and the exported interposers. In a process that never uses CUDA
 * only the constructor runs.
 */
#define _GNU_SOURCE
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../ws_compat.h"
#include "ws_connect.h"

#define EXPORT __attribute__((visibility("default")))

/* Bound on what a program's exit waits for CUPTI's last buffers. */
#define FINISH_MS 5000

static struct ws_shm shm;
static bool enabled = true;
static atomic_flag called = ATOMIC_FLAG_INIT; /* a capture was started, or tried */

/* Which process has a thread that looks at the driver, or begins a capture; 0: none. */
static _Atomic pid_t late_at_work;
static _Atomic bool ending; /* exit was called */

static void pause_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

/* exit() begins. What the program, and libraries before us, do after this is not over yet; but
 * CUPTI must be asked now, before the driver is taken down. */
static void stop(void) {
  /* Not while our own thread is in the driver: it would be taken down under it. */
  atomic_store(&ending, true);
  for (int i = 0; i < FINISH_MS && atomic_load(&late_at_work) == getpid(); i++) pause_ms(1);
  ws_capture_stop(FINISH_MS);
}

/* Nothing of the program's runs after this. */
static void finish(void) {
  if (!ws_capture_armed()) return;
  bool whole = ws_capture_finish(FINISH_MS);
  ws_connect_finish(&shm, whole);
}

/* exit() ends: the last that it calls are the destructors of libraries. */
__attribute__((destructor)) static void destructor(void) { finish(); }

static bool is_us(const char *path, const char *self) { return path && (strcmp(path, self) == 0); }

static void start(bool late) {
  struct ws_config config;
  if (!enabled) return;
  if (!ws_compat_complete()) {
    ws_connect_note("this process was started without libdl and libpthread, which came with CUDA "
                    "too late: it is not recorded");
    ws_capture_refuse();
    return;
  }
  if (getauxval(AT_SECURE)) {
    /* Whoever started it chose our environment, and must not choose its files. */
    ws_connect_note("this program has privileges of its own (setuid): it is not recorded");
    ws_capture_refuse();
    return;
  }
  if (!ws_connect(&shm, &config)) {
    ws_capture_refuse();
    return;
  }
  config.late = late;
  ws_capture_start(&shm, &config);
  if (!late) atexit(stop); /* the constructor did it for a late one */
  at_quick_exit(finish);
}

/* ---- loaded into a running program ---- */

/* The loader lists what a program starts with, the preloaded libraries first and itself among the
 * last; what dlopen brings comes behind. */
struct order {
  uintptr_t us;
  bool loader_seen, us_behind;
};

static int look(struct dl_phdr_info *info, size_t size, void *user) {
  (void)size;
  struct order *o = user;
  if (info->dlpi_addr && info->dlpi_addr == getauxval(AT_BASE)) o->loader_seen = true;
  if (info->dlpi_addr == o->us) o->us_behind = o->loader_seen;
  return 0;
}

/* CUresult of a call that every program may make at any time, and that initialises nothing. */
#define CUDA_NOT_INITIALIZED 3

/* How often, and for how long, the driver is asked: a cuInit that was under way when we came has
 * not seen CUDA_INJECTION64_PATH. A later one does, and calls us. */
#define LATE_ASK_MS 5
#define LATE_ASK_TIMES 2000
/* Where CUDA has just begun, it is about to call us, and then nothing is missing. */
#define LATE_GRACE_MS 10

static _Atomic bool injected; /* the driver called us */

/* A thread of its own, because the constructor runs under the loader's lock: the program's threads
 * may hold the driver's locks and want to load something, and CUPTI asks for the driver's. */
static void *begin_late(void *count_devices) {
  int (*ask)(int *) = (int (*)(int *))(uintptr_t)count_devices;
  int count, result = CUDA_NOT_INITIALIZED;
  for (int i = 0; i < LATE_ASK_TIMES; i++) {
    result = ask(&count);
    if (result != CUDA_NOT_INITIALIZED) break;
    atomic_store(&late_at_work, 0);
    pause_ms(LATE_ASK_MS);
    atomic_store(&late_at_work, getpid());
    if (atomic_load(&ending)) break;
  }
  for (int i = 0; i < LATE_GRACE_MS && !atomic_load(&injected); i++) pause_ms(1);
  if (result == 0 && !atomic_flag_test_and_set(&called)) start(true);
  atomic_store(&late_at_work, 0);
  return NULL;
}

static void watch_late(void) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  void *ask = driver ? dlsym(driver, "cuDeviceGetCount") : NULL;
  if (!ask) return; /* CUDA has not begun; the driver will call us when it does */
  pthread_t thread;
  uint64_t all = ~(3ull << 31), before = 0; /* as for the worker's thread */
  atomic_store(&late_at_work, getpid());
  atexit(stop);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  bool begun = pthread_create(&thread, NULL, begin_late, ask) == 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
  if (begun)
    pthread_detach(thread);
  else
    atomic_store(&late_at_work, 0);
}

/* LD_PRELOAD alone does not make the driver call us: it asks CUDA_INJECTION64_PATH. */
__attribute__((constructor)) static void constructor(void) {
  ws_connect_open();
  const char *off = getenv("WARPSCOPE_DISABLE");
  if (off && *off && strcmp(off, "0") != 0) {
    enabled = false;
    ws_capture_refuse();
    return;
  }
  Dl_info self;
  if (!ws_compat_complete()) return; /* a program without the libraries that CUDA needs */
  if (!dladdr((void *)constructor, &self) || !self.dli_fname || self.dli_fname[0] != '/') return;
  const char *injection = getenv("CUDA_INJECTION64_PATH");
  bool unset = !injection || !*injection;
  if (unset) setenv("CUDA_INJECTION64_PATH", self.dli_fname, 1);
  const char *nvtx = getenv("NVTX_INJECTION64_PATH");
  bool ours = unset || is_us(injection, self.dli_fname);
  if (ours && (!nvtx || !*nvtx)) setenv("NVTX_INJECTION64_PATH", self.dli_fname, 1);
  struct order order = {.us = (uintptr_t)self.dli_fbase};
  dl_iterate_phdr(look, &order);
  if (!order.us_behind) return;
  if (unset)
    watch_late();
  else if (!ours)
    ws_connect_note("CUDA_INJECTION64_PATH names another tool: this process is not recorded");
  /* Else the driver knows us already, and may be loading us at this moment. */
}

/* Called by the driver while it initialises. Always 1: a failure of ours is not the program's. */
EXPORT int InitializeInjection(void);
EXPORT int InitializeInjection(void) {
  atomic_store(&injected, true);
  if (!atomic_flag_test_and_set(&called)) start(false);
  return 1;
}

EXPORT int InitializeInjectionNvtx(void *get_export_table);
EXPORT int InitializeInjectionNvtx(void *get_export_table) {
  return enabled && ws_compat_complete() ? ws_capture_nvtx(get_export_table, 1) : 0;
}

EXPORT int InitializeInjectionNvtx2(void *get_export_table);
EXPORT int InitializeInjectionNvtx2(void *get_export_table) {
  return enabled && ws_compat_complete() ? ws_capture_nvtx(get_export_table, 2) : 0;
}

/* Programs that leave without atexit (os._exit in Python's worker processes) still flush. */
EXPORT void _exit(int status) {
  finish();
  for (;;) syscall(SYS_exit_group, status);
}

EXPORT void _Exit(int status) __attribute__((alias("_exit"), noreturn));
