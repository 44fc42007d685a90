#define _GNU_SOURCE
#include "ws_live.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The thread that changes the table, 0: none. One at a time: with it a removal can close its gap,
 * so that no table fills up with the marks of what was removed. Held for some ten instructions;
 * CUPTI calls back from allocations alone, which take microseconds. */
static _Atomic uint32_t writer;
/* A holder that was preempted comes back. One that was interrupted by a signal handler on the same
 * thread waits for us, and one whose thread was ended in the midst is looked for now and then. What
 * else there may be ends here: the change is given up and counted. */
#define PATIENCE 200000u
#define LOOK_FOR_HOLDER 2048u

static struct ws_live_table *table(struct ws_shm *shm) {
  return (struct ws_live_table *)(void *)(shm->base + shm->header->live_table.offset);
}

static struct ws_live *entries(struct ws_shm *shm) {
  return (struct ws_live *)(void *)(shm->base + shm->header->live_table.offset + WS_PAGE);
}

void ws_live_open(struct ws_shm *shm) {
  table(shm)->capacity = (shm->header->live_table.size - WS_PAGE) / sizeof(struct ws_live);
}

static uint32_t this_thread(void) {
  static __thread uint32_t id;
  if (!id) id = (uint32_t)syscall(SYS_gettid);
  return id;
}

static bool is_gone(uint32_t thread) {
  int saved = errno;
  bool gone = syscall(SYS_tgkill, getpid(), thread, 0) != 0 && errno == ESRCH;
  errno = saved;
  return gone;
}

/* Takes the table over from a thread that died while it changed it. At most one entry is busy for
 * good or there twice, and that is counted. */
static bool inherit(struct ws_shm *shm, uint32_t from, uint32_t me) {
  if (!is_gone(from) || !atomic_compare_exchange_strong(&writer, &from, me)) return false;
  ws_lost(shm, WS_REC_ALLOC, WS_LOSS_LIVE_TABLE, 1);
  if (__atomic_load_n(&table(shm)->version, __ATOMIC_RELAXED) % 2 == 0)
    __atomic_fetch_add(&table(shm)->version, 1, __ATOMIC_ACQ_REL);
  return true;
}

static bool lock(struct ws_shm *shm) {
  uint32_t holder = 0, me = this_thread();
  for (unsigned spin = 0; !atomic_compare_exchange_weak_explicit(
           &writer, &holder, me, memory_order_acquire, memory_order_relaxed);
       spin++) {
    if (holder == me || spin == PATIENCE) {
      ws_lost(shm, WS_REC_ALLOC, WS_LOSS_LIVE_TABLE, 1);
      return false;
    }
    if (spin % LOOK_FOR_HOLDER == LOOK_FOR_HOLDER - 1 && holder && inherit(shm, holder, me))
      return true;
    holder = 0;
    if (spin > 100) sched_yield();
  }
  __atomic_fetch_add(&table(shm)->version, 1, __ATOMIC_ACQ_REL);
  return true;
}

static void unlock(struct ws_shm *shm) {
  __atomic_fetch_add(&table(shm)->version, 1, __ATOMIC_RELEASE);
  atomic_store_explicit(&writer, 0, memory_order_release);
}

static uint64_t home(uint64_t key, uint64_t mask) {
  key *= 0x9e3779b97f4a7c15ull;
  return (key ^ (key >> 32)) & mask;
}

/* The entry with this key, or the empty one where it belongs; NULL if the table is full. */
static struct ws_live *find(struct ws_shm *shm, uint64_t key) {
  struct ws_live *e = entries(shm);
  uint64_t mask = table(shm)->capacity - 1;
  uint64_t i = home(key, mask);
  for (uint64_t probe = 0; probe <= mask; probe++, i = (i + 1) & mask)
    if (e[i].key == key || e[i].key == WS_LIVE_EMPTY) return &e[i];
  return NULL;
}

static void set_key(struct ws_live *e, uint64_t key) {
  __atomic_store_n(&e->key, key, __ATOMIC_RELEASE);
}

