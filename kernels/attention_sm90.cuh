// attention_sm90.cuh: O = softmax(scale Q K^T) V on Hopper without the matrix of scores in memory; forward only. 16-bit
// types, head dimension D 64 or 128, causal or full, several query heads to one key head. Tensors are given by 4-D
// tensor maps (element, position, head, batch), so any strides do.
//
// Bound: the tensor cores, 4 B H S S' D operations, half of it when causal (FlashAttention's count); the exponentials cost
// half as much time at D = 128 and as much at D = 64 (16 a clock a multiprocessor), so they must run beside the products.
//
// One persistent block a multiprocessor takes tiles of 64 WG queries from `order` (query tile | head << 12 | batch << 22): entries blockIdx.x,
// blockIdx.x + gridDim.x, and so on, until one is NOTHING. The host deals them out so that all blocks end together and the
// keys in use together fit in L2.
// Warpgroup 0 loads; each other one owns 64 queries:
//  - within a warpgroup, the scores of the next keys are issued before the product of the current P with V, and the
//    exponentials of the next scores run while that product does;
//  - between warpgroups, a token goes round: who holds it issues its two products, then passes it on, so that one's
//    exponentials run while another's products do;
//  - P goes from registers into the product with V as it came out of the product with K: the layouts are the same.
// Keys are walked from the last to the first, so that the masked ones come first.
#pragma once
#include "wgmma.cuh"

struct Shape {
  int queries, keys, group; // positions, positions, query heads a key head
  float scale;              // of the scores, times log2(e)
};

