// launch.cu: a plain CUDA C++ program that counts what it does itself.
//
//   launch MODE [N] [COUNTS.json]
//
//   plain   N launches of two kernels on two streams, copies, sets, NVTX ranges, allocations
//   graph   a graph of 20 kernel nodes, launched N times
//   async   cudaMallocAsync/cudaFreeAsync, N of each
//   vmm     cuMemCreate, cuMemMap, cuMemUnmap, cuMemRelease, N handles
//   oom     one cudaMalloc of more than the GPU has, then one that fits
//   leak    N allocations, of which every second is released
//   fork    the program forks before using CUDA; parent and child each do `plain`
//   hang    plain, then waits to be killed
//   time    N empty launches: nanoseconds a launch, on standard output
//
// The counts go to COUNTS.json (default: standard output). Built with `nvcc -o launch launch.cu -lcuda`.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

// Not static, not inlined: their names are part of the count.
__global__ void scale_kernel(float *data, int size, float factor) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size) data[i] *= factor;
}

__global__ void empty_kernel() {}

struct Counts {
  long scale = 0, empty = 0, graph_launches = 0, graph_nodes = 0;
  long h2d = 0, h2d_bytes = 0, d2h = 0, d2h_bytes = 0, d2d = 0, d2d_bytes = 0;
  long sets = 0, set_bytes = 0, ranges = 0, marks = 0;
  long allocs = 0, alloc_bytes = 0, frees = 0, free_bytes = 0, failed = 0, failed_bytes = 0;
  long maps = 0, unmaps = 0, syncs = 0;
};

