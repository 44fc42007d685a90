/* ws_compat.h: old names for functions that newer C libraries moved.
 *
 * glibc 2.34 moved libdl and libpthread into libc and gave their functions new versions; a library
 * linked there would not load on glibc 2.28. Binding to the old versions, which every glibc still
 * has, keeps one binary for all. Included by the sources that call these functions; only
 * libwarpscope.so needs it (WS_OLD_GLIBC), Go's linker does not.
 */
#ifndef WS_COMPAT_H
#define WS_COMPAT_H

#if defined(WS_OLD_GLIBC) && defined(__GLIBC__)
#if defined(__x86_64__)
#define WS_BASE "GLIBC_2.2.5"
#define WS_OLD(name, version) __asm__(".symver " #name "," #name "@" version)
WS_OLD(dlopen, WS_BASE);
WS_OLD(dlsym, WS_BASE);
WS_OLD(dladdr, WS_BASE);
WS_OLD(dlclose, WS_BASE);
WS_OLD(dlerror, WS_BASE);
WS_OLD(pthread_create, WS_BASE);
WS_OLD(pthread_detach, WS_BASE);
WS_OLD(pthread_join, WS_BASE);
WS_OLD(pthread_sigmask, WS_BASE);
WS_OLD(pthread_setname_np, "GLIBC_2.12");
WS_OLD(pthread_once, WS_BASE);
WS_OLD(pthread_getattr_np, "GLIBC_2.2.5");
WS_OLD(pthread_attr_setstacksize, WS_BASE);
WS_OLD(pthread_attr_getstack, WS_BASE);
WS_OLD(pthread_mutexattr_settype, WS_BASE);
#elif defined(__aarch64__)
#define WS_OLD(name, version) __asm__(".symver " #name "," #name "@" version)
WS_OLD(dlopen, "GLIBC_2.17");
WS_OLD(dlsym, "GLIBC_2.17");
WS_OLD(dladdr, "GLIBC_2.17");
WS_OLD(dlclose, "GLIBC_2.17");
WS_OLD(pthread_create, "GLIBC_2.17");
WS_OLD(pthread_detach, "GLIBC_2.17");
WS_OLD(pthread_sigmask, "GLIBC_2.17");
WS_OLD(pthread_setname_np, "GLIBC_2.17");
#endif
#endif

#endif
