/* share.c: a program with a profiler of its own inside: it calls CUPTI as torch.profiler does, in
 * that order, linked to CUPTI or by dlsym, and prints what it got. Knows nothing of warpscope. */
#include "program.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

typedef void (*request_fn)(uint8_t **, size_t *, size_t *);
typedef void (*complete_fn)(void *, uint32_t, uint8_t *, size_t, size_t);
typedef void (*callback_fn)(void *, uint32_t, uint32_t, const void *);
int cuptiSubscribe(void **, callback_fn, void *);
int cuptiUnsubscribe(void *);
int cuptiEnableCallback(uint32_t, void *, uint32_t, uint32_t);
int cuptiEnableDomain(uint32_t, void *, uint32_t);
int cuptiActivityRegisterCallbacks(request_fn, complete_fn);
int cuptiActivityEnable(uint32_t);
int cuptiActivityDisable(uint32_t);
int cuptiActivityEnableDriverApi(uint32_t, uint8_t);
int cuptiActivityFlushAll(uint32_t);
int cuptiActivityGetNextRecord(uint8_t *, size_t, uint8_t **);
int cuptiActivityGetNumDroppedRecords(void *, uint32_t, size_t *);
int cuptiActivityRegisterTimestampCallback(uint64_t (*)(void));
int cuptiActivitySetAttribute(uint32_t, size_t *, void *);
int cuptiFinalize(void);

#ifdef BY_LOADER
/* Asks the loader for CUPTI's functions, as Triton's Proton and JAX do; TRACER: of which library.
 */
static void *by_loader(const char *name) {
  static void *library;
  if (!library) library = dlopen(getenv("TRACER"), RTLD_NOW | RTLD_LOCAL);
  void *f = library ? dlsym(library, name) : NULL;
  if (!f) fprintf(stderr, "no %s: %s\n", name, dlerror()), exit(9);
  return f;
}
#define BY_LOADER_FUNCTION(name) (*(__typeof__(&(name)))by_loader(#name))
#define cuptiSubscribe BY_LOADER_FUNCTION(cuptiSubscribe)
#define cuptiUnsubscribe BY_LOADER_FUNCTION(cuptiUnsubscribe)
#define cuptiEnableCallback BY_LOADER_FUNCTION(cuptiEnableCallback)
#define cuptiEnableDomain BY_LOADER_FUNCTION(cuptiEnableDomain)
#define cuptiActivityRegisterCallbacks BY_LOADER_FUNCTION(cuptiActivityRegisterCallbacks)
#define cuptiActivityEnable BY_LOADER_FUNCTION(cuptiActivityEnable)
#define cuptiActivityDisable BY_LOADER_FUNCTION(cuptiActivityDisable)
#define cuptiActivityEnableDriverApi BY_LOADER_FUNCTION(cuptiActivityEnableDriverApi)
#define cuptiActivityFlushAll BY_LOADER_FUNCTION(cuptiActivityFlushAll)
#define cuptiActivityGetNextRecord BY_LOADER_FUNCTION(cuptiActivityGetNextRecord)
#define cuptiActivityGetNumDroppedRecords BY_LOADER_FUNCTION(cuptiActivityGetNumDroppedRecords)
#define cuptiActivityRegisterTimestampCallback                                                     \
  BY_LOADER_FUNCTION(cuptiActivityRegisterTimestampCallback)
#define cuptiActivitySetAttribute BY_LOADER_FUNCTION(cuptiActivitySetAttribute)
#define cuptiFinalize BY_LOADER_FUNCTION(cuptiFinalize)
#endif

enum { MEMCPY = 1, MEMSET = 2, DRIVER = 4, RUNTIME = 5, KERNEL = 10, OVERHEAD = 17, EXTERNAL = 39 };
enum { GET_CURRENT = 304, BUFFER = 64 << 10, BUFFERS = 1024 };

