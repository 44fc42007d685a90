/* unwind_check.h: whether ws_unwind sees the same stack as glibc's backtrace. For the tests of the
 * unwinder only. */
#ifndef UNWIND_CHECK_H
#define UNWIND_CHECK_H

#include <execinfo.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ws_unwind.h"

#define UNWIND_DEEP 600

static void unwind_print(const char *title, const uint64_t *pcs, size_t n) {
  fprintf(stderr, "  %s: %zu\n", title, n);
  for (size_t i = 0; i < n && i < 40; i++) {
    void *pc = (void *)(uintptr_t)pcs[i];
    char **name = backtrace_symbols(&pc, 1);
    fprintf(stderr, "    %#llx %s\n", (unsigned long long)pcs[i], name ? name[0] : "?");
  }
}

/* Compares the two stacks of the caller; says on stderr how they differ. Frames of this function,
 * and of a sanitizer's backtrace, differ by nature: the rest must not. After a signal our address
 * is one higher, by contract. */
__attribute__((noinline)) static bool unwind_same(const char *what, size_t at_least) {
  static __thread void *theirs[UNWIND_DEEP];
  static __thread uint64_t ours[UNWIND_DEEP], copy[UNWIND_DEEP];
  size_t n = (size_t)backtrace(theirs, UNWIND_DEEP);
  size_t m = ws_unwind(ours, UNWIND_DEEP, 0);
  size_t first = 0;
  for (size_t i = 0; i < n; i++) copy[i] = (uint64_t)(uintptr_t)theirs[i];
  for (size_t i = 1; m > 1 && i < n && i < 4 && first == 0; i++) {
    if (copy[i] == ours[1]) first = i;
  }
  bool same = first > 0 && n - first == m - 1 && m >= at_least;
  unsigned signals = 0;
  for (size_t i = 1; same && i < m; i++) {
    if (ours[i] == copy[first + i - 1]) continue;
    same = ours[i] == copy[first + i - 1] + 1 && ++signals <= 2;
  }
  if (!same) {
    fprintf(stderr, "%s: the stacks differ (at least %zu frames expected)\n", what, at_least);
    unwind_print("backtrace", copy, n);
    unwind_print("ws_unwind", ours, m);
  }
  return same;
}

#endif
