/* control.c: programs that say when they are to be recorded. `launches` of the tally counts every launch,
 * `extra` those that are to be in the trace. */
#include "program.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <warpscope.h>

int cuProfilerStart(void);
int cuProfilerStop(void);
int cuStreamSynchronize(void *);

static void outside(int n) {
  for (int i = 0; i < n; i++) launch(kernel);
}

static void inside(int n) {
  outside(n);
  tally->extra += (uint64_t)n;
}

/* ---- the CUDA profiler API ---- */

static int profiler(int n, char **a) {
  (void)n, (void)a;
  begin();
  outside(10);
  CHECK(cuProfilerStart());
  inside(20);
  CHECK(cuProfilerStop());
  outside(30);
  CHECK(cuProfilerStart());
  CHECK(cuProfilerStart()); /* once more changes nothing */
  inside(40);
  CHECK(cuProfilerStop());
  CHECK(cuProfilerStop());
  outside(50);
  return 0;
}

static int start_alone(int n, char **a) {
  (void)n, (void)a;
  begin();
  outside(10);
  CHECK(cuProfilerStart());
  inside(20);
  return 0;
}

static int stop_alone(int n, char **a) {
  (void)n, (void)a;
  begin();
  outside(10);
  CHECK(cuProfilerStop());
  outside(20);
  return 0;
}

/* ---- NVTX ---- */

typedef void (*function)(void);
static function core[16], core2[16];
static function *core_table[16], *core2_table[16];

static int module_table(int which, function ***table, unsigned *size) {
  *size = 16;
  *table = which == 1 ? core_table : core2_table;
  return which == 1 || which == 5;
}

static const void *export_table(uint32_t id) {
  static const struct {
    size_t size;
    int (*table)(int, function ***, unsigned *);
  } callbacks = {sizeof callbacks, module_table};
  return id == 1 ? &callbacks : NULL;
}

/* As the first call of NVTX does it. */
static void join_nvtx(void) {
  for (int i = 1; i < 16; i++) core_table[i] = &core[i], core2_table[i] = &core2[i];
  const char *path = getenv("NVTX_INJECTION64_PATH");
  void *library = path ? dlopen(path, RTLD_NOW) : NULL;
  int (*initialize)(const void *(*)(uint32_t)) =
      library ? (int (*)(const void *(*)(uint32_t)))(uintptr_t)dlsym(library, "InitializeInjectionNvtx2") : NULL;
  if (initialize && initialize(export_table)) return;
  memset(core, 0, sizeof core); /* as NVTX does it: all calls do nothing */
  memset(core2, 0, sizeof core2);
}

struct attributes {
  uint16_t version, size;
  uint32_t category, color_type, color, payload_type, reserved;
  uint64_t payload;
  uint32_t message_type, reserved1;
  const void *message;
};

static struct attributes message(uint32_t type, const void *text) {
  return (struct attributes){.version = 3, .size = sizeof(struct attributes), .message_type = type, .message = text};
}

#define CALL(table, id, type, ...) (table[id] ? ((type)(uintptr_t)table[id])(__VA_ARGS__) : 0)
static int push(const char *name) { return CALL(core, 9, int (*)(const char *), name); }
static int pop(void) { return CALL(core, 11, int (*)(void)); }
static uint64_t range_start(const char *name) { return CALL(core, 5, uint64_t(*)(const char *), name); }
static void range_end(uint64_t id) {
  if (core[7]) ((void (*)(uint64_t))(uintptr_t)core[7])(id);
}
static void *create_domain(const char *name) { return CALL(core2, 12, void *(*)(const char *), name); }
static void *register_string(void *domain, const char *text) {
  return CALL(core2, 10, void *(*)(void *, const char *), domain, text);
}
static int domain_push(void *domain, const struct attributes *a) {
  return CALL(core2, 4, int (*)(void *, const struct attributes *), domain, a);
}
static int domain_pop(void *domain) { return CALL(core2, 5, int (*)(void *), domain); }

