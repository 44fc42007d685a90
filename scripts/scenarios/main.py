#!/usr/bin/env python3
"""Runs suites of programs with a known truth; scenarios.sh explains the flags."""

import argparse
import concurrent.futures
import datetime
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import judge
import table
import trim
import truth
from launch import Launcher

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Results:
    """The JSON lines so far, one a run, and their end."""

    def __init__(self, folder, suite):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, suite + ".jsonl")
        self.lock = threading.Lock()
        self.lines = {}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                for text in file:
                    try:
                        line = json.loads(text)
                        self.lines[line["key"]] = line
                    except (ValueError, KeyError):
                        continue  # cut short by whatever ended that run

    def add(self, line):
        with self.lock:
            self.lines[line["key"]] = line
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())


def one(launcher, program, results, provenance, changes):
    """Runs a program, and again with each change that is declared; prints its row."""
    run = launcher.run(program, program.key, [], {})
    row = judge.verdict(program, run)
    pairs = []
    for n, fix in enumerate(program.fixes):
        if program.variant not in changes or str(program.variant) not in map(str, fix.get("variants", [1, 2, 3])):
            continue
        values = {k: int(v) if v == int(v) else v for k, v in run["measures"].items()}
        try:
            arguments = [a.format(**values) for a in fix.get("arguments", [])]
        except KeyError as missing:
            pairs.append({"fix": fix["name"], "predicted": None, "measured": None, "off": None, "pass": False, "wrong": f"the program measured no {missing}"})
            continue
        after = launcher.run(program, f"{program.key}.fix{n + 1}", arguments, fix.get("environment", {}))
        found = judge.pair(program, fix, run, after)
        found["run"] = {k: after[k] for k in ("status", "seconds", "measures", "printed")}
        pairs.append(found)
    line = {"key": program.key, "name": program.name, "variant": program.variant, "is": program.what, "guilty": sorted(program.guilty()), "fixture": program.fixture, **row, "pairs": pairs, "run": run, **provenance}
    line["pass"] = row["pass"] and all(p["pass"] for p in pairs)
    results.add(line)
    print(table.line(line), flush=True)


def provenance(warpscope):
    """Where and with what: of each line, since a file of results may be of several days."""
    out = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    for key, command in (
        ("gpu", ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]),
        ("warpscope", [warpscope, "version"]),
    ):
        try:
            out[key] = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.splitlines()[0].strip()
        except (OSError, IndexError, subprocess.TimeoutExpired):
            out[key] = "unknown"
    return out


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--suite")
    parser.add_argument("--folder")  # of a suite that is elsewhere
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--variant", action="append", type=int, default=[])
    parser.add_argument("--changes", action="append", type=int, default=[])  # variants with which changes are tried; all
    parser.add_argument("--results", default="scenario-results")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--trim")
    parser.add_argument("--into")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--warpscope", default=os.environ.get("WARPSCOPE", os.path.join(ROOT, "bin", "warpscope")))
    args = parser.parse_args()
    if args.self_test:
        import selftest

        return selftest.main()
    if args.trim:
        return trim.main(args.trim, args.into or parser.error("--trim needs --into"))
    if not args.suite and not args.folder:
        parser.error("give --suite")
    suite = truth.Suite(args.folder or os.path.join(ROOT, "scripts", "workloads", args.suite))
    programs = suite.programs(args.variant or suite.variants, args.only)
    if args.list:
        for p in programs:
            print(f"{p.key:28} {p.truth:44} {p.what}")
        return 0
    results = Results(args.results, suite.name)
    if not args.table:
        todo = [p for p in programs if args.again or p.key not in results.lines]
        todo.sort(key=lambda p: (p.variant, not p.fixes))  # several turns of one program are not to be the last ones
        launcher = Launcher(args.warpscope, os.path.join(args.results, suite.name))
        where = provenance(args.warpscope)

        def ended(_number, _frame):
            launcher.end()
            os._exit(1)  # runs that were not finished are not in the results

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ended)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for done in [pool.submit(one, launcher, p, results, where, args.changes or suite.variants) for p in todo]:
                done.result()
        print()
    lines = [results.lines[p.key] for p in programs if p.key in results.lines]
    print(table.table(lines))
    failed = len([p for p in programs if not results.lines.get(p.key, {}).get("pass")])
    print(f"{len(programs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        os._exit(1)  # whoever read this has seen enough
    except truth.TruthError as why:
        print(f"scenarios: {why}", file=sys.stderr)
        sys.exit(2)
