/* The live table when its writers are interrupted for good, or by themselves; the capture file when
 * the program closes descriptors that are not its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ws_live.h"
#include "ws_shm.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#define KIB 1024ull

static const struct ws_sizes sizes = {
    .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 256 * KIB, .arena = 4 * KIB};
static struct ws_shm table;

static uint64_t lost(void) {
  return __atomic_load_n(&table.header->lost[WS_REC_ALLOC][WS_LOSS_LIVE_TABLE], __ATOMIC_RELAXED);
}

static void open_table(void) {
  void *base =
      mmap(NULL, ws_shm_size(&sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(base != MAP_FAILED);
  ws_shm_format(&table, base, &sizes, -1);
  ws_shm_publish(&table);
  ws_live_open(&table);
}

static void put_and_take(uint64_t address) {
  struct ws_live e = {.key = ws_live_key(address, WS_KEY_ADDRESS),
                      .size = 1,
                      .seq = 1,
                      .context = 1},
                 was;
  ws_live_put(&table, &e);
  ws_live_take(&table, e.key, 2, &was);
}

/* ---- threads that die ---- */

static void die(int signal) {
  (void)signal;
  syscall(SYS_exit, 0); /* nothing of this thread's runs any more, whatever it held */
}

static _Atomic uint64_t turns;

static void *until_death(void *number) {
  for (;;) {
    put_and_take(0x100000 + 512 * (uint64_t)(uintptr_t)number);
    turns++;
  }
  return NULL;
}

/* Threads are ended at any place, some of them while they hold the table. It must go on working. */
static void dying_writers(void) {
  struct sigaction action = {.sa_handler = die};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  for (uintptr_t i = 0; i < 400; i++) {
    pthread_t thread;
    uint64_t before = turns;
    CHECK(pthread_create(&thread, NULL, until_death, (void *)i) == 0);
    while (turns < before + 20) sched_yield();
    pthread_kill(thread, SIGUSR1);
    put_and_take(0x10000);
  }
  struct timespec moment = {0, 20000000};
  nanosleep(&moment, NULL);
  uint64_t before = lost();
  struct ws_live e = {.key = ws_live_key(0xabc000, WS_KEY_ADDRESS),
                      .size = 77,
                      .seq = 5,
                      .context = 1},
                 was;
  CHECK(ws_live_put(&table, &e));
  CHECK(ws_live_take(&table, e.key, 6, &was) && was.size == 77);
  /* at most the very first call after the last death has to say that it took the table over */
  CHECK(lost() <= before + 1);
}

/* ---- a handler on the thread that holds the table ---- */

static _Atomic int handled;

static void interrupt(int signal) {
  (void)signal;
  put_and_take(0x20000);
  handled++;
}

static void interrupted_writer(void) {
  struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  timer_t timer;
  struct itimerspec every = {{0, 50000}, {0, 50000}};
  CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 &&
        timer_settime(timer, 0, &every, NULL) == 0);
  for (uint64_t i = 0; handled < 2000; i++) put_and_take(0x30000 + i % 64 * 512);
  timer_delete(timer);
}

/* ---- the file under another program's number ---- */

static void stolen_descriptor(void) {
  struct ws_sizes file_sizes = {.alloc_ring = 16384 * KIB,
                                .timeline_ring = 1024 * 1024 * KIB,
                                .live_table = 4 * KIB,
                                .arena = 64 * KIB};
  char path[] = "/tmp/warpscope-live-test-XXXXXX", other[] = "/tmp/warpscope-live-test-XXXXXX";
  int fd = mkstemp(path);
  uint64_t size = ws_shm_size(&file_sizes);
  char zeros[WS_PAGE] = {0};
  CHECK(fd >= 0 && write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros &&
        ftruncate(fd, (off_t)size) == 0);
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  CHECK(base != MAP_FAILED);
  struct ws_shm shm;
  memset(&shm, 0, sizeof shm);
  ws_shm_format(&shm, base, &file_sizes, fd);
  shm.path = path;
  CHECK(ws_shm_secure(&shm));
  ws_shm_publish(&shm);
  /* the program closes it and has a file of its own there */
  int number = shm.fd, mine = mkstemp(other);
  CHECK(dup2(mine, number) == number && write(mine, "mine", 4) == 4);
  uint64_t secured = shm.timeline.control->limit;
  struct ws_kernel k = {.rec = {.type = WS_REC_KERNEL}};
  while (ws_ring_push(&shm, &shm.timeline, &k.rec, 1)) {
  }
  CHECK(ws_shm_secure(&shm) && shm.timeline.control->limit > secured && shm.fd != number);
  /* and cannot even be found any more: writers drop, the file that they do not know stays as it is
   */
  CHECK(dup2(mine, shm.fd) == shm.fd && unlink(path) == 0);
  while (ws_ring_push(&shm, &shm.timeline, &k.rec, 1)) {
  }
  CHECK(!ws_shm_secure(&shm));
  ws_shm_trim(&shm, true);
  CHECK(!ws_ring_push(&shm, &shm.timeline, &k.rec, 1));
  struct stat s;
  CHECK(fstat(mine, &s) == 0 && s.st_size == 4);
  unlink(other);
  munmap(base, size);
}

int main(void) {
  open_table();
#ifdef __SANITIZE_THREAD__
  /* What a dead thread wrote is not ordered before anything: the sanitizer is right, and so are we.
   */
  puts("skip dying_writers: the thread sanitizer knows no death");
#else
  dying_writers();
#endif
  interrupted_writer();
  stolen_descriptor();
  puts("ok");
  return 0;
}