/* ---- buffers, as torch.profiler keeps them: one that it does not know is an error ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  uint8_t *data;
  size_t valid;
  enum { FREE, OUT, READY } state;
} buffers[BUFFERS];
static int unknown;
static int buffers_most = BUFFERS;

static void requested(uint8_t **data, size_t *size, size_t *max_records) {
  pthread_mutex_lock(&lock);
  *data = NULL;
  *max_records = 0;
  for (int i = 0; i < buffers_most && !*data; i++) {
    if (buffers[i].state != FREE) continue;
    if (!buffers[i].data) buffers[i].data = aligned_alloc(8, BUFFER);
    buffers[i].state = OUT;
    *data = buffers[i].data;
  }
  *size = *data ? BUFFER : 0;
  pthread_mutex_unlock(&lock);
}

static void completed(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  (void)context, (void)stream, (void)size;
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < BUFFERS && (buffers[i].state != OUT || buffers[i].data != data)) i++;
  if (i == BUFFERS) {
    unknown++;
  } else {
    buffers[i].valid = valid;
    buffers[i].state = READY;
  }
  pthread_mutex_unlock(&lock);
}

/* ---- its clock: neither CUPTI's unit nor its beginning ---- */

static uint64_t ticks(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  uint64_t ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
  return 12345 + 3 * ns;
}

/* ---- one use ---- */

static void *subscriber;
static _Atomic int created, exits;
static _Atomic int tearing;

static void called(void *user, uint32_t domain, uint32_t id, const void *data) {
  (void)user;
  uint32_t site;
  memcpy(&site, data, sizeof site);
  if (domain == 3 && id == 1) created++;
  if (domain != 1) return;
  exits += site == 1;
  if (site == 1 && tearing) {
    tearing = 0;
    CHECK(cuptiUnsubscribe(subscriber));
    CHECK(cuptiFinalize());
    subscriber = NULL;
    tearing = -1;
  }
}

struct seen {
  int kernels, copies, sets, calls, others, outside, backwards;
};

static struct seen read_buffers(uint64_t begin, uint64_t end) {
  struct seen s = {0};
  pthread_mutex_lock(&lock);
  for (int i = 0; i < BUFFERS; i++) {
    if (buffers[i].state != READY) continue;
    uint8_t *r = NULL;
    while (cuptiActivityGetNextRecord(buffers[i].data, buffers[i].valid, &r) == 0) {
      uint32_t kind;
      uint64_t times[2];
      memcpy(&kind, r, sizeof kind);
      s.kernels += kind == KERNEL;
      s.copies += kind == MEMCPY;
      s.sets += kind == MEMSET;
      s.calls += kind == DRIVER;
      s.others +=
          kind != KERNEL && kind != MEMCPY && kind != MEMSET && kind != DRIVER && kind != OVERHEAD;
      if (kind == OVERHEAD) continue;
      memcpy(times, r + (kind == DRIVER ? 8 : 16), sizeof times);
      s.outside += times[0] < begin || times[1] > end;
      s.backwards += times[0] > times[1];
    }
    buffers[i].state = FREE;
  }
  pthread_mutex_unlock(&lock);
  return s;
}

static void subscribe(void) {
  if (subscriber) return;
  CHECK(cuptiSubscribe(&subscriber, called, NULL));
  CHECK(cuptiEnableCallback(1, subscriber, 3, 1));
}

static const uint32_t kinds[] = {MEMCPY, MEMSET, RUNTIME, DRIVER, KERNEL, EXTERNAL, OVERHEAD};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void without_current(void) {
#ifdef BY_LOADER
  if (!dlsym(dlopen(getenv("TRACER"), RTLD_NOW | RTLD_LOCAL), "cuptiActivityEnableDriverApi"))
    return; /* CUPTI before 12.5 */
#endif
  CHECK(cuptiActivityEnableDriverApi(GET_CURRENT, 0));
}

static uint64_t start(void) {
  subscribe();
  CHECK(cuptiActivityRegisterTimestampCallback(ticks));
  CHECK(cuptiActivityRegisterCallbacks(requested, completed));
  for (int i = 0; i < KINDS; i++) {
    CHECK(cuptiActivityEnable(kinds[i]));
    if (kinds[i] == DRIVER) without_current();
  }
  return ticks();
}

