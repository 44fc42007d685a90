/* storm.c: more of everything than a training run does. */
#include "program.h"

/* ---- launches ---- */

/* argument: how many */
static int launches(int n, char **a) {
  begin();
  for (long i = 0, many = n > 0 ? atol(a[0]) : 100000; i < many; i++) launch(kernel);
  CHECK(cuCtxSynchronize());
  return 0;
}

/* argument: how many different kernels; each is launched once */
static int kernels(int n, char **a) {
  begin();
  int many = n > 0 ? atoi(a[0]) : 1000;
  char *text = malloc(64 + (size_t)many * 64), name[64];
  int at = sprintf(text, ".version 8.0\n.target sm_90\n.address_size 64\n");
  for (int i = 0; i < many; i++) at += sprintf(text + at, ".visible .entry kernel_number_%d() { ret; }\n", i);
  void *all, *function;
  CHECK(cuModuleLoadData(&all, text));
  for (int i = 0; i < many; i++) {
    sprintf(name, "kernel_number_%d", i);
    CHECK(cuModuleGetFunction(&function, all, name));
    launch(function);
  }
  CHECK(cuCtxSynchronize());
  free(text);
  return 0;
}

/* ---- allocations ---- */

static int rounds = 1000;

/* One thread of the storm keeps up to 64 allocations of every kind and leaves what it has then. */
static void *allocate(void *seed) {
  enum { KEPT = 64 };
  struct {
    uint64_t address, size;
    enum space space;
  } kept[KEPT] = {{0, 0, DEVICE}};
  uint64_t state = (uint64_t)(uintptr_t)seed;
  join_context();
  for (int i = 0; i < rounds; i++) {
    uint32_t k = dice(&state) % KEPT;
    if (kept[k].size) {
      give(kept[k].space, kept[k].address, kept[k].size);
      kept[k].size = 0;
    } else {
      uint32_t kind = dice(&state) % 16;
      kept[k].space = kind == 0 ? HOST : kind < 4 ? MANAGED : kind < 8 ? POOL : DEVICE;
      kept[k].size = 256 + dice(&state) % 65536;
      kept[k].address = take(kept[k].space, kept[k].size);
    }
  }
  return NULL;
}

static void run_threads(int threads, void *(*function)(void *)) {
  pthread_t thread[64];
  for (int i = 0; i < threads; i++) thread[i] = start_thread(function, (void *)(uintptr_t)(i + 1));
  for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
}

/* argument: how often each of the 16 threads allocates or releases */
static int allocations(int n, char **a) {
  if (n > 0) rounds = atoi(a[0]);
  begin();
  run_threads(16, allocate);
  CHECK(cuCtxSynchronize());
  return 0;
}

/* The same in turns: the storm, and then a calm in which the tests do what they do to the agent.
 * arguments: a file for whose coming it waits, how often */
static int two_storms(int n, char **a) {
  if (n < 2) return 64;
  rounds = atoi(a[1]);
  begin();
  for (int storm = 1; storm <= 2; storm++) {
    run_threads(8, allocate);
    for (int i = 0; i < 500; i++) launch(kernel);
    CHECK(cuCtxSynchronize());
    tally->stage = (uint64_t)storm;
    while (storm == 1 && access(a[0], F_OK) != 0) usleep(1000);
  }
  return 0;
}

/* Pairs of the cheapest allocation, and a launch for two of them, to fill both rings: arguments: how many, the file to wait for. */
static int pairs(int n, char **a) {
  if (n < 2) return 64;
  begin();
  uint64_t left[5];
  for (int i = 0; i < 5; i++) left[i] = take(DEVICE, 4096 + (uint64_t)i);
  tally->stage = 1;
  while (access(a[1], F_OK) != 0) usleep(1000);
  for (long i = 0, many = atol(a[0]); i < many; i++) {
    uint64_t address = take(DEVICE, 512);
    give(DEVICE, address, 512);
    if (i % 2) launch(kernel);
  }
  /* These changes come when the ring is full. */
  give(DEVICE, left[0], 4096);
  give(DEVICE, left[1], 4097);
  for (uint64_t i = 0; i < 3; i++) take(DEVICE, 10000 + i);
  tally->stage = 2;
  char second[4096];
  snprintf(second, sizeof second, "%s2", a[1]);
  while (access(second, F_OK) != 0) usleep(1000);
  work();
  return 0;
}

/* ---- physical memory ---- */

#define GRANULE (2ull << 20)

static void *map_and_unmap(void *seed) {
  struct {
    uint32_t type, handles, location_type;
    int32_t location;
    uint64_t more[4];
  } properties = {.type = 1, .location_type = 1};
  uint64_t state = (uint64_t)(uintptr_t)seed, range = 0;
  join_context();
  CHECK(cuMemAddressReserve(&range, 8 * GRANULE, 0, 0, 0));
  for (int i = 0; i < rounds; i++) {
    uint64_t handle = 0, size = GRANULE * (1 + dice(&state) % 2);
    uint64_t twice = dice(&state) % 2, early = dice(&state) % 2;
    CHECK(cuMemCreate(&handle, size, &properties, 0));
    took(HANDLE, size);
    CHECK(cuMemMap(range, size, 0, handle, 0));
    if (twice) CHECK(cuMemMap(range + 4 * GRANULE, size, 0, handle, 0));
    /* Released while mapped, the bytes live until they are unmapped. */
    if (early) CHECK(cuMemRelease(handle));
    if (i + 1 == rounds) { /* the last one stays, released or not */
      if (early) tally->of[HANDLE].releases++;
      tally->extra += size;
      break;
    }
    CHECK(cuMemUnmap(range, size));
    if (twice) CHECK(cuMemUnmap(range + 4 * GRANULE, size));
    if (!early) CHECK(cuMemRelease(handle));
    gave(HANDLE, size);
  }
  return NULL;
}

/* argument: how often each of the 8 threads creates, maps, unmaps and releases */
static int mappings(int n, char **a) {
  if (n > 0) rounds = atoi(a[0]);
  begin();
  run_threads(8, map_and_unmap);
  return 0;
}

/* ---- threads ---- */

static void *short_life(void *seed) {
  (void)seed;
  join_context();
  uint64_t address = take(DEVICE, 2048);
  launch(kernel);
  give(DEVICE, address, 2048);
  return NULL;
}

/* argument: how many threads, 50 at a time */
static int threads(int n, char **a) {
  begin();
  for (int left = n > 0 ? atoi(a[0]) : 1000; left > 0; left -= 50) run_threads(left < 50 ? left : 50, short_life);
  CHECK(cuCtxSynchronize());
  return 0;
}

MAIN({"launches", launches}, {"kernels", kernels}, {"allocations", allocations}, {"two_storms", two_storms},
     {"pairs", pairs}, {"mappings", mappings}, {"threads", threads})
