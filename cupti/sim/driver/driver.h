/* driver.h: inside of the simulated libcuda.so.1.
 *
 * Owns: the simulator's objects and the macros that turn a function body into a driver entry
 * point with callbacks, correlation id and injected faults. One lock guards every object;
 * it is never held while the tracer, and so a tool's callback, runs.
 */
#ifndef WARPSCOPE_SIM_DRIVER_H
#define WARPSCOPE_SIM_DRIVER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../sim.h"

#include <pthread.h>
#include <stdbool.h>

/* CUresult, as far as it is used */
enum {
  CU_OK = 0,
  CU_INVALID_VALUE = 1,
  CU_OUT_OF_MEMORY = 2,
  CU_NOT_INITIALIZED = 3,
  CU_NO_DEVICE = 100,
  CU_INVALID_DEVICE = 101,
  CU_INVALID_IMAGE = 200,
  CU_INVALID_CONTEXT = 201,
  CU_PRIMARY_CONTEXT_ACTIVE = 708,
  CU_INVALID_HANDLE = 400,
  CU_NOT_FOUND = 500,
  CU_NOT_READY = 600,
  CU_LAUNCH_OUT_OF_RESOURCES = 701,
  CU_HOST_ALREADY_REGISTERED = 712,
  CU_HOST_NOT_REGISTERED = 713,
  CU_NOT_PERMITTED = 800,
  CU_NOT_SUPPORTED = 801,
  CU_CAPTURE_UNSUPPORTED = 900,
  CU_CAPTURE_UNMATCHED = 903,
  CU_CAPTURED_EVENT = 907
};

enum { SIM_MAX_DEVICES = 8, SIM_DRIVER_VERSION = 13000 };
#define SIM_GRANULARITY (2ull << 20)     /* of VMM handles, as on current GPUs */
#define SIM_POOL_CHUNK (32ull << 20)     /* pools take memory in such pieces */
#define SIM_CONTEXT_BYTES (256ull << 20) /* what a context takes, invented */
#define SIM_LEGACY_STREAM ((void *)1)
#define SIM_PER_THREAD_STREAM ((void *)2)

/* Every object lives in a list for ever, so that a stale handle is told from a valid one. */
enum sim_type {
  SIM_T_CONTEXT = 1,
  SIM_T_STREAM,
  SIM_T_EVENT,
  SIM_T_MODULE,
  SIM_T_FUNCTION,
  SIM_T_POOL,
  SIM_T_HANDLE,
  SIM_T_GRAPH,
  SIM_T_EXEC
};
struct sim_object {
  _Atomic uint32_t magic; /* SIM_MAGIC + type while alive */
  uint32_t id;
  struct sim_object *next;
};
#define SIM_MAGIC 0x57530000u

struct sim_stream {
  struct sim_object object;
  struct sim_context *context;
  uint64_t tail; /* device time at which all that was enqueued is done */
  int priority;
  bool blocking;             /* ordered with the default stream */
  struct sim_graph *capture; /* being recorded into */
  bool origin;               /* of the capture */
};

struct sim_context {
  struct sim_object object;
  uint32_t device;
  bool primary;
  uint32_t flags, retained;
  struct sim_stream *null_stream;
  uint64_t limits[16];
};

struct sim_event {
  struct sim_object object;
  struct sim_context *context;
  uint64_t when; /* 0: never recorded */
  uint32_t stream_id;
  bool timing;
  struct sim_graph *capture;
};

struct sim_function {
  struct sim_object object;
  char *name;
  struct sim_module *module;
  uint32_t registers, static_shared, local_thread, max_dynamic_shared;
};

struct sim_module {
  struct sim_object object;
  struct sim_context *context; /* of libraries: where they were first used */
  const void *image;
  size_t size;
  bool any_name; /* the image could not be read: every name is accepted */
  char **names;
  size_t count;
  struct sim_function **functions;
  uint32_t *registers, *shared;
  bool library;
};

struct sim_pool {
  struct sim_object object;
  uint32_t device;
  uint64_t reserved, used, reserved_high, used_high, threshold;
  bool builtin;
};

/* Physical memory of cuMemCreate: bytes `offset`… of one sparse file. */
struct sim_handle {
  struct sim_object object;
  uint32_t device;
  bool host;
  uint64_t size, offset;
  uint32_t references, maps;
};

