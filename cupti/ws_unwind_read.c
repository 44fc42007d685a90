#include <string.h>

#include "ws_unwind_cfi.h"

void ws_read_seek(struct ws_cursor *c, uint64_t at, uint64_t end) {
  c->at = at;
  c->end = end;
  if (at < c->low || end > c->high || at > end) c->bad = true;
}

const uint8_t *ws_read_take(struct ws_cursor *c, uint32_t n) {
  static const uint8_t nothing[16] = {0};
  if (c->bad || c->end - c->at < n) {
    c->bad = true;
    return nothing;
  }
  if (c->at < c->window || c->at + n > c->window + c->filled) {
    uint64_t left = c->end - c->at;
    uint32_t want = left < WS_CURSOR_WINDOW ? (uint32_t)left : WS_CURSOR_WINDOW;
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

uint8_t ws_read_u8(struct ws_cursor *c) { return *ws_read_take(c, 1); }

uint32_t ws_read_u32(struct ws_cursor *c) {
  uint32_t v;
  memcpy(&v, ws_read_take(c, 4), 4);
  return v;
}

uint64_t ws_read_fixed(struct ws_cursor *c, uint32_t n) {
  uint64_t v = 0;
  memcpy(&v, ws_read_take(c, n), n);
  return v;
}

int64_t ws_read_extend(uint64_t v, uint32_t bytes) {
  uint32_t shift = 64 - 8 * bytes;
  return (int64_t)(v << shift) >> shift;
}

uint64_t ws_read_uleb(struct ws_cursor *c) {
  uint64_t v = 0;
  for (unsigned shift = 0; !c->bad && shift < 70; shift += 7) {
    uint8_t b = ws_read_u8(c);
    if (shift < 64) v |= (uint64_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) return v;
  }
  c->bad = true;
  return 0;
}

int64_t ws_read_sleb(struct ws_cursor *c) {
  uint64_t v = 0;
  for (unsigned shift = 0; !c->bad && shift < 70; shift += 7) {
    uint8_t b = ws_read_u8(c);
    if (shift < 64) v |= (uint64_t)(b & 0x7f) << shift;
    if (b & 0x80) continue;
    if (shift + 7 < 64 && (b & 0x40)) v |= ~0ull << (shift + 7);
    return (int64_t)v;
  }
  c->bad = true;
  return 0;
}

/* A pointer as .eh_frame encodes it; only its value's width matters where `relative` is false. */
uint64_t ws_read_pointer(struct ws_cursor *c, uint8_t encoding, bool relative) {
  if (encoding == 0xff) return 0;
  uint64_t here = c->at, v = 0;
  switch (encoding & 0x0f) {
  case 0x00:
  case 0x04:
  case 0x0c:
    v = ws_read_fixed(c, 8);
    break;
  case 0x01:
    v = ws_read_uleb(c);
    break;
  case 0x02:
    v = ws_read_fixed(c, 2);
    break;
  case 0x03:
    v = ws_read_fixed(c, 4);
    break;
  case 0x09:
    v = (uint64_t)ws_read_sleb(c);
    break;
  case 0x0a:
    v = (uint64_t)ws_read_extend(ws_read_fixed(c, 2), 2);
    break;
  case 0x0b:
    v = (uint64_t)ws_read_extend(ws_read_fixed(c, 4), 4);
    break;
  default:
    c->bad = true;
  }
  if (!relative) return v;
  if ((encoding & 0x70) == 0x10) return v + here;
  if ((encoding & 0xf0) != 0) c->bad = true; /* indirect or relative to what we do not know */
  return v;
}
