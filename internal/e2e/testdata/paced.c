/* paced.c: launches so many kernels a second, of many names, for so many seconds: what the agent costs. */
#include "program.h"

#include <time.h>

enum { NAMES = 64, BURST = 30 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* arguments: kernels a second, seconds */
static int paced(int n, char **a) {
  double rate = n > 0 ? atof(a[0]) : 30000, seconds = n > 1 ? atof(a[1]) : 10;
  begin();
  static char text[64 + NAMES * 512];
  char name[256];
  void *all, *functions[NAMES];
  int at = sprintf(text, ".version 8.0\n.target sm_90\n.address_size 64\n");
  static const char *format =
      "_ZN2at6native29vectorized_elementwise_kernelILi%dENS0_11FillFunctorIfEESt5arrayIPcLm1EEEEviT0_T1_with_a_"
      "name_as_long_as_those_of_templates_are_which_is_some_hundred_and_fifty_bytes_%d";
  for (int i = 0; i < NAMES; i++) {
    sprintf(name, format, i, i);
    at += sprintf(text + at, ".visible .entry %s() { ret; }\n", name);
  }
  CHECK(cuModuleLoadData(&all, text));
  for (int i = 0; i < NAMES; i++) {
    sprintf(name, format, i, i);
    CHECK(cuModuleGetFunction(&functions[i], all, name));
  }
  double start = now();
  for (long i = 0; i < (long)(rate * seconds);) {
    for (int k = 0; k < BURST; k++, i++) launch(functions[i * 7 % NAMES]);
    double ahead = start + (double)i / rate - now();
    if (ahead > 0.0005) usleep((unsigned)(ahead * 1e6));
  }
  CHECK(cuCtxSynchronize());
  return 0;
}

MAIN({"paced", paced})
