/* unwind_broken_test: stacks, registers and tables that are damaged, code without call frame
 * information, and processes that forbid what the unwinder would like to do. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "unwind_ctest.h"
#include "ws_unwind_inside.h"

/* ---- code without call frame information ------------------------------------------------- */

#if defined(__x86_64__)
static int jit_checked;
static const void *jit_from;

/* Called by generated code; whether the walk comes back to test_generated. */
static int jit_callback(void *arg) {
  uint64_t pcs[64];
  (void)arg;
  size_t n = ws_unwind(pcs, 64, 0);
  size_t generated = 0, after = 0;
  uint64_t low = (uint64_t)(uintptr_t)jit_from;
  for (size_t i = 0; i < n; i++) {
    if (pcs[i] >= low && pcs[i] < low + 4096) {
      generated++;
      after = n - i - 1;
    }
  }
  jit_checked = (int)(generated * 100 + after);
  return 1;
}

static int run_generated(const uint8_t *code, size_t size, callback f) {
  uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -1;
  memcpy(page, code, size);
  mprotect(page, 4096, PROT_READ | PROT_EXEC);
  jit_from = page;
  jit_checked = -1;
  int (*call)(callback, callback);
  memcpy(&call, &page, sizeof call);
  call(f, f);
  munmap(page, 4096);
  return jit_checked;
}

static void test_generated(void) {
  /* push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
  static const uint8_t framed[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
  /* push rbp; mov rbp,rsp; call +2; pop rbp; ret; push rbp; mov rbp,rsp; call rdi; pop rbp; ret */
  static const uint8_t twice[] = {0x55,
                                  0x48,
                                  0x89,
                                  0xe5,
                                  0xe8,
                                  2,
                                  0,
                                  0,
                                  0,
                                  0x5d,
                                  0xc3,
                                  0x55,
                                  0x48,
                                  0x89,
                                  0xe5,
                                  0xff,
                                  0xd7,
                                  0x5d,
                                  0xc3};
  /* push rbp; mov ebp,imm32; sub rsp,16; call rdi; add rsp,16; pop rbp; ret: a broken frame pointer
   */
  uint8_t broken[] = {0x55,
                      0xbd,
                      0,
                      0,
                      0,
                      0,
                      0x48,
                      0x83,
                      0xec,
                      0x10,
                      0xff,
                      0xd7,
                      0x48,
                      0x83,
                      0xc4,
                      0x10,
                      0x5d,
                      0xc3};
  /* push rbp; lea rbp,[rsp-8]; sub rsp,16; …: points into its own frame, where no return address is
   */
  static const uint8_t inside[] = {0x55,
                                   0x48,
                                   0x8d,
                                   0x6c,
                                   0x24,
                                   0xf8,
                                   0x48,
                                   0x83,
                                   0xec,
                                   0x10,
                                   0xff,
                                   0xd7,
                                   0x48,
                                   0x83,
                                   0xc4,
                                   0x10,
                                   0x5d,
                                   0xc3};
  int seen = run_generated(framed, sizeof framed, jit_callback);
  CHECK(seen / 100 == 1 && seen % 100 >= 4);
  seen = run_generated(twice, sizeof twice, jit_callback);
  CHECK(seen / 100 == 2 && seen % 100 >= 4);
  static const uint32_t values[] = {0, 1, 8, 4096, 0x7fffffff, 0xfffffff8, 0xffffffff};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    memcpy(broken + 2, &values[i], 4);
    CHECK(run_generated(broken, sizeof broken, jit_callback) == 100);
  }
  CHECK(run_generated(inside, sizeof inside, jit_callback) == 100);
}
#else
static void test_generated(void) { skip("generated code", "x86-64 only"); }
#endif

/* ---- what is broken ---------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Registers at random, from numbers that make trouble: real code, this stack, its edges, unmapped.
 */
static void test_random_registers(void) {
  const struct ws_maps_snapshot *maps = ws_maps_current();
  uint64_t pcs[64], here[64];
  size_t known = ws_unwind(here, 64, 0);
  uint64_t sp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
  for (int i = 0; i < 30000; i++) {
    struct ws_unwind_regs regs = {.valid = (1u << WS_UNWIND_REGS) - 1};
    for (unsigned r = 0; r < WS_UNWIND_REGS; r++) {
      uint64_t x = next_random();
      const struct ws_maps_range *range = &maps->ranges[x % maps->range_count];
      switch (next_random() % 8) {
      case 0:
        regs.r[r] = range->start + (x >> 8) % (range->end - range->start);
        break;
      case 1:
        regs.r[r] = sp + (x & 0xff8);
        break;
      case 2:
        regs.r[r] = sp - (x & 0xffff8);
        break;
      case 3:
        regs.r[r] = x;
        break;
      case 4:
        regs.r[r] = sp + (x & 0xfffff8);
        break;
      case 5:
        regs.r[r] = here[x % known];
        break;
      case 6:
        regs.r[r] = ~0ull - (x & 0xff);
        break;
      default:
        regs.r[r] = x & 0xffff;
        break;
      }
    }
    if (i & 1) regs.r[WS_REG_RA] = here[next_random() % known];
    if (i & 2) regs.r[WS_REG_RSP] = sp + (next_random() & 0xff8);
    CHECK(ws_unwind_from(&regs, pcs, 64, 0) <= 64);
  }
}

