/* sim_driver_test: the simulated libcuda: memory, time, graphs, processes. */
#include "sim_ctest.h"

static void test_time_is_in_order_within_a_stream(void) {
  void *start, *end;
  float ms = 0;
  load();
  begin();
  CHECK(CU(cuEventCreate, (void **, unsigned), (&start, 0)) == 0);
  CHECK(CU(cuEventCreate, (void **, unsigned), (&end, 0)) == 0);
  CHECK(CU(cuEventRecord, (void *, void *), (start, stream)) == 0);
  CHECK(launch(stream, 1 << 20) == 0 && CU(cuEventRecord, (void *, void *), (end, stream)) == 0);
  CHECK(CU(cuEventElapsedTime, (float *, void *, void *), (&ms, start, end)) == 600);
  CHECK(CU(cuEventSynchronize, (void *), (end)) == 0);
  CHECK(CU(cuEventElapsedTime, (float *, void *, void *), (&ms, start, end)) == 0);
  CHECK(ms > 0.4f); /* what the model says, not what the machine does */
}

/* ---- memory ---- */

static size_t free_bytes(void) {
  size_t free_now, total;
  CHECK(CU(cuMemGetInfo_v2, (size_t *, size_t *), (&free_now, &total)) == 0);
  CHECK(total == 1ull << 30);
  return free_now;
}

static void test_memory_is_bounded_and_comes_back(void) {
  uint64_t p[4], q;
  setenv("WARPSCOPE_SIM_MEMORY", "1G", 1);
  load();
  begin();
  size_t before = free_bytes();
  for (int i = 0; i < 4; i++)
    CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&p[i], before / 4)) == 0);
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&q, 1 << 20)) == 2);
  CHECK(CU(cuMemFree_v2, (uint64_t), (p[1])) == 0 && CU(cuMemFree_v2, (uint64_t), (p[1])) == 1);
  CHECK(CU(cuMemAlloc_v2, (uint64_t *, size_t), (&q, before / 4)) == 0 &&
        q == p[1]); /* the address again */
  p[1] = q;
  for (int i = 0; i < 4; i++) CHECK(CU(cuMemFree_v2, (uint64_t), (p[i])) == 0);
  CHECK(free_bytes() == before);
  CHECK(CU(cuMemAllocAsync, (uint64_t *, size_t, void *), (&q, 1u << 20, stream)) == 0);
  CHECK(free_bytes() == before - (32u << 20)); /* a pool takes a piece */
  CHECK(CU(cuMemFreeAsync, (uint64_t, void *), (q, stream)) == 0 &&
        CU(cuStreamSynchronize, (void *), (stream)) == 0);
  CHECK(free_bytes() == before);
}

struct prop {
  uint32_t type, handles, location_type;
  int32_t location;
  uint64_t rest[2];
};

static void test_physical_memory_lives_while_held_or_mapped(void) {
  const size_t MIB2 = 2u << 20;
  const struct prop prop = {.type = 1, .location_type = 1};
  const uint32_t access[3] = {1, 0, 3};
  uint64_t base, handle;
  char text[8];
  setenv("WARPSCOPE_SIM_MEMORY", "1G", 1);
  load();
  begin();
  size_t before = free_bytes();
  CHECK(CU(cuMemAddressReserve,
           (uint64_t *, size_t, size_t, uint64_t, uint64_t),
           (&base, 3 * MIB2, 0, 0, 0)) == 0);
  CHECK(CU(cuMemCreate,
           (uint64_t *, size_t, const void *, uint64_t),
           (&handle, 1ull << 30, &prop, 0)) == 2);
  CHECK(CU(cuMemCreate, (uint64_t *, size_t, const void *, uint64_t), (&handle, 1000, &prop, 0)) ==
        1);
  CHECK(CU(cuMemCreate, (uint64_t *, size_t, const void *, uint64_t), (&handle, MIB2, &prop, 0)) ==
        0);
  CHECK(free_bytes() == before - MIB2);
  CHECK(CU(cuMemMap,
           (uint64_t, size_t, size_t, uint64_t, uint64_t),
           (base + MIB2, MIB2, 0, handle, 0)) == 0);
  CHECK(CU(cuMemcpyHtoD_v2, (uint64_t, const void *, size_t), (base + MIB2, "abc", 4)) !=
        0); /* no access yet */
  CHECK(CU(cuMemSetAccess,
           (uint64_t, size_t, const void *, size_t),
           (base + MIB2, MIB2, access, 1)) == 0);
  CHECK(CU(cuMemcpyHtoD_v2, (uint64_t, const void *, size_t), (base + MIB2, "abc", 4)) == 0);
  CHECK(CU(cuMemRelease, (uint64_t), (handle)) == 0 && free_bytes() == before - MIB2);
  CHECK(CU(cuMemcpyDtoH_v2, (void *, uint64_t, size_t), (text, base + MIB2, 4)) == 0 &&
        strcmp(text, "abc") == 0);
  CHECK(CU(cuMemAddressFree, (uint64_t, size_t), (base, 3 * MIB2)) == 1); /* something is mapped */
  CHECK(CU(cuMemUnmap, (uint64_t, size_t), (base + MIB2, MIB2)) == 0 && free_bytes() == before);
  CHECK(CU(cuMemAddressFree, (uint64_t, size_t), (base, 3 * MIB2)) == 0);
}

