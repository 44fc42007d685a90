// matmul_sm80.cuh: C = A B^T by mma.sync, K along the rows of both. A block computes BM by BN of C, a warp 64 by 64 of it. KB bytes of K of
// both operands are a stage; cp.async fills STAGES of them ahead, ldmatrix reads them, and 16-byte pieces are swizzled so that neither
// meets a bank conflict. The fragments of the next 32 bytes of K are read while the products of the current ones run. All types take
// the same path, since fragments are the same in bytes: 32 bytes of K an instruction.
// Bound: the tensor cores; on Hopper mma.sync reaches about five eighths of what wgmma does. A warp of 64 by 64 reads 4 bytes of shared memory
// for 128 operations, so that reading takes 60 % of the time of the products there.
#pragma once
#include "sm80.cuh"

namespace sm80 {

// Two neighbouring columns of 8 each: this thread's pair of both, at `at` and 8 further on. C's floats and integers go as they are;
// 16-bit ones are exchanged with the thread beside, so that a row of the warp writes whole sectors.
template <typename S> struct alignas(8) Two { S a, b; };
template <typename S> __device__ __forceinline__ void store_wide(char *c, u64 at, bool there, bool next_there, const S *d, const S *e) {
  if (there) *(Two<S> *)(c + 4 * at) = {d[0], d[1]};
  if (next_there) *(Two<S> *)(c + 4 * (at + 8)) = {e[0], e[1]};
}
template <typename T>
__device__ __forceinline__ void store(char *c, u64 at, bool there, bool next_there, const float *d, const float *e, T t) {
  const u32 x = pack(d[0], d[1], t), y = pack(e[0], e[1], t);
  const bool odd = threadIdx.x & 1;
  const u32 z = __shfl_xor_sync(0xffffffff, odd ? x : y, 1);
  if (odd ? next_there : there) *(uint2 *)(c + 2 * (odd ? at + 6 : at)) = odd ? make_uint2(z, y) : make_uint2(x, z);
}
__device__ __forceinline__ void store(char *c, u64 at, bool there, bool next_there, const float *d, const float *e, tf32) {
  store_wide(c, at, there, next_there, d, e);
}
__device__ __forceinline__ void store(char *c, u64 at, bool there, bool next_there, const int *d, const int *e, s8) {
  store_wide(c, at, there, next_there, d, e);
}

template <typename T, int BM, int BN, int KB, int STAGES, int GROUP> struct Matmul {
  static const int WARPS = BM * BN / 4096, THREADS = 32 * WARPS, STAGE = (BM + BN) * KB, SHARED = STAGES * STAGE;
  static const int PIECES = KB / 16, LINES = THREADS / PIECES; // lines that all threads copy at once
  static const int COPIES = (BM + BN) / LINES, PARTS = KB / 32; // a thread's and stage's
  static_assert(BM % LINES == 0 && BN % LINES == 0, "a copy is of A or of B");

  // Where the 16-byte piece `piece` of a row of KB bytes lies.
  static __device__ __forceinline__ u32 place(int row, int piece) {
    return row * KB + ((piece ^ (KB == 64 ? row >> 1 & 3 : row & 7)) << 4);
  }

  struct Source { // what this thread copies
    const char *a, *b;         // the tile's first rows, from this thread's piece on
    u32 offset[COPIES], place; // rows from there on, the last of the matrix instead of what is below it
    u64 end;                   // of a row, seen from this thread's piece
  };

  static __device__ __forceinline__ void copy(const Source &s, u32 stage, u64 at, int i) {
    const bool there = at < s.end;
    copy_async(stage + s.place + i * LINES * KB, (i < BM / LINES ? s.a : s.b) + (there ? at : 0) + s.offset[i], there);
  }

  struct Fragments { u32 a[4][4], b[4][4]; };

  // k is in bytes here: what a row of A and B takes.
  static __device__ __forceinline__ void run(const char *a, const char *b, char *c, int m, int n, u64 bytes) {
    extern __shared__ __align__(128) char ring[];
    const u32 stages = shared_address(ring);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    // Groups of GROUP rows of tiles, columns inside: neighbours share operands in L2.
    const int rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
    const int first = blockIdx.x / (GROUP * columns) * GROUP, high = min(GROUP, rows - first);
    const int inside = blockIdx.x - first * columns;
    const int row = (first + inside % high) * BM, column = inside / high * BN;
    const int my_row = warp / (BN / 64) * 64, my_column = warp % (BN / 64) * 64;

    Source s;
    const int piece = threadIdx.x % PIECES, line = threadIdx.x / PIECES;
    s.a = a + row * bytes + 16 * piece, s.b = b + column * bytes + 16 * piece;
    s.place = place(line, piece);
    s.end = bytes > 16 * piece ? bytes - 16 * piece : 0;
#pragma unroll
    for (int i = 0; i < COPIES; i++)
      s.offset[i] = (u32)bytes * (i < BM / LINES ? min(line + i * LINES, m - 1 - row) : min(line + i * LINES - BM, n - 1 - column));

    typename T::sum d[4][8][4] = {};
    const int steps = (int)((bytes + KB - 1) / KB);
#pragma unroll
    for (int j = 0; j < STAGES - 1; j++) {
#pragma unroll
      for (int i = 0; i < COPIES; i++) copy(s, stages + j * STAGE, (u64)KB * j, i);
      copy_commit();
    }
    // Lane l's row and half of the matrices that one ldmatrix loads. A further 32 bytes of K are a bit of the address.
    const u32 a_at = place(my_row + (lane & 15), lane >> 4);
    const u32 b_at = place(BM + my_column + (lane & 7) + (lane >> 4 & 1) * 8, lane >> 3 & 1);
    Fragments f[2];
    copy_wait<STAGES - 2>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      load_matrix(f[0].a[i], stages + a_at + i * 16 * KB);
      load_matrix(f[0].b[i], stages + b_at + i * 16 * KB);
    }
    u32 stage = stages, fill = stages + (STAGES - 1) * STAGE;
    u64 at = (u64)KB * (STAGES - 1);
    for (int k = 0; k < steps; k++) {
      const u32 next = stage + STAGE == stages + SHARED ? stages : stage + STAGE;
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
        const bool last = part == PARTS - 1;
        if (last) { // the next stage must be there, and all must be done with the one before this
          copy_commit();
          copy_wait<STAGES - 2>();
          __syncthreads();
        }
        const Fragments &now = f[part & 1];
        Fragments &then = f[(part + 1) & 1];
        const u32 more = (part + 1) % PARTS << 5;
        const u32 from_a = ((last ? next : stage) + a_at) ^ more;
        const u32 from_b = ((last ? next : stage) + b_at) ^ more;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          load_matrix(then.a[i], from_a + i * 16 * KB);
          load_matrix(then.b[i], from_b + i * 16 * KB);
          // The stage that is filled is the one before this; its copies are dealt out among the parts but the last.
          if (!last)
#pragma unroll
            for (int j = 0; j < COPIES; j++)
              if (j * 4 * (PARTS - 1) / COPIES == part * 4 + i) copy(s, fill, at, j);
#pragma unroll
          for (int j = 0; j < 8; j++) {
            const int q = i & 1 ? 7 - j : j;
            Mma<T>::run(d[i][q], now.a[i], &now.b[q / 2][q % 2 * 2]);
          }
        }
      }
      fill = stage, stage = next, at += KB;
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 8; j += 2)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int r = row + my_row + 16 * i + 8 * h + (lane >> 2), q = column + my_column + 8 * j + 2 * (lane & 3);
          store(c, (u64)r * n + q, r < m && q < n, r < m && q + 8 < n, d[i][j] + 2 * h, d[i][j + 1] + 2 * h, T());
        }
  }
};

} // namespace sm80

#define MATMUL_SM80(NAME, T, BM, BN, KB, STAGES, GROUP, BLOCKS)                                                       \
  extern "C" __global__ void __launch_bounds__((BM) * (BN) / 128, BLOCKS)                                      \
      NAME(const char *a, const char *b, char *c, int m, int n, u64 bytes) {                                          \
    sm80::Matmul<T, BM, BN, KB, STAGES, GROUP>::run(a, b, c, m, n, bytes);                                            \
  }
