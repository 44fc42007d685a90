#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "ws_buffers.h"
#include "ws_share_inside.h"

/* So much is given to the client at once; less waits until it flushes. */
#define GIVE_AT (16ull << 20)

static void know(uint8_t *data, size_t size) {
  for (uint32_t i = 0; i < WS_SHARE_BUFFERS; i++) {
    uint8_t *there = atomic_load_explicit(&ws_shared.known[i], memory_order_relaxed), *none = NULL;
    if (there != data &&
        (there ||
         (!atomic_compare_exchange_strong(&ws_shared.known[i], &none, data) && none != data)))
      continue;
    atomic_store_explicit(&ws_shared.room[i], size, memory_order_relaxed);
    return;
  }
}

/* A buffer that CUPTI has given back: whether it is ours. */
static bool is_known(const uint8_t *data) {
  for (uint32_t i = 0; i < WS_SHARE_BUFFERS; i++) {
    const uint8_t *there = atomic_load_explicit(&ws_shared.known[i], memory_order_relaxed);
    if (there == data) atomic_store_explicit(&ws_shared.room[i], 0, memory_order_relaxed);
    if (there == data) return true;
    if (!there) return false;
  }
  return true;
}

/* CUPTI writes while this reads: what it reads need not be whole. */
__attribute__((no_sanitize("thread"))) uint64_t ws_shared_written(void) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < WS_SHARE_BUFFERS; i++) {
    size_t room = atomic_load_explicit(&ws_shared.room[i], memory_order_relaxed);
    const volatile uint64_t *word =
        (const volatile void *)atomic_load_explicit(&ws_shared.known[i], memory_order_relaxed);
    if (!word) break;
    if (ws_buffers_is_discard((const uint8_t *)(uintptr_t)word)) continue;
    for (size_t n = room / sizeof *word; n; n--) sum = (sum ^ *word++) * 0x100000001b3u;
  }
  return sum;
}

static void requested(uint8_t **data, size_t *size, size_t *max_records) {
  cupti_request_fn f = atomic_load(&ws_shared.request);
  f(data, size, max_records);
  know(*data, *size);
  atomic_fetch_add(&ws_shared.went, 1);
}

/* The client's part of a buffer. */
static void keep(uint8_t *data, size_t valid) {
  if (ws_buffers_is_discard(data)) {
    /* Threads may be writing over each other there: it is at least one. */
    atomic_fetch_add(&ws_shared.dropped, 1);
    return;
  }
  struct cupti_record *r = NULL, *next = NULL;
  int code = ws_shared.real.next_record(data, valid, &next);
  while (code == CUPTI_OK && next) {
    r = next;
    code = ws_shared.real.next_record(data, valid, &next);
    bool more = code == CUPTI_OK && next != r;
    uint8_t *end = more ? (uint8_t *)next : data + valid;
    size_t size = (size_t)(end - (uint8_t *)r);
    if (ws_side_owns(&ws_shared.client, r, size) && !ws_share_store_add(r, size))
      atomic_fetch_add(&ws_shared.dropped, 1);
    if (!more) break;
  }
}

/* A buffer that the client gave before there was a capture: our records of it are copied out and
 * the client's moved together. */
static size_t divide(void *context, uint32_t stream, uint8_t *data, size_t valid) {
  cupti_complete_fn f = atomic_load(&ws_shared.complete);
  uint8_t *ours = NULL;
  size_t size = 0, max_records = 0, used = 0, left = 0;
  struct cupti_record *r = NULL, *next = NULL;
  int code = ws_shared.real.next_record(data, valid, &next);
  while (code == CUPTI_OK && next && next != r) {
    r = next;
    code = ws_shared.real.next_record(data, valid, &next);
    uint8_t *end = code == CUPTI_OK && next != r ? (uint8_t *)next : data + valid;
    size_t length = (size_t)(end - (uint8_t *)r);
    if (ours && size - used < length) {
      f(context, stream, ours, size, used);
      ours = NULL;
    }
    if (!ours) {
      requested(&ours, &size, &max_records);
      used = 0;
    }
    if (size - used >= length) memcpy(ours + used, r, length), used += length;
    if (!ws_side_owns(&ws_shared.client, r, length)) continue;
    memmove(data + left, r, length);
    left += length;
  }
  if (ours) f(context, stream, ours, size, used);
  return left;
}

static void give(bool all, uint64_t *given);

static void completed(void *context, uint32_t stream, uint8_t *data, size_t size, size_t valid) {
  if (!is_known(data)) {
    cupti_complete_fn f = atomic_load(&ws_shared.client_complete);
    if (valid && ws_shared.process == getpid()) valid = divide(context, stream, data, valid);
    if (f) f(context, stream, data, size, valid);
    return;
  }
  atomic_fetch_add(&ws_shared.completing, 1);
  atomic_fetch_add(&ws_shared.came, 1);
  if (valid && atomic_load(&ws_shared.had_client) && atomic_load(&ws_shared.client_complete) &&
      ws_shared.process == getpid()) {
    keep(data, valid);
    uint64_t given;
    if (ws_share_store_size() >= GIVE_AT) give(false, &given);
  }
  cupti_complete_fn f = atomic_load(&ws_shared.complete);
  f(context, stream, data, size, valid);
  atomic_fetch_sub(&ws_shared.completing, 1);
}

int ws_our_register(cupti_request_fn request, cupti_complete_fn complete) {
  atomic_store(&ws_shared.request, request);
  atomic_store(&ws_shared.complete, complete);
  int r = ws_shared.real.register_callbacks(requested, completed);
  if (r != CUPTI_OK) atomic_store(&ws_shared.complete, NULL); /* nothing is shared */
  if (r == CUPTI_OK && ws_side_is_on(&ws_shared.client)) ws_shared_stand();
  return r;
}

