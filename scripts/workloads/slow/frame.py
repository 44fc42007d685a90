"""What the slow programs share: their command line, their own clock, and their report.

A program gives `run` a function that builds its step. The frame warms it up, runs it for some seconds, and prints one
JSON line with the median time of a step, by the wall clock, synchronised with the GPU at both ends of each
block of steps: the independent measure that findings and predicted gains are held against.

scripts/scenarios.sh starts programs together, which then import at the same time and use the GPU one after the other.
"""

import argparse
import json
import os
import statistics
import sys
import time

BLOCK_SECONDS = 0.3  # between two synchronisations: rare enough to leave no trace in a step's time
WARM_UP = 8  # calls
WARM_SECONDS = 1.0  # at most, where they are slow


def arguments(program, description):
    parser = argparse.ArgumentParser(prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", type=int, choices=(1, 2, 3), default=1, help="another model, and another form of the same fault")
    parser.add_argument("--fixed", action="store_true", help="the same work with the recommended change made")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long the timed steps run")
    parser.add_argument("--stamps", metavar="FILE", help="write when each step began on the CPU, in ns of CLOCK_MONOTONIC")
    return parser.parse_args()


def turn():
    """Waits until the GPU is this program's, when scripts/scenarios.sh runs it."""
    name = os.environ.get("WARPSCOPE_SCENARIO_TURN")
    if not name:
        return
    with open(name + ".ready", "w", encoding="ascii"):
        pass
    while not os.path.exists(name + ".go"):
        time.sleep(0.01)


class Several:
    """One call that makes several steps, such as the tokens of an answer."""

    def __init__(self, call, steps):
        self.call = call
        self.steps = steps

    def __call__(self):
        self.call()


class Clock:
    """Times steps in blocks, and notes when each call that makes some began."""

    def __init__(self, torch, step):
        self.torch = torch
        self.step = step
        self.steps = getattr(step, "steps", 1)
        self.stamps = []

    def warm_up(self):
        end = time.perf_counter() + WARM_SECONDS
        self.block(1)
        while len(self.stamps) < WARM_UP and (len(self.stamps) < 2 or time.perf_counter() < end):
            self.block(2)

    def block(self, calls):
        """Seconds a step, over some calls."""
        self.torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            self.stamps.append(time.monotonic_ns())
            self.step()
        self.torch.cuda.synchronize()
        return (time.perf_counter() - begin) / calls / self.steps


def run(description, build, unfixable="", prepare=lambda _variant: None):
    """Runs the program that `build(variant, fixed)` returns the step of. `unfixable` says why there is nothing to change;
    `prepare(variant)` imports what takes long, before the program's turn."""
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    args = arguments(program, description)
    if args.fixed and unfixable:
        sys.exit(f"{program}: there is no --fixed: {unfixable}")
    import torch
    import torch._dynamo  # what the first optimizer would import

    prepare(args.variant)
    turn()
    torch.manual_seed(args.variant - 1)
    clock = Clock(torch, build(args.variant, args.fixed))
    clock.warm_up()
    calls = max(1, round(BLOCK_SECONDS / clock.block(2) / clock.steps))
    warm = len(clock.stamps) * clock.steps
    blocks = []
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end or len(blocks) < 5:
        blocks.append(clock.block(calls) * 1e3)
    result = {
        "program": program, "variant": args.variant, "fixed": args.fixed, "median_ms": round(statistics.median(blocks), 4),
        "least_ms": round(min(blocks), 4), "most_ms": round(max(blocks), 4), "steps": len(clock.stamps) * clock.steps,
        "warm_up": warm, "block": calls * clock.steps,
    }
    print(json.dumps(result), flush=True)
    print("measure step_ms", result["median_ms"], flush=True)
    print("measure steps", result["steps"], flush=True)
    if args.stamps:
        with open(args.stamps, "w", encoding="ascii") as file:
            json.dump(clock.stamps, file)


def graphed(step):
    """The step as one CUDA graph: the work of the launches is done once."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
