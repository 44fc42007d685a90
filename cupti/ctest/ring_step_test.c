/* A push to the ring, interrupted at each of its instructions in turn by other writers and the
 * reader: it must neither lose its record while there is room nor spoil theirs. The processor's
 * single stepping makes every interleaving of two certain, that would come once in a million pushes
 * by chance. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "ws_shm.h"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

#define KIB 1024ull
#define TRAP_FLAG 0x100

static struct ws_shm shm;
static volatile long step, at; /* instructions so far; the one to interrupt at */
static volatile bool happened;
static uint64_t others, read_back, last_sum;

static bool push(uint64_t value) {
  struct ws_alloc r = {.rec = {.type = WS_REC_ALLOC}, .seq = value, .size = ~value};
  return ws_ring_push(&shm, &shm.alloc, &r.rec, sizeof r / WS_SLOT);
}

/* As the agent reads: up to the first slot that is not committed. */
static void consume(void) {
  for (;;) {
    struct ws_ring *c = shm.alloc.control;
    uint64_t tail = c->tail;
    struct ws_alloc r;
    memcpy(&r, shm.alloc.data + (tail & shm.alloc.mask), sizeof r);
    if (r.rec.commit != (uint32_t)(tail / WS_SLOT) + 1) return;
    if (r.rec.type == WS_REC_PAD) {
      c->tail = tail + c->capacity - (tail & shm.alloc.mask);
      continue;
    }
    CHECK(r.size == ~r.seq);
    read_back++;
    last_sum += r.seq;
    c->tail = tail + sizeof r;
  }
}

static void on_step(int signal, siginfo_t *info, void *user) {
  (void)signal, (void)info, (void)user;
  if (step++ != at) return;
  happened = true;
  for (int i = 0; i < 5; i++) {
    CHECK(push(1000));
    others++;
  }
  consume();
}

static void set_trap(bool on) {
  if (on)
    __asm__ volatile("pushfq\n orq %0, (%%rsp)\n popfq" ::"i"(TRAP_FLAG) : "memory", "cc");
  else
    __asm__ volatile("pushfq\n andq %0, (%%rsp)\n popfq" ::"i"(~TRAP_FLAG) : "memory", "cc");
}

int main(void) {
  /* small, so that positions wrap and the filler at the end is among what is interrupted */
  struct ws_sizes sizes = {
      .alloc_ring = 4 * KIB, .timeline_ring = 4 * KIB, .live_table = 4 * KIB, .arena = 4 * KIB};
  void *base =
      mmap(NULL, ws_shm_size(&sizes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(base != MAP_FAILED);
  ws_shm_format(&shm, base, &sizes, -1);
  ws_shm_publish(&shm);
  struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
  uint64_t own = 0, sum = 0;
  for (at = 0; at < 100000; at++) {
    step = 0;
    happened = false;
    set_trap(true);
    bool pushed = push((uint64_t)at);
    set_trap(false);
    CHECK(pushed);
    own++;
    sum += (uint64_t)at;
    consume();
    CHECK(read_back == own + others && last_sum == sum + 1000 * others);
    if (!happened) break; /* beyond its last instruction */
  }
  CHECK(at > 20 && shm.header->lost[WS_REC_ALLOC][WS_LOSS_RING_FULL] == 0);
  puts("ok");
  return 0;
}

#else

int main(void) {
  puts("skip: no single stepping here");
  puts("ok");
  return 0;
}

#endif
