#!/usr/bin/env python3
"""Tries kernel variants on a GPU: correctness first, then rates, interleaved with PyTorch's libraries.

Usage: tune.py FOLDER PLAN.json [SECONDS]
FOLDER holds the cubins, PLAN a list of cases (the case_* functions of the modules beside this one). Cases run in child processes, many to a
child; a case that crashes, hangs or computes nonsense costs that case alone. Needs python3 with PyTorch; writes a line a case.
"""
import json
import os
import random
import select
import signal
import sys
import time

import torch

import attention
import products
import streams
from gpu import Cuda

folder, plan = sys.argv[1], json.load(open(sys.argv[2]))
deadline = time.time() + float(sys.argv[3] if len(sys.argv) > 3 else 55)
CASES = {name[5:]: f for module in (attention, products, streams) for name, f in vars(module).items() if name.startswith("case_")}


def child(cases, out):
    cuda = Cuda(folder)
    for number, case in cases:
        os.write(out, f"begin {number}\n".encode())
        begin = time.time()
        try:
            torch.manual_seed(random.SystemRandom().randrange(1 << 30))
            text = CASES[case["case"]](cuda, case)
        except Exception as e:
            text = f"FAILED {type(e).__name__}: {(str(e) or '?').splitlines()[0][:160]}"
        os.write(out, f"end {number} {time.time() - begin:.1f}s {text}\n".encode())
        if "FAILED" in text:
            return  # the context may be broken
        torch.cuda.empty_cache()


def main():
    todo = list(enumerate(plan))
    while todo and time.time() < deadline:
        inner, outer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(inner)
            try:
                child(todo, outer)
            finally:
                os._exit(0)
        os.close(outer)
        buffer, current, limit = b"", None, time.time() + 25
        while True:
            ready, _, _ = select.select([inner], [], [], max(0.0, min(limit, deadline) - time.time()))
            data = os.read(inner, 65536) if ready else b""
            if not data:
                break
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                word, number, *text = line.decode().split(" ", 2)
                current = int(number)
                if word == "begin":
                    limit = time.time() + plan[current].get("limit", 8)
                else:
                    limit = time.time() + 8
                    print(f"{plan[current]['label']}: {text[0]}", flush=True)
                    todo = [c for c in todo if c[0] != current]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(inner)
        if todo and (current is None or any(c[0] == current for c in todo)):
            stuck = current if current is not None else todo[0][0]
            print(f"{plan[stuck]['label']}: HUNG or crashed (child ended)", flush=True)
            todo = [c for c in todo if c[0] != stuck]
    for _, case in todo:
        print(f"{case['label']}: not run, out of time", flush=True)


main()