#define CHECK(call)                                                                     \
  do {                                                                                  \
    cudaError_t rc_ = (call);                                                           \
    if (rc_ != cudaSuccess) {                                                           \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(rc_)); \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

#define CHECK_DRIVER(call)                                                       \
  do {                                                                           \
    CUresult rc_ = (call);                                                       \
    if (rc_ != CUDA_SUCCESS) {                                                   \
      fprintf(stderr, "%s:%d: %s: error %d\n", __FILE__, __LINE__, #call, rc_);  \
      exit(1);                                                                   \
    }                                                                            \
  } while (0)

static void *take(Counts &c, size_t bytes) {
  void *p = nullptr;
  CHECK(cudaMalloc(&p, bytes));
  c.allocs++;
  c.alloc_bytes += (long)bytes;
  return p;
}

static void give(Counts &c, void *p, size_t bytes) {
  CHECK(cudaFree(p));
  c.frees++;
  c.free_bytes += (long)bytes;
}

static void plain(Counts &c, long n) {
  const int size = 1 << 16;
  const size_t bytes = size * sizeof(float);
  float *a = (float *)take(c, bytes), *b = (float *)take(c, bytes);
  std::vector<float> host(size, 1.0f);
  cudaStream_t streams[2];
  for (auto &s : streams) CHECK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  CHECK(cudaMemcpy(a, host.data(), bytes, cudaMemcpyHostToDevice));
  c.h2d++, c.h2d_bytes += (long)bytes;
  CHECK(cudaMemset(b, 0, bytes));
  c.sets++, c.set_bytes += (long)bytes;
  CHECK(cudaDeviceSynchronize());
  c.syncs++;
  for (long i = 0; i < n; i++) {
    if (i % 1000 == 0) {
      nvtxRangePushA("thousand");
      c.ranges++;
    }
    scale_kernel<<<size / 256, 256, 0, streams[0]>>>(a, size, 1.0001f);
    empty_kernel<<<1, 32, 0, streams[1]>>>();
    c.scale++, c.empty++;
    if (i % 1000 == 999 || i == n - 1) nvtxRangePop();
  }
  nvtxMarkA("launched");
  c.marks++;
  CHECK(cudaDeviceSynchronize());
  c.syncs++;
  CHECK(cudaMemcpy(b, a, bytes, cudaMemcpyDeviceToDevice));
  c.d2d++, c.d2d_bytes += (long)bytes;
  CHECK(cudaMemcpy(host.data(), b, bytes, cudaMemcpyDeviceToHost));
  c.d2h++, c.d2h_bytes += (long)bytes;
  for (auto &s : streams) CHECK(cudaStreamDestroy(s));
  give(c, a, bytes);
  give(c, b, bytes);
}

static void graph(Counts &c, long n) {
  cudaStream_t stream;
  cudaGraph_t g;
  cudaGraphExec_t exec;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < 20; i++) empty_kernel<<<1, 32, 0, stream>>>();
  CHECK(cudaStreamEndCapture(stream, &g));
  CHECK(cudaGraphInstantiate(&exec, g, 0));
  for (long i = 0; i < n; i++) {
    CHECK(cudaGraphLaunch(exec, stream));
    c.graph_launches++, c.graph_nodes += 20;
  }
  CHECK(cudaStreamSynchronize(stream));
  c.syncs++;
  CHECK(cudaGraphExecDestroy(exec));
  CHECK(cudaGraphDestroy(g));
  CHECK(cudaStreamDestroy(stream));
}

static void stream_ordered(Counts &c, long n) {
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  for (long i = 0; i < n; i++) {
    void *p = nullptr;
    size_t bytes = (size_t)(i % 7 + 1) << 20;
    CHECK(cudaMallocAsync(&p, bytes, stream));
    c.allocs++, c.alloc_bytes += (long)bytes;
    CHECK(cudaFreeAsync(p, stream));
    c.frees++, c.free_bytes += (long)bytes;
  }
  CHECK(cudaStreamSynchronize(stream));
  c.syncs++;
  CHECK(cudaStreamDestroy(stream));
}

static void vmm(Counts &c, long n) {
  CHECK(cudaFree(nullptr)); // makes the context current
  CUmemAllocationProp prop;
  memset(&prop, 0, sizeof prop);
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  size_t granularity = 0;
  CHECK_DRIVER(cuMemGetAllocationGranularity(&granularity, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CUdeviceptr base = 0;
  size_t total = granularity * (size_t)n;
  CHECK_DRIVER(cuMemAddressReserve(&base, total, 0, 0, 0));
  CUmemAccessDesc access = {prop.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  for (long i = 0; i < n; i++) {
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr at = base + granularity * (size_t)i;
    CHECK_DRIVER(cuMemCreate(&handle, granularity, &prop, 0));
    c.allocs++, c.alloc_bytes += (long)granularity;
    CHECK_DRIVER(cuMemMap(at, granularity, 0, handle, 0));
    c.maps++;
    CHECK_DRIVER(cuMemSetAccess(at, granularity, &access, 1));
    CHECK_DRIVER(cuMemRelease(handle)); // stays alive while it is mapped
    c.frees++;
  }
  CHECK_DRIVER(cuMemUnmap(base, total));
  c.unmaps++;
  c.free_bytes += (long)total;
  CHECK_DRIVER(cuMemAddressFree(base, total));
}

static void out_of_memory(Counts &c) {
  size_t free_bytes = 0, total = 0;
  CHECK(cudaMemGetInfo(&free_bytes, &total));
  void *p = nullptr;
  size_t wanted = total + (1ul << 30);
  if (cudaMalloc(&p, wanted) != cudaErrorMemoryAllocation) {
    fprintf(stderr, "an allocation of %zu bytes did not fail\n", wanted);
    exit(1);
  }
  c.failed++, c.failed_bytes += (long)wanted;
  (void)cudaGetLastError();
  give(c, take(c, 1 << 20), 1 << 20);
}

static void leak(Counts &c, long n) {
  for (long i = 0; i < n; i++) {
    void *p = take(c, 1 << 20);
    if (i % 2 == 1) give(c, p, 1 << 20);
  }
}

static void timed(long n) {
  using clock = std::chrono::steady_clock;
  for (int i = 0; i < 1000; i++) empty_kernel<<<1, 32>>>();
  CHECK(cudaDeviceSynchronize());
  for (int repeat = 0; repeat < 5; repeat++) {
    auto begin = clock::now();
    for (long i = 0; i < n; i++) empty_kernel<<<1, 32>>>();
    CHECK(cudaDeviceSynchronize());
    double ns = std::chrono::duration<double, std::nano>(clock::now() - begin).count();
    printf("%.1f\n", ns / (double)n);
  }
}

static int print(const Counts &c, const char *path) {
  FILE *f = path ? fopen(path, "w") : stdout;
  if (!f) {
    perror(path);
    return 1;
  }
  fprintf(f, "{\"source\": \"counted by the program itself\", \"kernels\": %ld,\n", c.scale + c.empty);
  fprintf(f, " \"kernels_by_name\": {\"scale_kernel(float*, int, float)\": %ld, \"empty_kernel()\": %ld},\n", c.scale, c.empty);
  fprintf(f, " \"copies\": %ld, \"copies_by_kind\": {\"HtoD\": {\"count\": %ld, \"bytes\": %ld},\n", c.h2d + c.d2h + c.d2d, c.h2d, c.h2d_bytes);
  fprintf(f, "  \"DtoH\": {\"count\": %ld, \"bytes\": %ld}, \"DtoD\": {\"count\": %ld, \"bytes\": %ld}},\n", c.d2h, c.d2h_bytes, c.d2d, c.d2d_bytes);
  fprintf(f, " \"sets\": %ld, \"set_bytes\": %ld, \"nvtx_ranges\": %ld, \"nvtx_marks\": %ld, \"synchronisations\": %ld,\n", c.sets, c.set_bytes, c.ranges, c.marks, c.syncs);
  fprintf(f, " \"graph_launches\": %ld, \"graph_nodes\": %ld,\n", c.graph_launches, c.graph_nodes);
  fprintf(f, " \"allocations\": %ld, \"allocation_bytes\": %ld, \"releases\": %ld, \"release_bytes\": %ld,\n", c.allocs, c.alloc_bytes, c.frees, c.free_bytes);
  fprintf(f, " \"failed\": %ld, \"failed_bytes\": %ld, \"maps\": %ld, \"unmaps\": %ld}\n", c.failed, c.failed_bytes, c.maps, c.unmaps);
  if (path) return fclose(f) ? 1 : 0;
  return fflush(f) ? 1 : 0;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "plain";
  long n = argc > 2 ? atol(argv[2]) : 1000;
  const char *path = argc > 3 ? argv[3] : nullptr;
  Counts c;
  if (!strcmp(mode, "plain")) plain(c, n);
  else if (!strcmp(mode, "graph")) graph(c, n);
  else if (!strcmp(mode, "async")) stream_ordered(c, n);
  else if (!strcmp(mode, "vmm")) vmm(c, n);
  else if (!strcmp(mode, "oom")) out_of_memory(c);
  else if (!strcmp(mode, "leak")) leak(c, n);
  else if (!strcmp(mode, "time")) {
    timed(n);
    return 0;
  } else if (!strcmp(mode, "fork")) {
    pid_t child = fork();
    if (child < 0) return 1;
    plain(c, n);
    if (child == 0) return 0;
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
    long *fields = reinterpret_cast<long *>(&c); // the child did the same once more
    for (size_t i = 0; i < sizeof c / sizeof *fields; i++) fields[i] *= 2;
  } else if (!strcmp(mode, "hang")) {
    plain(c, n);
    int rc = print(c, path);
    if (rc) return rc;
    for (;;) pause();
  } else {
    fprintf(stderr, "unknown mode %s\n", mode);
    return 2;
  }
  return print(c, path);
}
