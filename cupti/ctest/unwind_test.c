/* unwind_test: ws_unwind against glibc's backtrace on whole stacks of many shapes. `unwind_test
 * --bench` prints what an unwind costs instead. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "unwind_ctest.h"

static void test_cxx(void) {
  const char *cxx = getenv("CXX") ? getenv("CXX") : "g++";
  if (!installed(cxx)) {
    skip("C++ frames", "no C++ compiler");
    return;
  }
  CHECK(build(cxx, "-O2 -shared", "unwind_cxx.cc", "libcxx.so"));
  void *library = load("libcxx.so");
  CHECK(library != NULL);
  if (!library) return;
  int (*call)(callback, void *) = NULL, (*throw)(callback, void *) = NULL;
  SYMBOL(library, "cxx_call", call);
  SYMBOL(library, "cxx_throw", throw);
  CHECK(ws_maps_refresh() == 1);
  struct expectation e = {"C++ calls", 14, 0};
  CHECK(call(compare, &e) == 1);
#if defined(__clang__) && SANITIZED
  skip("C++ exceptions",
       "clang's sanitizers do not let a C program throw; gcc's and the plain build do");
#else
  e = (struct expectation){"C++ exceptions", 5, 0};
  CHECK(throw(compare, &e) == 1);
  CHECK(e.calls == 7);
#endif
  dlclose(library);
  CHECK(ws_maps_refresh() == 1);
}

static void test_python(void) {
  if (SANITIZED) {
    skip("through Python", "the interpreter is not built with sanitizers; the plain build runs it");
    return;
  }
  if (!installed("python3")) {
    skip("through Python", "no python3");
    return;
  }
  char line[2048];
  snprintf(
      line,
      sizeof line,
      "-std=c11 -D_GNU_SOURCE -O2 -shared -I%s/../include %s/../ws_maps.c %s/../ws_unwind*.c -ldl",
      sources,
      sources,
      sources);
  CHECK(build(cc(), line, "unwind_py.c", "libpy.so"));
  snprintf(line, sizeof line, "python3 %s/../testdata/unwind_py.py %s/libpy.so", sources, folder);
  CHECK(system(line) == 0);
}

static void *thread_main(void *arg) {
  int *ok = arg;
  *ok = 1;
  for (int i = 0; i < 200; i++) *ok &= recurse(300 + (unsigned)i % 3);
  *ok &= unwind_same("thread", 3);
  return NULL;
}

static void *refresher(void *arg) {
  _Atomic int *stop = arg;
  while (!atomic_load(stop)) {
    void *library = load("libplain.so");
    ws_maps_refresh();
    if (library) dlclose(library);
    ws_maps_refresh();
  }
  return NULL;
}

/* Threads unwind while libraries come and go. */
static void test_threads(void) {
  enum { THREADS = 6 };
  pthread_t threads[THREADS], worker;
  int ok[THREADS] = {0};
  _Atomic int stop = 0;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 256 << 10);
  CHECK(pthread_create(&worker, NULL, refresher, &stop) == 0);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], i % 2 ? &small : NULL, thread_main, &ok[i]) == 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    CHECK(ok[i] == 1);
  }
  atomic_store(&stop, 1);
  pthread_join(worker, NULL);
  pthread_attr_destroy(&small);
}

static ucontext_t fiber, back;
static bool fiber_ok;

static void fiber_main(void) {
  fiber_ok = recurse(300);
  fiber_ok &= unwind_same("fiber", 2);
}

/* A stack that the program made itself, and unmaps. */
static void test_fiber(void) {
  if (SANITIZED) {
    skip("a fiber's stack",
         "swapcontext needs annotations under sanitizers; the plain build runs it");
    return;
  }
  for (int round = 0; round < 3; round++) {
    size_t size = 256 << 10;
    char *memory = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + 4096, size, PROT_READ | PROT_WRITE);
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = memory + 4096;
    fiber.uc_stack.ss_size = size;
    fiber.uc_link = &back;
    makecontext(&fiber, fiber_main, 0);
    fiber_ok = false;
    CHECK(swapcontext(&back, &fiber) == 0);
    CHECK(fiber_ok);
    munmap(memory, size + 8192);
  }
}

__attribute__((noinline)) static size_t call_unwind(uint64_t *pcs, size_t max, size_t leave_out) {
  size_t n = ws_unwind(pcs, max, leave_out);
  KEEP(pcs);
  return n;
}