template <typename T, int D, int N, int WG, bool CAUSAL, bool OWN_O, bool LAZY> struct Attention {
  static const int M = 64 * WG, PARTS = D / 64; // rows of 128 bytes are 64 elements
  static const int Q_BYTES = M * D * 2, KV_BYTES = N * D * 2, STAGES = 2;
  static const int O_BYTES = OWN_O ? Q_BYTES : 0;
  static const int SHARED = Q_BYTES + O_BYTES + 2 * STAGES * KV_BYTES + 10 * 8 + 1024;
  static const int LOADER_REGS = WG == 2 ? 24 : 32, MATH_REGS = WG == 2 ? 240 : 160;
  static const u32 NOTHING = 0xffffffff; // ends a block's list
  static const int TOKEN = 1 + WG; // named barriers: 1.. of a warpgroup each, TOKEN.. of the token

  struct Places { // in shared memory
    u32 q, o, k, v, q_full, q_empty, k_full, k_empty, v_full, v_empty;
  };

  static __device__ __forceinline__ int blocks(const Shape &s, int first_query) {
    int keys = s.keys;
    if (CAUSAL) keys = min(keys, first_query + M + s.keys - s.queries);
    return (keys + N - 1) / N;
  }

  static __device__ __forceinline__ void load_block(u32 to, u32 full, u32 empty, u32 parity, const TensorMap *map, int at,
                                                    int head, int batch) {
    barrier_wait(empty, parity);
    barrier_expect(full, KV_BYTES);
#pragma unroll
    for (int p = 0; p < PARTS; p++) load_4d(to + p * N * 128, map, full, 64 * p, at, head, batch);
  }

  static __device__ __forceinline__ void load(const Places &at, const TensorMap *q, const TensorMap *k, const TensorMap *v,
                                              const Shape &s, const u32 *order, int tiles) {
    int ks = 0, vs = 0;
    u32 kp = 1, vp = 1, qp = 1;
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
      const u32 where = __ldg(order + t);
      if (where == NOTHING) break;
      const int first = (where & 0xfff) * M, head = where >> 12 & 0x3ff, batch = where >> 22;
      const int kv_head = head / s.group;
      const int n = blocks(s, first);
      barrier_wait(at.q_empty, qp);
      qp ^= 1;
      barrier_expect(at.q_full, Q_BYTES);
#pragma unroll
      for (int p = 0; p < PARTS; p++) load_4d(at.q + p * M * 128, q, at.q_full, 64 * p, first, head, batch);
      for (int j = n; j >= 0; j--) { // keys of block j - 1, values of block j
        if (j > 0) {
          load_block(at.k + ks * KV_BYTES, at.k_full + 8 * ks, at.k_empty + 8 * ks, kp, k, (j - 1) * N, kv_head, batch);
          if (++ks == STAGES) ks = 0, kp ^= 1;
        }
        if (j < n) {
          load_block(at.v + vs * KV_BYTES, at.v_full + 8 * vs, at.v_empty + 8 * vs, vp, v, j * N, kv_head, batch);
          if (++vs == STAGES) vs = 0, vp ^= 1;
        }
      }
    }
  }

  static __device__ __forceinline__ void scores(float *s, u32 q, u32 k) {
    const u64 a = descriptor(q), b = descriptor(k);
#pragma unroll
    for (int i = 0; i < D / 16; i++)
      Wgmma<T, N>::run(s, a + (i / 4) * (M * 128 >> 4) + 2 * (i % 4), b + (i / 4) * (N * 128 >> 4) + 2 * (i % 4), i > 0);
  }

  static __device__ __forceinline__ void values(float *o, const u32 *p, u32 v, int add) {
    const u64 b = descriptor(v, N * 128);
#pragma unroll
    for (int i = 0; i < N / 16; i++) WgmmaRows<T, D>::run(o, p + 4 * i, b + i * (16 * 128 >> 4), i > 0 ? 1 : add);
  }

  // Scores outside of the tensor or after the query become -infinity.
  static __device__ __forceinline__ void mask(float *s, const Shape &shape, int first_key, int row, int lane) {
    int limit[2] = {shape.keys, shape.keys};
    if (CAUSAL) {
      limit[0] = min(limit[0], row + 1 + shape.keys - shape.queries);
      limit[1] = min(limit[1], row + 9 + shape.keys - shape.queries);
    }
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
      const int key = first_key + 8 * (i / 4) + 2 * (lane & 3) + (i & 1);
      if (key >= limit[i >> 1 & 1]) s[i] = minus_infinity();
    }
  }

  // Turns scores into exponentials; keeps the maxima and this thread's part of the sums; gives the factors by which
  // what was added up so far shrinks.
  static __device__ __forceinline__ void softmax(float *s, float *maximum, float *sum, float *shrink, float scale) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float top = maximum[r];
