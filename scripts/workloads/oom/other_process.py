"""Another program holds most of the GPU: what this one asks for is modest.

The other one takes its memory with the driver's own call, and is not traced: it is somebody else's.
"""

import os
import subprocess
import sys
import time

import torch

import card

HOLD = """
import ctypes, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
context, memory, device = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_int()
def check(status):
    if status:
        sys.exit(f"the other program: CUDA error {status}")
check(cuda.cuInit(0))
check(cuda.cuDeviceGet(ctypes.byref(device), 0))
check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
check(cuda.cuCtxSetCurrent(context))
check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(int(sys.argv[1]))))
print("held", flush=True)
sys.stdin.read()  # until the program that began it ends
"""
TRACING = ("LD_PRELOAD", "CUDA_INJECTION64_PATH", "PYTHONPATH")


def main():
    args = card.arguments()
    card.turn()
    torch.manual_seed(args.variant)
    total = torch.cuda.get_device_properties(0).total_memory
    share, width = ((0.62, 8192), (0.8, 4096), (0.55, 6144))[args.variant - 1]
    clean = {k: v for k, v in os.environ.items() if k not in TRACING and not k.startswith("WARPSCOPE")}
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(int(share * total))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean)
    if other.stdout.readline().strip() != b"held":
        raise SystemExit("the other program has no memory")
    time.sleep(1.5)  # until it shows in the readings of the GPU
    model = []
    try:
        while True:
            model.append(torch.nn.Linear(width, width, bias=False, device="cuda"))
    finally:
        time.sleep(0.3)
        other.kill()
        other.wait()


main()
