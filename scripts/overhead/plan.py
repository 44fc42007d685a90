"""What is measured: programs, and for each the processes that live side by side and take turns."""

from dataclasses import dataclass, field


@dataclass
class Workload:
    """One program. kinds: how many processes there are of each kind (processes.py). wave: those of a wave are built
    together, so their memory must fit. weight: its share of the time."""

    key: str
    title: str
    program: str
    kinds: dict
    weight: float
    wave: int = 1
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    # What a step does, where the program has a choice: each is a workload of its own in the results.
    cases: dict = field(default_factory=dict)
    timeline: bool = True  # false: only the ledger is of interest
    sustain: float = 0  # seconds of a timeline without a pause at the end, for what the agent takes
    # The program is made anew before the timeline is on for the first time: CUPTI records the nodes of graphs that were
    # made while it was there.
    rebuilt: bool = False
    parts: bool = False  # of the ledger's callbacks, some at a time
    extra: bool = False  # only where it is asked for
    record: bool = False  # the program runs by itself, and the time of every step is kept


SAME = {"never": 3, "ours": 3, "profiler": 1}
NSYS = {"nsys": 2}  # where there is one
LARGE = {"never": 2, "ours": 2, "profiler": 1}
# Whole graphs can only be recorded from the beginning to the end (docs/adr/0008): processes of their own for that.
GRAPHS = {"never": 3, "whole": 3, "barewhole": 3, "ours": 1, "profiler": 1}
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
ASYNC = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}
CASES = {
    f"{'cuMemAllocAsync' if ordered else 'cuMemAlloc'} and its release, {depth} frames": {
        "depth": depth,
        "ordered": ordered,
    }
    for ordered in (False, True)
    for depth in (1, 10, 30)
}

WORKLOADS = [
    Workload("launch", "GPT training, launch-bound", "gpt", {**SAME, **NSYS}, 27, options={"mode": "launch"}, sustain=6),
    Workload("generate", "transformers generate, token by token", "generate", SAME, 11, sustain=4),
    Workload("graph", "CUDA graph of 100 nodes, replayed", "graph", GRAPHS, 7, options={"nodes": 100}, rebuilt=True),
    Workload("kernels", "empty kernels", "launches", {"never": 3, "ours": 3}, 4),
    Workload("allocations", "allocations", "allocations", {"never": 2, "ours": 3}, 5, cases=CASES, timeline=False),
    Workload("gpu", "GPT training, GPU-bound", "gpt", {**LARGE, **NSYS}, 16, 2, options={"mode": "gpu"}),
    Workload(
        "async",
        "GPT of 4 layers, cudaMallocAsync",
        "gpt",
        LARGE,
        8,
        3,
        options={"mode": "launch", "layers": 4},
        environment=ASYNC,
    ),
    Workload(
        "uncached",
        "GPT of 4 layers, caching of allocations off",
        "gpt",
        LARGE,
        8,
        3,
        options={"mode": "launch", "layers": 4},
        environment=UNCACHED,
    ),
    Workload(
        "budget",
        "GPT training, launch-bound, --budget 1%",
        "gpt",
        {"budget": 1},
        15,
        4,
        options={"mode": "launch"},
        record=True,
    ),
    *(
        Workload(
            f"callbacks-{key}",
            f"{title}: the ledger's callbacks",
            program,
            {"ours": 3},
            10,
            options=options,
            environment=environment,
            timeline=False,
            parts=True,
            extra=True,
        )
        for key, title, program, options, environment in (
            ("launch", "GPT training, launch-bound", "gpt", {"mode": "launch"}, {}),
            ("generate", "transformers generate", "generate", {}, {}),
        )
    ),
]


def main():
    for w in WORKLOADS:
        kinds = ", ".join(f"{n} × {kind}" for kind, n in w.kinds.items())
        print(f"{w.key:12} {w.title}: {kinds}")


if __name__ == "__main__":
    main()
