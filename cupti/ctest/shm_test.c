/* Rings, arena and live table: many writers, full rings, wrap-around, growing files. */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ws_arena.h"
#include "ws_live.h"
#include "ws_shm.h"

#undef NDEBUG
#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define KIB 1024ull

static struct ws_shm *fresh(const struct ws_sizes *sizes) {
  struct ws_shm *shm = calloc(1, sizeof *shm);
  void *base =
      mmap(NULL, ws_shm_size(sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shm && base != MAP_FAILED);
  ws_shm_format(shm, base, sizes, -1);
  ws_shm_publish(shm);
  ws_live_open(shm);
  return shm;
}

static void drop(struct ws_shm *shm) {
  munmap(shm->base, shm->header->total_size);
  free(shm);
}

/* Reads one record as the agent does; false if the next one is not committed. */
static bool pop(struct ws_ring_view *ring, struct ws_alloc *out) {
  for (;;) {
    uint64_t tail = ring->control->tail;
    uint8_t *slot = ring->data + (tail & ring->mask);
    uint32_t seen = __atomic_load_n((uint32_t *)(void *)slot, __ATOMIC_ACQUIRE);
    if (seen != (uint32_t)(tail / WS_SLOT) + 1) return false;
    struct ws_rec *rec = (struct ws_rec *)(void *)slot;
    if (rec->type == WS_REC_PAD) {
      __atomic_store_n(&ring->control->tail,
                       tail + ring->control->capacity - (tail & ring->mask),
                       __ATOMIC_RELEASE);
      continue;
    }
    CHECK(rec->slots == sizeof *out / WS_SLOT);
    memcpy(out, slot, sizeof *out);
    __atomic_store_n(&ring->control->tail, tail + sizeof *out, __ATOMIC_RELEASE);
    return true;
  }
}

#define WRITERS 4
#define EACH 20000

struct writer {
  struct ws_shm *shm;
  uint32_t number;
};

static void *write_many(void *user) {
  struct writer *w = user;
  for (uint32_t i = 0; i < EACH; i++) {
    struct ws_alloc r = {
        .rec = {.type = WS_REC_ALLOC}, .thread = w->number, .seq = i, .size = ~(uint64_t)i};
    while (!ws_ring_push(w->shm, &w->shm->alloc, &r.rec, sizeof r / WS_SLOT)) sched_yield();
  }
  return NULL;
}

static void many_writers(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 4 * KIB, .arena = 4 * KIB};
  struct ws_shm *shm = fresh(&sizes);
  pthread_t threads[WRITERS];
  struct writer writers[WRITERS];
  for (uint32_t i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){shm, i};
    CHECK(pthread_create(&threads[i], NULL, write_many, &writers[i]) == 0);
  }
  uint64_t next[WRITERS] = {0};
  for (uint64_t total = 0; total < (uint64_t)WRITERS * EACH;) {
    struct ws_alloc r;
    if (!pop(&shm->alloc, &r)) {
      sched_yield();
      continue;
    }
    CHECK(r.thread < WRITERS && r.seq == next[r.thread]++ && r.size == ~r.seq);
    total++;
  }
  for (unsigned i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
  drop(shm);
}

static void full_ring(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 4 * KIB, .arena = 4 * KIB};
  struct ws_shm *shm = fresh(&sizes);
  struct ws_kernel k = {.rec = {.type = WS_REC_KERNEL}};
  unsigned kept = 0;
  for (unsigned i = 0; i < 100; i++) kept += ws_ring_push(shm, &shm->timeline, &k.rec, 1);
  CHECK(kept == 4 * KIB / WS_SLOT);
  CHECK(shm->header->lost[WS_REC_KERNEL][WS_LOSS_RING_FULL] == 100 - kept);
  drop(shm);
}

