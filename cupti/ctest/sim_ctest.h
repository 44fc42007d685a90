/* sim_ctest.h: what the tests of the simulated device share: the libraries, one kernel, and a tool
 * that counts CUPTI's records.
 *
 * Every case is a process of its own, because faults are set by environment variables that the
 * libraries read once. The libraries come from LD_LIBRARY_PATH, as programs find them.
 */
#ifndef SIM_CTEST_H
#define SIM_CTEST_H

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ws_compat.h"
#include "ws_cupti.h"

#define SIM_UNUSED __attribute__((unused))
#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                       \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

static void *driver, *tool;

/* Types and values are argument lists with their parentheses, which more of them would break.
 * CU(cuInit, (unsigned), (0)): calls a driver function found by name. */
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define CALL(library, name, types, values) (((int(*) types)(uintptr_t)find(library, #name))values)
#define CU(name, types, values) CALL(driver, name, types, values)
#define CUPTI(name, types, values) CALL(tool, name, types, values)

SIM_UNUSED static void *find(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  if (symbol == NULL) {
    printf("no %s\n", name);
    exit(1);
  }
  return symbol;
}

SIM_UNUSED static void load(void) {
  driver = dlopen("libcuda.so.1", RTLD_NOW);
  tool = dlopen("libcupti.so.13", RTLD_NOW);
  if (driver == NULL || tool == NULL) {
    printf("%s\n", dlerror());
    exit(1);
  }
  CHECK(*(const int *)find(driver, "warpscope_simulated_device") == 1);
  CHECK(*(const int *)find(tool, "warpscope_simulated_device") == 1);
}

static const char ptx[] =
    ".version 7.0\n.target sm_80\n.visible .entry work(.param .u64 p)\n{\n ret;\n}\n";
static void *context, *function, *stream;

SIM_UNUSED static void begin(void) {
  void *module;
  CHECK(CU(cuInit, (unsigned), (0)) == 0);
  CHECK(CU(cuDevicePrimaryCtxRetain, (void **, int), (&context, 0)) == 0);
  CHECK(CU(cuCtxSetCurrent, (void *), (context)) == 0);
  CHECK(CU(cuModuleLoadData, (void **, const void *), (&module, ptx)) == 0);
  CHECK(CU(cuModuleGetFunction, (void **, void *, const char *), (&function, module, "work")) == 0);
  CHECK(CU(cuModuleGetFunction, (void **, void *, const char *), (&function, module, "wor")) ==
        500);
  CHECK(CU(cuModuleGetFunction, (void **, void *, const char *), (&function, module, "work")) == 0);
  CHECK(CU(cuStreamCreate, (void **, unsigned), (&stream, 1)) == 0);
}

SIM_UNUSED static int launch(void *in, unsigned grid) {
  return CU(cuLaunchKernel,
            (void *,
             unsigned,
             unsigned,
             unsigned,
             unsigned,
             unsigned,
             unsigned,
             unsigned,
             void *,
             void **,
             void **),
            (function, grid, 1, 1, 128, 1, 1, 64, in, NULL, NULL));
}

SIM_UNUSED static int synchronise(void) { return CU(cuCtxSynchronize, (void), ()); }

/* ---- activity ---- */

enum { BUFFER = 4096, KIND_LIMIT = 64 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
SIM_UNUSED static int buffers_out, buffers_seen, seen[KIND_LIMIT], no_time, backwards, unfinished;
static uint64_t last_end;
static bool refuse_buffers;

SIM_UNUSED static void request(uint8_t **buffer, size_t *size, size_t *max_records) {
  pthread_mutex_lock(&lock);
  *buffer = refuse_buffers ? NULL : aligned_alloc(8, BUFFER);
  *size = refuse_buffers ? 0 : BUFFER;
  *max_records = 0;
  if (!refuse_buffers) buffers_out++;
  pthread_mutex_unlock(&lock);
  /* CUPTI must not be called from here: it says so. */
  CHECK(CUPTI(cuptiActivityFlushAll, (uint32_t), (0)) == 7);
}

SIM_UNUSED static void kernel_seen(const struct cupti_kernel *k) {
  CHECK(strcmp(k->name, "work") == 0);
  CHECK(k->blockX == 128 && k->dynamicSharedMemory == 64 && k->registersPerThread == 32);
  CHECK(k->correlationId != 0 && k->contextId != 0 && k->streamId != 0);
  if (k->start == 0 && k->end == 0) {
    no_time++;
  } else if (k->end == 0) {
    unfinished++;
  } else if (k->end < k->start) {
    backwards++;
  } else {
    last_end = k->end;
  }
}

SIM_UNUSED static void
complete(void *ctx, uint32_t id, uint8_t *buffer, size_t size, size_t valid) {
  (void)ctx, (void)id;
  CHECK(size == BUFFER && valid <= size);
  uint8_t *record = NULL;
  int result;
  pthread_mutex_lock(&lock);
  buffers_out--;
  buffers_seen++;
  while ((result = CUPTI(cuptiActivityGetNextRecord,
                         (uint8_t *, size_t, uint8_t **),
                         (buffer, valid, &record))) == 0) {
    uint32_t kind = ((const struct cupti_record *)(const void *)record)->kind;
    CHECK(kind < KIND_LIMIT);
    seen[kind]++;
    if (kind == CUPTI_KIND_CONCURRENT_KERNEL)
      kernel_seen((const struct cupti_kernel *)(const void *)record);
  }
  CHECK(result == 12);
  pthread_mutex_unlock(&lock);
  free(buffer);
}

SIM_UNUSED static void enable(const uint32_t *kinds, size_t count) {
  CHECK(CUPTI(cuptiActivityRegisterCallbacks,
              (cupti_request_fn, cupti_complete_fn),
              (request, complete)) == 0);
  for (size_t i = 0; i < count; i++) CHECK(CUPTI(cuptiActivityEnable, (uint32_t), (kinds[i])) == 0);
}

SIM_UNUSED static void flush(bool forced) {
  CHECK(CUPTI(cuptiActivityFlushAll, (uint32_t), (forced)) == 0);
}

SIM_UNUSED static size_t dropped(void) {
  size_t n = 0;
  CHECK(CUPTI(cuptiActivityGetNumDroppedRecords, (void *, uint32_t, size_t *), (NULL, 0, &n)) == 0);
  return n;
}

SIM_UNUSED static const uint32_t timeline[] = {CUPTI_KIND_MEMCPY,
                                               CUPTI_KIND_MEMSET,
                                               CUPTI_KIND_CONCURRENT_KERNEL,
                                               CUPTI_KIND_DRIVER,
                                               CUPTI_KIND_SYNCHRONIZATION,
                                               CUPTI_KIND_OVERHEAD};
enum { TIMELINE = 6 };

/* Runs every case in a child; returns the exit status of the program. */
struct sim_case {
  const char *name;
  void (*run)(void);
};
#define CASE(f)                                                                                    \
  { #f, f }

SIM_UNUSED static int run_cases(const struct sim_case *cases, size_t count) {
  int failures = 0;
  for (size_t i = 0; i < count; i++) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      cases[i].run();
      exit(0);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0) {
      printf("%s: status %x\n", cases[i].name, (unsigned)status);
      failures++;
    }
  }
  if (failures == 0) printf("ok\n");
  return failures != 0;
}

#endif
