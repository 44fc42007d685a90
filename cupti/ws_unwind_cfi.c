#include <string.h>

#include "ws_unwind_cfi.h"

/* A call frame program longer than this is not believed. */
#define PROGRAM_MAX (64u << 10)

/* Address of the description of the last function that starts at or before pc; 0: none. The table
 * is sorted, and functions are spread rather evenly: a guess by proportion is near, and a read of
 * 32 entries costs the same system call as one. Halving takes over when guesses fail. */
static uint64_t find_fde(struct ws_walk *walk, const struct ws_maps_module *m, uint64_t pc) {
  enum { WINDOW_ENTRIES = 32, GUESSES = 6, ROUNDS = 40 };
  int32_t some[2 * WINDOW_ENTRIES];
  uint32_t low = 0, high = m->fde_count; /* the answer is in [low, high) */
  int64_t want = (int64_t)(pc - m->hdr);
  int64_t low_at = (int64_t)(m->start - m->hdr), high_at = (int64_t)(m->end - m->hdr);
  for (int round = 0; round < ROUNDS && low < high; round++) {
    uint32_t n = high - low, first = low;
    if (n > WINDOW_ENTRIES) {
      bool guess =
          round < GUESSES && low_at <= want && want < high_at && high_at - low_at < INT32_MAX;
      uint64_t ahead = guess ? (uint64_t)(want - low_at) * n / (uint64_t)(high_at - low_at) : n / 2;
      n = WINDOW_ENTRIES;
      first = ahead > n / 2 ? low + (uint32_t)ahead - n / 2 : low;
      if (first > high - n) first = high - n;
    }
    if (!ws_mem_read(walk, some, m->table + 8ull * first, 8ull * n)) return 0;
    if (some[0] > want) {
      high = first;
      high_at = some[0];
    } else if (some[2 * (n - 1)] <= want && first + n < high) {
      low = first + n - 1;
      low_at = some[2 * (n - 1)];
    } else {
      while (some[2 * (n - 1)] > want) n--;
      return m->hdr + (uint64_t)(int64_t)some[2 * n - 1];
    }
  }
  return 0;
}

/* Length field of an entry at the cursor; the cursor ends where the entry does. */
static void entry(struct ws_cursor *c, uint64_t at) {
  ws_read_seek(c, at, c->high);
  uint64_t length = ws_read_u32(c);
  if (length == 0xffffffff) length = ws_read_fixed(c, 8);
  if (length == 0 || length > PROGRAM_MAX || length > c->high - c->at) c->bad = true;
  if (!c->bad) c->end = c->at + length;
}

/* Leaves the cursor at the program that all functions of this kind begin with. */
static bool read_cie(struct ws_cursor *c, uint64_t at, struct ws_cie *cie) {
  char letters[8] = {0};
  entry(c, at);
  if (ws_read_u32(c) != 0) return false;
  uint8_t version = ws_read_u8(c);
  if (version != 1 && version != 3 && version != 4) return false;
  for (unsigned i = 0;; i++) {
    uint8_t letter = ws_read_u8(c);
    if (c->bad || i >= sizeof letters - 1) return false;
    if (letter == 0) break;
    letters[i] = (char)letter;
  }
  if (version == 4 && (ws_read_u8(c) != 8 || ws_read_u8(c) != 0))
    return false; /* address and segment sizes */
  cie->code_align = ws_read_uleb(c);
  cie->data_align = ws_read_sleb(c);
  uint64_t ra = version == 1 ? ws_read_u8(c) : ws_read_uleb(c);
  cie->pointer_encoding = 0;
  cie->signal = false;
  cie->augmented = letters[0] == 'z';
  if (letters[0] != 0 && !cie->augmented) return false;
  if (cie->augmented) {
    uint64_t size = ws_read_uleb(c);
    if (c->bad || size > c->end - c->at) return false;
    uint64_t program = c->at + size;
    for (const char *l = letters + 1; *l; l++) {
      if (*l == 'R') {
        cie->pointer_encoding = ws_read_u8(c);
      } else if (*l == 'L') {
        ws_read_u8(c);
      } else if (*l == 'P') {
        ws_read_pointer(c, ws_read_u8(c), false);
      } else if (*l == 'S') {
        cie->signal = true;
      } else if (*l != 'B') {
        break; /* what follows is skipped by its size */
      }
    }
    c->at = program;
  }
  return !c->bad && ra == WS_REG_RA && cie->code_align >= 1;
}

bool ws_cfi_rule(struct ws_walk *walk,
                 const struct ws_maps_module *module,
                 uint64_t pc,
                 struct ws_rule *rule) {
  if (module->table == 0) return false;
  uint64_t fde = find_fde(walk, module, pc);
  if (fde == 0) return false;
  struct ws_cursor c = {.walk = walk, .low = module->low, .high = module->high};
  struct ws_cursor common = c;
  struct ws_cie cie;
  entry(&c, fde);
  uint64_t here = c.at, back = ws_read_u32(&c);
  if (c.bad || back == 0 || back > here - module->low) return false;
  if (!read_cie(&common, here - back, &cie)) return false;
  uint64_t start = ws_read_pointer(&c, cie.pointer_encoding, true);
  uint64_t length = ws_read_pointer(&c, cie.pointer_encoding, false);
  if (c.bad || pc < start || pc - start >= length) return false;
  memset(rule, 0, sizeof *rule);
  if (cie.signal) {
    rule->cfa = WS_CFA_SIGNAL;
    return true;
  }
  if (cie.augmented) {
    uint64_t size = ws_read_uleb(&c);
    if (c.bad || size > c.end - c.at) return false;
    c.at += size;
  }
  struct ws_row row = {.known = false};
  struct ws_row initial = row;
  if (!ws_cfi_run(&common, &cie, start, UINT64_MAX, &row, &initial)) return false;
  initial = row;
  if (!ws_cfi_run(&c, &cie, start, pc, &row, &initial)) return false;
  *rule = row.rule;
  if (WS_SAVE_KIND(rule->save[WS_SAVE_RA]) == WS_SAVE_LOST) {
    rule->cfa = WS_CFA_END;
    return true;
  }
  return row.known;
}
