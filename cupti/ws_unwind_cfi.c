#include <string.h>

#include "ws_unwind_inside.h"

/* Nothing here trusts what it reads: a module may have been unloaded, and its place taken by other
 * data, since the snapshot was made. Reads go through ws_mem_read, within the module's bounds. */

#define WINDOW 128u
/* No compiler nests remembered states deeper. */
#define STATES 8
/* A call frame program longer than this is not believed. */
#define PROGRAM_MAX (64u << 10)

/* A window on the module's tables that moves as it is read. */
struct cursor {
  struct ws_walk *walk;
  uint64_t low, high; /* the module */
  uint64_t at, end;
  uint64_t window; /* address of the first byte in `bytes` */
  uint32_t filled;
  bool bad;
  uint8_t bytes[WINDOW];
};

struct cie {
  uint64_t code_align;
  int64_t data_align;
  uint8_t pointer_encoding;
  bool augmented, signal;
  uint64_t program, program_end;
};

struct row {
  struct ws_rule rule;
  bool known; /* the frame address has a form that rules can express */
};

/* ---- reading ----------------------------------------------------------------------------- */

static void seek(struct cursor *c, uint64_t at, uint64_t end) {
  c->at = at;
  c->end = end;
  if (at < c->low || end > c->high || at > end) c->bad = true;
}

static const uint8_t *take(struct cursor *c, uint32_t n) {
  static const uint8_t nothing[8] = {0};
  if (c->bad || c->end - c->at < n) {
    c->bad = true;
    return nothing;
  }
  if (c->at < c->window || c->at + n > c->window + c->filled) {
    uint64_t left = c->end - c->at;
    uint32_t want = left < WINDOW ? (uint32_t)left : WINDOW;
    c->filled = 0;
    if (!ws_mem_read(c->walk, c->bytes, c->at, want)) {
      c->bad = true;
      return nothing;
    }
    c->window = c->at;
    c->filled = want;
  }
  const uint8_t *p = c->bytes + (c->at - c->window);
  c->at += n;
  return p;
}

static uint8_t u8(struct cursor *c) {
  return *take(c, 1);
}

static uint32_t u32(struct cursor *c) {
  uint32_t v;
  memcpy(&v, take(c, 4), 4);
  return v;
}

static uint64_t fixed(struct cursor *c, uint32_t n) {
  uint64_t v = 0;
  memcpy(&v, take(c, n), n);
  return v;
}

static int64_t sign_extend(uint64_t v, uint32_t bytes) {
  uint32_t shift = 64 - 8 * bytes;
  return (int64_t)(v << shift) >> shift;
}

static uint64_t uleb(struct cursor *c) {
  uint64_t v = 0;
  for (unsigned shift = 0; !c->bad && shift < 70; shift += 7) {
    uint8_t b = u8(c);
    if (shift < 64) v |= (uint64_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) return v;
  }
  c->bad = true;
  return 0;
}

static int64_t sleb(struct cursor *c) {
  uint64_t v = 0;
  for (unsigned shift = 0; !c->bad && shift < 70; shift += 7) {
    uint8_t b = u8(c);
    if (shift < 64) v |= (uint64_t)(b & 0x7f) << shift;
    if (b & 0x80) continue;
    if (shift + 7 < 64 && (b & 0x40)) v |= ~0ull << (shift + 7);
    return (int64_t)v;
  }
  c->bad = true;
  return 0;
}

/* A pointer as .eh_frame encodes it; only its value's width matters where `relative` is false. */
static uint64_t encoded(struct cursor *c, uint8_t encoding, bool relative) {
  if (encoding == 0xff) return 0;
  uint64_t here = c->at, v = 0;
  switch (encoding & 0x0f) {
  case 0x00:
  case 0x04:
  case 0x0c: v = fixed(c, 8); break;
  case 0x01: v = uleb(c); break;
  case 0x02: v = fixed(c, 2); break;
  case 0x03: v = fixed(c, 4); break;
  case 0x09: v = (uint64_t)sleb(c); break;
  case 0x0a: v = (uint64_t)sign_extend(fixed(c, 2), 2); break;
  case 0x0b: v = (uint64_t)sign_extend(fixed(c, 4), 4); break;
  default: c->bad = true;
  }
  if (!relative) return v;
  if ((encoding & 0x70) == 0x10) return v + here;
  if ((encoding & 0xf0) != 0) c->bad = true; /* indirect or relative to what we do not know */
  return v;
}

