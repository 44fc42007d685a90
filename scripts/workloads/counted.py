#!/usr/bin/env python3
"""Runs a Python program under torch.profiler and writes down what ran on the GPU: the independent count.

    counted.py OUT.json PROGRAM.py ARGUMENTS...

The profiler is on from before the program's first CUDA call to after its last, so that its counts are
those of the whole program. The program itself is not changed. OUT.json holds the number of kernels by (demangled)
name, copies and sets by kind with their bytes, and where the figures come from.
"""

import collections
import datetime
import json
import os
import platform
import runpy
import sys
import tempfile

import torch
from torch.profiler import ProfilerActivity, profile


def count(events):
    """Adds up the GPU events of a Chrome trace."""
    kernels = collections.Counter()
    copies = collections.defaultdict(lambda: {"count": 0, "bytes": 0})
    sets = {"count": 0, "bytes": 0}
    busy = 0.0
    for event in events:
        category = event.get("cat")
        if category == "kernel":
            kernels[event["name"]] += 1
            busy += event.get("dur", 0)
        elif category == "gpu_memcpy":
            row = copies[event["name"].removeprefix("Memcpy ")]
            row["count"] += 1
            row["bytes"] += int(event.get("args", {}).get("bytes", 0))
        elif category == "gpu_memset":
            sets["count"] += 1
            sets["bytes"] += int(event.get("args", {}).get("bytes", 0))
    return {
        "kernels": sum(kernels.values()),
        "kernel_time_us": round(busy, 3),
        "copies": sum(row["count"] for row in copies.values()),
        "sets": sets["count"],
        "kernels_by_name": dict(kernels.most_common()),
        "copies_by_kind": dict(sorted(copies.items())),
        "set_bytes": sets["bytes"],
    }


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    out, program = sys.argv[1], sys.argv[2]
    sys.argv = sys.argv[2:]
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8") as file:
            trace = json.load(file)
    result = {
        "source": f"torch.profiler {torch.__version__}, CUDA activity, a separate run of the same program",
        "program": [os.path.basename(program), *sys.argv[1:]],
        "gpu": torch.cuda.get_device_name(0),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        **count(trace["traceEvents"]),
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
