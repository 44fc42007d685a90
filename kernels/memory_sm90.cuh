// memory_sm90.cuh: copying through the bulk copies of Hopper's TMA unit: one thread a block moves a chunk into shared memory and out
// again. Bytes in flight: a chunk for each block that fits on a multiprocessor.
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


namespace bulk {

// y = x, n bytes, a multiple of the chunk; a block a chunk.
template <int CHUNK> __device__ __forceinline__ void copy(const char *x, char *y, u64 n) {
  extern __shared__ char raw[];
  const u32 at = (shared_address(raw) + 127) & ~127u, full = at + CHUNK;
  const u64 from = (u64)blockIdx.x * CHUNK;
  if (threadIdx.x != 0 || from >= n) return;
  barrier_init(full, 1);
  barrier_init_fence();
  fence_for_tma();
  barrier_expect(full, CHUNK);
  bulk_load(at, x + from, CHUNK, full);
  barrier_wait(full, 0);
  bulk_store(y + from, at, CHUNK);
  store_commit();
  store_wait_read<0>(); // shared memory must outlive the store
}

} // namespace bulk

#define COPY_BULK(NAME, CHUNK)                                                                             \
  extern "C" __global__ void __launch_bounds__(32) NAME(const char *x, char *y, u64 n) { bulk::copy<CHUNK>(x, y, n); }

#ifdef VARIANTS_SM90 // of the tuner
VARIANTS_SM90
#else
COPY_BULK(memory_sm90_copy, 32768)
#endif
