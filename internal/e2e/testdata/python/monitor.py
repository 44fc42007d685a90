"""A profiler in Python that finds CUPTI by ctypes, as PyTorch's newer monitor does; prints what it counted."""

import ctypes
import time

driver = ctypes.CDLL("libcuda.so.1")
cupti = ctypes.CDLL("libcupti.so.13")
buffers, kernels, others = [], 0, 0

REQUEST = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t))
COMPLETE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)


def requested(data, size, most):
    buffers.append(ctypes.create_string_buffer(1 << 16))
    data[0], size[0], most[0] = (ctypes.addressof(buffers[-1]) + 63) & ~63, (1 << 16) - 64, 0


def completed(_context, _stream, data, _size, valid):
    global kernels, others
    record = ctypes.c_void_p()
    while cupti.cuptiActivityGetNextRecord(ctypes.c_void_p(data), ctypes.c_size_t(valid), ctypes.byref(record)) == 0:
        if ctypes.c_uint32.from_address(record.value).value == 10:
            kernels += 1
        else:
            others += 1


def begin():
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    code = b".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry busy() { ret; }\n"
    assert driver.cuInit(0) == 0
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxSetCurrent(context) == 0
    assert driver.cuModuleLoadData(ctypes.byref(module), code) == 0
    assert driver.cuModuleGetFunction(ctypes.byref(kernel), module, b"busy") == 0
    return kernel


def work(kernel, times):
    for _ in range(times):
        assert driver.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, None, None, None) == 0
    assert driver.cuCtxSynchronize() == 0


def main():
    global kernels
    kernel = begin()
    keep = REQUEST(requested), COMPLETE(completed)
    assert cupti.cuptiActivityRegisterCallbacks(*keep) == 0
    work(kernel, 100)
    for _ in range(3):
        kernels = 0
        assert cupti.cuptiActivityEnable(10) == 0
        work(kernel, 500)
        assert cupti.cuptiActivityFlushAll(1) == 0
        assert cupti.cuptiActivityDisable(10) == 0
        print("counted", kernels, others)
        time.sleep(0.001)  # who launches at the moment of a switch may see that launch on either side
        work(kernel, 100)
        time.sleep(0.001)
    assert cupti.cuptiActivityFlushAll(1) == 0


main()
