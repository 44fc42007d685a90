#!/usr/bin/env python3
"""A PyTorch program that launches a known number of kernels and ends as it is told.

    ends.py HOW COUNT.json    return, exit (status 7), _exit (7), term, segv, abort, kill: by that signal to itself
"""

import json
import os
import signal
import sys

import torch

KERNELS = 1500
SIGNALS = {"term": signal.SIGTERM, "segv": signal.SIGSEGV, "abort": signal.SIGABRT, "kill": signal.SIGKILL}


def main():
    how, out = sys.argv[1:3]
    x = torch.ones(1 << 20, device="cuda")
    for _ in range(KERNELS):
        x.cos_()
    torch.cuda.synchronize()
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"launches": KERNELS}, file)
    if how in SIGNALS:
        os.kill(os.getpid(), SIGNALS[how])
    if how == "_exit":
        os._exit(7)
    if how == "exit":
        sys.exit(7)
    return 0


if __name__ == "__main__":
    sys.exit(main())
