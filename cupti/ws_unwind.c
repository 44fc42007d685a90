#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ws_unwind.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "ws_unwind_inside.h"

/* A walk crosses at most this many signal handlers: only they may lead to another stack. */
#define SIGNALS_MAX 4
/* Frames walked without being kept (the caller's skip); deeper ones are not worth the time. */
#define SKIP_MAX 4096
#define RED_ZONE 128
/* No code lies below this address. */
#define LOWEST_CODE 4096u

struct frame {
  uint64_t r[WS_UNWIND_REGS];
  uint32_t valid;
  bool exact;   /* the address is that of an instruction, not of a call's return */
  bool guessed; /* found by a frame pointer: its address has yet to be believed */
};

static _Atomic(void *) find_object;
static _Atomic uint64_t unknown;

void ws_unwind_use_find_object(void *function) { atomic_store(&find_object, function); }

uint64_t ws_unwind_unknown(void) { return atomic_load_explicit(&unknown, memory_order_relaxed); }

/* ---- which code -------------------------------------------------------------------------- */

/* glibc's struct dl_find_object as it is on x86-64 and aarch64. */
struct found_object {
  unsigned long long flags;
  void *start, *end;
  void *link_map;
  void *eh_frame;
  unsigned long long reserved[7];
};

/* Asks glibc about an address that is in no snapshot. */
static const struct ws_maps_module *ask(struct ws_walk *walk, uint64_t pc) {
  void *function = atomic_load_explicit(&find_object, memory_order_relaxed);
  if (!function) return NULL;
  if (walk->found.high && pc >= walk->found.low && pc < walk->found.high) return &walk->found;
  int (*find)(void *, struct found_object *);
  memcpy(&find, &function, sizeof find);
  struct found_object object;
  memset(&object, 0, sizeof object);
  if (find((void *)(uintptr_t)pc, &object) != 0) return NULL;
  struct ws_maps_module *m = &walk->found;
  m->low = m->start = (uint64_t)(uintptr_t)object.start;
  m->high = m->end = (uint64_t)(uintptr_t)object.end;
  m->hdr = m->table = 0;
  uint64_t hdr = (uint64_t)(uintptr_t)object.eh_frame;
  uint8_t bytes[WS_EH_HDR_BYTES];
  if (hdr >= m->low && hdr < m->high && ws_mem_read(walk, bytes, hdr, sizeof bytes)) {
    ws_maps_set_eh_frame(m, hdr, m->high - hdr, bytes);
  }
  return m;
}

static const struct ws_maps_module *module_of(struct ws_walk *walk, uint64_t pc) {
  const struct ws_maps_module *m = ws_maps_find(walk->maps, pc);
  if (m) return m;
  atomic_fetch_add_explicit(&unknown, 1, memory_order_relaxed);
  return ask(walk, pc);
}

/* ---- believing an address ---------------------------------------------------------------- */

#if defined(__x86_64__)
#define HAS_CFI true
/* Whether a call instruction ends at pc: what tells return addresses from other numbers. */
static bool behind_call(struct ws_walk *walk, uint64_t pc) {
  uint8_t b[7] = {0};
  if (pc < LOWEST_CODE + sizeof b) return false;
  if (!ws_mem_read(walk, b, pc - sizeof b, sizeof b)) {
    size_t here = (pc - 1) % 4096 + 1; /* generated code may begin with its page */
    if (here >= sizeof b || !ws_mem_read(walk, b + sizeof b - here, pc - here, here)) return false;
  }
  if (b[2] == 0xe8) return true;                     /* call rel32 */
  for (unsigned length = 2; length <= 7; length++) { /* ff /2: call r/m64 */
    const uint8_t *p = b + sizeof b - length;
    if (p[0] != 0xff || (p[1] >> 3 & 7) != 2) continue;
    unsigned mod = p[1] >> 6, rm = p[1] & 7, need = 2;
    if (mod != 3 && rm == 4) {
      need++;
      if (mod == 0 && (p[2] & 7) == 5) need += 4;
    }
    if (mod == 0 && rm == 5) need += 4;
    if (mod == 1) need += 1;
    if (mod == 2) need += 4;
    if (need == length) return true;
  }
  return false;
}

