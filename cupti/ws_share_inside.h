/* ws_share_inside.h: what the parts of ws_share know of each other.
 *
 * Owns: the state of sharing, one for the process. Included by ws_share*.c alone.
 */
#ifndef WS_SHARE_INSIDE_H
#define WS_SHARE_INSIDE_H

#include <sys/types.h>

#include "ws_share.h"
#include "ws_share_store.h"

#define WS_SHARE_KINDS 256u
#define WS_SHARE_DOMAINS 16u
#define WS_SHARE_IDS 2048u
#define WS_SHARE_BUFFERS 256u

enum { CUPTI_BAD_PARAMETER = 1, CUPTI_KIND_DEVICE = 8 };

typedef uint64_t (*ws_clock_fn)(void);

/* A lock that its thread may take again and that is not waited for beyond a second: CUPTI may hold
 * what the other thread waits for, and the program comes first. */
struct ws_lock {
  _Atomic uint32_t holder; /* thread id, 0: free */
  uint32_t depth;
};
/* False: the lock was not to be had; the caller goes on without, and must not let go of it. */
bool ws_lock_take(struct ws_lock *lock);
void ws_lock_let_go(struct ws_lock *lock, bool had);

uint32_t ws_thread(void);

enum ws_side_state { WS_NEVER, WS_ON, WS_WAS_ON };
enum ws_side_call {
  WS_CALL_AS_KIND, /* recorded if the kind is on */
  WS_CALL_ON,      /* recorded though the kind is off */
  WS_CALL_OFF,     /* left out though the kind is on */
  WS_CALL_WAS_ON
};

/* So many times that a kind was on are known; buffers are not under way for longer. */
#define WS_SHARE_WINDOWS 8u

/* What one side has switched on. Times are CUPTI's. */
struct ws_side {
  struct {
    _Atomic uint8_t on;           /* ws_side_state */
    _Atomic uint64_t from, until; /* when it was switched last */
    _Atomic uint32_t first;       /* of our whole graphs: the call's number then, 0: unknown */
    _Atomic uint32_t windows;     /* how often it was on before */
    struct {
      _Atomic uint64_t from, until;
      _Atomic uint32_t first, last; /* numbers of calls, 0: unknown */
    } window[WS_SHARE_WINDOWS];
  } kind[WS_SHARE_KINDS];
  _Atomic uint8_t
      call[3][WS_SHARE_IDS]; /* ws_side_call, by domain: of CUPTI_KIND_DRIVER and RUNTIME */
  _Atomic uint8_t callback[WS_SHARE_DOMAINS][WS_SHARE_IDS]; /* 1: enabled */
};

struct ws_shared {
  _Atomic uint32_t state; /* of `real` and what belongs to it */
  _Atomic bool open;      /* there is a capture */
  pid_t process;
  void *base; /* where this CUPTI is mapped */
  struct ws_cupti real;
  int (*enable_domain)(uint32_t, void *, uint32_t);
  int (*unsubscribe)(void *);
  int (*register_timestamp)(ws_clock_fn);
  int (*finalize)(void);
  int (*enable_and_dump)(uint32_t);

  struct ws_side ours, client;
  _Atomic bool had_client;              /* ever */
  struct ws_lock switching;             /* of what is on in CUPTI */
  uint8_t really_call[3][WS_SHARE_IDS]; /* 1: that id is, by domain */
  bool spoilt[3]; /* by domain: the kind was switched off, single ids have no effect */
  uint8_t really[WS_SHARE_KINDS]; /* 1: on in CUPTI */
  bool nodes; /* the client has asked for graphs' nodes: whole graphs are over for good */
  _Atomic uint32_t worker;     /* the capture's thread: its calls are not the program's */
  int (*count_devices)(int *); /* the driver's */

  void *subscriber;
  _Atomic(cupti_callback_fn) callback, client_callback;
  void *user, *client_user;

  _Atomic(cupti_request_fn) request, client_request;
  _Atomic(cupti_complete_fn) complete, client_complete;
  _Atomic(uint8_t *) known[WS_SHARE_BUFFERS]; /* buffers that are ours */
  _Atomic size_t room[WS_SHARE_BUFFERS];      /* of those that CUPTI has, 0: it has not */
  _Atomic uint64_t went;                      /* buffers of ours that CUPTI asked for */
  _Atomic uint32_t completing;                /* threads that have a buffer in hand */
  _Atomic uint64_t came;                      /* buffers of ours that came back */
  struct ws_lock flushing;
  struct ws_lock standing_lock;
  struct ws_share_buffer standing; /* the client's next buffer */
  _Atomic uint64_t dropped;        /* the client's records, since it asked last */

  _Atomic(ws_clock_fn) client_clock;
  ws_clock_fn clock; /* the one that CUPTI uses, if it was told one */
  struct ws_lock mapping;
  struct ws_share_map map; /* from CUPTI's clock to the client's */
};
extern struct ws_shared ws_shared;

/* ws_share.c: which record is whose */
bool ws_side_has(const struct ws_side *side, uint32_t kind);
bool ws_side_is_on(const struct ws_side *side);
bool ws_side_wants_call(const struct ws_side *side, uint32_t domain, uint32_t id);
bool ws_side_owns(const struct ws_side *side, const struct cupti_record *record, size_t size);
/* Of these kinds a side may have single ids on. */
bool ws_is_calls(uint32_t kind);

/* ws_share_kinds.c */
int ws_our_enable(uint32_t kind);
int ws_our_disable(uint32_t kind);
int ws_our_driver_call(uint32_t id, uint8_t on);
int ws_our_runtime_call(uint32_t id, uint8_t on);

/* ws_share_calls.c */
int ws_our_subscribe(void **subscriber, cupti_callback_fn callback, void *user);
int ws_our_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
/* The number (correlation id) that CUPTI gives to a call that is made now, 0 where it cannot be
 * learnt. CUPTI numbers the calls of all threads in one row. `switching` is held. */
uint32_t ws_shared_number(void);

/* ws_share_buffers.c */
int ws_our_register(cupti_request_fn request, cupti_complete_fn complete);
int ws_our_flush(uint32_t flag);
int ws_our_dropped(void *context, uint32_t stream, size_t *count);
/* CUPTI's flush, one at a time. */
int ws_shared_flush(uint32_t flag);
/* Sees to it that a buffer of the client's is out. */
void ws_shared_stand(void);
/* Another number, very likely, when CUPTI has written into a buffer of ours since. */
uint64_t ws_shared_written(void);

/* ws_share_watch.c: after each of the worker's flushes; forced: after the last. */
void ws_shared_watch(bool forced);
bool ws_shared_has_asked(void);

/* ws_share_clock.c */
uint64_t ws_shared_now(void); /* CUPTI's clock; 0: it could not be read */
uint64_t ws_ticks(void);      /* what torch.profiler takes for a clock */
/* Adds a pair of readings to the map. */
void ws_shared_pair(void);
/* What the client's records are timed by; NULL: as CUPTI times them. */
ws_clock_fn ws_client_clock(void);
/* Whether that clock is read as CUPTI reads its own. */
bool ws_same_clock(ws_clock_fn clock);

#endif
