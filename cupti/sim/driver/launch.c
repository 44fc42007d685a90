/* launch.c: kernel launches. A simulated kernel takes time and computes nothing. */
#include "driver.h"

/* 2 µs and 1 µs for every 2048 threads that each of the 132 multiprocessors gets: invented. */
static uint64_t duration(const uint32_t grid[3], const uint32_t block[3]) {
  uint64_t threads =
      (uint64_t)grid[0] * grid[1] * grid[2] * ((uint64_t)block[0] * block[1] * block[2]);
  return 2000 + threads / (132 * 2048ull) * 1000;
}

struct config {
  uint32_t grid[3], block[3], shared;
  void *stream;
  const uint32_t *cluster; /* NULL: none */
};

static int launch(void *function, const struct config *config) {
  struct sim_function *f = sim_check(function, SIM_T_FUNCTION);
  if (f == NULL) return CU_INVALID_HANDLE;
  sim_symbol(f->name);
  if (sim_current() == NULL) return CU_INVALID_CONTEXT;
  struct sim_stream *s = sim_stream(config->stream);
  if (s == NULL) return CU_INVALID_HANDLE;
  uint64_t threads = 1;
  for (int i = 0; i < 3; i++) {
    if (config->grid[i] == 0 || config->block[i] == 0) return CU_INVALID_VALUE;
    threads *= config->block[i];
  }
  if (threads > 1024 || config->grid[1] > 65535 || config->grid[2] > 65535) return CU_INVALID_VALUE;
  if (config->shared > f->max_dynamic_shared) return CU_INVALID_VALUE;
  struct sim_work work = {.kind = SIM_KERNEL,
                          .name = f->name,
                          .registers = f->registers,
                          .static_shared = f->static_shared,
                          .dynamic_shared = config->shared,
                          .local_thread = f->local_thread};
  for (int i = 0; i < 3; i++) {
    work.grid[i] = config->grid[i];
    work.block[i] = config->block[i];
    if (config->cluster != NULL) work.cluster[i] = config->cluster[i];
  }
  SIM_LOCK();
  int result = sim_schedule(s, &work, duration(work.grid, work.block));
  SIM_UNLOCK();
  return result;
}

/* CUlaunchConfig and CUlaunchAttribute */
struct attribute {
  uint32_t id, pad;
  union {
    uint32_t cluster[3];
    char size[64];
  } value;
};
struct launch_config {
  uint32_t grid[3], block[3], shared;
  void *stream;
  const struct attribute *attributes;
  uint32_t count;
};
_Static_assert(sizeof(struct launch_config) == 56 && offsetof(struct launch_config, stream) == 32,
               "CUlaunchConfig");
_Static_assert(sizeof(struct attribute) == 72, "CUlaunchAttribute");

SIM_API4(cuLaunchKernelEx,
         652,
         const struct launch_config *,
         given,
         void *,
         f,
         void **,
         params,
         void **,
         extra) {
  (void)params, (void)extra;
  if (given == NULL) return CU_INVALID_VALUE;
  struct config config = {.shared = given->shared, .stream = given->stream};
  for (int i = 0; i < 3; i++) {
    config.grid[i] = given->grid[i];
    config.block[i] = given->block[i];
  }
  for (uint32_t i = 0; i < given->count; i++) {
    if (given->attributes[i].id == 4) config.cluster = given->attributes[i].value.cluster;
  }
  return launch(f, &config);
}

struct launch_params {
  void *f;
  unsigned gx, gy, gz, bx, by, bz, shared;
  void *stream;
  void **params, **extra;
};

SIM_EXPORT int cuLaunchKernel(void *f,
                              unsigned gx,
                              unsigned gy,
                              unsigned gz,
                              unsigned bx,
                              unsigned by,
                              unsigned bz,
                              unsigned shared,
                              void *stream,
                              void **params,
                              void **extra);
int cuLaunchKernel(void *f,
                   unsigned gx,
                   unsigned gy,
                   unsigned gz,
                   unsigned bx,
                   unsigned by,
                   unsigned bz,
                   unsigned shared,
                   void *stream,
                   void **params,
                   void **extra) {
  struct launch_params block = {f, gx, gy, gz, bx, by, bz, shared, stream, params, extra};
  struct sim_frame frame;
  if (!sim_enter(&frame, "cuLaunchKernel", 307, &block)) return sim_exit(&frame, frame.call.result);
  struct config config = {
      .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared, .stream = stream};
  return sim_exit(&frame, launch(f, &config));
}
