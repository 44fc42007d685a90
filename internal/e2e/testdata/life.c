/* life.c: processes that fork, clone, execute, move into the background; contexts that come and go. */
#include "program.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;
static const char *self = "/proc/self/exe";

static int status_of(pid_t child) {
  int status;
  if (waitpid(child, &status, 0) != child) fail("waitpid", 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int plain(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  return 0;
}

/* What a child of fork does with the CUDA of its parent: all of it fails, none of it is recorded. */
static void try_everything(void) {
  uint64_t address;
  for (int i = 0; i < 200; i++) {
    if (cuMemAlloc_v2(&address, 4096) == 0) cuMemFree_v2(address);
    cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL);
  }
}

static int fork_after(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pid_t child = fork();
  if (child == 0) {
    try_everything();
    exit(3); /* with all the handlers that it inherited */
  }
  int status = status_of(child);
  work();
  return status;
}

static int fork_before(int n, char **a) {
  (void)n, (void)a;
  pid_t child = fork();
  if (child == 0) {
    count_in(1);
    begin();
    work();
    exit(3);
  }
  return status_of(child);
}

static int fork_both(int n, char **a) {
  (void)n, (void)a;
  pid_t child = fork();
  if (child == 0) count_in(1);
  begin();
  work();
  if (child == 0) exit(3);
  return status_of(child);
}

/* Forks in a loop while other threads allocate: children die in every state of the parent. */
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

static int fork_storm(int n, char **a) {
  begin();
  pthread_t threads[2] = {start_thread(churn, NULL), start_thread(churn, NULL)};
  for (int i = 0; i < (n > 0 ? atoi(a[0]) : 50); i++) {
    pid_t child = fork();
    if (child == 0) {
      try_everything();
      _exit(3);
    }
    if (status_of(child) != 3) fail("child", i);
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return 0;
}

/* No handler of pthread_atfork runs, so nobody told the driver that this is another process. */
static int raw_clone(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    try_everything();
    for (int i = 0; i < 20000; i++) cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL);
    cuCtxSynchronize();
    _exit(3);
  }
  int status = status_of(child);
  work();
  return status;
}

static int vfork_exec(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pid_t child = vfork();
  if (child == 0) {
    execl(self, "life", "plain", "1", (char *)NULL);
    _exit(71);
  }
  int status = status_of(child);
  work();
  return status;
}

/* A child of vfork shares all memory, so its end must not end its parent's capture. */
static int vfork_exit(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pid_t child = vfork();
  if (child == 0) _exit(3);
  int status = status_of(child);
  work();
  return status;
}

static int spawn(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pid_t child;
  char *arguments[] = {"life", "plain", "1", NULL};
  CHECK(posix_spawn(&child, self, NULL, NULL, arguments, environ));
  int status = status_of(child);
  char *wrong[] = {"none", NULL};
  if (posix_spawn(&child, "/nonexistent/program", NULL, NULL, wrong, environ) == 0) status = status_of(child) == 127 ? 0 : 1;
  work();
  return status;
}

static int execute(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  execl(self, "life", "plain", "1", (char *)NULL);
  return 71;
}

/* From a thread: the kernel ends all others, the worker of the capture too. */
static void *execute_here(void *unused) {
  (void)unused;
  execl(self, "life", "plain", "1", (char *)NULL);
  return NULL;
}

static int thread_execute(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pthread_join(start_thread(execute_here, NULL), NULL);
  return 71;
}

/* Until a file is there; "" waits for none. */
static void wait_for(const char *file) {
  while (*file && access(file, F_OK) != 0) usleep(1000);
}

/* arguments: the file for which the daemon waits before it starts CUDA, the one for which it waits while it
 * is at work, and whether the parent waits until the daemon is at work */
static int into_background(int n, char **a) {
  if (n < 3) return 64;
  if (fork() != 0) {
    while (atoi(a[2]) && tallies[1].stage == 0) usleep(1000);
    _exit(7);
  }
  setsid();
  if (fork() != 0) _exit(0);
  count_in(1);
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  wait_for(a[0]);
  begin();
  work();
  tally->stage = 1;
  wait_for(a[1]);
  work();
  tally->stage = 2;
  return 0;
}

/* ---- threads ---- */

static void *die_by_exit(void *unused) {
  (void)unused;
  join_context();
  for (int i = 0; i < 20; i++) take(DEVICE, 1024);
  pthread_exit(NULL);
}

