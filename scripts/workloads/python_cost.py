#!/usr/bin/env python3
"""What the parts of warpscope's Python module cost a training step.

    python_cost.py WARPSCOPE gpu|launch [--seconds N] [--default] [--out FILE.json]

Runs itself under `WARPSCOPE run --no-python --mode ledger`, where the library is there and nothing of the module
is, and switches parts on and off around windows of some steps: each round has every part once, in random order, with a
window of nothing before and after each. A part's cost is the median over rounds of its window's mean step against that of
the two windows beside it, with a 95 % interval (bootstrap over rounds): what the machine drifts in seconds falls out. Windows
with nothing, held against those beside them in the same way, say how far figures can be trusted. Needs a quiet GPU.
--default measures what is on by default alone, in pairs of windows of a few steps, with it and without, as many as fit: on a host whose
launches vary by a tenth, nothing else tells one percent.

What happens in one step of each window here happens in one of 50 (stacks of allocations) or of 100 and more (operators) in
a real run.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time

SHORT = 4  # steps of a window in a pair
STEPS = {"launch": 10, "gpu": 5, "cpu": 10}  # of a window
INSIDE = "WARPSCOPE_PYTHON_COST"  # the module's folder, in the process that is measured


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("warpscope")
    parser.add_argument("mode", choices=("gpu", "launch", "cpu"), help="cpu: a small model without a GPU, to try the script")
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--default", action="store_true", help="only what is on by default")
    parser.add_argument("--out", metavar="FILE.json", help="every step's time")
    return parser.parse_args()


def run_inside(args):
    """Finds the module's folder and runs this script where the library is."""
    trace = "/tmp/python-cost-%d.wscope" % os.getpid()
    run = [args.warpscope, "run", "-q", "--force", "-o", trace]
    say = "import os; print(os.environ['PYTHONPATH'].split(':')[0])"
    folder = subprocess.run([*run, "--", sys.executable, "-c", say], check=True, capture_output=True, text=True).stdout.strip()
    try:
        command = [*run, "--no-python", "--mode", "ledger", "--", sys.executable, "-W", "ignore", *sys.argv]
        return subprocess.run(command, env={**os.environ, INSIDE: folder}).returncode
    finally:
        os.unlink(trace)


