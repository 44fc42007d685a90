// attention.cu: O = softmax(scale Q K^T) V forward, for GPUs since Ampere; the Hopper kernels (attention_sm90.cuh) are part
// of the image for sm_90a. Tensors lie as batch, head, position, element. 16-bit elements, D = 64 or 128.
//
// naive: the products through memory, as written down: attention_product computes S = Q K^T and O = P (V^T)^T by
// mma.sync, attention_softmax works in place. Scratch: 2 B H S S' bytes, which is its bound: 3 passes over S.
// flash (attention_sm80_*): a block owns 128 queries, 4 warps of 32; keys come 32 or 64 at a time through two buffers. Scratch
// none. Bound: the tensor cores through mma.sync, 4 B H S S' D operations, half when causal.
// decode: one query a sequence against a long cache of keys and values. Bound: reading the cache, 4 D bytes a key and key head.
// The query heads of a key head are the rows of one product (16, the rest zero); the keys are split among blocks and among
// warps, each warp streaming 16 keys at a time through a ring of its own; partial results are merged by their
// maxima and sums, within a block in shared memory and between blocks by attention_merge.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "attention_sm90.cuh"
#endif
#include "matmul_sm80.cuh"

// ---- naive ---------------------------------------------------------------------------------

// Heads lie one after the other: blockIdx.y is the head of a and c, and `group` of them share one of b.
extern "C" __global__ void __launch_bounds__(256, 1)
    attention_product(const char *a, const char *b, char *c, int m, int n, u64 bytes, int group) {
  sm80::Matmul<bf16, 256, 128, 64, 64, 64, 4, 4>::run(a + blockIdx.y * m * bytes, b + blockIdx.y / group * n * bytes, c + 2ull * blockIdx.y * m * n, m, n, bytes);
}

// Rows of `keys` scores become probabilities. A block a row: blockIdx.x the query, blockIdx.y the head.
extern "C" __global__ void __launch_bounds__(256)
    attention_softmax(unsigned short *scores, int queries, int keys, int causal, float scale) {
  __shared__ float across[8];
  unsigned short *row = scores + ((u64)blockIdx.y * queries + blockIdx.x) * keys;
  const int limit = causal ? min(keys, (int)blockIdx.x + 1 + keys - queries) : keys;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float top = minus_infinity();
  for (int i = threadIdx.x; i < limit; i += 256) top = fmaxf(top, __int_as_float((u32)row[i] << 16));
#pragma unroll
  for (int o = 16; o > 0; o /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, o));
  if (lane == 0) across[warp] = top;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 8; i++) top = fmaxf(top, across[i]);
  __syncthreads();
  float sum = 0.0f;
  for (int i = threadIdx.x; i < limit; i += 256) sum += exp2_fast((__int_as_float((u32)row[i] << 16) - top) * scale);
#pragma unroll
  for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(0xffffffff, sum, o);
  if (lane == 0) across[warp] = sum;
  __syncthreads();
  sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; i++) sum += across[i];
  const float factor = 1.0f / sum;
  for (int i = threadIdx.x; i < keys; i += 256) {
    const float p = i < limit ? exp2_fast((__int_as_float((u32)row[i] << 16) - top) * scale) * factor : 0.0f;
    row[i] = (unsigned short)pack(p, 0.0f, bf16());
  }
}

// ---- flash and decode: what they share --------------------------------------------------------

namespace sm80 {

// Where a 16-byte piece of a row of D elements lies.
template <int D> __device__ __forceinline__ u32 piece_at(int row, int piece) { return row * (2 * D) + ((piece ^ (row & 7)) << 4); }

// What a thread keeps of 16 rows: two rows' maxima and parts of sums, and the outputs.
template <int D> struct Rows {
  float maximum[2], sum[2], o[D / 8][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < 2; r++) maximum[r] = minus_infinity(), sum[r] = 0.0f;
#pragma unroll
    for (int i = 0; i < D / 8; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) o[i][j] = 0.0f;
  }

