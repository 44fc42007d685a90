// life.cu: CUDA programs whose processes, threads and contexts come and go; they count what they do.
//
//   life MODE COUNTS.json
//
//   reset      work, cudaDeviceReset, work again
//   contexts   three contexts of the driver API, one of them destroyed
//   threads    eight threads that work and end, by return, pthread_exit and cancellation
//   clone      a child made by the system call alone, which tries CUDA and fails
//   vfork      a child by vfork that executes this program (mode late), and one that fails to
//   spawn      the same by posix_spawn
//   execute    works, then becomes this program in mode late
//   late       sleeps, then works
//   never      uses no CUDA at all
//   launching  exit while three threads launch; status 7
//   full       takes all the memory that the GPU has, then works
//   load       works, loads a library (argument 3) and leaves after some milliseconds (argument 4)
//
// Built with `nvcc -o life life.cu -lcuda`.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern char **environ;

__global__ void life_kernel(float *data) { data[threadIdx.x] += 1; }

static std::atomic<long> launches{0}, allocations{0}, bytes{0};

#define CHECK(call)                                                                         \
  do {                                                                                      \
    cudaError_t rc_ = (call);                                                               \
    if (rc_ != cudaSuccess) {                                                               \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(rc_)); \
      _exit(1);                                                                             \
    }                                                                                       \
  } while (0)

#define CHECK_DRIVER(call)                                                      \
  do {                                                                          \
    CUresult rc_ = (call);                                                      \
    if (rc_ != CUDA_SUCCESS) {                                                  \
      fprintf(stderr, "%s:%d: %s: error %d\n", __FILE__, __LINE__, #call, rc_); \
      _exit(1);                                                                 \
    }                                                                           \
  } while (0)

static const long SIZE = 6 << 20; // its own, so that the trace can be asked for it

static void work(int times) {
  float *data;
  CHECK(cudaMalloc(&data, SIZE));
  allocations++, bytes += SIZE;
  for (int i = 0; i < times; i++) {
    life_kernel<<<1, 32>>>(data);
    CHECK(cudaGetLastError());
    launches++;
  }
  CHECK(cudaDeviceSynchronize());
}

static int write_counts(const char *path, int status) {
  FILE *file = fopen(path, "w");
  if (!file) return 1;
  fprintf(file, "{\"launches\": %ld, \"allocations\": %ld, \"bytes\": %ld, \"size\": %ld}\n", launches.load(), allocations.load(),
          bytes.load(), SIZE);
  fclose(file);
  return status;
}

static void contexts() {
  CUcontext context[3];
  CHECK_DRIVER(cuInit(0));
  for (int i = 0; i < 3; i++) {
#if CUDA_VERSION >= 13000
    CHECK_DRIVER(cuCtxCreate(&context[i], NULL, 0, 0));
#else
    CHECK_DRIVER(cuCtxCreate(&context[i], 0, 0));
#endif
    work(100);
  }
  CHECK_DRIVER(cuCtxDestroy(context[1]));
  CHECK_DRIVER(cuCtxSetCurrent(context[0]));
  work(100);
}

static void *ends_by_exit(void *) {
  work(50);
  pthread_exit(NULL);
}

static void *ends_by_cancel(void *done) {
  int old;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
  work(50);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
  (*(std::atomic<int> *)done)++;
  for (;;) pause();
}

static void threads() {
  std::atomic<int> done{0};
  std::vector<pthread_t> all;
  CHECK(cudaFree(0));
  for (int i = 0; i < 8; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, i % 2 ? ends_by_exit : ends_by_cancel, &done);
    all.push_back(thread);
  }
  while (done < 4) usleep(1000);
  for (int i = 0; i < 8; i++) {
    if (i % 2 == 0) pthread_cancel(all[i]);
    pthread_join(all[i], NULL);
  }
  work(50);
}