static void stop(const char *name, int round, uint64_t begin) {
  CHECK(cuCtxSynchronize());
  uint64_t end = ticks();
  for (int i = 0; i < KINDS; i++) CHECK(cuptiActivityDisable(kinds[i]));
  /* torch.profiler asks for nothing when it has no buffer out. */
  bool out = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < BUFFERS; i++) out = out || buffers[i].state == OUT;
  pthread_mutex_unlock(&lock);
  if (out)
    CHECK(cuptiActivityFlushAll(1));
  else
    printf("no buffer was asked for\n");
  uint8_t zero = 0;
  size_t size = sizeof zero, dropped = 0;
  CHECK(cuptiActivitySetAttribute(9, &size, &zero));
  CHECK(cuptiActivityGetNumDroppedRecords(NULL, 0, &dropped));
  struct seen s = read_buffers(begin, end + 3 * 1000000);
  printf("%s %d: %d kernels %d copies %d sets %d calls %d others, %d outside %d backwards %d "
         "unknown %zu dropped\n",
         name,
         round,
         s.kernels,
         s.copies,
         s.sets,
         s.calls,
         s.others,
         s.outside,
         s.backwards,
         unknown,
         dropped);
  fflush(stdout);
}

/* As torch.profiler with TEARDOWN_CUPTI=1: cuptiFinalize from the callback of some call's exit. */
static void *tear_down(void *unused) {
  (void)unused;
  subscribe();
  CHECK(cuptiEnableDomain(1, subscriber, 2));
  CHECK(cuptiEnableDomain(1, subscriber, 1));
  CHECK(cuptiActivityFlushAll(1));
  tearing = 1;
  return NULL;
}

/* arguments: rounds, works a round, whether it tears down after each */
static int rounds(bool profiled, int n, char **a) {
  int rounds = n > 0 ? atoi(a[0]) : 3, works = n > 1 ? atoi(a[1]) : 5;
  bool teardown = n > 2 && atoi(a[2]);
  begin();
  for (int round = 0; round < rounds; round++) {
    work();
    uint64_t at = profiled ? start() : 0;
    for (int i = 0; i < works; i++) work();
    if (profiled)
      stop("round", round, at);
    else
      CHECK(cuCtxSynchronize());
    work();
    if (teardown) {
      pthread_join(start_thread(tear_down, NULL), NULL);
      for (int i = 0; i < 100 && tearing != -1; i++) work();
      printf("torn down: %d\n", tearing);
      tearing = 0;
    }
    usleep(2000);
  }
  void *extra;
  CHECK(cuCtxCreate_v2(&extra, 0, 0));
  CHECK(cuCtxDestroy_v2(extra));
  join_context();
  printf("contexts seen: %d\n", created);
  work();
  return 0;
}

static int profile(int n, char **a) { return rounds(true, n, a); }
static int unprofiled(int n, char **a) { return rounds(false, n, a); }

