#!/usr/bin/env python3
"""A training program that runs torch.profiler on itself, and what the profiler saw.

    profiled.py run MODE OUT.json       MODE: none cuda both twice schedule graph first
    profiled.py compare PLAIN.json SHARED.json

run does the same steps in each mode; the mode says what torch.profiler records of them (first: it is on
before CUDA is). OUT.json holds, for each session, the counts by name, and how its times lie in the session.
compare holds what a traced run saw (SHARED) against a run without a tracer (PLAIN): the same events, times
inside the session, and durations whose median differs by less than 20 %.
"""

import collections
import json
import os
import statistics
import sys
import tempfile
import time

STEPS = 20
# What CUPTI does by itself, and what depends on time.
UNSTABLE = ("cudaEventQuery", "cudaStreamIsCapturing", "cudaDeviceSynchronize", "cudaGetDriverEntryPoint")


class Session:
    """One use of the profiler."""

    def __init__(self, result):
        self.result = result
        self.begin = time.time_ns()

    def seen(self, profiler):
        end = time.time_ns()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            profiler.export_chrome_trace(path)
            with open(path, encoding="utf-8") as file:
                trace = json.load(file)
        counts = collections.defaultdict(collections.Counter)
        durations = collections.defaultdict(list)
        times = []
        base = int(trace.get("baseTimeNanoseconds", 0)) / 1e3
        for event in trace["traceEvents"]:
            category = event.get("cat")
            if category not in ("kernel", "gpu_memcpy", "gpu_memset", "cuda_runtime", "cuda_driver"):
                continue
            counts[category][event["name"]] += 1
            if category == "kernel":
                durations[event["name"]].append(event["dur"])
                times.append((event["ts"] + base, event["dur"]))
        inside = sum(self.begin / 1e3 - 1000 <= t and t + d <= end / 1e3 + 1000 for t, d in times)
        every = [d for name in durations for d in durations[name]]
        first = min((t for t, _ in times), default=0) - self.begin / 1e3
        last = max((t + d for t, d in times), default=0) - self.begin / 1e3
        session = {
            "counts": {k: dict(v) for k, v in counts.items()},
            "totals": {k: sum(v.values()) for k, v in counts.items()},
            "kernels_inside": inside,
            "first_us": round(first, 1),
            "last_us": round(last, 1),
            "wall_us": round((end - self.begin) / 1e3, 1),
            "median_us": statistics.median(every) if every else 0,
            "sum_us": round(sum(every), 1),
            "zero": sum(d <= 0 for d in every),
            "medians": {name: statistics.median(d) for name, d in durations.items() if len(d) >= STEPS},
        }
        self.result.append(session)
        print({k: v for k, v in session.items() if k not in ("counts", "medians")}, flush=True)
        self.begin = time.time_ns()


def run(mode, out):
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    cuda, both = [ProfilerActivity.CUDA], [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    result = []
    early = None
    if mode == "first":
        early_session = Session(result)
        early = profile(activities=cuda)
        early.__enter__()
    torch.manual_seed(0)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from train_gpt import GPT, VOCABULARY

    model = GPT(4, heads=8, width=512, tokens=256).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True, capturable=mode == "graph")
    inputs = torch.randint(0, VOCABULARY, (2, 256), device="cuda")

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(inputs, inputs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=mode != "graph")
        inputs.copy_(inputs.cpu())
        return loss

    def replay_of(function):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
        return graph.replay

    if mode == "graph":

        def inner():
            with torch.autocast("cuda", torch.bfloat16):
                loss = model(inputs, inputs)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)

        step = replay_of(inner)

    def steps(count=STEPS):
        for _ in range(count):
            step()
        torch.cuda.synchronize()

    if mode != "first":
        steps(5)
    if mode == "first":
        steps(5 + 3 * STEPS)
        early.__exit__(None, None, None)
        early_session.seen(early)
    elif mode == "schedule":
        session = Session(result)
        plan = schedule(wait=2, warmup=2, active=STEPS // 2 - 2, repeat=3)
        with profile(activities=both, schedule=plan, on_trace_ready=session.seen) as profiler:
            for _ in range(3 * STEPS):
                step()
                torch.cuda.synchronize()
                profiler.step()
    elif mode == "none":
        steps(3 * STEPS)
    else:
        sessions = 2 if mode == "twice" else 1
        for _ in range(sessions):
            session = Session(result)
            with profile(activities=both if mode == "both" else cuda) as profiler:
                steps()
            session.seen(profiler)
            steps() if sessions == 2 and len(result) == 1 else None
        steps({1: 2 * STEPS, 2: 0}[sessions])
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"mode": mode, "sessions": result}, file, indent=1)
    print("left", flush=True)


def compare(plain_path, shared_path):
    with open(plain_path, encoding="utf-8") as file:
        plain = json.load(file)["sessions"]
    with open(shared_path, encoding="utf-8") as file:
        shared = json.load(file)["sessions"]
    wrong = []
    if len(plain) != len(shared) or not plain:
        wrong.append(f"{len(shared)} sessions, not {len(plain)}")
    for index, (p, s) in enumerate(zip(plain, shared)):
        print(f"figure session {index}: without {p['totals']} with {s['totals']}")
        print(f"figure session {index}: median kernel without {p['median_us']} us, with {s['median_us']} us")
        for category in sorted(set(p["counts"]) | set(s["counts"])):
            a, b = p["counts"].get(category, {}), s["counts"].get(category, {})
            if category == "gpu_memset":
                # Of graphs that were made before CUPTI was there it cannot tell which memory they set.
                a, b = {"all": sum(a.values())}, {"all": sum(b.values())}
            for name in sorted(set(a) | set(b)):
                if a.get(name, 0) != b.get(name, 0):
                    text = f"session {index}: {category} {name[:90]}: {b.get(name, 0)}, not {a.get(name, 0)}"
                    print(text)
                    if name not in UNSTABLE:
                        wrong.append(text)
        kernels = s["totals"].get("kernel", 0)
        if s["kernels_inside"] != kernels or not kernels:
            wrong.append(f"session {index}: {s['kernels_inside']} of {kernels} kernels lie in the session")
        if s["zero"] > p["zero"]:
            wrong.append(f"session {index}: {s['zero']} kernels without a duration")
        if p["median_us"] and abs(s["median_us"] / p["median_us"] - 1) > 0.2:
            wrong.append(f"session {index}: median {s['median_us']} us, not {p['median_us']} us")
    for text in wrong:
        print("WRONG:", text)
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("run", "compare"):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "compare":
        return compare(sys.argv[2], sys.argv[3])
    run(sys.argv[2], sys.argv[3])
    return 0


if __name__ == "__main__":
    sys.exit(main())
