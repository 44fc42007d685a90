// memory_sm90.cuh: streams through the bulk copies of Hopper's TMA unit: one thread a block moves everything, in chunks
// that pass through a ring in shared memory. Bytes in flight: chunk * stages * blocks.
#pragma once
#include "sm90.cuh"

__device__ __forceinline__ void bulk_load(u32 to, const char *from, u32 bytes, u32 bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(bar)
               : "memory");
}
__device__ __forceinline__ void bulk_store(char *to, u32 from, u32 bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes) : "memory");
}

// The same with a policy for L2.
__device__ __forceinline__ void bulk_load(u32 to, const char *from, u32 bytes, u32 bar, u64 policy) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(to),
               "l"(from), "r"(bytes), "r"(bar), "l"(policy)
               : "memory");
}
__device__ __forceinline__ void bulk_store(char *to, u32 from, u32 bytes, u64 policy) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%0], [%1], %2, %3;" ::"l"(to), "r"(from), "r"(bytes), "l"(policy)
               : "memory");
}

namespace bulk {

// y = x, n bytes, a multiple of the chunk.
template <int CHUNK, int STAGES> __device__ __forceinline__ void copy(const char *x, char *y, u64 n) {
  extern __shared__ char raw[];
  const u32 ring = (shared_address(raw) + 127) & ~127u, full = ring + CHUNK * STAGES;
  if (threadIdx.x != 0) return;
  for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1);
  barrier_init_fence();
  fence_for_tma();
  const u64 chunks = n / CHUNK;
  // Loads run STAGES / 2 chunks ahead, and as many stores may still read their buffers.
  const int ahead = STAGES / 2;
  u64 next = blockIdx.x;
  int in = 0, out = 0;
  u32 parity = 0;
  for (int i = 0; i < ahead && next < chunks; i++, next += gridDim.x) {
    barrier_expect(full + 8 * in, CHUNK);
    bulk_load(ring + in * CHUNK, x + next * CHUNK, CHUNK, full + 8 * in);
    if (++in == STAGES) in = 0;
  }
  for (u64 at = blockIdx.x; at < chunks; at += gridDim.x) {
    barrier_wait(full + 8 * out, parity);
    bulk_store(y + at * CHUNK, ring + out * CHUNK, CHUNK);
    store_commit();
    if (++out == STAGES) out = 0, parity ^= 1;
    if (next < chunks) {
      store_wait_read<STAGES - STAGES / 2>(); // the buffer that comes next was stored that many chunks ago
      barrier_expect(full + 8 * in, CHUNK);
      bulk_load(ring + in * CHUNK, x + next * CHUNK, CHUNK, full + 8 * in);
      if (++in == STAGES) in = 0;
      next += gridDim.x;
    }
  }
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

// The same with many blocks, of which each copies up to STAGES chunks: all loads at once, a store when its load is there.
template <int CHUNK, int STAGES, bool FIRST> __device__ __forceinline__ void copy_once(const char *x, char *y, u64 n) {
  extern __shared__ char raw[];
  const u32 ring = (shared_address(raw) + 127) & ~127u, full = ring + CHUNK * STAGES;
  const u64 first = (u64)blockIdx.x * CHUNK * STAGES;
  if (threadIdx.x != 0 || first >= n) return;
  const int chunks = (int)min((u64)STAGES, (n - first) / CHUNK);
  u64 policy = 0;
  if (FIRST) asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#pragma unroll
  for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1);
  barrier_init_fence();
  fence_for_tma();
#pragma unroll
  for (int i = 0; i < STAGES; i++)
    if (i < chunks) {
      barrier_expect(full + 8 * i, CHUNK);
      if (FIRST) bulk_load(ring + i * CHUNK, x + first + i * CHUNK, CHUNK, full + 8 * i, policy);
      else bulk_load(ring + i * CHUNK, x + first + i * CHUNK, CHUNK, full + 8 * i);
    }
#pragma unroll
  for (int i = 0; i < STAGES; i++)
    if (i < chunks) {
      barrier_wait(full + 8 * i, 0);
      if (FIRST) bulk_store(y + first + i * CHUNK, ring + i * CHUNK, CHUNK, policy);
      else bulk_store(y + first + i * CHUNK, ring + i * CHUNK, CHUNK);
      store_commit();
    }
  store_wait_read<0>();
}

} // namespace bulk

#define COPY_BULK(NAME, CHUNK, STAGES)                                                                     \
  extern "C" __global__ void __launch_bounds__(32) NAME(const char *x, char *y, u64 n) { bulk::copy<CHUNK, STAGES>(x, y, n); }

#define COPY_ONCE(NAME, CHUNK, STAGES, FIRST)                                                                  \
  extern "C" __global__ void __launch_bounds__(32) NAME(const char *x, char *y, u64 n) { bulk::copy_once<CHUNK, STAGES, FIRST>(x, y, n); }

#ifdef VARIANTS_SM90 // of the tuner
VARIANTS_SM90
#else
COPY_BULK(memory_sm90_copy, 16384, 8)
#endif
