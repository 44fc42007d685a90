#!/usr/bin/env python3
"""Starts N child processes that each use the GPU and leave without running exit handlers (os._exit), as
workers of data loaders and of multiprocessing do. The parent uses no GPU.

    children.py N
"""

import multiprocessing
import os
import sys


def child():
    import torch

    x = torch.ones(1 << 20, device="cuda")
    for _ in range(500):
        x = x * 1.0001 + 1
    torch.cuda.synchronize()
    os._exit(0)


def main():
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=child) for _ in range(int(sys.argv[1]))]
    for process in children:
        process.start()
    for process in children:
        process.join()
    return max(process.exitcode for process in children)


if __name__ == "__main__":
    sys.exit(main())
