// matmul_sm90.cuh: C = A B^T at the tensor cores' ceiling on Hopper. A is M by K, B is N by K, both with K along the
// rows (what a linear layer computes from activations and weights); C is M by N. M, N and K are any multiples of 16.
//
// Bound: the tensor cores, 2 M N K operations; below the datasheet's rate it is the board's power. Bytes at least
// (M K + N K + M N) elements, each once. Nothing can be optimised away: every product is stored.
//
// One persistent block a multiprocessor. Warpgroup 0 loads with TMA, the others multiply:
//  - a stage is 128 bytes of K of a tile of A (BM rows) and of B (BN rows), swizzled; STAGES of them circulate between the
//    barriers `full` (bytes have come) and `empty` (every warpgroup that reads it is done);
//  - the blocks of a cluster are neighbours along M (CM) or N (CN) and share what they have in common by multicast, so
//    that each tile is read from L2 once a cluster;
//  - sums stay in registers (BN/2 a thread for each 64 rows); at the end of a tile they pass through a
//    small swizzled buffer, 128 bytes of columns at a time, to a TMA store, which runs behind the next tile's loads.
// What is done when is data: cluster c takes entry c, c + clusters, and so on, of a list. The host chooses a path along which what is in use
// together fits in L2, and cuts tiles along K where the last round would leave multiprocessors without work.
#pragma once
#include "wgmma.cuh"

// What C holds, by the type of A and B: 16 bits for 16-bit types and fp8 (bf16), else 32 bits.
template <typename T> struct Out { typedef void narrow; static const int bytes = 4; };
template <> struct Out<bf16> { typedef bf16 narrow; static const int bytes = 2; };
template <> struct Out<fp16> { typedef fp16 narrow; static const int bytes = 2; };
template <> struct Out<e4m3> { typedef bf16 narrow; static const int bytes = 2; };
template <typename T> struct Element { static const int bytes = 2; };
template <> struct Element<e4m3> { static const int bytes = 1; };
template <> struct Element<s8> { static const int bytes = 1; };
template <> struct Element<tf32> { static const int bytes = 4; };

// Writes one row's share of 128 bytes of columns, from d, into the swizzled buffer: 64 rows of 128 bytes.
template <typename T, int Bytes> struct Staging;
template <typename T> struct Staging<T, 2> {
  static __device__ __forceinline__ void write(u32 buffer, const float *d, int warp, int lane) {
    const int row = 16 * warp + (lane & 15);
#pragma unroll
    for (int j = 0; j < 8; j += 2) { // 8 columns each
      const u32 to = buffer + row * 128 + (((j + (lane >> 4)) ^ (row & 7)) << 4);
      store_matrix(to, pack(d[4 * j], d[4 * j + 1], T()), pack(d[4 * j + 2], d[4 * j + 3], T()),
                   pack(d[4 * j + 4], d[4 * j + 5], T()), pack(d[4 * j + 6], d[4 * j + 7], T()));
    }
  }
};
template <typename T> struct Staging<T, 4> {
  template <typename S>
  static __device__ __forceinline__ void write(u32 buffer, const S *d, int warp, int lane) {
    const int row = 16 * warp + (lane >> 2);
#pragma unroll
    for (int j = 0; j < 4; j++) { // 8 columns, two of 16 bytes, each
      const int place = (((2 * j + ((lane & 3) >> 1)) ^ (row & 7)) << 4) + 8 * (lane & 1);
      const u32 to = buffer + row * 128 + place;
      put(to, d[4 * j], d[4 * j + 1]);
      put(to + 8 * 128, d[4 * j + 2], d[4 * j + 3]);
    }
  }
  static __device__ __forceinline__ void put(u32 to, float a, float b) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(a), "f"(b) : "memory");
  }
  static __device__ __forceinline__ void put(u32 to, int a, int b) {
    asm volatile("st.shared.v2.s32 [%0], {%1, %2};" ::"r"(to), "r"(a), "r"(b) : "memory");
  }
};

// What a cluster does: steps begin to end of a tile's K; none at all if they are the same. Sums of a part that is not the tile's beginning are
// left at place give - 1 of the scratch memory; who does the beginning adds those of places take to taken to its own, and stores.
struct alignas(16) Work {
  unsigned short column, row, begin, end;
  u32 give;
  unsigned short take, taken;
};

template <typename S> struct alignas(16) Four { S a, b, c, d; };