/* The kernel's way back from a signal: mov $15, %eax; syscall. */
static bool is_sigreturn(struct ws_walk *walk, uint64_t pc) {
  static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
  uint8_t b[sizeof code];
  return ws_mem_read(walk, b, pc, sizeof b) && memcmp(b, code, sizeof b) == 0;
}

/* Registers of the interrupted function: ucontext at the stack pointer, as the kernel lays it out.
 */
static bool signal_step(struct ws_walk *walk, struct frame *f) {
  static const uint8_t order[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};
  struct frame next = {.exact = true};
  uint64_t at = f->r[WS_REG_RSP] + 40;
  for (unsigned i = 0; i < sizeof order; i++) {
    if (!ws_mem_word(walk, at + 8 * i, &next.r[order[i]])) return false;
  }
  next.valid = (1u << WS_UNWIND_REGS) - 1;
  /* In an epilogue, what was popped last is still looked up below the stack pointer: the kernel
   * spares the red zone. */
  if (next.r[WS_REG_RSP] < LOWEST_CODE) return false;
  ws_mem_stack(&walk->stack, walk, (next.r[WS_REG_RSP] & ~7ull) - RED_ZONE);
  *f = next;
  return true;
}
#else
#define HAS_CFI false /* frame pointers are the rule on aarch64 */
static bool behind_call(struct ws_walk *walk, uint64_t pc) {
  uint32_t code;
  if ((pc & 3) || pc < LOWEST_CODE + 4 || !ws_mem_read(walk, &code, pc - 4, 4)) return false;
  return code >> 26 == 0x25 || (code & 0xfffff000u) == 0xd63f0000u ||
         (code & 0xfffff000u) == 0xd73f0000u;
}

static bool is_sigreturn(struct ws_walk *walk, uint64_t pc) {
  (void)walk;
  (void)pc;
  return false;
}

static bool signal_step(struct ws_walk *walk, struct frame *f) {
  (void)walk;
  (void)f;
  return false;
}
#endif

/* ---- one step ---------------------------------------------------------------------------- */

static const uint8_t saved_register[WS_SAVES] = {
    WS_REG_RBX, WS_REG_RBP, WS_REG_R12, WS_REG_R12 + 1, WS_REG_R12 + 2, WS_REG_R12 + 3, WS_REG_RA};

static bool has(const struct frame *f, unsigned reg) {
  return reg < WS_UNWIND_REGS && (f->valid >> reg & 1);
}

static bool frame_address(struct ws_walk *walk,
                          const struct frame *f,
                          const struct ws_rule *rule,
                          uint64_t *cfa) {
  if (!has(f, rule->reg)) return false;
  uint64_t at = f->r[rule->reg] + (uint64_t)(int64_t)rule->off;
  switch (rule->cfa) {
  case WS_CFA_REGISTER:
    *cfa = at;
    return true;
  case WS_CFA_MEMORY:
    if (!ws_mem_word(walk, at, cfa)) return false;
    *cfa += (uint64_t)(int64_t)rule->add;
    return true;
  case WS_CFA_PLT:
    at = f->r[WS_REG_RSP] + (uint64_t)(int64_t)rule->off;
    *cfa = at + ((int32_t)(f->r[WS_REG_RA] & 15) >= rule->add ? 8 : 0);
    return true;
  default:
    return false;
  }
}

/* One register of the caller; false if it is not known. */
static bool saved_value(struct ws_walk *walk,
                        const struct frame *f,
                        const struct ws_rule *rule,
                        unsigned i,
                        uint64_t cfa,
                        uint64_t *value) {
  uint64_t off = (uint64_t)(int64_t)rule->save_off[i];
  unsigned from = WS_SAVE_REG(rule->save[i]);
  switch (WS_SAVE_KIND(rule->save[i])) {
  case WS_SAVE_SAME:
    *value = f->r[saved_register[i]];
    return has(f, saved_register[i]) && i != WS_SAVE_RA;
  case WS_SAVE_AT_CFA:
    return ws_mem_word(walk, cfa + off, value);
  case WS_SAVE_CFA:
    *value = cfa + off;
    return true;
  case WS_SAVE_AT_REGISTER:
    return has(f, from) && ws_mem_word(walk, f->r[from] + off, value);
  case WS_SAVE_REGISTER:
    *value = f->r[from];
    return has(f, from);
  default:
    return false;
  }
}

