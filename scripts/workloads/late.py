#!/usr/bin/env python3
"""A PyTorch program that loads the capture library while it runs, and says what it did after that.

    late.py LIBRARY COUNT.json [SECONDS]

Before: memory is taken, kernels run. Then the library is loaded with ctypes, and kernels are launched
without a pause for SECONDS (default 1.5), so that the trace shows when recording began. After: a known number of kernels
of another name, copies, one more segment, and the release of what was taken before. COUNT.json has these
figures and the moment of the loading, in ns since 1970.
"""

import ctypes
import json
import sys
import time

import torch

KERNELS = 2000
COPIES = 37


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    library, out = sys.argv[1], sys.argv[2]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 1.5
    x = torch.ones(1 << 20, device="cuda")
    before = [torch.empty(300 << 20, dtype=torch.uint8, device="cuda") for _ in range(2)]
    for _ in range(200):
        x.sin_()
    torch.cos(x)
    host = torch.ones(1 << 18, pin_memory=True)
    y = torch.empty(1 << 18, device="cuda")
    y.copy_(host)
    torch.cuda.synchronize()

    loaded = time.time_ns()
    ctypes.CDLL(library)
    returned = time.time_ns()
    launched = []  # when each of the first launches began
    while time.time_ns() < loaded + seconds * 1e9:
        if len(launched) < 100000:
            launched.append(time.time_ns())
        x.sin_()
        torch.cuda.synchronize()

    for _ in range(KERNELS):
        x.cos_()
    for _ in range(COPIES):
        y.copy_(host, non_blocking=True)
    torch.cuda.synchronize()
    del before
    torch.cuda.empty_cache()
    after = torch.empty(700 << 20, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    with open(out, "w", encoding="utf-8") as file:
        json.dump(
            {
                "loaded_unix_ns": loaded,
                "load_ms": (returned - loaded) / 1e6,
                "first_launches_unix_ns": launched[:1000],
                "kernels": KERNELS,
                "copies": COPIES,
                "copy_bytes": COPIES * host.numel() * 4,
                "segment_bytes": after.numel(),
            },
            file,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
