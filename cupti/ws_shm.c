#define _GNU_SOURCE
#include "ws_shm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Disk space that a capture file keeps ahead of its writers, half of it at least. At 1 million
 * kernels/s a worker that looks every 20 ms needs 1.3 MiB. A writer that uses up most of it between
 * two looks, because it is fast or because the disk is slow to give more, gets twice as much the
 * next time: with a disk that takes 20 ms for each request, a fixed 4 MiB lost 4 % of 1 million
 * records/s. */
#define SECURE_AHEAD (8ull << 20)
#define SECURE_ARENA (4ull << 20)
#define SECURE_AHEAD_MOST (32ull << 20)
/* Where the disk has no room for that: what it is asked for then. */
#define SECURE_STEP (1ull << 20)
/* The live table is written at random places, so a capture file allocates all of it. */
#define SECURE_START (1ull << 20)

static uint64_t page_up(uint64_t n) { return (n + WS_PAGE - 1) & ~(uint64_t)(WS_PAGE - 1); }

static uint64_t power_of_two(uint64_t n) {
  uint64_t p = WS_PAGE;
  while (p < n) p <<= 1;
  return p;
}

uint64_t ws_mono(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t ws_wall(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t ws_shm_size(const struct ws_sizes *s) {
  return 4ull * WS_PAGE + power_of_two(s->alloc_ring) + power_of_two(s->live_table) +
         page_up(s->arena) + power_of_two(s->timeline_ring);
}

static struct ws_region region(uint64_t *at, uint64_t size) {
  struct ws_region r = {*at, size};
  *at += size;
  return r;
}

static void open_ring(struct ws_ring_view *view, uint8_t *base, struct ws_region r, bool file) {
  view->control = (struct ws_ring *)(void *)(base + r.offset);
  view->data = base + r.offset + WS_PAGE;
  view->control->capacity = r.size - WS_PAGE;
  view->mask = view->control->capacity - 1;
  view->ahead = SECURE_AHEAD;
  view->control->limit = file ? 0 : UINT64_MAX;
}

/* The system call itself: the C library gave fstat a symbol of its own only in glibc 2.33. */
static bool identify(int fd, uint64_t *device, uint64_t *inode) {
  struct stat s;
  if (syscall(SYS_fstat, fd, &s) != 0) return false;
  *device = (uint64_t)s.st_dev;
  *inode = (uint64_t)s.st_ino;
  return true;
}

static bool is_file(const struct ws_shm *shm, int fd) {
  uint64_t device, inode;
  return identify(fd, &device, &inode) && device == shm->file_device && inode == shm->file_inode;
}

/* A number that programs which count on the lowest free one, or close what they find, rarely meet.
 */
static int move_away(int fd) {
  int far = fcntl(fd, F_DUPFD_CLOEXEC, 1000);
  if (far < 0) return fd;
  close(fd);
  return far;
}

/* The capture file's descriptor; -1 if it cannot be reached any more. Programs close descriptors
 * that they do not know (daemons all of them) and open files of their own under the same numbers:
 * whoever trusts a number here writes into the program's data. */
static int file_of(struct ws_shm *shm) {
  if (is_file(shm, shm->fd)) return shm->fd;
  int fd = shm->path ? open(shm->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
  if (fd < 0) return -1;
  if (!is_file(shm, fd)) {
    close(fd);
    return -1;
  }
  shm->fd = move_away(fd);
  return shm->fd;
}

void ws_shm_format(struct ws_shm *shm, void *base, const struct ws_sizes *s, int fd) {
  struct ws_header *h = base;
  uint64_t at = WS_PAGE;
  /* The timeline comes last, so that a finished capture file can be cut behind it. */
  h->alloc_ring = region(&at, WS_PAGE + power_of_two(s->alloc_ring));
  h->live_table = region(&at, WS_PAGE + power_of_two(s->live_table));
  h->arena = region(&at, page_up(s->arena));
  h->timeline_ring = region(&at, WS_PAGE + power_of_two(s->timeline_ring));
  h->total_size = at;
  h->header_size = sizeof *h;
  h->abi_version = WS_ABI_VERSION;

  shm->header = h;
  shm->base = base;
  shm->path = NULL;
  shm->fd = fd;
  if (fd >= 0 && identify(fd, &shm->file_device, &shm->file_inode)) shm->fd = move_away(fd);
  shm->arena = shm->base + h->arena.offset;
  atomic_store(&shm->arena_limit, fd >= 0 ? 0 : h->arena.size);
  /* offset 0 means "nothing": the first object starts at 8 */
  h->arena_used = 8;
}

/* Allocates the file's blocks for [from, to); ranges that are there already cost nothing. */
static bool allocate(int fd, uint64_t from, uint64_t to) {
  if (to <= from) return true;
  if (fd < 0) return false;
  long r = syscall(SYS_fallocate, fd, 0, (off_t)from, (off_t)(to - from));
  if (r == 0) return true;
  if (errno != EOPNOTSUPP && errno != ENOSYS) return false;
  static const uint8_t zeros[1 << 16];
  for (uint64_t p = from; p < to;) {
    size_t n = to - p < sizeof zeros ? (size_t)(to - p) : sizeof zeros;
    ssize_t w = pwrite(fd, zeros, n, (off_t)p);
    if (w <= 0) return false;
    p += (uint64_t)w;
  }
  return true;
}

static bool secure_ring(struct ws_shm *shm, struct ws_ring_view *ring, uint64_t offset) {
  struct ws_ring *c = ring->control;
  uint64_t limit = __atomic_load_n(&c->limit, __ATOMIC_RELAXED);
  uint64_t reserved = __atomic_load_n(&c->reserved, __ATOMIC_RELAXED);
  uint64_t left = limit > reserved ? limit - reserved : 0;
  if (limit == c->capacity || left > ring->ahead / 2) return true;
  if (limit && left < ring->ahead / 4 && ring->ahead < SECURE_AHEAD_MOST) ring->ahead *= 2;
  uint64_t want = reserved + ring->ahead;
  if (want > c->capacity) want = c->capacity; /* a capture file never wraps */
  uint64_t from = offset + WS_PAGE;
  int fd = file_of(shm);
  if (!allocate(fd, from + limit, from + want)) {
    ring->ahead = SECURE_AHEAD;
    want = limit + SECURE_STEP < c->capacity ? limit + SECURE_STEP : c->capacity;
    if (left >= SECURE_STEP || !allocate(fd, from + limit, from + want)) return left > 0;
  }
  __atomic_store_n(&c->limit, want, __ATOMIC_RELEASE);
  return true;
}

bool ws_shm_secure(struct ws_shm *shm) {
  if (shm->fd < 0) return true;
  struct ws_header *h = shm->header;
  bool first = atomic_load(&shm->arena_limit) == 0;
  if (first) {
    int fd = file_of(shm);
    if (!allocate(fd, h->live_table.offset, h->live_table.offset + h->live_table.size))
      return false;
    if (!allocate(fd, h->alloc_ring.offset, h->alloc_ring.offset + WS_PAGE + SECURE_START))
      return false;
    if (!allocate(fd, h->timeline_ring.offset, h->timeline_ring.offset + WS_PAGE + SECURE_START))
      return false;
    open_ring(&shm->alloc, shm->base, h->alloc_ring, true);
    open_ring(&shm->timeline, shm->base, h->timeline_ring, true);
  }
  uint64_t used = __atomic_load_n(&h->arena_used, __ATOMIC_RELAXED);
  uint64_t limit = atomic_load(&shm->arena_limit);
  uint64_t want = used + SECURE_ARENA;
  if (want > h->arena.size) want = h->arena.size;
  if (want > limit) {
    if (!allocate(file_of(shm), h->arena.offset + limit, h->arena.offset + want)) return false;
    atomic_store(&shm->arena_limit, want);
  }
  return secure_ring(shm, &shm->alloc, h->alloc_ring.offset) &&
         secure_ring(shm, &shm->timeline, h->timeline_ring.offset);
}

static void give_back(int fd, uint64_t from, uint64_t to) {
  from = page_up(from);
  if (from < to)
    syscall(SYS_fallocate,
            fd,
            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            (off_t)from,
            (off_t)(to - from));
}

/* What is handed out by now is the end: a thread that still records drops and counts. */
static uint64_t close_ring(struct ws_ring *c) {
  uint64_t end = __atomic_load_n(&c->reserved, __ATOMIC_RELAXED);
  __atomic_store_n(&c->limit, end, __ATOMIC_RELEASE);
  return end;
}

void ws_shm_trim(struct ws_shm *shm, bool cut) {
  if (shm->fd < 0) return;
  struct ws_header *h = shm->header;
  uint64_t alloc_end = close_ring(shm->alloc.control),
           timeline_end = close_ring(shm->timeline.control);
  uint64_t arena_end = __atomic_load_n(&h->arena_used, __ATOMIC_RELAXED);
  atomic_store(&shm->arena_limit, arena_end);
  int fd = file_of(shm);
  if (fd < 0) return;
  give_back(
      fd, h->alloc_ring.offset + WS_PAGE + alloc_end, h->alloc_ring.offset + h->alloc_ring.size);
  give_back(fd, h->arena.offset + arena_end, h->arena.offset + h->arena.size);
  uint64_t end = h->timeline_ring.offset + WS_PAGE + timeline_end;
  if (cut && ftruncate(fd, (off_t)page_up(end)) != 0) return; /* it stays long and sparse */
}

void ws_shm_publish(struct ws_shm *shm) {
  if (shm->fd < 0) {
    open_ring(&shm->alloc, shm->base, shm->header->alloc_ring, false);
    open_ring(&shm->timeline, shm->base, shm->header->timeline_ring, false);
  }
  __atomic_store_n(&shm->header->magic, WS_ABI_MAGIC, __ATOMIC_RELEASE);
}

void ws_lost(struct ws_shm *shm, unsigned type, unsigned cause, uint64_t count) {
  if (type < WS_REC_TYPES && cause < WS_LOSS_CAUSES)
    __atomic_fetch_add(&shm->header->lost[type][cause], count, __ATOMIC_RELAXED);
}

void ws_reason(struct ws_shm *shm, unsigned reason) {
  __atomic_fetch_or(&shm->header->reason, 1u << reason, __ATOMIC_RELAXED);
}

static void commit(uint8_t *slot, uint64_t position) {
  __atomic_store_n((uint32_t *)(void *)slot, (uint32_t)(position / WS_SLOT) + 1, __ATOMIC_RELEASE);
}

bool ws_ring_push(struct ws_shm *shm,
                  struct ws_ring_view *ring,
                  struct ws_rec *rec,
                  unsigned slots) {
  struct ws_ring *c = ring->control;
  uint64_t need = (uint64_t)slots * WS_SLOT;
  uint64_t at = __atomic_load_n(&c->reserved, __ATOMIC_RELAXED);
  uint64_t pad, end;
  for (;;) {
    uint64_t room = c->capacity - (at & ring->mask);
    pad = room < need ? room : 0;
    end = at + pad + need;
    if (end - __atomic_load_n(&c->tail, __ATOMIC_ACQUIRE) > c->capacity ||
        end > __atomic_load_n(&c->limit, __ATOMIC_ACQUIRE)) {
      /* Full, if `at` is still where the ring ends. Others may have written meanwhile, and the
       * reader passed it. */
      uint64_t now = __atomic_load_n(&c->reserved, __ATOMIC_RELAXED);
      if (now == at) {
        ws_lost(shm, rec->type, WS_LOSS_RING_FULL, 1);
        return false;
      }
      at = now;
    } else if (__atomic_compare_exchange_n(
                   &c->reserved, &at, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      break;
    }
  }
  if (pad) {
    uint8_t *slot = ring->data + (at & ring->mask);
    struct ws_rec filler = {0, WS_REC_PAD, 0, 0};
    memcpy(slot + 4, (uint8_t *)&filler + 4, sizeof filler - 4);
    commit(slot, at);
    at += pad;
  }
  uint8_t *slot = ring->data + (at & ring->mask);
  rec->slots = (uint8_t)slots;
  memcpy(slot + 4, (uint8_t *)rec + 4, need - 4);
  commit(slot, at);
  return true;
}