/* ---- expressions ------------------------------------------------------------------------- */

/* A value on the expression's stack: a constant, reg + off, or *(reg + off) + add. */
struct value {
  enum { CONSTANT, REGISTER, MEMORY } kind;
  uint8_t reg;
  int64_t off, add;
};

static void add_to(struct value *v, int64_t n) {
  int64_t *to = v->kind == MEMORY ? &v->add : &v->off;
  *to = (int64_t)((uint64_t)*to + (uint64_t)n);
}

/* The lazy procedure linkage table's own: rsp + a + ((rip & 15) >= n) * 8. */
static bool plt_expression(const uint8_t *p, uint64_t size, struct ws_rule *rule) {
  if (size != 11 || p[0] != 0x77 || p[1] > 0x3f || p[2] != 0x80 || p[3] != 0) return false;
  if (p[4] != 0x3f || p[5] != 0x1a || p[6] < 0x30 || p[6] > 0x4f) return false;
  if (p[7] != 0x2a || p[8] != 0x33 || p[9] != 0x24 || p[10] != 0x22) return false;
  rule->off = p[1];
  rule->add = p[6] - 0x30;
  return true;
}

/* One operation; false if it has no place in the three forms above. */
static bool operate(struct cursor *c, uint8_t op, struct value *stack, int *depth) {
  struct value v = {CONSTANT, 0, 0, 0};
  if (op >= 0x30 && op <= 0x4f) {
    v.off = op - 0x30;
  } else if (op >= 0x70 && op <= 0x8f) {
    v = (struct value){REGISTER, (uint8_t)(op - 0x70), sleb(c), 0};
  } else {
    switch (op) {
    case 0x08: v.off = u8(c); break;
    case 0x09: v.off = sign_extend(fixed(c, 1), 1); break;
    case 0x0a: v.off = (int64_t)fixed(c, 2); break;
    case 0x0b: v.off = sign_extend(fixed(c, 2), 2); break;
    case 0x0c: v.off = (int64_t)fixed(c, 4); break;
    case 0x0d: v.off = sign_extend(fixed(c, 4), 4); break;
    case 0x10: v.off = (int64_t)uleb(c); break;
    case 0x11: v.off = sleb(c); break;
    case 0x06: /* deref */
      if (*depth < 1 || stack[*depth - 1].kind != REGISTER) return false;
      stack[*depth - 1].kind = MEMORY;
      return true;
    case 0x23: /* plus_uconst */
      if (*depth < 1) return false;
      add_to(&stack[*depth - 1], (int64_t)uleb(c));
      return true;
    case 0x22: /* plus */
    case 0x1c: /* minus */
      if (*depth < 2) return false;
      if (op == 0x22 && stack[*depth - 2].kind == CONSTANT) {
        v = stack[*depth - 2];
        stack[*depth - 2] = stack[*depth - 1];
        stack[*depth - 1] = v;
      }
      if (stack[*depth - 1].kind != CONSTANT) return false;
      v = stack[*depth - 1];
      add_to(&stack[*depth - 2], op == 0x22 ? v.off : (int64_t)(0 - (uint64_t)v.off));
      (*depth)--;
      return true;
    default: return false;
    }
  }
  if (*depth >= 4) return false;
  stack[(*depth)++] = v;
  return true;
}

static bool fits(int64_t v) {
  return v >= INT32_MIN && v <= INT32_MAX;
}

