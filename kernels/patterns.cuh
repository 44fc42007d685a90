// patterns.cuh: part of memory.cu: how the pattern of accesses, and the level of memory, change what is reached. Every kernel
// adds up what it read, and the sum is checked.
//
// Two counts of bytes differ here: the useful ones, which the sum contains, and those of the sectors of 32 bytes that
// memory moves for them. At a stride of 8 floats and beyond, one of eight bytes moved is useful.
#pragma once
#include "types.cuh"

namespace patterns {

static const int UNROLL = 8; // loads in flight a thread

__device__ __forceinline__ u32 total(uint4 v) { return v.x + v.y + v.z + v.w; }
__device__ __forceinline__ u32 total(uint2 v) { return v.x + v.y; }
__device__ __forceinline__ u32 total(u32 v) { return v; }

__device__ __forceinline__ void deliver(u32 s, u32 *sum) {
  s = __reduce_add_sync(0xffffffff, s);
  if ((threadIdx.x & 31) == 0) atomicAdd(sum, s);
}

// Element i is at x[where(i)]; all n of them are read once.
template <typename T, typename Where> __device__ __forceinline__ void read(const T *x, u64 n, u32 *sum, Where where) {
  u32 s = 0;
  const u64 threads = (u64)gridDim.x * blockDim.x;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + (UNROLL - 1) * threads < n; i += UNROLL * threads) {
    T v[UNROLL];
#pragma unroll
    for (int j = 0; j < UNROLL; j++) v[j] = __ldcs(x + where(i + j * threads));
#pragma unroll
    for (int j = 0; j < UNROLL; j++) s += total(v[j]);
  }
  for (; i < n; i += threads) s += total(__ldcs(x + where(i)));
  deliver(s, sum);
}

} // namespace patterns

// Every stride-th float, n of them, from `offset` on.
extern "C" __global__ void __launch_bounds__(512) memory_stride(const u32 *x, u64 n, u32 stride, u32 offset, u32 *sum) {
  patterns::read(x, n, sum, [=](u64 i) { return i * stride + offset; });
}

// n elements in an order without pattern: element i * odd (mod 2^bits) for i below n = 2^bits, each exactly once.
extern "C" __global__ void __launch_bounds__(512) memory_gather(const u32 *x, u64 n, u64 odd, u32 *sum) {
  patterns::read(x, n, sum, [=](u64 i) { return i * odd & (n - 1); });
}

// All n elements in order, 4, 8 or 16 bytes at a time.
extern "C" __global__ void __launch_bounds__(512) memory_read_4(const u32 *x, u64 n, u32 *sum) {
  patterns::read(x, n, sum, [](u64 i) { return i; });
}
extern "C" __global__ void __launch_bounds__(512) memory_read_8(const uint2 *x, u64 n, u32 *sum) {
  patterns::read(x, n, sum, [](u64 i) { return i; });
}
extern "C" __global__ void __launch_bounds__(512) memory_read_16(const uint4 *x, u64 n, u32 *sum) {
  patterns::read(x, n, sum, [](u64 i) { return i; });
}

// L2: all blocks read the same n words of 16 bytes, `rounds` times, past L1. n is a multiple of 4 * blockDim.x.
extern "C" __global__ void __launch_bounds__(1024) memory_l2(const uint4 *x, u64 n, int rounds, u32 *sum) {
  u32 s = 0;
  // Blocks begin at different places, so that they do not all ask for the same line at once.
  const u64 start = n / gridDim.x * blockIdx.x / (4 * blockDim.x) * (4 * blockDim.x);
  for (int r = 0; r < rounds; r++)
    for (u64 done = 0; done < n; done += 4 * blockDim.x) {
      u64 at = start + done;
      if (at >= n) at -= n;
      uint4 v[4];
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] = __ldcg(x + at + j * blockDim.x + threadIdx.x);
#pragma unroll
      for (int j = 0; j < 4; j++) s += patterns::total(v[j]);
    }
  patterns::deliver(s, sum);
}

// L1: each block reads its own 4 * blockDim.x words of 16 bytes, `rounds` times. The loads are volatile in the sense that
// the compiler may not merge rounds; the cache does not care.
extern "C" __global__ void __launch_bounds__(1024) memory_l1(const uint4 *x, int rounds, u32 *sum) {
  u32 s = 0;
  const uint4 *mine = x + (u64)blockIdx.x * 4 * blockDim.x + threadIdx.x;
  for (int r = 0; r < rounds; r++) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; j++)
      asm volatile("ld.global.ca.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v[j].x), "=r"(v[j].y), "=r"(v[j].z), "=r"(v[j].w)
                   : "l"(mine + j * blockDim.x));
#pragma unroll
    for (int j = 0; j < 4; j++) s += patterns::total(v[j]);
  }
  patterns::deliver(s, sum);
}

// Shared memory: each thread reads its own 2 words of 16 bytes, `rounds` times; at the start they become the thread's number.
extern "C" __global__ void __launch_bounds__(1024) memory_shared(int rounds, u32 *sum) {
  __shared__ uint4 own[2][1024];
  const u32 t = threadIdx.x;
  own[0][t] = own[1][t] = make_uint4(t, t, t, t);
  __syncthreads();
  u32 s = 0;
  const u32 at = shared_address(&own[0][t]);
  for (int r = 0; r < rounds; r++) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
      uint4 v;
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                   : "r"(at + j * 16 * 1024));
      s += patterns::total(v);
    }
  }
  patterns::deliver(s, sum);
}

// Latency: one thread follows `steps` links, each load after the one before. A link is the number of the next
// element. *end is where it stands at last, *clocks how long it took.
extern "C" __global__ void memory_chase(const u32 *links, int steps, int past_l1, u32 *end, u64 *clocks) {
  u32 at = 0;
  const u64 begin = clock64();
  if (past_l1)
    for (int i = 0; i < steps; i++) at = __ldcg(links + at);
  else
    for (int i = 0; i < steps; i++) at = __ldca(links + at);
  *end = at;
  *clocks = clock64() - begin;
}

// The same in shared memory, over n links, at most 12288.
extern "C" __global__ void memory_chase_shared(const u32 *links, int n, int steps, u32 *end, u64 *clocks) {
  __shared__ u32 own[12288];
  for (int i = threadIdx.x; i < n; i += blockDim.x) own[i] = links[i];
  __syncthreads();
  if (threadIdx.x != 0) return;
  u32 at = 0;
  const u64 begin = clock64();
  for (int i = 0; i < steps; i++) at = own[at];
  *end = at;
  *clocks = clock64() - begin;
}
