/* A library that calls back through frames of many shapes. Compiled by unwind_test with several
 * sets of flags (no frame pointers, -mstackrealign -mavx, -fno-asynchronous-unwind-tables). */
#include <alloca.h>
#include <stdlib.h>
#include <string.h>

typedef int (*callback)(void *);

#define KEEP(p) __asm__ volatile("" : : "r"(p) : "memory")

/* Fixed frame. */
__attribute__((noinline)) static int plain(callback f, void *arg) {
  char room[100];
  KEEP(room);
  int rc = f(arg);
  KEEP(room);
  return rc;
}

/* The frame's size is known at run time only. */
__attribute__((noinline)) static int dynamic(callback f, void *arg, size_t n) {
  char *room = alloca(n);
  memset(room, 1, n);
  KEEP(room);
  int rc = plain(f, arg);
  KEEP(room);
  return rc;
}

/* Locals aligned more than the stack is. */
__attribute__((noinline)) static int aligned(callback f, void *arg, size_t n) {
  _Alignas(64) char wide[128];
  KEEP(wide);
  char *room = alloca(n);
  KEEP(room);
  int rc = dynamic(f, arg, n + 33);
  KEEP(wide);
  KEEP(room);
  return rc;
}

/* Every preserved register in use. */
__attribute__((noinline)) static int registers(callback f, void *arg, const long *v) {
  long a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], g = v[5];
  for (int i = 0; i < 3; i++) {
    a += b * c;
    b ^= d;
    c += e;
    d -= g;
    e += a;
    g ^= c;
    KEEP(v);
  }
  int rc = aligned(f, arg, (size_t)(v[6] & 63) + 8);
  return rc + (int)((a + b + c + d + e + g) & 0);
}

#if defined(__AVX__)
/* Vectors that must be aligned to 32 bytes across the call. */
typedef float wide_vector __attribute__((vector_size(32)));
__attribute__((noinline)) static int vectors(callback f, void *arg, const long *v) {
  wide_vector x = {0}, y = {1, 2, 3, 4, 5, 6, 7, 8};
  KEEP(&x);
  KEEP(&y);
  int rc = registers(f, arg, v);
  x += y;
  KEEP(&x);
  return rc;
}
#else
#define vectors registers
#endif

int lib_depth(callback f, void *arg, int depth);
__attribute__((noinline)) int lib_depth(callback f, void *arg, int depth) {
  long v[7] = {depth, 2, 3, 4, 5, 6, depth};
  KEEP(v);
  int rc = depth > 0 ? lib_depth(f, arg, depth - 1) : vectors(f, arg, v);
  KEEP(v);
  return rc;
}

/* How many frames of this file lie between the caller and f. */
int lib_call(callback f, void *arg, int *frames);
int lib_call(callback f, void *arg, int *frames) {
  *frames = 8;
  int rc = lib_depth(f, arg, 3);
  KEEP(frames);
  return rc;
}

struct order {
  callback f;
  void *arg;
  int rc;
};
static __thread struct order order;
static int compare(const void *a, const void *b) {
  if (order.f) order.rc = order.f(order.arg);
  order.f = NULL;
  return *(const int *)a - *(const int *)b;
}

/* Through libc's own frames. */
int lib_sort(callback f, void *arg);
int lib_sort(callback f, void *arg) {
  int numbers[24];
  for (int i = 0; i < 24; i++) numbers[i] = (i * 7919) % 24;
  order = (struct order){f, arg, 0};
  qsort(numbers, 24, sizeof numbers[0], compare);
  return order.rc;
}
