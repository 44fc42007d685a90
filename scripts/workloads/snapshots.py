#!/usr/bin/env python3
"""Records one memory snapshot with torch and, beside it, counts that torch's own statistics give.

    record.py WORKLOAD FOLDER NAME [LIMIT_MIB]

WORKLOAD: gpt (a training loop), shapes (variable lengths that fragment), big (the same, four times as
large), streams (two streams), graphs (a CUDA graph's pool), leak (losses kept), limited (shapes under a limit,
until it fails or to its end).
The settings come from PYTORCH_CUDA_ALLOC_CONF. Python stacks only, so that files stay small.
"""

import gc
import gzip
import json
import os
import pickle
import random
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import train_gpt  # noqa: E402

MIB = 1 << 20


def gpt(steps=3):
    torch.manual_seed(0)
    model = train_gpt.GPT(4, heads=12, width=768, tokens=512).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    for _ in range(steps):
        inputs = torch.randint(0, train_gpt.VOCABULARY, (4, 512), device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(inputs, inputs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    return model, optimizer


def shapes(rounds=400, scale=4.0):
    """Lengths vary, some tensors stay for long: what fragments the native allocator."""
    rng = random.Random(7)
    kept = []
    for i in range(rounds):
        length = rng.randrange(64, 2048)
        x = torch.empty(int(length * 1024 * scale), dtype=torch.float32, device="cuda")
        y = torch.empty(int(length * 2048 * scale), dtype=torch.float32, device="cuda")
        z = torch.empty(rng.randrange(1, 400_000), dtype=torch.uint8, device="cuda")
        if i % 3 == 0:
            kept.append(torch.empty(int(rng.randrange(200, 900) * 1024 * scale), dtype=torch.float32, device="cuda"))
        if i % 5 == 0:
            kept.append(z)
        if len(kept) > 60:
            del kept[rng.randrange(len(kept) - 10)]
        if i % 90 == 89:
            kept = kept[::2]
        del x, y
    torch.cuda.synchronize()
    return kept


def streams():
    rng = random.Random(3)
    side = torch.cuda.Stream()
    kept = []
    for i in range(300):
        size = rng.randrange(1 << 16, 24 << 20)
        x = torch.empty(size, dtype=torch.uint8, device="cuda")
        with torch.cuda.stream(side):
            side.wait_stream(torch.cuda.current_stream())
            x.fill_(1)
            y = torch.empty(size // 2, dtype=torch.uint8, device="cuda")
            y.fill_(2)
        x.record_stream(side)
        if i % 7 == 0:
            kept.append(y)
        if len(kept) > 12:
            del kept[0]
        del x, y
    torch.cuda.synchronize()
    return kept


def graphs():
    model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(6)]).cuda()
    x = torch.randn(512, 1024, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            model(x).sum().backward()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = model(x).sum()
    for _ in range(5):
        graph.replay()
        model(torch.randn(256, 1024, device="cuda")).sum().backward()
    torch.cuda.synchronize()
    return model, graph, out


def leak(steps=40):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1024)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    history = []
    for _ in range(steps):
        x = torch.randn(512, 1024, device="cuda")
        out = model(x)
        loss = (out**2).mean()
        history.append(loss)  # the leak: it keeps the graph of the whole step
        loss.backward(retain_graph=True)
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return model, history


def limited(limit, rounds):
    """The limit is the process's share of the device: torch fails before the driver does."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit * MIB / total)
    kept, text = [], ""
    try:
        kept = shapes(rounds)
    except torch.OutOfMemoryError as e:
        text = str(e)
    return kept, text


def main():
    workload, folder, name = sys.argv[1:4]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    # Nothing is allocated before: histories that begin late cannot be replayed.
    torch.cuda.init()
    torch.cuda.memory._record_memory_history(stacks="python", max_entries=200_000)
    begin = time.time()
    text = ""
    if limit:
        kept, text = limited(limit, 500)
    else:
        kept = {"gpt": gpt, "shapes": shapes, "big": lambda: shapes(300, 16.0), "streams": streams, "graphs": graphs, "leak": leak}[workload]()
    took = time.time() - begin
    snapshot = torch.cuda.memory._snapshot()
    stats = torch.cuda.memory_stats()
    data = pickle.dumps(snapshot, protocol=4)
    with open(f"{folder}/{name}.pickle.gz", "wb") as f:
        f.write(gzip.compress(data, mtime=0))
    actions = {}
    for e in snapshot["device_traces"][0]:
        actions[e["action"]] = actions.get(e["action"], 0) + 1
    counts = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(0),
        "capacity": torch.cuda.get_device_properties(0).total_memory,
        "conf": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ""),
        "limit": limit * MIB,
        "actions": actions,
        "message": text,
    }
    for key in ("segment.all.current", "segment.all.peak", "segment.all.allocated", "segment.all.freed", "reserved_bytes.all.current",
                "reserved_bytes.all.peak", "allocated_bytes.all.current", "allocated_bytes.all.peak", "requested_bytes.all.current",
                "requested_bytes.all.peak", "inactive_split_bytes.all.current", "num_alloc_retries", "num_ooms", "num_device_alloc",
                "num_device_free", "active_bytes.all.peak"):
        counts[key] = stats.get(key)
    with open(f"{folder}/{name}.json", "w", encoding="utf-8") as f:
        json.dump(counts, f, indent=1)
    print(f"{name:<24} {took:5.1f} s  pickle {len(data) / 1e6:.2f} MB, gz {os.path.getsize(f'{folder}/{name}.pickle.gz') / 1e3:.0f} kB, "
          f"{sum(actions.values())} events, peak reserved {counts['reserved_bytes.all.peak'] / MIB:.0f} MiB, retries {counts['num_alloc_retries']}, "
          f"OOMs {counts['num_ooms']}", flush=True)
    if text:
        print("   ", text.split(" If reserved")[0][:400])
    del kept
    gc.collect()


if __name__ == "__main__":
    main()
