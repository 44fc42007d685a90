#define _GNU_SOURCE
#include "ws_ranges.h"

#include <stddef.h>
#include <string.h>
#include <wchar.h>

typedef void (*function)(void);

/* ---- NVTX's interface to an injected library: nvToolsExt.h and nvtxTypes.h, version 3 ---- */

/* nvtxEventAttributes_t, version 2 and newer */
struct attributes {
  uint16_t version, size;
  uint32_t category;
  int32_t color_type;
  uint32_t color;
  int32_t payload_type, reserved;
  uint64_t payload;
  int32_t message_type, reserved1;
  const void *message;
};
_Static_assert(sizeof(struct attributes) == 48 && offsetof(struct attributes, message) == 40,
               "nvtxEventAttributes_t");
enum { MESSAGE_ASCII = 1, MESSAGE_UNICODE = 2, MESSAGE_REGISTERED = 3 };
/* NvtxExportTableCallbacks */
struct callbacks {
  size_t size;
  int (*table)(int module, function ***table, unsigned *size);
};
enum { EXPORT_CALLBACKS = 1, MODULE_CORE = 1, MODULE_CORE2 = 5 };

/* ---- what is known ---- */

enum {
  REGISTERED_MAX = 256, /* handles of the name, one a domain and library */
  OPEN_MAX = 1024,      /* started ranges of the name, open at once */
  DEPTH_MAX = 128       /* pushed ranges of one thread; deeper ones are not looked at */
};

static struct {
  struct ws_control *control;
  char name[WS_RANGE_NAME];
  const char *domain;                    /* NULL: any; "": the one without a name */
  _Atomic(void *) names[REGISTERED_MAX]; /* registered strings that are the name */
  _Atomic(void *) domains[REGISTERED_MAX];
  _Atomic uint64_t open[OPEN_MAX]; /* ids of started ranges of the name; 0: free */
  _Atomic uint32_t opened;         /* how many */
  _Atomic uint64_t own_ids;        /* of ranges that CUPTI does not number */
} ranges;

/* The pushed ranges of this thread, of all domains: handle of the domain, and 1 in its lowest bit
 * if the range bears the name. */
static __thread uintptr_t pushed[DEPTH_MAX];
static __thread uint32_t depth;

static bool holds(_Atomic(void *) *list, const void *handle) {
  for (int i = 0; i < REGISTERED_MAX; i++) {
    void *at = atomic_load_explicit(&list[i], memory_order_acquire);
    if (!at) return false;
    if (at == handle) return true;
  }
  return false;
}

static void keep(_Atomic(void *) *list, void *handle) {
  for (int i = 0; handle && i < REGISTERED_MAX; i++) {
    void *none = NULL;
    if (atomic_compare_exchange_strong(&list[i], &none, handle) || none == handle) return;
  }
}

static bool in_domain(void *domain) {
  if (!ranges.domain) return true;
  if (!ranges.domain[0]) return !domain;
  return domain && holds(ranges.domains, domain);
}

static bool is_wide_name(const wchar_t *text) {
  size_t i = 0;
  for (; ranges.name[i];
       i++) /* names beyond ASCII are compared as they are written in UTF-8 alone */
    if (text[i] != (wchar_t)(unsigned char)ranges.name[i] || text[i] >= 0x80) return false;
  return text[i] == 0;
}

static bool is_name(const char *text) { return text && strcmp(text, ranges.name) == 0; }

static bool has_name(const struct attributes *a) {
  if (!a || a->size < sizeof *a || !a->message) return false;
  switch (a->message_type) {
  case MESSAGE_ASCII:
    return is_name(a->message);
  case MESSAGE_UNICODE:
    return is_wide_name(a->message);
  case MESSAGE_REGISTERED:
    return holds(ranges.names, a->message);
  default:
    return false;
  }
}

/* ---- the functions, and CUPTI's that come after them ---- */

enum slot {
  START_EX,
  START_A,
  START_W,
  END,
  PUSH_EX,
  PUSH_A,
  PUSH_W,
  POP,
  DOMAIN_START,
  DOMAIN_END,
  DOMAIN_PUSH,
  DOMAIN_POP,
  REGISTER_A,
  CREATE_A,
  SLOTS
};
_Static_assert(SLOTS <= sizeof((struct ws_ranges_before *)0)->functions / sizeof(function),
               "slots");

/* NULL: CUPTI has none. All copies of NVTX in a process get the same ones from it. */
static _Atomic(function) next[SLOTS];
#define NEXT(slot, type) ((type)atomic_load_explicit(&next[slot], memory_order_relaxed))

