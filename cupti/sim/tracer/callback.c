/* callback.c: subscribing, the callbacks of driver calls and resources, the link to the driver. */
#include "tracer.h"

static bool wanted(uint32_t domain, uint32_t id) {
  return atomic_load_explicit(&tracer.enabled[domain][id], memory_order_acquire);
}

/* The callback and its user pointer are set before anything can be enabled and stay until
 * cuptiUnsubscribe has switched everything off again. */
static void tell(uint32_t domain, uint32_t id, const void *data) {
  pthread_mutex_lock(&tracer.lock);
  cupti_callback_fn callback = tracer.callback;
  void *user = tracer.user;
  pthread_mutex_unlock(&tracer.lock);
  if (callback != NULL) callback(user, domain, id, data);
}

static void on_call(struct sim_call *call, int site) {
  if (wanted(CUPTI_DOMAIN_DRIVER, call->cbid)) {
    struct cupti_callback data = {.callbackSite = (uint32_t)site,
                                  .functionName = call->name,
                                  .functionParams = call->params,
                                  .functionReturnValue = site == CUPTI_EXIT ? &call->result : NULL,
                                  .symbolName = call->symbol,
                                  .context = call->context,
                                  .contextUid = call->context_id,
                                  .correlationData = &call->correlation_data,
                                  .correlationId = call->correlation};
    tell(CUPTI_DOMAIN_DRIVER, call->cbid, &data);
  }
  if (site == CUPTI_EXIT) tracer_api(call);
}

static void on_resource(enum sim_resource what,
                        void *context,
                        void *stream,
                        uint32_t id,
                        const void *image,
                        size_t size) {
  if (what == SIM_GRAPH_INSTANTIATED) {
    tracer_graph_made(id);
    return;
  }
  if (what == SIM_INIT_FINISHED) tracer_device_records();
  if (what == SIM_CONTEXT_CREATED) tracer_context_record(context);
  if (what == SIM_MODULE_LOADED) tracer_module_record(context, id, image, size);
  if (!wanted(CUPTI_DOMAIN_RESOURCE, what)) return;
  struct cupti_module_data module = {.moduleId = id, .cubinSize = size, .pCubin = image};
  bool of_module = what == SIM_MODULE_LOADED || what == SIM_MODULE_UNLOADING;
  struct cupti_resource_data data = {
      .context = context, .stream = stream, .resourceDescriptor = of_module ? &module : NULL};
  tell(CUPTI_DOMAIN_RESOURCE, what, &data);
}

SIM_EXPORT const struct sim_tracer *warpscope_sim_connect(const struct sim_driver *driver);
const struct sim_tracer *warpscope_sim_connect(const struct sim_driver *driver) {
  static const struct sim_tracer link = {
      .call = on_call, .work = tracer_work, .resource = on_resource};
  pthread_mutex_lock(&tracer.lock);
  tracer.driver = driver;
  pthread_mutex_unlock(&tracer.lock);
  return &link;
}

SIM_EXPORT int cuptiSubscribe(void **subscriber, cupti_callback_fn callback, void *user);
int cuptiSubscribe(void **subscriber, cupti_callback_fn callback, void *user) {
  int fault = sim_fails("cuptiSubscribe");
  if (fault != 0) return fault;
  if (subscriber == NULL) return CUPTI_INVALID_PARAMETER;
  pthread_mutex_lock(&tracer.lock);
  bool taken = tracer.subscribed;
  if (!taken) {
    tracer.subscribed = true;
    tracer.callback = callback;
    tracer.user = user;
    *subscriber = &tracer;
  }
  pthread_mutex_unlock(&tracer.lock);
  return taken ? CUPTI_MULTIPLE_SUBSCRIBERS : CUPTI_OK;
}

static void switch_domain(uint32_t domain, bool enable) {
  for (uint32_t id = 1; id < DRIVER_CBIDS; id++)
    atomic_store_explicit(&tracer.enabled[domain][id], enable, memory_order_release);
}

static bool valid(const void *subscriber) { return subscriber == &tracer && tracer.subscribed; }

SIM_EXPORT int cuptiUnsubscribe(void *subscriber);
int cuptiUnsubscribe(void *subscriber) {
  int fault = sim_fails("cuptiUnsubscribe");
  if (fault != 0) return fault;
  if (!valid(subscriber)) return CUPTI_INVALID_PARAMETER;
  for (uint32_t domain = 0; domain < DOMAINS; domain++) switch_domain(domain, false);
  pthread_mutex_lock(&tracer.lock);
  tracer.subscribed = false;
  tracer.callback = NULL;
  pthread_mutex_unlock(&tracer.lock);
  return CUPTI_OK;
}

SIM_EXPORT int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id);
int cuptiEnableCallback(uint32_t enable, void *subscriber, uint32_t domain, uint32_t id) {
  int fault = sim_fails("cuptiEnableCallback");
  if (fault != 0) return fault;
  if (!valid(subscriber) || domain == 0 || domain >= DOMAINS || id >= DRIVER_CBIDS)
    return CUPTI_INVALID_PARAMETER;
  atomic_store_explicit(&tracer.enabled[domain][id], enable != 0, memory_order_release);
  return CUPTI_OK;
}

SIM_EXPORT int cuptiEnableDomain(uint32_t enable, void *subscriber, uint32_t domain);
int cuptiEnableDomain(uint32_t enable, void *subscriber, uint32_t domain) {
  int fault = sim_fails("cuptiEnableDomain");
  if (fault != 0) return fault;
  if (!valid(subscriber) || domain == 0 || domain >= DOMAINS) return CUPTI_INVALID_PARAMETER;
  switch_domain(domain, enable != 0);
  return CUPTI_OK;
}

SIM_EXPORT int cuptiEnableAllDomains(uint32_t enable, void *subscriber);
int cuptiEnableAllDomains(uint32_t enable, void *subscriber) {
  int fault = sim_fails("cuptiEnableAllDomains");
  if (fault != 0) return fault;
  if (!valid(subscriber)) return CUPTI_INVALID_PARAMETER;
  for (uint32_t domain = 1; domain < DOMAINS; domain++) switch_domain(domain, enable != 0);
  return CUPTI_OK;
}

SIM_EXPORT int
cuptiGetCallbackState(uint32_t *enable, void *subscriber, uint32_t domain, uint32_t id);
int cuptiGetCallbackState(uint32_t *enable, void *subscriber, uint32_t domain, uint32_t id) {
  int fault = sim_fails("cuptiGetCallbackState");
  if (fault != 0) return fault;
  if (enable == NULL || !valid(subscriber) || domain == 0 || domain >= DOMAINS ||
      id >= DRIVER_CBIDS)
    return CUPTI_INVALID_PARAMETER;
  *enable = wanted(domain, id);
  return CUPTI_OK;
}

SIM_EXPORT int cuptiGetCallbackName(uint32_t domain, uint32_t id, const char **name);
int cuptiGetCallbackName(uint32_t domain, uint32_t id, const char **name) {
  int fault = sim_fails("cuptiGetCallbackName");
  if (fault != 0) return fault;
  if (name == NULL || domain != CUPTI_DOMAIN_DRIVER) return CUPTI_INVALID_PARAMETER;
  *name = tracer_driver_name(id);
  return *name == NULL ? CUPTI_INVALID_PARAMETER : CUPTI_OK;
}
