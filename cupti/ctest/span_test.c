/* Texts, marks and sleeping of the program's own: what is recorded, and what is refused. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ws_ledger.h"
#include "ws_span.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* CUPTI's clock runs 1000 s ahead of ours. */
#define AHEAD 1000000000000ull
static int timestamp(uint64_t *now) {
  *now = ws_mono() + AHEAD;
  return CUPTI_OK;
}

static struct ws_shm shm;
static struct ws_arena arena;
static struct ws_cupti cupti = {.timestamp = timestamp};
static _Atomic uint32_t *armed; /* in memory that a child shares, as after vfork */

static void open_memory(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 1 << 20, .timeline_ring = 1 << 16, .live_table = 1 << 16, .arena = 1 << 26};
  void *base =
      mmap(NULL, ws_shm_size(&sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  armed = mmap(NULL, WS_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(base != MAP_FAILED && armed != MAP_FAILED);
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  CHECK(ws_arena_open(&arena, &shm));
}

static const struct ws_marker *marker(unsigned n) {
  return (const struct ws_marker *)(shm.alloc.data + (size_t)n * WS_SLOT);
}

static void refused_before(void) {
  struct warpscope_mark m = {.began = ws_mono(), .text = 1};
  CHECK(ws_span_text("early", 5) == 0);
  CHECK(ws_span_marks(&m, 1) == 0);
}

static void marks(void) {
  uint32_t domain = ws_span_text("warpscope.stack", 15), text = ws_span_text("a.py:1 f", 8);
  CHECK(domain && text && domain != text);
  uint64_t now = ws_mono();
  struct warpscope_mark list[] = {
      {.began = now - 500, .value = 7, .thread = 11, .text = text, .domain = domain},
      {.began = now - 400, .ended = now - 100, .thread = 12, .text = text, .domain = domain},
      {.began = now + 3600000000000, .text = text},           /* not yet */
      {.began = now - 100, .ended = now - 400, .text = text}, /* backwards */
      {.began = now - 400, .thread = 12},                     /* says nothing */
  };
  CHECK(ws_span_marks(list, sizeof list / sizeof *list) == 2);
  CHECK(ws_span_marks(NULL, 3) == 0);
  const struct ws_marker *moment = marker(0), *start = marker(1), *end = marker(2);
  CHECK(moment->rec.flags == WS_MARKER_INSTANT && moment->text == text);
  CHECK(moment->domain == domain && moment->thread == 11 && moment->payload == 7);
  CHECK(moment->payload_kind == WS_PAYLOAD_UINT64);
  CHECK(start->rec.flags == WS_MARKER_START && end->rec.flags == WS_MARKER_END);
  CHECK(start->id == end->id && start->id != moment->id && start->thread == 12);
  CHECK(end->time - start->time == 300 && start->time - moment->time == 100);
  /* By CUPTI's clock, whose reading lies between two of ours. */
  CHECK(moment->time > now - 500 + AHEAD - 1000000000 && moment->time < ws_mono() + AHEAD);
}

static void texts(void) {
  static char long_text[8193];
  memset(long_text, 'x', sizeof long_text);
  CHECK(ws_span_text(long_text, sizeof long_text) == 0 && ws_span_text("", 0) == 0);
  CHECK(ws_span_text(NULL, 4) == 0);
  unsigned n = 0;
  while (ws_span_text(long_text, 8192)) CHECK(++n < 10000);
  CHECK(n > 1000); /* and then there is no more room, but no harm either */
  CHECK(ws_span_text("small", 5) == 0);
}

static void in_a_child(void) {
  pid_t child = fork();
  if (child == 0) {
    struct warpscope_mark m = {.began = ws_mono() - 10, .text = 1};
    _exit(ws_span_marks(&m, 1) == 0 && ws_span_text("child", 5) == 0 ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static uint32_t word;

static void *sleeper(void *woke) {
  *(uint64_t *)woke = ws_span_sleep(ws_mono() + 3600000000000, &word);
  return NULL;
}

static void sleeping(void) {
  uint64_t until = ws_mono() + 2000000, woke = ws_span_sleep(until, &word);
  CHECK(woke >= until && woke <= ws_mono());
  CHECK(ws_span_sleep(until, &word) >= until); /* in the past */
  pthread_t thread;
  woke = 0;
  CHECK(pthread_create(&thread, NULL, sleeper, &woke) == 0);
  ws_span_wake(&word); /* before or after it has gone to sleep */
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(woke && woke <= ws_mono());
}

int main(void) {
  open_memory();
  refused_before();
  ws_span_open(&shm, &arena, &cupti, armed);
  refused_before(); /* not armed yet */
  *armed = WS_ARMED;
  marks();
  in_a_child();
  texts();
  sleeping();
  puts("ok");
  return 0;
}
