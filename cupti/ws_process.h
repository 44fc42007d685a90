/* ws_process.h: who this process is, for the header. */
#ifndef WS_PROCESS_H
#define WS_PROCESS_H

#include "ws_arena.h"

/* PID, parent, start time, user, executable and command line of this process. */
void ws_process_describe(struct ws_header *header, struct ws_arena *arena);

#endif
