#!/usr/bin/env python3
"""Kills a traced program at random moments and measures what the trace lacks of what it had done.

    kills.py WARPSCOPE TIMES MODE PROGRAM ARGUMENTS… TALLY

PROGRAM writes TALLY as endless.cu does. For each kill: the trace must be readable, the status that of the kill, and
hold every allocation. Lost is the time between the end of the last kernel that was recorded and the last
moment at which the program knew of a kernel's end, and how many kernels that are. Prints medians and worst.
"""

import json
import os
import random
import signal
import statistics
import struct
import subprocess
import sys
import time


def tally(path):
    """PID, launches, ended, ended_at, allocations; None while the program is not there yet."""
    try:
        with open(path, "rb") as file:
            words = struct.unpack("5Q", file.read(40))
    except (FileNotFoundError, struct.error):
        return None
    return words if words[0] and words[2] else None


def last_end(warpscope, trace, start, until):
    """The end of the last recorded kernel, ns since 1970; kernels are looked for in the last seconds first."""
    for seconds in (1.0, 4.0, None):
        command = [warpscope, "inspect", "--events", "--format", "jsonl", trace]
        if seconds is not None:
            command += ["--from", f"{max(0, (until - start) / 1e9 - seconds):.3f}s"]
        ends = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if '"kind":"kernel"' in line:
                    event = json.loads(line)
                    ends.append(event["unix_ns"] + event.get("duration_ns", 0))
        if ends:
            return max(ends)
    return None


def one(warpscope, program, path):
    trace = "kill.wscope"
    if os.path.exists(path):
        os.remove(path)
    with open("kill.log", "w", encoding="utf-8") as log:
        run = subprocess.Popen([warpscope, "run", "--force", "-o", trace, "--", *program], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not (begun := tally(path)):
            if run.poll() is not None or time.monotonic() > deadline:
                run.kill()
                raise SystemExit(f"the program did not start; see {os.getcwd()}/kill.log")
            time.sleep(0.01)
        known = time.time_ns()
        time.sleep(random.uniform(0.7, 4.0))
        os.kill(begun[0], signal.SIGKILL)
        status = run.wait(timeout=60)
    _, launches, ended, ended_at, allocations = tally(path)
    if status not in (137, -signal.SIGKILL):
        raise SystemExit(f"exit status {status}, that of SIGKILL was to be expected")
    text = subprocess.run([warpscope, "inspect", "--json", "--kernels", "--memory", trace], stdout=subprocess.PIPE, check=True).stdout
    seen = json.loads(text)
    general = json.loads(subprocess.run([warpscope, "inspect", "--json", trace], stdout=subprocess.PIPE, check=True).stdout)
    kernels = seen["kernels"]["all"]["count"]
    traced = sum(
        s["allocations"] for p in seen["memory"]["processes"] for t in p["totals"] for s in t["spaces"] if s["space"] == "device"
    )
    # The runtime may allocate for itself; what the program had counted must be there, and one call may have been between.
    if traced < allocations:
        raise SystemExit(f"{allocations - traced} of {allocations} allocations are lost")
    end = last_end(warpscope, trace, general["range"]["start_unix_ns"], ended_at)
    if end is None:
        end = known  # none at all: everything since it was first seen at work
    return max(0.0, (ended_at - end) / 1e6), max(0, ended - kernels), launches, allocations


def main():
    if len(sys.argv) < 6:
        print(__doc__, file=sys.stderr)
        return 2
    warpscope, times, mode, program = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    seed = int(os.environ.get("SEED", time.time_ns() % 1000000))
    random.seed(seed)
    rows = []
    for i in range(times):
        rows.append(one(warpscope, program, program[-1]))
        print(f"{mode} {i}: {rows[-1][0]:.0f} ms, {rows[-1][1]} of {rows[-1][2]} kernels lost, {rows[-1][3]} allocations all there", flush=True)
    lost = [row[0] for row in rows]
    kernels = [row[1] for row in rows]
    print(
        f"figure {mode}, {times} SIGKILLs at random moments (seed {seed}): lost of the timeline median {statistics.median(lost):.0f} ms, "
        f"worst {max(lost):.0f} ms; kernels median {statistics.median(kernels):.0f}, worst {max(kernels)}; no allocation"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
