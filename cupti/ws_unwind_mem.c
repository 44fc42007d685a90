#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ws_unwind_inside.h"

#define PAGE 4096ull
/* No user memory lies above, on either architecture; sums of addresses below do not wrap. */
#define USER_END (1ull << 56)
/* A thread's own stack is proved readable up to its top once, if it is no deeper than this. */
#define PROVE_MAX (16ull << 20)
/* On any other stack (a fiber's, a signal's) pages are probed as the walk meets them. */
#define EXTENSIONS_MAX 1024u
/* Threads whose stacks are remembered; more are probed each time. */
#define THREADS 512u

/* Reads of other functions' stack slots are the unwinder's purpose; sanitizers would object. */
#if defined(__clang__)
#define WS_RAW __attribute__((noinline, no_sanitize("address", "thread", "undefined")))
#else
#define WS_RAW __attribute__((noinline, no_sanitize("address"), no_sanitize("thread")))
#endif

/* Whose stack is where. Claimed once by the thread with this thread pointer and written by it
 * alone; a later thread at the same address takes it over. No thread-local storage: in a library
 * that was loaded by dlopen its first use may call malloc. */
struct thread_stack {
  _Atomic uint64_t thread;
  _Atomic uint64_t low, high;
};
static struct thread_stack threads[THREADS];

/* process_vm_readv is forbidden here (an old container's seccomp filter). */
static _Atomic bool no_vm_read;

uint64_t ws_mem_thread(void) {
  uint64_t tp;
#if defined(__x86_64__)
  __asm__("mov %%fs:0, %0" : "=r"(tp));
#elif defined(__aarch64__)
  __asm__("mrs %0, tpidr_el0" : "=r"(tp));
#else
  tp = 0;
#endif
  return tp;
}

/* ---- whether memory is there ------------------------------------------------------------- */

/* One aligned word. The kernel copies the new signal mask in before it looks at the first argument,
 * which is none that exists: EFAULT or EINVAL, and nothing changes. */
static bool probe_word(uint64_t at) {
  long rc = syscall(SYS_rt_sigprocmask, -1L, at & ~7ull, 0L, 8L);
  return rc == -1 && errno == EINVAL;
}

static int32_t own_pid(struct ws_walk *walk) {
  if (walk->pid == 0)
    walk->pid = (int32_t)syscall(SYS_getpid); /* asked each time: fork changes it */
  return walk->pid;
}

/* Pages [low, high) that are readable, counted from `low`, in bytes. */
static uint64_t probe_pages(struct ws_walk *walk, uint64_t low, uint64_t high) {
  enum { BATCH = 32 };
  uint64_t at = low & ~(PAGE - 1);
  while (at < high) {
    size_t n = 0;
    struct iovec remote[BATCH];
    char bytes[BATCH];
    for (uint64_t page = at; page < high && n < BATCH; page += PAGE) {
      remote[n++] = (struct iovec){(void *)(uintptr_t)page, 1};
    }
    long got = -1;
    if (n > 1 && !atomic_load_explicit(&no_vm_read, memory_order_relaxed)) {
      struct iovec local = {bytes, n};
      got = syscall(SYS_process_vm_readv, (long)own_pid(walk), &local, 1L, remote, (long)n, 0L);
      if (got < 0 && errno != EFAULT)
        atomic_store_explicit(&no_vm_read, true, memory_order_relaxed);
      if (got < 0 && errno == EFAULT) got = 0;
    }
    if (got < 0) {
      for (got = 0; (size_t)got < n && probe_word((uint64_t)(uintptr_t)remote[got].iov_base);
           got++) {
      }
    }
    at += (uint64_t)got * PAGE;
    if ((size_t)got < n) break;
  }
  return at > low ? at - low : 0;
}

static WS_RAW void raw_copy(void *to, uint64_t at, size_t size) {
  const volatile unsigned char *from = (const volatile unsigned char *)(uintptr_t)at;
  unsigned char *p = to;
  for (size_t i = 0; i < size; i++) p[i] = from[i];
}

static WS_RAW uint64_t raw_word(uint64_t at) { return *(const volatile uint64_t *)(uintptr_t)at; }

