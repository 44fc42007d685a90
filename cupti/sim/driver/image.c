/* image.c: the kernels' names in a module image: PTX text or an ELF cubin. A fat binary, or
 * whatever else is no text, is taken with every name that is asked for. */
#include "driver.h"

#include "image.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static void add(struct sim_module *m, const char *name, size_t length, uint32_t registers) {
  char **names = realloc(m->names, (m->count + 1) * sizeof *names);
  if (names != NULL) m->names = names;
  uint32_t *regs = realloc(m->registers, (m->count + 1) * sizeof *regs);
  if (regs != NULL) m->registers = regs;
  uint32_t *shared = realloc(m->shared, (m->count + 1) * sizeof *shared);
  if (shared != NULL) m->shared = shared;
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
    if (length > 0) add(m, p, length, 32);
  }
  m->size = strlen(text) + 1;
  return CU_OK;
}

/* The image is the program's own and the driver is not told its length: it is read as the real
 * driver reads it, by the offsets in its header. */
struct cubin {
  const unsigned char *image, *sections;
  const char *strings;
  uint16_t count;
};

static Elf64_Shdr section(const struct cubin *c, size_t i) {
  Elf64_Shdr s;
  memcpy(&s, c->sections + i * sizeof s, sizeof s);
  return s;
}

/* What the section's name says behind the prefix; NULL: it begins otherwise. */
static const char *behind(const struct cubin *c, const Elf64_Shdr *s, const char *prefix) {
  const char *name = c->strings + s->sh_name;
  size_t length = strlen(prefix);
  return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

/* The register count of a symbol: an entry of .nv.info, which is a list of {form, attribute, size,
 * bytes}; 0: not said. */
static uint32_t registers_of(const struct cubin *c, uint32_t symbol) {
  enum { FORM_SIZED = 4, ATTRIBUTE_REGISTERS = 0x2f };
  for (size_t i = 0; i < c->count; i++) {
    Elf64_Shdr s = section(c, i);
    const char *rest = behind(c, &s, ".nv.info");
    if (rest == NULL || *rest != '\0') continue;
    const unsigned char *p = c->image + s.sh_offset, *end = p + s.sh_size;
    while (end - p >= 4) {
      uint16_t size = 0;
      if (p[0] == FORM_SIZED) memcpy(&size, p + 2, sizeof size);
      if (end - p - 4 < size) return 0;
      uint32_t pair[2];
      if (p[0] == FORM_SIZED && p[1] == ATTRIBUTE_REGISTERS && size == sizeof pair) {
        memcpy(pair, p + 4, sizeof pair);
        if (pair[0] == symbol) return pair[1];
      }
      p += 4 + size;
    }
  }
  return 0;
}

static int read_cubin(struct sim_module *m, const unsigned char *image) {
  Elf64_Ehdr header;
  memcpy(&header, image, sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr) ||
      header.e_shstrndx >= header.e_shnum) {
    return CU_INVALID_IMAGE;
  }
  struct cubin c = {.image = image, .sections = image + header.e_shoff, .count = header.e_shnum};
  Elf64_Shdr strings = section(&c, header.e_shstrndx);
  c.strings = (const char *)image + strings.sh_offset;
  m->size = header.e_shoff + (size_t)header.e_shnum * sizeof(Elf64_Shdr);
  for (size_t i = 0; i < c.count; i++) {
    Elf64_Shdr s = section(&c, i);
    const char *name = behind(&c, &s, ".text.");
    if (name != NULL) add(m, name, strlen(name), registers_of(&c, s.sh_info & 0xffffff));
  }
  for (size_t i = 0; i < c.count; i++) {
    Elf64_Shdr s = section(&c, i);
    const char *name = behind(&c, &s, ".nv.shared.");
    for (size_t k = 0; name != NULL && k < m->count; k++) {
      if (strcmp(m->names[k], name) == 0) m->shared[k] = (uint32_t)s.sh_size;
    }
  }
  return CU_OK;
}

int sim_read_image(struct sim_module *m, const void *image) {
  const unsigned char *bytes = image;
  m->image = image;
  if (memcmp(bytes, ELFMAG, SELFMAG) == 0) return read_cubin(m, bytes);
  uint32_t magic;
  memcpy(&magic, bytes, sizeof magic);
  if (magic == 0xba55ed50u || magic == 0x466243b1u) { /* fat binary, and its wrapper */
    m->any_name = true;
    return CU_OK;
  }
  if (strstr((const char *)bytes, ".version") != NULL) return read_ptx(m, (const char *)bytes);
  return CU_INVALID_IMAGE;
}
