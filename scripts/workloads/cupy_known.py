#!/usr/bin/env python3
"""A CuPy program whose launches are known: one compiled kernel, run N times, copies, and CuPy's own memory pool.

    cupy_known.py COUNT.json [N]
"""

import json
import sys

import cupy
import numpy

COPIES = 23


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 517
    known = cupy.RawKernel(
        'extern "C" __global__ void known_kernel(float *x, int n) {'
        " int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) x[i] = x[i] * 1.0001f + 0.5f; }",
        "known_kernel",
    )
    x = cupy.empty(1 << 20, dtype=cupy.float32)
    host = numpy.ones(1 << 20, dtype=numpy.float32)
    for _ in range(COPIES):
        x.set(host)
    for _ in range(times):
        known(((1 << 20) // 256,), (256,), (x, 1 << 20))
    kept = [cupy.empty(50 << 20, dtype=cupy.uint8) for _ in range(7)]
    cupy.cuda.Device().synchronize()
    pool = cupy.get_default_memory_pool()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(
            {
                "source": f"its own loop; the memory pool of CuPy {cupy.__version__}",
                "launches": times,
                "copies": COPIES,
                "copy_bytes": COPIES * host.nbytes,
                "pool_bytes": pool.total_bytes(),
                "kept": len(kept),
            },
            file,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