static int ranges(int n, char **a) {
  (void)n, (void)a;
  join_nvtx();
  begin();
  push("other");
  outside(1);
  push("wanted");
  inside(2);
  push("other");
  inside(3);
  push("wanted"); /* inside itself */
  inside(4);
  pop();
  inside(5);
  pop();
  inside(6);
  pop();
  outside(7);
  pop();
  pop(); /* one too many */
  uint64_t one = range_start("wanted");
  inside(8);
  uint64_t two = range_start("wanted"), other = range_start("other");
  range_end(one);
  inside(9);
  range_end(two);
  outside(10);
  range_end(other);
  range_end(one); /* twice */
  outside(11);
  pid_t child = fork();
  if (child == 0) { /* its ranges are nobody's */
    push("wanted");
    range_start("wanted");
    pop();
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  if (status != 0) return 75;
  outside(1);
  const wchar_t *wide = L"wanted";
  struct attributes w = message(2, wide);
  domain_push(NULL, &w);
  inside(12);
  domain_pop(NULL);
  outside(13);
  return 0;
}

/* Registered before CUDA is initialised, in domains; a range is open by then too. */
static int domains(int n, char **a) {
  (void)n, (void)a;
  join_nvtx();
  void *mine = create_domain("mine"), *other = create_domain("other");
  struct attributes wanted = message(3, register_string(mine, "wanted"));
  struct attributes elsewhere = message(3, register_string(other, "wanted"));
  struct attributes unwanted = message(3, register_string(mine, "unwanted"));
  domain_push(mine, &wanted);
  begin();
  inside(10);
  domain_push(other, &elsewhere);
  domain_pop(mine); /* the two domains do not nest */
  outside(20);
  domain_push(mine, &unwanted);
  outside(30);
  push("wanted"); /* in no domain */
  outside(40);
  pop();
  domain_pop(mine);
  domain_pop(other);
  domain_push(mine, &wanted);
  inside(50);
  domain_pop(mine);
  outside(60);
  return 0;
}

enum { THREADS = 4, ROUNDS = 25 };
static pthread_barrier_t gate;

/* All threads are inside at the same time, in turn again and again; between the gates nobody is. */
static void *one_of_many(void *unused) {
  (void)unused;
  join_context();
  for (int i = 0; i < ROUNDS; i++) {
    pthread_barrier_wait(&gate);
    push("wanted");
    inside(5);
    pthread_barrier_wait(&gate);
    inside(5);
    pop();
    pthread_barrier_wait(&gate);
    outside(5);
  }
  return NULL;
}

static int threads(int n, char **a) {
  (void)n, (void)a;
  join_nvtx();
  begin();
  pthread_barrier_init(&gate, NULL, THREADS);
  pthread_t all[THREADS];
  for (int i = 0; i < THREADS; i++) all[i] = start_thread(one_of_many, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(all[i], NULL);
  return 0;
}

/* ---- warpscope.h ---- */

static void expect(int got, int want, const char *what) {
  if (got == want) return;
  fprintf(stderr, "test program: %s gave %d, not %d\n", what, got, want);
  exit(71);
}

static int steps(int n, char **a) {
  int first = n > 0 ? atoi(a[0]) : 3, last = n > 1 ? atoi(a[1]) : 5, many = n > 2 ? atoi(a[2]) : 8;
  begin();
  for (int i = 1; i <= many; i++) {
    if (i >= first && i <= last) inside(10);
    else outside(10);
    if (warpscope_step) expect(warpscope_step(), WARPSCOPE_OK, "warpscope_step");
  }
  return 0;
}

static int calls(int n, char **a) {
  (void)n, (void)a;
  begin();
  outside(10);
  expect(warpscope_stop(), WARPSCOPE_OK, "a stop without start");
  outside(20);
  expect(warpscope_start(), WARPSCOPE_OK, "warpscope_start");
  inside(30);
  expect(warpscope_start(), WARPSCOPE_OK, "a second start");
  inside(40);
  pid_t child = fork();
  if (child == 0) {
    expect(warpscope_stop(), WARPSCOPE_NOT_RECORDED, "a stop in a child");
    expect(warpscope_start(), WARPSCOPE_NOT_RECORDED, "a start in a child");
    expect(warpscope_step(), WARPSCOPE_NOT_RECORDED, "a step in a child");
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  expect(status, 0, "the child");
  inside(50);
  expect(warpscope_stop(), WARPSCOPE_OK, "warpscope_stop");
  outside(60);
  return 0;
}

/* Before CUDA is initialised. */
static int early(int n, char **a) {
  (void)n, (void)a;
  expect(warpscope_step(), WARPSCOPE_NOTED, "an early step");
  expect(warpscope_start(), WARPSCOPE_NOTED, "an early start");
  expect(warpscope_stop(), WARPSCOPE_NOTED, "an early stop");
  begin();
  outside(10);
  expect(warpscope_start(), WARPSCOPE_OK, "warpscope_start");
  inside(20);
  return 0;
}

static void late_calls(void) {
  warpscope_start();
  warpscope_step();
  warpscope_stop();
}

/* In the ledger there is nothing to switch; and at the end of the program there is nobody who would. */
static int nothing(int n, char **a) {
  (void)n, (void)a;
  atexit(late_calls);
  begin();
  expect(warpscope_start(), WARPSCOPE_NOT_RECORDED, "warpscope_start");
  expect(warpscope_stop(), WARPSCOPE_NOT_RECORDED, "warpscope_stop");
  expect(warpscope_step(), WARPSCOPE_NOT_RECORDED, "warpscope_step");
  work();
  return 0;
}

static int without(int n, char **a) {
  (void)n, (void)a;
  if (warpscope_start || warpscope_stop || warpscope_step) return 72;
  return 0;
}

/* CUPTI is slow: nobody waits longer than a second, and it is switched all the same. */
static int slow(int n, char **a) {
  (void)n, (void)a;
  begin();
  expect(warpscope_start(), WARPSCOPE_LATE, "a start that takes long");
  while (warpscope_start() != WARPSCOPE_OK) usleep(10000);
  inside(30);
  expect(warpscope_stop(), WARPSCOPE_LATE, "a stop that takes long");
  while (warpscope_stop() != WARPSCOPE_OK) usleep(10000);
  outside(20);
  return 0;
}

/* CUPTI refuses. */
static int refused(int n, char **a) {
  (void)n, (void)a;
  begin();
  outside(10);
  expect(warpscope_start(), WARPSCOPE_NOT_RECORDED, "a start that fails");
  outside(20);
  expect(warpscope_stop(), WARPSCOPE_NOT_RECORDED, "a stop of nothing");
  expect(warpscope_start(), WARPSCOPE_NOT_RECORDED, "another start");
  work();
  return 0;
}

static void *switch_on_and_off(void *unused) {
  (void)unused;
  for (int i = 0; i < 50; i++) {
    if (warpscope_start() == WARPSCOPE_LATE || warpscope_stop() == WARPSCOPE_LATE) exit(73);
    warpscope_step();
  }
  return NULL;
}

static void *launch_meanwhile(void *unused) {
  (void)unused;
  join_context();
  for (int i = 0; i < 20000; i++) launch(kernel);
  return NULL;
}

/* Threads that disagree, while others launch: how much is recorded nobody knows, but after the last
 * word it is exact. */
static int quarrel(int n, char **a) {
  (void)n, (void)a;
  begin();
  pthread_t all[5];
  for (int i = 0; i < 5; i++) all[i] = start_thread(i < 3 ? switch_on_and_off : launch_meanwhile, NULL);
  for (int i = 0; i < 5; i++) pthread_join(all[i], NULL);
  expect(warpscope_stop(), WARPSCOPE_OK, "the last stop");
  uint64_t last[1] = {tally->launches};
  outside(100);
  tally->stage = last[0];
  work();
  return 0;
}

/* ---- from outside ---- */

/* Says which signals it got, and launches for as long as a file is not there: arguments: a prefix. */
static volatile sig_atomic_t got;
static void note(int signal) { got |= 1 << (signal == SIGUSR2); }

static int wait_for(const char *prefix, const char *what) {
  char path[4096];
  snprintf(path, sizeof path, "%s%s", prefix, what);
  for (int i = 0; i < 60000; i++) {
    if (access(path, F_OK) == 0) return 0;
    usleep(1000);
  }
  return 74;
}

static void say_done(const char *prefix, const char *what) {
  char path[4096];
  snprintf(path, sizeof path, "%s%s", prefix, what);
  FILE *f = fopen(path, "w");
  if (f) fputs("done\n", f), fclose(f);
}

/* Three parts, each begun when the test says so. The second is to be in the trace. */
static int parts(int n, char **a) {
  if (n < 1) return 64;
  signal(SIGUSR1, note);
  signal(SIGUSR2, note);
  begin();
  outside(10);
  say_done(a[0], "1");
  if (wait_for(a[0], "on")) return 74;
  inside(20);
  say_done(a[0], "2");
  if (wait_for(a[0], "off")) return 74;
  outside(30);
  tally->stage = (uint64_t)got;
  return 0;
}

/* Allocates first, some of it for ever, then works for a while. argument: seconds */
static int keeper(int n, char **a) {
  double seconds = n > 0 ? atof(a[0]) : 8;
  begin();
  for (int i = 0; i < 50; i++) take(i % 2 ? POOL : DEVICE, 1000 + (uint64_t)i);
  struct timespec from, now;
  clock_gettime(CLOCK_MONOTONIC, &from);
  do {
    work(); /* of its 8 allocations 3 stay */
    usleep(20000);
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((double)(now.tv_sec - from.tv_sec) + (double)(now.tv_nsec - from.tv_nsec) * 1e-9 < seconds);
  return 0;
}

MAIN({"profiler", profiler}, {"start_alone", start_alone}, {"stop_alone", stop_alone}, {"ranges", ranges},
     {"domains", domains}, {"threads", threads}, {"steps", steps}, {"calls", calls}, {"early", early},
     {"nothing", nothing}, {"without", without}, {"quarrel", quarrel}, {"slow", slow}, {"refused", refused}, {"parts", parts}, {"keeper", keeper})
