#define _GNU_SOURCE
#include "ws_process.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t read_file(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t used = 0;
  while (used < size) {
    ssize_t n = read(fd, buffer + used, size - used);
    if (n <= 0) break;
    used += (size_t)n;
  }
  close(fd);
  return used;
}

/* Field 22 of /proc/self/stat; the name in field 2 may hold anything but ends with the last ')'. */
static uint64_t start_ticks(void) {
  char stat[1024];
  size_t n = read_file("/proc/self/stat", stat, sizeof stat - 1);
  stat[n] = 0;
  char *p = strrchr(stat, ')');
  for (int field = 2; p && field < 22; field++) p = strchr(p + 1, ' ');
  return p ? strtoull(p + 1, NULL, 10) : 0;
}

void ws_process_describe(struct ws_header *h, struct ws_arena *arena) {
  static char buffer[32768];
  h->pid = getpid();
  h->ppid = getppid();
  h->uid = getuid();
  h->start_ticks = start_ticks();
  ssize_t n = readlink("/proc/self/exe", buffer, sizeof buffer);
  if (n > 0) h->executable = ws_arena_bytes(arena, buffer, (size_t)n, WS_REC_STATE);
  size_t size = read_file("/proc/self/cmdline", buffer, sizeof buffer);
  h->command = ws_arena_bytes(arena, buffer, size, WS_REC_STATE);
}
