/* unwind_test: ws_unwind and ws_maps against glibc's backtrace, on stacks of many shapes, and on
 * stacks that are broken. `unwind_test --bench` prints what an unwind costs instead. Libraries and
 * programs that it walks through are compiled here, from cupti/testdata. */
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../testdata/unwind_check.h"
#include "ws_maps.h"
#include "ws_unwind_inside.h"

#define KEEP(p) __asm__ volatile("" : : "r"(p) : "memory")

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int failures;
static char sources[256], folder[64];

static void check_at(bool ok, const char *text, int line) {
  if (ok) return;
  failures++;
  fprintf(stderr, "unwind_test.c:%d: failed: %s\n", line, text);
}
#define CHECK(x) check_at((x), #x, __LINE__)

static void skip(const char *what, const char *why) {
  printf("skip %s: %s\n", what, why);
}

/* ---- helpers compiled on the spot -------------------------------------------------------- */

static bool build(const char *compiler, const char *flags, const char *source, const char *output) {
  char line[4096];
  snprintf(line, sizeof line, "%s -fPIC -I%s/../testdata -I%s/.. %s %s/../testdata/%s -o %s/%s >%s/log 2>&1", compiler, sources,
           sources, flags, sources, source, folder, output, folder);
  if (system(line) == 0) return true;
  snprintf(line, sizeof line, "cat %s/log >&2", folder);
  if (system(line) != 0) fprintf(stderr, "no output of the compiler\n");
  return false;
}

static const char *cc(void) {
  const char *c = getenv("CC");
  return c && *c ? c : "cc";
}

static bool installed(const char *program) {
  char line[256];
  snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
  return system(line) == 0;
}

static void *load(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "dlopen: %s\n", dlerror());
  return library;
}

/* dlsym gives an object pointer; C has no conversion to a function's. */
#define SYMBOL(library, name, variable)          \
  do {                                           \
    void *at = dlsym(library, name);             \
    memcpy(&(variable), &at, sizeof(variable));  \
  } while (0)

typedef int (*callback)(void *);

struct expectation {
  const char *what;
  size_t at_least;
  int calls;
};

static int compare(void *arg) {
  struct expectation *e = arg;
  e->calls++;
  return unwind_same(e->what, e->at_least) ? 1 : 0;
}

/* ---- stacks that are whole --------------------------------------------------------------- */

__attribute__((noinline)) static bool recurse(unsigned n) {
  char *room = alloca(16 + 8 * (n % 17));
  KEEP(room);
  bool ok = n == 0 ? unwind_same("deep recursion", 300) : recurse(n - 1);
  KEEP(room);
  return ok;
}

static void test_recursion(void) {
  CHECK(recurse(300));
  CHECK(recurse(299)); /* from the cache */
}

static void test_library(const char *name, const char *flags, bool whole) {
  char file[80];
  snprintf(file, sizeof file, "lib%s.so", name);
  CHECK(build(cc(), flags, "unwind_lib.c", file));
  void *library = load(file);
  CHECK(library != NULL);
  if (!library) return;
  int (*call)(callback, void *, int *) = NULL;
  int (*sort)(callback, void *) = NULL;
  SYMBOL(library, "lib_call", call);
  SYMBOL(library, "lib_sort", sort);
  struct expectation e = {name, 12, 0};
  int frames = 0;
  CHECK(ws_maps_refresh() == 1);
  if (whole) {
    CHECK(call(compare, &e, &frames) == 1);
    e.at_least = 6;
    CHECK(sort(compare, &e) == 1);
    CHECK(e.calls == 2);
    CHECK(call(compare, &e, &frames) == 1);
  }
  dlclose(library);
  CHECK(ws_maps_refresh() == 1);
}

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
  skip("C++ exceptions", "clang's sanitizers do not let a C program throw; gcc's and the plain build do");
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
  snprintf(line, sizeof line,
           "-std=c11 -D_GNU_SOURCE -O2 -shared -I%s/../include %s/../ws_maps.c %s/../ws_unwind.c %s/../ws_unwind_mem.c "
           "%s/../ws_unwind_cfi.c %s/../ws_unwind_cache.c -ldl",
           sources, sources, sources, sources, sources, sources);
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
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], i % 2 ? &small : NULL, thread_main, &ok[i]) == 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    CHECK(ok[i] == 1);
  }
  atomic_store(&stop, 1);
  pthread_join(worker, NULL);
  pthread_attr_destroy(&small);
}

