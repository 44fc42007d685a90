/* graphs.c: graphs that are made and launched while the timeline is switched off and on. `extra`:
 * launches of graphs while it is on. */
#include "program.h"

#include <warpscope.h>

int cuStreamCreate(void **, unsigned);
int cuStreamBeginCapture_v2(void *, int);
int cuStreamEndCapture(void *, void **);
int cuGraphInstantiateWithFlags(void **, void *, uint64_t);
int cuGraphLaunch(void *, void *);

static void *stream;

static void *make(void) {
  void *graph, *ready;
  CHECK(cuStreamBeginCapture_v2(stream, 0));
  for (int i = 0; i < 3; i++)
    CHECK(cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
  CHECK(cuStreamEndCapture(stream, &graph));
  CHECK(cuGraphInstantiateWithFlags(&ready, graph, 0));
  return ready;
}

static void replay(void *graph, int n, int on) {
  for (int i = 0; i < n; i++) CHECK(cuGraphLaunch(graph, stream));
  CHECK(cuCtxSynchronize());
  tally->extra += on ? (uint64_t)n : 0;
}

/* argument: 1 if the timeline is on from the beginning */
static int switched(int n, char **a) {
  begin();
  CHECK(cuStreamCreate(&stream, 1));
  void *first = make();
  replay(first, 5, n > 0 && a[0][0] == '1');
  for (int round = 0; round < 3; round++) {
    warpscope_stop();
    void *dark = make(); /* nobody looks */
    replay(first, 7, 0);
    replay(dark, 7, 0);
    usleep(20000);
    warpscope_start();
    void *light = make();
    replay(first, 11, 1);
    replay(dark, 11, 1);
    replay(light, 11, 1);
  }
  return 0;
}

MAIN({"switched", switched})
