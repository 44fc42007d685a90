#!/usr/bin/env python3
"""Runs the benchmark's machinery on the simulated device: overhead.sh --dry-run.

Its times mean nothing and none is looked at. What is checked: every process starts, is attached to, is switched and ends,
every state's records arrive, traces hold what ran, a second run makes no workload again, and the table has all its rows.

    dryrun.py BIN
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import analysis
import conduct
import plan
import table

CASES = {"allocations, 2 frames": {"depth": 2, "ordered": False}, "allocations, 9 frames": {"depth": 9, "ordered": False}}
WORKLOADS = [
    plan.Workload("launch", "launches", "launches", {"never": 2, "ours": 2, "nsys": 1}, 8, options={"launches": 20}, sustain=1),
    plan.Workload(
        "whole", "always on", "launches", {"never": 1, "whole": 1, "barewhole": 1}, 3, options={"launches": 20}
    ),
    plan.Workload(
        "allocations",
        "allocations",
        "allocations",
        {"never": 2, "ours": 1},
        4,
        2,
        options={"allocations": 50},
        cases=CASES,
        timeline=False,
    ),
    plan.Workload(
        "parts",
        "callbacks",
        "allocations",
        {"ours": 1},
        2,
        2,
        options={"allocations": 50},
        timeline=False,
        parts=True,
    ),
    plan.Workload("budget", "budget", "launches", {"budget": 1}, 3, 2, options={"launches": 20}, record=True),
]
# What must be there, by the table's words.
ROWS = {
    "launch": (
        "ledger / never attached",
        "CUPTI loaded, nothing on / never attached",
        "ledger / CUPTI loaded, nothing on",
        "control: never attached / others, as for the timeline",
        "timeline, stopped / never attached",
        "bare consumer / never attached",
        "timeline --api=none / bare consumer",
        "timeline --api=none / off",
        "timeline --api=launch / off",
    ),
    "whole": ("timeline, whole graphs / bare consumer",),
    "parts": (
        "its callbacks without those for failures alone / none",
        "one callback that is never called / none",
    ),
    'allocations {"depth": 2, "ordered": false}': ("ledger / never attached", "ledger / CUPTI loaded, nothing on"),
}


def run(folder, binaries):
    plan.WORKLOADS[:] = WORKLOADS
    words = ["--results", folder, "--work", os.path.join(folder, "work"), "--bin", binaries, "--limit", "82"]
    sys.argv = ["conduct.py", *words]
    if conduct.main() != 0:
        raise SystemExit("nothing was measured")


def check(folder):
    workloads, _ = analysis.read(conduct.Results(folder).lines())
    means, _ = analysis.read(conduct.Results(folder).lines(), by="mean")
    wrong = []
    for key, w in workloads.items():
        w.means = means[key]
        wrong += [f"{key}: left out: {kind}: {why}" for kind, why in w.refused if kind != "nsys"]
        there = {label for label, _, _ in table.rows(w)}
        wrong += [f"{key}: no row {row!r}" for row in ROWS.get(key, ()) if row not in there]
        for end in w.ends:
            if end["status"] != 0:
                wrong.append(f"{end['process']} ended with status {end['status']}")
    wrong += [f"no workload {key}" for key in ROWS if key not in workloads]
    launch = workloads["launch"]
    if launch.kernels_per_step() != 20:
        wrong.append(f"{launch.kernels_per_step()} kernels a step were counted, 20 ran")
    if workloads["parts"].calls != {"cuMemAlloc_v2": 200, "cuMemFree_v2": 200}:
        wrong.append(f"callbacks in a step: {workloads['parts'].calls}")
    if not launch.agents:
        wrong.append("nothing of the agent")
    if not any("budget_span" in end for end in workloads["budget"].ends):
        wrong.append("nothing of the budget")
    return wrong


def main():
    binaries = os.path.abspath(sys.argv[1])
    if "bin/sim" not in os.environ.get("LD_LIBRARY_PATH", ""):
        # The dynamic linker reads it at the start only.
        environment = {**os.environ, "LD_LIBRARY_PATH": os.path.join(binaries, "sim")}
        return subprocess.call([sys.executable, os.path.abspath(__file__), binaries], env=environment)
    with tempfile.TemporaryDirectory() as folder:
        run(folder, binaries)
        wrong = check(folder)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            run(folder, binaries)
        if "all of it is there" not in said.getvalue():
            wrong.append("a second run made workloads again")
        sys.argv = ["table.py", folder]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = table.main()
        if os.environ.get("SHOW"):
            print(said.getvalue())
        if status != 0 or "SIMULATED DEVICE" not in said.getvalue():
            wrong.append("the table does not say that the device is simulated")
    for line in wrong:
        print(f"WRONG: {line}")
    print("dry run: " + (f"{len(wrong)} wrong" if wrong else "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
