/* ws_unwind.h: the call stack of the current thread, as return addresses.
 *
 * Owns: unwinding by the DWARF call frame information of the loaded modules, with frame pointers
 * where there is none (code compiled at run time, and every frame on aarch64). May run in any
 * callback and in a signal handler: no lock, no malloc, no call into the dynamic loader, about 2
 * KiB of stack, and no address is read that was not found readable first. What is wrong in a stack
 * ends it early; nothing else happens. Needs snapshots of the modules (ws_maps.h) to see far.
 */
#ifndef WS_UNWIND_H
#define WS_UNWIND_H

#include <stddef.h>
#include <stdint.h>

/* Writes at most `max` return addresses of the current thread's stack to pcs, innermost first, and
 * returns how many. The first is the address in its caller to which ws_unwind returns; `skip`
 * leaves out that many. A return address lies behind its call: look up address - 1. Where a signal
 * interrupted a function, that address + 1 is written, so that the same rule holds. */
size_t ws_unwind(uint64_t *pcs, size_t max, size_t skip);

/* Registers by their DWARF numbers. x86-64: 3 rbx, 6 rbp, 7 rsp, 12-15 r12-r15, 16 the return
 * address. aarch64: 6 holds x29, 7 sp and 16 the return address. */
#define WS_UNWIND_REGS 17
struct ws_unwind_regs {
  uint64_t r[WS_UNWIND_REGS];
  uint32_t valid; /* set of 1 << number */
};

/* The same from given registers of this thread, whose frames must still be there. */
size_t ws_unwind_from(const struct ws_unwind_regs *regs, uint64_t *pcs, size_t max, size_t skip);

/* Address of glibc's _dl_find_object (2.35 and newer, looked up with dlsym), or NULL. It takes no
 * lock; with it, modules are seen in the moment between their loading and the next snapshot. */
void ws_unwind_use_find_object(void *function);

/* How many times an address was in no known module, since the start: when it grows, a refresh of
 * the module maps is due. */
uint64_t ws_unwind_unknown(void);

#endif
