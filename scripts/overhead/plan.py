"""What is measured in which part: the programs, and for each the processes that run in lock step.

A process is a way of starting the worker ("never", "ledger", …) and the states that it is switched between. All of a
part's are on the GPU at once: of the GPU-bound GPT, with its 12 GB, five or six fit.
"""

from dataclasses import dataclass, field


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
    name: str
    program: str
    processes: list
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    sessions: int = 6
    seconds: int = 460
    least: int = 45  # seconds of a session that are worth the start of its processes
    # Seconds; a step at least. Short ones: the noise of the host is alike in neighbouring steps and hardly less in the
    # mean of five, so that twice as many windows tell more (docs/overhead.md).
    window: float = 0.03
    record: bool = False  # every step's time instead of windows

    @property
    def workload(self):
        """The same for parts that measure the same program."""
        words = [self.program] + [f"{k}={v}" for k, v in {**self.options, **self.environment}.items()]
        return " ".join(words)

    @property
    def key(self):
        """What sessions are counted by."""
        return f"{self.name}: {self.workload}"


NEVER = Process("never")
LEDGER = Process("ledger")
# Each capture has a process of its own: what one leaves in CUPTI must not meet the other.
BARE = Process("bare", ("off", "bare:none", "bare:launch"))
BARE_ONLY = Process("bare", ("off", "bare:none"))
BARE_GRAPHS = Process("bare", ("off", "bare:none", "bare:node"))
NONE = Process("none", ("off", "warpscope"))
LAUNCH = Process("launch", ("off", "warpscope"))
NODE = Process("node", ("off", "warpscope"))
NSYS = Process("nsys", ("on",))
PROFILER = Process("profiler", ("off", "profiler:cuda", "profiler:both"))
# But for this one, as a check.
MIXED = Process("mixed", ("off", "bare:none", "warpscope"))
CALLBACKS = Process("callbacks", ("off", "bare:allocations"))
# Nothing is attached in the first half of a session; in the second the library is (processes.LATE), or, as the
# control, nothing again.
LATE = [NEVER, Process("late:nothing"), Process("late:ledger"), Process("late:idle")]

CAPTURE = [NEVER, LEDGER, NONE, BARE, LAUNCH]
PEERS = [NEVER, PROFILER, NSYS]
BOTH = [NEVER, LEDGER, NONE, BARE, LAUNCH, PROFILER]

GPU = ("GPT training, GPU-bound", "gpt", {"mode": "gpu"})
LAUNCHING = ("GPT training, launch-bound", "gpt", {"mode": "launch"})
TOKENS = ("transformers generate, token by token", "generate", {"tokens": 16})
GRAPHS = [NEVER, LEDGER, NONE, BARE_GRAPHS, NODE, PROFILER]
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
ASYNC = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}


def part(name, workload, processes, **more):
    title, program, options = workload
    return Part(title, name, program, processes, options, **more)


def alone(workload, how):
    """One process by itself, on all the time: its agent, its trace, the device's memory."""
    states = ("off",) if how in ("never", "ledger") else ("on",)
    process = BARE if how == "bare" else Process(how, states)
    window = 0.3 if how == "bare" else 3.0
    return part(f"alone, {how}", workload, [process], sessions=1, seconds=48, least=25, window=window)


def budget(workload):
    return part("budget", workload, [Process("budget", ("on",))], sessions=1, seconds=230, least=60, record=True)


def allocations(ordered, depth):
    title = f"{'cuMemAllocAsync' if ordered else 'cuMemAlloc'} and its release, {depth} frames"
    workload = (title, "allocations", {"depth": depth, "ordered": ordered})
    return part("capture", workload, [NEVER, CALLBACKS, LEDGER], sessions=10, seconds=60, least=6, window=0.2)


# By number: what --part N does, one after the other within its time.
PARTS = {
    1: [part("capture", GPU, CAPTURE)],
    2: [part("capture", LAUNCHING, CAPTURE)],
    3: [part("peers", GPU, PEERS)],
    4: [part("peers", LAUNCHING, PEERS)],
    5: [part("both", TOKENS, BOTH)],
    6: [part("both", ("CUDA graph of 100 nodes, replayed", "graph", {"nodes": 100}), GRAPHS)],
    7: [
        part("both", ("GPT, cudaMallocAsync", "gpt", {"mode": "launch"}), BOTH, environment=ASYNC, seconds=230),
        part(
            "both",
            ("GPT of 4 layers, caching of allocations off", "gpt", {"mode": "launch", "layers": 4}),
            BOTH,
            environment=UNCACHED,
            seconds=230,
        ),
    ],
    8: [
        part("capture", ("empty kernels", "launches", {}), CAPTURE, sessions=8, seconds=100, least=10, window=0.2),
        *(allocations(ordered, depth) for ordered in (False, True) for depth in (1, 10, 30)),
    ],
    9: [
        *(alone(LAUNCHING, how) for how in ("never", "bare", "ledger", "none", "launch")),
        *(alone(GPU, how) for how in ("none", "launch")),
        *(alone(TOKENS, how) for how in ("none", "launch")),
    ],
    10: [part("late", GPU, LATE, seconds=230), part("late", LAUNCHING, LATE, seconds=230)],
    11: [budget(GPU), budget(LAUNCHING)],
    12: [part("mixed", workload, [NEVER, MIXED], seconds=230) for workload in (GPU, LAUNCHING)],
    # More pairs for the claim that needs most of them; they are counted together with those of parts 1 and 2.
    13: [part("more", workload, [NONE, BARE_ONLY], sessions=4, seconds=230) for workload in (GPU, LAUNCHING)],
}


def main():
    for number, parts in PARTS.items():
        for p in parts:
            how = ", ".join(f"{q.how} ({' / '.join(q.states)})" for q in p.processes)
            print(f"{number}  {p.title} ({p.name}), {p.sessions} sessions in {p.seconds} s: {how}")


if __name__ == "__main__":
    main()
