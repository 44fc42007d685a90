/* filler.c: one of many libraries: code through which a call goes. */
void filler_call(void (*function)(void *), void *argument);
void filler_call(void (*function)(void *), void *argument) {
  function(argument);
  __asm__ volatile(""); /* a call, not a jump: this frame stays on the stack */
}
