/* calls.c: loops over single driver calls, for what one call costs.
 *
 * Loops stand in C, so that no interpreter is measured along. Allocations run on a thread of their
 * own, below a recursion of a given depth: the stack that a ledger unwinds there is depth + 3
 * frames and no interpreter's. Built into libcalls.so, loaded by ctypes (overhead/programs.py); the
 * driver is found at run time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define WARM 100

EXPORT int calls_open(void);
EXPORT double calls_launch(long n);
EXPORT double calls_allocate(long n, int depth, size_t bytes, int async);

typedef int (*launch_fn)(void *,
                         unsigned,
                         unsigned,
                         unsigned,
                         unsigned,
                         unsigned,
                         unsigned,
                         unsigned,
                         void *,
                         void **,
                         void **);

static struct {
  void *library, *context, *function, *stream;
  launch_fn launch;
  int (*synchronise)(void);
  int (*set_current)(void *);
  int (*alloc)(uint64_t *, size_t);
  int (*free)(uint64_t);
  int (*alloc_async)(uint64_t *, size_t, void *);
  int (*free_async)(uint64_t, void *);
} cu;

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry work(.param .u64 p)\n{\n ret;\n}\n";

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define FIND(pointer, name) (*(void **)&(pointer) = dlsym(cu.library, name), missing |= !(pointer))

/* 0, CUresult, or -1 where the driver or a function of it is missing. */
int calls_open(void) {
  int (*init)(unsigned), (*retain)(void **, int), (*load)(void **, const void *);
  int (*find)(void **, void *, const char *), (*stream)(void **, unsigned);
  int missing = 0, r;
  void *module = NULL;
  cu.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (!cu.library) return -1;
  FIND(init, "cuInit");
  FIND(retain, "cuDevicePrimaryCtxRetain");
  FIND(load, "cuModuleLoadData");
  FIND(find, "cuModuleGetFunction");
  FIND(stream, "cuStreamCreate");
  FIND(cu.set_current, "cuCtxSetCurrent");
  FIND(cu.launch, "cuLaunchKernel");
  FIND(cu.synchronise, "cuCtxSynchronize");
  FIND(cu.alloc, "cuMemAlloc_v2");
  FIND(cu.free, "cuMemFree_v2");
  FIND(cu.alloc_async, "cuMemAllocAsync");
  FIND(cu.free_async, "cuMemFreeAsync");
  if (missing) return -1;
  if ((r = init(0)) || (r = retain(&cu.context, 0)) || (r = cu.set_current(cu.context)) ||
      (r = load(&module, ptx)) || (r = find(&cu.function, module, "work")))
    return r;
  return stream(&cu.stream, 1);
}

/* n empty kernels and their completion, in ns; below 0: minus CUresult. */
double calls_launch(long n) {
  uint64_t zero = 0;
  void *parameters[] = {&zero};
  int failed = 0;
  double begin = now();
  for (long i = 0; i < n; i++)
    failed |= cu.launch(cu.function, 1, 1, 1, 32, 1, 1, 0, cu.stream, parameters, NULL);
  failed |= cu.synchronise();
  return failed ? -failed : now() - begin;
}

struct loop {
  long n;
  int depth, async, failed;
  size_t bytes;
  double ns;
};

static void allocate(struct loop *l, long n) {
  double begin = now();
  for (long i = 0; i < n; i++) {
    uint64_t address = 0;
    if (l->async) {
      l->failed |= cu.alloc_async(&address, l->bytes, cu.stream);
      l->failed |= cu.free_async(address, cu.stream);
    } else {
      l->failed |= cu.alloc(&address, l->bytes);
      l->failed |= cu.free(address);
    }
  }
  l->ns = now() - begin;
}

/* The barrier keeps the call from becoming a jump, which would leave no frame. */
__attribute__((noinline, noclone)) static void descend(struct loop *l, int depth) {
  if (depth > 0) {
    descend(l, depth - 1);
  } else {
    allocate(l, WARM < l->n ? WARM : l->n);
    allocate(l, l->n);
  }
  __asm__ volatile("" ::: "memory");
}

static void *run(void *user) {
  struct loop *l = user;
  l->failed = cu.set_current(cu.context);
  if (!l->failed) descend(l, l->depth);
  return NULL;
}

/* n allocations of so many bytes, each freed at once, in ns; below 0: minus CUresult. */
double calls_allocate(long n, int depth, size_t bytes, int async) {
  struct loop l = {.n = n, .depth = depth, .async = async, .bytes = bytes};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, &l) != 0) return -1;
  pthread_join(thread, NULL);
  return l.failed ? -l.failed : l.ns;
}
