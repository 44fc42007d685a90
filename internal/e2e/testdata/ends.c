/* ends.c: a program that works and then ends in one of many ways. */
#include "program.h"

#include <signal.h>
#include <sys/syscall.h>

static int by_return(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  return 7;
}

static int by_exit(int n, char **a) {
  by_return(n, a);
  exit(7);
}

static int by_underscore_exit(int n, char **a) {
  by_return(n, a);
  _exit(7);
}

static int by_capital_exit(int n, char **a) {
  by_return(n, a);
  _Exit(7);
}

static int by_quick_exit(int n, char **a) {
  by_return(n, a);
  quick_exit(7);
}

static int by_exit_group(int n, char **a) {
  by_return(n, a);
  syscall(SYS_exit_group, 7);
  return 0;
}

/* The last thread of the program ends; no function of the C library sees it. */
static int by_thread_exit(int n, char **a) {
  by_return(n, a);
  syscall(SYS_exit, 7);
  return 0;
}

/* arguments: a signal's number */
static int by_signal(int n, char **a) {
  if (n < 1) return 64;
  begin();
  work();
  tally->stage = 1;
  signal(atoi(a[0]), SIG_DFL);
  raise(atoi(a[0]));
  return 65;
}

/* A real one, not one that is sent. */
static int by_fault(int n, char **a) {
  (void)n, (void)a;
  begin();
  work();
  *(volatile int *)8 = 1;
  return 65;
}

/* Works until somebody kills it. */
static int never(int n, char **a) {
  (void)n, (void)a;
  begin();
  for (;;) {
    work();
    tally->stage++;
    usleep(500);
  }
  return 65;
}

/* The same in a program that handles the signal and leaves by exit. */
static void leave(int signal) {
  (void)signal;
  _exit(9);
}

static int by_handler(int n, char **a) {
  (void)n, (void)a;
  signal(SIGTERM, leave);
  begin();
  work();
  raise(SIGTERM);
  return 65;
}

static _Atomic int leaving;

static void *launch_on(void *unused) {
  (void)unused;
  join_context();
  for (;;) {
    launch(kernel);
    if (!leaving) tally->extra++; /* launched before the end began */
    uint64_t address = take(DEVICE, 4096);
    give(DEVICE, address, 4096);
  }
  return NULL;
}

/* The C library ends the program while other threads are in the driver. */
static int while_launching(int n, char **a) {
  (void)n, (void)a;
  begin();
  for (int i = 0; i < 3; i++) start_thread(launch_on, NULL);
  usleep(100000);
  leaving = 1;
  exit(7);
}

/* Work that is done after exit() was called: in a function registered before CUDA came. */
static void last_work(void) { work(); }

static int work_at_exit(int n, char **a) {
  (void)n, (void)a;
  atexit(last_work);
  begin();
  work();
  return 7;
}

static int without_cuda(int n, char **a) {
  (void)n, (void)a;
  return 7;
}

MAIN({"return", by_return}, {"exit", by_exit}, {"_exit", by_underscore_exit}, {"_Exit", by_capital_exit},
     {"quick_exit", by_quick_exit}, {"exit_group", by_exit_group}, {"thread_exit", by_thread_exit},
     {"signal", by_signal}, {"fault", by_fault}, {"never", never}, {"handler", by_handler},
     {"while_launching", while_launching}, {"work_at_exit", work_at_exit}, {"without_cuda", without_cuda})