  // Takes N columns of scores in; they become probabilities relative to the maxima, as fragments in p.
  template <int N> __device__ __forceinline__ void take(float (*s)[4], u32 *p, float scale) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float top = maximum[r];
#pragma unroll
      for (int i = 0; i < N / 8; i++) top = fmaxf(top, fmaxf(s[i][2 * r], s[i][2 * r + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
      const float base = top == minus_infinity() ? 0.0f : top * scale;
      const float shrink = exp2_fast(maximum[r] * scale - base);
      maximum[r] = top;
      sum[r] *= shrink;
#pragma unroll
      for (int i = 0; i < D / 8; i++) o[i][2 * r] *= shrink, o[i][2 * r + 1] *= shrink;
#pragma unroll
      for (int i = 0; i < N / 8; i++) {
        s[i][2 * r] = exp2_fast(s[i][2 * r] * scale - base), s[i][2 * r + 1] = exp2_fast(s[i][2 * r + 1] * scale - base);
        sum[r] += s[i][2 * r] + s[i][2 * r + 1];
      }
    }
#pragma unroll
    for (int i = 0; i < N / 8; i++)
      p[2 * i] = pack(s[i][0], s[i][1], bf16()), p[2 * i + 1] = pack(s[i][2], s[i][3], bf16());
  }

  // o += p times 16 keys' values, which lie row by row at `values`.
  __device__ __forceinline__ void add(const u32 *p, u32 values, int first, int lane) {
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
      u32 v[4];
      load_matrix_across(v, values + piece_at<D>(first + (lane & 15), 2 * i + (lane >> 4)));
      Mma<bf16>::run(o[2 * i], p, v);
      Mma<bf16>::run(o[2 * i + 1], p, v + 2);
    }
  }

  __device__ __forceinline__ void finish_sums() {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
    }
  }
};

template <int D, bool CAUSAL>
__device__ __forceinline__ void flash(const unsigned short *q, const unsigned short *k, const unsigned short *v, unsigned short *out,
                                      int queries, int keys, int group, float scale) {
  extern __shared__ char raw[];
  static const int M = 128, N = D == 128 ? 32 : 64; // more keys by 128 would spill
  const u32 sq = shared_address(raw), sk = sq + M * D * 2, sv = sk + 2 * N * D * 2;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int first = (int)(CAUSAL ? gridDim.x - 1 - blockIdx.x : blockIdx.x) * M, head = blockIdx.y; // the longest first
  q += (u64)head * queries * D, out += (u64)head * queries * D;
  k += (u64)(head / group) * keys * D, v += (u64)(head / group) * keys * D;
  const int limit = CAUSAL ? min(keys, first + M + keys - queries) : keys, blocks = (limit + N - 1) / N;

  const int pieces = D / 8; // of 16 bytes, a row
  for (int i = threadIdx.x; i < M * pieces; i += 128)
    copy_async(sq + piece_at<D>(i / pieces, i % pieces), q + (u64)min(first + i / pieces, queries - 1) * D + i % pieces * 8, first + i / pieces < queries);
  auto load = [&](int j) {
    if (j < blocks)
      for (int i = threadIdx.x; i < N * pieces; i += 128) {
        const int row = j * N + i / pieces;
        const u64 from = (u64)min(row, keys - 1) * D + i % pieces * 8;
        copy_async(sk + (j & 1) * N * D * 2 + piece_at<D>(i / pieces, i % pieces), k + from, row < keys);
        copy_async(sv + (j & 1) * N * D * 2 + piece_at<D>(i / pieces, i % pieces), v + from, row < keys);
      }
    copy_commit();
  };
  load(0);
  Rows<D> rows[2];
  rows[0].clear(), rows[1].clear();
  for (int j = 0; j < blocks; j++) {
    load(j + 1);
    copy_wait<1>();
    __syncthreads();
    const u32 keys_at = sk + (j & 1) * N * D * 2, values_at = sv + (j & 1) * N * D * 2;
    float s[2][N / 8][4] = {};
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
      u32 x[2][4];
#pragma unroll
      for (int h = 0; h < 2; h++) load_matrix(x[h], sq + piece_at<D>(warp * 32 + 16 * h + (lane & 15), 2 * i + (lane >> 4)));
#pragma unroll
      for (int n = 0; n < N / 16; n++) {
        u32 y[4];
        load_matrix(y, keys_at + piece_at<D>(16 * n + (lane & 7) + (lane >> 4 & 1) * 8, 2 * i + (lane >> 3 & 1)));
#pragma unroll
        for (int h = 0; h < 2; h++) Mma<bf16>::run(s[h][2 * n], x[h], y), Mma<bf16>::run(s[h][2 * n + 1], x[h], y + 2);
      }
    }
    const bool partial = (j + 1) * N > keys || (CAUSAL && (j + 1) * N > first + warp * 32 + 1 + keys - queries);
    u32 p[2][N / 4];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      if (partial)
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
          const int key = j * N + 8 * (i / 4) + 2 * (lane & 3) + (i & 1);
          const int query = first + warp * 32 + 16 * h + (lane >> 2) + 8 * (i >> 1 & 1);
          if (key >= keys || (CAUSAL && key > query + keys - queries)) s[h][i / 4][i & 3] = minus_infinity();
        }
      rows[h].template take<N>(s[h], p[h], scale);
    }
