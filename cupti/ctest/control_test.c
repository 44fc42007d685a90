/* The trigger of the timeline: what it is told, what the worker follows, who waits. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ws_control.h"
#include "ws_futex.h"
#include "ws_ledger.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

static void parse(void) {
  static const char *const good[] = {"always",
                                     "cuda-profiler-api",
                                     "nvtx:decode",
                                     "nvtx:a b@c",
                                     "steps:1-1",
                                     "steps:3-500",
                                     "call"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct ws_when when;
    char text[WS_RANGE_NAME + 8];
    CHECK(ws_when_parse(&when, good[i]));
    ws_when_print(&when, text, sizeof text);
    CHECK(strcmp(text, good[i]) == 0);
  }
  struct ws_when when;
  CHECK(ws_when_parse(&when, "steps:7") && when.first_step == 7 && when.last_step == 7);
  static const char *const bad[] = {"",
                                    "never",
                                    "nvtx",
                                    "nvtx:",
                                    "steps:",
                                    "steps:0",
                                    "steps:0-3",
                                    "steps:-3",
                                    "steps:5-2",
                                    "steps:1-",
                                    "steps:1-2-3",
                                    "steps:+1-2",
                                    "steps: 1",
                                    "steps:1-99999999999999999999",
                                    "call:",
                                    "Call"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!ws_when_parse(&when, bad[i]));
  char name[5 + WS_RANGE_NAME + 1] = "nvtx:";
  memset(name + 5, 'x', WS_RANGE_NAME);
  CHECK(!ws_when_parse(&when, name));
  name[5 + WS_RANGE_NAME - 1] = 0;
  CHECK(ws_when_parse(&when, name) && strlen(when.range) == WS_RANGE_NAME - 1);
}

static struct ws_shm shm;
static _Atomic uint32_t armed = WS_ARMED;
static _Atomic int ended;
static _Atomic int now_on; /* what the worker has switched to */

static struct ws_control *fresh(const char *text, bool expected) {
  static struct ws_control controls[64];
  static int used;
  struct ws_control *c = &controls[used++];
  struct ws_when when;
  CHECK(ws_when_parse(&when, text));
  memset(shm.header, 0, sizeof *shm.header);
  shm.header->want_timeline = 1;
  CHECK(ws_control_open(c, &shm, NULL, &armed, &when) == expected);
  now_on = expected;
  return c;
}

static void *worker(void *user) {
  struct ws_control *c = user;
  uint32_t seen = 0;
  while (!ended) {
    ws_futex_wait(&shm.header->bell, seen, 20000000, true);
    seen = __atomic_load_n(&shm.header->bell, __ATOMIC_ACQUIRE);
    uint32_t generation;
    now_on = ws_control_wants(c, &generation);
    ws_control_followed(c, generation);
  }
  return NULL;
}

static pthread_t begin_worker(struct ws_control *c) {
  pthread_t thread;
  ended = 0;
  CHECK(pthread_create(&thread, NULL, worker, c) == 0);
  return thread;
}

static void end_worker(pthread_t thread) {
  ended = 1;
  ws_control_ring(&shm);
  pthread_join(thread, NULL);
}

static void calls(void) {
  struct ws_control *c = fresh("call", false);
  pthread_t thread = begin_worker(c);
  for (int i = 0; i < 100; i++) {
    CHECK(ws_control_switch(c, true) == WS_CONTROL_DONE && now_on);
    CHECK(ws_control_switch(c, true) == WS_CONTROL_DONE && now_on);
    CHECK(ws_control_switch(c, false) == WS_CONTROL_DONE && !now_on);
  }
  CHECK(shm.header->openings == 100);
  /* The reader has the last word. */
  __atomic_store_n(&shm.header->want_timeline, 0, __ATOMIC_RELEASE);
  CHECK(ws_control_switch(c, true) == WS_CONTROL_DONE && !now_on);
  end_worker(thread);
  ws_control_close(c);
  CHECK(ws_control_switch(c, false) == WS_CONTROL_OVER);
  CHECK(ws_control_step(c) == WS_CONTROL_OVER);
}

