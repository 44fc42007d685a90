#!/usr/bin/env python3
"""One measured process: runs a program's steps on command and tells their times.

    worker.py PROGRAM OPTIONS.json FOLDER IN OUT

Imports what the program needs, says so, and takes commands: JSON lines from the pipe IN, one answer each to OUT. In
between it waits for the pipe and does nothing, so that others can have the GPU and the processors.

    {"do": "build"}                             makes the program and its first steps; tells what it is
    {"do": "attach", "library": L, "environment": E}    loads warpscope's library now, behind libbetween.so
    {"do": "profiler"}                          torch.profiler is what this process switches
    {"do": "turn", "plan": [[STATE, LEAD, N], …]}       in each state LEAD steps that are not timed, then N that are
    {"do": "case", "case": {…}}                 what a step does from now, where the program has a choice
    {"do": "calibrate"}                         how long a step takes
    {"do": "rebuild", "state": S or null}       makes a CUDA graph anew; before it one step in S, if there is one
    {"do": "look", "state": S}                  one step, whose kernels the bare consumer counts
    {"do": "calls", "state": S}                 how often callbacks are called in a step
    {"do": "sustain", "state": S, "seconds": T} steps without a pause; how many
    {"do": "record", "seconds": T, "to": FILE}  the same; FILE gets [begin since 1970, seconds] of each
    {"do": "end"}

Garbage collection is off while steps are timed, and done between turns.
"""

import contextlib
import ctypes
import gc
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import captures
import programs

WARM_STEPS = 8
CALIBRATE_STEPS = 5
# The library needs 0.1 s to be there.
ATTACH_SECONDS = 5
SETTLE_SECONDS = 0.2


