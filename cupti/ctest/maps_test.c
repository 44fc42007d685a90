/* maps_test: the snapshots of loaded modules. */
#include <errno.h>
#include <link.h>

#include "unwind_ctest.h"

static int count_modules(struct dl_phdr_info *info, size_t size, void *arg) {
  (void)info;
  (void)size;
  ++*(unsigned *)arg;
  return 0;
}

static void test_maps(void) {
  unsigned expected = 0;
  dl_iterate_phdr(count_modules, &expected);
  ws_maps_refresh();
  const struct ws_maps_snapshot *s = ws_maps_current();
  CHECK(s != NULL);
  if (s == NULL) return; /* CHECK has ended the program; this is for the reader and the analyser */
  CHECK(s->count == expected && s->generation >= 1);
  CHECK(ws_maps_refresh() == 0 && ws_maps_current() == s);
  CHECK(ws_maps_generation() == s->generation);
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = 0;
  CHECK(strcmp(s->modules[0].path, self) == 0);
  CHECK(strlen(s->modules[0].path) == s->modules[0].path_length);
  for (uint32_t i = 0; i + 1 < s->range_count; i++)
    CHECK(s->ranges[i].end <= s->ranges[i + 1].start);
  uint64_t (*here)(void) = ws_unwind_unknown, pc;
  memcpy(&pc, &here, sizeof pc);
  CHECK(ws_maps_find(s, pc) == &s->modules[0]);
  CHECK(ws_maps_find(s, 0) == NULL && ws_maps_find(s, UINT64_MAX) == NULL &&
        ws_maps_find(NULL, pc) == NULL);
}

static void test_build_id(void) {
  CHECK(build(cc(), "-O1 -shared -Wl,--build-id=0xfeedfacecafe0123", "unwind_lib.c", "libid.so"));
  void *library = load("libid.so");
  CHECK(library != NULL);
  if (!library) return;
  uint32_t epoch = ws_maps_current()->epoch, generation = ws_maps_generation();
  CHECK(ws_maps_refresh() == 1);
  CHECK(ws_maps_current()->epoch == epoch && ws_maps_generation() == generation + 1);
  const struct ws_maps_module *m =
      ws_maps_find(ws_maps_current(), (uint64_t)(uintptr_t)dlsym(library, "lib_call"));
  CHECK(m && strcmp(m->build_id, "feedfacecafe0123") == 0);
  struct link_map *map = NULL;
  CHECK(dlinfo(library, RTLD_DI_LINKMAP, &map) == 0);
  CHECK(m && map && m->base == map->l_addr);
  dlclose(library);
  CHECK(ws_maps_refresh() == 1 && ws_maps_current()->epoch == epoch + 1);
}

/* A reader that never leaves: what is kept is bounded, and nothing that it reads is freed. */
static void test_stuck_reader(void) {
  unsigned token;
  const struct ws_maps_snapshot *s = ws_maps_enter(&token);
  uint32_t generation = s->generation, count = s->count;
  int rc = 0;
  for (int i = 0; i < 200 && rc >= 0; i++) {
    void *library = load("libid.so");
    rc = ws_maps_refresh();
    if (library) dlclose(library);
    if (rc >= 0) rc = ws_maps_refresh();
  }
  CHECK(rc == -EAGAIN);
  CHECK(s->generation == generation && s->count == count && s->modules[0].path[0] == '/');
  ws_maps_leave(token);
  CHECK(ws_maps_refresh() == 1);
}

int main(void) {
  if (!begin()) return 1;
  test_maps();
  test_build_id();
  test_stuck_reader();
  return end();
}
