/* device.c: what a simulated device says of itself. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

static struct sim_device *device(int ordinal) {
  return ordinal >= 0 && ordinal < sim.count ? &sim.devices[ordinal] : NULL;
}

SIM_API1(cuDeviceGetCount, 4, int *, count) {
  if (count == NULL) return CU_INVALID_VALUE;
  *count = sim.count;
  return CU_OK;
}

SIM_API2(cuDeviceGet, 3, int *, out, int, ordinal) {
  if (out == NULL) return CU_INVALID_VALUE;
  if (device(ordinal) == NULL) return CU_INVALID_DEVICE;
  *out = ordinal;
  return CU_OK;
}

SIM_API3(cuDeviceGetName, 5, char *, name, int, length, int, dev) {
  struct sim_device *d = device(dev);
  if (d == NULL) return CU_INVALID_DEVICE;
  if (name == NULL || length <= 0) return CU_INVALID_VALUE;
  snprintf(name, (size_t)length, "%s", d->name);
  return CU_OK;
}

SIM_API2(cuDeviceGetUuid_v2, 647, void *, uuid, int, dev) {
  struct sim_device *d = device(dev);
  if (d == NULL) return CU_INVALID_DEVICE;
  if (uuid == NULL) return CU_INVALID_VALUE;
  memcpy(uuid, d->info.uuid, 16);
  return CU_OK;
}

SIM_API2(cuDeviceGetUuid, 482, void *, uuid, int, dev) { return do_cuDeviceGetUuid_v2(uuid, dev); }

SIM_API2(cuDeviceTotalMem_v2, 259, size_t *, bytes, int, dev) {
  struct sim_device *d = device(dev);
  if (d == NULL) return CU_INVALID_DEVICE;
  if (bytes == NULL) return CU_INVALID_VALUE;
  *bytes = d->info.memory;
  return CU_OK;
}

SIM_API3(cuDeviceGetPCIBusId, 332, char *, id, int, length, int, dev) {
  if (device(dev) == NULL) return CU_INVALID_DEVICE;
  if (id == NULL || length < 13) return CU_INVALID_VALUE;
  snprintf(id, (size_t)length, "0000:%02X:00.0", dev + 1);
  return CU_OK;
}

SIM_API3(cuDeviceCanAccessPeer, 312, int *, can, int, dev, int, peer) {
  if (device(dev) == NULL || device(peer) == NULL) return CU_INVALID_DEVICE;
  if (can == NULL) return CU_INVALID_VALUE;
  *can = dev != peer;
  return CU_OK;
}

/* Attributes by their number in cuda.h; the rest is 0. */
SIM_API3(cuDeviceGetAttribute, 9, int *, value, int, attribute, int, dev) {
  struct sim_device *d = device(dev);
  if (d == NULL) return CU_INVALID_DEVICE;
  if (value == NULL || attribute <= 0) return CU_INVALID_VALUE;
  static const struct {
    int attribute, value;
  } table[] = {
      {1, 1024},                                   /* threads a block */
      {2, 1024},                                   /* block x, y, z */
      {3, 1024},      {4, 64},    {5, 2147483647}, /* grid x, y, z */
      {6, 65535},     {7, 65535}, {8, 49152},      /* shared memory a block */
      {10, 32},                                    /* threads a warp */
      {12, 65536},                                 /* registers a block */
      {13, 1000000},                               /* clock, kHz */
      {31, 1},                                     /* concurrent kernels */
      {36, 1000000},                               /* memory clock, kHz */
      {37, 4096},                                  /* memory bus, bits */
      {38, 32 << 20},                              /* L2 */
      {39, 2048},                                  /* threads a multiprocessor */
      {40, 2},                                     /* copy engines */
      {41, 1},                                     /* unified addressing */
      {81, 233472},                                /* shared memory a multiprocessor */
      {82, 65536},                                 /* registers a multiprocessor */
      {83, 1},                                     /* managed memory */
      {89, 1},                                     /* concurrent managed access */
      {97, 232448},                                /* shared memory a block, opted in */
      {102, 1},                                    /* virtual memory management */
      {106, 32},                                   /* blocks a multiprocessor */
      {115, 1},                                    /* memory pools */
  };
  *value = 0;
  if (attribute == 16) *value = (int)d->info.multiprocessors;
  if (attribute == 33) *value = dev + 1;
  if (attribute == 75) *value = (int)d->info.major;
  if (attribute == 76) *value = (int)d->info.minor;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (table[i].attribute == attribute) *value = table[i].value;
  }
  return CU_OK;
}