static void ranges(void) {
  struct ws_control *c = fresh("nvtx:wanted", false);
  pthread_t thread = begin_worker(c);
  ws_control_range(c, false); /* one that began before us */
  CHECK(!now_on);
  ws_control_range(c, true);
  CHECK(now_on);
  ws_control_range(c, true);
  ws_control_range(c, false);
  CHECK(now_on);
  CHECK(ws_control_switch(c, false) == WS_CONTROL_DONE && !now_on); /* the latest event decides */
  ws_control_range(c, true);
  CHECK(!now_on); /* a range inside the range is none */
  ws_control_range(c, false);
  ws_control_range(c, false);
  ws_control_range(c, true);
  CHECK(now_on);
  ws_control_range(c, false);
  CHECK(!now_on);
  end_worker(thread);
}

static void steps(void) {
  struct ws_control *c = fresh("steps:3-5", false);
  pthread_t thread = begin_worker(c);
  for (int step = 1; step < 10; step++) {
    CHECK(now_on == (step >= 3 && step <= 5));
    CHECK(ws_control_step(c) == WS_CONTROL_DONE);
  }
  CHECK(shm.header->steps == 9 && shm.header->openings == 1);
  end_worker(thread);
  fresh("steps:1-2", true);
}

/* Events from before the capture. */
static void early(void) {
  static struct ws_control c;
  struct ws_when when;
  CHECK(ws_control_step(&c) == WS_CONTROL_NOTED);
  CHECK(ws_control_step(&c) == WS_CONTROL_NOTED);
  CHECK(ws_when_parse(&when, "steps:3-3"));
  CHECK(ws_control_open(&c, &shm, NULL, &armed, &when) && shm.header->steps == 2);
  static struct ws_control d;
  ws_control_range(&d, true);
  CHECK(ws_when_parse(&when, "nvtx:x"));
  CHECK(ws_control_open(&d, &shm, NULL, &armed, &when));
  static struct ws_control e;
  CHECK(ws_control_switch(&e, false) == WS_CONTROL_NOTED);
  CHECK(ws_when_parse(&when, "always"));
  CHECK(!ws_control_open(&e, &shm, NULL, &armed, &when));
}

static struct ws_control *shared;

static void *in_and_out(void *user) {
  for (int i = 0; i < 300; i++) {
    ws_control_range(shared, true);
    if (!now_on) *(_Atomic int *)user += 1;
    ws_control_range(shared, false);
  }
  return NULL;
}

/* While a thread is in a range, it is on, whatever the others do. */
static void many_threads(void) {
  static _Atomic int off_inside;
  shared = fresh("nvtx:wanted", false);
  pthread_t thread = begin_worker(shared), all[6];
  for (int i = 0; i < 6; i++) CHECK(pthread_create(&all[i], NULL, in_and_out, &off_inside) == 0);
  for (int i = 0; i < 6; i++) pthread_join(all[i], NULL);
  CHECK(off_inside == 0);
  CHECK(!now_on);
  end_worker(thread);
}

/* Nobody switches: who waits gives up, sooner each time. */
static void no_worker(void) {
  struct ws_control *c = fresh("call", false);
  CHECK(ws_control_switch(c, true) == WS_CONTROL_LATE);
  CHECK(ws_control_switch(c, false) == WS_CONTROL_LATE);
  uint64_t begun = ws_mono();
  for (int i = 0; i < 10; i++) CHECK(ws_control_switch(c, i % 2 == 0) == WS_CONTROL_LATE);
  CHECK(ws_mono() - begun < 30ull * 1000000000); /* not hung */
  armed = WS_DISARMED;                           /* what a forked child sees */
  CHECK(ws_control_switch(c, true) == WS_CONTROL_OVER);
  ws_control_range(c, true);
  armed = WS_ARMED;
}

int main(void) {
  shm.header = mmap(NULL, WS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shm.header != MAP_FAILED);
  parse();
  calls();
  ranges();
  steps();
  early();
  many_threads();
  no_worker();
  puts("ok");
  return 0;
}
