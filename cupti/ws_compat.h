/* ws_compat.h: old names for functions that newer C libraries moved.
 *
 * glibc 2.34 moved libdl and libpthread into libc and gave their functions new versions; a library
 * linked there would not load on glibc 2.28. Binding to the old versions, which every glibc still
 * has, keeps one binary for all. Included by the sources that call these functions; only
 * libwarpscope.so needs it (WS_OLD_GLIBC), Go's linker does not.
 *
 * The bindings are weak and the library names neither libdl nor libpthread as needed: loading the
 * two costs every process of a traced program 0.1 ms, and a program that uses CUDA has them, since
 * libcuda needs them. ws_compat_complete says whether this process does.
 */
#ifndef WS_COMPAT_H
#define WS_COMPAT_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#if defined(WS_OLD_GLIBC) && defined(__GLIBC__)
#if defined(__x86_64__)
#define WS_BASE "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define WS_BASE "GLIBC_2.17"
#endif
#endif

#ifdef WS_BASE
#define WS_OLD(name) __asm__(".symver " #name "," #name "@" WS_BASE)
WS_OLD(dlopen);
WS_OLD(dlclose);
WS_OLD(dlsym);
WS_OLD(dlvsym);
WS_OLD(dladdr);
WS_OLD(pthread_create);
WS_OLD(pthread_detach);
WS_OLD(pthread_attr_init);
WS_OLD(pthread_attr_setstacksize);
WS_OLD(pthread_attr_destroy);
#pragma weak dlopen
#pragma weak dlclose
#pragma weak dlsym
#pragma weak dlvsym
#pragma weak dladdr
#pragma weak pthread_create
#pragma weak pthread_detach
#pragma weak pthread_attr_setstacksize

static inline bool ws_compat_complete(void) {
  return dlopen && dlclose && dlsym && dlvsym && dladdr && pthread_create && pthread_detach &&
         pthread_attr_setstacksize;
}
#else
static inline bool ws_compat_complete(void) { return true; }
#endif

#endif
