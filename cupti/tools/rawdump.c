/* rawdump.c: an injection library that stores CUPTI's activity buffers as they are.
 *
 * Makes the fixtures of the decoder's tests: run a program with CUDA_INJECTION64_PATH=librawdump.so
 * and RAWDUMP=file, WARPSCOPE_CUPTI chooses the copy of CUPTI. RAWDUMP_MAX bounds the records kept
 * of each kind (default 40). Never part of the product.
 *
 * The file, little-endian: "WSRAW\0\0\1", u32 cuptiGetVersion, u32 0; then chunks of u32 tag, u32
 * size, payload: 'R' a record as CUPTI wrote it, 'S' u64 pointer and the string at it. A string
 * comes before the first record that points to it. Last a chunk 'C': for each kind of record a u32
 * kind and a u32 count of all that CUPTI delivered, kept or not.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ws_load.h"

#define BUFFER_SIZE (1u << 20)

static struct ws_cupti cupti;
static FILE *out;
static unsigned keep = 40;
static uint32_t counts[256];
static uint64_t seen[1 << 16];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void chunk(char tag, const void *a, uint32_t a_size, const void *b, uint32_t b_size) {
  uint32_t head[2] = {(uint32_t)tag, a_size + b_size};
  fwrite(head, sizeof head, 1, out);
  fwrite(a, 1, a_size, out);
  if (b_size) fwrite(b, 1, b_size, out);
}

static void string(const char *text) {
  uint64_t pointer = (uint64_t)(uintptr_t)text;
  uint64_t *slot = &seen[(pointer >> 3) % (sizeof seen / sizeof *seen)];
  if (!text || *slot == pointer) return;
  *slot = pointer;
  chunk('S', &pointer, sizeof pointer, text, (uint32_t)strlen(text));
}

static void request(uint8_t **buffer, size_t *size, size_t *records) {
  *buffer = calloc(1, BUFFER_SIZE);
  *size = BUFFER_SIZE;
  *records = 0;
}

static void record(struct cupti_record *r, size_t size) {
  if (r->kind >= 256) return;
  if (counts[r->kind]++ >= keep) return;
  if (r->kind == CUPTI_KIND_CONCURRENT_KERNEL) string(((struct cupti_kernel *)r)->name);
  if (r->kind == CUPTI_KIND_MARKER) {
    string(((struct cupti_marker *)r)->name);
    string(((struct cupti_marker *)r)->domain);
  }
  chunk('R', r, (uint32_t)size, NULL, 0);
}

static void complete(void *context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid) {
  (void)context, (void)stream, (void)size;
  pthread_mutex_lock(&lock);
  struct cupti_record *r = NULL, *previous = NULL;
  while (cupti.next_record(buffer, valid, &r) == CUPTI_OK && r) {
    if (previous) record(previous, (size_t)((uint8_t *)r - (uint8_t *)previous));
    previous = r;
  }
  if (previous) record(previous, (size_t)(buffer + valid - (uint8_t *)previous));
  pthread_mutex_unlock(&lock);
  free(buffer);
}

static void finish(void) {
  cupti.flush_all(CUPTI_FLUSH_FORCED);
  pthread_mutex_lock(&lock);
  uint32_t totals[512], n = 0;
  for (uint32_t kind = 0; kind < 256; kind++) {
    if (!counts[kind]) continue;
    totals[n++] = kind;
    totals[n++] = counts[kind];
    fprintf(stderr, "rawdump: kind %u: %u\n", kind, counts[kind]);
  }
  chunk('C', totals, n * 4, NULL, 0);
  fclose(out);
  pthread_mutex_unlock(&lock);
}

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(void *table) {
  if (!cupti.handle) ws_load_cupti(&cupti);
  return cupti.nvtx_initialize2 && cupti.nvtx_initialize2(table) == CUPTI_OK;
}

__attribute__((visibility("default"))) int InitializeInjection(void) {
  const char *path = getenv("RAWDUMP"), *max = getenv("RAWDUMP_MAX");
  if (!path || !ws_load_cupti(&cupti)) return 0;
  out = fopen(path, "wb");
  if (!out) return 0;
  if (max) keep = (unsigned)strtoul(max, NULL, 10);
  fwrite("WSRAW\0\0\1", 8, 1, out);
  uint32_t head[2] = {cupti.version, 0};
  fwrite(head, sizeof head, 1, out);
  if (cupti.thread_id_type) cupti.thread_id_type(CUPTI_THREAD_ID_SYSTEM);
  cupti.register_callbacks(request, complete);
  static const uint32_t kinds[] = {CUPTI_KIND_CONCURRENT_KERNEL,
                                   CUPTI_KIND_MEMCPY,
                                   CUPTI_KIND_MEMCPY2,
                                   CUPTI_KIND_MEMSET,
                                   CUPTI_KIND_DRIVER,
                                   CUPTI_KIND_RUNTIME,
                                   CUPTI_KIND_OVERHEAD,
                                   CUPTI_KIND_MARKER,
                                   CUPTI_KIND_MARKER_DATA,
                                   CUPTI_KIND_SYNCHRONIZATION};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    int r = cupti.activity_enable(kinds[i]);
    if (r) fprintf(stderr, "rawdump: kind %u: error %d\n", kinds[i], r);
  }
  if (!getenv("RAWDUMP_NODES")) cupti.activity_enable(CUPTI_KIND_GRAPH_TRACE);
  fprintf(stderr, "rawdump: cupti %u %s\n", cupti.version, cupti.path);
  atexit(finish);
  return 1;
}