/* The thread is gone for the kernel alone, its stack and its thread-local memory stay. */
static void *die_by_syscall(void *done) {
  join_context();
  for (int i = 0; i < 20; i++) take(DEVICE, 1024);
  atomic_fetch_add((_Atomic int *)done, 1);
  syscall(SYS_exit, 0);
  return NULL;
}

static void *die_by_cancel(void *unused) {
  (void)unused;
  join_context();
  for (;;) {
    int old;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old); /* so that the count stays right */
    take(DEVICE, 1024);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    pthread_testcancel();
  }
  return NULL;
}

static int threads_die(int n, char **a) {
  (void)n, (void)a;
  static _Atomic int done;
  begin();
  pthread_t exits[4], cancels[4];
  for (int i = 0; i < 4; i++) {
    exits[i] = start_thread(die_by_exit, NULL);
    cancels[i] = start_thread(die_by_cancel, NULL);
    start_thread(die_by_syscall, &done);
  }
  usleep(20000);
  for (int i = 0; i < 4; i++) {
    pthread_cancel(cancels[i]);
    pthread_join(exits[i], NULL);
    pthread_join(cancels[i], NULL);
  }
  while (done < 4) usleep(1000);
  usleep(20000);
  work();
  return 0;
}

/* The main thread ends, others go on; the program ends with the last of them. */
static void *go_on(void *unused) {
  (void)unused;
  join_context();
  usleep(50000);
  work();
  return NULL;
}

static int main_thread_exits(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  pthread_detach(start_thread(go_on, NULL));
  pthread_exit(NULL);
}

/* ---- contexts ---- */

static int contexts(int n, char **a) {
  (void)n, (void)a;
  void *context[3];
  CHECK(cuInit(0));
  for (int i = 0; i < 3; i++) {
    CHECK(cuCtxCreate_v2(&context[i], 0, 0));
    for (int j = 0; j < 4; j++) take(DEVICE, 1000 + (uint64_t)i);
  }
  /* With the context goes what is allocated in it. */
  CHECK(cuCtxDestroy_v2(context[1]));
  tally->of[DEVICE].live -= 4;
  tally->of[DEVICE].live_bytes -= 4 * 1001;
  CHECK(cuCtxSetCurrent(context[0]));
  take(DEVICE, 5000);
  return 0;
}

static int reset(int n, char **a) {
  (void)n, (void)a;
  begin();
  work(); /* leaves three */
  take(HOST, 8192);
  CHECK(cuCtxSynchronize());
  CHECK(cuDevicePrimaryCtxReset_v2(0));
  for (int i = 0; i < SPACES; i++) tally->of[i].live = tally->of[i].live_bytes = 0;
  begin();
  work();
  return 0;
}

static int many_resets(int n, char **a) {
  for (int i = 0; i < (n > 0 ? atoi(a[0]) : 300); i++) { /* more contexts than the ledger keeps devices of */
    void *context;
    CHECK(cuInit(0));
    CHECK(cuCtxCreate_v2(&context, 0, 0));
    take(DEVICE, 777);
    CHECK(cuCtxDestroy_v2(context));
    tally->of[DEVICE].live = tally->of[DEVICE].live_bytes = 0;
  }
  return 0;
}

/* ---- CUDA late ---- */

static int late(int n, char **a) {
  (void)n, (void)a;
  usleep(150000);
  begin();
  work();
  return 0;
}

/* The driver is loaded, asked its version, never started. */
static int version_only(int n, char **a) {
  (void)n, (void)a;
  int version = 0, (*get)(int *);
  *(void **)&get = dlsym(RTLD_DEFAULT, "cuDriverGetVersion");
  return get && get(&version) == 0 && version > 0 ? 0 : 1;
}

MAIN({"plain", plain}, {"fork_after", fork_after}, {"fork_before", fork_before}, {"fork_both", fork_both},
     {"fork_storm", fork_storm}, {"raw_clone", raw_clone}, {"vfork_exec", vfork_exec}, {"vfork_exit", vfork_exit},
     {"spawn", spawn}, {"execute", execute}, {"thread_execute", thread_execute}, {"daemon", into_background},
     {"threads_die", threads_die}, {"main_thread_exits", main_thread_exits}, {"contexts", contexts}, {"reset", reset},
     {"many_resets", many_resets}, {"late", late}, {"version_only", version_only})
