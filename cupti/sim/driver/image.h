/* image.h: reading module images. */
#ifndef WARPSCOPE_SIM_IMAGE_H
#define WARPSCOPE_SIM_IMAGE_H

struct sim_module;

/* Fills in names, registers and size. Returns a CUresult. */
int sim_read_image(struct sim_module *module, const void *image);

#endif