#pragma unroll
    for (int n = 0; n < N / 16; n++)
#pragma unroll
      for (int h = 0; h < 2; h++) rows[h].add(p[h] + 4 * n, values_at, 16 * n, lane);
    __syncthreads();
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    rows[h].finish_sums();
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int query = first + warp * 32 + 16 * h + (lane >> 2) + 8 * r;
      const float factor = 1.0f / rows[h].sum[r];
      if (query < queries)
#pragma unroll
        for (int i = 0; i < D / 8; i++)
          *(u32 *)(out + (u64)query * D + 8 * i + 2 * (lane & 3)) =
              pack(rows[h].o[i][2 * r] * factor, rows[h].o[i][2 * r + 1] * factor, bf16());
    }
  }
}

// Blocks: key heads of all sequences, times splits. Each block has 4 warps; q and out have `group` (at most 16) rows of D
// a key head. With one split the result goes to out, else unfinished rows go to parts and (maximum * scale, sum) to ends.
template <int D>
__device__ __forceinline__ void decode(const unsigned short *q, const unsigned short *k, const unsigned short *v, unsigned short *out,
                                       float *parts, float2 *ends, int keys, int group, int splits, float scale) {
  extern __shared__ char raw[];
  static const int STAGES = 3, WARPS = 4, STAGE = 2 * 16 * D * 2;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, head = blockIdx.x / splits, split = blockIdx.x % splits;
  const u32 ring = shared_address(raw) + warp * STAGES * STAGE;
  k += (u64)head * keys * D, v += (u64)head * keys * D;
  // In blocks of 64 keys, 16 a warp.
  const int blocks = (keys + 63) / 64, begin = (int)((u64)blocks * split / splits), end = (int)((u64)blocks * (split + 1) / splits);

  u32 x[D / 16][4];
#pragma unroll
  for (int i = 0; i < D / 16; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int row = (lane >> 2) + 8 * (j & 1), column = 16 * i + 8 * (j >> 1) + 2 * (lane & 3);
      x[i][j] = row < group ? *(const u32 *)(q + ((u64)head * group + row) * D + column) : 0;
    }
  auto load = [&](int j) {
    const u32 to = ring + (j - begin) % STAGES * STAGE;
    const int row0 = j * 64 + warp * 16;
    if (j < end)
#pragma unroll
      for (int i = lane; i < 16 * (D / 8); i += 32) {
        const int row = row0 + i / (D / 8);
        const u64 from = (u64)min(row, keys - 1) * D + i % (D / 8) * 8;
        copy_async(to + piece_at<D>(i / (D / 8), i % (D / 8)), k + from, row < keys);
        copy_async(to + STAGE / 2 + piece_at<D>(i / (D / 8), i % (D / 8)), v + from, row < keys);
      }
    copy_commit();
  };
  for (int j = 0; j < STAGES - 1; j++) load(begin + j);
  Rows<D> rows;
  rows.clear();
  for (int j = begin; j < end; j++) {
    load(j + STAGES - 1);
    copy_wait<STAGES - 1>();
    __syncwarp();
    const u32 at = ring + (j - begin) % STAGES * STAGE;
    float s[2][4] = {};
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
      u32 y[4];
      load_matrix(y, at + piece_at<D>((lane & 7) + (lane >> 4 & 1) * 8, 2 * i + (lane >> 3 & 1)));
      Mma<bf16>::run(s[0], x[i], y), Mma<bf16>::run(s[1], x[i], y + 2);
    }
    if (j * 64 + 64 > keys)
#pragma unroll
      for (int i = 0; i < 8; i++)
        if (j * 64 + warp * 16 + 8 * (i / 4) + 2 * (lane & 3) + (i & 1) >= keys) s[i / 4][i & 3] = minus_infinity();
    u32 p[4];
    rows.template take<16>(s, p, scale);
    rows.add(p, at + STAGE / 2, 0, lane);
    __syncwarp(); // before the next load writes where others may still read
  }
  copy_wait<0>();
  rows.finish_sums();

  // The warps' results meet in shared memory: maxima and sums first, then the rows, scaled to the common maximum.
  __syncthreads();
  float *o = (float *)raw, *high = o + WARPS * 16 * D, *sums = high + WARPS * 16;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int row = (lane >> 2) + 8 * r;
