// matmul_sm80.cuh: C = A B^T by mma.sync, K along the rows of both. A block computes BM by BN of C, a warp WM by WN of it. KB bytes of K of
// both operands are a stage; cp.async fills STAGES of them ahead, ldmatrix reads them, and 16-byte pieces are swizzled so that neither
// meets a bank conflict. The fragments of the next 32 bytes of K are read between the products of the current ones. All types take
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

template <typename T, int BM, int BN, int WM, int WN, int KB, int STAGES, int GROUP> struct Matmul {
  static const int ACROSS = BN / WN, THREADS = 32 * (BM / WM) * ACROSS, STAGE = (BM + BN) * KB, SHARED = STAGES * STAGE;
  static const int I = WM / 16, J = WN / 16;                    // pieces of a warp's rows and columns
  static const int PIECES = KB / 16, LINES = THREADS / PIECES;  // lines that all threads copy at once
  static const int COPIES = (BM + BN) / LINES, PARTS = KB / 32; // a thread's and stage's
  static const bool TWO = I * J <= 16;                          // there are registers for two sets of fragments
  static_assert(BM % LINES == 0 && BN % LINES == 0, "a copy is of A or of B");

  // Where the 16-byte piece `piece` of a row of KB bytes lies.
  static __device__ __forceinline__ u32 place(int row, int piece) {
    return row * KB + ((piece ^ (KB == 64 ? row >> 1 & 3 : row & 7)) << 4);
  }

  struct Source { // what this thread copies
    const char *a, *b;         // the tile's first rows
    u32 offset[COPIES], place; // from there to this thread's pieces; of the matrix's last row instead of what is below it
    u32 bytes, end;            // of a row; the same seen from this thread's piece
    int line, rows, columns;   // the first line; the last ones that there are of A and B in the tile
  };

  static __device__ __forceinline__ u32 offset(const Source &s, int i) {
    const int line = i < BM / LINES ? min(s.line + i * LINES, s.rows) : min(s.line + i * LINES - BM, s.columns);
    return s.bytes * (u32)line + threadIdx.x % PIECES * 16;
  }

  static __device__ __forceinline__ void copy(const Source &s, u32 stage, u32 at, int i) {
    const bool there = at < s.end;
    const u32 from = (there ? at : 0) + (TWO ? s.offset[i] : offset(s, i));
    copy_async(stage + s.place + i * LINES * KB, (i < BM / LINES ? s.a : s.b) + from, there);
  }

  struct Fragments { u32 a[I][4], b[J][4]; };

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
    const int my_row = warp / ACROSS * WM, my_column = warp % ACROSS * WN;

    Source s;
    const int piece = threadIdx.x % PIECES, line = threadIdx.x / PIECES;
    s.a = a + row * bytes, s.b = b + column * bytes;
    s.place = place(line, piece), s.line = line;
    s.bytes = (u32)bytes, s.end = max((int)s.bytes - 16 * piece, 0);
    s.rows = m - 1 - row, s.columns = n - 1 - column;
#pragma unroll
    for (int i = 0; i < COPIES; i++) s.offset[i] = offset(s, i);

    typename T::sum d[I][2 * J][4] = {};
    const int steps = (int)((bytes + KB - 1) / KB);
#pragma unroll
    for (int j = 0; j < STAGES - 1; j++) {
#pragma unroll
      for (int i = 0; i < COPIES; i++) copy(s, stages + j * STAGE, KB * j, i);
      copy_commit();
    }
    // Lane l's row and half of the matrices that one ldmatrix loads. A further 32 bytes of K are a bit of the address.
    const u32 a_at = place(my_row + (lane & 15), lane >> 4);
    const u32 b_at = place(BM + my_column + (lane & 7) + (lane >> 4 & 1) * 8, lane >> 3 & 1);
    Fragments f[TWO ? 2 : 1];
    copy_wait<STAGES - 2>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < I; i++) load_matrix(f[0].a[i], stages + a_at + i * 16 * KB);
#pragma unroll
    for (int j = 0; j < J; j++) load_matrix(f[0].b[j], stages + b_at + j * 16 * KB);
    u32 stage = stages, fill = stages + (STAGES - 1) * STAGE;
    u32 at = KB * (STAGES - 1);
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
        const u32 more = (part + 1) % PARTS << 5;
        const u32 from_a = ((last ? next : stage) + a_at) ^ more, from_b = ((last ? next : stage) + b_at) ^ more;
        Fragments &now = f[TWO ? part & 1 : 0], &then = f[TWO ? (part + 1) & 1 : 0];
#pragma unroll
        for (int i = 0; i < I; i++) {
          if (TWO) { // the next part's fragments go beside these
            load_matrix(then.a[i], from_a + i * 16 * KB);
#pragma unroll
            for (int j = i * J / I; j < (i + 1) * J / I; j++) load_matrix(then.b[j], from_b + j * 16 * KB);
          }
          // The stage that is filled is the one before this; its copies are dealt out among the parts but the last.
          if (!last)
#pragma unroll
            for (int j = 0; j < COPIES; j++)
              if (j * I * (PARTS - 1) / COPIES == part * I + i) copy(s, fill, at, j);
#pragma unroll
          for (int j = 0; j < 2 * J; j++) {
            const int q = TWO && (i & 1) ? 2 * J - 1 - j : j;
            Mma<T>::run(d[i][q], now.a[i], &now.b[q / 2][q % 2 * 2]);
            // With one set, a fragment is read anew when its last product has been issued.
            if (!TWO && i == I - 1 && (j & 1)) load_matrix(now.b[j / 2], from_b + j / 2 * 16 * KB);
          }
          if (!TWO) load_matrix(now.a[i], from_a + i * 16 * KB);
        }
      }
      fill = stage, stage = next, at += KB;
    }
    copy_wait<0>();
#pragma unroll
    for (int i = 0; i < I; i++)
#pragma unroll
      for (int j = 0; j < 2 * J; j += 2)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int r = row + my_row + 16 * i + 8 * h + (lane >> 2), q = column + my_column + 8 * j + 2 * (lane & 3);
          store(c, (u64)r * n + q, r < m && q < n, r < m && q + 8 < n, d[i][j] + 2 * h, d[i][j + 1] + 2 * h, T());
        }
  }
};

} // namespace sm80

#define MATMUL_SM80(NAME, T, BM, BN, WM, WN, KB, STAGES, GROUP, BLOCKS)                                               \
  extern "C" __global__ void __launch_bounds__(32 * ((BM) / (WM)) * ((BN) / (WN)), BLOCKS)                            \
      NAME(const char *a, const char *b, char *c, int m, int n, u64 bytes) {                                          \
    sm80::Matmul<T, BM, BN, WM, WN, KB, STAGES, GROUP>::run(a, b, c, m, n, bytes);                                    \
  }
