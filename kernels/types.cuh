// types.cuh: the element types of the matrix kernels, as tags, and how sums become elements.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

// `sum` is what products add up to.
struct bf16 { typedef float sum; };
struct fp16 { typedef float sum; };
struct e4m3 { typedef float sum; }; // results are bf16
struct tf32 { typedef float sum; }; // stored as float
struct s8 { typedef int sum; };     // results are 32-bit integers

// Two sums as two 16-bit elements, the first one in the lower half.
__device__ __forceinline__ u32 pack(float low, float high, bf16) {
  u32 out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
__device__ __forceinline__ u32 pack(float low, float high, fp16) {
  u32 out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
__device__ __forceinline__ u32 pack(float low, float high, e4m3) { return pack(low, high, bf16()); }

// The address that PTX uses for shared memory.
__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// 2 to the power of x, by the special function unit; volatile, so that it stays where it was written.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float minus_infinity() { return -__int_as_float(0x7f800000); }
