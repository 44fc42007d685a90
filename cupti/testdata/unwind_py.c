/* The unwinder as Python sees it: a library for ctypes. Compiled by unwind_test together with the
 * unwinder's sources. */
#include <dlfcn.h>

#include "unwind_check.h"
#include "ws_maps.h"

__attribute__((visibility("default"))) int py_refresh(void) {
  ws_unwind_use_find_object(dlsym(RTLD_DEFAULT, "_dl_find_object"));
  return ws_maps_refresh();
}

__attribute__((visibility("default"))) int py_check(void) {
  return unwind_same("python", 8) ? 1 : 0;
}

/* Python → ctypes → here → ctypes → Python → ctypes → py_check */
__attribute__((visibility("default"))) int py_call(int (*f)(int), int n) {
  int rc = f(n);
  __asm__ volatile("" : : "r"(rc) : "memory");
  return rc;
}
