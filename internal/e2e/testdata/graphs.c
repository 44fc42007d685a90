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

static void *make(unsigned blocks) {
  void *graph, *ready;
  CHECK(cuStreamBeginCapture_v2(stream, 0));
  for (int i = 0; i < 3; i++)
    CHECK(cuLaunchKernel(kernel, blocks, 1, 1, 1024, 1, 1, 0, stream, NULL, NULL));
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
  void *first = make(1);
  replay(first, 5, n > 0 && a[0][0] == '1');
  for (int round = 0; round < 3; round++) {
    warpscope_stop();
    void *dark = make(1); /* nobody looks */
    replay(first, 7, 0);
    replay(dark, 7, 0);
    usleep(20000);
    warpscope_start();
    void *light = make(1);
    replay(first, 11, 1);
    replay(dark, 11, 1);
    replay(light, 11, 1);
  }
  return 0;
}

/* Graphs that take milliseconds are queued when the timeline is switched off and on: those that were
 * launched while it was on are to be in the trace, whenever they run. */
static int queued(int n, char **a) {
  (void)n, (void)a;
  begin();
  CHECK(cuStreamCreate(&stream, 1));
  void *graph = make(1u << 18);
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 9; i++) CHECK(cuGraphLaunch(graph, stream));
    tally->extra += 9;
    warpscope_stop();
    for (int i = 0; i < 4; i++) CHECK(cuGraphLaunch(graph, stream));
    if (round % 2) CHECK(cuCtxSynchronize());
    warpscope_start();
  }
  CHECK(cuGraphLaunch(graph, stream));
  tally->extra++;
  CHECK(cuCtxSynchronize());
  return 0;
}

MAIN({"switched", switched}, {"queued", queued})