/* The caller's frame by a rule; false at the end of the stack and where it makes no sense. */
static bool rule_step(struct ws_walk *walk, struct frame *f, const struct ws_rule *rule) {
  uint64_t cfa;
  if (rule->cfa == WS_CFA_END || !frame_address(walk, f, rule, &cfa)) return false;
  /* The stack is left upwards, or the walk could go round in circles. */
  if ((cfa & 7) || cfa <= f->r[WS_REG_RSP]) return false;
  uint64_t value[WS_SAVES];
  uint32_t valid = 1u << WS_REG_RSP;
  for (unsigned i = 0; i < WS_SAVES; i++) {
    if (saved_value(walk, f, rule, i, cfa, &value[i])) valid |= 1u << saved_register[i];
  }
  if (!(valid >> WS_REG_RA & 1)) return false;
  for (unsigned i = 0; i < WS_SAVES; i++) f->r[saved_register[i]] = value[i];
  f->r[WS_REG_RSP] = cfa;
  f->valid = valid;
  f->exact = f->guessed = false;
  return true;
}

/* The caller's frame by the frame pointer. */
static bool pointer_step(struct ws_walk *walk, struct frame *f) {
  uint64_t at = f->r[WS_REG_RBP], pointer, ra;
  if (!has(f, WS_REG_RBP) || at < f->r[WS_REG_RSP]) return false;
  if (!ws_mem_word(walk, at, &pointer) || !ws_mem_word(walk, at + 8, &ra)) return false;
#if defined(__aarch64__)
  ra &= (1ull << 48) - 1; /* without the signature of pointer authentication */
#endif
  f->r[WS_REG_RBP] = pointer;
  f->r[WS_REG_RA] = ra;
  f->r[WS_REG_RSP] = at + 16;
  f->valid = 1u << WS_REG_RBP | 1u << WS_REG_RSP | 1u << WS_REG_RA;
  f->exact = false;
  f->guessed = true;
  return true;
}

/* Finds the rule for the frame's address, and whether to believe the address at all: garbage in a
 * stack ends the walk here. */
static bool look_up(struct ws_walk *walk, const struct frame *f, struct ws_rule *rule) {
  uint64_t pc = f->r[WS_REG_RA], at = f->exact ? pc : pc - 1;
  if (pc < LOWEST_CODE) return false;
  if (ws_cache_get(at, walk->epoch, rule)) return true;
  const struct ws_maps_module *m = module_of(walk, at);
  if (f->guessed || (!m && !f->exact)) {
    bool sure = behind_call(walk, pc) || (!f->guessed && is_sigreturn(walk, pc));
    if (!sure) return false;
  }
  if (HAS_CFI && m && ws_cfi_rule(walk, m, at, rule)) {
    ws_cache_put(at, walk->epoch, rule);
    return true;
  }
  memset(rule, 0, sizeof *rule);
  rule->cfa = is_sigreturn(walk, pc) ? WS_CFA_SIGNAL : WS_CFA_NONE;
  if (m)
    ws_cache_put(at, walk->epoch, rule); /* code made at run time may be replaced at any moment */
  return true;
}

static bool
step(struct ws_walk *walk, struct frame *f, const struct ws_rule *rule, unsigned *signals) {
  switch (rule->cfa) {
  case WS_CFA_NONE:
    return pointer_step(walk, f);
  case WS_CFA_SIGNAL:
    return (*signals)++ < SIGNALS_MAX && signal_step(walk, f);
  default:
    return rule_step(walk, f, rule);
  }
}

/* ---- the walk ---------------------------------------------------------------------------- */