/* A range of the name: the timeline goes on before CUPTI sees its beginning. */
static void begins(bool matches) {
  if (matches) ws_control_range(ranges.control, true);
}

static uint64_t started(bool matches, uint64_t id, bool numbered) {
  if (!numbered) id = atomic_fetch_add(&ranges.own_ids, 1) + 1;
  if (!matches) return id;
  for (int i = 0; i < OPEN_MAX; i++) {
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong(&ranges.open[i], &none, id)) continue;
    atomic_fetch_add(&ranges.opened, 1);
    return id;
  }
  ws_control_range(ranges.control, false); /* nobody would find its end */
  return id;
}

static void ended(uint64_t id) {
  if (atomic_load(&ranges.opened) == 0 || id == 0) return;
  for (int i = 0; i < OPEN_MAX; i++) {
    uint64_t expected = id;
    if (!atomic_compare_exchange_strong(&ranges.open[i], &expected, 0)) continue;
    atomic_fetch_sub(&ranges.opened, 1);
    ws_control_range(ranges.control, false);
    return;
  }
}

static void push(void *domain, bool matches) {
  if (depth < DEPTH_MAX) pushed[depth] = (uintptr_t)domain | matches;
  depth++;
}

/* Whether this thread can keep in mind one range more. */
static bool room(void) { return depth < DEPTH_MAX; }

static void pop(void *domain) {
  uint32_t at = depth;
  if (at == 0) return;
  if (at > DEPTH_MAX) { /* of which domain it was is not known: most programs have one */
    depth--;
    return;
  }
  while (at > 0 && (pushed[at - 1] & ~(uintptr_t)1) != (uintptr_t)domain) at--;
  if (at == 0) return; /* more pops than pushes */
  bool matched = pushed[at - 1] & 1;
  memmove(&pushed[at - 1], &pushed[at], (depth - at) * sizeof *pushed);
  depth--;
  if (matched) ws_control_range(ranges.control, false);
}

static uint64_t start_ex(const struct attributes *a) {
  uint64_t (*f)(const struct attributes *) = NEXT(START_EX, uint64_t(*)(const struct attributes *));
  bool matches = in_domain(NULL) && has_name(a);
  begins(matches);
  return started(matches, f ? f(a) : 0, f);
}

static uint64_t start_a(const char *text) {
  uint64_t (*f)(const char *) = NEXT(START_A, uint64_t(*)(const char *));
  bool matches = in_domain(NULL) && is_name(text);
  begins(matches);
  return started(matches, f ? f(text) : 0, f);
}

static uint64_t start_w(const wchar_t *text) {
  uint64_t (*f)(const wchar_t *) = NEXT(START_W, uint64_t(*)(const wchar_t *));
  bool matches = in_domain(NULL) && text && is_wide_name(text);
  begins(matches);
  return started(matches, f ? f(text) : 0, f);
}

static void end(uint64_t id) {
  void (*f)(uint64_t) = NEXT(END, void (*)(uint64_t));
  if (f) f(id);
  ended(id);
}

static int push_ex(const struct attributes *a) {
  int (*f)(const struct attributes *) = NEXT(PUSH_EX, int (*)(const struct attributes *));
  bool matches = room() && in_domain(NULL) && has_name(a);
  begins(matches);
  push(NULL, matches);
  return f ? f(a) : (int)depth - 1;
}

static int push_a(const char *text) {
  int (*f)(const char *) = NEXT(PUSH_A, int (*)(const char *));
  bool matches = room() && in_domain(NULL) && is_name(text);
  begins(matches);
  push(NULL, matches);
  return f ? f(text) : (int)depth - 1;
}

static int push_w(const wchar_t *text) {
  int (*f)(const wchar_t *) = NEXT(PUSH_W, int (*)(const wchar_t *));
  bool matches = room() && in_domain(NULL) && text && is_wide_name(text);
  begins(matches);
  push(NULL, matches);
  return f ? f(text) : (int)depth - 1;
}

static int pop_plain(void) {
  int (*f)(void) = NEXT(POP, int (*)(void));
  int level = f ? f() : (int)depth - 1;
  pop(NULL);
  return level;
}

static uint64_t domain_start(void *domain, const struct attributes *a) {
  uint64_t (*f)(void *, const struct attributes *) =
      NEXT(DOMAIN_START, uint64_t(*)(void *, const struct attributes *));
  bool matches = in_domain(domain) && has_name(a);
  begins(matches);
  return started(matches, f ? f(domain, a) : 0, f);
}

static void domain_end(void *domain, uint64_t id) {
  void (*f)(void *, uint64_t) = NEXT(DOMAIN_END, void (*)(void *, uint64_t));
  if (f) f(domain, id);
  ended(id);
}

