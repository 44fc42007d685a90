/* sim_tracer_test: the simulated libcupti: records, callbacks, injected faults, NVTX. */
#include "sim_ctest.h"

static void test_every_piece_of_work_is_one_record(void) {
  uint64_t p;
  char host[64] = "from the host";
  load();
  enable(timeline, TIMELINE);
  begin();
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 4096)) == 0);
  for (int i = 0; i < 1000; i++) CHECK(launch(i % 2 ? stream : NULL, 1) == 0);
  CHECK(CU(cuMemcpyHtoD_v2, (uint64_t, const void *, size_t), (p, host, 64)) == 0);
  memset(host, 0, sizeof host);
  CHECK(CU(cuMemcpyDtoH_v2, (void *, uint64_t, size_t), (host, p, 64)) == 0);
  CHECK(strcmp(host, "from the host") == 0);
  CHECK(CU(cuMemsetD8_v2, (uint64_t, unsigned char, size_t), (p, 'x', 32)) == 0);
  CHECK(synchronise() == 0);
  flush(false);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == 1000 && seen[CUPTI_KIND_MEMCPY] == 2 &&
        seen[CUPTI_KIND_MEMSET] == 1);
  CHECK(seen[CUPTI_KIND_SYNCHRONIZATION] == 1);
  /* Every call since cuInit linked the two, but the one that is running: none is missing or twice.
   */
  CHECK(seen[CUPTI_KIND_DRIVER] >= 1000 + 5 && dropped() == 0);
  CHECK(buffers_out == 0 && buffers_seen > 1);
  CHECK(CUPTI(cuptiActivityDisable, (uint32_t), (CUPTI_KIND_CONCURRENT_KERNEL)) == 0);
  CHECK(launch(NULL, 1) == 0 && synchronise() == 0);
  flush(true);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == 1000 && seen[CUPTI_KIND_OVERHEAD] == 1);
  CHECK(CUPTI(cuptiActivityEnable, (uint32_t), (55)) == 21);
}

static void test_unfinished_work_waits_unless_forced(void) {
  load();
  enable(timeline, TIMELINE);
  begin();
  CHECK(launch(stream, 1 << 20) == 0); /* some 500 µs */
  CHECK(launch(stream, 1 << 30) == 0); /* half a second, behind it */
  CHECK(CU(cuStreamQuery, (void *), (stream)) == 600);
  flush(false);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] <= 1);
  flush(true);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == 2 && unfinished >= 1);
}

/* ---- callbacks ---- */

static int entered, left, created, modules, oom_seen;
static uint64_t asked;

static void on_event(void *user, uint32_t domain, uint32_t id, const void *data) {
  CHECK(user == &entered);
  if (domain == CUPTI_DOMAIN_RESOURCE) {
    if (id == CUPTI_CONTEXT_CREATED) created++;
    const struct cupti_resource_data *r = data;
    if (id == CUPTI_MODULE_LOADED) {
      const struct cupti_module_data *m = r->resourceDescriptor;
      CHECK(m->cubinSize == sizeof ptx && m->pCubin == ptx);
      modules++;
    }
    return;
  }
  const struct cupti_callback *c = data;
  const char *name = NULL;
  CHECK(CUPTI(cuptiGetCallbackName, (uint32_t, uint32_t, const char **), (domain, id, &name)) == 0);
  CHECK(strcmp(name, c->functionName) == 0);
  if (c->callbackSite == CUPTI_ENTER) {
    entered++;
    *c->correlationData = c->correlationId;
    return;
  }
  left++;
  CHECK(*c->correlationData == c->correlationId);
  if (strcmp(name, "cuMemAlloc_v2") != 0) return;
  const struct cu_alloc *params = c->functionParams;
  asked += params->size;
  if (*(const int *)c->functionReturnValue == CUDA_OOM) oom_seen++;
}

