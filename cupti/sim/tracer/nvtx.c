/* nvtx.c: cuptiNvtxInitialize and cuptiNvtxInitialize2: NVTX calls become MARKER records.
 *
 * NVTX lives in the program's own headers; a tool that is injected gets a function that hands out
 * the tables of function pointers to fill in. Wide-character texts and resources are not simulated.
 */
#include "tracer.h"

#include <stdlib.h>
#include <string.h>

/* nvtxEventAttributes_v2 */
struct attributes {
  uint16_t version, size;
  uint32_t category;
  int32_t color_type;
  uint32_t color;
  int32_t payload_type, reserved;
  union {
    uint64_t u64;
    int64_t i64;
    double f64;
    uint32_t u32;
    int32_t i32;
    float f32;
  } payload;
  int32_t message_type, reserved1;
  union {
    const char *text;
    const struct text *registered;
  } message;
};
_Static_assert(sizeof(struct attributes) == 48, "nvtxEventAttributes_v2");

/* Texts, kept for ever and once each: records point to them. Handles of domains and registered
 * strings are texts too. */
struct text {
  struct text *next;
  char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct text *texts;
static _Atomic uint32_t ids;

static const struct text *keep(const char *bytes) {
  if (bytes == NULL) return NULL;
  pthread_mutex_lock(&lock);
  struct text *t = texts;
  while (t != NULL && strcmp(t->bytes, bytes) != 0) t = t->next;
  if (t == NULL && (t = malloc(sizeof *t + strlen(bytes) + 1)) != NULL) {
    memcpy(t->bytes, bytes, strlen(bytes) + 1);
    t->next = texts;
    texts = t;
  }
  pthread_mutex_unlock(&lock);
  return t;
}

static const char *bytes_of(const struct text *t) { return t != NULL ? t->bytes : NULL; }

enum { DEPTH = 128 };
static _Thread_local struct {
  uint32_t id;
  const struct text *domain;
} stack[DEPTH];
static _Thread_local int depth;

static uint32_t next_id(void) { return atomic_fetch_add(&ids, 1) + 1; }

static const char *message(const struct attributes *a) {
  if (a->message_type == 1) return bytes_of(keep(a->message.text));
  return a->message_type == 3 ? bytes_of(a->message.registered) : NULL;
}

/* CUpti_MetricValueKind of a payload */
static void describe(uint32_t id, const struct attributes *a) {
  uint32_t kind = CUPTI_VALUE_UINT64;
  uint64_t bits = 0;
  double d;
  int64_t i;
  switch (a->payload_type) {
  case 1:
    bits = a->payload.u64;
    break;
  case 2:
  case 5:
    kind = CUPTI_VALUE_INT64;
    i = a->payload_type == 2 ? a->payload.i64 : a->payload.i32;
    memcpy(&bits, &i, sizeof bits);
    break;
  case 3:
  case 6:
    kind = CUPTI_VALUE_DOUBLE;
    d = a->payload_type == 3 ? a->payload.f64 : (double)a->payload.f32;
    memcpy(&bits, &d, sizeof bits);
    break;
  case 4:
    bits = a->payload.u32;
    break;
  default:
    break;
  }
  enum { COLOR_NONE = 1, COLOR_ARGB = 2 };
  if (a->payload_type != 0 || a->color_type != 0 || a->category != 0) {
    tracer_marker_data(
        id, kind, bits, a->color_type == 1 ? COLOR_ARGB : COLOR_NONE, a->color, a->category);
  }
}

static struct attributes plain(const char *text) {
  return (struct attributes){
      .version = 2, .size = sizeof(struct attributes), .message_type = 1, .message.text = text};
}

static void mark(const struct text *domain, const struct attributes *a) {
  uint32_t id = next_id();
  tracer_marker(CUPTI_MARKER_INSTANT, id, message(a), bytes_of(domain));
  describe(id, a);
}

static uint64_t begin(const struct text *domain, const struct attributes *a) {
  uint32_t id = next_id();
  tracer_marker(CUPTI_MARKER_START, id, message(a), bytes_of(domain));
  describe(id, a);
  return id;
}

static void end(const struct text *domain, uint64_t id) {
  tracer_marker(CUPTI_MARKER_END, (uint32_t)id, NULL, bytes_of(domain));
}

static int push(const struct text *domain, const struct attributes *a) {
  if (depth == DEPTH) return -1;
  stack[depth].domain = domain;
  stack[depth].id = (uint32_t)begin(domain, a);
  return depth++;
}

static int pop(const struct text *domain) {
  for (int i = depth - 1; i >= 0; i--) { /* ranges of other domains may lie above */
    if (stack[i].domain != domain) continue;
    end(domain, stack[i].id);
    memmove(&stack[i], &stack[i + 1], (size_t)(depth - i - 1) * sizeof *stack);
    return --depth;
  }
  return -1;
}

static void mark_ex(const struct attributes *a) { mark(NULL, a); }
static void mark_a(const char *text) {
  struct attributes a = plain(text);
  mark(NULL, &a);
}
static uint64_t start_ex(const struct attributes *a) { return begin(NULL, a); }
static uint64_t start_a(const char *text) {
  struct attributes a = plain(text);
  return begin(NULL, &a);
}
static void end_plain(uint64_t id) { end(NULL, id); }
static int push_ex(const struct attributes *a) { return push(NULL, a); }
static int push_a(const char *text) {
  struct attributes a = plain(text);
  return push(NULL, &a);
}
static int pop_plain(void) { return pop(NULL); }
static const struct text *register_string(const struct text *domain, const char *bytes) {
  (void)domain;
  return keep(bytes);
}

typedef void (*function)(void);
struct callbacks {
  size_t size;
  int (*table)(int module, function ***table, unsigned *size);
};

static void fill(function **table, unsigned size, unsigned id, function f) {
  if (id < size && table[id] != NULL) *table[id] = f;
}

static int attach(const void *(*get_export_table)(uint32_t id)) {
  enum { CALLBACKS = 1, CORE = 1, CORE2 = 5 };
  if (get_export_table == NULL) return 0;
  const struct callbacks *callbacks = get_export_table(CALLBACKS);
  function **table;
  unsigned size;
  if (callbacks == NULL) return 0;
  if (callbacks->table(CORE, &table, &size)) {
    fill(table, size, 1, (function)mark_ex);
    fill(table, size, 2, (function)mark_a);
    fill(table, size, 4, (function)start_ex);
    fill(table, size, 5, (function)start_a);
    fill(table, size, 7, (function)end_plain);
    fill(table, size, 8, (function)push_ex);
    fill(table, size, 9, (function)push_a);
    fill(table, size, 11, (function)pop_plain);
  }
  if (callbacks->table(CORE2, &table, &size)) {
    fill(table, size, 1, (function)mark);
    fill(table, size, 2, (function)begin);
    fill(table, size, 3, (function)end);
    fill(table, size, 4, (function)push);
    fill(table, size, 5, (function)pop);
    fill(table, size, 10, (function)register_string);
    fill(table, size, 12, (function)keep);
  }
  return 1;
}

/* Both return 1 for success, as NVTX wants it of its injections. */
SIM_EXPORT int cuptiNvtxInitialize(const void *(*get_export_table)(uint32_t));
int cuptiNvtxInitialize(const void *(*get_export_table)(uint32_t)) {
  int failed = sim_fails("cuptiNvtxInitialize");
  return failed != 0 ? failed : attach(get_export_table) ? 0 : CUPTI_UNKNOWN;
}

SIM_EXPORT int cuptiNvtxInitialize2(const void *(*get_export_table)(uint32_t));
int cuptiNvtxInitialize2(const void *(*get_export_table)(uint32_t)) {
  int failed = sim_fails("cuptiNvtxInitialize2");
  return failed != 0 ? failed : attach(get_export_table) ? 0 : CUPTI_UNKNOWN;
}
