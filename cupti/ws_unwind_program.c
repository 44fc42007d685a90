#include "ws_unwind_cfi.h"

/* No compiler nests remembered states deeper. */
#define STATES 8

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
static bool operate(struct ws_cursor *c, uint8_t op, struct value *stack, int *depth) {
  struct value v = {CONSTANT, 0, 0, 0};
  if (op >= 0x30 && op <= 0x4f) {
    v.off = op - 0x30;
  } else if (op >= 0x70 && op <= 0x8f) {
    v = (struct value){REGISTER, (uint8_t)(op - 0x70), ws_read_sleb(c), 0};
  } else {
    switch (op) {
    case 0x08:
      v.off = ws_read_u8(c);
      break;
    case 0x09:
      v.off = ws_read_extend(ws_read_fixed(c, 1), 1);
      break;
    case 0x0a:
      v.off = (int64_t)ws_read_fixed(c, 2);
      break;
    case 0x0b:
      v.off = ws_read_extend(ws_read_fixed(c, 2), 2);
      break;
    case 0x0c:
      v.off = (int64_t)ws_read_fixed(c, 4);
      break;
    case 0x0d:
      v.off = ws_read_extend(ws_read_fixed(c, 4), 4);
      break;
    case 0x10:
      v.off = (int64_t)ws_read_uleb(c);
      break;
    case 0x11:
      v.off = ws_read_sleb(c);
      break;
    case 0x06: /* deref */
      if (*depth < 1 || stack[*depth - 1].kind != REGISTER) return false;
      stack[*depth - 1].kind = MEMORY;
      return true;
    case 0x23: /* plus_uconst */
      if (*depth < 1) return false;
      add_to(&stack[*depth - 1], (int64_t)ws_read_uleb(c));
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
    default:
      return false;
    }
  }
  if (*depth >= 4) return false;
  stack[(*depth)++] = v;
  return true;
}

static bool fits(int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; }

/* Reads an expression into one value; the cursor ends behind it in any case. */
static bool expression(struct ws_cursor *c, struct value *result, struct ws_rule *plt) {
  struct value stack[4];
  uint64_t size = ws_read_uleb(c);
  uint64_t start = c->at, end = start + size, limit = c->end;
  if (c->bad || size > 1024 || end > limit) {
    c->bad = true;
    return false;
  }
  if (plt && size == 11) {
    bool is = plt_expression(ws_read_take(c, 11), 11, plt);
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
  while (ok && !c->bad && c->at < end) ok = operate(c, ws_read_u8(c), stack, &depth);
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
  case WS_REG_RBX:
    return 0;
  case WS_REG_RBP:
    return 1;
  case WS_REG_R12:
    return 2;
  case WS_REG_R12 + 1:
    return 3;
  case WS_REG_R12 + 2:
    return 4;
  case WS_REG_R12 + 3:
    return 5;
  case WS_REG_RA:
    return WS_SAVE_RA;
  default:
    return -1;
  }
}

static void set_save(struct ws_row *row, uint64_t reg, unsigned kind, unsigned from, int64_t off) {
  int i = save_index(reg);
  if (i < 0) return;
  if (!fits(off) || from >= WS_REG_RA) kind = WS_SAVE_LOST;
  row->rule.save[i] = (uint8_t)(kind | (from & 15) << 3);
  row->rule.save_off[i] = (int32_t)off;
}

static void set_cfa(struct ws_row *row, uint64_t reg, int64_t off) {
  row->known = reg < WS_REG_RA && fits(off);
  row->rule.cfa = WS_CFA_REGISTER;
  row->rule.reg = (uint8_t)reg;
  row->rule.off = (int32_t)off;
}