#pragma unroll
    for (int i = 0; i < D / 8; i++)
      *(float2 *)(o + (warp * 16 + row) * D + 8 * i + 2 * (lane & 3)) = make_float2(rows.o[i][2 * r], rows.o[i][2 * r + 1]);
    if ((lane & 3) == 0) high[warp * 16 + row] = rows.maximum[r] * scale, sums[warp * 16 + row] = rows.sum[r];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * D; i += 32 * WARPS) {
    const int row = i / D;
    float top = minus_infinity(), sum = 0.0f, value = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, high[w * 16 + row]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float factor = top == minus_infinity() ? 0.0f : exp2_fast(high[w * 16 + row] - top);
      sum += sums[w * 16 + row] * factor, value += o[w * 16 * D + i] * factor;
    }
    if (splits == 1) {
      out[(u64)head * group * D + i] = (unsigned short)pack(value / sum, 0.0f, bf16());
    } else {
      parts[(u64)blockIdx.x * group * D + i] = value;
      if (i % D == 0) ends[(u64)blockIdx.x * group + row] = make_float2(top, sum);
    }
  }
}

} // namespace sm80

#define FLASH(NAME, D, CAUSAL)                                                                                     \
  extern "C" __global__ void __launch_bounds__(128)                                                                \
      NAME(const unsigned short *q, const unsigned short *k, const unsigned short *v, unsigned short *out, int queries, int keys, \
           int group, float scale) {                                                                               \
    sm80::flash<D, CAUSAL>(q, k, v, out, queries, keys, group, scale);                                             \
  }
FLASH(attention_sm80_64, 64, false)
FLASH(attention_sm80_64_causal, 64, true)
FLASH(attention_sm80_128, 128, false)
FLASH(attention_sm80_128_causal, 128, true)

#define DECODE(NAME, D)                                                                                            \
  extern "C" __global__ void __launch_bounds__(128)                                                                \
      NAME(const unsigned short *q, const unsigned short *k, const unsigned short *v, unsigned short *out, float *parts, \
           float2 *ends, int keys, int group, int splits, float scale) {                                           \
    sm80::decode<D>(q, k, v, out, parts, ends, keys, group, splits, scale);                                        \
  }
DECODE(attention_decode_64, 64)
DECODE(attention_decode_128, 128)

// Merges the splits of one query head: a block each of D threads, blockIdx.x the key head, blockIdx.y the row of its group.
extern "C" __global__ void attention_merge(const float *parts, const float2 *ends, unsigned short *out, int splits) {
  const int group = gridDim.y, row = blockIdx.y, d = blockDim.x;
  float top = minus_infinity(), sum = 0.0f, value = 0.0f;
  for (int s = 0; s < splits; s++) top = fmaxf(top, ends[((u64)blockIdx.x * splits + s) * group + row].x);
  for (int s = 0; s < splits; s++) {
    const u64 at = ((u64)blockIdx.x * splits + s) * group + row;
    const float factor = exp2_fast(ends[at].x - top);
    sum += ends[at].y * factor, value += parts[at * d + threadIdx.x] * factor;
  }
  out[((u64)blockIdx.x * group + row) * d + threadIdx.x] = (unsigned short)pack(value / sum, 0.0f, bf16());
}
