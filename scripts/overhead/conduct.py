#!/usr/bin/env python3
"""Runs parts of the benchmark, session by session.

    conduct.py --part N --results DIR --work DIR --bin DIR [--quick] [--seconds S]

Appends to DIR/overhead.jsonl; sessions that it holds already are not run again. overhead.sh calls this.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import plan
from processes import Tools
from session import Session

# --quick: one session of this share of a part's time, of shorter windows.
QUICK_SHARE = 0.24
QUICK_WINDOW = 0.6
# A session is not begun with less of its time than this.
WORTH = 0.6


class Results:
    """The JSON lines so far, and their end."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "overhead.jsonl")
        self.done = {}  # sessions by part
        for line in self.lines():
            if line["is"] == "session":
                self.done[line["part"]] = self.done.get(line["part"], 0) + 1

    def lines(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                for text in file:
                    try:
                        yield json.loads(text)
                    except ValueError:
                        continue  # cut short by whatever ended that run
        except FileNotFoundError:
            return

    def add(self, lines):
        """A session's lines at once: half a session is none."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


def run_part(args, tools, results, part, seconds):
    """Runs the sessions of a part that are missing; false when the time was over before the last."""
    wanted = 1 if args.quick else max(1, min(part.sessions, int(seconds / part.least)))
    deadline = time.monotonic() + seconds
    length = seconds / wanted
    print(f"== {part.title} ({part.name}): {results.done.get(part.key, 0)} of {wanted} sessions there", flush=True)
    failures = 0
    while results.done.get(part.key, 0) < wanted and failures < 2:
        left = deadline - time.monotonic()
        if left < length * WORTH:
            return False
        session = Session(
            tools, part, results.done.get(part.key, 0) + 1, part.window * (QUICK_WINDOW if args.quick else 1)
        )
        try:
            session.run(min(length, left))
        except RuntimeError as why:
            failures += 1
            print(f"   a session broke off: {why}", flush=True)
            continue
        results.add(session.lines)
        results.done[part.key] = results.done.get(part.key, 0) + 1
    return results.done.get(part.key, 0) >= wanted


def environment(tools):
    """What the figures were taken with."""
    smi = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(smi, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    except OSError:
        gpu = []
    name, _, driver = gpu[0].partition(", ") if gpu else ("", "", "")
    version = subprocess.run([tools.warpscope, "version"], capture_output=True, text=True, check=False)
    return {
        "is": "environment",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "gpu": name,
        "driver": driver,
        "warpscope": "".join(version.stdout.strip().splitlines()[:1]),
        "python": sys.version.split()[0],
        "processors": len(os.sched_getaffinity(0)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, required=True, choices=sorted(plan.PARTS))
    parser.add_argument("--results", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--bin", required=True, help="folder with warpscope and overhead/libbare.so")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=int, help="time for the whole part")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    tools = Tools(os.path.abspath(args.bin), os.path.abspath(args.work))
    results = Results(args.results)
    results.add([environment(tools)])
    parts = plan.PARTS[args.part]
    share = args.seconds / sum(p.seconds for p in parts) if args.seconds else 1
    complete = True
    for part in parts:
        seconds = part.seconds * share
        if args.quick and not args.seconds:
            seconds = max(seconds * QUICK_SHARE, part.least)
        complete = run_part(args, tools, results, part, seconds) and complete
    if not complete:
        print("not complete: run the same again, it goes on from here", flush=True)
    return 0 if any(part.key in results.done for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