/* A reader sees an entry whole or busy. */
static void fill(struct ws_live *to, const struct ws_live *from) {
  uint64_t key = from->key;
  set_key(to, WS_LIVE_BUSY);
  atomic_thread_fence(memory_order_release);
  memcpy((uint8_t *)to + sizeof to->key,
         (const uint8_t *)from + sizeof from->key,
         sizeof *to - sizeof to->key);
  set_key(to, key);
}

/* Empties an entry and moves up what was pushed past it. */
static void erase(struct ws_shm *shm, struct ws_live *gap) {
  struct ws_live *e = entries(shm);
  struct ws_live_table *t = table(shm);
  uint64_t mask = t->capacity - 1;
  uint64_t hole = (uint64_t)(gap - e);
  for (uint64_t i = (hole + 1) & mask; e[i].key != WS_LIVE_EMPTY; i = (i + 1) & mask) {
    /* it may move to the hole if its home is not behind the hole */
    if (((i - home(e[i].key, mask)) & mask) < ((i - hole) & mask)) continue;
    fill(&e[hole], &e[i]);
    hole = i;
  }
  set_key(&e[hole], WS_LIVE_EMPTY);
  __atomic_fetch_sub(&t->used, 1, __ATOMIC_RELAXED);
}

bool ws_live_put(struct ws_shm *shm, const struct ws_live *entry) {
  if (!lock(shm)) return false;
  struct ws_live_table *t = table(shm);
  struct ws_live *e = find(shm, entry->key);
  bool fresh = e && e->key == WS_LIVE_EMPTY;
  /* An eighth stays empty, so that probes are short and end. */
  bool stored = e && (!fresh || t->used < t->capacity - t->capacity / 8);
  if (stored) {
    fill(e, entry);
    if (fresh) __atomic_fetch_add(&t->used, 1, __ATOMIC_RELAXED);
  }
  unlock(shm);
  if (!stored) ws_lost(shm, WS_REC_ALLOC, WS_LOSS_LIVE_TABLE, 1);
  return stored;
}

bool ws_live_take(struct ws_shm *shm, uint64_t key, uint64_t seq, struct ws_live *taken) {
  if (!lock(shm)) return false;
  struct ws_live *e = find(shm, key);
  bool older = e && e->key == key && e->seq < seq;
  if (older) {
    *taken = *e;
    erase(shm, e);
  }
  unlock(shm);
  return older;
}

bool ws_live_map(struct ws_shm *shm, uint64_t handle_key, int change) {
  if (!lock(shm)) return false;
  struct ws_live *e = find(shm, handle_key);
  bool known = e && e->key == handle_key;
  if (known) {
    if (change > 0) e->maps++;
    if (change < 0 && e->maps > 0) e->maps--;
    if (e->released && e->maps == 0) erase(shm, e);
  }
  unlock(shm);
  return known;
}

bool ws_live_release(struct ws_shm *shm,
                     uint64_t handle_key,
                     uint64_t seq,
                     struct ws_live *released) {
  if (!lock(shm)) return false;
  struct ws_live *e = find(shm, handle_key);
  bool older = e && e->key == handle_key && e->seq < seq && !e->released;
  if (older) {
    *released = *e;
    e->released = 1;
    if (e->maps == 0) erase(shm, e);
  }
  unlock(shm);
  return older;
}

unsigned ws_live_drop_context(struct ws_shm *shm, uint32_t context) {
  if (!lock(shm)) return 0;
  struct ws_live *e = entries(shm);
  uint64_t capacity = table(shm)->capacity;
  unsigned dropped = 0;
  for (uint64_t i = 0; i < capacity;) {
    /* handles belong to the process, not to a context */
    bool drop =
        e[i].key != WS_LIVE_EMPTY && e[i].context == context && e[i].space != WS_SPACE_HANDLE;
    if (!drop) {
      i++;
      continue;
    }
    erase(shm, &e[i]); /* which may have moved another one here */
    dropped++;
  }
  unlock(shm);
  return dropped;
}
