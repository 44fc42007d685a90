// memory.cu: what memory of each level gives, by kind of access. Streams are here, patterns of access, the
// levels of the hierarchy and their latency in patterns.cuh.
//
// Streams: each block takes tiles of UNROLL * blockDim.x * 16 bytes, one after the other across the grid; a thread has
// UNROLL independent accesses of 16 bytes in flight. Bound: memory bandwidth, with the bytes in flight
// (multiprocessors * blocks * threads * UNROLL * 16) against bandwidth * latency. Where writing counts, the grid has a block for
// every tile: the scheduler hands them out in the order of addresses, which blocks that stay drift out of.
// Counted: every byte read and every byte written once. The reading kernel adds all words up and the sum is
// compared with the host's, so that no load can be left out.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "memory_sm90.cuh"
#endif
#include "patterns.cuh"

// Hints: STREAMING is .cs; NO_L1 passes the first cache; FIRST is the first to leave L2.
enum Cache { USUAL, STREAMING, NO_L1, FIRST };

__device__ __forceinline__ u64 leave_first() {
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

template <int C> __device__ __forceinline__ uint4 get(const uint4 *p) {
  uint4 v;
  if (C == STREAMING)
    asm volatile("ld.global.cs.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  else if (C == NO_L1)
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
  else if (C == FIRST)
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p), "l"(leave_first()));
  else asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}

template <int C> __device__ __forceinline__ void put(uint4 *p, uint4 v) {
  if (C == STREAMING)
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
  else if (C == NO_L1)
    asm volatile("st.global.L1::no_allocate.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
  else if (C == FIRST)
    asm volatile("st.global.L2::cache_hint.v4.u32 [%0], {%1, %2, %3, %4}, %5;" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "l"(leave_first())
                 : "memory");
  else asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// What the tiles leave over, word by word.
#define REST(U, n) \
  u64 at = (n) / ((u64)(U)*blockDim.x) * ((u64)(U)*blockDim.x) + (u64)blockIdx.x * blockDim.x + threadIdx.x; \
  at < (n); \
  at += (u64)gridDim.x * blockDim.x

// *sum += all n words of 16 bytes, taken as four u32 each, modulo 2^32.
template <int U, int C> __device__ __forceinline__ void read(const uint4 *x, u64 n, u32 *sum) {
  u32 s = 0;
  const u64 tile = (u64)U * blockDim.x;
  for (u64 at = blockIdx.x * tile + threadIdx.x; at - threadIdx.x + tile <= n; at += gridDim.x * tile) {
    uint4 v[U];
#pragma unroll
    for (int i = 0; i < U; i++) v[i] = get<C>(x + at + i * blockDim.x);
#pragma unroll
    for (int i = 0; i < U; i++) s += v[i].x + v[i].y + v[i].z + v[i].w;
  }
  for (REST(U, n)) {
    const uint4 v = get<C>(x + at);
    s += v.x + v.y + v.z + v.w;
  }
  s = __reduce_add_sync(0xffffffff, s);
  if ((threadIdx.x & 31) == 0) atomicAdd(sum, s);
}

// All n words of 16 bytes of y become the value, plus the word's number in the first lane.
template <int U, int C> __device__ __forceinline__ void write(uint4 *y, u64 n, u32 value) {
  const u64 tile = (u64)U * blockDim.x;
  for (u64 at = blockIdx.x * tile + threadIdx.x; at - threadIdx.x + tile <= n; at += gridDim.x * tile) {
#pragma unroll
    for (int i = 0; i < U; i++) put<C>(y + at + i * blockDim.x, make_uint4(value + (u32)(at + i * blockDim.x), value, value, value));
  }
  for (REST(U, n)) put<C>(y + at, make_uint4(value + (u32)at, value, value, value));
}

template <int U, int L, int S> __device__ __forceinline__ void copy(const uint4 *x, uint4 *y, u64 n) {
  const u64 tile = (u64)U * blockDim.x;
  for (u64 at = blockIdx.x * tile + threadIdx.x; at - threadIdx.x + tile <= n; at += gridDim.x * tile) {
    uint4 v[U];
#pragma unroll
    for (int i = 0; i < U; i++) v[i] = get<L>(x + at + i * blockDim.x);
#pragma unroll
    for (int i = 0; i < U; i++) put<S>(y + at + i * blockDim.x, v[i]);
  }
  for (REST(U, n)) put<S>(y + at, get<L>(x + at));
}

// a = b + factor * c, the STREAM triad, in floats.
__device__ __forceinline__ uint4 multiply_add(uint4 b, float factor, uint4 c) {
  const float4 *p = (const float4 *)&b, *q = (const float4 *)&c;
  const float4 r = {p->x + factor * q->x, p->y + factor * q->y, p->z + factor * q->z, p->w + factor * q->w};
  return *(const uint4 *)&r;
}

template <int U, int L, int S>
__device__ __forceinline__ void triad(const uint4 *b, const uint4 *c, uint4 *a, u64 n, float factor) {
  const u64 tile = (u64)U * blockDim.x;
  for (u64 at = blockIdx.x * tile + threadIdx.x; at - threadIdx.x + tile <= n; at += gridDim.x * tile) {
    uint4 v[U], w[U];
#pragma unroll
    for (int i = 0; i < U; i++) v[i] = get<L>(b + at + i * blockDim.x), w[i] = get<L>(c + at + i * blockDim.x);
#pragma unroll
    for (int i = 0; i < U; i++) put<S>(a + at + i * blockDim.x, multiply_add(v[i], factor, w[i]));
  }
  for (REST(U, n)) put<S>(a + at, multiply_add(get<L>(b + at), factor, get<L>(c + at)));
}

#define READ(NAME, U, C, B)                                                                            \
  extern "C" __global__ void __launch_bounds__(512, B) NAME(const uint4 *x, u64 n, u32 *sum) { read<U, C>(x, n, sum); }
#define WRITE(NAME, U, C, B)                                                                           \
  extern "C" __global__ void __launch_bounds__(512, B) NAME(uint4 *y, u64 n, u32 value) { write<U, C>(y, n, value); }
#define COPY(NAME, U, L, S, B)                                                                         \
  extern "C" __global__ void __launch_bounds__(512, B) NAME(const uint4 *x, uint4 *y, u64 n) { copy<U, L, S>(x, y, n); }
#define TRIAD(NAME, U, L, S, B)                                                                        \
  extern "C" __global__ void __launch_bounds__(512, B)                                                \
      NAME(const uint4 *b, const uint4 *c, uint4 *a, u64 n, float factor) { triad<U, L, S>(b, c, a, n, factor); }

#ifdef VARIANTS // of the tuner
VARIANTS
#else
READ(memory_read, 16, NO_L1, 1)
WRITE(memory_write, 1, USUAL, 3)
COPY(memory_copy, 1, FIRST, FIRST, 3)
TRIAD(memory_triad, 1, USUAL, USUAL, 3)
#endif
