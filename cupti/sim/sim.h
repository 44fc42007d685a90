/* sim.h: what the two halves of the simulated device say to each other.
 *
 * Owns: the link between libcuda.so.1 (driver/) and libcupti.so.13 (tracer/). At cuInit the
 * simulated driver loads the libcupti.so.13 that lies beside it and hands over a sim_driver; the
 * tracer answers with a sim_tracer. If the program or a tool loaded that libcupti earlier, it is
 * the same copy, and whatever was enabled in it before the link is in force from then on.
 *
 * Nothing here is measured on hardware: durations are invented, simple and deterministic. Nobody
 * includes this but the simulator; traces made on it are marked by the symbol
 * warpscope_simulated_device that both libraries export.
 */
#ifndef WARPSCOPE_SIM_H
#define WARPSCOPE_SIM_H

#include <stddef.h>
#include <stdint.h>

#define SIM_EXPORT __attribute__((visibility("default")))

enum sim_work_kind { SIM_KERNEL = 1, SIM_COPY, SIM_SET, SIM_GRAPH, SIM_SYNC };

/* Something that ran, or will have run at `end`. Times are the device's clock: CLOCK_REALTIME, ns.
 */
struct sim_work {
  uint32_t kind;
  uint32_t device, context, stream;
  uint32_t correlation;
  uint64_t start, end;
  uint32_t graph; /* 0: not from a graph */
  uint64_t graph_node;
  /* kernels */
  const char *name; /* lives as long as the process */
  uint32_t grid[3], block[3], cluster[3];
  uint32_t registers, static_shared, dynamic_shared, local_thread;
  /* copies and sets; sync: bytes is the event's id */
  uint64_t bytes;
  uint32_t value;
  uint8_t copy_kind, src_kind, dst_kind,
      async;                   /* CUPTI's numbers; sets: dst_kind; sync: copy_kind is the type */
  uint32_t peer, peer_context; /* the other device of a peer copy */
};

/* One call of the driver API, from before its body to after it. */
struct sim_call {
  const char *name;
  uint32_t cbid;
  const void *params; /* CUPTI's parameter block of this call, NULL if it takes none */
  const char *symbol; /* launches: the kernel */
  void *context;      /* current when the call began */
  uint32_t context_id;
  uint32_t correlation;
  uint64_t correlation_data; /* the subscriber's, between ENTER and EXIT */
  uint64_t enter, exit;
  int result;
};

enum sim_resource {
  SIM_CONTEXT_CREATED = 1,
  SIM_CONTEXT_DESTROYING = 2,
  SIM_STREAM_CREATED = 3,
  SIM_STREAM_DESTROYING = 4,
  SIM_INIT_FINISHED = 5,
  SIM_MODULE_LOADED = 6,
  SIM_MODULE_UNLOADING = 7,
  SIM_GRAPH_INSTANTIATED = 100 /* told to nobody; id: of the executable graph */
};

struct sim_device_info {
  uint32_t ordinal;
  const char *name;
  uint8_t uuid[16];
  uint64_t memory;
  uint32_t multiprocessors, major, minor;
};

/* Driver → tracer. */
struct sim_tracer {
  void (*call)(struct sim_call *call, int site); /* 0 enter, 1 exit */
  void (*work)(const struct sim_work *work, size_t count);
  /* context, stream: handles; id and image: of a module */
  void (*resource)(enum sim_resource what,
                   void *context,
                   void *stream,
                   uint32_t id,
                   const void *image,
                   size_t size);
};

/* Tracer → driver. None of these takes a lock. */
struct sim_driver {
  uint64_t (*now)(void);
  int (*context)(void *context, uint32_t *id, uint32_t *device); /* 0: no such context */
  int (*stream)(void *context, void *stream, uint32_t *id);
  int (*device)(uint32_t ordinal, struct sim_device_info *info);
};

typedef const struct sim_tracer *(*sim_connect_fn)(const struct sim_driver *driver);
#define SIM_CONNECT "warpscope_sim_connect"

#endif
