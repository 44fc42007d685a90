#!/usr/bin/env python3
"""A program in which another tool takes CUPTI's buffers (robbed.py thief.so), or that idles (robbed.py)."""

import ctypes
import sys
import time

import torch


def work(seconds, x):
    end = time.monotonic() + seconds
    steps = 0
    while time.monotonic() < end:
        for _ in range(10):
            x = torch.relu(x @ x)
        torch.cuda.synchronize()
        time.sleep(0.005)
        steps += 1
    return steps


def main():
    x = torch.randn(256, 256, device="cuda")
    before = work(1.5, x)
    if len(sys.argv) > 1:
        thief = ctypes.CDLL(sys.argv[1])
        result = thief.take_over()
        during = work(3, x)
        print(f"take_over {result}, {before} and {during} rounds, {thief.finish()} kernels", flush=True)
        return 0 if result == 0 else 1
    time.sleep(5)
    # One kernel for long, while nothing else comes.
    torch.cuda._sleep(3_000_000_000)
    torch.cuda.synchronize()
    work(0.5, x)
    return 0


if __name__ == "__main__":
    sys.exit(main())
