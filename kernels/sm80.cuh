// sm80.cuh: what the kernels for GPUs since Ampere share: asynchronous copies, matrix loads and mma.sync.
#pragma once
#include "types.cuh"

// mma<T>::run(d, a, b): d += a * b, 16 by 8, with 32 bytes of K along the rows of both. In bytes, fragments are the
// same for all types: a[0..3] are rows lane/4 and 8 + lane/4 of the first 16 bytes, then of the next; b[0..1] are column
// lane/4, first and next 16 bytes; d[0..1] are row lane/4, columns 2 (lane%4) and one more, d[2..3] the row eight below.
template <typename T> struct Mma;
#define MMA(T, SHAPE, C)                                                                             \
  template <> struct Mma<T> {                                                                        \
    static __device__ __forceinline__ void run(T::sum *d, const u32 *a, const u32 *b) {              \
      asm volatile("mma.sync.aligned." SHAPE                                                         \
                   " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                \
                   : "+" C(d[0]), "+" C(d[1]), "+" C(d[2]), "+" C(d[3])                              \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));              \
    }                                                                                                \
  };
MMA(bf16, "m16n8k16.row.col.f32.bf16.bf16.f32", "f")
MMA(fp16, "m16n8k16.row.col.f32.f16.f16.f32", "f")
MMA(tf32, "m16n8k8.row.col.f32.tf32.tf32.f32", "f")
MMA(s8, "m16n8k32.row.col.s32.s8.s8.s32", "r")
#if __CUDA_ARCH__ == 890 // newer ones convert to 16 bits first
MMA(e4m3, "m16n8k32.row.col.f32.e4m3.e4m3.f32", "f")
#endif

// Four 8 by 8 matrices of 16-bit elements; lane l gives the address of row l%8 of matrix l/8.
__device__ __forceinline__ void load_matrix(u32 *d, u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(from)
               : "memory");
}

// The same, each matrix transposed.
__device__ __forceinline__ void load_matrix_across(u32 *d, u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(from)
               : "memory");
}

// Copies 16 bytes, or zeroes where `there` is false; L2 fetches the whole line.
__device__ __forceinline__ void copy_async(u32 to, const void *from, bool there) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
