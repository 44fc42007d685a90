/* ws_maps.h: which code is loaded in this process.
 *
 * Owns: immutable snapshots of the loaded modules, taken with dl_iterate_phdr by the worker thread
 * (or at start-up), never in a callback. Reading one takes no lock and calls nothing. It does not
 * resolve symbols: that is the agent's work.
 */
#ifndef WS_MAPS_H
#define WS_MAPS_H

#include <stdint.h>

/* Longest build id that is kept, in bytes; the usual ones have 20, a SHA-256 has 32. */
#define WS_MAPS_BUILD_ID_MAX 32

struct ws_maps_module {
  uint64_t base;       /* load address: what is added to the file's own addresses */
  uint64_t start, end; /* executable segments, lowest start to highest end */
  uint64_t low, high;  /* all segments */
  uint64_t hdr;        /* address of .eh_frame_hdr; 0: none */
  uint64_t table;      /* its sorted table of functions; 0: none that we can read */
  uint32_t fde_count;  /* entries in that table */
  uint32_t path_length;
  const char *path; /* absolute where that is known, ends with NUL, "" for none */
  char build_id[2 * WS_MAPS_BUILD_ID_MAX + 1]; /* hexadecimal, "" for none */
};

/* An executable range; ranges are sorted by start. */
struct ws_maps_range {
  uint64_t start, end;
  uint32_t module; /* index */
  uint32_t reserved;
};

struct ws_maps_snapshot {
  uint32_t generation; /* from 1; one more with every snapshot */
  uint32_t
      epoch; /* changes when something was unloaded: what was known of an address may be wrong */
  uint32_t count;
  uint32_t range_count;
  const struct ws_maps_module *modules; /* in the loader's order: the program itself first */
  const struct ws_maps_range *ranges;
};

/* Takes a new snapshot if modules came or went since the last one. 1: a new one was published,
 * 0: nothing changed, < 0: a negative errno, the old snapshot stays in force. Takes the loader's
 * lock for a moment, so: on the worker thread or at start-up only. */
int ws_maps_refresh(void);

/* The snapshot in force, NULL before the first. What it points to stays valid until the next call
 * of ws_maps_refresh: for the thread that refreshes. Other threads use ws_maps_enter. */
const struct ws_maps_snapshot *ws_maps_current(void);

/* Generation of the snapshot in force, 0 before the first. Any thread. */
uint32_t ws_maps_generation(void);

/* The snapshot in force for any thread; it stays valid until ws_maps_leave(*token). Between the two
 * nothing may be called that blocks. */
const struct ws_maps_snapshot *ws_maps_enter(unsigned *token);
void ws_maps_leave(unsigned token);

/* For the child of a fork, before it has threads: readers that existed only in the parent are
 * forgotten. */
void ws_maps_after_fork(void);

/* Module whose code holds pc, NULL if there is none. */
const struct ws_maps_module *ws_maps_find(const struct ws_maps_snapshot *snapshot, uint64_t pc);

/* Reads an .eh_frame_hdr at `hdr` with at most `size` bytes: fills module->hdr, table and fde_count
 * if its table is of the one kind that linkers write. `bytes` are its first WS_EH_HDR_BYTES. */
#define WS_EH_HDR_BYTES 12
void ws_maps_set_eh_frame(struct ws_maps_module *module,
                          uint64_t hdr,
                          uint64_t size,
                          const uint8_t *bytes);

#endif
