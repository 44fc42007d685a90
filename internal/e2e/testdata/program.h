/* program.h: what the test programs share: the driver API, and a count that survives them.
 *
 * Every program counts what it did in a file that it maps (TALLY names it), so that the count is right
 * however the process ends: a figure grows after the call has returned. Programs are linked
 * with libcuda.so.1, the simulated one or a real one, and know nothing of warpscope.
 */
#ifndef WARPSCOPE_TEST_PROGRAM_H
#define WARPSCOPE_TEST_PROGRAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuDevicePrimaryCtxReset_v2(int);
int cuCtxCreate_v2(void **, unsigned, int);
int cuCtxDestroy_v2(void *);
int cuCtxSetCurrent(void *);
int cuCtxSynchronize(void);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemAllocManaged(uint64_t *, size_t, unsigned);
int cuMemFree_v2(uint64_t);
int cuMemAllocAsync(uint64_t *, size_t, void *);
int cuMemFreeAsync(uint64_t, void *);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoD_v2(uint64_t, const void *, size_t);
int cuMemsetD8_v2(uint64_t, unsigned char, size_t);
int cuMemCreate(uint64_t *, size_t, const void *, uint64_t);
int cuMemRelease(uint64_t);
int cuMemAddressReserve(uint64_t *, size_t, size_t, uint64_t, uint64_t);
int cuMemAddressFree(uint64_t, size_t);
int cuMemMap(uint64_t, size_t, size_t, uint64_t, uint64_t);
int cuMemUnmap(uint64_t, size_t);

/* The figures, in the order in which the tests read them. One slot a process. */
enum space { DEVICE, POOL, MANAGED, HOST, HANDLE, SPACES };
struct tally {
  _Atomic uint64_t pid;
  _Atomic uint64_t launches, copies, sets, failed;
  _Atomic uint64_t stage; /* whatever a program wants to say of its progress */
  _Atomic uint64_t extra; /* whatever else it counted */
  _Atomic uint64_t reserved;
  struct {
    _Atomic uint64_t allocations, bytes, releases, live, live_bytes;
  } of[SPACES];
  _Atomic uint64_t pad[31];
};
_Static_assert(sizeof(struct tally) == 512, "a slot of the tally");
enum { SLOTS = 16 };

static struct tally *tallies; /* all of them */
static struct tally *tally;   /* this process's */

static void *module, *kernel;

__attribute__((unused)) static void fail(const char *what, int code) {
  fprintf(stderr, "test program: %s: %d\n", what, code);
  _exit(70);
}

#define CHECK(call)                                                                                \
  do {                                                                                             \
    int code_ = (call);                                                                            \
    if (code_ != 0) fail(#call, code_);                                                            \
  } while (0)

/* Which slot of the count is this process's. */
__attribute__((unused)) static void count_in(int slot) {
  if (!tallies) {
    const char *path = getenv("TALLY");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, SLOTS * (off_t)sizeof *tallies) != 0) fail("TALLY", fd);
    tallies = mmap(NULL, SLOTS * sizeof *tallies, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (tallies == MAP_FAILED) fail("map TALLY", 0);
    close(fd);
  }
  tally = &tallies[slot];
  tally->pid = (uint64_t)getpid();
}

/* Initialises CUDA: the primary context, a module with one kernel. */
__attribute__((unused)) static void begin(void) {
  void *context;
  CHECK(cuInit(0));
  CHECK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuModuleLoadData(&module, ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry busy() { ret; }\n"));
  CHECK(cuModuleGetFunction(&kernel, module, "busy"));
}

/* For threads: a context is current in each thread for itself. */
__attribute__((unused)) static void join_context(void) {
  void *context;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(cuCtxSetCurrent(context));
}

__attribute__((unused)) static void launch(void *function) {
  CHECK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
  tally->launches++;
}

__attribute__((unused)) static void took(enum space space, uint64_t size) {
  tally->of[space].bytes += size;
  tally->of[space].live_bytes += size;
  tally->of[space].live++;
  tally->of[space].allocations++;
}

__attribute__((unused)) static void gave(enum space space, uint64_t size) {
  tally->of[space].live_bytes -= size;
  tally->of[space].live--;
  tally->of[space].releases++;
}

__attribute__((unused)) static uint64_t take(enum space space, uint64_t size) {
  uint64_t address = 0;
  void *host = NULL;
  switch (space) {
  case POOL: CHECK(cuMemAllocAsync(&address, size, NULL)); break;
  case MANAGED: CHECK(cuMemAllocManaged(&address, size, 1)); break;
  case HOST:
    CHECK(cuMemHostAlloc(&host, size, 0));
    address = (uint64_t)(uintptr_t)host;
    break;
  default: CHECK(cuMemAlloc_v2(&address, size)); break;
  }
  took(space, size);
  return address;
}

__attribute__((unused)) static void give(enum space space, uint64_t address, uint64_t size) {
  switch (space) {
  case POOL: CHECK(cuMemFreeAsync(address, NULL)); break;
  case HOST: CHECK(cuMemFreeHost((void *)(uintptr_t)address)); break;
  default: CHECK(cuMemFree_v2(address)); break;
  }
  gave(space, size);
}

/* A little of everything: 40 launches, 4 copies, 4 fills, 8 allocations, 5 of them released. */
__attribute__((unused)) static void work(void) {
  static const char bytes[64];
  uint64_t address[8];
  for (unsigned i = 0; i < 8; i++) address[i] = take(i % 2 ? POOL : DEVICE, 4096 + i);
  for (unsigned i = 0; i < 40; i++) launch(kernel);
  for (unsigned i = 0; i < 4; i++) {
    CHECK(cuMemcpyHtoD_v2(address[i], bytes, sizeof bytes));
    tally->copies++;
    CHECK(cuMemsetD8_v2(address[i], 1, 4096));
    tally->sets++;
  }
  CHECK(cuCtxSynchronize());
  for (unsigned i = 0; i < 5; i++) give(i % 2 ? POOL : DEVICE, address[i], 4096 + i);
}

/* Runs `function` in a thread; the thread must be joined. */
__attribute__((unused)) static pthread_t start_thread(void *(*function)(void *), void *argument) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, function, argument));
  return thread;
}

/* Small and fast, the same on every machine. */
__attribute__((unused)) static uint32_t dice(uint64_t *state) {
  *state = *state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(*state >> 33);
}

struct scenario {
  const char *name;
  int (*run)(int count, char **arguments);
};

/* argv: scenario, slot of the tally, the scenario's own arguments. */
#define MAIN(...)                                                                                  \
  int main(int argc, char **argv) {                                                                \
    static const struct scenario all[] = {__VA_ARGS__};                                            \
    if (argc < 3) return 64;                                                                       \
    count_in(atoi(argv[2]));                                                                       \
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)                                          \
      if (strcmp(all[i].name, argv[1]) == 0) return all[i].run(argc - 3, argv + 3);                \
    return 64;                                                                                     \
  }

#endif