class Worker:
    """The process's state: the program, and which capture is on."""

    def __init__(self, name, options, folder):
        self.name, self.options, self.folder = name, options, folder
        self.bare = captures.load_bare(folder)
        self.capture = captures.Nothing()
        self.program = None
        self.between = None
        self.current = "off"
        self.steps_in = {}  # by state: all steps that were made while it was on

    def prime(self):
        """Before a graph is instantiated: the bare consumer, where this process is for it, which stays on."""
        content = os.environ.get("OVERHEAD_BARE")
        if content:
            captures.Bare(self.bare, content).to("on")

    def build(self):
        self.program = programs.program(self.name, self.options, self.folder, self.prime)
        for _ in range(WARM_STEPS):
            self.timed()
        gc.collect()
        gc.freeze()
        gc.disable()
        pin()  # not before: nothing is timed yet, and many are built at once
        facts = {"processors": len(os.sched_getaffinity(0)), **self.program.facts()}
        return {"units": self.program.units, "unit": self.program.unit, **facts}

    def attach(self, library, environment):
        self.between, path = captures.load_between(self.folder)
        os.environ.update(environment)
        os.environ["WARPSCOPE_CUPTI"] = path
        loaded = ctypes.CDLL(library)
        deadline = time.monotonic() + ATTACH_SECONDS
        while not self.between.between_watched() and time.monotonic() < deadline:
            time.sleep(0.01)
            self.timed()
        time.sleep(SETTLE_SECONDS)
        self.timed()
        if not self.between.between_watched():
            raise RuntimeError("the library did not come to life")
        self.capture = captures.Ours(self.between, loaded)
        version = self.between.between_version()
        return {"cupti": self.between.between_path().decode(), "cupti_version": version}

    def timed(self):
        begin = time.perf_counter()
        self.program.step()
        end = time.perf_counter()
        self.steps_in[self.current] = self.steps_in.get(self.current, 0) + 1
        return end - begin

    def switch(self, to):
        if to != self.current:
            self.capture.to(to)
            self.current = to

    def turn(self, plan):
        """The times by state, and the states of which no record came though they were on."""
        gc.collect()
        times, empty = {}, set()
        on, before = None, None
        for state, lead, count in plan + [["off", 0, 0]]:
            if state != on:
                self.switch(state)
                if before is not None and self.capture.amount(on) == before:
                    empty.add(on)
                on, before = state, self.capture.amount(state)
            for _ in range(lead):
                self.timed()
            if count:
                times.setdefault(state, []).extend(round(self.timed(), 8) for _ in range(count))
        return {"times": times, "empty": sorted(empty)}

    def rebuild(self, state):
        if state:
            self.switch(state)
            self.timed()
            self.switch("off")
        self.program.make()
        for _ in range(WARM_STEPS):
            self.timed()
        return {}

    def look(self, state):
        """What a step is, counted by the bare consumer."""
        self.switch(state)
        self.timed()
        self.switch("off")
        self.switch(state)
        self.between.between_look(1)
        before = self.between.between_records(captures.KERNEL), self.between.between_bytes()
        self.timed()
        self.switch("off")
        self.between.between_look(0)
        after = self.between.between_records(captures.KERNEL), self.between.between_bytes()
        return {"kernels": after[0] - before[0], "bytes": after[1] - before[1]}

    def calls(self, state):
        """How often the library's callbacks are called in a step, by call."""
        self.switch(state)
        before = [self.between.between_called(i) for i in range(captures.CALLS)]
        self.between.between_look(1)
        self.timed()
        self.between.between_look(0)
        self.switch("off")
        counts = {i: self.between.between_called(i) - n for i, n in enumerate(before)}
        return {"calls": {self.between.between_name(i).decode(): n for i, n in counts.items() if n}}

    def sustain(self, state, seconds):
        self.switch(state)
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            self.timed()
            count += 1
        seconds = time.monotonic() - begin
        self.switch("off")
        return {"steps": count, "seconds": seconds}

    def record(self, seconds, to):
        stamps = []
        end = time.time() + seconds
        while time.time() < end:
            begin = time.time()
            stamps.append((begin, self.timed()))
        with open(to, "w", encoding="utf-8") as file:
            json.dump(stamps, file)
        return {"steps": len(stamps), "all_steps": sum(self.steps_in.values())}

    def do(self, command):
        what = command["do"]
        if what == "turn":
            return self.turn(command["plan"])
        if what == "build":
            return self.build()
        if what == "attach":
            return self.attach(command["library"], command["environment"])
        if what == "profiler":
            self.capture = captures.Profiler()
            return {}
        if what == "case":
            self.program.choose(**command["case"])
            return {}
        if what == "calibrate":
            return {"step": statistics.median(self.timed() for _ in range(CALIBRATE_STEPS))}
        if what == "rebuild":
            return self.rebuild(command["state"])
        if what == "look":
            return self.look(command["state"])
        if what == "calls":
            return self.calls(command["state"])
        if what == "sustain":
            return self.sustain(command["state"], command["seconds"])
        if what == "record":
            return self.record(command["seconds"], command["to"])
        raise LookupError(f"no command is called {what}")


def siblings(processor):
    """The processors that share a core with this one."""
    path = f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return str(processor)


def pin():
    """One processor of each core, of half of the cores, for the threads of this process and those that they make: two on
    one core slow each other at random. The other half is the agent's, though it may be anywhere."""
    allowed = sorted(os.sched_getaffinity(0))
    cores = {}
    for processor in allowed:
        cores.setdefault(siblings(processor), processor)
    first = sorted(cores.values())
    if len(first) >= 8:
        first = first[: len(first) // 2]
    if len(first) >= 4:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread), first)


def main():
    commands = open(sys.argv[4], encoding="utf-8")
    answers = open(sys.argv[5], "w", encoding="utf-8")

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    programs.prepare(sys.argv[1])
    worker = Worker(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
    answer({"ready": True})
    for line in commands:
        command = json.loads(line)
        if command["do"] == "end":
            break
        try:
            answer(worker.do(command))
        except Exception as error:  # the conductor decides what that means
            answer({"error": f"{type(error).__name__}: {error}"})
    if worker.current not in ("off", "on"):
        worker.switch("off")
    answer({"ended": True, "steps_in": worker.steps_in, "strangers": worker.bare.bare_strangers()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
