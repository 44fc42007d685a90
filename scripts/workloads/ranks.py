#!/usr/bin/env python3
"""For torchrun: every rank uses the one GPU, launches the same kernels, and meets the others (gloo).

    torchrun --nproc-per-node 2 ranks.py FOLDER [N]

Each rank writes its PID and its count to FOLDER/rank-R.json.
"""

import json
import os
import sys

import torch
import torch.distributed as dist


def main():
    folder, times = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    torch.cuda.set_device(0)
    x = torch.ones(1 << 16, device="cuda")
    torch.cuda.synchronize()
    for i in range(times + rank):
        x.cos_()
        if i % 250 == 0:
            torch.cuda.synchronize()
            dist.barrier() if i < times else None
    torch.cuda.synchronize()
    total = x.cpu()
    dist.all_reduce(total)
    with open(os.path.join(folder, f"rank-{rank}.json"), "w", encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "launches": times + rank}, file)
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
