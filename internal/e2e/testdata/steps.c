/* steps.c: steps of the same work, each ended by a wait, at the pace of a training loop. Writes when
 * each step began (ns since 1970) and how many kernels it launched, as a program that was asked what it did. */
#include "program.h"

#include <time.h>

enum { NAMES = 3 };

static int64_t wall(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* arguments: steps, microseconds a step, the file */
static int steps(int n, char **a) {
  long count = n > 0 ? atol(a[0]) : 100, pace = n > 1 ? atol(a[1]) : 5000;
  FILE *out = fopen(n > 2 ? a[2] : "steps.txt", "w");
  if (!out) fail("open", 0);
  begin();
  void *all, *functions[NAMES];
  CHECK(cuModuleLoadData(&all, ".version 8.0\n.target sm_90\n.address_size 64\n"
                               ".visible .entry every() { ret; }\n.visible .entry seldom() { ret; }\n"
                               ".visible .entry often() { ret; }\n"));
  CHECK(cuModuleGetFunction(&functions[0], all, "every"));
  CHECK(cuModuleGetFunction(&functions[1], all, "seldom"));
  CHECK(cuModuleGetFunction(&functions[2], all, "often"));
  for (long i = 0; i < count; i++) {
    int launches[NAMES] = {20, i % 10 == 0 ? 5 : 0, 40};
    fprintf(out, "%lld %d %d %d\n", (long long)wall(), launches[0], launches[1], launches[2]);
    for (int part = 0; part < 4; part++) {
      for (int k = 0; k < NAMES; k++)
        for (int j = part; j < launches[k]; j += 4) launch(functions[k]);
      usleep((useconds_t)(pace / 4));
    }
    CHECK(cuCtxSynchronize());
  }
  return fclose(out) == 0 ? 0 : 1;
}

/* The same without any call that is counted. */
static int silent(int n, char **a) {
  long count = n > 0 ? atol(a[0]) : 100;
  begin();
  for (long i = 0; i < count; i++) {
    launch(kernel);
    usleep(5000);
  }
  return 0;
}

MAIN({"steps", steps}, {"silent", silent})
