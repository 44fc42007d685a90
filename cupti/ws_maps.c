#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ws_maps.h"

#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Snapshots that wait for their last reader. They wait for microseconds; only a thread that left a
 * signal handler by siglongjmp in the midst of an unwind never ends, and then this bounds what is
 * kept (about 100 KiB a snapshot in a PyTorch process). */
#define RETIRED_MAX 256

/* Readers count themselves in stripes, so that many threads do not fight over one cache line. */
#define STRIPES 16

struct block {
  struct ws_maps_snapshot snapshot;
  size_t mapped;
  unsigned long long adds, subs;
};

struct stripe {
  _Atomic uint32_t readers;
  char pad[60];
};

static struct {
  _Atomic(struct block *) current;
  atomic_flag busy;
  struct block *retired[RETIRED_MAX];
  unsigned retired_count;
  _Alignas(64) struct stripe stripes[STRIPES];
} maps = {.busy = ATOMIC_FLAG_INIT};

/* What a pass over the modules counts or fills. Nothing in a pass may call malloc: the loader's
 * lock is held, and an allocator that asks for the modules under its own lock would deadlock. */
struct pass {
  struct ws_maps_module *modules; /* NULL: count only */
  struct ws_maps_range *ranges;
  char *text;
  size_t modules_max, ranges_max, text_max;
  size_t module_count, range_count, text_count;
  unsigned long long adds, subs;
  bool overflow;
  const char *executable, *directory;
};

/* ---- one module -------------------------------------------------------------------------- */

static uint32_t load_u32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

void ws_maps_set_eh_frame(struct ws_maps_module *module,
                          uint64_t hdr,
                          uint64_t size,
                          const uint8_t *bytes) {
  module->hdr = hdr;
  module->table = 0;
  module->fde_count = 0;
  /* version 1, any 4-byte pointer to .eh_frame, 4-byte count, table of 4-byte offsets from here */
  bool known = size >= WS_EH_HDR_BYTES && bytes[0] == 1 && (bytes[1] & 0x0f) % 8 == 3 &&
               bytes[2] == 0x03 && bytes[3] == 0x3b;
  if (!known) return;
  uint32_t count = load_u32(bytes + 8);
  if (count > (size - WS_EH_HDR_BYTES) / 8) return;
  module->table = hdr + WS_EH_HDR_BYTES;
  module->fde_count = count;
}

/* Whether [at, at+size) lies in one readable segment, and how far that goes. */
static uint64_t readable(const struct dl_phdr_info *info, uint64_t at, uint64_t size) {
  for (unsigned i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || !(p->p_flags & PF_R)) continue;
    uint64_t start = info->dlpi_addr + p->p_vaddr;
    if (at >= start && at - start <= p->p_memsz && size <= p->p_memsz - (at - start))
      return p->p_memsz - (at - start);
  }
  return 0;
}

static void read_build_id(struct ws_maps_module *module,
                          const struct dl_phdr_info *info,
                          const ElfW(Phdr) * note) {
  static const char digits[] = "0123456789abcdef";
  uint64_t at = info->dlpi_addr + note->p_vaddr;
  uint64_t left = note->p_memsz;
  if (left == 0 || !readable(info, at, left)) return;
  uint64_t align = note->p_align == 8 ? 8 : 4;
  const uint8_t *p = (const uint8_t *)(uintptr_t)at;
  while (left >= 12) {
    uint64_t name = load_u32(p), size = load_u32(p + 4), type = load_u32(p + 8);
    uint64_t body = 12 + ((name + align - 1) & ~(align - 1));
    uint64_t next = body + ((size + align - 1) & ~(align - 1));
    if (body > left || size > left - body) return;
    if (type == NT_GNU_BUILD_ID && name == 4 && memcmp(p + 12, "GNU", 4) == 0) {
      if (size > WS_MAPS_BUILD_ID_MAX) return;
      for (uint64_t i = 0; i < size; i++) {
        module->build_id[2 * i] = digits[p[body + i] >> 4];
        module->build_id[2 * i + 1] = digits[p[body + i] & 15];
      }
      module->build_id[2 * size] = 0;
      return;
    }
    if (next > left) return;
    p += next;
    left -= next;
  }
}

