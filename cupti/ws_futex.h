/* ws_futex.h: waiting for a word to change, and waking who waits.
 *
 * Owns: the two system calls behind it. A private word is seen by this process alone; a shared one
 * lies in the capture's memory, where the agent wakes too.
 */
#ifndef WS_FUTEX_H
#define WS_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Until the word is no longer `value`, or for ns at most. False: this word cannot be waited for. */
static inline bool ws_futex_wait(void *word, uint32_t value, uint64_t ns, bool shared) {
  struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  int op = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
  long r = syscall(SYS_futex, word, op, value, &t, NULL, 0);
  return r == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
}

static inline void ws_futex_wake(void *word, bool shared) {
  int op = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);
  syscall(SYS_futex, word, op, INT32_MAX, NULL, NULL, 0);
}

#endif
