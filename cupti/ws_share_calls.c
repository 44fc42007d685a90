#define _GNU_SOURCE
#include <string.h>

#include "ws_share_inside.h"

/* CUPTI 11.x to 13.x have 8 domains of callbacks. */
#define DOMAINS_KNOWN 8u

/* The client's word of a call, while ours is in CUPTI's place for it. */
struct word {
  uint32_t correlation;
  uint64_t value;
};
#define WORDS 16u
static __thread struct word words[WORDS];
static __thread uint32_t words_used;

static void to_client(cupti_callback_fn f, uint32_t domain, uint32_t id, const void *data) {
  f(ws_shared.client_user, domain, id, data);
}

/* Both want the call: the place that CUPTI keeps for a word between its enter and exit is used
 * twice. */
static void to_both(cupti_callback_fn ours,
                    cupti_callback_fn client,
                    uint32_t domain,
                    uint32_t id,
                    const void *data) {
  const struct cupti_callback *c = data;
  bool call = domain == CUPTI_DOMAIN_DRIVER || domain == CUPTI_DOMAIN_RUNTIME;
  if (!call || !c || !c->correlationData) {
    ours(ws_shared.user, domain, id, data);
    to_client(client, domain, id, data);
  } else if (c->callbackSite == CUPTI_ENTER) {
    to_client(client, domain, id, data);
    if (words_used < WORDS)
      words[words_used++] = (struct word){c->correlationId, *c->correlationData};
    ours(ws_shared.user, domain, id, data);
  } else {
    ours(ws_shared.user, domain, id, data);
    while (words_used) {
      struct word w = words[--words_used];
      if (w.correlation != c->correlationId) continue; /* its exit was not seen */
      *c->correlationData = w.value;
      break;
    }
    to_client(client, domain, id, data);
  }
}

/* The call that is made to learn its number: it touches nothing. */
static struct {
  _Atomic uint32_t id;     /* 0: not known yet, or no such call */
  _Atomic uint32_t thread; /* that makes it; 0: none does */
  uint32_t number;
} probe;

static void dispatch(void *unused, uint32_t domain, uint32_t id, const void *data) {
  (void)unused;
  if (domain == CUPTI_DOMAIN_DRIVER && data &&
      id == atomic_load_explicit(&probe.id, memory_order_relaxed) &&
      atomic_load_explicit(&probe.thread, memory_order_relaxed) == ws_thread()) {
    probe.number = ((const struct cupti_callback *)data)->correlationId;
    return;
  }
  if (domain >= WS_SHARE_DOMAINS || id >= WS_SHARE_IDS) return;
  cupti_callback_fn ours = atomic_load_explicit(&ws_shared.callback, memory_order_acquire);
  cupti_callback_fn client = atomic_load_explicit(&ws_shared.client_callback, memory_order_acquire);
  if (!atomic_load_explicit(&ws_shared.ours.callback[domain][id], memory_order_relaxed))
    ours = NULL;
  if (!atomic_load_explicit(&ws_shared.client.callback[domain][id], memory_order_relaxed))
    client = NULL;
  if (ours && client)
    to_both(ours, client, domain, id, data);
  else if (ours)
    ours(ws_shared.user, domain, id, data);
  else if (client)
    to_client(client, domain, id, data);
}

static uint32_t find_probe(void) {
  for (uint32_t id = 1; id < WS_SHARE_IDS; id++) {
    const char *name = NULL;
    if (ws_shared.real.callback_name(CUPTI_DOMAIN_DRIVER, id, &name) == CUPTI_OK && name &&
        strcmp(name, "cuDeviceGetCount") == 0)
      return id;
  }
  return 0;
}

uint32_t ws_shared_number(void) {
  if (!ws_shared.subscriber || !ws_shared.count_devices) return 0;
  uint32_t id = atomic_load(&probe.id);
  if (!id) atomic_store(&probe.id, id = find_probe());
  if (!id) return 0;
  bool on = atomic_load(&ws_shared.ours.callback[CUPTI_DOMAIN_DRIVER][id]) ||
            atomic_load(&ws_shared.client.callback[CUPTI_DOMAIN_DRIVER][id]);
  if (!on && ws_shared.real.enable_callback(1, ws_shared.subscriber, CUPTI_DOMAIN_DRIVER, id))
    return 0;
  int count;
  probe.number = 0;
  atomic_store(&probe.thread, ws_thread());
  ws_shared.count_devices(&count);
  atomic_store(&probe.thread, 0);
  if (!on) ws_shared.real.enable_callback(0, ws_shared.subscriber, CUPTI_DOMAIN_DRIVER, id);
  return probe.number;
}

