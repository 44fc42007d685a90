// verify.cu: what a result is checked by: fresh random inputs, references in double precision, and the distance between
// the two. Written plainly, and in another way than what it checks: no tensor cores, no tiles. gpu_test.go checks
// these kernels in turn against Go, on small shapes.
//
// Elements are read by `type`: 0 float, 1 bf16, 2 fp16, 3 e4m3, 4 signed 8-bit, 5 signed 32-bit integer.
#include "types.cuh"

enum { FLOAT, BF16, FP16, E4M3, S8, S32 };

__device__ __forceinline__ float half_to_float(unsigned short v) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
  return f;
}

// An e4m3 number: 1 sign, 4 exponent bits (bias 7), 3 of mantissa; all ones is NaN, there is no infinity.
__device__ __forceinline__ float e4m3_to_float(unsigned char v) {
  const int exponent = v >> 3 & 15, mantissa = v & 7;
  const float sign = v & 128 ? -1.0f : 1.0f;
  if ((v & 127) == 127) return __int_as_float(0x7fffffff);
  if (exponent == 0) return sign * mantissa * 0x1p-9f;
  return sign * (8 + mantissa) * __int_as_float((exponent - 10 + 127) << 23);
}

__device__ __forceinline__ double element(const char *x, u64 i, int type) {
  switch (type) {
  case FLOAT: return ((const float *)x)[i];
  case BF16: return __int_as_float((u32)((const unsigned short *)x)[i] << 16);
  case FP16: return half_to_float(((const unsigned short *)x)[i]);
  case E4M3: return e4m3_to_float(((const unsigned char *)x)[i]);
  case S8: return ((const signed char *)x)[i];
  default: return ((const int *)x)[i];
  }
}

// 64 well mixed bits of a seed and a number.
__device__ __forceinline__ u64 mix(u64 seed, u64 i) {
  u64 x = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// The nearest e4m3 of a number of the size that random data has: at most 448 in magnitude.
__device__ __forceinline__ unsigned char float_to_e4m3(float v) {
  const float a = fminf(fabsf(v), 448.0f);
  unsigned char code;
  if (a < 0x1p-6f) {
    code = (unsigned char)rintf(a * 0x1p9f); // eight of these are the smallest normal number, as they should be
  } else {
    const u32 bits = __float_as_int(a), even = bits >> 20 & 1;
    code = (unsigned char)((bits + 0x7ffff + even >> 20) - (120 << 3));
  }
  return v < 0.0f ? code | 128 : code;
}

// n elements, normally distributed with deviation `scale`; integers of 8 bits evenly from -100 to 100. tf32 inputs are floats.
extern "C" __global__ void verify_fill(char *x, u64 n, int type, u64 seed, float scale) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    const u64 r = mix(seed, i);
    const float u = ((u32)(r >> 40) + 0.5f) * 0x1p-24f, w = (u32)(r & 0xffffff) * 0x1p-24f;
    const float v = scale * sqrtf(-2.0f * __logf(u)) * __cosf(6.2831853f * w);
    if (type == FLOAT) ((float *)x)[i] = v;
    else if (type == BF16) ((unsigned short *)x)[i] = (unsigned short)pack(v, 0.0f, bf16());
    else if (type == FP16) ((unsigned short *)x)[i] = (unsigned short)pack(v, 0.0f, fp16());
    else if (type == E4M3) ((unsigned char *)x)[i] = float_to_e4m3(v);
    else ((signed char *)x)[i] = (signed char)((int)(r % 201) - 100);
  }
}

// want[i][j] = row rows[i] of A times row j of B; a warp an element. blockIdx.y is i.
extern "C" __global__ void verify_matmul(const char *a, const char *b, double *want, const u32 *rows, int n, int k, int type) {
  const int lane = threadIdx.x & 31, j = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (j >= n) return;
  const u64 from_a = (u64)rows[blockIdx.y] * k, from_b = (u64)j * k;
  double sum = 0.0;
  for (int l = lane; l < k; l += 32) sum += element(a, from_a + l, type) * element(b, from_b + l, type);
  for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(0xffffffff, sum, o);
  if (lane == 0) want[(u64)blockIdx.y * n + j] = sum;
}