#pragma unroll
      for (int i = 0; i < N / 2; i += 4) top = fmaxf(top, fmaxf(s[i + 2 * r], s[i + 2 * r + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
      // A row that has seen no key yet: exponentials of -infinity, not of infinity minus infinity.
      const float base = top == minus_infinity() ? 0.0f : top * scale;
      shrink[r] = exp2_fast(maximum[r] * scale - base);
      maximum[r] = top;
      float part = 0.0f;
#pragma unroll
      for (int i = 0; i < N / 2; i += 4) {
        s[i + 2 * r] = exp2_fast(s[i + 2 * r] * scale - base);
        s[i + 2 * r + 1] = exp2_fast(s[i + 2 * r + 1] * scale - base);
        part += s[i + 2 * r] + s[i + 2 * r + 1];
      }
      sum[r] = sum[r] * shrink[r] + part;
    }
  }

  static __device__ __forceinline__ void to_16_bits(u32 *p, const float *s) {
#pragma unroll
    for (int i = 0; i < N / 4; i++) p[i] = pack(s[2 * i], s[2 * i + 1], T());
  }

  static __device__ __forceinline__ void compute(const Places &at, const TensorMap *out, const Shape &shape,
                                                 const u32 *order, int tiles, int group) {
    const int thread = threadIdx.x & 127, warp = thread >> 5, lane = thread & 31;
    const bool leader = thread == 0;
    const u32 my_q = at.q + group * 64 * 128, my_o = at.o + group * 64 * 128;
    int ks = 0, vs = 0;
    u32 kp = 0, vp = 0, qp = 0;
    if (group == WG - 1) named_arrive(TOKEN, 256); // the first warpgroup begins
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
      const u32 where = __ldg(order + t);
      if (where == NOTHING) break;
      const int first = (where & 0xfff) * M, head = where >> 12 & 0x3ff, batch = where >> 22;
      const int row = first + group * 64 + 16 * warp + (lane >> 2);
      const int n = blocks(shape, first);
      // From this block on, all keys count for all of this warpgroup's queries.
      const int plain = CAUSAL ? min(shape.keys, first + group * 64 + 1 + shape.keys - shape.queries) / N : shape.keys / N;

      float o[D / 2], s[N / 2], maximum[2] = {minus_infinity(), minus_infinity()};
      float sum[2] = {0.0f, 0.0f}, shrink[2];
      u32 p[N / 4];

      barrier_wait(at.q_full, qp);
      barrier_wait(at.k_full + 8 * ks, kp);
      wgmma_fence();
      scores(s, my_q, at.k + ks * KV_BYTES);
      wgmma_commit();
      wgmma_wait<0>();
      if (leader) barrier_arrive(at.k_empty + 8 * ks);
      if (++ks == STAGES) ks = 0, kp ^= 1;
      if (n - 1 >= plain) mask(s, shape, (n - 1) * N, row, lane);
      softmax(s, maximum, sum, shrink, shape.scale);
      to_16_bits(p, s);

      int add = 0;
      if (n > 1) barrier_wait(at.k_full + 8 * ks, kp);
      for (int j = n - 2; j >= 0; j--) {
        named_sync(TOKEN + group, 256);
        wgmma_fence();
        scores(s, my_q, at.k + ks * KV_BYTES);
        wgmma_commit();
        barrier_wait(at.v_full + 8 * vs, vp);
        values(o, p, at.v + vs * KV_BYTES, add);
        wgmma_commit();
        named_arrive(TOKEN + (group + 1) % WG, 256);
        wgmma_wait<1>();
        if (leader) barrier_arrive(at.k_empty + 8 * ks);
        if (++ks == STAGES) ks = 0, kp ^= 1;
        if (j >= plain) mask(s, shape, j * N, row, lane);
        softmax(s, maximum, sum, shrink, shape.scale);
        // The next keys are awaited here because a loop is what the assembler does not move the exponentials over: without
        // it they all come after the wait for the product, which they are meant to overlap.
        if (j > 0) barrier_wait(at.k_full + 8 * ks, kp);
        wgmma_wait<0>();
        if (leader) barrier_arrive(at.v_empty + 8 * vs);
        if (++vs == STAGES) vs = 0, vp ^= 1;
        // Not before the wait: with two sets of P in turn the assembler serialises the products (C7513).
        to_16_bits(p, s);
        if (!LAZY || __any_sync(0xffffffff, shrink[0] < 1.0f || shrink[1] < 1.0f))
#pragma unroll
          for (int i = 0; i < D / 2; i++) o[i] *= shrink[i >> 1 & 1];
        add = 1;
      }
      if (OWN_O && leader) barrier_arrive(at.q_empty);
      barrier_wait(at.v_full + 8 * vs, vp);
      wgmma_fence();
      values(o, p, at.v + vs * KV_BYTES, add);
      wgmma_commit();
      qp ^= 1;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
        sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
        sum[r] = 1.0f / sum[r];
      }
      wgmma_wait<0>();
      if (leader) barrier_arrive(at.v_empty + 8 * vs);
      if (++vs == STAGES) vs = 0, vp ^= 1;

      if (OWN_O) { // the last tile's output must have left
        if (leader) store_wait_read<0>();
        named_sync(1 + group, 128);
      }
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
        const int r = 16 * warp + (lane & 15);
        const float *d = o + 32 * part;
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
          const u32 to = my_o + part * M * 128 + r * 128 + (((j + (lane >> 4)) ^ (r & 7)) << 4);
          store_matrix(to, pack(d[4 * j] * sum[0], d[4 * j + 1] * sum[0], T()),
                       pack(d[4 * j + 2] * sum[1], d[4 * j + 3] * sum[1], T()),
                       pack(d[4 * j + 4] * sum[0], d[4 * j + 5] * sum[0], T()),
                       pack(d[4 * j + 6] * sum[1], d[4 * j + 7] * sum[1], T()));
        }
      }
      fence_for_tma();
      named_sync(1 + group, 128);
      if (leader) {
#pragma unroll
        for (int part = 0; part < PARTS; part++)
          store_4d(out, my_o + part * M * 128, 64 * part, first + group * 64, head, batch);
        store_commit();
        if (!OWN_O) {
          store_wait_read<0>();
          barrier_arrive(at.q_empty);
        }
      }
    }
    if (leader) store_wait_read<0>();
    __syncwarp();
  }

  static __device__ __forceinline__ void run(const TensorMap *q, const TensorMap *k, const TensorMap *v,
                                             const TensorMap *out, const Shape &shape, const u32 *order, int tiles) {
    extern __shared__ char raw[];
    Places at;
    at.q = (shared_address(raw) + 1023) & ~1023u;
    at.k = at.q + Q_BYTES;
    at.v = at.k + STAGES * KV_BYTES;
    at.o = OWN_O ? at.v + STAGES * KV_BYTES : at.q;
    at.q_full = at.v + STAGES * KV_BYTES + O_BYTES;
    at.q_empty = at.q_full + 8, at.k_full = at.q_full + 16, at.k_empty = at.q_full + 32;
    at.v_full = at.q_full + 48, at.v_empty = at.q_full + 64;
    if (threadIdx.x == 0) {
      prefetch_map(q), prefetch_map(k), prefetch_map(v), prefetch_map(out);
      barrier_init(at.q_full, 1), barrier_init(at.q_empty, WG);
      for (int i = 0; i < STAGES; i++) {
        barrier_init(at.k_full + 8 * i, 1), barrier_init(at.k_empty + 8 * i, WG);
        barrier_init(at.v_full + 8 * i, 1), barrier_init(at.v_empty + 8 * i, WG);
      }
      barrier_init_fence();
    }
    __syncthreads();
    const int group = __shfl_sync(0xffffffff, threadIdx.x >> 7, 0);
    if (group == 0) {
      registers_down<LOADER_REGS>();
      if (threadIdx.x == 0) load(at, q, k, v, shape, order, tiles);
    } else {
      registers_up<MATH_REGS>();
      compute(at, out, shape, order, tiles, group - 1);
    }
  }
};

#define ATTENTION(NAME, T, D, N, WG, CAUSAL, OWN_O, LAZY)                                                         \
  extern "C" __global__ void __launch_bounds__(128 * ((WG) + 1), 1)                                         \
      NAME(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,                        \
           const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap out, const Shape shape,   \
           const u32 *order, int tiles) {                                                                   \
    Attention<T, D, N, WG, CAUSAL, OWN_O, LAZY>::run(&q, &k, &v, &out, shape, order, tiles);                      \
  }

#ifdef VARIANTS_SM90 // of the tuner
VARIANTS_SM90
#else
ATTENTION(attention_sm90_bf16_128, bf16, 128, 192, 2, false, false, false)
ATTENTION(attention_sm90_bf16_128_causal, bf16, 128, 128, 2, true, true, true)
ATTENTION(attention_sm90_bf16_64, bf16, 64, 128, 3, false, true, false)
ATTENTION(attention_sm90_bf16_64_causal, bf16, 64, 128, 3, true, true, false)
#endif
