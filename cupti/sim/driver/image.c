/* image.c: the kernels' names in a module image: PTX text or an ELF cubin. A fat binary, or
 * whatever else is no text, is taken with every name that is asked for. */
#include "driver.h"

#include "image.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static void add(struct sim_module *m, const char *name, size_t length, uint32_t registers) {
  char **names = realloc(m->names, (m->count + 1) * sizeof *names);
  if (names != NULL)
    m->names = names;
  uint32_t *regs = realloc(m->registers, (m->count + 1) * sizeof *regs);
  if (regs != NULL)
    m->registers = regs;
  uint32_t *shared = realloc(m->shared, (m->count + 1) * sizeof *shared);
  if (shared != NULL)
    m->shared = shared;
  char *copy = strndup(name, length);
  if (names == NULL || regs == NULL || shared == NULL || copy == NULL) {
    free(copy);
    return;
  }
  m->names[m->count] = copy;
  m->registers[m->count] = registers;
  m->shared[m->count] = 0;
  m->count++;
}

static int read_ptx(struct sim_module *m, const char *text) {
  for (const char *p = text; (p = strstr(p, ".entry")) != NULL;) {
    p += strlen(".entry");
    p += strspn(p, " \t\r\n");
    size_t length = strcspn(p, " \t\r\n(");
    if (length > 0)
      add(m, p, length, 32);
  }
  m->size = strlen(text) + 1;
  return CU_OK;
}

/* The image is the program's own and the driver is not told its length: it is read as the real
 * driver reads it, by the offsets in its header. */
static int read_cubin(struct sim_module *m, const unsigned char *image) {
  Elf64_Ehdr header;
  memcpy(&header, image, sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr) ||
      header.e_shstrndx >= header.e_shnum)
    return CU_INVALID_IMAGE;
  const unsigned char *table = image + header.e_shoff;
  Elf64_Shdr strings;
  memcpy(&strings, table + (size_t)header.e_shstrndx * sizeof strings, sizeof strings);
  m->size = header.e_shoff + (size_t)header.e_shnum * sizeof(Elf64_Shdr);
  for (int pass = 0; pass < 2; pass++) {
    const char *prefix = pass == 0 ? ".text." : ".nv.shared.";
    size_t skip = strlen(prefix);
    for (int i = 0; i < header.e_shnum; i++) {
      Elf64_Shdr s;
      memcpy(&s, table + (size_t)i * sizeof s, sizeof s);
      const char *name = (const char *)image + strings.sh_offset + s.sh_name;
      if (strncmp(name, prefix, skip) != 0)
        continue;
      if (pass == 0)
        add(m,
            name + skip,
            strlen(name + skip),
            s.sh_info >> 24); /* ptxas leaves the register count there */
      for (size_t k = 0; pass == 1 && k < m->count; k++) {
        if (strcmp(m->names[k], name + skip) == 0)
          m->shared[k] = (uint32_t)s.sh_size;
      }
    }
  }
  return CU_OK;
}

int sim_read_image(struct sim_module *m, const void *image) {
  const unsigned char *bytes = image;
  m->image = image;
  if (memcmp(bytes, ELFMAG, SELFMAG) == 0)
    return read_cubin(m, bytes);
  uint32_t magic;
  memcpy(&magic, bytes, sizeof magic);
  if (magic == 0xba55ed50u || magic == 0x466243b1u) { /* fat binary, and its wrapper */
    m->any_name = true;
    return CU_OK;
  }
  if (strstr((const char *)bytes, ".version") != NULL)
    return read_ptx(m, (const char *)bytes);
  return CU_INVALID_IMAGE;
}