// want[i] = the output of row rows[i] of attention, counted through all heads: row / queries is the head. A block of 256
// a row; scores is room for `keys` numbers a block.
extern "C" __global__ void __launch_bounds__(256)
    verify_attention(const char *q, const char *k, const char *v, double *want, double *scores, const u32 *rows, int queries, int keys, int d,
                     int group, int causal, double scale, int type) {
  __shared__ double across[256];
  const int row = rows[blockIdx.x], head = row / queries, query = row % queries;
  const u64 from = (u64)(head / group) * keys * d;
  const int limit = causal ? min(keys, query + 1 + keys - queries) : keys;
  double *s = scores + (u64)blockIdx.x * keys, top = -1e300, sum = 0.0;
  for (int j = threadIdx.x; j < limit; j += 256) {
    double dot = 0.0;
    for (int i = 0; i < d; i++) dot += element(q, (u64)row * d + i, type) * element(k, from + (u64)j * d + i, type);
    s[j] = dot * scale;
    top = fmax(top, s[j]);
  }
  across[threadIdx.x] = top;
  __syncthreads();
  for (int i = 0; i < 256; i++) top = fmax(top, across[i]);
  __syncthreads();
  for (int j = threadIdx.x; j < limit; j += 256) {
    s[j] = exp(s[j] - top);
    sum += s[j];
  }
  across[threadIdx.x] = sum;
  __syncthreads();
  sum = 0.0;
  for (int i = 0; i < 256; i++) sum += across[i];
  for (int i = threadIdx.x; i < d; i += 256) {
    double value = 0.0;
    for (int j = 0; j < limit; j++) value += s[j] * element(v, from + (u64)j * d + i, type);
    want[(u64)blockIdx.x * d + i] = value / sum;
  }
}

// totals[0] += the squared distance of what was computed from what was wanted, [1] += the square of what was wanted,
// [2] += how many of the elements are not finite. Row i of want is row rows[i] of got.
extern "C" __global__ void verify_compare(const char *got, const double *want, const u32 *rows, int n, int type, double *totals) {
  double distance = 0.0, size = 0.0, bad = 0.0;
  for (int j = blockIdx.x * blockDim.x + threadIdx.x; j < n; j += gridDim.x * blockDim.x) {
    const double g = element(got, (u64)rows[blockIdx.y] * n + j, type), w = want[(u64)blockIdx.y * n + j];
    if (isfinite(g)) distance += (g - w) * (g - w);
    else bad += 1.0;
    size += w * w;
  }
  for (int o = 16; o > 0; o /= 2) {
    distance += __shfl_xor_sync(0xffffffff, distance, o);
    size += __shfl_xor_sync(0xffffffff, size, o);
    bad += __shfl_xor_sync(0xffffffff, bad, o);
  }
  if ((threadIdx.x & 31) == 0) {
    atomicAdd(totals, distance);
    atomicAdd(totals + 1, size);
    atomicAdd(totals + 2, bad);
  }
}

// *bad += how many of n words of 16 bytes differ between x and y.
extern "C" __global__ void verify_same(const uint4 *x, const uint4 *y, u64 n, u64 *bad) {
  u32 count = 0;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    const uint4 a = x[i], b = y[i];
    count += a.x != b.x || a.y != b.y || a.z != b.z || a.w != b.w;
  }
  count = __reduce_add_sync(0xffffffff, count);
  if ((threadIdx.x & 31) == 0 && count > 0) atomicAdd(bad, (u64)count);
}

// *bad += how many of n words are not what memory_write left: the value plus the word's number, then the value three times.
extern "C" __global__ void verify_written(const uint4 *y, u64 n, u32 value, u64 *bad) {
  u32 count = 0;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    const uint4 v = y[i];
    count += v.x != value + (u32)i || v.y != value || v.z != value || v.w != value;
  }
  count = __reduce_add_sync(0xffffffff, count);
  if ((threadIdx.x & 31) == 0 && count > 0) atomicAdd(bad, (u64)count);
}

// *sum += all u32 words, modulo 2^32, one at a time: what memory_read must give.
extern "C" __global__ void verify_sum(const u32 *x, u64 n, u32 *sum) {
  u32 s = 0;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) s += x[i];
  s = __reduce_add_sync(0xffffffff, s);
  if ((threadIdx.x & 31) == 0) atomicAdd(sum, s);
}