static uint32_t cbid_of(const char *wanted) {
  for (uint32_t id = 1; id < 807; id++) {
    const char *name = NULL;
    if (CUPTI(cuptiGetCallbackName,
              (uint32_t, uint32_t, const char **),
              (CUPTI_DOMAIN_DRIVER, id, &name)) == 0 &&
        strcmp(name, wanted) == 0) {
      return id;
    }
  }
  return 0;
}

static void test_callbacks_see_calls_failures_and_resources(void) {
  void *subscriber, *second;
  uint64_t p;
  load();
  CHECK(CUPTI(cuptiSubscribe,
              (void **, cupti_callback_fn, void *),
              (&subscriber, on_event, &entered)) == 0);
  CHECK(CUPTI(cuptiSubscribe,
              (void **, cupti_callback_fn, void *),
              (&second, on_event, &entered)) == CUPTI_MULTIPLE_SUBSCRIBERS);
  CHECK(cbid_of("cuMemAlloc_v2") == 243 && cbid_of("cuLaunchKernel") == 307 &&
        cbid_of("cuMemCreate") == 549);
  CHECK(CUPTI(cuptiEnableCallback,
              (uint32_t, void *, uint32_t, uint32_t),
              (1, subscriber, CUPTI_DOMAIN_DRIVER, 243)) == 0);
  CHECK(CUPTI(cuptiEnableDomain,
              (uint32_t, void *, uint32_t),
              (1, subscriber, CUPTI_DOMAIN_RESOURCE)) == 0);
  begin();
  CHECK(created == 1 && modules == 1);
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 1000)) == 0);
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 1ull << 50)) == 2);
  CHECK(CU(cuMemGetInfo_v2, (size_t *, size_t *), (&(size_t){0}, &(size_t){0})) == 0);
  CHECK(entered == 2 && left == 2 && oom_seen == 1 && asked == 1000 + (1ull << 50));
  uint32_t id = 0, device = 9;
  CHECK(CUPTI(cuptiGetContextId, (void *, uint32_t *), (context, &id)) == 0 && id != 0);
  CHECK(CUPTI(cuptiGetDeviceId, (void *, uint32_t *), (context, &device)) == 0 && device == 0);
  CHECK(CUPTI(cuptiGetStreamIdEx,
              (void *, void *, uint8_t, uint32_t *),
              (context, stream, 0, &id)) == 0 &&
        id != 0);
  CHECK(CUPTI(cuptiUnsubscribe, (void *), (subscriber)) == 0);
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 1000)) == 0 && entered == 2);
}

/* ---- faults ---- */

static void test_a_chosen_call_fails_once(void) {
  uint64_t p;
  setenv("WARPSCOPE_SIM_FAIL", "cuptiActivityEnable:2:35,cuMemAlloc_v2:3:2,cuptiGetTimestamp:*", 1);
  load();
  CHECK(CUPTI(cuptiActivityEnable, (uint32_t), (1)) == 0 &&
        CUPTI(cuptiActivityEnable, (uint32_t), (2)) == 35);
  CHECK(CUPTI(cuptiActivityEnable, (uint32_t), (2)) == 0);
  CHECK(CUPTI(cuptiGetTimestamp, (uint64_t *), (&p)) == 999 &&
        CUPTI(cuptiGetTimestamp, (uint64_t *), (&p)) == 999);
  begin();
  for (int i = 1; i <= 4; i++)
    CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 64)) == (i == 3 ? 2 : 0));
}

static void run_100_kernels(void) {
  load();
  enable(timeline, TIMELINE - 1);
  begin();
  for (int i = 0; i < 100; i++) CHECK(launch(stream, 1) == 0);
  CHECK(synchronise() == 0);
  flush(false);
}

static void test_records_are_dropped_and_counted(void) {
  setenv("WARPSCOPE_SIM_DROP", "10", 1);
  run_100_kernels();
  int all = 0;
  for (int i = 0; i < KIND_LIMIT; i++) all += seen[i];
  size_t lost = dropped();
  CHECK(lost == (size_t)((all + (int)lost) / 10) && lost >= 20 && dropped() == 0);
}

