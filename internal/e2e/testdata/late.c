/* late.c: programs that load the capture library (WARPSCOPE_LATE names it) while they run. Slot 0 counts
 * what is done from the moment on at which the test has seen the capture armed; slot 1 what came before. */
#include "program.h"

#include <dlfcn.h>
#include <sys/wait.h>

static uint64_t early[8];

static void *load(void) {
  const char *path = getenv("WARPSCOPE_LATE");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) {
    fprintf(stderr, "late: %s\n", dlerror());
    _exit(71);
  }
  return library;
}

/* CUDA is in use: memory is taken, kernels have run. */
static void use_cuda(void) {
  count_in(1);
  begin();
  work();
  for (int i = 0; i < 8; i++) early[i] = take(DEVICE, 100000);
}

/* Says that the library is there and waits until the test has seen that it records. */
static void wait_for_capture(const char *go) {
  count_in(0);
  tally->stage = 1;
  for (int i = 0; i < 60000 && access(go, F_OK) != 0; i++) usleep(1000);
  if (access(go, F_OK) != 0) _exit(72);
}

/* Three releases of what the capture cannot know, then work of all kinds. */
static void after(void) {
  for (int i = 0; i < 3; i++) CHECK(cuMemFree_v2(early[i]));
  work();
}

/* argument of all: the file whose appearance means that the capture is armed */
static int running(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  load();
  wait_for_capture(a[0]);
  after();
  return 7;
}

/* The program gives the library back at once: its code must stay. */
static int closed(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  dlclose(load());
  wait_for_capture(a[0]);
  after();
  return 7;
}

/* Two places in the program load it. */
static int twice(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  load();
  load();
  wait_for_capture(a[0]);
  load();
  after();
  return 7;
}

/* From one of the program's threads, while the others are in the driver. */
static _Atomic int over;

static void *churn(void *unused) {
  (void)unused;
  join_context();
  while (!over) {
    uint64_t address;
    CHECK(cuMemAlloc_v2(&address, 512));
    CHECK(cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuMemFree_v2(address));
    CHECK(cuCtxSynchronize());
  }
  return NULL;
}

static void *load_here(void *unused) {
  (void)unused;
  load();
  return NULL;
}

static int busy(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = start_thread(churn, NULL);
  pthread_join(start_thread(load_here, NULL), NULL);
  count_in(0);
  tally->stage = 1;
  for (int i = 0; i < 60000 && access(a[0], F_OK) != 0; i++) usleep(1000);
  over = 1;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  after();
  return 7;
}

/* A context that the capture has not seen made. */
static int contexts(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  void *context[2];
  for (int i = 0; i < 2; i++) CHECK(cuCtxCreate_v2(&context[i], 0, 0));
  load();
  wait_for_capture(a[0]);
  take(DEVICE, 3333);
  CHECK(cuCtxSetCurrent(context[0]));
  take(DEVICE, 4444);
  CHECK(cuCtxDestroy_v2(context[1])); /* the 3333 bytes go with it */
  return 7;
}

/* The driver is mapped (the program is linked with it) and not begun. */
static int before_cuda(int n, char **a) {
  (void)n, (void)a;
  load();
  count_in(0);
  begin();
  work();
  return 7;
}

/* Leaves while the capture is being started. */
static int leaves(int n, char **a) {
  use_cuda();
  load();
  if (n > 0) usleep((useconds_t)atoi(a[0]));
  exit(7);
}

static int leaves_hard(int n, char **a) {
  use_cuda();
  load();
  if (n > 0) usleep((useconds_t)atoi(a[0]));
  _exit(7);
}

/* A child is made while the capture is being started; it has no thread that would start one. */
static int forks(int n, char **a) {
  if (n < 1) return 64;
  use_cuda();
  load();
  pid_t child = fork();
  if (child == 0) exit(3);
  int status;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 3) return 1;
  wait_for_capture(a[0]);
  after();
  return 7;
}

MAIN({"running", running}, {"closed", closed}, {"twice", twice}, {"busy", busy}, {"contexts", contexts},
     {"before_cuda", before_cuda}, {"leaves", leaves}, {"leaves_hard", leaves_hard}, {"forks", forks})
