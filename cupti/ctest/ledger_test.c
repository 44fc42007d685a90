/* ledger_test.c: which calls are watched, and that those watched for failure alone are let go while
 * they come too often. */
#define _GNU_SOURCE
#include "ws_ledger.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { ALLOC = 243, FREE = 245, LOAD = 20, LAUNCH = 307 };

static bool on[4][WS_CALLBACK_IDS];
static unsigned switches;

static int name_of(uint32_t domain, uint32_t id, const char **name) {
  *name = NULL;
  if (domain != CUPTI_DOMAIN_DRIVER) return 1;
  if (id == ALLOC) *name = "cuMemAlloc_v2";
  if (id == FREE) *name = "cuMemFree_v2";
  if (id == LOAD) *name = "cuKernelGetFunction";
  if (id == LAUNCH) *name = "cuLaunchKernel";
  return *name ? CUPTI_OK : 1;
}

static int enable(uint32_t enabled, void *subscriber, uint32_t domain, uint32_t id) {
  assert(subscriber == &on && domain < 4);
  on[domain][id] = enabled != 0;
  switches++;
  return CUPTI_OK;
}

static struct ws_shm shm;
static struct ws_arena arena;
static struct ws_cupti cupti = {.callback_name = name_of, .enable_callback = enable};
static _Atomic uint32_t armed = WS_ARMED;
static struct ws_ledger ledger = {.shm = &shm, .arena = &arena, .cupti = &cupti, .armed = &armed};

/* As CUPTI would, if the callback is on. */
static void call(uint32_t id, int32_t result) {
  uint64_t data = 0;
  struct cupti_callback cb = {.callbackSite = CUPTI_ENTER, .correlationData = &data};
  if (!on[CUPTI_DOMAIN_DRIVER][id]) return;
  ws_ledger_callback(&ledger, CUPTI_DOMAIN_DRIVER, id, &cb);
  cb.callbackSite = CUPTI_EXIT;
  cb.functionReturnValue = &result;
  ws_ledger_callback(&ledger, CUPTI_DOMAIN_DRIVER, id, &cb);
}

/* So many tenths of a second with so many calls in each; in how many of them the call is watched.
 */
static unsigned tenths(unsigned n, unsigned calls) {
  unsigned watched = 0;
  for (unsigned i = 0; i < n; i++) {
    watched += on[CUPTI_DOMAIN_DRIVER][LOAD];
    for (unsigned j = 0; j < calls; j++) call(LOAD, 0);
    ws_ledger_look(&ledger, &on);
  }
  return watched;
}

int main(void) {
  static const struct ws_sizes sizes = {1 << 20, 1 << 20, 1 << 16, 1 << 20};
  void *base =
      mmap(NULL, ws_shm_size(&sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert(base != MAP_FAILED);
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  assert(ws_arena_open(&arena, &shm));

  ws_ledger_open(&ledger);
  assert(ws_ledger_subscribe(&ledger, &on) == 3);
  assert(on[1][ALLOC] && on[1][FREE] && on[1][LOAD] && !on[1][LAUNCH]);

  /* Now and then, and once many. */
  switches = 0;
  assert(tenths(100, 20) == 100 && switches == 0);
  assert(tenths(1, 1000) == 1 && !on[1][LOAD] && on[1][ALLOC]);
  assert(tenths(9, 1000) == 0);
  tenths(1, 0);
  assert(on[1][LOAD]);

  /* All the time: ever more rarely, but never given up. */
  unsigned early = tenths(100, 1000), late = tenths(2000, 1000);
  assert(early >= 2 && early <= 4);
  assert(late >= 3 && late <= 7);

  /* Allocations are watched however many there are, and failures for lack of memory are recorded.
   */
  for (int i = 0; i < 1000; i++) {
    ledger.late = false;
    ws_ledger_look(&ledger, &on);
    assert(on[1][ALLOC] && on[1][FREE]);
  }
  while (!on[1][LOAD]) ws_ledger_look(&ledger, &on);
  assert(atomic_load(&ledger.out_of_memory) == 0);
  call(LOAD, 2);
  assert(atomic_load(&ledger.out_of_memory) == 1);
  call(LOAD, 700);
  assert(atomic_load(&ledger.out_of_memory) == 1);

  ws_arena_close(&arena);
  munmap(base, ws_shm_size(&sizes));
  puts("ok");
  return 0;
}