struct sim_node {
  struct sim_work work; /* start: 0, end: duration */
  uint64_t id;
};
struct sim_graph {
  struct sim_object object;
  struct sim_node *nodes;
  size_t count, room;
};

/* What an address is, sorted by address. */
enum sim_space {
  SIM_DEVICE,
  SIM_MANAGED,
  SIM_POOLED,
  SIM_HOST,
  SIM_REGISTERED,
  SIM_RESERVED,
  SIM_MAPPED
};
struct sim_range {
  uint64_t address, size;
  enum sim_space space;
  uint32_t device;
  struct sim_context *context;
  struct sim_pool *pool;
  struct sim_handle *handle;
  bool access;          /* of mapped ranges */
  uint64_t reservation; /* of mapped and reserved ranges: where their cuMemAddressReserve began */
};

struct sim_device {
  struct sim_device_info info;
  char name[64];
  uint64_t used;
  struct sim_context *primary;
  struct sim_pool *default_pool, *pool;
};

struct sim_state {
  pthread_mutex_t lock;
  _Atomic bool initialised;
  _Atomic int starter; /* the thread that is in cuInit; 0: none */
  bool forked;
  int count;
  struct sim_device devices[SIM_MAX_DEVICES];
  struct sim_object *objects[SIM_T_EXEC + 1];
  uint32_t ids;
  uint64_t node_ids;
};
extern struct sim_state sim;

#define SIM_LOCK() pthread_mutex_lock(&sim.lock)
#define SIM_UNLOCK() pthread_mutex_unlock(&sim.lock)

/* A running call and the work it leaves for the tracer. */
struct sim_frame {
  struct sim_call call;
  struct sim_frame *outer; /* a tool may call the driver from a callback */
  struct sim_work *work;
  size_t count, room;
};

/* call.c */
bool sim_enter(struct sim_frame *frame, const char *name, uint32_t cbid, const void *params);
int sim_exit(struct sim_frame *frame, int result);
void sim_emit(const struct sim_work *work); /* to the tracer, when the running call ends */
uint32_t sim_correlation(void);
void sim_symbol(const char *name);
void sim_resource(enum sim_resource what,
                  void *context,
                  void *stream,
                  uint32_t id,
                  const void *image,
                  size_t size);
void sim_trace(const struct sim_tracer *tracer);
void sim_read_faults(void);

/* object.c; the lock is held */
void *sim_new(enum sim_type type, size_t size);
void *sim_check(const void *handle, enum sim_type type); /* NULL: no such object */
void sim_delete(void *object);

/* context.c */
struct sim_context *sim_current(void); /* NULL: none */
struct sim_context *sim_context_new(uint32_t device, uint32_t flags);

/* stream.c */
uint64_t sim_now(void);
struct sim_stream *sim_stream(void *handle); /* NULL: no such stream */
int sim_schedule(struct sim_stream *stream, struct sim_work *work, uint64_t duration);
void sim_wait_until(uint64_t when); /* without the lock */
int sim_sync(struct sim_context *context,
             struct sim_stream *stream,
             uint64_t when,
             uint32_t type,
             uint32_t event);

/* memory.c; the lock is held */
void sim_forget_context(const struct sim_context *context);
struct sim_range *sim_find(uint64_t address);
int sim_range_add(const struct sim_range *range);
void sim_range_remove(struct sim_range *range);
int sim_allocate(
    uint32_t device, enum sim_space space, uint64_t size, struct sim_pool *pool, uint64_t *address);
int sim_release(uint64_t address, bool host);
bool sim_take(uint32_t device, uint64_t bytes);
void sim_give(uint32_t device, uint64_t bytes);
bool sim_accessible(uint64_t address, uint64_t size);

/* pool.c */
bool sim_pool_grow(struct sim_pool *pool, uint64_t bytes);
void sim_pool_shrink(struct sim_pool *pool, uint64_t bytes);
void sim_pools_trim(uint32_t device);
struct sim_pool *sim_pool_new(uint32_t device);

/* graph.c */
int sim_capture(struct sim_stream *stream, const struct sim_work *work, uint64_t duration);

/* SIM_APIn(name, cbid, type, argument, …) { body }: a driver entry point of n arguments. The
 * parameter block has the arguments in order, which is the layout of CUPTI's name_params. */
