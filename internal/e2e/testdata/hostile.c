/* hostile.c: programs that do to their process what a capture library would rather not see. */
#include "program.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/* ---- descriptors ---- */

/* Closes everything, opens files of its own under all the numbers that became free, and writes
 * to them. The test looks at the files afterwards. argument: a folder */
static int close_all(int n, char **a) {
  if (n < 1) return 64;
  begin();
  work();
  for (int fd = 0; fd < 1024; fd++) close(fd);
  char path[4096];
  for (int i = 0; i < 1000; i++) {
    snprintf(path, sizeof path, "%s/mine-%d", a[0], i);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) break;
    if (write(fd, "mine\n", 5) != 5) return 65;
    tally->extra++;
  }
  for (int i = 0; i < 2000; i++) work(); /* more than the file had room for when it was opened */
  return 0;
}

/* argument: how many descriptors it may have */
static int few_descriptors(int n, char **a) {
  struct rlimit limit = {(rlim_t)(n > 0 ? atoi(a[0]) : 4), (rlim_t)(n > 0 ? atoi(a[0]) : 4)};
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 65;
  begin();
  work();
  return 0;
}

/* ---- memory and files ---- */

/* argument: MiB of address space beyond what it has */
static int little_memory(int n, char **a) {
  if (n < 1) return 64;
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%ld", &pages) != 1) return 65;
  fclose(f);
  rlim_t most = (rlim_t)pages * 4096 + ((rlim_t)atoi(a[0]) << 20);
  struct rlimit limit = {most, most};
  if (setrlimit(RLIMIT_AS, &limit) != 0) return 65;
  void *context;
  CHECK(cuInit(0));
  CHECK(cuDevicePrimaryCtxRetain(&context, 0));
  CHECK(cuCtxSetCurrent(context));
  CHECK(cuModuleLoadData(&module, ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry busy() { ret; }\n"));
  CHECK(cuModuleGetFunction(&kernel, module, "busy"));
  for (int i = 0; i < 1000; i++) launch(kernel); /* simulated memory is address space, of which there is none */
  CHECK(cuCtxSynchronize());
  return 0;
}

/* argument: bytes that a file may have */
static int small_files(int n, char **a) {
  if (n < 1) return 64;
  struct rlimit limit = {(rlim_t)atol(a[0]), (rlim_t)atol(a[0])};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 65;
  begin();
  for (int i = 0; i < 2000; i++) work();
  return 0;
}

/* Much of everything, for a disk that is too small. argument: how often */
static int much(int n, char **a) {
  begin();
  for (int i = 0, many = n > 0 ? atoi(a[0]) : 1000; i < many; i++) {
    work();
    if (i % 100 == 0) usleep(10000);
  }
  return 0;
}

/* ---- another root, another folder, another user ---- */

/* argument: a folder */
static int other_folder(int n, char **a) {
  if (n < 1) return 64;
  begin();
  work();
  if (chdir(a[0]) != 0) return 65;
  work();
  return 0;
}

static int other_root(int n, char **a) {
  if (n < 1) return 64;
  begin();
  work();
  if (chroot(a[0]) != 0 || chdir("/") != 0) return 77;
  work();
  return 0;
}

static _Atomic int stop;

static void *churn(void *unused) {
  (void)unused;
  join_context();
  while (!stop) {
    uint64_t address = take(DEVICE, 512);
    launch(kernel);
    give(DEVICE, address, 512);
  }
  return NULL;
}

/* setuid reaches every thread by a signal of the C library's and waits for all of them.
 * argument: the user to become */
static int other_user(int n, char **a) {
  if (n < 1) return 64;
  begin();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) threads[i] = start_thread(churn, NULL);
  usleep(20000);
  uid_t user = (uid_t)atoi(a[0]);
  if (setgid(user) != 0 || setuid(user) != 0 || getuid() != user) return 77;
  usleep(20000);
  stop = 1;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  work();
  return 0;
}

/* ---- signals ---- */

static int block_all(int n, char **a) {
  (void)n, (void)a;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  begin();
  work();
  sigset_t pending;
  sigpending(&pending);
  for (int s = 1; s < 32; s++)
    if (sigismember(&pending, s)) return 65; /* the capture sent the program a signal */
  return 0;
}

static _Atomic uint64_t handled, strangers;
static pid_t own_threads[4];

static void handler(int signal) {
  (void)signal;
  pid_t me = (pid_t)syscall(SYS_gettid);
  handled++;
  for (int i = 0; i < 4; i++)
    if (own_threads[i] == me) return;
  strangers++; /* a thread that the program does not know runs the program's handler */
}

static void *churn_known(void *which) {
  own_threads[(uintptr_t)which] = (pid_t)syscall(SYS_gettid);
  return churn(NULL);
}

/* Handles every signal there is and is interrupted thousands of times, without SA_RESTART. */
static int handle_all(int n, char **a) {
  (void)n, (void)a;
  own_threads[0] = (pid_t)syscall(SYS_gettid);
  struct sigaction action = {.sa_handler = handler};
  begin();
  pthread_t threads[2] = {start_thread(churn_known, (void *)1), start_thread(churn_known, (void *)2)};
  while (!own_threads[1] || !own_threads[2]) usleep(100);
  for (int s = 1; s < SIGRTMAX; s++) sigaction(s, &action, NULL);
  struct itimerval every = {{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &every, NULL);
  for (int i = 0; i < 200; i++) {
    kill(getpid(), SIGRTMIN + i % 8);
    kill(getpid(), SIGUSR1);
    work();
  }
  struct itimerval none = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &none, NULL);
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  tally->extra = handled;
  return strangers ? 65 : 0;
}

static uint64_t in_handler;

static void allocate(int signal) {
  (void)signal;
  in_handler = take(DEVICE, 12345);
}

/* A handler on a stack of its own, as small as may be for the driver, allocates. */
static int alternate_stack(int n, char **a) {
  (void)n, (void)a;
  begin();
  size_t size = 32768;
  stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
  struct sigaction action = {.sa_handler = allocate, .sa_flags = SA_ONSTACK};
  if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0) return 65;
  for (int i = 0; i < 100; i++) {
    raise(SIGUSR1);
    give(DEVICE, in_handler, 12345);
  }
  work();
  return 0;
}

