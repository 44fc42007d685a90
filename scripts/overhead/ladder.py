#!/usr/bin/env python3
"""What each part of CUPTI costs a launch, one after another.

    ladder.py inside BIN SECONDS [KINDS…]     in one process, in shuffled blocks: what is added while it is on
    ladder.py residue BIN SECONDS [KINDS…]    each in processes of its own: what is left when it is off again

KINDS is what libbare.so takes: CUpti_ActivityKind numbers, "launch" (the calls of `--api launch`) and
"allocations" (empty callbacks), joined by commas. The launch is that of an empty kernel from a loop in C,
many in a row and then one wait; its ns are the wait's as well. BIN holds libbare.so and libcalls.so
(`overhead.sh --build`). Nothing else may use the GPU meanwhile.

`residue` runs each variant in fresh processes, in shuffled rounds. A process launches before CUPTI is
loaded ("never"), when it is loaded with nothing enabled ("loaded"), while the kinds are on ("on"), when
they are off again ("off"), after cuptiFinalize ("finalised"), and the same three a second time ("again on", …); the
figures are ratios to its own "never". A variant that begins with "early:" enables its kinds before there is a context,
as an injected library does; it has no "never", and its ratios are to its own "finalised".
"""

import argparse
import ctypes
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time

import captures
import stats

LAUNCHES = 3000
TIMELINE = "10,1,22,2,38,17,12,13,51"  # what `warpscope run --api none` enables
VARIANTS = [
    "10",
    "1,22,2",
    "38",
    "17",
    "12,13",
    "51",
    "launch",
    "4",
    "5",
    "allocations",
    TIMELINE,
    TIMELINE + ",launch",
    "early:" + TIMELINE + ",launch",
]


class GPU:
    """The launch loop and the bare consumer. early: kinds that are enabled before there is a context."""

    def __init__(self, folder, early=""):
        self.folder = folder
        self.calls = ctypes.CDLL(os.path.join(folder, "libcalls.so"))
        self.calls.calls_launch.restype = ctypes.c_double
        self.calls.calls_launch.argtypes = [ctypes.c_long]
        self.bare = None
        if early:
            self.bare = captures.load_bare(self.folder)
            self.switch(early)
        failed = self.calls.calls_open()
        if failed:
            sys.exit(f"ladder.py: no GPU can be used here: the driver says {failed}")

    def launch(self):
        """ns a launch."""
        ns = self.calls.calls_launch(LAUNCHES)
        if ns < 0:
            sys.exit(f"ladder.py: launches failed: the driver says {int(-ns)}")
        return ns / LAUNCHES

    def window(self, times=1):
        self.launch()  # the first after a switch
        return statistics.median(self.launch() for _ in range(times))

    def load(self):
        self.bare = captures.load_bare(self.folder)
        self.switch("allocations")
        self.switch("")

    def switch(self, kinds):
        """Switches to these kinds; "" is none."""
        failed = self.bare.bare_start(kinds.encode()) if kinds else self.bare.bare_stop()
        if failed:
            sys.exit(f"ladder.py: CUPTI's error {failed} with {kinds or 'nothing'}")



def inside(folder, seconds, variants):
    gpu = GPU(folder)
    never = gpu.window(20)
    gpu.load()
    loaded = gpu.window(20)
    names = [""] + variants
    blocks = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        block = {}
        for name in random.sample(names, len(names)):
            if name:
                gpu.switch(name)
            block[name] = gpu.window()
            if name:
                gpu.switch("")
        blocks.append(block)
    print(f"{len(blocks)} blocks of {LAUNCHES} launches; never {never:.0f} ns a launch, loaded {loaded:.0f}")
    off = statistics.median(b[""] for b in blocks)
    print(f"  {'off, between those below':40} {off:7.0f}")
    for name in variants:
        e = stats.paired([[math.log(b[name] / b[""]) for b in blocks]]).map(lambda ratio: off * (ratio - 1))
        print(f"  {name:40} {off + e.mid:7.0f}  added {e.text(0)}")


def one(folder, kinds):
    """One process of `residue`; prints its figures as JSON."""
    early, _, kinds = kinds.rpartition(":")
    if early:
        gpu, figures = GPU(folder, kinds), {}
    else:
        gpu = GPU(folder)
        figures = {"never": gpu.window(9)}
        gpu.load()
        figures["loaded"] = gpu.window(9)
    for time in ("", "again "):
        gpu.switch(kinds)
        figures[time + "on"] = gpu.window(9)
        gpu.switch("")
        figures[time + "off"] = gpu.window(9)
        if gpu.bare.bare_finalise():
            break
        figures[time + "finalised"] = gpu.window(9)
    figures.setdefault("never", figures.get("finalised"))
    print(json.dumps(figures))


def residue(folder, seconds, variants):
    found = {name: [] for name in variants}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in random.sample(variants, len(variants)):
            r = subprocess.run(
                [sys.executable, __file__, "one", folder, name], capture_output=True, text=True, timeout=60
            )
            if r.returncode:
                print(f"  {name}: exit status {r.returncode} {r.stderr.strip()[-300:]}")
            else:
                found[name].append(json.loads(r.stdout))
    states = ["loaded", "on", "off", "finalised", "again on", "again off", "again finalised"]
    print(
        f"median of processes, ratio to the same process before CUPTI was loaded [least, most]; {LAUNCHES} launches a window"
    )
    for name in variants:
        rows = found[name]
        if not rows:
            continue
        cells = []
        for state in states:
            ratios = sorted(r[state] / r["never"] for r in rows if r.get(state) and r["never"])
            cells.append(
                f"{state} {statistics.median(ratios):.3f} [{ratios[0]:.3f} {ratios[-1]:.3f}]"
                if ratios
                else f"{state} –"
            )
        print(
            f"  {name:36} n {len(rows)}  never {statistics.median(r['never'] or 0 for r in rows):.0f} ns  "
            + "  ".join(cells)
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["inside", "residue", "one"])
    parser.add_argument("bin")
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    if args.how == "one":
        return one(args.bin, args.rest[0])
    seconds = float(args.rest[0]) if args.rest else 20
    variants = args.rest[1:] or VARIANTS
    if args.how == "inside":
        return inside(args.bin, seconds, [v for v in variants if not v.startswith("early:")])
    residue(args.bin, seconds, variants)


if __name__ == "__main__":
    main()