static int status_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int child_fails() {
  work(100);
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    // Nobody told the driver that this is another process. It must not be asked to do work: it may
    // do it for the parent. What it answers to a question is enough.
    int device = -1;
    cuCtxGetDevice((CUdevice *)&device);
    _exit(3);
  }
  int status = status_of(child);
  pid_t forked = fork();
  if (forked == 0) {
    float *data;
    for (int i = 0; i < 100; i++)
      if (cudaMalloc(&data, 4096) == cudaSuccess) _exit(9); // CUDA does not survive a fork
    _exit(3);
  }
  int second = status_of(forked);
  work(100);
  return status == 3 && second == 3 ? 0 : 1;
}

static int spawns(bool by_vfork, const char *other) {
  work(100);
  char self[] = "/proc/self/exe", mode[] = "late";
  char *arguments[] = {self, mode, (char *)other, NULL};
  pid_t child;
  if (by_vfork) {
    child = vfork();
    if (child == 0) {
      execve(self, arguments, environ);
      _exit(71);
    }
  } else if (posix_spawn(&child, self, NULL, NULL, arguments, environ) != 0) {
    return 1;
  }
  int status = status_of(child);
  child = vfork();
  if (child == 0) {
    execl("/nonexistent/program", "program", (char *)NULL);
    _exit(71);
  }
  if (status_of(child) != 71) return 1;
  work(100);
  return status;
}

static void launch_on() {
  float *data;
  CHECK(cudaMalloc(&data, 4096));
  for (;;) {
    life_kernel<<<1, 32>>>(data);
    if (cudaGetLastError() != cudaSuccess) return;
    launches++;
  }
}

static void fill() {
  size_t free = 0, total = 0;
  CHECK(cudaMemGetInfo(&free, &total));
  work(10);
  for (size_t chunk = 4ull << 30; chunk >= (2ull << 20);) {
    void *p;
    if (cudaMalloc(&p, chunk) != cudaSuccess) {
      cudaGetLastError();
      chunk /= 2;
    }
  }
  CHECK(cudaMemGetInfo(&free, &total));
  fprintf(stderr, "figure left on the GPU: %zu KiB\n", free >> 10);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const char *mode = argv[1], *out = argv[2];
  auto is = [&](const char *name) { return strcmp(mode, name) == 0; };
  int status = 0;
  if (is("reset")) {
    work(100);
    CHECK(cudaDeviceReset());
    work(100);
  } else if (is("contexts")) {
    contexts();
  } else if (is("threads")) {
    threads();
  } else if (is("clone")) {
    status = child_fails();
  } else if (is("vfork") || is("spawn")) {
    char other[4096];
    snprintf(other, sizeof other, "%s.child", out);
    status = spawns(is("vfork"), other);
  } else if (is("execute")) {
    work(100);
    char other[4096];
    snprintf(other, sizeof other, "%s.child", out);
    write_counts(out, 0);
    execl("/proc/self/exe", argv[0], "late", other, (char *)NULL);
    return 71;
  } else if (is("late")) {
    usleep(1500000);
    work(100);
  } else if (is("never")) {
    usleep(1000);
  } else if (is("launching")) {
    CHECK(cudaFree(0));
    for (int i = 0; i < 3; i++) std::thread(launch_on).detach();
    while (launches < 20000) usleep(1000);
    write_counts(out, 0);
    exit(7);
  } else if (is("load") && argc > 4) {
    work(100);
    if (!dlopen(argv[3], RTLD_NOW)) return 71;
    usleep((useconds_t)atoi(argv[4]) * 1000);
    work(100);
  } else if (is("full")) {
    float *known; // kernels need nothing more
    CHECK(cudaMalloc(&known, 256));
    fill();
    for (int i = 0; i < 20000; i++) {
      life_kernel<<<1, 32>>>(known);
      CHECK(cudaGetLastError());
      launches++;
    }
    CHECK(cudaDeviceSynchronize());
  } else {
    return 2;
  }
  return write_counts(out, status);
}
