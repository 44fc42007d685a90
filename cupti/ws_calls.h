/* ws_calls.h: what each driver call does to memory.
 *
 * Owns: the table of calls by name and the reading of their parameters. Callback numbers differ
 * between versions of CUPTI only by what was appended, names not at all, so names are the key.
 */
#ifndef WS_CALLS_H
#define WS_CALLS_H

#include <stdbool.h>

#include "include/ws_abi.h"
#include "include/ws_cupti.h"

/* How a call's parameter block is laid out. */
enum ws_shape {
  WS_SHAPE_NONE = 0, /* watched for failure only */
  WS_SHAPE_ALLOC,
  WS_SHAPE_ALLOC_ASYNC,
  WS_SHAPE_ALLOC_POOL,
  WS_SHAPE_ALLOC_PITCH,
  WS_SHAPE_FREE,
  WS_SHAPE_FREE_ASYNC,
  WS_SHAPE_RANGE,
  WS_SHAPE_RESERVE,
  WS_SHAPE_CREATE,
  WS_SHAPE_MAP,
  WS_SHAPE_IMPORT,
  WS_SHAPE_IPC,
  WS_SHAPE_ARRAY,
  WS_SHAPE_ARRAY3D,
  WS_SHAPE_MIPMAP,
  WS_SHAPE_GRAPH_ALLOC,
  WS_SHAPE_GRAPH_FREE,
  WS_SHAPE_POOL_NEW,
  WS_SHAPE_POOL
};

struct ws_call {
  const char *name;
  uint8_t op;    /* ws_alloc_op */
  uint8_t space; /* ws_space */
  uint8_t key;   /* ws_key_class */
  uint8_t shape; /* ws_shape */
};

/* Index + 1 of the entry for a callback's name (with or without _ptsz, _ptds), 0 if the call is
 * not watched. */
unsigned ws_call_find(const char *name);
const struct ws_call *ws_call_at(unsigned index);

/* Calls that `--api=launch` records: launches, copies, sets and waits. */
bool ws_call_is_launch(const char *name);

/* Those of them that put work on a GPU. */
bool ws_call_is_work(const char *name);

/* Calls that every driver since CUDA 11.2 has and without which a ledger is none. */
#define WS_ESSENTIAL_CALLS 12u
bool ws_call_is_essential(const char *name);

/* What a call was asked for and what it gave. */
struct ws_args {
  uint64_t address, size, handle;
  void *stream;
  bool has_stream;
  int32_t device; /* -1: the context's */
};

/* Reads a parameter block. done: the call returned successfully, so results may be read. */
void ws_call_args(const struct ws_call *call, const void *params, bool done, struct ws_args *args);

#endif
