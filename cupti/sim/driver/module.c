/* module.c: modules, libraries, functions. A library and its module are one object here, a kernel
 * and its function another; the real driver's handles are as opaque. */
#include "driver.h"

#include "image.h"

#include <stdlib.h>
#include <string.h>

static int load(void **out, const void *image, bool library) {
  struct sim_context *c = sim_current();
  if (c == NULL && !library) return CU_INVALID_CONTEXT;
  if (out == NULL || image == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_module *m = sim_new(SIM_T_MODULE, sizeof *m);
  m->context = c;
  m->library = library;
  int result = sim_read_image(m, image);
  if (result != CU_OK) sim_delete(m);
  SIM_UNLOCK();
  if (result != CU_OK) return result;
  sim_resource(SIM_MODULE_LOADED, c, NULL, m->object.id, image, m->size);
  *out = m;
  return CU_OK;
}

static int unload(void *handle) {
  struct sim_module *m = sim_check(handle, SIM_T_MODULE);
  if (m == NULL) return CU_INVALID_HANDLE;
  sim_resource(SIM_MODULE_UNLOADING, m->context, NULL, m->object.id, m->image, m->size);
  SIM_LOCK();
  for (struct sim_object *o = sim.objects[SIM_T_FUNCTION]; o != NULL; o = o->next) {
    if (((struct sim_function *)o)->module == m) sim_delete(o);
  }
  sim_delete(m);
  SIM_UNLOCK();
  return CU_OK;
}

/* The lock is held. */
static struct sim_function *function(struct sim_module *m, const char *name) {
  for (struct sim_object *o = sim.objects[SIM_T_FUNCTION]; o != NULL; o = o->next) {
    struct sim_function *f = (struct sim_function *)o;
    if (f->module == m && strcmp(f->name, name) == 0) return f;
  }
  uint32_t registers = 32, shared = 0;
  bool found = m->any_name;
  for (size_t i = 0; i < m->count && !found; i++) {
    if (strcmp(m->names[i], name) != 0) continue;
    found = true;
    registers = m->registers[i];
    shared = m->shared[i];
  }
  if (!found) return NULL;
  struct sim_function *f = sim_new(SIM_T_FUNCTION, sizeof *f);
  f->name = strdup(name); /* kept for ever: the tracer's records point to it */
  f->module = m;
  f->registers = registers;
  f->static_shared = shared;
  f->max_dynamic_shared = 49152;
  return f;
}

static int lookup(void **out, void *module, const char *name) {
  if (out == NULL || name == NULL) return CU_INVALID_VALUE;
  struct sim_module *m = sim_check(module, SIM_T_MODULE);
  if (m == NULL) return CU_INVALID_HANDLE;
  SIM_LOCK();
  *out = function(m, name);
  SIM_UNLOCK();
  return *out == NULL ? CU_NOT_FOUND : CU_OK;
}

SIM_API2(cuModuleLoadData, 19, void **, out, const void *, image) {
  return load(out, image, false);
}

SIM_API5(cuModuleLoadDataEx,
         20,
         void **,
         out,
         const void *,
         image,
         unsigned,
         count,
         void *,
         options,
         void **,
         values) {
  (void)count, (void)options, (void)values;
  return load(out, image, false);
}

SIM_API1(cuModuleUnload, 22, void *, module) { return unload(module); }

SIM_API3(cuModuleGetFunction, 23, void **, out, void *, module, const char *, name) {
  return lookup(out, module, name);
}

SIM_API4(cuModuleGetGlobal_v2,
         241,
         uint64_t *,
         address,
         size_t *,
         bytes,
         void *,
         module,
         const char *,
         name) {
  (void)address, (void)bytes, (void)name;
  return sim_check(module, SIM_T_MODULE) == NULL ? CU_INVALID_HANDLE
                                                 : CU_NOT_FOUND; /* no data in simulated modules */
}

typedef struct {
  void **out;
  const void *code;
  void *jit_options;
  void **jit_values;
  unsigned jit_count;
  void *options;
  void **values;
  unsigned count;
} library_params;

SIM_EXPORT int cuLibraryLoadData(void **out,
                                 const void *code,
                                 void *jit_options,
                                 void **jit_values,
                                 unsigned jit_count,
                                 void *options,
                                 void **values,
                                 unsigned count);
int cuLibraryLoadData(void **out,
                      const void *code,
                      void *jit_options,
                      void **jit_values,
                      unsigned jit_count,
                      void *options,
                      void **values,
                      unsigned count) {
  library_params block = {out, code, jit_options, jit_values, jit_count, options, values, count};
  struct sim_frame frame;
  if (!sim_enter(&frame, "cuLibraryLoadData", 678, &block))
    return sim_exit(&frame, frame.call.result);
  return sim_exit(&frame, load(out, code, true));
}

SIM_API1(cuLibraryUnload, 680, void *, library) { return unload(library); }

SIM_API3(cuLibraryGetKernel, 681, void **, out, void *, library, const char *, name) {
  return lookup(out, library, name);
}

SIM_API2(cuLibraryGetModule, 682, void **, out, void *, library) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (sim_check(library, SIM_T_MODULE) == NULL) return CU_INVALID_HANDLE;
  *out = library;
  return CU_OK;
}

