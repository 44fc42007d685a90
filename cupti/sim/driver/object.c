/* object.c: handles. An object is never freed, only marked dead: a program's stale handle then
 * gets CUDA_ERROR_INVALID_HANDLE, whatever it was used for since. */
#include "driver.h"

#include <stdlib.h>

struct sim_state sim = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *sim_new(enum sim_type type, size_t size) {
  struct sim_object *object = calloc(1, size);
  if (object == NULL) return NULL;
  object->magic = SIM_MAGIC + (uint32_t)type;
  object->id = ++sim.ids;
  object->next = sim.objects[type];
  sim.objects[type] = object;
  return object;
}

void *sim_check(const void *handle, enum sim_type type) {
  /* Small numbers are the special streams, or rubbish; anything else is taken for a pointer that
   * this library gave out, as the real driver does. */
  if ((uintptr_t)handle < 4096 || ((uintptr_t)handle & 7) != 0) return NULL;
  struct sim_object *object = (struct sim_object *)(uintptr_t)handle;
  return object->magic == SIM_MAGIC + (uint32_t)type ? object : NULL;
}

void sim_delete(void *object) { ((struct sim_object *)object)->magic = 0; }
