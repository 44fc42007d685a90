/* ws_dlsym_entry.c: the exported dlsym, as the caller enters it.
 *
 * In a file of its own, which binds to no dlsym of the C library's (ws_compat.h).
 */
#ifdef __x86_64__

/* dlsym(handle, name) keeps its arguments, asks ws_dlsym_answer, and returns what that says or
 * jumps on. */
__asm__(".text\n"
        ".globl dlsym\n"
        ".type dlsym, @function\n"
        "dlsym:\n"
        "  .cfi_startproc\n"
        "  endbr64\n"
        "  pushq %rdi\n"
        "  .cfi_adjust_cfa_offset 8\n"
        "  pushq %rsi\n"
        "  .cfi_adjust_cfa_offset 8\n"
        "  subq $8, %rsp\n"
        "  .cfi_adjust_cfa_offset 8\n"
        "  movq 24(%rsp), %rdx\n"
        "  call ws_dlsym_answer\n"
        "  addq $8, %rsp\n"
        "  .cfi_adjust_cfa_offset -8\n"
        "  popq %rsi\n"
        "  .cfi_adjust_cfa_offset -8\n"
        "  popq %rdi\n"
        "  .cfi_adjust_cfa_offset -8\n"
        "  testq %rax, %rax\n"
        "  jnz 1f\n"
        "  movq ws_dlsym_next(%rip), %rax\n"
        "  jmp *%rax\n"
        "1: ret\n"
        "  .cfi_endproc\n"
        ".size dlsym, . - dlsym\n");

#else

typedef int ws_dlsym_is_not_exported_here;

#endif