template <typename T, int BM, int BN, int WG, int STAGES, int CM, int CN> struct Matmul {
  static const int ROWS = BM / WG;           // of C, a warpgroup
  static const int MI = ROWS / 64;           // wgmmas side by side
  static const int BK = 128 / Element<T>::bytes;
  static const int A_BYTES = BM * 128, B_BYTES = BN * 128, STAGE = A_BYTES + B_BYTES;
  static const int CHUNK = 128 / Out<T>::bytes; // columns that pass through a buffer at once
  static const int BUFFER = 64 * 128;
  static const int THREADS = 128 * (WG + 1);
  // What the launch asks for: stages, two buffers a warpgroup, barriers, and up to 1024 bytes to align.
  static const int SHARED = STAGES * STAGE + WG * 2 * BUFFER + 2 * STAGES * 8 + 1024;
  // Registers: 64 Ki a multiprocessor.
  static const int LOADER_REGS = WG == 2 ? 40 : 32, MATH_REGS = WG == 2 ? 232 : WG == 1 ? 256 - 8 : 160;
  typedef typename T::sum Sum;

  static __device__ __forceinline__ Work work(const Work *list, int t) {
    const uint4 w = __ldg((const uint4 *)list + t);
    return {(unsigned short)w.x, (unsigned short)(w.x >> 16), (unsigned short)w.y, (unsigned short)(w.y >> 16), w.z,
            (unsigned short)w.w, (unsigned short)(w.w >> 16)};
  }

  // Sums of a warpgroup in scratch memory: 16 bytes a thread side by side, then a flag.
  static const int PLACE = ROWS * BN * 4 + 128;

  static __device__ __forceinline__ void leave(char *place, const Sum *d, int group, int thread) {
    typedef Four<Sum> F;
#pragma unroll
    for (int i = 0; i < MI * BN / 8; i++) ((F *)place)[i * 128 + thread] = {d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]};
    named_sync(1 + group, 128);
    if (thread == 0) flag_set((u32 *)(place + PLACE - 128), 1);
  }

  static __device__ __forceinline__ void take(char *place, Sum *d, int group, int thread) {
    typedef Four<Sum> F;
    if (thread == 0) {
      while (flag_get((u32 *)(place + PLACE - 128)) == 0) __nanosleep(64);
      *(volatile u32 *)(place + PLACE - 128) = 0; // for the next launch
    }
    named_sync(1 + group, 128);
    const int count = MI * BN / 8, at_once = 16;
#pragma unroll
    for (int i = 0; i < count; i += at_once) {
      F f[at_once];
#pragma unroll
      for (int j = 0; j < at_once; j++)
        if (i + j < count) f[j] = ((const F *)place)[(i + j) * 128 + thread];
#pragma unroll
      for (int j = 0; j < at_once; j++) {
        Sum *e = d + 4 * (i + j);
        if (i + j < count) e[0] += f[j].a, e[1] += f[j].b, e[2] += f[j].c, e[3] += f[j].d;
      }
    }
  }

  static __device__ __forceinline__ void load(const TensorMap *a, const TensorMap *b, u32 stages, u32 full, u32 empty,
                                              const Work *list, int length, u32 rank, int cluster, int clusters) {
    const int mi = rank % CM, ni = rank / CM;
    unsigned short to_a = 0, to_b = 0;
#pragma unroll
    for (int i = 0; i < CN; i++) to_a |= 1 << (mi + CM * i);
#pragma unroll
    for (int i = 0; i < CM; i++) to_b |= 1 << (i + CM * ni);
    int stage = 0;
    u32 parity = 1; // the first round finds every stage empty
    for (int t = cluster; t < length; t += clusters) {
      const Work w = work(list, t);
      const int row = (w.row * CM + mi) * BM, column = (w.column * CN + ni) * BN;
      for (int k = w.begin; k < w.end; k++) {
        barrier_wait(empty + 8 * stage, parity);
        const u32 bar = full + 8 * stage, to = stages + stage * STAGE;
        barrier_expect(bar, STAGE);
        if (CN == 1) load_2d(to, a, bar, k * BK, row);
        else load_2d_multicast(to + ni * (A_BYTES / CN), a, bar, k * BK, row + ni * (BM / CN), to_a);
        if (CM == 1) load_2d(to + A_BYTES, b, bar, k * BK, column);
        else load_2d_multicast(to + A_BYTES + mi * (B_BYTES / CM), b, bar, k * BK, column + mi * (BN / CM), to_b);
        if (++stage == STAGES) stage = 0, parity ^= 1;
      }
    }
  }

  static __device__ __forceinline__ void multiply(const TensorMap *c, u32 stages, u32 buffers, u32 full, u32 empty,
                                                  const Work *list, int length, char *scratch, u32 rank, int cluster,
                                                  int clusters, int group) {
    const int mi = rank % CM, ni = rank / CM;
    const int thread = threadIdx.x & 127, warp = thread >> 5, lane = thread & 31;
    const u32 both = 2 * (buffers + group * 2 * BUFFER) + BUFFER; // the sum of the two buffers' addresses
    int stage = 0;
    u32 parity = 0, buffer = buffers + group * 2 * BUFFER;
    Sum d[MI][BN / 2];
    for (int t = cluster; t < length; t += clusters) {
      const Work w = work(list, t);
      if (w.begin == w.end) continue;
      int before = stage;
      for (int k = w.begin; k < w.end; k++) {
        barrier_wait(full + 8 * stage, parity);
        const u64 a = descriptor(stages + stage * STAGE + group * ROWS * 128);
        const u64 b = descriptor(stages + stage * STAGE + A_BYTES);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < 4; i++) // 32 bytes of K
#pragma unroll
          for (int m = 0; m < MI; m++)
            Wgmma<T, BN>::run(d[m], a + 2 * i + m * (64 * 128 >> 4), b + 2 * i, i > 0 ? 1 : k - w.begin);
        wgmma_commit();
        if (k > w.begin) {
          wgmma_wait<1>();
          if (thread < CM * CN) barrier_arrive_at(empty + 8 * before, thread);
        }
        before = stage;
        if (++stage == STAGES) stage = 0, parity ^= 1;
      }
      wgmma_wait<0>();
      if (thread < CM * CN) barrier_arrive_at(empty + 8 * before, thread);

      if (w.give) {
        leave(scratch + (((w.give - 1) * CM * CN + rank) * WG + group) * (u64)PLACE, d[0], group, thread);
        continue;
      }
      for (int i = w.take; i < w.taken; i++) take(scratch + ((i * CM * CN + rank) * WG + group) * (u64)PLACE, d[0], group, thread);
      const int row = (w.row * CM + mi) * BM + group * ROWS, column = (w.column * CN + ni) * BN;
#pragma unroll
      for (int m = 0; m < MI; m++) {
#pragma unroll
        for (int i = 0; i < BN / CHUNK; i++) {
          if (thread == 0) store_wait_read<1>();
          named_sync(1 + group, 128);
          Staging<typename Out<T>::narrow, Out<T>::bytes>::write(buffer, d[m] + i * (CHUNK / 2), warp, lane);
          fence_for_tma();
          named_sync(1 + group, 128);
          if (thread == 0) {
            store_2d(c, buffer, column + i * CHUNK, row + 64 * m);
            store_commit();
          }
          buffer = both - buffer;
        }
      }
    }
    if (thread == 0) store_wait_read<0>(); // shared memory must outlive the stores
    __syncwarp();
  }

  static __device__ __forceinline__ void run(const TensorMap *a, const TensorMap *b, const TensorMap *c,
                                             const Work *list, int length, char *scratch) {
    extern __shared__ char raw[];
    const u32 stages = (shared_address(raw) + 1023) & ~1023u; // the swizzle counts from 1024 bytes
    const u32 buffers = stages + STAGES * STAGE, full = buffers + WG * 2 * BUFFER, empty = full + 8 * STAGES;
    const u32 rank = CM * CN > 1 ? cluster_rank() : 0;
    const int cluster = blockIdx.x / (CM * CN), clusters = gridDim.x / (CM * CN);
    if (threadIdx.x == 0) {
      prefetch_map(a), prefetch_map(b), prefetch_map(c);
      for (int i = 0; i < STAGES; i++) {
        barrier_init(full + 8 * i, 1);
        barrier_init(empty + 8 * i, WG * CM * CN);
      }
      barrier_init_fence();
    }
    if (CM * CN > 1) cluster_sync();
    else __syncthreads();

    // The same in all lanes, and the compiler is told so.
    const int group = __shfl_sync(0xffffffff, threadIdx.x >> 7, 0);
    if (group == 0) {
      registers_down<LOADER_REGS>();
      if (threadIdx.x == 0) load(a, b, stages, full, empty, list, length, rank, cluster, clusters);
      __syncwarp();
    } else {
      registers_up<MATH_REGS>();
      multiply(c, stages, buffers, full, empty, list, length, scratch, rank, cluster, clusters, group - 1);
    }
    // A block must stay while others of its cluster may still arrive at its barriers.
    if (CM * CN > 1) cluster_sync();
  }
};

#define CLUSTER(CM, CN) __cluster_dims__((CM) * (CN), 1, 1)
#define MATMUL(NAME, T, BM, BN, WG, STAGES, CM, CN)                                                         \
  extern "C" __global__ void CLUSTER(CM, CN) __launch_bounds__(128 * ((WG) + 1), 1)                         \
      NAME(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,                        \
           const __grid_constant__ TensorMap c, const Work *list, int length, char *scratch) {              \
    Matmul<T, BM, BN, WG, STAGES, CM, CN>::run(&a, &b, &c, list, length, scratch);                          \
  }

#ifdef VARIANTS_SM90 // of the tuner
VARIANTS_SM90
#else
MATMUL(matmul_sm90_bf16, bf16, 128, 256, 2, 4, 2, 1)
MATMUL(matmul_sm90_fp16, fp16, 128, 256, 2, 4, 2, 1)
MATMUL(matmul_sm90_e4m3, e4m3, 128, 256, 2, 4, 2, 1)
MATMUL(matmul_sm90_tf32, tf32, 128, 256, 2, 4, 2, 1)
MATMUL(matmul_sm90_s8, s8, 128, 256, 2, 4, 2, 1)
#endif