class Program:
    """The GPT of train_gpt.py."""

    def __init__(self, mode):
        import torch
        from train_gpt import GPT, VOCABULARY

        torch.manual_seed(0)
        self.device = "cpu" if mode == "cpu" else "cuda"
        batch, tokens = {"gpu": (8, 1024), "launch": (1, 64), "cpu": (1, 8)}[mode]
        layers, heads, width = (2, 2, 16) if mode == "cpu" else (12, 12, 768)
        self.torch, self.steps = torch, STEPS[mode]
        self.model = GPT(layers, heads, width, tokens).to(self.device)
        gpu = mode == "gpu"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, foreach=not gpu, fused=gpu)
        self.inputs = torch.randint(0, VOCABULARY, (batch, tokens), device=self.device)
        self.targets = torch.randint(0, VOCABULARY, (batch, tokens), device=self.device)

    def step(self):
        with self.torch.autocast(self.device, self.torch.bfloat16):
            loss = self.model(self.inputs, self.targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def one(self):
        began = time.perf_counter()
        self.step()
        return [(time.perf_counter() - began) * 1e3]

    def window(self):
        return [t for _ in range(self.steps) for t in self.one()]


class Parts:
    """Ways to switch parts of the module on; each returns how to switch them off."""

    def __init__(self, torch, window):
        import _warpscope_collector
        import _warpscope_library
        import _warpscope_memory
        import _warpscope_operators
        import _warpscope_stacks
        import _warpscope_steps
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.torch, self.library, self.after_step = torch, _warpscope_library, register_optimizer_step_post_hook
        self.collector, self.memory, self.operators = _warpscope_collector, _warpscope_memory, _warpscope_operators
        self.stacks, self.steps = _warpscope_stacks, _warpscope_steps
        self.library.recording = lambda: True
        self.costs, self.window, self.kept = {}, window, None

    def nothing(self):
        return lambda: None

    def hooks(self):
        steps = self.after_step(self.steps.Steps(self.library).after_step)
        pauses = self.collector.Pauses(self.library)
        gc.callbacks.append(pauses)
        return lambda: (steps.remove(), gc.callbacks.remove(pauses))

    def sampler(self, rate, prepare=lambda sampler: None):
        end = self.hooks()
        sampler = self.stacks.Sampler(self.library, rate)
        if self.kept:  # what was seen costs less, as in a run that goes on
            sampler.domain, sampler.stacks = self.kept
        prepare(sampler)
        sampler.start()

        def stop():
            if sampler.domain:
                self.kept = sampler.domain, sampler.stacks
            sampler.stop()
            self.costs.setdefault(rate, []).append(sampler.cost / 1e3)
            end()

        return stop

    def with_operators(self):
        recorder = self.operators.Operators(self.torch, self.library)
        recorder.next_step, recorder.before = self.window // 2, self.library.now()
        hook = self.after_step(lambda *_: recorder.after_step())

        def prepare(sampler):
            sampler.after = recorder.between

        end = self.sampler(50, prepare)

        def stop():
            hook.remove()
            end()
            if recorder.left == self.operators.MOST:
                print("no step was sampled")

        return stop

    def allocations(self, when, every=0):
        end = self.hooks()
        recording = self.memory.Recording(self.torch, when)
        recording.FIRST, recording.EVERY, recording.steps = 0, every, self.window // 2
        hook = self.after_step(recording.after_step) if every else None
        if not every:
            recording.switch(True)

        def stop():
            if hook:
                hook.remove()
            recording.switch(False)
            end()

        return stop

    def all(self, default):
        parts = {"steps, collector": self.hooks, "stacks, 50 a second (default)": lambda: self.sampler(50)}
        if default:
            return parts
        parts["stacks, 10 a second"] = lambda: self.sampler(10)
        parts["stacks, 100 a second"] = lambda: self.sampler(100)
        parts["50 a second and operators in one step of a window"] = self.with_operators
        if self.torch.cuda.is_available():
            parts["stacks of allocations in one step of a window"] = lambda: self.allocations("first", self.window)
            parts["stacks of all allocations"] = lambda: self.allocations("all")
            parts["a history of all allocations"] = lambda: self.allocations("history")
        return parts


def interval(values):
    """The median's 95 % interval."""
    pick = random.Random(1)
    medians = sorted(statistics.median(pick.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[1949]


def changes(windows, name):
    """By how many percent windows differ from those beside them: for nothing, from the next ones with nothing."""
    beside = 2 if name == "nothing" else 1
    for i in range(beside, len(windows) - beside):
        if windows[i][0] == name:
            around = windows[i - beside][1] + windows[i + beside][1]
            yield (statistics.mean(windows[i][1]) / statistics.mean(around) - 1) * 100


def pairs(program, part, seconds):
    """Short windows with a part and without, in random order within a pair: each is [with, without], all steps."""
    out, until = [], time.time() + seconds
    while time.time() < until or len(out) < 3:
        pair = [None, None]
        for without in random.sample((0, 1), 2):
            end = (lambda: None) if without else part()
            pair[without] = [t for _ in range(SHORT) for t in program.one()]
            end()
        out.append(pair)
    return out


def default(args, program, parts):
    """What is on by default, and nothing against nothing for as long: the measure's own error."""
    table, raw = {}, {}
    for name, part, seconds in (("nothing", lambda: lambda: None, args.seconds / 3), *((n, p, args.seconds * 2 / 3 / len(parts)) for n, p in parts.items())):
        raw[name] = pairs(program, part, seconds)
        change = [(statistics.median(a) / statistics.median(b) - 1) * 100 for a, b in raw[name]]
        table[name] = [statistics.median(change), *interval(change)]
        step = statistics.median(t for _, b in raw[name] for t in b)
        print("  %-44s %+6.2f %%  [%+.2f, %+.2f]  %d pairs of %d steps of %.2f ms" % (name, *table[name], len(change), SHORT, step), flush=True)
    return table, raw


def measure(args, folder):
    sys.path[:0] = [folder, os.path.dirname(os.path.abspath(__file__))]
    program = Program(args.mode)
    for _ in range(15):
        program.step()
    kinds = Parts(program.torch, program.steps)
    parts = kinds.all(args.default)
    if args.default:
        print(args.mode)
        del parts["steps, collector"]  # is a part of the other
        table, rounds = default(args, program, parts)
        return finish(args, program, kinds, table, rounds)
    rounds, until = [], time.time() + args.seconds
    while time.time() < until or len(rounds) < 3:
        names = list(parts)
        random.shuffle(names)
        windows = [["nothing", program.window()]]
        for name in names:
            end = parts[name]()
            program.step()
            windows.append([name, program.window()])
            end()
            program.step()
            windows.append(["nothing", program.window()])
        rounds.append(windows)
    base = [statistics.mean(t) for r in rounds for name, t in r if name == "nothing"]
    print("%s: %d rounds, windows of %d steps; a step takes %.2f ms" % (args.mode, len(rounds), program.steps, statistics.median(base)))
    table = {}
    for name in ["nothing", *parts]:
        change = [c for r in rounds for c in changes(r, name)]
        low, high = interval(change)
        table[name] = [statistics.median(change), low, high]
        print("  %-44s %+6.2f %%  [%+.2f, %+.2f]" % (name, *table[name]))
    return finish(args, program, kinds, table, rounds)


def finish(args, program, kinds, table, rounds):
    cpu = {rate: round(statistics.median(costs), 1) for rate, costs in kinds.costs.items()}
    print("  CPU time of a sample, µs, by samples a second: %s" % cpu)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"mode": args.mode, "torch": program.torch.__version__, "rounds": rounds, "percent": table, "sample_us": cpu}, file)


if __name__ == "__main__":
    given = arguments()
    if INSIDE not in os.environ:
        sys.exit(run_inside(given))
    measure(given, os.environ[INSIDE])
