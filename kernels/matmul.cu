// matmul.cu: C = A B^T, as matmul_sm90.cuh describes it, for GPUs since Ampere: with mma.sync, and with the CUDA cores for
// contrast; and transposes. The Hopper kernels are part of the image for sm_90a.
//
// matmul_sm80_*: tensor cores by mma.sync; see matmul_sm80.cuh.
//
// matmul_fp32: the same product on the CUDA cores, a block 128 by 128, a thread 8 by 8; bound: FMA units.
//
// transpose_*: 16-bit elements, naive (reads rows, writes columns: 2 useful bytes of each 32-byte sector written at once)
// and through a tile in shared memory (both sides coalesced). Bound: memory; every byte is counted once each way.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "matmul_sm90.cuh"
#endif
#include "matmul_sm80.cuh"

#ifdef VARIANTS // of the tuner
VARIANTS
#else
// Bytes of K a stage: 4 stages of 128 fill Hopper's shared memory; with 64 they fit everywhere. The host counts them, too.
#if __CUDA_ARCH__ == 900
#define STAGE_BYTES 128
#else
#define STAGE_BYTES 64
#endif
MATMUL_SM80(matmul_sm80_bf16, bf16, 256, 128, 64, 64, STAGE_BYTES, 4, 4, 1)
MATMUL_SM80(matmul_sm80_fp16, fp16, 256, 128, 64, 64, STAGE_BYTES, 4, 4, 1)
MATMUL_SM80(matmul_sm80_tf32, tf32, 256, 128, 64, 64, STAGE_BYTES, 4, 4, 1)
MATMUL_SM80(matmul_sm80_s8, s8, 256, 128, 64, 64, STAGE_BYTES, 4, 4, 1)
#if __CUDA_ARCH__ == 890
MATMUL_SM80(matmul_sm80_e4m3, e4m3, 256, 128, 64, 64, STAGE_BYTES, 4, 4, 1)
#endif
#endif

// C = A B^T in floats on the CUDA cores.
extern "C" __global__ void __launch_bounds__(256) matmul_fp32(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float x[2][8][128 + 4], y[2][8][128 + 4];
  const int row = blockIdx.y * 128, column = blockIdx.x * 128, t = threadIdx.x;
  const int line = t >> 1, part = (t & 1) * 4; // 128 lines of 8 floats, half a line a thread
  const int i0 = t / 16 * 4, j0 = t % 16 * 4;  // this thread's rows i0.. and 64 + i0.., columns likewise
  const bool a_there = row + line < m, b_there = column + line < n;
  const float4 none = {0.0f, 0.0f, 0.0f, 0.0f};
  const float *pa = a + (u64)(row + line) * k + part, *pb = b + (u64)(column + line) * k + part;
  float4 u = a_there ? *(const float4 *)pa : none, v = b_there ? *(const float4 *)pb : none;
  float d[8][8] = {};
  int side = 0;
  for (int at = 0; at < k; at += 8) {
    x[side][part][line] = u.x, x[side][part + 1][line] = u.y, x[side][part + 2][line] = u.z, x[side][part + 3][line] = u.w;
    y[side][part][line] = v.x, y[side][part + 1][line] = v.y, y[side][part + 2][line] = v.z, y[side][part + 3][line] = v.w;
    __syncthreads();
    if (at + 8 < k) {
      if (a_there) u = *(const float4 *)(pa + at + 8);
      if (b_there) v = *(const float4 *)(pb + at + 8);
    }
#pragma unroll
    for (int l = 0; l < 8; l++) {
      float p[8], q[8];
      *(float4 *)p = *(const float4 *)&x[side][l][i0], *(float4 *)(p + 4) = *(const float4 *)&x[side][l][64 + i0];
      *(float4 *)q = *(const float4 *)&y[side][l][j0], *(float4 *)(q + 4) = *(const float4 *)&y[side][l][64 + j0];
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) d[i][j] += p[i] * q[j];
    }
    side ^= 1;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int r = row + i / 4 * 64 + i0 + i % 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int q = column + 64 * h + j0;
      if (r < m && q < n) *(float4 *)(c + (u64)r * n + q) = *(float4 *)&d[i][4 * h];
    }
  }
}

// out[column][row] = in[row][column], 16-bit elements; blocks of 32 by 8 threads.
extern "C" __global__ void transpose_naive(const unsigned short *in, unsigned short *out, int rows, int columns) {
  const int c = blockIdx.x * 32 + threadIdx.x;
  for (int i = 0; i < 32; i += 8) {
    const int r = blockIdx.y * 32 + threadIdx.y + i;
    if (r < rows && c < columns) out[(u64)c * rows + r] = in[(u64)r * columns + c];
  }
}

// The same, a tile of 64 by 64 through shared memory, two elements a thread at once; rows and columns are even.
extern "C" __global__ void transpose_tiled(const unsigned short *in, unsigned short *out, int rows, int columns) {
  __shared__ unsigned short tile[64][66]; // 33 words a row: columns fall on different banks
  const int c = blockIdx.x * 64 + 2 * threadIdx.x, r = blockIdx.y * 64;
#pragma unroll
  for (int i = threadIdx.y; i < 64; i += 8)
    if (r + i < rows && c < columns) *(u32 *)&tile[i][2 * threadIdx.x] = *(const u32 *)&in[(u64)(r + i) * columns + c];
  __syncthreads();
  const int to_r = r + 2 * threadIdx.x;
#pragma unroll
  for (int i = threadIdx.y; i < 64; i += 8) {
    const int to_c = blockIdx.x * 64 + i;
    if (to_c < columns && to_r < rows)
      *(u32 *)&out[(u64)to_c * rows + to_r] = tile[2 * threadIdx.x][i] | (u32)tile[2 * threadIdx.x + 1][i] << 16;
  }
}