int ws_our_subscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  bool had = ws_lock_take(&ws_shared.switching);
  int r = CUPTI_OK;
  if (!ws_shared.subscriber) r = ws_shared.real.subscribe(&ws_shared.subscriber, dispatch, NULL);
  if (r == CUPTI_OK) {
    ws_shared.user = user;
    atomic_store_explicit(&ws_shared.callback, callback, memory_order_release);
    *subscriber = ws_shared.subscriber;
  }
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

static int
set_callback(struct ws_side *s, uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  if (domain >= WS_SHARE_DOMAINS || id >= WS_SHARE_IDS)
    return ws_shared.real.enable_callback(enable, subscriber, domain, id);
  const struct ws_side *other = s == &ws_shared.ours ? &ws_shared.client : &ws_shared.ours;
  bool had = ws_lock_take(&ws_shared.switching);
  atomic_store(&s->callback[domain][id], enable != 0);
  int r = CUPTI_OK;
  if (!atomic_load(&other->callback[domain][id])) {
    r = ws_shared.real.enable_callback(enable, subscriber, domain, id);
    if (r != CUPTI_OK) atomic_store(&s->callback[domain][id], 0);
  }
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

int ws_our_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  return set_callback(&ws_shared.ours, enable, subscriber, domain, id);
}

int ws_share_subscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  if (!subscriber) return CUPTI_BAD_PARAMETER;
  bool had = ws_lock_take(&ws_shared.switching);
  int r = atomic_load(&ws_shared.client_callback) ? CUPTI_MULTIPLE_SUBSCRIBERS : CUPTI_OK;
  if (r == CUPTI_OK && !ws_shared.subscriber)
    r = ws_shared.real.subscribe(&ws_shared.subscriber, dispatch, NULL);
  if (r == CUPTI_OK) {
    *subscriber = ws_shared.subscriber;
    ws_shared.client_user = user;
    atomic_store_explicit(&ws_shared.client_callback, callback, memory_order_release);
  }
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

static bool is_client(const void *subscriber) {
  return subscriber && subscriber == ws_shared.subscriber &&
         atomic_load(&ws_shared.client_callback);
}

int ws_share_enable_callback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  if (!is_client(subscriber)) return CUPTI_BAD_PARAMETER;
  return set_callback(&ws_shared.client, enable, subscriber, domain, id);
}

int ws_share_enable_domain(uint32_t enable, void *subscriber, uint32_t domain) {
  if (!is_client(subscriber) || domain >= WS_SHARE_DOMAINS) return CUPTI_BAD_PARAMETER;
  bool had = ws_lock_take(&ws_shared.switching);
  int r = CUPTI_OK;
  if (enable) {
    r = ws_shared.enable_domain(enable, subscriber, domain);
    for (uint32_t id = 0; id < WS_SHARE_IDS && r == CUPTI_OK; id++)
      atomic_store(&ws_shared.client.callback[domain][id], 1);
  } else {
    /* One by one: ours of the domain stay. */
    for (uint32_t id = 0; id < WS_SHARE_IDS; id++) {
      if (!atomic_exchange(&ws_shared.client.callback[domain][id], 0)) continue;
      if (!atomic_load(&ws_shared.ours.callback[domain][id]))
        ws_shared.real.enable_callback(0, subscriber, domain, id);
    }
  }
  ws_lock_let_go(&ws_shared.switching, had);
  return r;
}

int ws_share_enable_all(uint32_t enable, void *subscriber) {
  int r = is_client(subscriber) ? CUPTI_OK : CUPTI_BAD_PARAMETER;
  for (uint32_t domain = 1; domain <= DOMAINS_KNOWN && r == CUPTI_OK; domain++)
    r = ws_share_enable_domain(enable, subscriber, domain);
  return r;
}

int ws_share_unsubscribe(void *subscriber) {
  if (!is_client(subscriber)) return CUPTI_BAD_PARAMETER;
  ws_share_enable_all(0, subscriber);
  atomic_store(&ws_shared.client_callback, NULL);
  if (atomic_load(&ws_shared.callback)) return CUPTI_OK;
  ws_shared.subscriber = NULL;
  return ws_shared.unsubscribe(subscriber);
}
