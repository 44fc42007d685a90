/* nothread.c: no thread can be started, as where the limit of processes is reached. */
#include <errno.h>
#include <stdlib.h>

int pthread_create(void *thread, const void *attributes, void *function, void *argument);
int pthread_create(void *thread, const void *attributes, void *function, void *argument) {
  (void)thread, (void)attributes, (void)function, (void)argument;
  return EAGAIN;
}
