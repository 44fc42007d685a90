/* fault.h: faults that tests ask for by environment variable; compiled into both libraries.
 *
 *   WARPSCOPE_SIM_FAIL=NAME[:NTH[:CODE]][,…]   the NTH call (default the first, `*` every one) of
 *                                             NAME returns CODE (default 999, unknown error)
 *
 * A bare NAME may also be a driver call: cuMemAlloc_v2:3:2 makes the third one run out of memory.
 */
#ifndef WARPSCOPE_SIM_FAULT_H
#define WARPSCOPE_SIM_FAULT_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SIM_FAULTS = 16, SIM_UNKNOWN_ERROR = 999 };

struct sim_fault {
  char name[64];
  uint64_t nth; /* 0: every call */
  int code;
  _Atomic uint64_t seen;
};

struct sim_faults {
  int count;
  struct sim_fault list[SIM_FAULTS];
};

/* Reads the variable once; what does not fit or parse is left out. */
static inline void sim_faults_read(struct sim_faults *faults, const char *text) {
  while (text != NULL && *text != '\0' && faults->count < SIM_FAULTS) {
    struct sim_fault *f = &faults->list[faults->count];
    size_t length = strcspn(text, ":,");
    if (length > 0 && length < sizeof f->name) {
      memcpy(f->name, text, length);
      f->name[length] = '\0';
      f->nth = 1;
      f->code = SIM_UNKNOWN_ERROR;
      const char *p = text + length;
      if (*p == ':') {
        p++;
        f->nth = *p == '*' ? 0 : strtoull(p, NULL, 10);
        p += strcspn(p, ":,");
        if (*p == ':') f->code = (int)strtol(p + 1, NULL, 10);
      }
      faults->count++;
    }
    text += strcspn(text, ",");
    if (*text == ',') text++;
  }
}

/* The code that this call of `name` has to fail with; 0: none. */
static inline int sim_faults_check(struct sim_faults *faults, const char *name) {
  for (int i = 0; i < faults->count; i++) {
    struct sim_fault *f = &faults->list[i];
    if (strcmp(f->name, name) != 0) continue;
    uint64_t n = atomic_fetch_add_explicit(&f->seen, 1, memory_order_relaxed) + 1;
    if (f->nth == 0 || f->nth == n) return f->code;
  }
  return 0;
}

#endif
