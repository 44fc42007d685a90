/* thief.c: a tool inside a program that asks the C library itself for CUPTI's functions, by whoever
 * has put a dlsym before it, and registers buffers of its own. Loaded by robbed.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int (*take_over_)(void (*)(uint8_t **, size_t *, size_t *),
                         void (*)(void *, uint32_t, uint8_t *, size_t, size_t));
static int (*enable)(uint32_t), (*disable)(uint32_t), (*flush)(uint32_t);
static int (*next)(uint8_t *, size_t, uint8_t **);
static _Atomic long kernels, others, buffers;

static void requested(uint8_t **data, size_t *size, size_t *records) {
  *size = 4 << 20;
  *data = aligned_alloc(64, *size);
  *records = 0;
}

/* Buffers of whoever was here before come too: none is freed. */
static void completed(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  uint8_t *r = NULL;
  (void)context, (void)stream, (void)size;
  buffers++;
  while (next(data, valid, &r) == 0) {
    if (*(uint32_t *)r == 10)
      kernels++;
    else
      others++;
  }
}

int take_over(void) {
  void *h = dlopen("libcupti.so.13", RTLD_NOW | RTLD_NOLOAD);
  if (!h) h = dlopen("libcupti.so.12", RTLD_NOW | RTLD_NOLOAD);
  void *(*find)(void *, const char *) = NULL;
  void *c_library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  *(void **)&find = dlvsym(c_library, "dlsym", "GLIBC_2.34");
  if (!h || !find) return -1;
  *(void **)&take_over_ = find(h, "cuptiActivityRegisterCallbacks");
  *(void **)&enable = find(h, "cuptiActivityEnable");
  *(void **)&disable = find(h, "cuptiActivityDisable");
  *(void **)&flush = find(h, "cuptiActivityFlushAll");
  *(void **)&next = find(h, "cuptiActivityGetNextRecord");
  int r = take_over_(requested, completed);
  return r ? r : enable(10);
}

long finish(void) {
  flush(1);
  int r = disable(10);
  printf(
      "thief: %ld kernels, %ld others in %ld buffers, disable %d\n", kernels, others, buffers, r);
  fflush(stdout);
  return kernels;
}
