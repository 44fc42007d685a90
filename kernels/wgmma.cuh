// wgmma.cuh: the matrix instructions of a warpgroup, by type and number of columns. Each is m64 by N; K is 32 bytes.
// wgmma<T, N>(d, a, b, add): d = a * b + (add ? d : 0), with a and b described in shared memory, both with K along
// the rows. wgmma_rows<T, N>(d, a0..a3, b): the same, added, with a in registers and b stored across (K along the
// columns), as attention needs it for P times V.
//
// The accumulator of a thread: d[4j + 0, 1] are row 16 warp + lane/4, columns 8j + 2 (lane%4) + 0, 1; d[4j + 2, 3] are the
// row eight below.
#pragma once
#include "sm90.cuh"

#define L0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define L1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define L2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define L3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define L4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define L5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define L6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define L7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define L8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define L9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define L10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define L11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define L12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define L13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define L14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define L15 "%120, %121, %122, %123, %124, %125, %126, %127"

#define LIST_64 L0 ", " L1 ", " L2 ", " L3
#define LIST_80 L0 ", " L1 ", " L2 ", " L3 ", " L4
#define LIST_96 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5
#define LIST_112 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6
#define LIST_128 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6 ", " L7
#define LIST_160 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6 ", " L7 ", " L8 ", " L9
#define LIST_176 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6 ", " L7 ", " L8 ", " L9 ", " L10
#define LIST_192 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6 ", " L7 ", " L8 ", " L9 ", " L10 ", " L11
#define LIST_256 L0 ", " L1 ", " L2 ", " L3 ", " L4 ", " L5 ", " L6 ", " L7 ", " L8 ", " L9 ", " L10 ", " L11 ", " L12 ", " L13 ", " L14 ", " L15

#define OPS8(c, d, i) "+" c(d[i + 0]), "+" c(d[i + 1]), "+" c(d[i + 2]), "+" c(d[i + 3]), "+" c(d[i + 4]), "+" c(d[i + 5]), "+" c(d[i + 6]), "+" c(d[i + 7])
#define OPS_64(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24)
#define OPS_80(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32)
#define OPS_96(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40)
#define OPS_112(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48)
#define OPS_128(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48), OPS8(c, d, 56)
#define OPS_160(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48), OPS8(c, d, 56), OPS8(c, d, 64), OPS8(c, d, 72)
#define OPS_176(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48), OPS8(c, d, 56), OPS8(c, d, 64), OPS8(c, d, 72), OPS8(c, d, 80)
#define OPS_192(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48), OPS8(c, d, 56), OPS8(c, d, 64), OPS8(c, d, 72), OPS8(c, d, 80), OPS8(c, d, 88)
#define OPS_256(c, d) OPS8(c, d, 0), OPS8(c, d, 8), OPS8(c, d, 16), OPS8(c, d, 24), OPS8(c, d, 32), OPS8(c, d, 40), OPS8(c, d, 48), OPS8(c, d, 56), OPS8(c, d, 64), OPS8(c, d, 72), OPS8(c, d, 80), OPS8(c, d, 88), OPS8(c, d, 96), OPS8(c, d, 104), OPS8(c, d, 112), OPS8(c, d, 120)

template <typename T, int N> struct Wgmma;

#define WGMMA(T, N, SHAPE, TYPES, TAIL, C, A, B, P)                                                       \
  template <> struct Wgmma<T, N> {                                                                        \
    static __device__ __forceinline__ void run(T::sum *d, u64 a, u64 b, int add) {                        \
      asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" P ", 0;\n"                                      \
                   "wgmma.mma_async.sync.aligned." SHAPE "." TYPES " {" LIST_##N "}, %" A ", %" B ", p" TAIL ";\n}" \
                   : OPS_##N(C, d)                                                                        \
                   : "l"(a), "l"(b), "r"(add));                                                           \
    }                                                                                                     \
  };

WGMMA(bf16, 64, "m64n64k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "32", "33", "34")
WGMMA(bf16, 80, "m64n80k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "40", "41", "42")
WGMMA(bf16, 96, "m64n96k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "48", "49", "50")
WGMMA(bf16, 112, "m64n112k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "56", "57", "58")
WGMMA(bf16, 128, "m64n128k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "64", "65", "66")
WGMMA(bf16, 160, "m64n160k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "80", "81", "82")
WGMMA(bf16, 176, "m64n176k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "88", "89", "90")
WGMMA(bf16, 192, "m64n192k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "96", "97", "98")
WGMMA(bf16, 256, "m64n256k16", "f32.bf16.bf16", ", 1, 1, 0, 0", "f", "128", "129", "130")
WGMMA(fp16, 64, "m64n64k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "32", "33", "34")
WGMMA(fp16, 80, "m64n80k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "40", "41", "42")
WGMMA(fp16, 96, "m64n96k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "48", "49", "50")
WGMMA(fp16, 112, "m64n112k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "56", "57", "58")
WGMMA(fp16, 128, "m64n128k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "64", "65", "66")
WGMMA(fp16, 160, "m64n160k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "80", "81", "82")
WGMMA(fp16, 176, "m64n176k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "88", "89", "90")
WGMMA(fp16, 192, "m64n192k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "96", "97", "98")
WGMMA(fp16, 256, "m64n256k16", "f32.f16.f16", ", 1, 1, 0, 0", "f", "128", "129", "130")
WGMMA(e4m3, 128, "m64n128k32", "f32.e4m3.e4m3", ", 1, 1", "f", "64", "65", "66")
WGMMA(e4m3, 256, "m64n256k32", "f32.e4m3.e4m3", ", 1, 1", "f", "128", "129", "130")
WGMMA(tf32, 128, "m64n128k8", "f32.tf32.tf32", ", 1, 1", "f", "64", "65", "66")
WGMMA(tf32, 256, "m64n256k8", "f32.tf32.tf32", ", 1, 1", "f", "128", "129", "130")
WGMMA(s8, 128, "m64n128k32", "s32.s8.s8", "", "r", "64", "65", "66")
WGMMA(s8, 256, "m64n256k32", "s32.s8.s8", "", "r", "128", "129", "130")

template <typename T, int N> struct WgmmaRows;

#define WGMMA_ROWS(T, N, SHAPE, TYPES, A0, A1, A2, A3, B, P)                                              \
  template <> struct WgmmaRows<T, N> {                                                                    \
    static __device__ __forceinline__ void run(float *d, const u32 *a, u64 b, int add) {                  \
      asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, %" P ", 0;\n"                                      \
                   "wgmma.mma_async.sync.aligned." SHAPE "." TYPES " {" LIST_##N "}, {%" A0 ", %" A1 ", %" A2 ", %" A3 \
                   "}, %" B ", p, 1, 1, 1;\n}"                                                             \
                   : OPS_##N("f", d)                                                                      \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));                       \
    }                                                                                                     \
  };

WGMMA_ROWS(bf16, 64, "m64n64k16", "f32.bf16.bf16", "32", "33", "34", "35", "36", "37")
WGMMA_ROWS(bf16, 128, "m64n128k16", "f32.bf16.bf16", "64", "65", "66", "67", "68", "69")
WGMMA_ROWS(fp16, 64, "m64n64k16", "f32.f16.f16", "32", "33", "34", "35", "36", "37")
WGMMA_ROWS(fp16, 128, "m64n128k16", "f32.f16.f16", "64", "65", "66", "67", "68", "69")
