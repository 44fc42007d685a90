/* ws_unwind_inside.h: what the files of the unwinder share. Nobody else includes it.
 *
 * ws_unwind.c walks, ws_unwind_cfi.c finds and decodes rules, ws_unwind_cache.c remembers them,
 * ws_unwind_mem.c reads memory that may not be there.
 */
#ifndef WS_UNWIND_INSIDE_H
#define WS_UNWIND_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_maps.h"

enum { WS_REG_RBX = 3, WS_REG_RBP = 6, WS_REG_RSP = 7, WS_REG_R12 = 12, WS_REG_RA = 16 };

/* How the canonical frame address (the caller's stack pointer) is found. */
enum ws_cfa_kind {
  WS_CFA_NONE = 0,
  WS_CFA_REGISTER = 1, /* reg + off */
  WS_CFA_MEMORY = 2,   /* *(reg + off) + add */
  WS_CFA_PLT = 3,      /* rsp + off, 8 more when (rip & 15) >= add: lazy procedure linkage */
  WS_CFA_SIGNAL = 4,   /* a signal's frame: everything lies in its ucontext */
  WS_CFA_END = 5       /* outermost frame */
};

/* How one of the caller's registers is found; stored as kind | register << 3. */
enum ws_save_kind {
  WS_SAVE_SAME = 0,
  WS_SAVE_AT_CFA = 1,      /* *(cfa + off) */
  WS_SAVE_CFA = 2,         /* cfa + off */
  WS_SAVE_AT_REGISTER = 3, /* *(register + off) */
  WS_SAVE_REGISTER = 4,    /* register */
  WS_SAVE_LOST = 5
};
#define WS_SAVE_KIND(save) ((save)&7u)
#define WS_SAVE_REG(save) ((save) >> 3)

/* Registers that calls preserve, and the return address last. */
#define WS_SAVES 7
#define WS_SAVE_RA (WS_SAVES - 1)

/* How to step over one address. */
struct ws_rule {
  int32_t off;
  int32_t add;
  int32_t save_off[WS_SAVES];
  uint8_t cfa; /* ws_cfa_kind */
  uint8_t reg;
  uint8_t save[WS_SAVES];
  uint8_t reserved[3];
};
_Static_assert(sizeof(struct ws_rule) == 48,
               "a rule, its address and its version fill a cache line");

/* The thread's stack as far as it is known to be readable. */
struct ws_stack_bounds {
  uint64_t low, high;
  uint64_t limit;      /* never read beyond; 0: none known */
  uint32_t extensions; /* probes made beyond `high` */
};

/* One unwind. */
struct ws_walk {
  const struct ws_maps_snapshot *maps;
  uint32_t epoch;
  int32_t pid; /* 0: not asked yet */
  struct ws_stack_bounds stack;
  struct ws_maps_module found; /* the last one that _dl_find_object told us of */
};

/* ws_unwind_mem.c */
uint64_t ws_mem_thread(void);
void ws_mem_stack(struct ws_stack_bounds *bounds, struct ws_walk *walk, uint64_t sp);
bool ws_mem_word(struct ws_walk *walk, uint64_t at, uint64_t *value);
bool ws_mem_read(struct ws_walk *walk, void *to, uint64_t at, size_t size);

/* ws_unwind_cache.c */
bool ws_cache_get(uint64_t pc, uint32_t epoch, struct ws_rule *rule);
void ws_cache_put(uint64_t pc, uint32_t epoch, const struct ws_rule *rule);

/* ws_unwind_cfi.c: false if there is no rule for pc in the module or none that we understand. */
bool ws_cfi_rule(struct ws_walk *walk,
                 const struct ws_maps_module *module,
                 uint64_t pc,
                 struct ws_rule *rule);

#endif
