/* ws_unwind_cfi.h: reading .eh_frame and running its programs.
 *
 * Nothing here trusts what it reads: a module may have been unloaded, and its place taken by other
 * data, since the snapshot was made. Reads go through ws_mem_read, within the module's bounds.
 * Only the unwinder's own files include this.
 */
#ifndef WS_UNWIND_CFI_H
#define WS_UNWIND_CFI_H

#include "ws_unwind_inside.h"

#define WS_CURSOR_WINDOW 128u

/* A window on the module's tables that moves as it is read. After a failure `bad` stays set and
 * every read gives 0. */
struct ws_cursor {
  struct ws_walk *walk;
  uint64_t low, high; /* the module */
  uint64_t at, end;
  uint64_t window; /* address of the first byte in `bytes` */
  uint32_t filled;
  bool bad;
  uint8_t bytes[WS_CURSOR_WINDOW];
};

/* What the functions of one kind have in common. */
struct ws_cie {
  uint64_t code_align;
  int64_t data_align;
  uint8_t pointer_encoding;
  bool augmented, signal;
};

/* The state of a program. */
struct ws_row {
  struct ws_rule rule;
  bool known; /* the frame address has a form that rules can express */
};

/* ws_unwind_read.c. ws_read_take: at most 16 bytes, valid until the next read. */
void ws_read_seek(struct ws_cursor *c, uint64_t at, uint64_t end);
const uint8_t *ws_read_take(struct ws_cursor *c, uint32_t n);
uint8_t ws_read_u8(struct ws_cursor *c);
uint32_t ws_read_u32(struct ws_cursor *c);
uint64_t ws_read_fixed(struct ws_cursor *c, uint32_t n);
uint64_t ws_read_uleb(struct ws_cursor *c);
int64_t ws_read_sleb(struct ws_cursor *c);
int64_t ws_read_extend(uint64_t v, uint32_t bytes);
/* A pointer as .eh_frame encodes it; `relative` adds where it lies if the encoding says so. */
uint64_t ws_read_pointer(struct ws_cursor *c, uint8_t encoding, bool relative);

/* ws_unwind_program.c: runs the program at the cursor, of a function at `loc`, up to pc. */
bool ws_cfi_run(struct ws_cursor *c,
                const struct ws_cie *cie,
                uint64_t loc,
                uint64_t pc,
                struct ws_row *row,
                const struct ws_row *initial);

#endif
