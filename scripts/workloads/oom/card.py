"""What the programs of the suite share: their variant, their turn on the GPU, sizes as parts of the card, figures that
they measure themselves. Nothing here allocates on the GPU: lines that are to be blamed are the programs' own."""

import argparse
import os
import time

GIB = 1 << 30


def arguments(*more):
    """--variant N, and what else a program understands: (name, type or None for a switch, default)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", type=int, choices=(1, 2, 3), default=1)
    for name, kind, default in more:
        if kind is None:
            parser.add_argument(name, action="store_true")
        else:
            parser.add_argument(name, type=kind, default=default)
    return parser.parse_args()


def turn():
    """Waits until the GPU is this program's, when scripts/scenarios.sh runs it."""
    import torch._dynamo  # noqa: F401  what an optimizer imports in its first step, for seconds

    name = os.environ.get("WARPSCOPE_SCENARIO_TURN")
    if not name:
        return
    open(name + ".ready", "w").close()
    while not os.path.exists(name + ".go"):
        time.sleep(0.01)


def begin(torch, seed):
    """Takes the turn; returns the card's size in bytes."""
    turn()
    torch.manual_seed(seed)
    return torch.cuda.mem_get_info()[1]


def measure(name, value):
    """A figure for scripts/scenarios.sh."""
    print(f"measure {name} {value}", flush=True)
