// endless.cu: a CUDA program that works until it is killed, and leaves a count that survives it.
//
//   endless MODE TALLY
//
//   gpu      kernels of 2 ms, eight of them queued at any time: the GPU is never idle
//   launch   empty kernels, launched without a pause: launching is the bottleneck
//   slow     a kernel of 50 us every 50 ms
//
// TALLY is a file of 64-bit words, written as the program goes: PID, launches, kernels known to have
// ended, the time (ns since 1970) at which that was known, allocations. Every 50 ms it allocates.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

__global__ void spin_kernel(long long cycles) {
  long long start = clock64();
  while (clock64() - start < cycles) {}
}

__global__ void empty_kernel() {}

#define CHECK(call)                                                                             \
  do {                                                                                          \
    cudaError_t rc_ = (call);                                                                   \
    if (rc_ != cudaSuccess) {                                                                   \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(rc_));     \
      exit(1);                                                                                  \
    }                                                                                           \
  } while (0)

struct Tally {
  volatile uint64_t pid, launches, ended, ended_at, allocations;
};

static uint64_t now() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: endless gpu|launch|slow TALLY\n");
    return 2;
  }
  int fd = open(argv[2], O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) {
    perror(argv[2]);
    return 1;
  }
  Tally *tally = (Tally *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int khz = 0;
  CHECK(cudaSetDevice(0));
  CHECK(cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, 0));
  bool gpu = strcmp(argv[1], "gpu") == 0, slow = strcmp(argv[1], "slow") == 0;
  enum { QUEUED = 8 };
  cudaEvent_t event[QUEUED];
  for (int i = 0; i < QUEUED; i++) CHECK(cudaEventCreateWithFlags(&event[i], cudaEventDisableTiming));
  CHECK(cudaDeviceSynchronize());
  tally->pid = (uint64_t)getpid();
  uint64_t allocated = now();
  for (uint64_t i = 0;; i++) {
    if (gpu)
      spin_kernel<<<1, 32>>>(2LL * khz);
    else if (slow)
      spin_kernel<<<1, 32>>>(khz / 20);
    else
      empty_kernel<<<1, 32>>>();
    CHECK(cudaGetLastError());
    tally->launches = i + 1;
    if (gpu) {
      CHECK(cudaEventRecord(event[i % QUEUED], 0));
      if (i + 1 >= QUEUED) CHECK(cudaEventSynchronize(event[(i + 1) % QUEUED]));
      if (i + 1 >= QUEUED) tally->ended = i + 2 - QUEUED;
    } else if (slow || i % 100 == 99) {
      CHECK(cudaDeviceSynchronize());
      tally->ended = i + 1;
    }
    tally->ended_at = now();
    if (slow) usleep(50000);
    if (now() - allocated > 50000000) {
      void *p;
      CHECK(cudaMalloc(&p, 4096));
      tally->allocations = tally->allocations + 1;
      allocated = now();
    }
  }
}
