/* Functions of the kinds that the resolver must tell apart. Compiled by the tests. */
#include <stddef.h>

__attribute__((noinline)) static int local_helper(int n) {
  __asm__ volatile("" ::: "memory");
  return n * 3 + 1;
}

int exported(int n) { return local_helper(n) + local_helper(n + 1); }

int __plain_alias(int n) __attribute__((alias("exported")));
int plain(int n) __attribute__((alias("exported")));

__attribute__((weak)) int weak_one(int n) { return local_helper(n) - 5; }

int variable = 7;

__asm__(".text\n"
        ".globl unsized\n"
        "unsized:\n"
        "  nop\n  nop\n  nop\n"
        ".globl after_unsized\n"
        ".type after_unsized, @function\n"
        "after_unsized:\n"
        "  nop\n"
        ".size after_unsized, .-after_unsized\n");

int versioned_old(int n) { return local_helper(n) + 11; }
__asm__(".symver versioned_old, versioned@WS_1.0");
int versioned_new(int n) { return local_helper(n) + 12; }
__asm__(".symver versioned_new, versioned@@WS_2.0");
