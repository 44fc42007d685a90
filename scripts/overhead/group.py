"""One workload: its processes from their start to the check of what they recorded."""

import concurrent.futures
import json
import os
import random
import signal
import subprocess
import time

import budget
from processes import Measured, Unavailable

IMPORT_SECONDS = 150  # torch and transformers on a machine that has not read them yet
BUILD_SECONDS = 90
# Shares of the time: nothing is attached yet; the ledger is; the timeline is switched.
PHASES = (("before", 0.2), ("ledger", 0.3), ("full", 0.5))
LEVEL = 0.06  # seconds of a turn that tells a process's level
WINDOW = 0.025  # of the shortest windows
LEAD = 0.012  # that are not timed after a switch
MOST = 60  # steps of a window
TURN = 0.9  # seconds of a turn, if steps are not too long for that
# Of the timeline and the bare consumer in a turn, by fours.
FEWEST, MOST_FOURS = 2, 8


def steps(seconds, step, least):
    return max(least, min(MOST, round(seconds / step)))


def level(state, step):
    return [[state, steps(LEAD, step, 1), steps(LEVEL, step, 2)]]


def ledger_turn(step, number):
    """The ledger and CUPTI without it, alternating; in every other turn the other way round."""
    one = steps(WINDOW, step, 1)
    order = ["ledger", "mute", "mute", "ledger"]
    if number % 2:
        order = ["mute", "ledger", "ledger", "mute"]
    return [[state, 0 if i else steps(LEAD, step, 1), one] for i, state in enumerate(order)]


def callbacks_turn(step, number):
    """The ledger as it is, and with all, few, one and none of its callbacks."""
    one = steps(WINDOW, step, 1)
    order = ["ledger", "all", "few", "mute", "one"]
    order = order[number % 5 :] + order[: number % 5]
    plan = [[state, 1, one] for state in order + order[::-1]]
    plan[0][1] = steps(LEAD, step, 1)
    return plan


def timeline_turn(step, number):
    """Launch, off, and between two offs the timeline and the bare consumer, alternating: those two are told apart
    without switching a kind, so that no step in between is lost."""
    one, lead = steps(WINDOW, step, 1), steps(LEAD, step, 1)
    a, b = ("none", "bare") if number % 2 == 0 else ("bare", "none")
    ends = [["launch", lead, 2 * one], ["off", lead, 2 * one]]
    rest = TURN / step - sum(lead + count for _, lead, count in ends) * 2
    inner = [[state, 0, one] for state in (a, b, b, a) * max(FEWEST, min(MOST_FOURS, int(rest / (4 * one))))]
    inner[0][1] = lead
    return ends + inner + ends[::-1]


def profiler_turn(step, number):
    one, lead = steps(WINDOW, step, 1), steps(LEAD, step, 1)
    first, second = ("profiler:cuda", "profiler:both") if number % 2 == 0 else ("profiler:both", "profiler:cuda")
    off = ["off", lead, 3 * one]
    return [off, [first, lead, 3 * one], off, [second, lead, 3 * one], off]


def plan_of(kind, phase, step, number, parts=False):
    """The turn of a process. parts: of the ledger's."""
    if kind == "ours" and phase == "ledger" and parts:
        return callbacks_turn(step, number)
    if kind in ("whole", "barewhole", "nsys"):
        return level("on", step)
    if kind == "ours" and phase == "ledger":
        return ledger_turn(step, number)
    if kind == "ours" and phase == "full":
        return timeline_turn(step, number)
    if kind == "profiler" and phase == "full":
        return profiler_turn(step, number)
    return level("off", step)