/* A child that ends without CUDA in the middle of a round. */
static int forked(int n, char **a) {
  (void)n, (void)a;
  begin();
  uint64_t at = start();
  for (int i = 0; i < 3; i++) work();
  pid_t child = fork();
  if (child == 0) {
    /* What they answer is CUPTI's affair. */
    cuptiActivityDisable(KERNEL);
    cuptiActivityFlushAll(1);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  if (status != 0) fail("child", status);
  for (int i = 0; i < 2; i++) work();
  stop("parent", 0, at);
  return 0;
}

/* On before CUDA is, off after it. */
static int first(int n, char **a) {
  (void)n, (void)a;
  uint64_t at = start();
  begin();
  for (int i = 0; i < 5; i++) work();
  stop("first", 0, at);
  work();
  return 0;
}

static _Atomic int over;
static void *busy(void *unused) {
  (void)unused;
  join_context();
  while (!over) {
    CHECK(cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    /* Not faster than real launches: where the tracer is held up its buffers run out, as they
     * should. */
    if (tally->launches++ % 8 == 0) usleep(100);
  }
  return NULL;
}

/* Rounds while other threads launch: nothing may hang, crash or be lost to the trace. */
static int storm(int n, char **a) {
  int rounds = n > 0 ? atoi(a[0]) : 20;
  begin();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = start_thread(busy, NULL);
  for (int round = 0; round < rounds; round++) {
    uint64_t at = start();
    usleep(3000);
    stop("storm", round, at);
  }
  over = 1;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK(cuCtxSynchronize());
  return 0;
}

/* A tool that comes by nobody who stands before CUPTI's functions: it asks the C library itself.
 * arguments: milliseconds */
static int thief(int n, char **a) {
  int ms = n > 0 ? atoi(a[0]) : 2000;
  begin();
  const char *path = getenv("TRACER");
  void *tracer = dlopen(path ? path : "libcupti.so.13", RTLD_NOW | RTLD_NOLOAD);
  void *c_library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  void *(*find)(void *, const char *) = NULL;
  *(void **)&find = dlvsym(c_library, "dlsym", "GLIBC_2.34");
  if (!find) *(void **)&find = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
  if (!tracer) fail("no CUPTI in this process", 0);
  int (*take_over)(request_fn, complete_fn), (*enable)(uint32_t), (*disable)(uint32_t),
      (*flush)(uint32_t);
  *(void **)&take_over = find(tracer, "cuptiActivityRegisterCallbacks");
  *(void **)&enable = find(tracer, "cuptiActivityEnable");
  *(void **)&disable = find(tracer, "cuptiActivityDisable");
  *(void **)&flush = find(tracer, "cuptiActivityFlushAll");
  for (int i = 0; i < 10; i++) work();
  usleep(600000); /* the capture has got those */
  tally->stage = tally->launches;
  CHECK(take_over(requested, completed));
  CHECK(enable(KERNEL));
  for (int i = 0; i < ms; i += 20) {
    work();
    usleep(20000);
  }
  CHECK(disable(KERNEL));
  CHECK(flush(1));
  struct seen s = read_buffers(0, UINT64_MAX);
  printf("thief: %d kernels of %d\n", s.kernels, (int)(tally->launches - tally->stage));
  /* The user wants the timeline back. */
  int (*off)(void), (*on)(void);
  *(void **)&off = dlsym(RTLD_DEFAULT, "warpscope_stop");
  *(void **)&on = dlsym(RTLD_DEFAULT, "warpscope_start");
  uint64_t before = tally->launches;
  if (n > 1 && off && on) {
    CHECK(off());
    CHECK(on());
    printf("again\n");
  }
  for (int i = 0; i < 5; i++) work();
  tally->extra = tally->launches - before;
  return 0;
}

/* Nothing but one kernel of seconds, during which CUPTI may hold buffers back. arguments: milliseconds */
static int idle(int n, char **a) {
  begin();
  work();
  CHECK(cuCtxSynchronize());
  usleep(700000);
  CHECK(cuLaunchKernel(kernel, 1u << 29, 1, 1, 1024, 1, 1, 0, NULL, NULL, NULL));
  tally->launches++;
  usleep(1000 * (n > 0 ? (unsigned)atoi(a[0]) : 2000));
  work();
  CHECK(cuCtxSynchronize());
  return 0;
}

/* Leaves in the middle of a round. */
static int leave(int n, char **a) {
  (void)n, (void)a;
  begin();
  start();
  for (int i = 0; i < 5; i++) work();
  CHECK(cuCtxSynchronize());
  return 0;
}

/* One round that is too much to be kept, in buffers of arguments[0] at most. */
static int large(int n, char **a) {
  if (n > 0) buffers_most = atoi(a[0]);
  begin();
  uint64_t at = start();
  for (int i = 0; i < 120000; i++) launch(kernel);
  stop("large", 0, at);
  return 0;
}

/* The timeline goes on and off in a round, and rounds begin and end while it is off. */
static int toggle(int n, char **a) {
  (void)n, (void)a;
  int (*off)(void), (*on)(void);
  *(void **)&off = dlsym(RTLD_DEFAULT, "warpscope_stop");
  *(void **)&on = dlsym(RTLD_DEFAULT, "warpscope_start");
  bool traced = off && on, is_on = true;
  begin();
  for (int round = 0; round < 4; round++) {
    uint64_t at = start();
    for (int i = 0; i < 5; i++) {
      if (traced) CHECK(is_on ? off() : on());
      is_on = !is_on;
      uint64_t before = tally->launches;
      work();
      if (is_on) tally->extra += tally->launches - before;
    }
    stop("toggle", round, at);
    uint64_t before = tally->launches;
    work();
    if (is_on) tally->extra += tally->launches - before;
  }
  return 0;
}

MAIN({"profile", profile},
     {"toggle", toggle},
     {"leave", leave},
     {"large", large},
     {"idle", idle},
     {"thief", thief},
     {"unprofiled", unprofiled},
     {"fork", forked},
     {"first", first},
     {"storm", storm})
