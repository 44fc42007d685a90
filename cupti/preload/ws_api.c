/* ws_api.c: what a program may call itself: warpscope.h. */
#define WARPSCOPE_FUNCTION __attribute__((visibility("default")))
#include "../include/warpscope.h"

#include "../ws_capture.h"
#include "../ws_span.h"

_Static_assert(WARPSCOPE_OK == WS_CONTROL_DONE && WARPSCOPE_NOTED == WS_CONTROL_NOTED &&
                   WARPSCOPE_NOT_RECORDED == WS_CONTROL_OVER && WARPSCOPE_LATE == WS_CONTROL_LATE,
               "results");

int warpscope_start(void) { return ws_capture_switch(true); }
int warpscope_stop(void) { return ws_capture_switch(false); }
int warpscope_step(void) { return ws_capture_step(); }
int warpscope_span(const char *name, uint64_t began_ns, uint64_t value) {
  return ws_span_end(name, began_ns, value) ? WARPSCOPE_OK : WARPSCOPE_NOT_RECORDED;
}
uint32_t warpscope_text(const char *text, size_t size) { return ws_span_text(text, size); }
size_t warpscope_marks(const struct warpscope_mark *marks, size_t count) {
  return ws_span_marks(marks, count);
}
uint64_t warpscope_sleep(uint64_t until_ns, uint32_t *word) {
  return ws_span_sleep(until_ns, word);
}
void warpscope_wake(uint32_t *word) { ws_span_wake(word); }
int warpscope_recording(void) { return ws_capture_recording(); }
