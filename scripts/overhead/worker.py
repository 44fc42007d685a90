#!/usr/bin/env python3
"""One measured process: runs a program's steps on command and tells their times.

    worker.py PROGRAM OPTIONS.json FOLDER IN OUT

Commands come as JSON lines from the pipe IN, one answer each goes to OUT:

    {"do": "adopt"}                             the capture that the process was started with is "warpscope", now off
    {"do": "attach", "library": L, "environment": E}    loads warpscope's library now; its timeline is stopped
    {"do": "calibrate"}                         how long a step takes
    {"do": "switch", "to": NAME}                the capture of captures.py that is on from now
    {"do": "steps", "lead": N, "seconds": S}    N steps that are not timed, then about S seconds of timed ones
    {"do": "record", "seconds": S, "to": FILE}  steps for S seconds; FILE gets [begin since 1970, seconds] of each
    {"do": "look", "on": 0|1}                   the bare consumer counts records (slower)
    {"do": "counts"}                            kernels and graph launches that it counted, bytes that it got
    {"do": "memory"}                            free memory of the device
    {"do": "end"}

Garbage collection is off while steps are timed, and done between windows.
"""

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

WARM_STEPS = 10
CALIBRATE_SECONDS = 0.3
# The library needs 0.1 s to be recording.
ATTACH_SECONDS = 1.0


class Worker:
    """The process's state: the program, and which capture is on."""

    def __init__(self, name, options, folder):
        self.bare = captures.load_bare(folder)
        self.program = programs.program(name, options, folder, self.prime)
        self.known = {"off": captures.Off()}
        self.current = "off"
        self.amount = None  # of records, when that was switched on
        self.step_seconds = 1.0  # until calibrated
        self.steps_in = {}  # by capture: all steps that were made while it was on

    def prime(self):
        """Attaches the bare consumer, where this process is for it, and stops it again."""
        if os.environ.get("OVERHEAD_BARE"):
            self.bare.bare_start(captures.CONTENT["node"].encode())
            self.bare.bare_stop()

    def attach(self, library, environment):
        os.environ.update(environment)
        loaded = ctypes.CDLL(library)
        time.sleep(ATTACH_SECONDS)
        for _ in range(3):
            self.timed()
        return {"stopped": loaded.warpscope_stop()}

    def repeat(self, least, seconds):
        times = []
        begin = time.perf_counter()
        while len(times) < least or time.perf_counter() - begin < seconds:
            times.append(self.timed())
        return statistics.median(times)

    def calibrate(self):
        """How long a step takes, now that no other process uses the GPU."""
        self.step_seconds = self.repeat(3, CALIBRATE_SECONDS)
        return {"step": self.step_seconds}

    def adopt(self):
        """Takes over the capture that this process was started with, and stops it."""
        self.known["warpscope"] = captures.Warpscope()
        self.current = "warpscope"
        return self.switch("off")

    def timed(self):
        begin = time.perf_counter()
        self.program.step()
        end = time.perf_counter()
        self.steps_in[self.current] = self.steps_in.get(self.current, 0) + 1
        return end - begin

    def switch(self, to):
        """In the answer, "empty": the capture that was on until now had got no records."""
        answer = {}
        if to not in self.known:
            self.known[to] = captures.capture(to, self.bare)
        if to != self.current:
            left = self.known[self.current]
            left.off()
            amount = left.amount()
            answer["empty"] = amount is not None and amount <= self.amount
            self.current = "off"
            self.amount = self.known[to].amount()
            self.known[to].on()
            self.current = to
        return answer

    def steps(self, lead, seconds):
        gc.collect()
        for _ in range(lead):
            self.timed()
        # The same number of steps whatever is on, for windows of the same work.
        count = max(1, min(2000, round(seconds / self.step_seconds)))
        cpu, stolen = time.process_time(), steal()
        times = [self.timed() for _ in range(count)]
        cpu, stolen = time.process_time() - cpu, steal() - stolen
        return {
            "steps": count,
            "mean": sum(times) / count,
            "median": statistics.median(times),
            "cpu": cpu / count,
            "steal": stolen,
        }

    def record(self, seconds, to):
        stamps = []
        end = time.time() + seconds
        while time.time() < end:
            begin = time.time()
            stamps.append((begin, self.timed()))
        with open(to, "w", encoding="utf-8") as file:
            json.dump(stamps, file)
        return {"steps": len(stamps)}

    def counts(self):
        return {
            "kernels": self.bare.bare_records(captures.KERNEL),
            "graphs": self.bare.bare_records(captures.GRAPH),
            "bytes": self.bare.bare_bytes(),
            "buffers": self.bare.bare_buffers(),
            "strangers": self.bare.bare_strangers(),
            "cupti": self.bare.bare_path().decode(),
            "cupti_version": self.bare.bare_version(),
            "steps_in": self.steps_in,
        }

    def do(self, command):
        what = command["do"]
        if what == "switch":
            return self.switch(command["to"])
        if what == "steps":
            return self.steps(command["lead"], command["seconds"])
        if what == "adopt":
            return self.adopt()
        if what == "attach":
            return self.attach(command["library"], command["environment"])
        if what == "calibrate":
            return self.calibrate()
        if what == "record":
            return self.record(command["seconds"], command["to"])
        if what == "look":
            self.bare.bare_look(command["on"])
            return {}
        if what == "counts":
            return self.counts()
        if what == "memory":
            return {"free": self.program.free_memory()}
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
    """One processor of each core, of half of the cores, for this process and the threads that it makes: two threads on
    one core slow each other at random. The other half is the agent's, though it may be anywhere."""
    allowed = sorted(os.sched_getaffinity(0))
    cores = {}
    for processor in allowed:
        cores.setdefault(siblings(processor), processor)
    first = sorted(cores.values())
    if len(first) >= 8:
        first = first[: len(first) // 2]
    if len(first) >= 4:
        os.sched_setaffinity(0, first)
    return len(os.sched_getaffinity(0))


def steal():
    """Seconds that the hypervisor gave to others, of all processors together."""
    with open("/proc/stat", encoding="utf-8") as file:
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def switchable():
    try:
        captures.Warpscope()
    except LookupError:
        return False
    return True


def main():
    commands = open(sys.argv[4], encoding="utf-8")
    answers = open(sys.argv[5], "w", encoding="utf-8")

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    processors = pin()
    worker = Worker(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
    worker.repeat(WARM_STEPS, worker.program.warm_seconds)
    gc.collect()
    gc.freeze()
    gc.disable()
    answer(
        {
            "ready": True,
            "switchable": switchable(),
            "processors": processors,
            "units": worker.program.units,
            "unit": worker.program.unit,
            "warm_steps": sum(worker.steps_in.values()),
            **worker.program.facts(),
        }
    )
    worker.steps_in.clear()
    for line in commands:
        command = json.loads(line)
        if command["do"] == "end":
            break
        try:
            answer(worker.do(command))
        except Exception as error:  # the conductor decides what that means
            answer({"error": f"{type(error).__name__}: {error}"})
    if worker.current != "off":
        worker.switch("off")
    answer({"ended": True, **worker.counts()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