size_t ws_unwind_from(const struct ws_unwind_regs *regs, uint64_t *pcs, size_t max, size_t skip) {
  int saved = errno;
  unsigned token, signals = 0;
  struct ws_walk walk;
  struct frame f;
  size_t count = 0;
  memset(&f, 0, sizeof f);
  memcpy(f.r, regs->r, sizeof f.r);
  f.valid = regs->valid;
  if (!has(&f, WS_REG_RSP) || !has(&f, WS_REG_RA)) return 0;
  walk.pid = 0;
  walk.found.low = walk.found.high = 0;
  walk.maps = ws_maps_enter(&token);
  walk.epoch = walk.maps ? walk.maps->epoch : 0;
  ws_mem_stack(&walk.stack, &walk, f.r[WS_REG_RSP]);
  struct ws_rule rule;
  for (size_t steps = 0; count < max && steps - count <= SKIP_MAX && look_up(&walk, &f, &rule);
       steps++) {
    if (skip > 0) {
      skip--;
    } else {
      pcs[count++] = f.r[WS_REG_RA] + (f.exact ? 1 : 0);
    }
    if (!step(&walk, &f, &rule, &signals)) break;
  }
  ws_maps_leave(token);
  errno = saved;
  return count;
}

/* Called by ws_unwind below with the registers of its caller. */
__attribute__((used, visibility("hidden"))) size_t
ws_unwind_entry(struct ws_unwind_regs *regs, uint64_t *pcs, size_t max, size_t skip);

size_t ws_unwind_entry(struct ws_unwind_regs *regs, uint64_t *pcs, size_t max, size_t skip) {
#if defined(__x86_64__)
  regs->valid =
      1u << WS_REG_RBX | 1u << WS_REG_RBP | 1u << WS_REG_RSP | 0xfu << WS_REG_R12 | 1u << WS_REG_RA;
#else
  regs->valid = 1u << WS_REG_RBP | 1u << WS_REG_RSP | 1u << WS_REG_RA;
#endif
  return ws_unwind_from(regs, pcs, max, skip);
}

/* Assembly, because only here the registers are exactly the caller's. struct ws_unwind_regs lies on
 * the stack: 17 registers and a mask. */
#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl ws_unwind\n"
        ".hidden ws_unwind\n"
        ".type ws_unwind, @function\n"
        "ws_unwind:\n"
        ".cfi_startproc\n"
        "  endbr64\n"
        "  lea 8(%rsp), %rax\n"
        "  mov (%rsp), %r10\n"
        "  sub $152, %rsp\n"
        ".cfi_adjust_cfa_offset 152\n"
        "  mov %rbx, 24(%rsp)\n"
        "  mov %rbp, 48(%rsp)\n"
        "  mov %rax, 56(%rsp)\n"
        "  mov %r12, 96(%rsp)\n"
        "  mov %r13, 104(%rsp)\n"
        "  mov %r14, 112(%rsp)\n"
        "  mov %r15, 120(%rsp)\n"
        "  mov %r10, 128(%rsp)\n"
        "  mov %rdx, %rcx\n"
        "  mov %rsi, %rdx\n"
        "  mov %rdi, %rsi\n"
        "  mov %rsp, %rdi\n"
        "  call ws_unwind_entry\n"
        "  add $152, %rsp\n"
        ".cfi_adjust_cfa_offset -152\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size ws_unwind, .-ws_unwind\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl ws_unwind\n"
        ".hidden ws_unwind\n"
        ".type ws_unwind, %function\n"
        "ws_unwind:\n"
        ".cfi_startproc\n"
        "  mov x9, sp\n"
        "  sub sp, sp, #176\n"
        ".cfi_adjust_cfa_offset 176\n"
        "  stp x29, x30, [sp, #160]\n"
        ".cfi_rel_offset x29, 160\n"
        ".cfi_rel_offset x30, 168\n"
        "  str x29, [sp, #48]\n"
        "  str x9, [sp, #56]\n"
        "  str x30, [sp, #128]\n"
        "  mov x3, x2\n"
        "  mov x2, x1\n"
        "  mov x1, x0\n"
        "  mov x0, sp\n"
        "  bl ws_unwind_entry\n"
        "  ldp x29, x30, [sp, #160]\n"
        ".cfi_restore x29\n"
        ".cfi_restore x30\n"
        "  add sp, sp, #176\n"
        ".cfi_adjust_cfa_offset -176\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size ws_unwind, .-ws_unwind\n");
#else
size_t ws_unwind(uint64_t *pcs, size_t max, size_t skip) {
  (void)pcs;
  (void)max;
  (void)skip;
  return 0;
}
#endif
