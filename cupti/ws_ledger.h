/* ws_ledger.h: the account of memory, from the driver's callbacks.
 *
 * Owns: which driver calls take and give back memory and how their parameters are read; contexts
 * and modules. Callbacks run on the program's threads inside the driver: they make no CUDA call,
 * take no lock that is held for long, and allocate nothing.
 */
#ifndef WS_LEDGER_H
#define WS_LEDGER_H

#include "ws_arena.h"
#include "ws_load.h"
#include "ws_ruler.h"

#define WS_STACK_DEPTH 56u /* some 8 of them CUPTI's and ours, which are left out */
#define WS_CALLBACK_IDS 2048u
#define WS_CONTEXTS 256u

/* The flag that callbacks look at first. In a forked child it is 0, and the shared memory is not
 * there; after the end it is WS_ENDED: what comes then is missing, and that is noted. */
enum { WS_DISARMED = 0, WS_ARMED = 1, WS_ENDED = 2 };

struct ws_ledger {
  struct ws_shm *shm;
  struct ws_arena *arena;
  const struct ws_cupti *cupti;
  const _Atomic uint32_t *armed;  /* WS_DISARMED: callbacks return at once */
  uint8_t call[WS_CALLBACK_IDS];  /* by callback id: 0 not watched, else index of the table + 1 */
  uint32_t name[WS_CALLBACK_IDS]; /* arena id of the call's name */
  uint8_t work[WS_CALLBACK_IDS];  /* by callback id: 1 if the call puts work on a GPU */
  bool late;                      /* there may be contexts from before the capture */
  uint32_t unwatched;             /* calls that should be watched and are not */
  struct {
    _Atomic uint32_t came; /* how often */
    uint32_t seen;
    uint32_t pause;           /* for how many looks it is let go next time */
    uint32_t paused;          /* for how many more looks it is */
  } slow[WS_CALLBACK_IDS];    /* calls that are watched for failure alone */
  _Atomic uint32_t over;      /* 1: the timeline has ended, work from now on is missing in it */
  _Atomic uint64_t late_work; /* calls that put work on a GPU, seen since ws_ledger_watch_work */
  struct ws_ruler *ruler;     /* NULL: none. Calls are counted there too */
  _Atomic uint32_t maps;      /* arena id of the module map in force */
  struct {
    _Atomic uint64_t start, end;
  } inside[2];                         /* code of CUPTI and of our own: such frames say nothing */
  _Atomic int32_t device[WS_CONTEXTS]; /* by context id: ordinal + 1 */
  _Atomic uint64_t pools;              /* stream-ordered allocations seen */
  _Atomic uint32_t contexts;           /* contexts created so far */
  _Atomic uint32_t out_of_memory;      /* failures for lack of memory so far */
};

/* Learns the callback ids of this CUPTI by name. Before any callback. */
void ws_ledger_open(struct ws_ledger *ledger);

/* Enables the callbacks; returns how many driver calls are watched, negative on error. */
int ws_ledger_subscribe(struct ws_ledger *ledger, void *subscriber);

/* Ten times a second, by one thread: lets go of calls that are watched for failure alone while they
 * come so often that watching them would cost, and tries them again later. */
void ws_ledger_look(struct ws_ledger *ledger, void *subscriber);

/* The timeline is about to end: calls that put work on a GPU are counted from now on (late_work),
 * so that those after its end do not go unnoticed; or no more. */
void ws_ledger_watch_work(struct ws_ledger *ledger, void *subscriber, bool on);

/* The callback to subscribe; user is the ws_ledger. */
void ws_ledger_callback(void *user, uint32_t domain, uint32_t id, const void *data);

#endif