/* Reads an expression into one value; the cursor ends behind it in any case. */
static bool expression(struct cursor *c, struct value *result, struct ws_rule *plt) {
  struct value stack[4];
  uint64_t size = uleb(c);
  uint64_t start = c->at, end = start + size, limit = c->end;
  if (c->bad || size > 1024 || end > limit) {
    c->bad = true;
    return false;
  }
  if (plt && size == 11) {
    bool is = plt_expression(take(c, 11), 11, plt);
    c->at = start;
    if (is) {
      c->at = end;
      plt->cfa = WS_CFA_PLT;
      return true;
    }
  }
  int depth = 0;
  bool ok = true;
  c->end = end;
  while (ok && !c->bad && c->at < end) ok = operate(c, u8(c), stack, &depth);
  c->end = limit;
  if (c->bad) return false;
  c->at = end;
  if (!ok || depth < 1) return false;
  *result = stack[depth - 1];
  return fits(result->off) && fits(result->add) && result->reg < WS_REG_RA;
}

/* ---- the program of a function's frame --------------------------------------------------- */

static int save_index(uint64_t reg) {
  switch (reg) {
  case WS_REG_RBX: return 0;
  case WS_REG_RBP: return 1;
  case WS_REG_R12: return 2;
  case WS_REG_R12 + 1: return 3;
  case WS_REG_R12 + 2: return 4;
  case WS_REG_R12 + 3: return 5;
  case WS_REG_RA: return WS_SAVE_RA;
  default: return -1;
  }
}

static void set_save(struct row *row, uint64_t reg, unsigned kind, unsigned from, int64_t off) {
  int i = save_index(reg);
  if (i < 0) return;
  if (!fits(off) || from >= WS_REG_RA) kind = WS_SAVE_LOST;
  row->rule.save[i] = (uint8_t)(kind | (from & 15) << 3);
  row->rule.save_off[i] = (int32_t)off;
}

static void set_cfa(struct row *row, uint64_t reg, int64_t off) {
  row->known = reg < WS_REG_RA && fits(off);
  row->rule.cfa = WS_CFA_REGISTER;
  row->rule.reg = (uint8_t)reg;
  row->rule.off = (int32_t)off;
}

static void cfa_expression(struct cursor *c, struct row *row) {
  struct value v;
  row->rule.cfa = WS_CFA_NONE;
  row->known = expression(c, &v, &row->rule);
  if (!row->known || row->rule.cfa == WS_CFA_PLT) return;
  row->known = v.kind != CONSTANT;
  row->rule.cfa = v.kind == MEMORY ? WS_CFA_MEMORY : WS_CFA_REGISTER;
  row->rule.reg = v.reg;
  row->rule.off = (int32_t)v.off;
  row->rule.add = (int32_t)v.add;
}

static void save_expression(struct cursor *c, struct row *row) {
  struct value v;
  uint64_t reg = uleb(c);
  bool ok = expression(c, &v, NULL) && v.kind == REGISTER;
  set_save(row, reg, ok ? WS_SAVE_AT_REGISTER : WS_SAVE_LOST, ok ? v.reg : 0, ok ? v.off : 0);
}

static void restore(struct row *row, const struct row *initial, uint64_t reg) {
  int i = save_index(reg);
  if (i < 0) return;
  row->rule.save[i] = initial->rule.save[i];
  row->rule.save_off[i] = initial->rule.save_off[i];
}

static int64_t scaled(const struct cie *cie, int64_t factored) {
  return (int64_t)((uint64_t)factored * (uint64_t)cie->data_align);
}

/* Operations that set one register's rule; false if op is none of them. */
static bool save_operation(struct cursor *c, uint8_t op, const struct cie *cie, struct row *row, const struct row *initial) {
  uint64_t reg;
  switch (op) {
  case 0x05: reg = uleb(c); set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)uleb(c))); return true;
  case 0x06: restore(row, initial, uleb(c)); return true;
  case 0x07: set_save(row, uleb(c), WS_SAVE_LOST, 0, 0); return true;
  case 0x08: set_save(row, uleb(c), WS_SAVE_SAME, 0, 0); return true;
  case 0x09: {
    reg = uleb(c);
    uint64_t from = uleb(c);
    set_save(row, reg, WS_SAVE_REGISTER, from > 255 ? 255 : (unsigned)from, 0);
    return true;
  }
  case 0x10: save_expression(c, row); return true;
  case 0x11: reg = uleb(c); set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, sleb(c))); return true;
  case 0x14: reg = uleb(c); set_save(row, reg, WS_SAVE_CFA, 0, scaled(cie, (int64_t)uleb(c))); return true;
  case 0x15: reg = uleb(c); set_save(row, reg, WS_SAVE_CFA, 0, scaled(cie, sleb(c))); return true;
  case 0x16: { /* val_expression: the register is the expression's value, which no compiler writes */
    struct value v;
    reg = uleb(c);
    expression(c, &v, NULL);
    set_save(row, reg, WS_SAVE_LOST, 0, 0);
    return true;
  }
  case 0x2f: reg = uleb(c); set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)(0 - uleb(c)))); return true;
  default: return false;
  }
}

