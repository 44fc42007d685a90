/* ws_ranges.h: NVTX ranges of one name, for the trigger of the timeline.
 *
 * Owns: which open ranges bear the name. It stands between the program's NVTX and CUPTI's, in
 * NVTX's own tables of functions: ranges begin, and names and domains are registered, before CUDA
 * is initialised and before CUPTI calls anybody back; and so the timeline is on before CUPTI gets
 * to see the beginning of a range, and after it has seen the end. Installed only where a range is
 * the trigger. It takes no lock and allocates nothing.
 */
#ifndef WS_RANGES_H
#define WS_RANGES_H

#include "ws_control.h"

/* What a library's copy of NVTX looked like before CUPTI filled its tables. */
struct ws_ranges_before {
  void (*functions[16])(void);
};

/* `export` is what NVTX hands to an injected library. Before and after CUPTI was told of it. */
void ws_ranges_look(const void *(*export_table)(uint32_t), struct ws_ranges_before *before);
void ws_ranges_install(struct ws_control *control,
                       const char *range,
                       const void *(*export_table)(uint32_t),
                       const struct ws_ranges_before *before);

#endif