/* ---- graphs ---- */

static void capture_and_launch(int times) {
  void *graph, *exec;
  size_t nodes = 0;
  CHECK(CU(cuStreamBeginCapture_v2, (void *, int), (stream, 0)) == 0);
  for (int i = 0; i < 5; i++) CHECK(launch(stream, 1) == 0);
  CHECK(CU(cuStreamSynchronize, (void *), (stream)) == 900);
  CHECK(CU(cuStreamEndCapture, (void *, void **), (stream, &graph)) == 0);
  CHECK(CU(cuGraphGetNodes, (void *, void **, size_t *), (graph, NULL, &nodes)) == 0 && nodes == 5);
  CHECK(CU(cuGraphInstantiateWithFlags, (void **, void *, uint64_t), (&exec, graph, 0)) == 0);
  CHECK(CU(cuGraphDestroy, (void *), (graph)) == 0 && CU(cuGraphDestroy, (void *), (graph)) != 0);
  for (int i = 0; i < times; i++) CHECK(CU(cuGraphLaunch, (void *, void *), (exec, stream)) == 0);
  CHECK(synchronise() == 0);
  CHECK(CU(cuGraphExecDestroy, (void *), (exec)) == 0);
}

static void test_graphs_node_by_node_or_whole(void) {
  load();
  enable(timeline, TIMELINE);
  begin();
  capture_and_launch(3);
  flush(false);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == 15 && seen[CUPTI_KIND_GRAPH_TRACE] == 0);
  CHECK(CUPTI(cuptiActivityEnable, (uint32_t), (CUPTI_KIND_GRAPH_TRACE)) == 0);
  capture_and_launch(3);
  CHECK(launch(stream, 1) == 0 && synchronise() == 0);
  flush(false);
  CHECK(seen[CUPTI_KIND_CONCURRENT_KERNEL] == 16 && seen[CUPTI_KIND_GRAPH_TRACE] == 3);
}

/* ---- processes ---- */

static void test_a_forked_child_gets_errors(void) {
  int status;
  load();
  begin();
  pid_t pid = fork();
  if (pid == 0) _exit(CU(cuInit, (unsigned), (0)) == 3 && launch(NULL, 1) != 0 ? 0 : 1);
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(launch(NULL, 1) == 0);
}

static void test_proc_addresses_are_the_newest(void) {
  void *f = NULL;
  load();
  CHECK(CU(cuGetProcAddress_v2,
           (const char *, void **, int, uint64_t, uint32_t *),
           ("cuMemAlloc", &f, 12000, 0, NULL)) == 0);
  CHECK(f == find(driver, "cuMemAlloc_v2"));
  CHECK(CU(cuGetProcAddress_v2,
           (const char *, void **, int, uint64_t, uint32_t *),
           ("cuNothing", &f, 12000, 0, NULL)) == 500);
  CHECK(CU(cuCtxSynchronize, (void), ()) == 3); /* before cuInit */
}

int main(void) {
  static const struct sim_case cases[] = {
      CASE(test_time_is_in_order_within_a_stream),
      CASE(test_memory_is_bounded_and_comes_back),
      CASE(test_physical_memory_lives_while_held_or_mapped),
      CASE(test_graphs_node_by_node_or_whole),
      CASE(test_a_forked_child_gets_errors),
      CASE(test_proc_addresses_are_the_newest),
  };
  return run_cases(cases, sizeof cases / sizeof *cases);
}
