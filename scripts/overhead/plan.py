"""What is measured in which part: the programs, and for each the processes that run in lock step.

A process is a way of starting the worker ("never", "ledger", …) and the states that it is switched between.
"""

from dataclasses import dataclass, field

# Memory of one H100 holds this many GPU-bound GPTs at once, with room to spare.
MOST_PROCESSES = 6


@dataclass
class Process:
    """One of the processes that take turns. how: a key of processes.COMMANDS; states: of captures.capture."""

    how: str
    states: tuple = ("off",)
    # What it is switched between if its library cannot be switched.
    otherwise: tuple = ("on",)


@dataclass
class Part:
    """Resumable, at most eight minutes. sessions: sets of fresh processes; 6 are the fewest that give the median
    over sessions a 95 % interval."""

    title: str
    program: str
    processes: list
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    sessions: int = 6
    quick: int = 1
    seconds: int = 460
    window: float = 0.5

    @property
    def key(self):
        words = [self.program] + [f"{k}={v}" for k, v in {**self.options, **self.environment}.items()]
        return " ".join(words)


NEVER = Process("never")
LEDGER = Process("ledger")
BARE = Process("bare", ("off", "bare:none"))
NONE = Process("none", ("off", "bare:none", "warpscope"))
LAUNCH = Process("launch", ("off", "bare:launch", "warpscope"))
NODE = Process("node", ("off", "bare:node", "warpscope"))
BUDGET = Process("budget", ("on",))
NSYS = Process("nsys", ("on",))
PROFILER = Process("profiler", ("off", "bare:none", "profiler:cuda", "profiler:both"))

CAPTURE = [NEVER, LEDGER, BARE, NONE, LAUNCH]
PEERS = [NEVER, PROFILER, NSYS, BUDGET]
ALL = [NEVER, LEDGER, NONE, LAUNCH, PROFILER]

UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
ASYNC = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}

# By number: what --part N does, one after the other within its time.
PARTS = {
    1: [Part("GPT training, GPU-bound", "gpt", CAPTURE, {"mode": "gpu"})],
    2: [Part("GPT training, launch-bound", "gpt", CAPTURE, {"mode": "launch"})],
    3: [Part("GPT training, GPU-bound", "gpt", PEERS, {"mode": "gpu"})],
    4: [Part("GPT training, launch-bound", "gpt", PEERS, {"mode": "launch"})],
    5: [Part("transformers generate, token by token", "generate", ALL, {"tokens": 16})],
    6: [Part("CUDA graph of 100 nodes, replayed", "graph", [NEVER, LEDGER, NONE, NODE, PROFILER], {"nodes": 100})],
    7: [
        Part("GPT, cudaMallocAsync", "gpt", ALL, {"mode": "launch"}, ASYNC, seconds=230),
        Part("GPT, no caching of allocations", "gpt", ALL, {"mode": "launch", "layers": 4}, UNCACHED, seconds=230),
    ],
    8: [
        Part("empty kernels", "launches", [NEVER, LEDGER, BARE, NONE, LAUNCH], sessions=8, seconds=60, window=0.2),
        *(
            Part(
                f"cuMemAlloc{'Async' if ordered else ''}, {depth} frames",
                "allocations",
                [NEVER, Process("callbacks", ("off", "bare:allocations")), LEDGER],
                {"depth": depth, "ordered": ordered},
                sessions=12,
                seconds=60,
                window=0.2,
            )
            for ordered in (False, True)
            for depth in (1, 10, 30)
        ),
    ],
}


def main():
    for number, parts in PARTS.items():
        for part in parts:
            how = ", ".join(f"{p.how} ({' / '.join(p.states)})" for p in part.processes)
            print(f"{number}  {part.title}, {part.sessions} sessions in {part.seconds} s: {how}")


if __name__ == "__main__":
    main()