int ws_shared_flush(uint32_t flag) {
  bool had = ws_lock_take(&ws_shared.flushing);
  int r = ws_shared.real.flush_all(flag);
  ws_lock_let_go(&ws_shared.flushing, had);
  return r;
}

/* The capture's thread flushes regularly: the map between the clocks stays near what comes. */
int ws_our_flush(uint32_t flag) {
  bool client = atomic_load(&ws_shared.had_client) && atomic_load(&ws_shared.client_complete);
  if (client) ws_shared_pair();
  int r = ws_shared_flush(flag);
  if (client) ws_shared_pair();
  ws_shared_watch(flag == CUPTI_FLUSH_FORCED);
  return r;
}

int ws_our_dropped(void *context, uint32_t stream, size_t *count) {
  int r = ws_shared.real.dropped(context, stream, count);
  if (r == CUPTI_OK && atomic_load(&ws_shared.client_complete)) /* nobody knows whose they were */
    atomic_fetch_add(&ws_shared.dropped, *count);
  return r;
}

int ws_share_register(cupti_request_fn request, cupti_complete_fn complete) {
  if (!request || !complete) return CUPTI_BAD_PARAMETER;
  int r = ws_share_has_buffers() ? CUPTI_OK : ws_shared.real.register_callbacks(request, complete);
  if (r != CUPTI_OK) return r;
  if (atomic_load(&ws_shared.client_complete) != complete) {
    uint64_t given;
    if (ws_share_has_buffers()) give(true, &given); /* they are the other functions' */
  }
  atomic_store(&ws_shared.client_request, request);
  atomic_store(&ws_shared.client_complete, complete);
  return CUPTI_OK;
}

bool ws_share_has_buffers(void) { return atomic_load(&ws_shared.complete) != NULL; }

/* A client that has no buffer out has nothing to flush, torch.profiler thinks: one is always out
 * while it has anything on. */
void ws_shared_stand(void) {
  cupti_request_fn request = atomic_load(&ws_shared.client_request);
  bool had = ws_lock_take(&ws_shared.standing_lock);
  if (request && !ws_shared.standing.data && ws_share_has_buffers()) {
    struct ws_share_buffer b = {0};
    request(&b.data, &b.size, &b.max_records);
    ws_shared.standing = b;
  }
  ws_lock_let_go(&ws_shared.standing_lock, had);
}

/* Gives the client what is kept for it. all: the standing buffer too, empty as it may be, and no
 * other stands for it: the client has switched everything off and flushes. */
static void give(bool all, uint64_t *given) {
  *given = 0;
  cupti_request_fn request = atomic_load(&ws_shared.client_request);
  cupti_complete_fn complete = atomic_load(&ws_shared.client_complete);
  if (!request || !complete) {
    ws_share_store_clear();
    return;
  }
  ws_clock_fn f = ws_client_clock();
  bool as_they_are = !f || ws_same_clock(f);
  bool had = ws_lock_take(&ws_shared.mapping);
  struct ws_share_map map = ws_shared.map;
  ws_lock_let_go(&ws_shared.mapping, had);
  struct ws_share_buffer buffer = {0};
  if (all || ws_share_store_size()) {
    had = ws_lock_take(&ws_shared.standing_lock);
    buffer = ws_shared.standing;
    ws_shared.standing = (struct ws_share_buffer){0};
    ws_lock_let_go(&ws_shared.standing_lock, had);
    /* The next is out before this one is back. */
    if (!all && buffer.data) ws_shared_stand();
  }
  size_t count = 0;
  size_t refused =
      ws_share_store_give(request, complete, buffer, as_they_are ? NULL : &map, &count);
  atomic_fetch_add(&ws_shared.dropped, refused);
  *given = count;
}

int ws_share_flush(uint32_t flag, uint64_t *given) {
  *given = 0;
  int r = ws_shared_flush(flag);
  if (!ws_share_has_buffers()) return r;
  /* Buffers that other threads have in hand belong to what was asked for. */
  for (int i = 0; i < 200 && atomic_load(&ws_shared.completing); i++) usleep(1000);
  ws_shared_pair();
  bool on = ws_side_is_on(&ws_shared.client);
  give(!on, given);
  if (on) ws_shared_stand();
  return r;
}

int ws_share_dropped(void *context, uint32_t stream, size_t *dropped) {
  if (!dropped) return CUPTI_BAD_PARAMETER;
  if (!ws_share_has_buffers()) return ws_shared.real.dropped(context, stream, dropped);
  *dropped = (size_t)atomic_exchange(&ws_shared.dropped, 0);
  return CUPTI_OK;
}

int ws_share_finalize(void) {
  for (uint32_t kind = 0; kind < WS_SHARE_KINDS; kind++)
    if (ws_side_has(&ws_shared.client, kind)) ws_share_disable(kind);
  if (atomic_load(&ws_shared.client_callback)) ws_share_unsubscribe(ws_shared.subscriber);
  uint64_t given;
  if (ws_share_has_buffers()) give(true, &given);
  atomic_store(&ws_shared.client_request, NULL);
  atomic_store(&ws_shared.client_complete, NULL);
  atomic_store(&ws_shared.client_clock, NULL);
  ws_share_store_clear();
  if (atomic_load(&ws_shared.open)) return CUPTI_OK;
  ws_shared.clock = NULL;
  ws_shared.subscriber = NULL;
  memset(ws_shared.really, 0, sizeof ws_shared.really);
  memset(ws_shared.really_call, 0, sizeof ws_shared.really_call);
  return ws_shared.finalize ? ws_shared.finalize() : CUPTI_OK;
}
