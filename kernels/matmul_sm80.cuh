// matmul_sm80.cuh: C = A B^T by mma.sync, K along the rows of both. A block computes 128 by 256 of C with 8 warps of 64 by 64. 64 bytes of K of both
// operands are a stage; cp.async fills STAGES of them ahead, ldmatrix reads them, and 16-byte pieces are swizzled so that neither
// meets a bank conflict. All types take the same path, since fragments are the same in bytes: 32 bytes of K an instruction.
// Bound: the tensor cores; on Hopper mma.sync reaches about five eighths of what wgmma does.
#pragma once
#include "sm80.cuh"

namespace sm80 {

// One row's pair of neighbouring sums to C.
__device__ __forceinline__ void store(char *c, u64 at, float a, float b, tf32) { *(float2 *)(c + 4 * at) = make_float2(a, b); }
__device__ __forceinline__ void store(char *c, u64 at, int a, int b, s8) { *(int2 *)(c + 4 * at) = make_int2(a, b); }
template <typename T> __device__ __forceinline__ void store(char *c, u64 at, float a, float b, T t) {
  *(u32 *)(c + 2 * at) = pack(a, b, t);
}

static const int BM = 128, BN = 256, STAGES = 4, GROUP = 8;
static const int STAGE = (BM + BN) * 64; // bytes; the launch asks for STAGES of them

// Where the 16-byte piece `piece` (0..3) of a row of 64 bytes lies.
__device__ __forceinline__ u32 place(int row, int piece) { return row * 64 + ((piece ^ (row >> 1 & 3)) << 4); }

template <typename T> __device__ __forceinline__ void load(u32 stage, const char *a, const char *b, int m, int n, int row, int column,
                                                           u64 bytes, u64 at) {
#pragma unroll
  for (int i = 0; i < (BM + BN) * 4 / 256; i++) {
    const int piece = threadIdx.x & 3, r = i * 64 + (threadIdx.x >> 2);
    const bool is_a = i < BM / 64;
    const int line = is_a ? row + r : column + r - BM;
    const bool there = line < (is_a ? m : n) && at + 16 * piece < bytes;
    copy_async(stage + place(r, piece), there ? (is_a ? a : b) + line * bytes + at + 16 * piece : a, there);
  }
  copy_commit();
}

// k is in bytes here: what a row of A and B takes.
template <typename T> __device__ __forceinline__ void matmul(const char *a, const char *b, char *c, int m, int n, u64 bytes) {
  extern __shared__ char raw[];
  const u32 stages = shared_address(raw);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  // Groups of GROUP rows of tiles, columns inside: neighbours share operands in L2.
  const int rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
  const int first = blockIdx.x / (GROUP * columns) * GROUP, high = min(GROUP, rows - first);
  const int inside = blockIdx.x - first * columns;
  const int row = (first + inside % high) * BM, column = inside / high * BN;
  const int my_row = warp / 4 * 64, my_column = warp % 4 * 64;

  typename T::sum d[4][8][4] = {};
  const int steps = (int)((bytes + 63) / 64);
#pragma unroll
  for (int i = 0; i < STAGES - 1; i++) load<T>(stages + i * STAGE, a, b, m, n, row, column, bytes, 64ull * i);
  // Lane l's row and half of the matrices that one ldmatrix loads.
  const int a_row = my_row + (lane & 15), a_piece = lane >> 4;
  const int b_row = BM + my_column + (lane & 7) + (lane >> 4 & 1) * 8, b_piece = lane >> 3 & 1;
  u32 stage = 0, fill = STAGES - 1;
  for (int k = 0; k < steps; k++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    load<T>(stages + fill * STAGE, a, b, m, n, row, column, bytes, 64ull * (k + STAGES - 1));
    if (++fill == STAGES) fill = 0;
    const u32 from = stages + stage * STAGE;
    if (++stage == STAGES) stage = 0;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 x[4][4], y[4][4];
#pragma unroll
      for (int i = 0; i < 4; i++) load_matrix(x[i], from + place(a_row + 16 * i, a_piece + 2 * half));
#pragma unroll
      for (int j = 0; j < 4; j++) load_matrix(y[j], from + place(b_row + 16 * j, b_piece + 2 * half));
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) Mma<T>::run(d[i][j], x[i], &y[j / 2][j % 2 * 2]);
    }
  }
  copy_wait<0>();
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int r = row + my_row + 16 * i + 8 * h + (lane >> 2), q = column + my_column + 8 * j + 2 * (lane & 3);
        if (r < m && q < n) store(c, (u64)r * n + q, d[i][j][2 * h], d[i][j][2 * h + 1], T());
      }
}

} // namespace sm80
