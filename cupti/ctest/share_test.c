/* What another tool of the program gets: times in its own clock, and records in its own buffers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws_share_store.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define NS 1000000000ull
/* A wall clock, and a counter of 3.1 GHz that has run for a month. */
#define WALL (1790000000ull * NS)
#define TICKS (31ull * 86400 * 3100000000ull)

static uint64_t ticks_at(uint64_t wall) {
  return TICKS + (uint64_t)(((__int128)wall - WALL) * 31 / 10);
}

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

static void test_map(void) {
  struct ws_share_map m = {.count = 0};
  CHECK(ws_share_map_time(&m, 77) == 77); /* nothing is known */
  ws_share_map_add(&m, WALL, ticks_at(WALL));
  ws_share_map_add(&m, WALL + 3600 * NS, ticks_at(WALL + 3600 * NS));
  CHECK(ws_share_map_time(&m, 0) == 0); /* unknown stays unknown */
  for (uint64_t t = WALL - NS; t < WALL + 3601 * NS; t += NS / 3)
    CHECK(distance(ws_share_map_time(&m, t), ticks_at(t)) <= 2);

  /* Many pairs: the newest and the oldest stay, and all between fits. */
  m.count = 0;
  for (uint64_t i = 0; i < 1000; i++) ws_share_map_add(&m, WALL + i * NS, ticks_at(WALL + i * NS));
  CHECK(m.count <= WS_SHARE_PAIRS && m.pair[0].from == WALL);
  CHECK(m.pair[m.count - 1].from == WALL + 999 * NS);
  for (uint32_t i = 1; i < m.count; i++) CHECK(m.pair[i - 1].from < m.pair[i].from);
  for (uint64_t t = WALL; t < WALL + 1000 * NS; t += NS / 7)
    CHECK(distance(ws_share_map_time(&m, t), ticks_at(t)) <= 2);

  /* Order is kept whatever the readings' errors are. */
  m.count = 0;
  for (uint64_t i = 0; i < 40; i++)
    ws_share_map_add(&m, WALL + i * 1000, ticks_at(WALL + i * 1000) + (i * 7919) % 300);
  uint64_t last = 0;
  for (uint64_t t = WALL; t < WALL + 40000; t += 13) {
    uint64_t to = ws_share_map_time(&m, t);
    CHECK(to >= last);
    last = to;
  }

  /* A clock that is set back begins anew. */
  ws_share_map_add(&m, WALL - 100 * NS, ticks_at(WALL + NS));
  CHECK(m.count == 1);
  CHECK(ws_share_map_time(&m, WALL - 100 * NS + 5) == ticks_at(WALL + NS) + 5);
}

static void test_times(void) {
  struct ws_share_map m = {.count = 0};
  ws_share_map_add(&m, 1000, 500000);
  ws_share_map_add(&m, 2000, 501000);
  struct cupti_kernel k = {.kind = CUPTI_KIND_CONCURRENT_KERNEL,
                           .start = 1100,
                           .end = 1200,
                           .queued = 0,
                           .submitted = 1050,
                           .gridX = 7,
                           .correlationId = 99};
  struct cupti_kernel was = k;
  CHECK(ws_share_start(&k, sizeof k) == 1100);
  ws_share_map_record(&m, &k, sizeof k);
  CHECK(k.start == 500100 && k.end == 500200 && k.submitted == 500050);
  CHECK(k.queued == 0 && k.completed == 0);
  k.start = was.start, k.end = was.end, k.submitted = was.submitted;
  CHECK(memcmp(&k, &was, sizeof k) == 0); /* and not a byte else */
  struct cupti_graph_trace g = {.kind = CUPTI_KIND_GRAPH_TRACE, .start = 1500, .end = 1600};
  ws_share_map_record(&m, &g, sizeof g);
  CHECK(g.start == 500500 && g.end == 500600);
  /* A record that is shorter than this version knows it, and one that nobody knows. */
  uint64_t bytes[4] = {36, 1, 2, 3};
  ws_share_map_record(&m, bytes, sizeof bytes);
  bytes[0] = 200;
  ws_share_map_record(&m, bytes, sizeof bytes);
  CHECK(bytes[1] == 1 && bytes[2] == 2 && bytes[3] == 3);
  CHECK(ws_share_start(bytes, sizeof bytes) == 0);
}

/* ---- the client ---- */

static uint8_t memory[64][1024] __attribute__((aligned(8)));
static size_t valid[64], next, refuse_after = 64, room = 1024, most;
static unsigned given_back;

static void request(uint8_t **data, size_t *size, size_t *max_records) {
  *data = next < refuse_after ? memory[next++] : NULL;
  *size = *data ? room : 0;
  *max_records = most;
}