static volatile sig_atomic_t in_handler;

static void on_signal(int number) {
  (void)number;
  in_handler = unwind_same("signal handler", 4) ? 1 : -1;
}

__attribute__((noinline)) static int interrupted(int n) {
  char *room = alloca((size_t)n);
  KEEP(room);
  raise(SIGUSR1);
  KEEP(room);
  return in_handler;
}

static void test_signals(void) {
  static char other[256 << 10];
  stack_t alternate = {.ss_sp = other, .ss_size = sizeof other}, before;
  struct sigaction action = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(interrupted(100) == 1);
  CHECK(sigaltstack(&alternate, &before) == 0);
  action.sa_flags = SA_ONSTACK;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(interrupted(100) == 1);
  CHECK(interrupted(1000) == 1);
  sigaltstack(&before, NULL);
}

#if defined(__x86_64__)
static volatile unsigned steps, steps_wrong;

/* At every single instruction. Where glibc's own walk sees fewer frames (code without call frame
 * information), ours may see more. */
static void on_step(int number) {
  (void)number;
  steps++;
  void *theirs[64];
  uint64_t ours[64];
  size_t n = (size_t)backtrace(theirs, 64), m = ws_unwind(ours, 64, 0);
  /* Both: this function, the kernel's return from the handler, the interrupted function, … */
  bool same = n >= 4 && m == n && ours[2] == (uint64_t)(uintptr_t)theirs[2] + 1;
  for (size_t i = 3; same && i < n; i++) same = ours[i] == (uint64_t)(uintptr_t)theirs[i];
  if (same || ++steps_wrong > 3) return;
  uint64_t copy[64];
  for (size_t i = 0; i < n; i++) copy[i] = (uint64_t)(uintptr_t)theirs[i];
  unwind_print("stepping: backtrace", copy, n);
  unwind_print("stepping: ws_unwind", ours, m);
}

/* Sets and clears the processor's trap flag; with frame information for each instruction, without
 * which glibc's walk crashes. */
void step_on(void);
void step_off(void);
#define FLAGS(name, operation)                                                                     \
  __asm__(".text\n.globl " name "\n.type " name ", @function\n" name ":\n.cfi_startproc\n"          \
          "pushfq\n.cfi_adjust_cfa_offset 8\n" operation ", (%rsp)\n"                              \
          "popfq\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n.size " name ", .-" name "\n")
FLAGS("step_on", "orq $0x100");
FLAGS("step_off", "andq $~0x100");

static int nothing(void *arg) {
  KEEP(arg);
  return 1;
}

/* Every instruction of a call through the lazy procedure linkage table (the dynamic linker's
 * resolver too), of qsort, and of functions with frames of all shapes. */
static void test_single_steps(void) {
  if (SANITIZED) {
    skip("single steps", "the sanitizers' own code is stepped through; the plain build runs it");
    return;
  }
  static const char *const flags[] = {
      "-O2 -shared -fno-plt -Wl,-z,now",
      "-O2 -shared -Wl,-z,lazy -fcf-protection=none",
      "-O2 -shared -Wl,-z,lazy -fcf-protection=full -Wl,-z,ibtplt",
      "-O1 -shared -mavx -mstackrealign -Wl,-z,lazy",
  };
  struct sigaction action = {.sa_handler = on_step}, before;
  CHECK(sigaction(SIGTRAP, &action, &before) == 0);
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    char file[32];
    snprintf(file, sizeof file, "libstep%zu.so", i);
    CHECK(build(cc(), flags[i], "unwind_lib.c", file));
    void *library = load(file);
    CHECK(library != NULL);
    if (!library) continue;
    int (*call)(callback, void *, int *) = NULL;
    int (*sort)(callback, void *) = NULL;
    SYMBOL(library, "lib_call", call);
    SYMBOL(library, "lib_sort", sort);
    CHECK(ws_maps_refresh() == 1);
    steps = steps_wrong = 0;
    int frames, ok = 0;
    step_on();
    if (i != 3 || __builtin_cpu_supports("avx")) ok = call(nothing, NULL, &frames) & sort(nothing, NULL);
    step_off();
    CHECK(ok == 1 && steps > 1000 && steps_wrong == 0);
    if (steps_wrong) fprintf(stderr, "%s: %u of %u single steps differ\n", flags[i], steps_wrong, steps);
    dlclose(library);
    CHECK(ws_maps_refresh() == 1);
  }
  sigaction(SIGTRAP, &before, NULL);
}
#else
static void test_single_steps(void) {
  skip("single steps", "x86-64 only");
}
#endif

