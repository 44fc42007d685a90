/* static.c: a program without a dynamic linker: nothing can be preloaded into it. */
#include <stdio.h>

int main(void) {
  puts("static");
  return 7;
}