class Group:
    """The lines are its result."""

    def __init__(self, tools, workload):
        self.tools, self.workload = tools, workload
        self.lines = []
        self.random = random.Random(workload.key)
        self.processes = []
        self.facts = {}
        self.step = 0.0
        if not workload.record:
            self.start()

    def note(self, what, /, **values):
        self.lines.append({"is": what, "workload": self.workload.key, "title": self.workload.title, **values})

    def drop(self, process, why):
        """Does without the process from now on."""
        self.note("refused", process=process.name, kind=process.kind, why=str(why))
        print(f"   {process.name}: left out: {why}", flush=True)
        self.processes.remove(process)
        process.child.kill()
        process.close(5)

    def each(self, act):
        """What can go wrong with one process goes wrong with it alone."""
        for process in list(self.processes):
            try:
                act(process)
            except (RuntimeError, OSError) as why:
                self.drop(process, why)

    # ---- beginning ----

    def start(self):
        for kind, n in self.workload.kinds.items():
            try:
                self.processes += [Measured(self.tools, self.workload, kind, i + 1) for i in range(n)]
            except Unavailable as why:
                self.note("refused", process=kind, kind=kind, why=str(why))

    def imported(self):
        self.each(lambda p: p.answer(IMPORT_SECONDS))

    def begin_build(self):
        if self.workload.record:  # a budget watches the program's pace from its beginning
            self.start()
            self.imported()
        self.each(lambda p: p.tell(do="build"))

    def built(self):
        def take(process):
            self.facts.update(process.answer(BUILD_SECONDS))
            if not self.workload.record:
                process.signal_agent(signal.SIGSTOP)

        self.each(take)

    # ---- turns ----

    def calibrate(self, process):
        process.signal_agent(signal.SIGCONT)
        process.step = process.ask(do="calibrate")["step"]
        process.signal_agent(signal.SIGSTOP)

    def turn(self, process, phase, number):
        plan = plan_of(process.kind, phase, self.step, number, self.workload.parts)
        process.signal_agent(signal.SIGCONT)
        for title, case in (self.workload.cases or {self.workload.title: None}).items():
            key = self.workload.key
            if case:
                key = f"{key} {json.dumps(case)}"
                process.ask(do="case", case=case)
            answer = process.ask(do="turn", plan=plan)
            for state in answer["empty"]:
                answer["times"].pop(state, None)
                self.note("refused", process=process.name, kind=process.kind, why=f"{state}: no records arrived")
            who = {"process": process.name, "kind": process.kind}
            self.note("turn", phase=phase, round=number, times=answer["times"], **who, workload=key, title=title)
        process.signal_agent(signal.SIGSTOP)

    def phase(self, phase, until):
        """Rounds until then; by twos, the second with the processes in the reverse order. At least one such pair."""
        number = 0
        order = []
        while self.processes and (number < 2 or time.monotonic() < until):
            if number % 2 == 0:
                order = self.random.sample(self.processes, len(self.processes))
            for process in order if number % 2 == 0 else order[::-1]:
                if process in self.processes:
                    self.guarded(process, lambda p, n=number: self.turn(p, phase, n))
            number += 1
        return number

    def guarded(self, process, act):
        try:
            act(process)
        except (RuntimeError, OSError) as why:
            self.drop(process, why)

    def attach(self, process):
        if process.kind == "ours":
            facts = process.attach()
            self.facts.update(facts)
            process.signal_agent(signal.SIGSTOP)
        if process.kind == "profiler":
            process.ask(do="profiler")

    def rebuild(self, process):
        process.signal_agent(signal.SIGCONT)
        process.ask(do="rebuild", state={"ours": "none", "profiler": "profiler:cuda"}.get(process.kind))
        process.signal_agent(signal.SIGSTOP)

    def look(self):
        """What a step is."""
        for process in [p for p in self.processes if p.kind == "ours"][:1]:
            process.signal_agent(signal.SIGCONT)
            self.guarded(process, lambda p: self.note("work", **p.ask(do="look", state="bare")))
            process.signal_agent(signal.SIGSTOP)

    def calls(self):
        """Which of the ledger's callbacks a step calls."""
        for process in [p for p in self.processes if p.kind == "ours"][:1]:
            self.guarded(process, lambda p: self.note("calls", **p.ask(do="calls", state="all")))

    def sustain(self):
        """What the agent takes while the timeline is on without a pause."""
        for process in [p for p in self.processes if p.kind == "ours"][:1]:
            process.signal_agent(signal.SIGCONT)
            before = process.agent_cpu()
            answer = process.ask(do="sustain", state="launch", seconds=self.workload.sustain)
            cpu = process.agent_cpu() - before
            memory = {"rss": process.agent_memory(), "most": process.agent_memory("VmHWM")}
            self.note("agent", process=process.name, cpu=cpu, **answer, **memory)
            process.signal_agent(signal.SIGSTOP)

    def run(self, seconds):
        begin = time.monotonic()
        if self.workload.record:
            self.record(seconds)
        else:
            self.rounds(begin, max(5, seconds - self.workload.sustain))
        self.note("done", facts=self.facts, seconds=round(time.monotonic() - begin, 1))

    def rounds(self, begin, seconds):
        self.each(self.calibrate)
        never = [p.step for p in self.processes if p.kind == "never"] or [p.step for p in self.processes] or [1]
        self.step = sorted(never)[len(never) // 2]
        phases = PHASES if self.workload.timeline else PHASES[:2]
        if self.workload.parts:  # nothing is compared with never attached
            phases = PHASES[1:2]
        whole = sum(share for _, share in phases)
        at, counts = 0.0, []
        for phase, share in phases:
            if phase == "ledger":
                self.each(self.attach)
                self.calls()
            if phase == "full":
                if self.workload.rebuilt:
                    self.each(self.rebuild)
                self.look()
            at += share / whole
            counts.append(str(self.phase(phase, begin + at * seconds)))
        if self.workload.sustain and self.workload.timeline:
            self.sustain()
        print(f"   step {self.step * 1e3:.2f} ms, rounds {' + '.join(counts)}", flush=True)

    def record(self, seconds):
        """Each process by itself: the time of every step."""
        for process in list(self.processes):
            answer = process.ask(seconds + 60, do="record", seconds=seconds, to=process.trace + ".stamps")
            self.note("recorded", process=process.name, kind=process.kind, **answer)

    # ---- end ----

    def abandon(self):
        """Ends what is left, whatever state it is in."""
        for process in self.processes:
            process.abandon()

    def finish(self):
        """Ends the processes and reads their traces. Nothing may be timed meanwhile."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for line in pool.map(self.end, list(self.processes)):
                self.note("end", **line)
        self.processes = []

    def end(self, process):
        line = {"process": process.name, "kind": process.kind}
        process.signal_agent(signal.SIGCONT)
        try:
            line.update(process.ask(do="end"))
        except (RuntimeError, OSError) as why:
            line["why"] = str(why)
        line["status"] = process.close()
        if process.agent and os.path.exists(process.trace):
            line.update(self.look_at_trace(process))
        return line

    def look_at_trace(self, process):
        found = {"trace_bytes": os.path.getsize(process.trace)}
        command = [self.tools.warpscope, "inspect", "--json", process.trace]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode != 0:
            return {**found, "trace_error": out.stderr.strip()[-300:]}
        document = json.loads(out.stdout)
        everything = (document.get("kernels") or {}).get("all") or {}
        found["trace_kernels"] = everything.get("count", 0)
        found["trace_kernel_ns"] = everything.get("total_ns", 0)
        found["trace_lost"] = (document.get("losses") or {}).get("lost", 0)
        if self.workload.record:
            found.update(budget.look(self.tools.warpscope, process, document))
        os.unlink(process.trace)
        return found