static int domain_push(void *domain, const struct attributes *a) {
  int (*f)(void *, const struct attributes *) =
      NEXT(DOMAIN_PUSH, int (*)(void *, const struct attributes *));
  bool matches = room() && in_domain(domain) && has_name(a);
  begins(matches);
  push(domain, matches);
  return f ? f(domain, a) : (int)depth - 1;
}

static int domain_pop(void *domain) {
  int (*f)(void *) = NEXT(DOMAIN_POP, int (*)(void *));
  int level = f ? f(domain) : (int)depth - 1;
  pop(domain);
  return level;
}

/* What CUPTI gives handles for. Without it nothing has one, and nothing can be told by it. */
static void *register_a(void *domain, const char *text) {
  void *(*f)(void *, const char *) = NEXT(REGISTER_A, void *(*)(void *, const char *));
  void *handle = f ? f(domain, text) : NULL;
  if (is_name(text)) keep(ranges.names, handle);
  return handle;
}

static void *create_a(const char *name) {
  void *(*f)(const char *) = NEXT(CREATE_A, void *(*)(const char *));
  void *handle = f ? f(name) : NULL;
  if (name && ranges.domain && strcmp(name, ranges.domain) == 0) keep(ranges.domains, handle);
  return handle;
}

/* By slot: the module, the function's number in it, ours. */
static const struct {
  int module;
  unsigned id;
  function ours;
} table[SLOTS] = {
    [START_EX] = {MODULE_CORE, 4, (function)start_ex},
    [START_A] = {MODULE_CORE, 5, (function)start_a},
    [START_W] = {MODULE_CORE, 6, (function)start_w},
    [END] = {MODULE_CORE, 7, (function)end},
    [PUSH_EX] = {MODULE_CORE, 8, (function)push_ex},
    [PUSH_A] = {MODULE_CORE, 9, (function)push_a},
    [PUSH_W] = {MODULE_CORE, 10, (function)push_w},
    [POP] = {MODULE_CORE, 11, (function)pop_plain},
    [DOMAIN_START] = {MODULE_CORE2, 2, (function)domain_start},
    [DOMAIN_END] = {MODULE_CORE2, 3, (function)domain_end},
    [DOMAIN_PUSH] = {MODULE_CORE2, 4, (function)domain_push},
    [DOMAIN_POP] = {MODULE_CORE2, 5, (function)domain_pop},
    [REGISTER_A] = {MODULE_CORE2, 10, (function)register_a},
    [CREATE_A] = {MODULE_CORE2, 12, (function)create_a},
};

/* Where a copy of NVTX keeps its pointer to a function; NULL: it knows no such function. */
static function *place(const void *(*export_table)(uint32_t), enum slot slot) {
  const struct callbacks *c = export_table ? export_table(EXPORT_CALLBACKS) : NULL;
  function **functions = NULL;
  unsigned size = 0;
  if (!c || c->size < sizeof *c || !c->table || !c->table(table[slot].module, &functions, &size) ||
      table[slot].id >= size)
    return NULL;
  return functions[table[slot].id];
}

void ws_ranges_look(const void *(*export_table)(uint32_t), struct ws_ranges_before *before) {
  for (enum slot s = 0; s < SLOTS; s++) {
    function *at = place(export_table, s);
    before->functions[s] = at ? *at : NULL;
  }
}

/* "NAME", "NAME@DOMAIN" or, for ranges outside of domains, "NAME@". */
static void set_name(const char *range) {
  size_t length = strlen(range);
  if (ranges.name[0] || length >= sizeof ranges.name) return;
  memcpy(ranges.name, range, length + 1);
  char *at = strrchr(ranges.name, '@');
  if (!at || at == ranges.name) return;
  *at = 0;
  ranges.domain = at + 1;
}

void ws_ranges_install(struct ws_control *control,
                       const char *range,
                       const void *(*export_table)(uint32_t),
                       const struct ws_ranges_before *before) {
  ranges.control = control;
  set_name(range);
  for (enum slot s = 0; s < SLOTS; s++) {
    function *at = place(export_table, s);
    if (!at) continue;
    /* Untouched by CUPTI it is what initialises NVTX, and would come back to us. */
    function after = *at == before->functions[s] ? NULL : *at;
    if (after == table[s].ours) continue;
    function known = NULL;
    if (after && !atomic_compare_exchange_strong(&next[s], &known, after) && known != after)
      continue; /* not the functions that CUPTI gave to others: these are left alone */
    *at = table[s].ours;
  }
}
