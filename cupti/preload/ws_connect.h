/* ws_connect.h: where the capture's memory comes from: an agent, or a file of our own. */
#ifndef WS_CONNECT_H
#define WS_CONNECT_H

#include "../ws_capture.h"

/* Memory and configuration for this process. False if there is none to be had; the program then
 * runs without capture. */
bool ws_connect(struct ws_shm *shm, struct ws_config *config);

/* Gives back what a capture file does not need and says on stderr where it is. `whole`: the worker
 * has ended, so that the file can be cut behind what it holds. No-op with an agent. */
void ws_connect_finish(struct ws_shm *shm, bool whole);

/* Remembers what stderr is: when the process starts. */
void ws_connect_open(void);

/* A line on stderr, unless WARPSCOPE_QUIET is set or the program has put something else in the
 * place of stderr since. */
void ws_connect_note(const char *text);

#endif
