/* slowdisk.c: a library that makes every allocation of disk space, and every write of the capture's, take
 * SLOW_MS milliseconds, as a network's file system or a busy disk does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_a_little(void) {
  const char *text = getenv("SLOW_MS");
  long ms = text ? atol(text) : 20;
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

__attribute__((visibility("default"))) long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "syscall");
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_fallocate) wait_a_little();
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
