#!/usr/bin/env python3
"""Compares the trace of late.py with what the program counted.

    late_check.py EVENTS.jsonl TRACE.json COUNT.json

EVENTS.jsonl: `warpscope inspect --events --format jsonl`; TRACE.json: `inspect --json --kernels --copies --memory`.
Prints how long after the loading the first kernel was recorded.
"""

import json
import sys


def main():
    events, trace, count = sys.argv[1:4]
    with open(count, encoding="utf-8") as file:
        count = json.load(file)
    with open(trace, encoding="utf-8") as file:
        trace = json.load(file)
    cosines = copies = copied = segments = 0
    first = None
    with open(events, encoding="utf-8") as file:
        for line in file:
            e = json.loads(line)
            if e["kind"] == "kernel":
                first = e["unix_ns"] if first is None else min(first, e["unix_ns"])
                cosines += "cos_kernel" in e["name"]
            elif e["kind"] == "copy" and e.get("source") == "pinned":
                copies += 1
                copied += e["bytes"]
            elif e["kind"] == "allocation" and e.get("op") == "alloc" and e.get("bytes") == count["segment_bytes"]:
                segments += 1
    failed = 0

    def same(what, traced, counted):
        nonlocal failed
        verdict = "same   " if traced == counted else "DIFFERS"
        failed += traced != counted
        print(f"{verdict} {what}: traced {traced}, counted {counted}")

    same("kernels after the loading", cosines, count["kernels"])
    same("copies", copies, count["copies"])
    same("bytes copied", copied, count["copy_bytes"])
    same("segments", segments, 1)
    unknown = sum(p.get("releases_of_unknown", 0) for p in trace["memory"]["processes"])
    print(f"releases of memory from before: {unknown}")
    failed += unknown < 2
    reasons = " ".join(r for p in trace["processes"] for r in p["reasons"])
    print(f"reasons: {reasons}")
    failed += "already" not in reasons
    if first is None:
        print("no kernel was recorded")
        return 1
    missed = sum(t < first for t in count["first_launches_unix_ns"])
    print(f"figure the first kernel recorded began {(first - count['loaded_unix_ns']) / 1e6:.1f} ms after dlopen was called, "
          f"which took {count['load_ms']:.1f} ms; {missed} launches were made before it")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
