#!/usr/bin/env python3
"""Runs the benchmark, workload by workload.

    conduct.py --results DIR --work DIR --bin DIR [--limit SECONDS] [--only KEY,…] [--again]

All processes of all workloads are started at once and import what they need; those of a wave are built together; then
each workload has the GPU for its share of the time. Appends to DIR/overhead.jsonl; workloads that it holds already are
not run again, unless --again asks for more of them. overhead.sh calls this.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import plan
from group import Group
from processes import Tools, forget

FINISH_SECONDS = 6  # to end a workload's processes and read their traces
BUILD_SECONDS = 12  # of a wave
LEAST = 10  # seconds that are worth a workload


class Results:
    """The JSON lines so far, and their end."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "overhead.jsonl")

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

    def done(self):
        return {line["workload"] for line in self.lines() if line["is"] == "done"}

    def runs(self):
        return sum(line["is"] == "environment" for line in self.lines())

    def add(self, lines):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


def environment(tools, run):
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
        "run": run,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "gpu": name,
        "driver": driver,
        "warpscope": "".join(version.stdout.strip().splitlines()[:1]),
        "python": sys.version.split()[0],
        "processors": len(os.sched_getaffinity(0)),
    }


class Conductor:
    """Knows how much time is left, and who needs how much of it."""

    def __init__(self, tools, results, limit):
        self.tools, self.results = tools, results
        self.begin = time.monotonic()
        self.deadline = self.begin + limit
        self.run = results.runs() + 1

    def say(self, text):
        print(f"[{time.monotonic() - self.begin:4.0f} s] {text}", flush=True)

    def keep(self, group):
        for line in group.lines:
            line["run"] = self.run
        self.results.add(group.lines)
        group.lines = []

    def all(self, workloads):
        self.results.add([environment(self.tools, self.run)])
        groups = []
        try:
            groups += [Group(self.tools, w) for w in workloads]
            self.waves(groups)
        finally:
            for group in groups:
                group.abandon()

    def waves(self, groups):
        for group in groups:
            group.imported()
        self.say(f"{sum(len(g.processes) for g in groups)} processes are there")
        waves = sorted({g.workload.wave for g in groups})
        left = list(groups)
        for i, wave in enumerate(waves):
            members = [g for g in groups if g.workload.wave == wave]
            for group in members:
                group.begin_build()
            for group in members:
                group.built()
            self.say(f"wave {wave} is built")
            for group in members:
                later = len(left) * FINISH_SECONDS + (len(waves) - 1 - i) * BUILD_SECONDS
                seconds = self.deadline - time.monotonic() - later
                seconds *= group.workload.weight / sum(g.workload.weight for g in left)
                left.remove(group)
                self.one(group, seconds)

    def one(self, group, seconds):
        if group.processes and seconds >= min(LEAST, 1.4 * group.workload.weight):
            self.say(f"{group.workload.title}: {seconds:.0f} s")
            try:
                group.run(seconds)
            except (RuntimeError, OSError) as why:
                group.note("refused", process=group.workload.key, kind="all", why=str(why))
                self.say(f"broke off: {why}")
            self.keep(group)
        group.finish()
        self.keep(group)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--bin", required=True, help="folder with warpscope and overhead/libbare.so")
    parser.add_argument("--limit", type=float, default=470, help="seconds for everything")
    parser.add_argument("--only", help="keys of workloads, with commas between")
    parser.add_argument("--again", action="store_true", help="also those that are there")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tools = Tools(os.path.abspath(args.bin), os.path.abspath(args.work))
    forget(tools)
    results = Results(args.results)
    done = set() if args.again else results.done()
    wanted = args.only.split(",") if args.only else [w.key for w in plan.WORKLOADS if not w.extra]
    unknown = set(wanted) - {w.key for w in plan.WORKLOADS}
    if unknown:
        parser.error(f"no workload is called {', '.join(sorted(unknown))}")
    workloads = [w for w in plan.WORKLOADS if w.key in wanted and w.key not in done]
    if not workloads:
        print("all of it is there")
        return 0
    Conductor(tools, results, args.limit).all(workloads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