/* Copies the path behind the others, made absolute; its length, or 0. */
static size_t
add_path(struct pass *pass, const struct dl_phdr_info *info, bool first, const char **path) {
  const char *name = info->dlpi_name ? info->dlpi_name : "";
  const char *prefix = "";
  if (first && name[0] == 0) name = pass->executable;
  if (name[0] != '/' && strchr(name, '/') && pass->directory[0]) prefix = pass->directory;
  size_t a = strlen(prefix), slash = a ? 1 : 0, b = strlen(name), all = a + slash + b;
  *path = "";
  if (pass->modules) {
    if (all + 1 > pass->text_max - pass->text_count) {
      pass->overflow = true;
      return 0;
    }
    char *to = pass->text + pass->text_count;
    memcpy(to, prefix, a);
    if (slash) to[a] = '/';
    memcpy(to + a + slash, name, b);
    to[all] = 0;
    *path = to;
  }
  pass->text_count += all + 1;
  return all;
}

static void add_range(struct pass *pass, uint64_t start, uint64_t end) {
  if (pass->modules) {
    if (pass->range_count >= pass->ranges_max) {
      pass->overflow = true;
      return;
    }
    pass->ranges[pass->range_count] =
        (struct ws_maps_range){start, end, (uint32_t)pass->module_count, 0};
  }
  pass->range_count++;
}

static void describe(struct pass *pass, const struct dl_phdr_info *info, struct ws_maps_module *m) {
  const ElfW(Phdr) *eh_frame = NULL;
  m->base = info->dlpi_addr;
  m->start = m->low = UINT64_MAX;
  for (unsigned i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    uint64_t start = info->dlpi_addr + p->p_vaddr, end = start + p->p_memsz;
    if (p->p_type == PT_GNU_EH_FRAME) eh_frame = p;
    if (p->p_type == PT_NOTE && m->build_id[0] == 0) read_build_id(m, info, p);
    if (p->p_type != PT_LOAD || end <= start) continue;
    if (start < m->low) m->low = start;
    if (end > m->high) m->high = end;
    if (!(p->p_flags & PF_X)) continue;
    if (start < m->start) m->start = start;
    if (end > m->end) m->end = end;
    add_range(pass, start, end);
  }
  if (m->start > m->end) m->start = m->end = 0;
  if (m->low > m->high) m->low = m->high = 0;
  if (!eh_frame) return;
  uint64_t hdr = info->dlpi_addr + eh_frame->p_vaddr;
  uint64_t size = readable(info, hdr, WS_EH_HDR_BYTES);
  if (size) ws_maps_set_eh_frame(m, hdr, size, (const uint8_t *)(uintptr_t)hdr);
}

/* ---- a pass over all of them ------------------------------------------------------------- */

static int visit(struct dl_phdr_info *info, size_t size, void *arg) {
  struct pass *pass = arg;
  bool first = pass->module_count == 0;
  struct ws_maps_module m;
  memset(&m, 0, sizeof m);
  if (first && size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs) {
    pass->adds = info->dlpi_adds;
    pass->subs = info->dlpi_subs;
  }
  m.path_length = (uint32_t)add_path(pass, info, first, &m.path);
  describe(pass, info, &m);
  if (pass->modules) {
    if (pass->module_count >= pass->modules_max) pass->overflow = true;
    if (pass->overflow) return 1;
    pass->modules[pass->module_count] = m;
  }
  pass->module_count++;
  return 0;
}

static int visit_counters(struct dl_phdr_info *info, size_t size, void *arg) {
  struct pass *pass = arg;
  if (size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs) {
    pass->adds = info->dlpi_adds;
    pass->subs = info->dlpi_subs;
  }
  return 1;
}

/* Insertion sort: the loader's order is nearly the order of addresses, reversed or not, and this
 * neither recurses nor allocates. */
static void sort_ranges(struct ws_maps_range *r, size_t n) {
  for (size_t i = 1; i < n; i++) {
    struct ws_maps_range key = r[i];
    size_t j = i;
    for (; j > 0 && r[j - 1].start > key.start; j--) r[j] = r[j - 1];
    r[j] = key;
  }
}