static ucontext_t fiber, back;
static bool fiber_ok;

static void fiber_main(void) {
  fiber_ok = recurse(300);
  fiber_ok &= unwind_same("fiber", 2);
}

/* A stack that the program made itself, and unmaps. */
static void test_fiber(void) {
  if (SANITIZED) {
    skip("a fiber's stack", "swapcontext needs annotations under sanitizers; the plain build runs it");
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

/* ---- code without call frame information ------------------------------------------------- */

#if defined(__x86_64__)
static int jit_checked;
static const void *jit_from;

/* Called by generated code; whether the walk comes back to test_generated. */
static int jit_callback(void *arg) {
  uint64_t pcs[64];
  (void)arg;
  size_t n = ws_unwind(pcs, 64, 0);
  size_t generated = 0, after = 0;
  uint64_t low = (uint64_t)(uintptr_t)jit_from;
  for (size_t i = 0; i < n; i++) {
    if (pcs[i] >= low && pcs[i] < low + 4096) {
      generated++;
      after = n - i - 1;
    }
  }
  jit_checked = (int)(generated * 100 + after);
  return 1;
}

static int run_generated(const uint8_t *code, size_t size, callback f) {
  uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -1;
  memcpy(page, code, size);
  mprotect(page, 4096, PROT_READ | PROT_EXEC);
  jit_from = page;
  jit_checked = -1;
  int (*call)(callback, callback);
  memcpy(&call, &page, sizeof call);
  call(f, f);
  munmap(page, 4096);
  return jit_checked;
}

static void test_generated(void) {
  /* push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
  static const uint8_t framed[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
  /* push rbp; mov rbp,rsp; call +2; pop rbp; ret; push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
  static const uint8_t twice[] = {0x55, 0x48, 0x89, 0xe5, 0xe8, 2, 0, 0, 0, 0x5d, 0xc3, 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
  /* push rbp; mov ebp,imm32; sub rsp,16; call rdi; add rsp,16; pop rbp; ret: a broken frame pointer */
  uint8_t broken[] = {0x55, 0xbd, 0, 0, 0, 0, 0x48, 0x83, 0xec, 0x10, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x10, 0x5d, 0xc3};
  /* push rbp; lea rbp,[rsp-8]; sub rsp,16; …: points into its own frame, where no return address is */
  static const uint8_t inside[] = {0x55, 0x48, 0x8d, 0x6c, 0x24, 0xf8, 0x48, 0x83, 0xec, 0x10, 0xff,
                                   0xd7, 0x48, 0x83, 0xc4, 0x10, 0x5d, 0xc3};
  int seen = run_generated(framed, sizeof framed, jit_callback);
  CHECK(seen / 100 == 1 && seen % 100 >= 4);
  seen = run_generated(twice, sizeof twice, jit_callback);
  CHECK(seen / 100 == 2 && seen % 100 >= 4);
  static const uint32_t values[] = {0, 1, 8, 4096, 0x7fffffff, 0xfffffff8, 0xffffffff};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    memcpy(broken + 2, &values[i], 4);
    CHECK(run_generated(broken, sizeof broken, jit_callback) == 100);
  }
  CHECK(run_generated(inside, sizeof inside, jit_callback) == 100);
}
#else
static void test_generated(void) {
  skip("generated code", "x86-64 only");
}
#endif

/* ---- what is broken ---------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Registers at random, from numbers that make trouble: real code, this stack, its edges, unmapped. */
static void test_random_registers(void) {
  const struct ws_maps_snapshot *maps = ws_maps_current();
  uint64_t pcs[64], here[64];
  size_t known = ws_unwind(here, 64, 0);
  uint64_t sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
  for (int i = 0; i < 30000; i++) {
    struct ws_unwind_regs regs = {.valid = (1u << WS_UNWIND_REGS) - 1};
    for (unsigned r = 0; r < WS_UNWIND_REGS; r++) {
      uint64_t x = next_random();
      const struct ws_maps_range *range = &maps->ranges[x % maps->range_count];
      switch (next_random() % 8) {
      case 0: regs.r[r] = range->start + (x >> 8) % (range->end - range->start); break;
      case 1: regs.r[r] = sp + (x & 0xff8); break;
      case 2: regs.r[r] = sp - (x & 0xffff8); break;
      case 3: regs.r[r] = x; break;
      case 4: regs.r[r] = sp + (x & 0xfffff8); break;
      case 5: regs.r[r] = here[x % known]; break;
      case 6: regs.r[r] = ~0ull - (x & 0xff); break;
      default: regs.r[r] = x & 0xffff; break;
      }
    }
    if (i & 1) regs.r[WS_REG_RA] = here[next_random() % known];
    if (i & 2) regs.r[WS_REG_RSP] = sp + (next_random() & 0xff8);
    CHECK(ws_unwind_from(&regs, pcs, 64, 0) <= 64);
  }
}

/* Registers whose address lies in a library that is gone, before and after the maps know it. */
static void test_unloaded(void) {
  void *library = load("libplain.so");
  CHECK(library != NULL);
  if (!library) return;
  CHECK(ws_maps_refresh() == 1);
  uint64_t pcs[64];
  const struct ws_maps_module *m = NULL;
  void *function = dlsym(library, "lib_call");
  m = ws_maps_find(ws_maps_current(), (uint64_t)(uintptr_t)function);
  CHECK(m != NULL && strstr(m->path, "/libplain.so") != NULL && m->table != 0);
  if (!m) return;
  uint64_t start = m->start, end = m->end, low = m->low, high = m->high;
  dlclose(library);
  for (int round = 0; round < 3; round++) {
    void *instead = MAP_FAILED;
    if (round == 1) { /* other data lies where its tables were */
      instead = mmap((void *)(uintptr_t)low, high - low, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                     -1, 0);
      if (instead != MAP_FAILED) {
        for (uint64_t *p = instead; (uint64_t)(uintptr_t)p < high; p++) *p = next_random();
      }
    }
    for (uint64_t pc = start; pc < end; pc += 7) {
      struct ws_unwind_regs regs = {.valid = 0xffff | 1u << WS_REG_RA};
      for (unsigned r = 0; r < WS_UNWIND_REGS; r++) regs.r[r] = (uint64_t)(uintptr_t)__builtin_frame_address(0);
      regs.r[WS_REG_RA] = pc;
      CHECK(ws_unwind_from(&regs, pcs, 64, 0) <= 64);
    }
    if (instead != MAP_FAILED) munmap(instead, high - low);
    if (round == 1) CHECK(ws_maps_refresh() == 1);
  }
  CHECK(ws_maps_find(ws_maps_current(), start) == NULL);
}

/* Real tables, copied and damaged. */
static void test_damaged_tables(void) {
  const struct ws_maps_snapshot *maps = ws_maps_current();
  unsigned token, tried = 0;
  struct ws_walk walk = {.maps = ws_maps_enter(&token)};
  for (uint32_t i = 0; i < maps->count && tried < 3; i++) {
    struct ws_maps_module m = maps->modules[i];
    if (m.table == 0 || m.high - m.low > 4u << 20) continue;
    tried++;
    size_t from = (size_t)(m.hdr - m.low), size = (size_t)(m.high - m.hdr);
    uint8_t *copy = malloc(size), *undamaged = malloc(size);
    CHECK(copy && undamaged && ws_mem_read(&walk, undamaged, m.hdr, 64));
    size_t have = 64;
    while (have + 256 <= size && ws_mem_read(&walk, undamaged + have, m.hdr + have, 256)) have += 256;
    uint64_t start = m.start, end = m.end;
    m.low = (uint64_t)(uintptr_t)copy;
    m.high = m.low + have;
    m.hdr = m.low;
    m.table = m.hdr + WS_EH_HDR_BYTES;
    for (int round = 0; round < 300; round++) {
      memcpy(copy, undamaged, have);
      uint64_t damage = next_random() % 64;
      for (uint64_t d = 0; d < damage; d++) copy[WS_EH_HDR_BYTES + next_random() % (have - WS_EH_HDR_BYTES)] = (uint8_t)next_random();
      for (int n = 0; n < 20; n++) {
        struct ws_rule rule;
        uint64_t pc = start + next_random() % (end - start) - (maps->modules[i].hdr - m.hdr);
        if (ws_cfi_rule(&walk, &m, pc, &rule)) CHECK(rule.cfa >= WS_CFA_REGISTER && rule.cfa <= WS_CFA_END && rule.reg < WS_REG_RA);
      }
    }
    (void)from;
    free(copy);
    free(undamaged);
  }
  ws_maps_leave(token);
  CHECK(tried > 0);
}

/* ---- the maps ---------------------------------------------------------------------------- */

static int count_modules(struct dl_phdr_info *info, size_t size, void *arg) {
  (void)info;
  (void)size;
  ++*(unsigned *)arg;
  return 0;
}

static void test_maps(void) {
  unsigned expected = 0;
  dl_iterate_phdr(count_modules, &expected);
  ws_maps_refresh();
  const struct ws_maps_snapshot *s = ws_maps_current();
  CHECK(s && s->count == expected && s->generation >= 1);
  CHECK(ws_maps_refresh() == 0 && ws_maps_current() == s);
  CHECK(ws_maps_generation() == s->generation);
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = 0;
  CHECK(strcmp(s->modules[0].path, self) == 0);
  CHECK(strlen(s->modules[0].path) == s->modules[0].path_length);
  for (uint32_t i = 0; i + 1 < s->range_count; i++) CHECK(s->ranges[i].end <= s->ranges[i + 1].start);
  uint64_t (*here)(void) = ws_unwind_unknown, pc;
  memcpy(&pc, &here, sizeof pc);
  CHECK(ws_maps_find(s, pc) == &s->modules[0]);
  CHECK(ws_maps_find(s, 0) == NULL && ws_maps_find(s, UINT64_MAX) == NULL && ws_maps_find(NULL, pc) == NULL);
}

static void test_build_id(void) {
  CHECK(build(cc(), "-O1 -shared -Wl,--build-id=0xfeedfacecafe0123", "unwind_lib.c", "libid.so"));
  void *library = load("libid.so");
  CHECK(library != NULL);
  if (!library) return;
  uint32_t epoch = ws_maps_current()->epoch, generation = ws_maps_generation();
  CHECK(ws_maps_refresh() == 1);
  CHECK(ws_maps_current()->epoch == epoch && ws_maps_generation() == generation + 1);
  const struct ws_maps_module *m = ws_maps_find(ws_maps_current(), (uint64_t)(uintptr_t)dlsym(library, "lib_call"));
  CHECK(m && strcmp(m->build_id, "feedfacecafe0123") == 0);
  struct link_map *map = NULL;
  CHECK(dlinfo(library, RTLD_DI_LINKMAP, &map) == 0);
  CHECK(m && map && m->base == map->l_addr);
  dlclose(library);
  CHECK(ws_maps_refresh() == 1 && ws_maps_current()->epoch == epoch + 1);
}

/* A reader that never leaves: what is kept is bounded, and nothing that it reads is freed. */
static void test_stuck_reader(void) {
  unsigned token;
  const struct ws_maps_snapshot *s = ws_maps_enter(&token);
  uint32_t generation = s->generation, count = s->count;
  int rc = 0;
  for (int i = 0; i < 200 && rc >= 0; i++) {
    void *library = load("libid.so");
    rc = ws_maps_refresh();
    if (library) dlclose(library);
    if (rc >= 0) rc = ws_maps_refresh();
  }
  CHECK(rc == -EAGAIN);
  CHECK(s->generation == generation && s->count == count && s->modules[0].path[0] == '/');
  ws_maps_leave(token);
  CHECK(ws_maps_refresh() == 1);
}

/* ---- other circumstances ----------------------------------------------------------------- */

/* Runs f in a forked child; what it returned. */
static int in_child(int (*f)(void)) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) _exit(f());
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int child_forked(void) {
  ws_maps_after_fork();
  bool ok = recurse(310);
  return ok && ws_maps_refresh() >= 0 && unwind_same("forked child", 4) ? 0 : 1;
}

