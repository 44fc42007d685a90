/* ws_connect.h: where the capture's memory comes from: an agent, or a file of our own. */
#ifndef WS_CONNECT_H
#define WS_CONNECT_H

#include "../ws_capture.h"

/* Memory and configuration for this process. False if there is none to be had; the program then
 * runs without capture. */
bool ws_connect(struct ws_shm *shm, struct ws_config *config);

/* Cuts a capture file behind what it holds and says on stderr where it is. No-op with an agent. */
void ws_connect_finish(struct ws_shm *shm);

/* A line on stderr, unless WARPSCOPE_QUIET is set. */
void ws_connect_note(const char *text);

#endif