static void cfa_expression(struct ws_cursor *c, struct ws_row *row) {
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

static void save_expression(struct ws_cursor *c, struct ws_row *row) {
  struct value v;
  uint64_t reg = ws_read_uleb(c);
  bool ok = expression(c, &v, NULL) && v.kind == REGISTER;
  set_save(row, reg, ok ? WS_SAVE_AT_REGISTER : WS_SAVE_LOST, ok ? v.reg : 0, ok ? v.off : 0);
}

static void restore(struct ws_row *row, const struct ws_row *initial, uint64_t reg) {
  int i = save_index(reg);
  if (i < 0) return;
  row->rule.save[i] = initial->rule.save[i];
  row->rule.save_off[i] = initial->rule.save_off[i];
}

static int64_t scaled(const struct ws_cie *cie, int64_t factored) {
  return (int64_t)((uint64_t)factored * (uint64_t)cie->data_align);
}

/* Operations that set one register's rule; false if op is none of them. */
static bool save_operation(struct ws_cursor *c,
                           uint8_t op,
                           const struct ws_cie *cie,
                           struct ws_row *row,
                           const struct ws_row *initial) {
  uint64_t reg;
  switch (op) {
  case 0x05:
    reg = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)ws_read_uleb(c)));
    return true;
  case 0x06:
    restore(row, initial, ws_read_uleb(c));
    return true;
  case 0x07:
    set_save(row, ws_read_uleb(c), WS_SAVE_LOST, 0, 0);
    return true;
  case 0x08:
    set_save(row, ws_read_uleb(c), WS_SAVE_SAME, 0, 0);
    return true;
  case 0x09: {
    reg = ws_read_uleb(c);
    uint64_t from = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_REGISTER, from > 255 ? 255 : (unsigned)from, 0);
    return true;
  }
  case 0x10:
    save_expression(c, row);
    return true;
  case 0x11:
    reg = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, ws_read_sleb(c)));
    return true;
  case 0x14:
    reg = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_CFA, 0, scaled(cie, (int64_t)ws_read_uleb(c)));
    return true;
  case 0x15:
    reg = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_CFA, 0, scaled(cie, ws_read_sleb(c)));
    return true;
  case 0x16: { /* val_expression: the register is the expression's value, which no compiler writes
                */
    struct value v;
    reg = ws_read_uleb(c);
    expression(c, &v, NULL);
    set_save(row, reg, WS_SAVE_LOST, 0, 0);
    return true;
  }
  case 0x2f:
    reg = ws_read_uleb(c);
    set_save(row, reg, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)(0 - ws_read_uleb(c))));
    return true;
  default:
    return false;
  }
}

/* Operations that set the frame address; false if op is none of them. */
static bool
cfa_operation(struct ws_cursor *c, uint8_t op, const struct ws_cie *cie, struct ws_row *row) {
  uint64_t reg;
  int64_t off = row->rule.off;
  switch (op) {
  case 0x0c:
    reg = ws_read_uleb(c);
    set_cfa(row, reg, (int64_t)ws_read_uleb(c));
    return true;
  case 0x0d:
    set_cfa(row, ws_read_uleb(c), off);
    return true;
  case 0x0e:
    set_cfa(row, row->rule.reg, (int64_t)ws_read_uleb(c));
    return true;
  case 0x0f:
    cfa_expression(c, row);
    return true;
  case 0x12:
    reg = ws_read_uleb(c);
    set_cfa(row, reg, scaled(cie, ws_read_sleb(c)));
    return true;
  case 0x13:
    set_cfa(row, row->rule.reg, scaled(cie, ws_read_sleb(c)));
    return true;
  default:
    return false;
  }
}

/* How far an operation advances; false if it is no such operation. */
static bool advance(struct ws_cursor *c, uint8_t op, const struct ws_cie *cie, uint64_t *loc) {
  if (op >> 6 == 1) {
    *loc += (op & 0x3fu) * cie->code_align;
    return true;
  }
  switch (op) {
  case 0x01:
    *loc = ws_read_pointer(c, cie->pointer_encoding, true);
    return true;
  case 0x02:
    *loc += ws_read_fixed(c, 1) * cie->code_align;
    return true;
  case 0x03:
    *loc += ws_read_fixed(c, 2) * cie->code_align;
    return true;
  case 0x04:
    *loc += ws_read_fixed(c, 4) * cie->code_align;
    return true;
  default:
    return false;
  }
}

/* Runs the cursor's program up to pc. */
bool ws_cfi_run(struct ws_cursor *c,
                const struct ws_cie *cie,
                uint64_t loc,
                uint64_t pc,
                struct ws_row *row,
                const struct ws_row *initial) {
  struct ws_row states[STATES];
  int depth = 0;
  while (!c->bad && c->at < c->end) {
    uint8_t op = ws_read_u8(c);
    if (advance(c, op, cie, &loc)) {
      if (loc > pc) break;
    } else if (op >> 6 == 2) {
      set_save(row, op & 0x3f, WS_SAVE_AT_CFA, 0, scaled(cie, (int64_t)ws_read_uleb(c)));
    } else if (op >> 6 == 3) {
      restore(row, initial, op & 0x3f);
    } else if (op == 0x0a) {
      if (depth >= STATES) return false;
      states[depth++] = *row;
    } else if (op == 0x0b) {
      if (depth == 0) return false;
      *row = states[--depth];
    } else if (op == 0x2e) {
      ws_read_uleb(c); /* GNU_args_size: how much an exception must pop, nothing to us */
    } else if (op != 0 && !cfa_operation(c, op, cie, row) &&
               !save_operation(c, op, cie, row, initial)) {
      return false;
    }
  }
  return !c->bad;
}
