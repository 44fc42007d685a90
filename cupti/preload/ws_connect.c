#define _GNU_SOURCE
#include "ws_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MIB (1ull << 20)
/* An agent answers at once or is not there; cuInit takes longer than this anyway. */
#define HANDSHAKE_MS 2000

/* A capture file is sparse: these are bounds, not what it takes. */
static const struct ws_sizes file_sizes = {.alloc_ring = 256 * MIB,
                                           .timeline_ring = 16384 * MIB,
                                           .live_table = 4 * MIB,
                                           .arena = 256 * MIB};

/* The most of a limited address space that a capture takes: the rest is the program's. */
#define SHARE_OF_MEMORY 4
/* Capture files of one PID in one folder: a process that executes another program keeps its PID,
 * and in a container every run has the same. */
#define FILES_MAX 1000

static char file_path[4096];

static uint64_t address_space(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur / SHARE_OF_MEMORY;
}

/* ---- with an agent ---- */

static bool receive(int s, struct ws_welcome *w, int *fd) {
  struct pollfd p = {.fd = s, .events = POLLIN};
  if (poll(&p, 1, HANDSHAKE_MS) != 1) return false;
  struct iovec iov = {w, sizeof *w};
  char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(s, &m, MSG_CMSG_CLOEXEC);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
      c->cmsg_len != CMSG_LEN(sizeof(int)))
    return false;
  memcpy(fd, CMSG_DATA(c), sizeof *fd);
  if (n == (ssize_t)sizeof *w && w->magic == WS_ABI_MAGIC && w->abi_version == WS_ABI_VERSION)
    return true;
  close(*fd);
  return false;
}

/* Keeps the memory's descriptor, by which another agent finds it when ours has died (/proc/PID/fd),
 * where the program does not meet it. False where its limit leaves no such number. */
static bool keep(int fd) {
  int far = fcntl(fd, F_DUPFD_CLOEXEC, 1000);
  if (far >= 0) close(fd);
  return far >= 0;
}

/* NULL, or why there is no capture. */
static const char *from_agent(const char *path, struct ws_shm *shm, struct ws_config *config) {
  static const char no_answer[] = "the agent did not answer: this process is not recorded";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length >= sizeof address.sun_path) return no_answer;
  memcpy(address.sun_path, path, length);
  int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (s < 0)
    return "no socket to the agent could be opened (are too many files open?): this process is not "
           "recorded";
  /* A stopped agent takes nobody in, and behind a full queue connect would wait for it. */
  struct timeval patience = {HANDSHAKE_MS / 1000, HANDSHAKE_MS % 1000 * 1000};
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  struct ws_hello hello = {.magic = WS_ABI_MAGIC, .abi_version = WS_ABI_VERSION, .pid = getpid()};
  struct ws_welcome w;
  int fd = -1;
  bool welcome = connect(s, (struct sockaddr *)&address, sizeof address) == 0 &&
                 send(s, &hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello &&
                 receive(s, &w, &fd);
  close(s);
  if (!welcome) return no_answer;
  struct ws_sizes sizes = {w.alloc_ring, w.timeline_ring, w.live_table, w.arena};
  uint64_t size = ws_shm_size(&sizes);
  void *base = MAP_FAILED;
  off_t there = lseek(fd, 0, SEEK_END);
  if (there >= 0 && (uint64_t)there >= size && size <= address_space())
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED || !keep(fd)) close(fd);
  if (base == MAP_FAILED)
    return "its address space is limited (ulimit -v) and has no room for the capture: this process "
           "is not recorded";
  *config = (struct ws_config){.mode = w.mode,
                               .api = w.api,
                               .graphs = w.graphs,
                               .paused = w.start_paused != 0,
                               .ruler = w.ruler != 0};
  config->when =
      (struct ws_when){.trigger = w.trigger, .first_step = w.first_step, .last_step = w.last_step};
  memcpy(config->when.range, w.range, sizeof w.range - 1);
  ws_shm_format(shm, base, &sizes, -1);
  return NULL;
}

/* ---- without one ---- */

static uint32_t
choice(const char *name, const char *const *words, uint32_t count, uint32_t otherwise) {
  const char *value = getenv(name);
  for (uint32_t i = 0; value && i < count; i++)
    if (words[i] && strcmp(value, words[i]) == 0) return i;
  return otherwise;
}

static void from_environment(struct ws_config *config) {
  static const char *const modes[] = {NULL, "ledger", "timeline"};
  static const char *const levels[] = {"none", "launch", "all"};
  static const char *const graphs[] = {"graph", "node"};
  *config = (struct ws_config){
      .mode = choice("WARPSCOPE_MODE", modes, 3, WS_MODE_TIMELINE),
      .api = choice("WARPSCOPE_API", levels, 3, WS_API_LAUNCH),
      .graphs = choice("WARPSCOPE_GRAPHS", graphs, 2, WS_GRAPHS_GRAPH),
      .flags = WS_FLAG_FILE,
  };
  const char *when = getenv("WARPSCOPE_CAPTURE");
  if (!when || !*when || ws_when_parse(&config->when, when)) return;
  ws_connect_note("WARPSCOPE_CAPTURE is none of cuda-profiler-api, nvtx:NAME, steps:A-B and call: "
                  "everything is recorded");
  config->when.trigger = WS_TRIGGER_ALWAYS;
}