static void test_buffers_are_lost_and_counted(void) {
  setenv("WARPSCOPE_SIM_LOSE_BUFFER", "2", 1);
  run_100_kernels();
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] < 100 && dropped() > 0);
}

static void test_without_buffers_everything_is_dropped(void) {
  refuse_buffers = true;
  run_100_kernels();
  CHECK(buffers_seen == 0 && dropped() >= 200);
}

static void test_times_are_missing(void) {
  setenv("WARPSCOPE_SIM_ZERO_TIME", "4", 1);
  run_100_kernels();
  CHECK(no_time == 25 && backwards == 0);
}

static void test_times_run_backwards(void) {
  setenv("WARPSCOPE_SIM_BACKWARDS", "5", 1);
  run_100_kernels();
  CHECK(no_time == 0 && backwards == 20);
}

/* ---- threads ---- */

static void *work(void *unused) {
  (void)unused;
  CHECK(CU(cuCtxSetCurrent, (void *), (context)) == 0);
  for (int i = 0; i < 500; i++) {
    uint64_t p;
    CHECK(launch(NULL, 1) == 0);
    CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p, 4096)) == 0 &&
          CU(cuMemFree_v2, (uint64_t), (p)) == 0);
    if (i % 100 == 0) flush(false);
  }
  return NULL;
}

static void test_threads_lose_nothing(void) {
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  load();
  enable(timeline, TIMELINE - 1);
  CHECK(CUPTI(cuptiActivityFlushPeriod, (uint32_t), (1)) == 0);
  begin();
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(synchronise() == 0);
  CHECK(CUPTI(cuptiActivityFlushPeriod, (uint32_t), (0)) == 0);
  for (int i = 0; i < 200 && seen[CUPTI_KIND_CONCURRENT_KERNEL] + (int)dropped() < THREADS * 500;
       i++) {
    flush(true);
    usleep(10000); /* the worker may hold the last records */
  }
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == THREADS * 500 && dropped() == 0);
}

/* ---- NVTX ---- */

static int (*push)(const char *);
static int (*pop)(void);

static int module_table(int module, void ****table, unsigned *size) {
  static void **slots[16];
  memset(slots, 0, sizeof slots);
  if (module != 1) return 0;
  slots[9] = (void **)&push;
  slots[11] = (void **)&pop;
  *table = slots;
  *size = 16;
  return 1;
}

static const void *export_table(uint32_t id) {
  static const struct {
    size_t size;
    int (*table)(int, void ****, unsigned *);
  } callbacks = {sizeof callbacks, module_table};
  return id == 1 ? &callbacks : NULL;
}

static void test_nvtx_ranges_are_markers(void) {
  const uint32_t kinds[] = {CUPTI_KIND_MARKER};
  load();
  enable(kinds, 1);
  begin();
  CHECK(CUPTI(cuptiNvtxInitialize2, (const void *(*)(uint32_t)), (export_table)) == 0);
  CHECK(push != NULL && pop != NULL);
  CHECK(push("outer") == 0 && push("inner") == 1 && pop() == 1 && pop() == 0 && pop() < 0);
  flush(true);
  CHECK(seen[CUPTI_KIND_MARKER] == 4);
}

int main(void) {
  static const struct sim_case cases[] = {
      CASE(test_every_piece_of_work_is_one_record),
      CASE(test_unfinished_work_waits_unless_forced),
      CASE(test_callbacks_see_calls_failures_and_resources),
      CASE(test_a_chosen_call_fails_once),
      CASE(test_records_are_dropped_and_counted),
      CASE(test_buffers_are_lost_and_counted),
      CASE(test_without_buffers_everything_is_dropped),
      CASE(test_times_are_missing),
      CASE(test_times_run_backwards),
      CASE(test_threads_lose_nothing),
      CASE(test_nvtx_ranges_are_markers),
  };
  return run_cases(cases, sizeof cases / sizeof *cases);
}
