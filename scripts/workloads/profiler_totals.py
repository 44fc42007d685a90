#!/usr/bin/env python3
"""torch.profiler's own totals of a GPT's steps, to hold warpscope's account against.

    warpscope run -o gpt.wscope -- profiler_totals.py OUT.json TRACE.json.gz [--steps N]

Trains the model of `train_gpt.py gpu`. torch.profiler records the steps after the warm-up: OUT.json has, for each kernel, copy
and fill, how often it ran and for how long a step, by key_averages(), and how long a step took by the clock; TRACE.json.gz is its
trace of the same steps. Under warpscope both see the same work.
"""

import argparse
import json
import time

import torch
from train_gpt import GPT, VOCABULARY

WARM_UP = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("trace")
    parser.add_argument("--steps", type=int, default=25)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = GPT(12, heads=12, width=768, tokens=1024).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    inputs, targets = (torch.randint(0, VOCABULARY, (8, 1024), device="cuda") for _ in range(2))

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        began = time.perf_counter()
        for _ in range(args.steps):
            step()
        torch.cuda.synchronize()
        wall = (time.perf_counter() - began) / args.steps
    profiler.export_chrome_trace(args.trace)
    rows = [
        {"name": e.key, "calls": e.count / args.steps, "ms": e.self_device_time_total / args.steps / 1e3}
        for e in profiler.key_averages()
        if e.device_type == torch.autograd.DeviceType.CUDA and not getattr(e, "is_user_annotation", False)
    ]
    rows.sort(key=lambda row: -row["ms"])
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump({"steps": args.steps, "wall_ms": wall * 1e3, "gpu_ms": sum(r["ms"] for r in rows), "rows": rows}, file)
    print(f"{args.steps} steps of {wall * 1e3:.2f} ms, {sum(r['ms'] for r in rows):.2f} ms of GPU time in {len(rows)} kernels, copies and fills")


if __name__ == "__main__":
    main()
