#!/usr/bin/env python3
"""Runs the benchmark's machinery on the simulated device: overhead.sh --dry-run.

Its times mean nothing and none is looked at. What is checked: every process starts, is switched and ends, every state's
records arrive, traces hold what ran, a second run makes no session again, and the table has all its rows.

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

LITTLE = ("little", "launches", {"launches": 20})
PARTS = [
    plan.part("capture", LITTLE, [*plan.CAPTURE, plan.NODE], sessions=1, least=1, seconds=14, window=0.05),
    plan.part("mixed", LITTLE, [plan.NEVER, plan.MIXED], sessions=1, least=1, seconds=5, window=0.05),
    plan.part("alone, none", LITTLE, [plan.Process("none", ("on",))], sessions=1, least=1, seconds=6, window=0.2),
    plan.part("late", LITTLE, plan.LATE, sessions=1, least=1, seconds=18, window=0.05),
    plan.part(
        "capture",
        ("memory", "allocations", {"allocations": 50}),
        [plan.NEVER, plan.CALLBACKS, plan.LEDGER],
        sessions=1,
        least=1,
        seconds=5,
        window=0.05,
    ),
]
# What must be there, by the table's words.
ROWS = (
    "ledger / never attached",
    "ledger, attached while running / before",
    "timeline that was stopped, attached while running / before",
    "nothing attached (control), attached while running / before",
    "bare consumer of the same kinds as timeline --api=none / off",
    "bare consumer of the same kinds as timeline --api=launch / off",
    "timeline --api=none / off",
    "timeline --api=none / bare consumer",
    "timeline --api=launch / off",
    "timeline --api=launch / bare consumer",
    "timeline --graphs=node / off",
)


def run(folder, binaries):
    plan.PARTS = {1: PARTS}
    sys.argv = [
        "conduct.py",
        "--part",
        "1",
        "--results",
        folder,
        "--work",
        os.path.join(folder, "work"),
        "--bin",
        binaries,
    ]
    if conduct.main() != 0:
        raise SystemExit("nothing was measured")


def check(folder):
    workloads, _ = analysis.read(conduct.Results(folder).lines())
    little = workloads[PARTS[0].workload]
    wrong = []
    for (process, state, why), _ in little.refused.items():
        if (process, state) != ("mixed", "warpscope") or "went to the bare consumer" not in why:
            wrong.append(f"left out: {process}, {state}: {why}")
    there = {label for label, _, _ in table.rows(little)}
    wrong += [f"no row {row!r}" for row in ROWS if row not in there]
    if not little.has("none", "on"):
        wrong.append("no windows of a timeline that is always on")
    if little.kernels_per_step() != 20:
        wrong.append(f"{little.kernels_per_step()} kernels a step were counted, 20 ran")
    for end in little.ends:
        if end["status"] != 0:
            wrong.append(f"{end['process']} ended with status {end['status']}")
    if not any(label.startswith("empty callbacks") for label, _, _ in table.rows(workloads[PARTS[-1].workload])):
        wrong.append("no row of callbacks on allocation calls")
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
        before = len(list(conduct.Results(folder).lines()))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            run(folder, binaries)
        if len(list(conduct.Results(folder).lines())) != before + 1 or "1 of 1 sessions there" not in said.getvalue():
            wrong.append("a second run made sessions again")
        sys.argv = ["table.py", folder]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = table.main()
        if status != 0 or "SIMULATED DEVICE" not in said.getvalue():
            wrong.append("the table does not say that the device is simulated")
    for line in wrong:
        print(f"WRONG: {line}")
    print("dry run: " + (f"{len(wrong)} wrong" if wrong else "ok"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
