/* unwind_ctest.h: what the C tests of the unwinder share: checks, libraries compiled on the spot
 * from cupti/testdata, and stacks to walk. */
#ifndef UNWIND_CTEST_H
#define UNWIND_CTEST_H

#include <alloca.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../testdata/unwind_check.h"
#include "ws_maps.h"

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

__attribute__((unused)) static void
check_at(bool ok, const char *text, const char *file, int line) {
  if (ok) return;
  failures++;
  fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
}
#define CHECK(x) check_at((x), #x, __FILE__, __LINE__)

__attribute__((unused)) static void skip(const char *what, const char *why) {
  printf("skip %s: %s\n", what, why);
}

__attribute__((unused)) static bool
build(const char *compiler, const char *flags, const char *source, const char *output) {
  char line[4096];
  snprintf(line,
           sizeof line,
           "%s -fPIC -I%s/../testdata -I%s/.. %s %s/../testdata/%s -o %s/%s >%s/log 2>&1",
           compiler,
           sources,
           sources,
           flags,
           sources,
           source,
           folder,
           output,
           folder);
  if (system(line) == 0) return true;
  snprintf(line, sizeof line, "cat %s/log >&2", folder);
  if (system(line) != 0) fprintf(stderr, "no output of the compiler\n");
  return false;
}

__attribute__((unused)) static const char *cc(void) {
  const char *c = getenv("CC");
  return c && *c ? c : "cc";
}

__attribute__((unused)) static bool installed(const char *program) {
  char line[256];
  snprintf(line, sizeof line, "command -v %s >/dev/null 2>&1", program);
  return system(line) == 0;
}

__attribute__((unused)) static void *load(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "dlopen: %s\n", dlerror());
  return library;
}

/* dlsym gives an object pointer; C has no conversion to a function's. */
#define SYMBOL(library, name, variable)                                                            \
  do {                                                                                             \
    void *at = dlsym(library, name);                                                               \
    memcpy(&(variable), &at, sizeof(variable));                                                    \
  } while (0)

typedef int (*callback)(void *);

struct expectation {
  const char *what;
  size_t at_least;
  int calls;
};

__attribute__((unused)) static int compare(void *arg) {
  struct expectation *e = arg;
  e->calls++;
  return unwind_same(e->what, e->at_least) ? 1 : 0;
}

__attribute__((unused, noinline)) static bool recurse(unsigned n) {
  char *room = alloca(16 + 8 * (n % 17));
  KEEP(room);
  bool ok = n == 0 ? unwind_same("deep recursion", 300) : recurse(n - 1);
  KEEP(room);
  return ok;
}

__attribute__((unused)) static void test_recursion(void) {
  CHECK(recurse(300));
  CHECK(recurse(299)); /* from the cache */
}

__attribute__((unused)) static void test_library(const char *name, const char *flags) {
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
  CHECK(call(compare, &e, &frames) == 1);
  e.at_least = 6;
  CHECK(sort(compare, &e) == 1);
  CHECK(e.calls == 2);
  CHECK(call(compare, &e, &frames) == 1);
  dlclose(library);
  CHECK(ws_maps_refresh() == 1);
}

/* Finds the sources and makes a folder for what is compiled. */
__attribute__((unused)) static bool begin(void) {
  snprintf(sources, sizeof sources, "%s", __FILE__);
  char *slash = strrchr(sources, '/');
  if (slash) *slash = 0;
  snprintf(folder, sizeof folder, "/tmp/unwind_test.XXXXXX");
  if (!mkdtemp(folder)) return false;
  void *one;
  backtrace(&one, 1); /* loads libgcc, which a signal handler may not do */
  CHECK(ws_maps_refresh() == 1);
  return true;
}

/* Removes the folder; the exit status. */
__attribute__((unused)) static int end(void) {
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

#endif
