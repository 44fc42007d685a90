/* ws_interpose.h: CUPTI's functions that this library exports, by name. */
#ifndef WS_INTERPOSE_H
#define WS_INTERPOSE_H

#include <stdbool.h>

/* NULL: none of that name. */
void *ws_interpose_function(const char *name);

/* False: the user has switched the library off, calls go straight through. */
bool ws_interpose_is_enabled(void);

#endif
