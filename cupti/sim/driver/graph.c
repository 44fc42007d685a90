/* graph.c: stream capture and graph launches. Nodes run one after another in the order in which
 * they were captured; branches are not modelled. */
#include "driver.h"

#include <stdlib.h>

int sim_capture(struct sim_stream *s, const struct sim_work *work, uint64_t duration) {
  struct sim_graph *g = s->capture;
  if (g->count == g->room) {
    size_t room = g->room == 0 ? 16 : 2 * g->room;
    struct sim_node *grown = realloc(g->nodes, room * sizeof *grown);
    if (grown == NULL) return CU_OUT_OF_MEMORY;
    g->nodes = grown;
    g->room = room;
  }
  struct sim_node *n = &g->nodes[g->count++];
  n->work = *work;
  n->work.start = 0;
  n->work.end = duration;
  n->id = ++sim.node_ids;
  return CU_OK;
}

SIM_API2(cuStreamBeginCapture_v2, 539, void *, handle, int, mode) {
  (void)mode;
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  if (handle == NULL || handle == SIM_LEGACY_STREAM) return CU_CAPTURE_UNSUPPORTED;
  SIM_LOCK();
  bool busy = s->capture != NULL;
  if (!busy) {
    s->capture = sim_new(SIM_T_GRAPH, sizeof *s->capture);
    s->origin = true;
  }
  SIM_UNLOCK();
  return busy ? CU_INVALID_VALUE : CU_OK;
}

SIM_API2(cuStreamEndCapture, 497, void *, handle, void **, graph) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  if (graph == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_graph *g = s->origin ? s->capture : NULL;
  for (struct sim_object *o = sim.objects[SIM_T_STREAM]; o != NULL && g != NULL; o = o->next) {
    struct sim_stream *joined = (struct sim_stream *)o;
    if (joined->capture == g) joined->capture = NULL;
  }
  s->origin = false;
  SIM_UNLOCK();
  *graph = g;
  return g == NULL ? CU_CAPTURE_UNMATCHED : CU_OK;
}

SIM_API2(cuStreamIsCapturing, 499, void *, handle, int *, status) {
  struct sim_stream *s = sim_stream(handle);
  if (s == NULL) return CU_INVALID_HANDLE;
  if (status == NULL) return CU_INVALID_VALUE;
  *status = s->capture != NULL;
  return CU_OK;
}

SIM_API2(cuGraphCreate, 501, void **, out, unsigned, flags) {
  if (out == NULL || flags != 0) return CU_INVALID_VALUE;
  SIM_LOCK();
  *out = sim_new(SIM_T_GRAPH, sizeof(struct sim_graph));
  SIM_UNLOCK();
  return CU_OK;
}

static int destroy(void *handle, enum sim_type type) {
  struct sim_graph *g = sim_check(handle, type);
  if (g == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  free(g->nodes);
  g->nodes = NULL;
  g->count = g->room = 0;
  sim_delete(g);
  SIM_UNLOCK();
  return CU_OK;
}

SIM_API1(cuGraphDestroy, 517, void *, graph) { return destroy(graph, SIM_T_GRAPH); }

SIM_API1(cuGraphExecDestroy, 516, void *, exec) { return destroy(exec, SIM_T_EXEC); }

/* Node handles are not modelled: only the number is told. */
SIM_API3(cuGraphGetNodes, 534, void *, handle, void **, nodes, size_t *, count) {
  struct sim_graph *g = sim_check(handle, SIM_T_GRAPH);
  if (g == NULL || count == NULL) return CU_INVALID_VALUE;
  if (nodes != NULL) return CU_NOT_SUPPORTED;
  *count = g->count;
  return CU_OK;
}

SIM_API3(cuGraphInstantiateWithFlags, 643, void **, out, void *, handle, uint64_t, flags) {
  (void)flags;
  struct sim_graph *g = sim_check(handle, SIM_T_GRAPH);
  if (g == NULL || out == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  struct sim_graph *e = sim_new(SIM_T_EXEC, sizeof *e);
  if (g->count > 0) e->nodes = calloc(g->count, sizeof *e->nodes);
  for (; e->count < g->count; e->count++) {
    e->nodes[e->count] = g->nodes[e->count];
    e->nodes[e->count].id = ++sim.node_ids;
  }
  e->room = e->count;
  SIM_UNLOCK();
  sim_resource(SIM_GRAPH_INSTANTIATED, NULL, NULL, e->object.id, NULL, 0);
  *out = e;
  return CU_OK;
}

SIM_API2(cuGraphUpload, 580, void *, exec, void *, stream) {
  return sim_check(exec, SIM_T_EXEC) == NULL || sim_stream(stream) == NULL ? CU_INVALID_VALUE
                                                                           : CU_OK;
}

SIM_API2(cuGraphLaunch, 514, void *, exec, void *, stream) {
  struct sim_graph *e = sim_check(exec, SIM_T_EXEC);
  struct sim_stream *s = sim_stream(stream);
  if (e == NULL || s == NULL) return CU_INVALID_VALUE;
  SIM_LOCK();
  if (s->capture != NULL) {
    SIM_UNLOCK();
    return CU_CAPTURE_UNSUPPORTED;
  }
  struct sim_work whole = {.kind = SIM_GRAPH, .graph = e->object.id};
  for (size_t i = 0; i < e->count; i++) {
    struct sim_work work = e->nodes[i].work;
    work.graph = e->object.id;
    work.graph_node = e->nodes[i].id;
    sim_schedule(s, &work, e->nodes[i].work.end);
    if (i == 0) whole.start = work.start;
    whole.end = work.end;
  }
  if (e->count >
      0) { /* the whole launch, beside its nodes: the tracer shows the one or the other */
    whole.device = s->context->device;
    whole.context = s->context->object.id;
    whole.stream = s->object.id;
    whole.correlation = sim_correlation();
    sim_emit(&whole);
  }
  SIM_UNLOCK();
  return CU_OK;
}
