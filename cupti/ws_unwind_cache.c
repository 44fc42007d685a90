#include <stdatomic.h>
#include <string.h>

#include "ws_unwind_inside.h"

/* A cache line an address. A PyTorch training run allocates from a few thousand distinct
 * addresses; only the pages that are used become resident. */
#define ENTRIES 4096u
#define WORDS 8u

/* word 0: version (low half, odd while it is written) and epoch; word 1: the address; then the
 * rule. A thread that dies while it writes leaves its entry odd: that entry is then no longer used.
 */
struct entry {
  _Alignas(64) _Atomic uint64_t word[WORDS];
};

static struct entry entries[ENTRIES];

static struct entry *slot(uint64_t pc, unsigned way) {
  uint64_t h = (pc * 0x9e3779b97f4a7c15ull) >> 32;
  return &entries[(h ^ way) & (ENTRIES - 1)];
}

static bool get(struct entry *e, uint64_t pc, uint32_t epoch, struct ws_rule *rule) {
  uint64_t head = atomic_load_explicit(&e->word[0], memory_order_acquire);
  if ((head & 1) || (uint32_t)(head >> 32) != epoch) return false;
  if (atomic_load_explicit(&e->word[1], memory_order_acquire) != pc) return false;
  uint64_t copy[WORDS - 2];
  /* Acquire, not relaxed with a fence: the thread sanitizer knows no fences, and on x86-64 both are
   * plain loads. */
  for (unsigned i = 0; i < WORDS - 2; i++)
    copy[i] = atomic_load_explicit(&e->word[i + 2], memory_order_acquire);
  if (atomic_load_explicit(&e->word[0], memory_order_relaxed) != head) return false;
  memcpy(rule, copy, sizeof copy);
  return true;
}

bool ws_cache_get(uint64_t pc, uint32_t epoch, struct ws_rule *rule) {
  return get(slot(pc, 0), pc, epoch, rule) || get(slot(pc, 1), pc, epoch, rule);
}

void ws_cache_put(uint64_t pc, uint32_t epoch, const struct ws_rule *rule) {
  struct entry *e = slot(pc, 0);
  uint64_t head = atomic_load_explicit(&e->word[0], memory_order_relaxed);
  /* The second place takes what the first holds of the same epoch. */
  if ((head & 1) || (head != 0 && (uint32_t)(head >> 32) == epoch)) {
    struct entry *other = slot(pc, 1);
    uint64_t other_head = atomic_load_explicit(&other->word[0], memory_order_relaxed);
    bool free_there = other_head == 0 || (uint32_t)(other_head >> 32) != epoch;
    if (free_there || (head & 1) || (pc >> 4 & 1)) {
      e = other;
      head = other_head;
    }
  }
  if (head & 1) return;
  uint64_t busy = (head & ~0xffffffffull) | (uint32_t)((uint32_t)head + 1);
  if (!atomic_compare_exchange_strong_explicit(
          &e->word[0], &head, busy, memory_order_acq_rel, memory_order_relaxed))
    return;
  uint64_t copy[WORDS - 2];
  memcpy(copy, rule, sizeof copy);
  atomic_store_explicit(&e->word[1], pc, memory_order_release);
  for (unsigned i = 0; i < WORDS - 2; i++)
    atomic_store_explicit(&e->word[i + 2], copy[i], memory_order_release);
  uint64_t done = (uint64_t)epoch << 32 | (uint32_t)((uint32_t)busy + 1);
  atomic_store_explicit(&e->word[0], done, memory_order_release);
}