/* Operations that set the frame address; false if op is none of them. */
static bool cfa_operation(struct cursor *c, uint8_t op, const struct cie *cie, struct row *row) {
  uint64_t reg;
  int64_t off = row->rule.off;
  switch (op) {
  case 0x0c: reg = uleb(c); set_cfa(row, reg, (int64_t)uleb(c)); return true;
  case 0x0d: set_cfa(row, uleb(c), off); return true;
  case 0x0e: set_cfa(row, row->rule.reg, (int64_t)uleb(c)); return true;
  case 0x0f: cfa_expression(c, row); return true;
  case 0x12: reg = uleb(c); set_cfa(row, reg, scaled(cie, sleb(c))); return true;
  case 0x13: set_cfa(row, row->rule.reg, scaled(cie, sleb(c))); return true;
  default: return false;
  }
}

/* How far an operation advances; false if it is no such operation. */
static bool advance(struct cursor *c, uint8_t op, const struct cie *cie, uint64_t *loc) {
  if (op >> 6 == 1) {
    *loc += (op & 0x3fu) * cie->code_align;
    return true;
  }
  switch (op) {
  case 0x01: *loc = encoded(c, cie->pointer_encoding, true); return true;
  case 0x02: *loc += fixed(c, 1) * cie->code_align; return true;
  case 0x03: *loc += fixed(c, 2) * cie->code_align; return true;
  case 0x04: *loc += fixed(c, 4) * cie->code_align; return true;
  default: return false;
  }
}

/* Runs the cursor's program up to pc. */
static bool run(struct cursor *c, const struct cie *cie, uint64_t loc, uint64_t pc, struct row *row, const struct row *initial) {
  struct row states[STATES];
  int depth = 0;
  while (!c->bad && c->at < c->end) {
    uint8_t op = u8(c);
    if (advance(c, op, cie, &loc)) {
      if (loc > pc) break;
    } else if (op >> 6 == 2) {
      set_save(row, op & 0x3f, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)uleb(c)));
    } else if (op >> 6 == 3) {
      restore(row, initial, op & 0x3f);
    } else if (op == 0x0a) {
      if (depth >= STATES) return false;
      states[depth++] = *row;
    } else if (op == 0x0b) {
      if (depth == 0) return false;
      *row = states[--depth];
    } else if (op == 0x2e) {
      uleb(c); /* GNU_args_size: how much an exception must pop, nothing to us */
    } else if (op != 0 && !cfa_operation(c, op, cie, row) && !save_operation(c, op, cie, row, initial)) {
      return false;
    }
  }
  return !c->bad;
}

/* ---- finding it -------------------------------------------------------------------------- */

/* Address of the description of the last function that starts at or before pc; 0: none. */
static uint64_t find_fde(struct ws_walk *walk, const struct ws_maps_module *m, uint64_t pc) {
  enum { LAST = 32 };
  int32_t pair[2], some[2 * LAST];
  uint32_t low = 0, high = m->fde_count; /* the answer is in [low, high) */
  int64_t want = (int64_t)(pc - m->hdr);
  while (high - low > LAST) {
    uint32_t middle = low + (high - low) / 2;
    if (!ws_mem_read(walk, pair, m->table + 8ull * middle, 8)) return 0;
    if (pair[0] <= want) {
      low = middle;
    } else {
      high = middle;
    }
  }
  if (high == low || !ws_mem_read(walk, some, m->table + 8ull * low, 8ull * (high - low))) return 0;
  uint32_t i = high - low;
  while (i > 0 && some[2 * (i - 1)] > want) i--;
  return i == 0 ? 0 : m->hdr + (uint64_t)(int64_t)some[2 * i - 1];
}

