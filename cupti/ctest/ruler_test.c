/* ruler_test.c: which calls are counted, what ticks say, and that calls that come too often are let
 * go. */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "ws_ruler.h"

enum { SYNC = 17, RECORD = 119, LAUNCH = 307, RUNTIME_SYNC = 165 };

static bool on[3][2048];
static int refused;

static int name_of(uint32_t domain, uint32_t id, const char **name) {
  *name = NULL;
  if (domain == CUPTI_DOMAIN_DRIVER && id == SYNC) *name = "cuCtxSynchronize";
  if (domain == CUPTI_DOMAIN_DRIVER && id == RECORD) *name = "cuEventRecord_ptsz";
  if (domain == CUPTI_DOMAIN_DRIVER && id == RECORD + 1) *name = "cuEventRecordEx";
  if (domain == CUPTI_DOMAIN_DRIVER && id == LAUNCH) *name = "cuLaunchKernel";
  if (domain == CUPTI_DOMAIN_RUNTIME && id == RUNTIME_SYNC) *name = "cudaDeviceSynchronize_v3020";
  return *name ? CUPTI_OK : 1;
}

static int enable(uint32_t enabled, void *subscriber, uint32_t domain, uint32_t id) {
  assert(subscriber == &on);
  if (refused) return 999;
  on[domain][id] = enabled != 0;
  return CUPTI_OK;
}

static struct ws_shm shm;
static struct ws_arena arena;
static struct ws_cupti cupti;
static struct ws_ruler ruler;

static void *base;
static const struct ws_sizes sizes = {1 << 20, 1 << 20, 1 << 16, 1 << 20};

static void leave(void) {
  if (!base) return;
  ws_arena_close(&arena);
  munmap(base, ws_shm_size(&sizes));
  base = NULL;
}

static void fresh(void) {
  leave();
  base = mmap(NULL, ws_shm_size(&sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert(base != MAP_FAILED);
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  assert(ws_arena_open(&arena, &shm));
  memset(&ruler, 0, sizeof ruler);
  memset(on, 0, sizeof on);
  cupti.callback_name = name_of;
  cupti.enable_callback = enable;
}

/* The ticks so far: how many, and the last one's count. */
static unsigned ticks(uint64_t *last) {
  const uint8_t *data = (const uint8_t *)shm.alloc.control + WS_PAGE;
  uint64_t end = __atomic_load_n(&shm.alloc.control->reserved, __ATOMIC_ACQUIRE);
  unsigned n = 0;
  for (uint64_t at = 0; at < end; at += WS_SLOT) {
    const struct ws_tick *t = (const struct ws_tick *)(data + at);
    assert(t->rec.type == WS_REC_TICK && t->name && t->time);
    *last = t->count;
    n++;
  }
  return n;
}

static void finds_calls_by_name(void) {
  fresh();
  assert(ws_ruler_open(&ruler, &shm, &arena, &cupti, &on));
  assert(ruler.used == 2 && on[1][SYNC] && on[1][RECORD]);
  assert(!on[1][RECORD + 1] && !on[1][LAUNCH] && !on[2][RUNTIME_SYNC]);
  fresh();
  refused = 1;
  assert(!ws_ruler_open(&ruler, &shm, &arena, &cupti, &on) && ruler.used == 0);
  ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, SYNC);
  refused = 0;
}

static void counts_every_call_and_says_so_now_and_then(void) {
  uint64_t last = 0;
  fresh();
  assert(ws_ruler_open(&ruler, &shm, &arena, &cupti, &on));
  for (int i = 0; i < 1000; i++) ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, SYNC);
  ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, LAUNCH);
  ws_ruler_count(&ruler, 7, SYNC);
  ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, 1u << 20);
  unsigned n = ticks(&last);
  assert(n >= 1 && n < 1000 && ruler.slots[0].count == 1000);
  struct timespec pause = {.tv_nsec = 3000000};
  nanosleep(&pause, NULL);
  ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, SYNC);
  assert(ticks(&last) == n + 1 && last == 1001);
  nanosleep(&pause, NULL);
  ws_ruler_step(&ruler);
  assert(ticks(&last) == n + 2 && last == 1);
}

/* Looks once in 100 ms of made-up time; `calls` calls come between two. */
static uint64_t look(uint64_t now, unsigned looks, unsigned calls) {
  for (unsigned i = 0; i < looks; i++) {
    for (unsigned j = 0; j < calls; j++)
      if (on[1][SYNC]) ws_ruler_count(&ruler, CUPTI_DOMAIN_DRIVER, SYNC);
    ws_ruler_look(&ruler, now += 100000000, true);
  }
  return now;
}

static void lets_go_of_what_comes_too_often(void) {
  fresh();
  assert(ws_ruler_open(&ruler, &shm, &arena, &cupti, &on));
  uint64_t now = look(1000000000, 20, 90);
  assert(on[1][SYNC]); /* 900 a second */
  now = look(now, 1, 2000);
  assert(!on[1][SYNC] && on[1][RECORD]);
  now = look(now, 19, 0);
  assert(!on[1][SYNC]);
  now = look(now, 2, 0);
  assert(on[1][SYNC]); /* tried again after 2 s */
  now = look(now, 2, 2000);
  assert(!on[1][SYNC]);
  now = look(now, 30, 0);
  assert(!on[1][SYNC]); /* and left alone for longer */
  look(now, 15, 0);
  assert(on[1][SYNC]);
}

static void turns_to_the_runtime_where_the_driver_is_quiet(void) {
  fresh();
  assert(ws_ruler_open(&ruler, &shm, &arena, &cupti, &on));
  uint64_t now = look(1000000000, 50, 1);
  assert(!on[2][RUNTIME_SYNC]);
  for (int i = 0; i < 50; i++) ws_ruler_look(&ruler, now += 100000000, false);
  assert(!on[2][RUNTIME_SYNC]); /* no context: the program does not use CUDA yet */
  look(now, 30, 0);
  assert(on[2][RUNTIME_SYNC] && ruler.used == 3);
  uint64_t last = 0;
  unsigned n = ticks(&last);
  struct timespec pause = {.tv_nsec = 3000000};
  nanosleep(&pause, NULL);
  ws_ruler_count(&ruler, CUPTI_DOMAIN_RUNTIME, RUNTIME_SYNC);
  assert(ticks(&last) == n + 1 && last == 1);
}

int main(void) {
  finds_calls_by_name();
  counts_every_call_and_says_so_now_and_then();
  lets_go_of_what_comes_too_often();
  turns_to_the_runtime_where_the_driver_is_quiet();
  leave();
  puts("ok");
  return 0;
}