SIM_API2(cuKernelGetFunction, 683, void **, out, void *, kernel) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (sim_check(kernel, SIM_T_FUNCTION) == NULL) return CU_INVALID_HANDLE;
  *out = kernel;
  return CU_OK;
}

SIM_API3(cuFuncGetAttribute, 85, int *, value, int, attribute, void *, handle) {
  struct sim_function *f = sim_check(handle, SIM_T_FUNCTION);
  if (f == NULL) return CU_INVALID_HANDLE;
  if (value == NULL || attribute < 0) return CU_INVALID_VALUE;
  switch (attribute) {
  case 0:
    *value = 1024;
    break;
  case 1:
    *value = (int)f->static_shared;
    break;
  case 3:
    *value = (int)f->local_thread;
    break;
  case 4:
    *value = (int)f->registers;
    break;
  case 5:
  case 6:
    *value = 90;
    break;
  case 8:
    *value = (int)f->max_dynamic_shared;
    break;
  default:
    *value = 0;
    break;
  }
  return CU_OK;
}

SIM_API3(cuFuncSetAttribute, 481, void *, handle, int, attribute, int, value) {
  struct sim_function *f = sim_check(handle, SIM_T_FUNCTION);
  if (f == NULL) return CU_INVALID_HANDLE;
  if (attribute != 8) return attribute == 9 ? CU_OK : CU_INVALID_VALUE;
  if (value < 0 || value > 232448) return CU_INVALID_VALUE;
  f->max_dynamic_shared = (uint32_t)value;
  return CU_OK;
}

SIM_API2(cuFuncGetName, 718, const char **, name, void *, handle) {
  struct sim_function *f = sim_check(handle, SIM_T_FUNCTION);
  if (f == NULL) return CU_INVALID_HANDLE;
  if (name == NULL) return CU_INVALID_VALUE;
  *name = f->name;
  return CU_OK;
}

SIM_API4(cuOccupancyMaxActiveBlocksPerMultiprocessor,
         374,
         int *,
         blocks,
         void *,
         handle,
         int,
         size,
         size_t,
         shared) {
  struct sim_function *f = sim_check(handle, SIM_T_FUNCTION);
  if (f == NULL) return CU_INVALID_HANDLE;
  if (blocks == NULL || size <= 0 || size > 1024) return CU_INVALID_VALUE;
  int by_threads = 2048 / size, by_shared = shared > 0 ? (int)(233472 / shared) : 32;
  *blocks = by_threads < by_shared ? by_threads : by_shared;
  if (*blocks > 32) *blocks = 32;
  return CU_OK;
}
