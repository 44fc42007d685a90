#include "ws_timeline.h"

#include <stddef.h>

#include "ws_calls.h"

static const uint32_t kinds[] = {
    CUPTI_KIND_CONCURRENT_KERNEL, CUPTI_KIND_MEMCPY, CUPTI_KIND_MEMCPY2, CUPTI_KIND_MEMSET};
/* Kinds without which a timeline is still one. */
static const uint32_t extra_kinds[] = {
    CUPTI_KIND_SYNCHRONIZATION, CUPTI_KIND_OVERHEAD, CUPTI_KIND_MARKER, CUPTI_KIND_MARKER_DATA};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Which calls of a domain are launches, by CUPTI's own names: learnt once, switched often. */
static void learn_launches(struct ws_timeline *t, uint32_t domain) {
  if (t->learnt[domain]) return;
  for (uint32_t id = 1; id < WS_CALL_IDS; id++) {
    const char *name = NULL;
    if (t->cupti->callback_name(domain, id, &name) != CUPTI_OK || !name) continue;
    t->launch[domain][id] = ws_call_is_launch(name);
    t->hidden[domain][id] = !t->launch[domain][id];
  }
  t->learnt[domain] = true;
}

/* One domain of calls at WS_API_LAUNCH. CUPTI 12.5 and newer records single ids; older ones record
 * every call and the decoder hides the rest. */
static int enable_launches(struct ws_timeline *t,
                           uint32_t domain,
                           uint32_t kind,
                           int (*single)(uint32_t, uint8_t),
                           bool on) {
  learn_launches(t, domain);
  if (!single) return on ? t->cupti->activity_enable(kind) : t->cupti->activity_disable(kind);
  int result = CUPTI_OK;
  for (uint32_t id = 1; id < WS_CALL_IDS; id++)
    if (t->launch[domain][id] && single(id, on) != CUPTI_OK) result = -1;
  return result;
}

static int set_calls(struct ws_timeline *t,
                     uint32_t domain,
                     uint32_t kind,
                     int (*single)(uint32_t, uint8_t),
                     bool on) {
  if (t->config->api == WS_API_LAUNCH) return enable_launches(t, domain, kind, single, on);
  return on ? t->cupti->activity_enable(kind) : t->cupti->activity_disable(kind);
}

/* The CPU side of calls. Both domains: a launch through the runtime leaves no driver record, and
 * some libraries call the driver alone. */
static bool enable_calls(struct ws_timeline *t, bool on) {
  const struct ws_cupti *c = t->cupti;
  if (t->config->api == WS_API_NONE) return true;
  int driver = set_calls(t, CUPTI_DOMAIN_DRIVER, CUPTI_KIND_DRIVER, c->enable_driver_api, on);
  int runtime = set_calls(t, CUPTI_DOMAIN_RUNTIME, CUPTI_KIND_RUNTIME, c->enable_runtime_api, on);
  return driver == CUPTI_OK && runtime == CUPTI_OK;
}

/* CUPTI keeps the times of kernels in buffers in the GPU's memory, some 3 MiB for 100,000 kernels
 * each, and by its own choice takes up to 250 of them for a context: 763 MiB, in a program that may
 * be short of memory. What 64 of them hold is more than can be under way between two flushes. */
#define DEVICE_BUFFERS_MOST 64u

void ws_timeline_bound(struct ws_timeline *t) {
  const struct ws_cupti *c = t->cupti;
  size_t most = DEVICE_BUFFERS_MOST, bytes = 0, size = sizeof most;
  if (!c->set_attribute || !c->get_attribute) return;
  c->set_attribute(CUPTI_ATTR_DEVICE_BUFFERS_MOST, &size, &most);
  /* What holds now, whatever became of that. */
  size = sizeof most;
  if (c->get_attribute(CUPTI_ATTR_DEVICE_BUFFERS_MOST, &size, &most) != CUPTI_OK) return;
  size = sizeof bytes;
  if (c->get_attribute(CUPTI_ATTR_DEVICE_BUFFER_SIZE, &size, &bytes) != CUPTI_OK) return;
  t->shm->header->device_most = (uint64_t)most * bytes;
}

int ws_timeline_set(struct ws_timeline *t, bool on) {
  const struct ws_cupti *c = t->cupti;
  int (*set_kind)(uint32_t) = on ? c->activity_enable : c->activity_disable;
  t->on = on;
  for (size_t i = 0; i < COUNT(kinds); i++) {
    int r = set_kind(kinds[i]);
    if (i == 0) t->taken = ws_mono();
    if (!on || r == CUPTI_OK) continue;
    for (size_t j = 0; j < i; j++)
      c->activity_disable(kinds[j]); /* half a timeline would pass for a whole one */
    t->on = false;
    return r;
  }
  bool all = true;
  for (size_t i = 0; i < COUNT(extra_kinds); i++) all = set_kind(extra_kinds[i]) == CUPTI_OK && all;
  if (t->config->graphs == WS_GRAPHS_GRAPH)
    all = set_kind(CUPTI_KIND_GRAPH_TRACE) == CUPTI_OK && all;
  all = enable_calls(t, on) && all;
  if (on && !all) ws_reason(t->shm, WS_REASON_KINDS_MISSING);
  return CUPTI_OK;
}
