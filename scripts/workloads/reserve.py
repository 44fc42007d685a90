#!/usr/bin/env python3
"""Takes and gives back memory through PyTorch's allocator, and writes down what torch itself says of it.

    reserve.py COUNT.json [--too-much]

COUNT.json: segments torch asked the driver for, and the most bytes it had reserved. --too-much also asks for
more than the GPU has, and survives it.
"""

import json
import sys

import torch


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.manual_seed(0)
    kept = []
    for round_ in range(4):
        for size in (1 << 20, 3 << 20, 24 << 20, 200 << 20):
            kept.append(torch.zeros(size * (round_ + 1), dtype=torch.uint8, device="cuda"))
        kept = kept[::2]
    torch.cuda.synchronize()
    failed = 0
    if "--too-much" in sys.argv:
        try:
            torch.empty(torch.cuda.get_device_properties(0).total_memory + (1 << 30), dtype=torch.uint8, device="cuda")
        except torch.OutOfMemoryError:
            failed = 1
        if not failed:
            print("an allocation of more than the GPU has did not fail", file=sys.stderr)
            return 1
    stats = torch.cuda.memory_stats()
    result = {
        "source": f"torch.cuda.memory_stats() of torch {torch.__version__}",
        "segments_allocated": stats.get("segment.all.allocated", 0),
        "peak_reserved": stats.get("reserved_bytes.all.peak", torch.cuda.max_memory_reserved()),
        "retries": stats.get("num_alloc_retries", 0),
        "failed": failed,
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(result, file)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
