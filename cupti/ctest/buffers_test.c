/* buffers_test.c: how large the buffers are that CUPTI is told of, and that none is lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../ws_buffers.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)
#define KIB (1u << 10)
#define MS 1000000ull
#define MOST (1024u * KIB)

static struct ws_shm shm;
static uint64_t now = 1;

static size_t ask(uint8_t **data) {
  size_t size = 0, records = 1;
  ws_buffers_request(data, &size, &records);
  CHECK(*data && records == 0 && size >= 16 * KIB && size <= MOST);
  return size;
}

/* A buffer comes back with so many bytes in it, and is read. */
static void deliver(uint8_t *data, size_t valid) {
  struct ws_filled f;
  ws_buffers_complete(NULL, 0, data, MOST, valid);
  CHECK(ws_buffers_next(&f) && f.data == data && f.valid == valid && !f.discarded);
  ws_buffers_recycle(data);
}

/* The size of buffers after a second in which so many bytes came. */
static size_t after(size_t bytes) {
  uint8_t *data;
  for (int turn = 0; turn < 50; turn++) {
    ask(&data); /* CUPTI has it when the worker looks */
    now += 20 * MS;
    ws_buffers_turn(now);
    deliver(data, bytes / 50);
  }
  size_t size = ask(&data);
  deliver(data, 0);
  return size;
}

int main(void) {
  struct ws_sizes sizes = {64 * KIB, 64 * KIB, 4 * KIB, 64 * KIB};
  uint64_t size = ws_shm_size(&sizes);
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(base != MAP_FAILED);
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  ws_buffers_open(&shm);

  /* nothing is known of the rate: small, so that the first come soon; large when many are asked for
   */
  uint8_t *data[20];
  CHECK(ask(&data[0]) == 64 * KIB);
  size_t largest = 0;
  for (int i = 1; i < 20; i++) {
    size_t s = ask(&data[i]);
    if (s > largest) largest = s;
  }
  for (int i = 0; i < 20; i++) deliver(data[i], 0);
  for (int i = 0; i < 5; i++) {
    size_t s = ask(&data[0]);
    if (s > largest) largest = s;
    deliver(data[0], 0);
  }
  CHECK(largest == MOST);

  /* a slow program, a fast one, a slow one again: an eighth of a second's worth */
  CHECK(after(10 * KIB) == 16 * KIB);
  size_t middle = after(4096 * KIB);
  CHECK(middle > 300 * KIB && middle < 700 * KIB);
  CHECK(after(100u << 20) == MOST);
  CHECK(after(10 * KIB) == 16 * KIB);

  /* in use by two threads, each gets half */
  uint8_t *other;
  ask(&other);
  size_t half = after(4096 * KIB);
  CHECK(half > 150 * KIB && half < 350 * KIB);
  deliver(other, 0);

  /* a slow program's graphs, launched far ahead: CUPTI holds every buffer until the nodes have run,
   * whether the worker looks meanwhile or not */
  for (int looks = 0; looks < 2; looks++) {
    CHECK(after(10 * KIB) == 16 * KIB);
    uint8_t *kept[60];
    size_t room = 0;
    for (int i = 0; i < 60; i++) {
      room += ask(&kept[i]);
      if (looks) ws_buffers_turn(now);
      CHECK(!ws_buffers_is_discard(kept[i]));
    }
    CHECK(room >= 40u << 20);
    for (int i = 0; i < 60; i++) deliver(kept[i], 0);
  }

  /* CUPTI holds all that there are: the rest is counted as lost, and a large buffer again */
  uint8_t *held[80];
  for (int i = 0; i < 80; i++) ask(&held[i]);
  CHECK(ws_buffers_is_discard(held[79]) && !ws_buffers_is_discard(held[0]));
  puts("ok");
  return 0;
}