static void arena(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 4 * KIB, .arena = 64 * KIB};
  struct ws_shm *shm = fresh(&sizes);
  struct ws_arena a;
  CHECK(ws_arena_open(&a, shm));
  CHECK(ws_arena_string(&a, NULL, WS_REC_KERNEL) == 0);
  uint32_t one = ws_arena_string(&a, "one", WS_REC_KERNEL),
           two = ws_arena_string(&a, "two", WS_REC_KERNEL);
  CHECK(one && two && one != two && ws_arena_string(&a, "one", WS_REC_KERNEL) == one);
  /* The same address, another string: longer, shorter, of the same length. */
  char place[16] = "one";
  CHECK(ws_arena_string(&a, place, WS_REC_KERNEL) == one);
  CHECK(ws_arena_string(&a, place, WS_REC_KERNEL) == one);
  strcpy(place, "two");
  CHECK(ws_arena_string(&a, place, WS_REC_KERNEL) == two);
  strcpy(place, "two and more");
  uint32_t more = ws_arena_string(&a, place, WS_REC_KERNEL);
  CHECK(more && more != two && ws_arena_string(&a, place, WS_REC_KERNEL) == more);
  strcpy(place, "tw");
  uint32_t less = ws_arena_string(&a, place, WS_REC_KERNEL);
  CHECK(less && less != two && ws_arena_string(&a, place, WS_REC_KERNEL) == less);
  strcpy(place, "");
  uint32_t none = ws_arena_string(&a, place, WS_REC_KERNEL);
  CHECK(none && none != less && ws_arena_string(&a, place, WS_REC_KERNEL) == none);
  struct ws_launch l = {.name = one, .grid = {1, 2, 3}};
  uint32_t first = ws_arena_launch(&a, &l);
  l.grid[2] = 4;
  CHECK(first && ws_arena_launch(&a, &l) != first);
  uint64_t pcs[] = {1, 2, 3};
  uint32_t stack = ws_arena_stack(&a, 7, pcs, 3);
  CHECK(stack && ws_arena_stack(&a, 7, pcs, 3) == stack && ws_arena_stack(&a, 8, pcs, 3) != stack &&
        ws_arena_stack(&a, 7, pcs, 0) == 0);
  /* full: id 0, counted, never written past the end */
  char text[32];
  unsigned i = 0;
  do snprintf(text, sizeof text, "string number %u", i++);
  while (ws_arena_string(&a, text, WS_REC_MARKER) && i < 100000);
  CHECK(i < 100000 && shm->header->lost[WS_REC_MARKER][WS_LOSS_ARENA_FULL] == 1);
  CHECK(shm->header->arena_used <= shm->header->arena.size);
  CHECK(ws_arena_string(&a, "one", WS_REC_KERNEL) == one);
  ws_arena_close(&a);
  drop(shm);
}

static struct ws_live entry(uint64_t address, uint64_t seq) {
  return (struct ws_live){.key = ws_live_key(address, WS_KEY_ADDRESS),
                          .size = address * 2,
                          .seq = seq,
                          .space = WS_SPACE_DEVICE,
                          .context = 1};
}

static void live_table(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 64 * KIB, .arena = 4 * KIB};
  struct ws_shm *shm = fresh(&sizes);
  struct ws_live e = entry(0x1000, 10), was;
  CHECK(ws_live_put(shm, &e));
  /* a release that began before the address was given out again must not remove the new owner */
  e.seq = 20;
  CHECK(ws_live_put(shm, &e));
  CHECK(!ws_live_take(shm, e.key, 15, &was));
  CHECK(ws_live_take(shm, e.key, 25, &was) && was.size == 0x2000 && was.seq == 20);
  CHECK(!ws_live_take(shm, e.key, 26, &was));
  /* the same number as a handle is another thing */
  struct ws_live h = {
      .key = ws_live_key(0x1000, WS_KEY_HANDLE), .size = 5, .seq = 1, .space = WS_SPACE_HANDLE};
  CHECK(ws_live_put(shm, &h) && !ws_live_take(shm, e.key, 99, &was));
  /* released but mapped: alive until the last mapping goes */
  CHECK(ws_live_map(shm, h.key, 1) && ws_live_map(shm, h.key, 1) && ws_live_map(shm, h.key, -1));
  CHECK(ws_live_release(shm, h.key, 50, &was) && was.size == 5);
  CHECK(!ws_live_release(shm, h.key, 51, &was));
  CHECK(ws_live_map(shm, h.key, -1) && !ws_live_map(shm, h.key, -1));
  /* full: counted, and what is there stays findable; space is used again after releases */
  uint64_t stored = 0;
  for (uint64_t i = 0; i < 2000; i++) {
    e = entry(0x100000 + i * 512, 100);
    stored += ws_live_put(shm, &e);
  }
  CHECK(stored < 2000 && shm->header->lost[WS_REC_ALLOC][WS_LOSS_LIVE_TABLE] == 2000 - stored);
  CHECK(ws_live_take(shm, ws_live_key(0x100000, WS_KEY_ADDRESS), 200, &was));
  e = entry(0xabc000, 201);
  CHECK(ws_live_put(shm, &e) && ws_live_take(shm, e.key, 300, &was));
  CHECK(ws_live_drop_context(shm, 1) == stored - 1);
  CHECK(ws_live_drop_context(shm, 1) == 0);
  drop(shm);
}