/* Length field of an entry at the cursor; the cursor ends where the entry does. */
static void entry(struct cursor *c, uint64_t at) {
  seek(c, at, c->high);
  uint64_t length = u32(c);
  if (length == 0xffffffff) length = fixed(c, 8);
  if (length == 0 || length > PROGRAM_MAX || length > c->high - c->at) c->bad = true;
  if (!c->bad) c->end = c->at + length;
}

static bool read_cie(struct cursor *c, uint64_t at, struct cie *cie) {
  char letters[8] = {0};
  entry(c, at);
  if (u32(c) != 0) return false;
  uint8_t version = u8(c);
  if (version != 1 && version != 3 && version != 4) return false;
  for (unsigned i = 0;; i++) {
    uint8_t letter = u8(c);
    if (c->bad || i >= sizeof letters - 1) return false;
    if (letter == 0) break;
    letters[i] = (char)letter;
  }
  if (version == 4 && (u8(c) != 8 || u8(c) != 0)) return false; /* address and segment sizes */
  cie->code_align = uleb(c);
  cie->data_align = sleb(c);
  uint64_t ra = version == 1 ? u8(c) : uleb(c);
  cie->pointer_encoding = 0;
  cie->signal = false;
  cie->augmented = letters[0] == 'z';
  if (letters[0] != 0 && !cie->augmented) return false;
  if (cie->augmented) {
    uint64_t size = uleb(c);
    if (c->bad || size > c->end - c->at) return false;
    uint64_t program = c->at + size;
    for (const char *l = letters + 1; *l; l++) {
      if (*l == 'R') {
        cie->pointer_encoding = u8(c);
      } else if (*l == 'L') {
        u8(c);
      } else if (*l == 'P') {
        encoded(c, u8(c), false);
      } else if (*l == 'S') {
        cie->signal = true;
      } else if (*l != 'B') {
        break; /* what follows is skipped by its size */
      }
    }
    c->at = program;
  }
  cie->program = c->at;
  cie->program_end = c->end;
  return !c->bad && ra == WS_REG_RA && cie->code_align >= 1;
}

bool ws_cfi_rule(struct ws_walk *walk, const struct ws_maps_module *module, uint64_t pc, struct ws_rule *rule) {
  if (module->table == 0) return false;
  uint64_t fde = find_fde(walk, module, pc);
  if (fde == 0) return false;
  struct cursor c = {.walk = walk, .low = module->low, .high = module->high};
  struct cie cie;
  entry(&c, fde);
  uint64_t here = c.at, back = u32(&c);
  if (c.bad || back == 0 || back > here - module->low) return false;
  uint64_t fde_at = c.at, fde_end = c.end;
  if (!read_cie(&c, here - back, &cie)) return false;
  seek(&c, fde_at, fde_end);
  uint64_t start = encoded(&c, cie.pointer_encoding, true);
  uint64_t length = encoded(&c, cie.pointer_encoding, false);
  if (c.bad || pc < start || pc - start >= length) return false;
  memset(rule, 0, sizeof *rule);
  if (cie.signal) {
    rule->cfa = WS_CFA_SIGNAL;
    return true;
  }
  if (cie.augmented) {
    uint64_t size = uleb(&c);
    if (c.bad || size > c.end - c.at) return false;
    c.at += size;
  }
  uint64_t program = c.at;
  struct row row = {.known = false};
  seek(&c, cie.program, cie.program_end);
  struct row none = row;
  if (!run(&c, &cie, start, UINT64_MAX, &row, &none)) return false;
  struct row initial = row;
  seek(&c, program, fde_end);
  if (!run(&c, &cie, start, pc, &row, &initial)) return false;
  *rule = row.rule;
  if (WS_SAVE_KIND(rule->save[WS_SAVE_RA]) == WS_SAVE_LOST) {
    rule->cfa = WS_CFA_END;
    return true;
  }
  return row.known;
}