/* Registers whose address lies in a library that is gone, before and after the maps know it. */
static void test_unloaded(void) {
  void *library = load("libplain.so");
  CHECK(library != NULL);
  if (!library) return;
  CHECK(ws_maps_refresh() == 1);
  uint64_t pcs[64];
  const struct ws_maps_module *m = NULL;
  void *function = dlsym(library, "lib_call");
  m = ws_maps_find(ws_maps_current(), (uint64_t)(uintptr_t)function);
  CHECK(m != NULL && strstr(m->path, "/libplain.so") != NULL && m->table != 0);
  if (!m) return;
  uint64_t start = m->start, end = m->end, low = m->low, high = m->high;
  dlclose(library);
  for (int round = 0; round < 3; round++) {
    void *instead = MAP_FAILED;
    if (round == 1) { /* other data lies where its tables were */
      instead = mmap((void *)(uintptr_t)low,
                     high - low,
                     PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                     -1,
                     0);
      if (instead != MAP_FAILED) {
        for (uint64_t *p = instead; (uint64_t)(uintptr_t)p < high; p++) *p = next_random();
      }
    }
    for (uint64_t pc = start; pc < end; pc += 7) {
      struct ws_unwind_regs regs = {.valid = 0xffff | 1u << WS_REG_RA};
      for (unsigned r = 0; r < WS_UNWIND_REGS; r++)
        regs.r[r] = (uint64_t)(uintptr_t)__builtin_frame_address(0);
      regs.r[WS_REG_RA] = pc;
      CHECK(ws_unwind_from(&regs, pcs, 64, 0) <= 64);
    }
    if (instead != MAP_FAILED) munmap(instead, high - low);
    if (round == 1) CHECK(ws_maps_refresh() == 1);
  }
  CHECK(ws_maps_find(ws_maps_current(), start) == NULL);
}

/* Real tables, copied and damaged. */
static void test_damaged_tables(void) {
  const struct ws_maps_snapshot *maps = ws_maps_current();
  unsigned token, tried = 0;
  struct ws_walk walk = {.maps = ws_maps_enter(&token)};
  for (uint32_t i = 0; i < maps->count && tried < 3; i++) {
    struct ws_maps_module m = maps->modules[i];
    if (m.table == 0 || m.high - m.low > 4u << 20) continue;
    tried++;
    size_t from = (size_t)(m.hdr - m.low), size = (size_t)(m.high - m.hdr);
    uint8_t *copy = malloc(size), *undamaged = malloc(size);
    CHECK(copy && undamaged && ws_mem_read(&walk, undamaged, m.hdr, 64));
    size_t have = 64;
    while (have + 256 <= size && ws_mem_read(&walk, undamaged + have, m.hdr + have, 256))
      have += 256;
    uint64_t start = m.start, end = m.end;
    m.low = (uint64_t)(uintptr_t)copy;
    m.high = m.low + have;
    m.hdr = m.low;
    m.table = m.hdr + WS_EH_HDR_BYTES;
    for (int round = 0; round < 300; round++) {
      memcpy(copy, undamaged, have);
      uint64_t damage = next_random() % 64;
      for (uint64_t d = 0; d < damage; d++)
        copy[WS_EH_HDR_BYTES + next_random() % (have - WS_EH_HDR_BYTES)] = (uint8_t)next_random();
      for (int n = 0; n < 20; n++) {
        struct ws_rule rule;
        uint64_t pc = start + next_random() % (end - start) - (maps->modules[i].hdr - m.hdr);
        if (ws_cfi_rule(&walk, &m, pc, &rule))
          CHECK(rule.cfa >= WS_CFA_REGISTER && rule.cfa <= WS_CFA_END && rule.reg < WS_REG_RA);
      }
    }
    (void)from;
    free(copy);
    free(undamaged);
  }
  ws_maps_leave(token);
  CHECK(tried > 0);
}

/* ---- other circumstances ----------------------------------------------------------------- */

/* Runs f in a forked child; what it returned. */
static int in_child(int (*f)(void)) {
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) _exit(f());
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int child_forked(void) {
  ws_maps_after_fork();
  bool ok = recurse(310);
  return ok && ws_maps_refresh() >= 0 && unwind_same("forked child", 4) ? 0 : 1;
}

/* A container that forbids process_vm_readv. */
static int child_restricted(void) {
#if defined(__x86_64__)
  static struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    return 2;
  char byte = 0;
  struct iovec local = {&byte, 1}, remote = {&byte, 1};
  if (syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0) != -1 || errno != EPERM)
    return 3;
  int before = failures;
  /* addresses that no cache holds */
  test_library("restricted", "-O2 -shared -fomit-frame-pointer");
  test_random_registers();
  test_unloaded();
  test_generated();
  return recurse(320) && failures == before ? 0 : 1;
#else
  return 0;
#endif
}

static void test_circumstances(void) {
  CHECK(in_child(child_forked) == 0);
  CHECK(in_child(child_restricted) == 0);
}

int main(void) {
  if (!begin()) return 1;
  test_library("plain", "-O2 -shared -fomit-frame-pointer");
  test_generated();
  test_random_registers();
  test_unloaded();
  test_damaged_tables();
  test_circumstances();
  return end();
}