static struct block *take(struct pass *pass) {
  struct pass count = *pass;
  dl_iterate_phdr(visit, &count);
  /* Room for modules that are loaded between the two passes. */
  size_t modules = count.module_count + 8, ranges = count.range_count + 16,
         text = count.text_count + 4096;
  size_t at_ranges =
      (sizeof(struct block) + modules * sizeof(struct ws_maps_module) + 63) & ~(size_t)63;
  size_t at_text = at_ranges + ranges * sizeof(struct ws_maps_range);
  size_t bytes = (at_text + text + 4095) & ~(size_t)4095;
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  struct block *b = (struct block *)(void *)memory;
  pass->modules = (struct ws_maps_module *)(void *)(b + 1);
  pass->ranges = (struct ws_maps_range *)(void *)(memory + at_ranges);
  pass->text = memory + at_text;
  pass->modules_max = modules;
  pass->ranges_max = ranges;
  pass->text_max = bytes - at_text;
  dl_iterate_phdr(visit, pass);
  if (pass->overflow) {
    munmap(memory, bytes);
    return NULL;
  }
  sort_ranges(pass->ranges, pass->range_count);
  b->mapped = bytes;
  b->adds = pass->adds;
  b->subs = pass->subs;
  b->snapshot.count = (uint32_t)pass->module_count;
  b->snapshot.range_count = (uint32_t)pass->range_count;
  b->snapshot.modules = pass->modules;
  b->snapshot.ranges = pass->ranges;
  return b;
}

/* ---- publication ------------------------------------------------------------------------- */

/* Frees retired snapshots when no reader can hold one. A reader counts itself before it loads the
 * pointer, so one that comes after a stripe was seen empty finds the newest snapshot; all four
 * accesses are sequentially consistent for that. */
static void reclaim(void) {
  for (unsigned i = 0; i < STRIPES; i++) {
    if (atomic_load(&maps.stripes[i].readers) != 0) return;
  }
  for (unsigned i = 0; i < maps.retired_count; i++)
    munmap(maps.retired[i], maps.retired[i]->mapped);
  maps.retired_count = 0;
}

static int refresh(void) {
  struct block *old = atomic_load(&maps.current);
  if (maps.retired_count) reclaim();
  if (old) {
    struct pass now = {0};
    dl_iterate_phdr(visit_counters, &now);
    if (now.adds == old->adds && now.subs == old->subs) return 0;
    if (maps.retired_count >= RETIRED_MAX) return -EAGAIN;
  }
  static char executable[4096], directory[4096]; /* under maps.busy */
  ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
  executable[n > 0 ? n : 0] = 0;
  if (!getcwd(directory, sizeof directory) || directory[0] != '/') directory[0] = 0;
  struct block *b = NULL;
  for (int attempt = 0; attempt < 4 && !b; attempt++) {
    struct pass pass = {.executable = executable, .directory = directory};
    b = take(&pass);
  }
  if (!b) return -ENOMEM;
  b->snapshot.generation = old ? old->snapshot.generation + 1 : 1;
  b->snapshot.epoch = old ? old->snapshot.epoch + (b->subs != old->subs) : 1;
  atomic_store(&maps.current, b);
  if (old) maps.retired[maps.retired_count++] = old;
  return 1;
}

int ws_maps_refresh(void) {
  if (atomic_flag_test_and_set(&maps.busy)) return -EBUSY;
  int saved = errno;
  int rc = refresh();
  errno = saved;
  atomic_flag_clear(&maps.busy);
  return rc;
}

const struct ws_maps_snapshot *ws_maps_current(void) {
  struct block *b = atomic_load(&maps.current);
  return b ? &b->snapshot : NULL;
}

const struct ws_maps_snapshot *ws_maps_enter(unsigned *token) {
  int here; /* the stack's address tells threads apart well enough */
  *token = (unsigned)(((uintptr_t)&here >> 16) % STRIPES);
  atomic_fetch_add(&maps.stripes[*token].readers, 1);
  return ws_maps_current();
}

void ws_maps_leave(unsigned token) { atomic_fetch_sub(&maps.stripes[token].readers, 1); }

uint32_t ws_maps_generation(void) {
  unsigned token;
  const struct ws_maps_snapshot *s = ws_maps_enter(&token);
  uint32_t generation = s ? s->generation : 0;
  ws_maps_leave(token);
  return generation;
}

void ws_maps_after_fork(void) {
  for (unsigned i = 0; i < STRIPES; i++) atomic_store(&maps.stripes[i].readers, 0);
  atomic_flag_clear(&maps.busy);
}

const struct ws_maps_module *ws_maps_find(const struct ws_maps_snapshot *snapshot, uint64_t pc) {
  if (!snapshot) return NULL;
  size_t low = 0, high = snapshot->range_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (snapshot->ranges[middle].start <= pc) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0 || pc >= snapshot->ranges[low - 1].end) return NULL;
  return &snapshot->modules[snapshot->ranges[low - 1].module];
}
