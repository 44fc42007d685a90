"""A session: a set of fresh processes, from their start to the check of what they recorded."""

import datetime
import glob
import itertools
import json
import os
import random
import subprocess
import time

import budget
from processes import LATE, Measured, Refused, Unavailable

START_SECONDS = 150  # torch, transformers and CUDA on a machine that has not read them yet
LEAD = 1  # steps after each switch that are not timed
LEAD_OF_VISIT = 3  # the same where another process has used the GPU
TWIN = 2  # blocks: an order of the states and its reverse
VISIT = 4  # blocks of a process before the next process's turn
VISIT_SHORT = 24  # the same where windows and steps are short
SHORT = 0.1  # seconds
FINISH_SECONDS = 3  # to end the processes and read their traces
ATTACH_SECONDS = 7  # to attach to the late ones


def orders(states, seed):
    """Orders of the states without end: each order is followed by its reverse, so that drift and what one state
    leaves to the next cancel."""
    every = [list(p) for p in itertools.permutations(states)]
    random.Random(seed).shuffle(every)
    for order in itertools.cycle(every):
        yield order
        yield order[::-1]


class Session:
    """The lines of a session are its result; nobody reads them before it is whole."""

    def __init__(self, tools, part, number, window):
        self.tools = tools
        self.part = part
        self.number = number
        self.window_seconds = window
        self.lines = []
        self.running = {}  # by process: Measured
        self.states = {}  # by process: those that it is switched between
        self.orders = {}
        self.facts = {}
        self.attached = False
        self.lead = LEAD_OF_VISIT
        # Processes that are compared with each other only, and not with themselves, take turns window by window.
        self.paired = any(len(p.states) > 1 for p in part.processes)

    def note(self, kind, **values):
        self.lines.append(
            {"is": kind, "part": self.part.key, "workload": self.part.workload, "session": self.number, **values}
        )

    def say(self, text):
        print(f"   {text}", flush=True)

    def refuse(self, how, state, why):
        self.note("refused", process=how, state=state, why=why)
        self.say(f"{how}, {state}: left out: {why}")

    def drop(self, how, why):
        """Does without the process from now on."""
        self.refuse(how, "all", why)
        self.running.pop(how).close(1)
        self.states.pop(how, None)

    # ---- beginning ----

    def start(self):
        for process in self.part.processes:
            try:
                self.running[process.how] = Measured(self.tools, self.part, process.how, f"{process.how}-{self.number}")
            except Unavailable as why:
                self.refuse(process.how, "all", str(why))
        for process in [p for p in self.part.processes if p.how in self.running]:
            try:
                self.ready(process)
            except RuntimeError as why:
                self.drop(process.how, str(why))
        if not self.running:
            raise RuntimeError("none of the processes runs")

    def ready(self, process):
        how = process.how
        facts = self.facts[how] = self.running[how].answer(START_SECONDS)
        states = process.states
        if "warpscope" in states:
            if facts["switchable"]:
                self.running[how].ask(do="adopt")
            else:
                self.refuse(
                    how, "warpscope", "this library has no warpscope_start: compared by processes that take turns"
                )
                states = process.otherwise
        self.states[how] = list(states)

    def probe(self):
        """Each state once, before anything counts: does it run, and do its records arrive? The bare consumer also
        counts what a step is."""
        for how in list(self.running):
            try:
                self.probe_one(how)
            except RuntimeError as why:
                self.drop(how, str(why))
            if how in self.running and not self.states[how]:
                self.drop(how, "no state of it runs")
        for i, how in enumerate(self.running):
            self.orders[how] = orders(self.states[how], seed=self.number * 100 + i)

    def probe_one(self, how):
        process = self.running[how]
        self.facts[how]["step"] = process.ask(do="calibrate")["step"]
        for state in list(self.states[how]):
            try:
                self.try_state(process, how, state)
            except Refused as why:
                self.refuse(how, state, str(why))
                self.states[how].remove(state)

    def try_state(self, process, how, state):
        before = process.ask(do="counts")
        process.ask(do="look", on=1)
        process.ask(do="switch", to=state)
        process.ask(do="steps", lead=LEAD_OF_VISIT, seconds=0)
        if len(self.part.processes) == 1:  # else others come and go
            self.note("memory", process=how, state=state, free=process.ask(do="memory")["free"])
        left = process.ask(do="switch", to="off")
        process.ask(do="look", on=0)
        after = process.ask(do="counts")
        if not state.startswith("bare:") and after["bytes"] > before["bytes"]:
            raise Refused("its records went to the bare consumer: the two cannot take turns in one process")
        if left.get("empty"):
            raise Refused("no records arrived")
        steps = after["steps_in"].get(state, 0) - before["steps_in"].get(state, 0)
        if state.startswith("bare:") and steps:
            counted = {what: (after[what] - before[what]) / steps for what in ("kernels", "graphs", "bytes")}
            versions = {what: after[what] for what in ("cupti", "cupti_version")}
            self.note("work", process=how, state=state, **counted, **versions)

    # ---- windows ----

    def round(self, number):
        """A visit to every process, in an order that the next round turns round. In a visit each state has a window in
        each of some blocks; those of processes with a single state are fewer."""
        hows = list(self.running)
        for how in hows if number % 2 == 0 else hows[::-1]:
            try:
                self.lead = LEAD_OF_VISIT
                for block in range(self.visit(how)):
                    self.block(how, number * VISIT_SHORT + block if self.paired else number)
            except RuntimeError as why:
                self.drop(how, str(why))

    def visit(self, how):
        """How many blocks a process has in its turn. All of a session have steps of about the same length, so their
        blocks have the same numbers."""
        if not self.paired:
            return 1
        short = self.window_seconds < SHORT and self.facts[how]["step"] < SHORT
        blocks = VISIT_SHORT if short else VISIT
        return blocks if len(self.states[how]) > 1 else max(TWIN, blocks // 3)

    def block(self, how, number):
        """One window of every state of a process."""
        process, previous = self.running[how], None
        for state in next(self.orders[how]):
            if previous:
                self.leave(process, how, previous)
            self.window(process, how, state, number, previous)
            previous = state
        self.leave(process, how, previous)

    def leave(self, process, how, state):
        """Switches off; a window whose records did not come is taken back."""
        left = process.ask(do="switch", to="off")
        if left.get("empty"):
            if self.lines[-1]["is"] == "window":
                self.lines.pop()
            self.refuse(how, state, "no records arrived in a window")

    def window(self, process, how, state, number, previous):
        process.ask(do="switch", to=state)
        cpu, begin = process.agent_cpu(), time.monotonic()
        answer = process.ask(do="steps", lead=self.lead, seconds=self.window_seconds)
        self.lead = LEAD
        if cpu is not None:
            answer.update(wall=time.monotonic() - begin, agent=process.agent_cpu() - cpu)
        name = "after" if self.attached else state
        self.note("window", block=number, process=how, state=name, previous=previous, **answer)

    def attach(self):
        """The second half of a session of processes that are attached to late."""
        self.attached = True
        for how in [how for how in self.running if how in LATE]:
            environment = {**LATE[how], "WARPSCOPE_DIR": self.tools.work, "WARPSCOPE_QUIET": "1"}
            try:
                answer = self.running[how].ask(do="attach", library=self.tools.library, environment=environment)
                # A ledger has no timeline to stop, and says so.
                if how == "late:idle" and answer["stopped"] != 0:
                    raise RuntimeError(f"warpscope_stop returned {answer['stopped']}")
            except RuntimeError as why:
                self.drop(how, str(why))

    # ---- end ----

    def finish(self):
        for how, process in self.running.items():
            try:
                process.ask(do="switch", to="off")
                peak = process.agent_peak()
                end = process.ask(do="end")
                status = process.close()
            except RuntimeError as why:
                self.refuse(how, "end", str(why))
                process.close(1)
                continue
            line = {"process": how, "status": status, "steps_in": end["steps_in"], "agent_peak": peak}
            line["strangers"] = end["strangers"]
            line["warm_steps"] = self.facts[how]["warm_steps"]
            line.update(self.look_at_trace(process))
            self.note("end", **line)
        for path in glob.glob(os.path.join(self.tools.work, "*.wscap")):
            os.unlink(path)  # of those that were attached to late

    def look_at_trace(self, process):
        if not process.agent or not os.path.exists(process.trace):
            return {}
        found = {"trace_bytes": os.path.getsize(process.trace), **self.look_at_budget(process)}
        command = [self.tools.warpscope, "inspect", "--json", process.trace]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        os.unlink(process.trace)
        if out.returncode != 0:
            return {**found, "trace_error": out.stderr.strip()[-300:]}
        document = json.loads(out.stdout)
        kernels = document.get("kernels") or {}
        lost = (document.get("losses") or {}).get("lost", 0)
        return {**found, "trace_kernels": (kernels.get("all") or {}).get("count", 0), "trace_lost": lost}

    def look_at_budget(self, process):
        """What the recorded windows took, by the program's own clock."""
        path = process.trace + ".stamps"
        if not os.path.exists(path):
            return {}
        with open(path, encoding="utf-8") as file:
            stamps = json.load(file)
        os.unlink(path)
        windows = budget.windows_of(self.tools.warpscope, process.trace)
        more, span = budget.excess(stamps, windows)
        return {"budget_windows": len(windows), "budget_excess": more, "budget_span": span}

    # ---- all ----

    def run(self, seconds):
        begin = time.monotonic()
        try:
            self.start()
            self.probe()
            started = time.monotonic() - begin
            if self.part.record:
                rounds = self.record(max(10, seconds - started - 4 * FINISH_SECONDS))
            else:
                rounds = self.rounds(begin, started, seconds)
        finally:
            self.finish()
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        self.note(
            "session", date=date, title=self.part.title, rounds=rounds, started=round(started, 1), facts=self.facts
        )
        self.say(
            f"session {self.number}: {rounds} rounds, {started:.0f} s to start, {time.monotonic() - begin:.0f} s in all"
        )

    def rounds(self, begin, started, seconds):
        """Rounds until the time is over. By twos, an order and its reverse; at least one such pair."""
        late = any(how in LATE for how in self.running)
        half = started + (seconds - started - ATTACH_SECONDS) / 2
        number, took = 0, 0.0
        while self.running and (number < 2 or time.monotonic() - begin + took + FINISH_SECONDS < seconds):
            if late and not self.attached and number >= 2 and time.monotonic() - begin > half:
                self.attach()
            at = time.monotonic()
            self.round(number)
            number += 1
            if not self.paired or number < 2:
                self.round(number)
                number += 1
            took = time.monotonic() - at
        return number

    def record(self, seconds):
        """Instead of rounds: the time of every step."""
        for process in self.running.values():
            process.ask(seconds + 60, do="record", seconds=seconds, to=process.trace + ".stamps")
        return 0
