"""Says itself when it is to be recorded, and counts the kernels that then are: each in-place addition is one.

control.py HOW COUNT.json [--no-sync] [--seconds S]

HOW: profiler (torch.cuda.profiler), nvtx (ranges named "wanted", nested, and others), steps (warpscope_step after
each, of which 4 to 6 are to be recorded), call (warpscope_start and _stop by ctypes), signal (SIGUSR1 and
SIGUSR2 to the agent, which is the parent process), idle (none of it), keep (works for S seconds with tensors
that stay alive).
--no-sync: the GPU is not waited for before recording ends.
"""
import argparse
import ctypes
import json
import os
import signal
import sys
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("how", choices=["profiler", "nvtx", "steps", "call", "signal", "idle", "keep"])
parser.add_argument("count")
parser.add_argument("--no-sync", action="store_true")
parser.add_argument("--seconds", type=float, default=20)
args = parser.parse_args()

PER_STEP = 50
counts = {"inside": 0, "launched": 0}
switching = []  # ms that each switch took
library = ctypes.CDLL(None)  # the preloaded library's functions are in the process
x = None


def add(n, inside):
    for _ in range(n):
        x.add_(1)
    counts["launched"] += n
    counts["inside"] += n if inside else 0


def settle():
    if not args.no_sync:
        torch.cuda.synchronize()


def timed(function, *arguments):
    begun = time.perf_counter()
    result = function(*arguments)
    switching.append((time.perf_counter() - begun) * 1e3)
    return result


def called(name):
    result = timed(getattr(library, name))
    if result != 0:
        sys.exit(f"{name} gave {result}")


def windows(start, stop):
    """Outside, inside and again, three times."""
    for i in range(3):
        add(PER_STEP, False)
        settle()
        start()
        add(PER_STEP * (i + 1), True)
        settle()
        stop()
    add(PER_STEP, False)


def nvtx():
    push, pop = torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop
    push("other")
    add(PER_STEP, False)
    settle()
    timed(push, "wanted")
    add(PER_STEP, True)
    push("wanted")  # inside itself
    add(PER_STEP, True)
    pop()
    push("other")
    add(PER_STEP, True)
    pop()
    settle()
    timed(pop)
    add(PER_STEP, False)
    pop()
    settle()
    handle = timed(torch.cuda.nvtx.range_start, "wanted")
    add(PER_STEP, True)
    settle()
    timed(torch.cuda.nvtx.range_end, handle)
    add(PER_STEP, False)


def steps():
    for step in range(1, 11):
        add(PER_STEP, 4 <= step <= 6)
        settle()
        called("warpscope_step")


def sent(number):
    os.kill(os.getppid(), number)
    time.sleep(0.5)  # nobody answers a signal; the agent takes some milliseconds


held = []


def keep():
    held.extend([torch.empty(3_000_000 + 1000 * i, dtype=torch.uint8, device="cuda") for i in range(40)])
    counts["held"], counts["held_bytes"] = len(held), sum(t.numel() for t in held)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        add(PER_STEP, True)
        passing = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()
        del passing
        time.sleep(0.01)


x = torch.empty(1 << 16, device="cuda")  # whatever is in it: filling it would be a kernel
torch.cuda.synchronize()
if args.how == "profiler":
    windows(lambda: timed(torch.cuda.profiler.start), lambda: timed(torch.cuda.profiler.stop))
elif args.how == "call":
    windows(lambda: called("warpscope_start"), lambda: called("warpscope_stop"))
elif args.how == "signal":
    windows(lambda: sent(signal.SIGUSR1), lambda: sent(signal.SIGUSR2))
elif args.how == "nvtx":
    nvtx()
elif args.how == "steps":
    steps()
elif args.how == "idle":
    begun = time.perf_counter()
    add(200_000, False)
    torch.cuda.synchronize()
    print(json.dumps({"us_a_launch": (time.perf_counter() - begun) * 1e6 / 200_000}))
else:
    keep()
torch.cuda.synchronize()
with open(args.count, "w") as f:
    json.dump(counts, f)
if switching:
    print(f"figure switching the timeline, {args.how}: median {sorted(switching)[len(switching) // 2]:.2f} ms, "
          f"longest {max(switching):.2f} ms of {len(switching)}")
sys.stdout.flush()
if args.how == "keep":
    os._exit(0)  # so that what is held is held at the end
