/* ws_dlsym.c: CUPTI's functions, as tools get them that ask the loader.
 *
 * Owns: what the exported dlsym (ws_dlsym_entry.c) answers. Tools that load CUPTI themselves
 * (Triton's Proton, JAX's profiler) get the functions of ws_interpose.c and, of what is not there,
 * those of the CUPTI that the capture uses, so that a process has one CUPTI. Every other question
 * goes on to the C library's dlsym by a jump, with the caller's return address in place: the answer
 * to RTLD_NEXT depends on it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "../ws_compat.h"
#include "../ws_share.h"
#include "ws_interpose.h"

#ifdef __x86_64__

/* Runs before constructors and sanitizers are ready, for whoever asks first. */
#define EARLY __attribute__((no_sanitize("address", "thread", "undefined")))

void *ws_dlsym_answer(void *handle, const char *name, void *caller);

/* The C library's; resolved at the first question. */
__attribute__((visibility("hidden"))) void *ws_dlsym_next;

/* Where the C library has none, nobody can ask it. */
EARLY static void *nothing(void *handle, const char *name) {
  (void)handle, (void)name;
  return NULL;
}

EARLY static void learn_next(void) {
  void *next = dlvsym ? dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34") : NULL;
  if (!next && dlvsym) next = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
  if (!next) next = (void *)&nothing;
  __atomic_store_n(&ws_dlsym_next, next, __ATOMIC_RELEASE);
}

static const char *library_of(void *address) {
  Dl_info where;
  if (!dladdr(address, &where) || !where.dli_fname) return "";
  const char *slash = strrchr(where.dli_fname, '/');
  return slash ? slash + 1 : where.dli_fname;
}

/* What a tool is to get instead of what it asks for; NULL: that. */
static void *cupti_function(void *handle, const char *name, void *caller) {
  Dl_info here, there;
  if (handle == RTLD_NEXT || !ws_interpose_is_enabled()) return NULL;
  if (!dladdr(caller, &there) || !dladdr((void *)&ws_dlsym_next, &here)) return NULL;
  /* This library looks for the real ones, and so does CUPTI. */
  if (there.dli_fbase == here.dli_fbase || strncmp(library_of(caller), "libcupti", 8) == 0)
    return NULL;
  void *(*next)(void *, const char *) = NULL;
  *(void **)&next = __atomic_load_n(&ws_dlsym_next, __ATOMIC_ACQUIRE);
  if (!next(handle, name)) return NULL; /* the tool asks what this CUPTI has */
  void *f = ws_interpose_function(name);
  return f ? f : ws_share_function(name);
}

/* What dlsym returns; NULL: what the C library's does. */
EARLY void *ws_dlsym_answer(void *handle, const char *name, void *caller) {
  if (!__atomic_load_n(&ws_dlsym_next, __ATOMIC_ACQUIRE)) learn_next();
  if (!name || name[0] != 'c' || name[1] != 'u' || name[2] != 'p' || name[3] != 't' ||
      name[4] != 'i')
    return NULL;
  return cupti_function(handle, name, caller);
}

#endif