#define SIM_WRAP(name, id, block, ...)                                                             \
  struct sim_frame frame;                                                                          \
  if (!sim_enter(&frame, #name, id, block)) return sim_exit(&frame, frame.call.result);            \
  return sim_exit(&frame, do_##name(__VA_ARGS__));

#define SIM_API0(name, id)                                                                         \
  static int do_##name(void);                                                                      \
  SIM_EXPORT int name(void);                                                                       \
  int name(void) { SIM_WRAP(name, id, NULL) }                                                      \
  static int do_##name(void)
#define SIM_API1(name, id, A, a)                                                                   \
  static int do_##name(A a);                                                                       \
  SIM_EXPORT int name(A a);                                                                        \
  int name(A a) {                                                                                  \
    struct {                                                                                       \
      A a##_;                                                                                      \
    } block = {a};                                                                                 \
    SIM_WRAP(name, id, &block, a)                                                                  \
  }                                                                                                \
  static int do_##name(A a)
#define SIM_API2(name, id, A, a, B, b)                                                             \
  static int do_##name(A a, B b);                                                                  \
  SIM_EXPORT int name(A a, B b);                                                                   \
  int name(A a, B b) {                                                                             \
    struct {                                                                                       \
      A a##_;                                                                                      \
      B b##_;                                                                                      \
    } block = {a, b};                                                                              \
    SIM_WRAP(name, id, &block, a, b)                                                               \
  }                                                                                                \
  static int do_##name(A a, B b)
#define SIM_API3(name, id, A, a, B, b, C, c)                                                       \
  static int do_##name(A a, B b, C c);                                                             \
  SIM_EXPORT int name(A a, B b, C c);                                                              \
  int name(A a, B b, C c) {                                                                        \
    struct {                                                                                       \
      A a##_;                                                                                      \
      B b##_;                                                                                      \
      C c##_;                                                                                      \
    } block = {a, b, c};                                                                           \
    SIM_WRAP(name, id, &block, a, b, c)                                                            \
  }                                                                                                \
  static int do_##name(A a, B b, C c)
#define SIM_API4(name, id, A, a, B, b, C, c, D, d)                                                 \
  static int do_##name(A a, B b, C c, D d);                                                        \
  SIM_EXPORT int name(A a, B b, C c, D d);                                                         \
  int name(A a, B b, C c, D d) {                                                                   \
    struct {                                                                                       \
      A a##_;                                                                                      \
      B b##_;                                                                                      \
      C c##_;                                                                                      \
      D d##_;                                                                                      \
    } block = {a, b, c, d};                                                                        \
    SIM_WRAP(name, id, &block, a, b, c, d)                                                         \
  }                                                                                                \
  static int do_##name(A a, B b, C c, D d)
#define SIM_API5(name, id, A, a, B, b, C, c, D, d, E, e)                                           \
  static int do_##name(A a, B b, C c, D d, E e);                                                   \
  SIM_EXPORT int name(A a, B b, C c, D d, E e);                                                    \
  int name(A a, B b, C c, D d, E e) {                                                              \
    struct {                                                                                       \
      A a##_;                                                                                      \
      B b##_;                                                                                      \
      C c##_;                                                                                      \
      D d##_;                                                                                      \
      E e##_;                                                                                      \
    } block = {a, b, c, d, e};                                                                     \
    SIM_WRAP(name, id, &block, a, b, c, d, e)                                                      \
  }                                                                                                \
  static int do_##name(A a, B b, C c, D d, E e)
#define SIM_API6(name, id, A, a, B, b, C, c, D, d, E, e, F, f)                                     \
  static int do_##name(A a, B b, C c, D d, E e, F f);                                              \
  SIM_EXPORT int name(A a, B b, C c, D d, E e, F f);                                               \
  int name(A a, B b, C c, D d, E e, F f) {                                                         \
    struct {                                                                                       \
      A a##_;                                                                                      \
      B b##_;                                                                                      \
      C c##_;                                                                                      \
      D d##_;                                                                                      \
      E e##_;                                                                                      \
      F f##_;                                                                                      \
    } block = {a, b, c, d, e, f};                                                                  \
    SIM_WRAP(name, id, &block, a, b, c, d, e, f)                                                   \
  }                                                                                                \
  static int do_##name(A a, B b, C c, D d, E e, F f)

#endif