static void *churn(void *user) {
  struct writer *w = user;
  uint64_t base = 0x10000ull * (w->number + 1);
  for (uint32_t i = 0; i < EACH; i++) {
    struct ws_live e = entry(base + (i % 64) * 512, 2 * i + 1), was;
    CHECK(ws_live_put(w->shm, &e));
    CHECK(ws_live_take(w->shm, e.key, 2 * i + 2, &was) && was.seq == 2 * i + 1);
  }
  return NULL;
}

static void live_churn(void) {
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 64 * KIB, .arena = 4 * KIB};
  struct ws_shm *shm = fresh(&sizes);
  pthread_t threads[WRITERS];
  struct writer writers[WRITERS];
  for (uint32_t i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){shm, i};
    CHECK(pthread_create(&threads[i], NULL, churn, &writers[i]) == 0);
  }
  for (unsigned i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
  CHECK(ws_live_drop_context(shm, 1) == 0);
  drop(shm);
}

static void growing_file(void) {
  struct ws_sizes sizes = {.alloc_ring = 64 * KIB,
                           .timeline_ring = 1024 * 1024 * KIB,
                           .live_table = 4 * KIB,
                           .arena = 64 * KIB};
  char path[] = "/tmp/warpscope-shm-test-XXXXXX";
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  unlink(path);
  uint64_t size = ws_shm_size(&sizes);
  char zeros[WS_PAGE] = {0};
  CHECK(write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros && ftruncate(fd, (off_t)size) == 0);
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  CHECK(base != MAP_FAILED);
  struct ws_shm shm;
  memset(&shm, 0, sizeof shm);
  ws_shm_format(&shm, base, &sizes, fd);
  CHECK(ws_shm_secure(&shm));
  ws_shm_publish(&shm);
  struct ws_kernel k = {.rec = {.type = WS_REC_KERNEL}};
  uint64_t kept = 0, secured = shm.timeline.control->limit;
  CHECK(secured > 0 && secured < shm.timeline.control->capacity);
  /* nothing past the secured part, however many try */
  for (uint64_t i = 0; i < secured / WS_SLOT + 10; i++)
    kept += ws_ring_push(&shm, &shm.timeline, &k.rec, 1);
  CHECK(kept == secured / WS_SLOT && shm.header->lost[WS_REC_KERNEL][WS_LOSS_RING_FULL] == 10);
  CHECK(ws_shm_secure(&shm) && shm.timeline.control->limit > secured);
  /* whoever uses up what was kept ready gets more of it the next time, up to a bound */
  uint64_t before = secured, most = 0;
  for (int turn = 0; turn < 5; turn++) {
    struct ws_ring *c = shm.timeline.control;
    uint64_t ahead = c->limit - c->reserved;
    CHECK(ahead >= before || ahead == c->capacity - c->reserved || ahead == 32u << 20);
    before = ahead;
    if (ahead > most) most = ahead;
    while (ws_ring_push(&shm, &shm.timeline, &k.rec, 1)) {
    }
    if (c->limit == c->capacity) break;
    CHECK(ws_shm_secure(&shm));
  }
  CHECK(most > secured);
  CHECK(ws_ring_push(&shm, &shm.timeline, &k.rec, 1));
  uint64_t written = shm.timeline.control->reserved;
  ws_shm_trim(&shm, true);
  fd = shm.fd; /* it was moved out of the program's way */
  off_t end = lseek(fd, 0, SEEK_END);
  CHECK(end < (off_t)(shm.header->timeline_ring.offset + 2 * WS_PAGE + written + WS_PAGE));
  munmap(base, size);
  close(fd);
}

int main(void) {
  many_writers();
  full_ring();
  arena();
  live_table();
  live_churn();
  growing_file();
  puts("ok");
  return 0;
}
