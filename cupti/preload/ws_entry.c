/* ws_entry.c: how libwarpscope.so gets into a process and out of it.
 *
 * Owns: the constructor (LD_PRELOAD), the entry points that the CUDA driver and NVTX look for, and
 * the exported interposers. In a process that never uses CUDA only the constructor runs.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../ws_compat.h"
#include "ws_connect.h"

#define EXPORT __attribute__((visibility("default")))

/* Bound on what a program's exit waits for CUPTI's last buffers. */
#define FINISH_MS 5000

static struct ws_shm shm;
static bool enabled = true;

/* exit() begins. What the program, and libraries before us, do after this is not over yet; but
 * CUPTI must be asked now, before the driver is taken down. */
static void stop(void) { ws_capture_stop(FINISH_MS); }

/* Nothing of the program's runs after this. */
static void finish(void) {
  if (!ws_capture_armed()) return;
  bool whole = ws_capture_finish(FINISH_MS);
  ws_connect_finish(&shm, whole);
}

/* exit() ends: the last that it calls are the destructors of libraries. */
__attribute__((destructor)) static void destructor(void) { finish(); }

static bool is_us(const char *path, const char *self) { return path && (strcmp(path, self) == 0); }

/* LD_PRELOAD alone does not make the driver call us: it asks CUDA_INJECTION64_PATH. */
__attribute__((constructor)) static void constructor(void) {
  ws_connect_open();
  const char *off = getenv("WARPSCOPE_DISABLE");
  if (off && *off && strcmp(off, "0") != 0) {
    enabled = false;
    return;
  }
  Dl_info self;
  if (!ws_compat_complete()) return; /* a program without the libraries that CUDA needs */
  if (!dladdr((void *)constructor, &self) || !self.dli_fname || self.dli_fname[0] != '/') return;
  const char *injection = getenv("CUDA_INJECTION64_PATH");
  if (!injection || !*injection) setenv("CUDA_INJECTION64_PATH", self.dli_fname, 1);
  const char *nvtx = getenv("NVTX_INJECTION64_PATH");
  bool ours = !injection || !*injection || is_us(injection, self.dli_fname);
  if (ours && (!nvtx || !*nvtx)) setenv("NVTX_INJECTION64_PATH", self.dli_fname, 1);
}

static void start(void) {
  struct ws_config config;
  if (!enabled) return;
  if (!ws_compat_complete()) {
    ws_connect_note("this process was started without libdl and libpthread, which came with CUDA "
                    "too late: it is not recorded");
    return;
  }
  if (!ws_connect(&shm, &config)) return;
  ws_capture_start(&shm, &config);
  atexit(stop);
  at_quick_exit(finish);
}

/* Called by the driver while it initialises. Always 1: a failure of ours is not the program's. */
EXPORT int InitializeInjection(void);
EXPORT int InitializeInjection(void) {
  static atomic_flag called = ATOMIC_FLAG_INIT;
  if (!atomic_flag_test_and_set(&called)) start();
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