static void test_bounds_of_output(void) {
  uint64_t all[64], some[64];
  size_t n = 0, m = 0;
  for (int i = 0; i < 2; i++) { /* both calls from one place: the same stack */
    m = call_unwind(i ? some : all, i ? 3 : 64, i ? 2 : 0);
    n = i ? n : m;
  }
  CHECK(n >= 4);
  CHECK(m == (n - 2 < 3 ? n - 2 : 3));
  for (size_t i = 0; i < m; i++) CHECK(some[i] == all[i + 2]);
  CHECK(call_unwind(all, 0, 0) == 0);
  CHECK(call_unwind(all, 64, 1000) == 0);
  errno = 77;
  call_unwind(all, 64, 0);
  CHECK(errno == 77);
}

/* A library that no snapshot knows yet: glibc itself is asked, where it can be. */
static void test_find_object(void) {
  void *function = dlsym(RTLD_DEFAULT, "_dl_find_object");
  if (!function) {
    skip("library newer than the maps", "glibc before 2.35 has no _dl_find_object");
    return;
  }
  CHECK(build(cc(), "-O2 -shared -fomit-frame-pointer", "unwind_lib.c", "libnew.so"));
  void *library = load("libnew.so");
  CHECK(library != NULL);
  if (!library) return;
  int (*call)(callback, void *, int *) = NULL;
  SYMBOL(library, "lib_call", call);
  struct expectation e = {"library newer than the maps", 12, 0};
  int frames;
  uint64_t before = ws_unwind_unknown();
  ws_unwind_use_find_object(function);
  CHECK(call(compare, &e, &frames) == 1);
  CHECK(ws_unwind_unknown() > before);
  ws_unwind_use_find_object(NULL);
  dlclose(library);
  CHECK(ws_maps_refresh() == 1);
}

/* ---- cost -------------------------------------------------------------------------------- */

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int bench_at(void *arg) {
  (void)arg;
  uint64_t pcs[32];
  void *theirs[32];
  double best = 1e9, best_theirs = 1e9, start = now_us();
  size_t n = ws_unwind(pcs, 32, 0);
  double first = now_us() - start;
  for (int round = 0; round < 50; round++) {
    start = now_us();
    for (int i = 0; i < 200; i++) n = ws_unwind(pcs, 32, 0);
    double each = (now_us() - start) / 200;
    best = each < best ? each : best;
    start = now_us();
    for (int i = 0; i < 200; i++) backtrace(theirs, 32);
    each = (now_us() - start) / 200;
    best_theirs = each < best_theirs ? each : best_theirs;
  }
  printf("%zu frames: first %.1f us, then %.3f us (best of 50 rounds); backtrace %.3f us\n",
         n,
         first,
         best,
         best_theirs);
  return 1;
}

__attribute__((noinline)) static int bench_deep(int n) {
  char room[64];
  KEEP(room);
  int rc = n == 0 ? bench_at(NULL) : bench_deep(n - 1);
  KEEP(room);
  return rc;
}

static int bench(void) {
  double start = now_us();
  for (int i = 0; i < 1000; i++) ws_maps_refresh();
  printf("maps: unchanged %.3f us\n", (now_us() - start) / 1000);
  bench_deep(40);
  bench_deep(40);
  CHECK(build(cc(), "-O2 -shared -fomit-frame-pointer", "unwind_lib.c", "libbench.so"));
  void *library = load("libbench.so");
  if (!library) return 1;
  int (*call)(callback, void *, int *) = NULL;
  SYMBOL(library, "lib_call", call);
  start = now_us();
  int rc = ws_maps_refresh();
  double took = now_us() - start;
  printf("maps: changed %.1f us (%d, %u modules)\n", took, rc, ws_maps_current()->count);
  int frames;
  call(bench_at, NULL, &frames);
  dlclose(library);
  return 0;
}

/* ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
  if (!begin()) return 1;
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
    bench();
    return end();
  }
  test_recursion();
  test_bounds_of_output();
  test_library("plain", "-O2 -shared -fomit-frame-pointer");
  test_library("size", "-Os -shared");
  test_library("slow", "-O0 -shared");
  test_library("lazy", "-O2 -shared -Wl,-z,lazy -fcf-protection=full");
  if (__builtin_cpu_supports("avx")) {
    test_library("avx", "-O2 -shared -mavx -mstackrealign");
    test_library("avx0", "-O1 -shared -mavx -mstackrealign -fno-omit-frame-pointer");
  } else {
    skip("AVX and realigned stacks", "this processor has no AVX");
  }
  test_cxx();
  test_python();
  test_fiber();
  test_threads();
  test_find_object();
  return end();
}