/* A container that forbids process_vm_readv. */
static int child_restricted(void) {
#if defined(__x86_64__)
  static struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 2;
  char byte = 0;
  struct iovec local = {&byte, 1}, remote = {&byte, 1};
  if (syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) != -1 || errno != EPERM) return 3;
  int before = failures;
  test_library("restricted", "-O2 -shared -fomit-frame-pointer", true); /* addresses that no cache holds */
  test_random_registers();
  test_unloaded();
  test_generated();
  return recurse(320) && failures == before ? 0 : 1;
#else
  return 0;
#endif
}

static void test_circumstances(void) {
  CHECK(in_child(child_forked) == 0);
  CHECK(in_child(child_restricted) == 0);
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
  printf("%zu frames: first %.1f us, then %.3f us (best of 50 rounds); backtrace %.3f us\n", n, first, best, best_theirs);
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
  int rc = ws_maps_refresh();
  double took = now_us() - start;
  start = now_us();
  for (int i = 0; i < 1000; i++) ws_maps_refresh();
  printf("maps: first %.1f us (%d, %u modules), unchanged %.3f us\n", took, rc, ws_maps_current()->count,
         (now_us() - start) / 1000);
  bench_deep(40);
  bench_deep(40);
  CHECK(build(cc(), "-O2 -shared -fomit-frame-pointer", "unwind_lib.c", "libbench.so"));
  void *library = load("libbench.so");
  if (!library) return 1;
  int (*call)(callback, void *, int *) = NULL;
  SYMBOL(library, "lib_call", call);
  ws_maps_refresh();
  int frames;
  call(bench_at, NULL, &frames);
  dlclose(library);
  return 0;
}

/* ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
  snprintf(sources, sizeof sources, "%s", __FILE__);
  char *slash = strrchr(sources, '/');
  if (slash) *slash = 0;
  snprintf(folder, sizeof folder, "/tmp/unwind_test.XXXXXX");
  if (!mkdtemp(folder)) return 1;
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
    bench();
  } else {
    CHECK(ws_maps_refresh() == 1);
    test_maps();
    test_recursion();
    test_bounds_of_output();
    test_library("plain", "-O2 -shared -fomit-frame-pointer", true);
    test_library("size", "-Os -shared", true);
    test_library("slow", "-O0 -shared", true);
    test_library("lazy", "-O2 -shared -Wl,-z,lazy -fcf-protection=full", true);
    if (__builtin_cpu_supports("avx")) {
      test_library("avx", "-O2 -shared -mavx -mstackrealign", true);
      test_library("avx0", "-O1 -shared -mavx -mstackrealign -fno-omit-frame-pointer", true);
    } else {
      skip("AVX and realigned stacks", "this processor has no AVX");
    }
    test_cxx();
    test_python();
    test_signals();
    test_single_steps();
    test_fiber();
    test_threads();
    test_generated();
    test_build_id();
    test_random_registers();
    test_unloaded();
    test_damaged_tables();
    test_circumstances();
    test_find_object();
    test_stuck_reader();
  }
  char line[128];
  snprintf(line, sizeof line, "rm -rf %s", folder);
  if (system(line) != 0) fprintf(stderr, "could not remove %s\n", folder);
  if (failures) {
    fprintf(stderr, "%d failures\n", failures);
    return 1;
  }
  printf("ok\n");
  return 0;
}