static void complete(void *context, uint32_t stream, uint8_t *data, size_t size, size_t used) {
  CHECK(!context && !stream && size == room && used <= size);
  valid[(data - memory[0]) / 1024] = used;
  given_back++;
}

static void begin(size_t buffers, size_t size, size_t records) {
  next = 0;
  given_back = 0;
  refuse_after = buffers;
  room = size;
  most = records;
  memset(valid, 0, sizeof valid);
}

static void fill(unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct cupti_api a = {.kind = CUPTI_KIND_DRIVER, .correlationId = i, .start = 1, .end = 2};
    CHECK(ws_share_store_add(&a, sizeof a));
  }
}

static void test_store(void) {
  const struct ws_share_buffer none = {.data = NULL};
  size_t given = 0;
  begin(64, 1024, 0);
  CHECK(ws_share_store_give(request, complete, none, NULL, &given) == 0 && given == 0);
  CHECK(next == 0); /* nothing to give, nothing asked for */

  fill(100); /* 25 fit into a buffer */
  CHECK(ws_share_store_give(request, complete, none, NULL, &given) == 0 && given == 100);
  CHECK(next == 4 && given_back == 4 && valid[0] == 1000 && valid[3] == 1000);
  for (unsigned i = 0; i < 100; i++) {
    struct cupti_api a;
    memcpy(&a, memory[i / 25] + 40 * (i % 25), sizeof a);
    CHECK(a.correlationId == i && a.kind == CUPTI_KIND_DRIVER);
  }
  CHECK(ws_share_store_size() == 0);

  /* A buffer that is out already comes first, and comes back empty if there is nothing. */
  begin(64, 1024, 10);
  struct ws_share_buffer first = {.data = memory[0], .size = 1024, .max_records = 10};
  next = 1;
  fill(25);
  CHECK(ws_share_store_give(request, complete, first, NULL, &given) == 0 && given == 25);
  CHECK(given_back == 3 && valid[0] == 400 && valid[2] == 200);
  CHECK(ws_share_store_give(request, complete, first, NULL, &given) == 0 && given == 0);
  CHECK(given_back == 4 && valid[0] == 0);

  /* A client without memory loses records, and is told how many. */
  begin(2, 1024, 0);
  fill(60);
  CHECK(ws_share_store_give(request, complete, none, NULL, &given) == 10 && given == 50);
  CHECK(given_back == 2 && ws_share_store_size() == 0);
  /* So does one whose buffers hold no record. */
  begin(64, 16, 0);
  fill(5);
  CHECK(ws_share_store_give(request, complete, none, NULL, &given) == 5 && given == 0);
  CHECK(given_back == next);

  fill(10);
  ws_share_store_clear();
  CHECK(ws_share_store_size() == 0);
}

/* What is kept is bounded, and all of it comes out. */
static void test_bound(void) {
  static uint8_t record[4096] __attribute__((aligned(8)));
  size_t kept = 0, given = 0;
  begin(0, 1024, 0);
  while (ws_share_store_add(record, sizeof record)) kept++;
  CHECK(ws_share_store_size() <= WS_SHARE_BYTES && kept * sizeof record > WS_SHARE_BYTES / 10 * 9);
  CHECK(ws_share_store_give(request, complete, (struct ws_share_buffer){0}, NULL, &given) == kept);
  CHECK(ws_share_store_size() == 0);
  static uint8_t huge[2 << 20];
  CHECK(!ws_share_store_add(huge, sizeof huge));
}

static void *add(void *unused) {
  fill(20000);
  return unused;
}

/* Threads add while another gives: each record arrives once. */
static _Atomic size_t arrived;
static uint8_t spare[1 << 16] __attribute__((aligned(8)));
static void request_spare(uint8_t **data, size_t *size, size_t *max_records) {
  *data = spare;
  *size = sizeof spare;
  *max_records = 0;
}
static void count(void *context, uint32_t stream, uint8_t *data, size_t size, size_t used) {
  (void)context, (void)stream, (void)data, (void)size;
  arrived += used / sizeof(struct cupti_api);
}

static void test_threads(void) {
  pthread_t threads[4];
  size_t given, total = 0;
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, add, NULL) == 0);
  for (int i = 0; i < 200; i++) {
    ws_share_store_give(request_spare, count, (struct ws_share_buffer){0}, NULL, &given);
    total += given;
  }
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  ws_share_store_give(request_spare, count, (struct ws_share_buffer){0}, NULL, &given);
  CHECK(total + given == 80000 && arrived == 80000);
}

int main(void) {
  test_map();
  test_times();
  test_store();
  test_bound();
  test_threads();
  puts("ok");
  return 0;
}