static int create_in(const char *folder) {
  int fd = -1;
  for (int i = 1; i <= FILES_MAX; i++) {
    char again[16] = "";
    if (i > 1) snprintf(again, sizeof again, "-%d", i);
    int n = snprintf(
        file_path, sizeof file_path, "%s/warpscope-%d%s.wscap", folder, (int)getpid(), again);
    if (n <= 0 || (size_t)n >= sizeof file_path) return -1;
    fd = open(file_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 || errno != EEXIST) break;
  }
  return fd;
}

static int create_file(void) {
  const char *chosen = getenv("WARPSCOPE_DIR");
  if (chosen && *chosen) return create_in(chosen);
  char here[3072];
  int fd = getcwd(here, sizeof here) ? create_in(here) : -1;
  if (fd >= 0) return fd;
  const char *temporary = getenv("TMPDIR");
  return create_in(temporary && *temporary ? temporary : "/tmp");
}

/* A file longer than RLIMIT_FSIZE would bring SIGXFSZ to the program. */
static bool fit_limits(struct ws_sizes *sizes) {
  struct rlimit limit;
  uint64_t most = address_space();
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < most)
    most = limit.rlim_cur;
  while (ws_shm_size(sizes) > most) {
    if (sizes->timeline_ring > 4 * MIB) {
      sizes->timeline_ring /= 2;
    } else if (sizes->alloc_ring > 4 * MIB) {
      sizes->alloc_ring /= 2;
      sizes->arena /= 2;
      sizes->live_table = 4 * MIB;
    } else {
      return false;
    }
  }
  return true;
}

static bool from_file(struct ws_shm *shm, struct ws_config *config) {
  struct ws_sizes sizes = file_sizes;
  if (!fit_limits(&sizes)) return false;
  int fd = create_file();
  if (fd < 0) return false;
  uint64_t size = ws_shm_size(&sizes);
  void *base = MAP_FAILED;
  /* The header's page must be on disk before it is written: a full disk is a SIGBUS otherwise. */
  static const char zeros[WS_PAGE];
  if (pwrite(fd, zeros, sizeof zeros, 0) == (ssize_t)sizeof zeros &&
      ftruncate(fd, (off_t)size) == 0)
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base != MAP_FAILED) {
    ws_shm_format(shm, base, &sizes, fd);
    shm->path = file_path;
    fd = shm->fd;
    if (ws_shm_secure(shm)) {
      from_environment(config);
      return true;
    }
    munmap(base, size);
  }
  close(fd);
  unlink(file_path);
  return false;
}

static struct {
  bool open;
  dev_t device;
  ino_t inode;
} standard_error;

/* The system call itself: the C library gave fstat a symbol of its own only in glibc 2.33. */
static bool is_open(struct stat *s) { return syscall(SYS_fstat, STDERR_FILENO, s) == 0; }

void ws_connect_open(void) {
  struct stat s;
  int saved = errno;
  standard_error.open = is_open(&s);
  errno = saved;
  if (!standard_error.open) return;
  standard_error.device = s.st_dev;
  standard_error.inode = s.st_ino;
}

void ws_connect_note(const char *text) {
  const char *quiet = getenv("WARPSCOPE_QUIET");
  if (quiet && *quiet && strcmp(quiet, "0") != 0) return;
  /* A program that closed stderr may have a file of its own under this number. */
  struct stat s;
  if (!standard_error.open || !is_open(&s) || s.st_dev != standard_error.device ||
      s.st_ino != standard_error.inode)
    return;
  char line[4400];
  int n = snprintf(line, sizeof line, "warpscope: %s\n", text);
  if (n > 0 &&
      write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
    return;
}

bool ws_connect(struct ws_shm *shm, struct ws_config *config) {
  const char *agent = getenv("WARPSCOPE_SOCKET");
  if (agent && *agent) {
    const char *why = from_agent(agent, shm, config);
    if (why) ws_connect_note(why);
    return !why;
  }
  if (from_file(shm, config)) return true;
  ws_connect_note("no capture file could be written here or in TMPDIR (WARPSCOPE_DIR chooses "
                  "another folder): this process is not recorded");
  return false;
}

void ws_connect_finish(struct ws_shm *shm, bool whole) {
  if (shm->fd < 0) return;
  ws_shm_trim(shm, whole);
  char text[sizeof file_path + 128];
  snprintf(text,
           sizeof text,
           "capture in %s; 'warpscope recover' with this name makes it a trace",
           file_path);
  ws_connect_note(text);
}
