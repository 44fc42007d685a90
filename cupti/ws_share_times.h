/* ws_share_times.h: the times in CUPTI's records, and one clock's times in those of another.
 *
 * Owns: where records of each kind keep times, and the map between CUPTI's clock and a client's
 * from pairs of readings. Touches nothing but what it is given.
 */
#ifndef WS_SHARE_TIMES_H
#define WS_SHARE_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WS_SHARE_PAIRS 64u

/* Readings of both clocks at one moment, in order. */
struct ws_share_map {
  struct {
    uint64_t from, to;
  } pair[WS_SHARE_PAIRS];
  uint32_t count;
};

/* Offsets of a kind's times, ended by 0; the first is the start. NULL: it has none that are known.
 */
const uint16_t *ws_share_times(uint32_t kind);

/* The record's start, 0 if it has none. */
uint64_t ws_share_start(const void *record, size_t size);

void ws_share_map_add(struct ws_share_map *map, uint64_t from, uint64_t to);
uint64_t ws_share_map_time(const struct ws_share_map *map, uint64_t time);

/* Writes the record's times anew. */
void ws_share_map_record(const struct ws_share_map *map, void *record, size_t size);

#endif
