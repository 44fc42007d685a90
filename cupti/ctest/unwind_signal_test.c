/* unwind_signal_test: unwinding out of signal handlers, at every single instruction too. */
#include <signal.h>

#include "unwind_ctest.h"

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
  __asm__(".text\n.globl " name "\n.type " name ", @function\n" name ":\n.cfi_startproc\n"         \
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
    if (i != 3 || __builtin_cpu_supports("avx"))
      ok = call(nothing, NULL, &frames) & sort(nothing, NULL);
    step_off();
    CHECK(ok == 1 && steps > 1000 && steps_wrong == 0);
    if (steps_wrong)
      fprintf(stderr, "%s: %u of %u single steps differ\n", flags[i], steps_wrong, steps);
    dlclose(library);
    CHECK(ws_maps_refresh() == 1);
  }
  sigaction(SIGTRAP, &before, NULL);
}
#else
static void test_single_steps(void) { skip("single steps", "x86-64 only"); }
#endif

int main(void) {
  if (!begin()) return 1;
  test_signals();
  test_single_steps();
  return end();
}