/* ---- stacks ---- */

static void *small(void *unused) {
  (void)unused;
  join_context();
  for (int i = 0; i < 100; i++) {
    uint64_t address = take(POOL, 4096);
    launch(kernel);
    give(POOL, address, 4096);
  }
  return NULL;
}

static int small_stack(int n, char **a) {
  (void)n, (void)a;
  begin();
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
  CHECK(pthread_create(&thread, &attributes, small, NULL));
  pthread_join(thread, NULL);
  work();
  return 0;
}

/* New threads get by default what RLIMIT_STACK says when the program starts: the test sets it. */
static int small_default_stack(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  return 0;
}

/* ---- libraries ---- */

typedef void through(void (*)(void *), void *);

static void one(void *unused) {
  (void)unused;
  take(DEVICE, 54321);
}

static through *open_library(const char *folder, int i, void **handle) {
  char path[4096];
  snprintf(path, sizeof path, "%s/libfiller%d.so", folder, i);
  *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!*handle) fail(dlerror(), i);
  through *f;
  *(void **)&f = dlsym(*handle, "filler_call");
  return f;
}

/* arguments: a folder with libfiller0.so and so on, how many there are */
static int many_libraries(int n, char **a) {
  if (n < 2) return 64;
  begin();
  int many = atoi(a[1]);
  void *handle;
  through *last = NULL;
  for (int i = 0; i < many; i++) last = open_library(a[0], i, &handle);
  last(one, NULL);
  usleep(300000); /* the worker learns of the libraries within a turn */
  last(one, NULL);
  return 0;
}

struct libraries {
  const char *folder;
  int from, to;
};

static void *open_and_close(void *user) {
  struct libraries *l = user;
  join_context();
  for (int round = 0; round < 20; round++) {
    for (int i = l->from; i < l->to; i++) {
      void *handle;
      through *f = open_library(l->folder, i, &handle);
      f(one, NULL);
      dlclose(handle);
      tally->extra++;
    }
  }
  return NULL;
}

/* Libraries come and go while stacks that lead through them are taken. */
static int close_libraries(int n, char **a) {
  if (n < 2) return 64;
  begin();
  int many = atoi(a[1]);
  struct libraries half[2] = {{a[0], 0, many / 2}, {a[0], many / 2, many}};
  pthread_t threads[3] = {start_thread(open_and_close, &half[0]), start_thread(open_and_close, &half[1]), start_thread(churn, NULL)};
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  stop = 1;
  pthread_join(threads[2], NULL);
  work();
  return 0;
}

/* Work done by a program that does nothing special: other libraries are preloaded. */
static int plain(int n, char **a) {
  (void)n, (void)a;
  begin();
  for (int i = 0; i < 50; i++) work();
  _exit(7);
}

MAIN({"close_all", close_all}, {"few_descriptors", few_descriptors}, {"little_memory", little_memory},
     {"small_files", small_files}, {"much", much}, {"other_folder", other_folder}, {"other_root", other_root},
     {"other_user", other_user}, {"block_all", block_all}, {"handle_all", handle_all},
     {"alternate_stack", alternate_stack}, {"small_stack", small_stack}, {"small_default_stack", small_default_stack},
     {"many_libraries", many_libraries}, {"close_libraries", close_libraries}, {"plain", plain})
