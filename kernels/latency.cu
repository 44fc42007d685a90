// latency.cu: kernels whose work is nothing, or known, so that what is around them is measured.
//
// latency_empty: a launch. latency_spin: a time, for streams beside each other. chain_*: y = max(0, x * a + b) * c, as four
// kernels that each read and write everything, and as one: bound by memory, 32 against 8 bytes an element.
#include "types.cuh"

extern "C" __global__ void latency_empty() {}

// One more is added to *count, so that launches can be counted.
extern "C" __global__ void latency_count(u32 *count) {
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1);
}

// Takes this many nanoseconds of the GPU's timer, and says in *count that it ran.
extern "C" __global__ void latency_spin(u64 nanoseconds, u32 *count) {
  u64 begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  while (now - begin < nanoseconds);
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(count, 1);
}

template <typename F> __device__ __forceinline__ void each(const float4 *x, float4 *y, u64 n, F f) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    const float4 v = x[i];
    y[i] = make_float4(f(v.x), f(v.y), f(v.z), f(v.w));
  }
}

extern "C" __global__ void __launch_bounds__(512) chain_scale(const float4 *x, float4 *y, u64 n, float a) {
  each(x, y, n, [=](float v) { return __fmul_rn(v, a); });
}
extern "C" __global__ void __launch_bounds__(512) chain_shift(const float4 *x, float4 *y, u64 n, float b) {
  each(x, y, n, [=](float v) { return __fadd_rn(v, b); });
}
extern "C" __global__ void __launch_bounds__(512) chain_rectify(const float4 *x, float4 *y, u64 n) {
  each(x, y, n, [=](float v) { return fmaxf(v, 0.0f); });
}
// Not contracted to fused multiply-adds: the result is that of the four kernels, bit for bit.
extern "C" __global__ void __launch_bounds__(512) chain_fused(const float4 *x, float4 *y, u64 n, float a, float b, float c) {
  each(x, y, n, [=](float v) { return __fmul_rn(fmaxf(__fadd_rn(__fmul_rn(v, a), b), 0.0f), c); });
}