/* Copies memory that may vanish at any time, or not be there at all. */
bool ws_mem_read(struct ws_walk *walk, void *to, uint64_t at, size_t size) {
  if (at < PAGE || at >= USER_END || size == 0 || size > USER_END) return false;
  if (!atomic_load_explicit(&no_vm_read, memory_order_relaxed)) {
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)at, size};
    long got = syscall(SYS_process_vm_readv, (long)own_pid(walk), &local, 1L, &remote, 1L, 0L);
    if (got == (long)size) return true;
    if (got >= 0 || errno == EFAULT) return false;
    atomic_store_explicit(&no_vm_read, true, memory_order_relaxed);
  }
  /* Without that call a module that is unloaded between probe and copy would be fatal: a race of
   * less than a microsecond, only at the first sight of an address. */
  for (uint64_t page = at & ~(PAGE - 1); page < at + size; page += PAGE) {
    if (!probe_word(page < at ? at : page)) return false;
  }
  raw_copy(to, at, size);
  return true;
}

/* ---- the stack --------------------------------------------------------------------------- */

static struct thread_stack *own_slot(uint64_t tp) {
  if (tp == 0) return NULL;
  uint64_t h = (tp >> 6) * 0x9e3779b97f4a7c15ull >> 40;
  for (unsigned i = 0; i < 8; i++) {
    struct thread_stack *t = &threads[(h + i) % THREADS];
    uint64_t owner = atomic_load_explicit(&t->thread, memory_order_relaxed);
    if (owner == 0 && atomic_compare_exchange_strong(&t->thread, &owner, tp)) return t;
    if (owner == tp) return t;
  }
  return NULL;
}

/* The top of the stack that sp would lie on if it is the thread's own: glibc puts a thread's
 * control block at the upper end of its stack, the kernel the AT_RANDOM bytes above main's. */
static uint64_t own_top(uint64_t tp, uint64_t sp) {
  uint64_t random = getauxval(AT_RANDOM), top = 0;
  if (tp > sp) top = tp;
  if (random > sp && (top == 0 || random < top)) top = random;
  return top & ~7ull;
}

void ws_mem_stack(struct ws_stack_bounds *bounds, struct ws_walk *walk, uint64_t sp) {
  uint64_t tp = ws_mem_thread();
  struct thread_stack *own = own_slot(tp);
  bounds->extensions = 0;
  bounds->limit = 0;
  bounds->low = sp;
  if (own) {
    uint64_t low = atomic_load_explicit(&own->low, memory_order_relaxed);
    uint64_t high = atomic_load_explicit(&own->high, memory_order_relaxed);
    if (sp < low && low - sp <= PROVE_MAX) {
      /* Deeper than before, or on another stack below this one: then a gap lies between. */
      if (sp + probe_pages(walk, sp, low) >= low) {
        low = sp & ~(PAGE - 1);
        atomic_store_explicit(&own->low, low, memory_order_relaxed);
      }
    }
    if (sp >= low && sp < high) {
      bounds->high = bounds->limit = high;
      return;
    }
    uint64_t top = own_top(tp, sp);
    /* Only what is proved without a gap up to the top is remembered: other stacks may be unmapped
     * while the thread lives. */
    if (top > sp && top - sp <= PROVE_MAX && sp + probe_pages(walk, sp, top) >= top) {
      atomic_store_explicit(&own->low, sp & ~(PAGE - 1), memory_order_relaxed);
      atomic_store_explicit(&own->high, top, memory_order_relaxed);
      bounds->high = bounds->limit = top;
      return;
    }
  }
  bounds->high = sp & ~(PAGE - 1); /* nothing yet: probed on the way */
}

/* Extends the known stack up to `at`, page by page without a gap. */
static bool extend(struct ws_walk *walk, uint64_t at) {
  struct ws_stack_bounds *b = &walk->stack;
  if (b->limit != 0 || at - b->high >= 64 * PAGE) return false;
  if (b->extensions++ >= EXTENSIONS_MAX) return false;
  uint64_t want = (at & ~(PAGE - 1)) + PAGE;
  uint64_t got = probe_pages(walk, b->high, want);
  b->high += got;
  return b->high >= want;
}

/* One aligned word of the stack. */
bool ws_mem_word(struct ws_walk *walk, uint64_t at, uint64_t *value) {
  if ((at & 7) || at < walk->stack.low || at >= USER_END) return false;
  if (at >= walk->stack.high && !extend(walk, at)) return false;
  *value = raw_word(at);
  return true;
}
