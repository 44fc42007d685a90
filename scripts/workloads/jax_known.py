#!/usr/bin/env python3
"""A JAX program whose launches are known: one fused kernel, run N times. Writes what it did and what JAX says of
its own memory.

    jax_known.py COUNT.json [N]
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy

SCRATCH = 19


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 517

    @jax.jit
    def known_step(x):
        return jnp.sin(x) * 1.0001 + 0.5

    @jax.jit
    def known_matmul(a):
        return a @ a

    x = jax.device_put(numpy.ones(1 << 20, dtype=numpy.float32))
    compiled = known_step.lower(x).compile()
    for _ in range(times):
        x = compiled(x)
    a = jax.device_put(numpy.ones((512, 512), dtype=numpy.float32))
    product = known_matmul.lower(a).compile()
    for _ in range(SCRATCH):
        b = product(a)
    b.block_until_ready()
    x.block_until_ready()
    stats = jax.devices()[0].memory_stats() or {}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(
            {
                "source": f"its own loop; memory_stats() of JAX {jax.__version__}",
                "platform": jax.devices()[0].platform,
                "launches": times,
                "matmuls": SCRATCH,
                "bytes_limit": stats.get("bytes_limit", 0),
                "pool_bytes": stats.get("pool_bytes", 0),
                "peak_bytes_in_use": stats.get("peak_bytes_in_use", 0),
            },
            file,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
