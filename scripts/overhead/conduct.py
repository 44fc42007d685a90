#!/usr/bin/env python3
"""Runs parts of the benchmark: sessions of processes that take turns, window by window.

    conduct.py --part N --results DIR --work DIR --bin DIR [--quick] [--seconds S]

Appends to DIR/overhead.jsonl; sessions that it holds already are not run again. overhead.sh calls this.
"""

import argparse
import datetime
import itertools
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import budget
import plan
from processes import LATE, Measured, Tools, Unavailable

START_SECONDS = 150  # torch, transformers and CUDA on a machine that has not read them yet
# --quick: one session of this share of a part's time, of shorter windows.
QUICK_SHARE = 0.24
QUICK_WINDOW = 0.6
LEAD = 2  # steps after each switch that are not timed


class Results:
    """The JSON lines so far, and their end."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "overhead.jsonl")
        self.done = {}
        for line in self.lines():
            if line["is"] == "session":
                self.done[line["part"]] = self.done.get(line["part"], 0) + 1

    def lines(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                for text in file:
                    try:
                        yield json.loads(text)
                    except ValueError:
                        continue  # cut short by whatever ended that run
        except FileNotFoundError:
            return

    def add(self, lines):
        """A session's lines at once: half a session is none."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


def orders(states, seed):
    """Orders of the states without end: each order is followed by its reverse, so that drift and what one state
    leaves to the next cancel."""
    every = [list(p) for p in itertools.permutations(states)]
    random.Random(seed).shuffle(every)
    for order in itertools.cycle(every):
        yield order
        yield order[::-1]


class Stolen(Exception):
    """The bare consumer gets warpscope's records: the two cannot take turns in one process."""


class Session:
    """One set of fresh processes, from their start to the check of what they recorded."""

    def __init__(self, tools, part, number, window):
        self.window_seconds = window
        self.tools = tools
        self.part = part
        self.number = number
        self.lines = []
        self.running = {}  # by process: Measured
        self.states = {}
        self.orders = {}
        self.facts = {}
        self.attached = False

    def note(self, kind, **values):
        self.lines.append({"is": kind, "part": self.part.key, "workload": self.part.workload, "session": self.number, **values})

    def say(self, text):
        print(f"   {text}", flush=True)

    def refuse(self, how, state, why):
        self.note("refused", process=how, state=state, why=why)
        self.say(f"{how}, {state}: left out: {why}")

    def start(self):
        for process in self.part.processes:
            try:
                self.running[process.how] = Measured(self.tools, self.part, process.how, f"{process.how}-{self.number}")
            except Unavailable as why:
                self.refuse(process.how, "all", str(why))
        for process in self.part.processes:
            if process.how not in self.running:
                continue
            try:
                self.ready(process, self.running[process.how].answer(START_SECONDS))
            except RuntimeError as why:
                self.drop(process.how, str(why))
        if not self.running:
            raise RuntimeError("none of the processes runs")

    def ready(self, process, facts):
        self.facts[process.how] = facts
        states = process.states
        if "warpscope" in states and not facts["switchable"]:
            self.refuse(process.how, "warpscope", "this library has no warpscope_start: compared by processes that take turns")
            states = process.otherwise
        elif "warpscope" in states:
            answer = self.running[process.how].ask(do="adopt")
            if "error" in answer:
                raise RuntimeError(answer["error"])
        if "warpscope" in states and not self.tools.takes_turns:
            states = [s for s in states if not s.startswith("bare:")]
        self.states[process.how] = list(states)

    def drop(self, how, why):
        self.refuse(how, "all", why)
        self.running.pop(how).close(1)
        self.states.pop(how, None)

    def probe(self):
        """Each state once, before anything counts: does it run, and do its records arrive? The bare consumer also
        counts what a step is."""
        for how in list(self.running):
            try:
                self.probe_one(how)
            except Stolen:
                self.again(how)
            except RuntimeError as why:
                self.drop(how, str(why))
            if how in self.running and not self.states[how]:
                self.drop(how, "no state of it runs")
        for i, how in enumerate(self.running):
            self.orders[how] = orders(self.states[how], seed=self.number * 100 + i)

    def probe_one(self, how):
        self.facts[how]["step"] = self.running[how].ask(do="calibrate")["step"]
        for state in list(self.states[how]):
            why = self.try_state(self.running[how], how, state)
            if why:
                self.refuse(how, state, why)
                self.states[how].remove(state)

    def again(self, how):
        """Starts the process anew and keeps the bare consumer out of it."""
        self.tools.takes_turns = False
        self.refuse(how, "bare", "the bare consumer got warpscope's records there: each is compared with off, in its own process")
        process = self.running.pop(how)
        process.ask(do="end")
        process.close()
        process = next(p for p in self.part.processes if p.how == how)
        self.running[how] = Measured(self.tools, self.part, how, f"{how}-{self.number}-again")
        try:
            self.ready(process, self.running[how].answer(START_SECONDS))
            self.probe_one(how)
        except RuntimeError as why:
            self.drop(how, str(why))

    def try_state(self, process, how, state):
        if state in ("off", "on"):
            self.memory(process, how, state)
            return None
        before = process.ask(do="counts")
        process.ask(do="look", on=1)
        answer = process.ask(do="switch", to=state)
        if "error" in answer:
            return answer["error"]
        amount = process.ask(do="amount", of=state)["amount"]
        process.ask(do="steps", lead=LEAD, seconds=0)
        self.memory(process, how, state)
        answer = process.ask(do="switch", to="off")
        if "error" in answer:
            return answer["error"]
        process.ask(do="look", on=0)
        after = process.ask(do="counts")
        came = process.ask(do="amount", of=state)["amount"]
        if state == "warpscope" and after["bytes"] > before["bytes"]:
            raise Stolen
        if came is not None and came <= amount:
            return "no records arrived"
        steps = after["steps_in"].get(state, 0) - before["steps_in"].get(state, 0)
        if state.startswith("bare:") and steps:
            self.note(
                "work",
                process=how,
                state=state,
                kernels=(after["kernels"] - before["kernels"]) / steps,
                graphs=(after["graphs"] - before["graphs"]) / steps,
                cupti=after["cupti"],
                cupti_version=after["cupti_version"],
            )
        return None

    def memory(self, process, how, state):
        """What the device has left tells something only where no other process comes and goes."""
        if len(self.part.processes) == 1:
            self.note("memory", process=how, state=state, free=process.ask(do="memory")["free"])

    def block(self, number):
        """One window of every state of every process, in an order that the next block turns round."""
        hows = list(self.running)
        for how in hows if number % 2 == 0 else hows[::-1]:
            process = self.running[how]
            try:
                for state in next(self.orders[how]):
                    self.window(process, how, state, number)
                if len(self.states[how]) > 1:
                    process.ask(do="switch", to="off")
            except RuntimeError as why:
                self.drop(how, str(why))

    def window(self, process, how, state, number):
        if state != "on":
            answer = process.ask(do="switch", to=state)
            if "error" in answer:
                raise RuntimeError(answer["error"])
        cpu, begin = process.agent_cpu(), time.monotonic()
        answer = process.ask(do="steps", lead=LEAD, seconds=self.window_seconds)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        wall = time.monotonic() - begin
        if cpu is not None:
            answer["agent"] = process.agent_cpu() - cpu
            answer["wall"] = wall
        self.note("window", block=number, process=how, state="after" if self.attached else state, **answer)

    def record(self, seconds):
        for how, process in self.running.items():
            answer = process.ask(seconds + 60, do="record", seconds=seconds, to=process.trace + ".stamps")
            if "error" in answer:
                raise RuntimeError(answer["error"])

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

    def attach(self):
        """The second half of a session of processes that are attached to late."""
        self.attached = True
        for how in [how for how in self.running if how in LATE]:
            environment = {**LATE[how], "WARPSCOPE_DIR": self.tools.work, "WARPSCOPE_QUIET": "1"}
            try:
                answer = self.running[how].ask(do="attach", library=self.tools.library, environment=environment)
                # A ledger has no timeline to stop, and says so.
                if "error" in answer or (how == "late:idle" and answer["stopped"] != 0):
                    raise RuntimeError(f"could not attach: {answer}")
            except RuntimeError as why:
                self.drop(how, str(why))

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
            line["warm_steps"] = self.facts[how]["warm_steps"]
            line.update(self.look_at_trace(process))
            self.note("end", **line)

    def look_at_trace(self, process):
        if not process.agent or not os.path.exists(process.trace):
            return {}
        size = os.path.getsize(process.trace)
        command = [self.tools.warpscope, "inspect", "--json", process.trace]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        found = {"trace_bytes": size, **self.look_at_budget(process)}
        os.unlink(process.trace)
        if out.returncode != 0:
            return {**found, "trace_error": out.stderr.strip()[-300:]}
        kernels = json.loads(out.stdout).get("kernels") or {}
        return {**found, "trace_kernels": (kernels.get("all") or {}).get("count", 0)}

    def run(self, seconds):
        begin = time.monotonic()
        try:
            self.start()
            self.probe()
            started = time.monotonic() - begin
            if self.part.record:
                self.record(max(10, seconds - started - 10))
                seconds = 0
            blocks, took = 0, 0.0
            late = any(how in LATE for how in self.running)
            # By twos, an order and its reverse; at least one such pair, whatever the time.
            while (blocks < 2 and seconds > 0) or time.monotonic() - begin + took + 3 < seconds:
                if late and not self.attached and blocks >= 2 and time.monotonic() - begin > started + (seconds - started - 7) / 2:
                    self.attach()
                at = time.monotonic()
                self.block(blocks)
                self.block(blocks + 1)
                took = time.monotonic() - at
                blocks += 2
        finally:
            self.finish()
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        self.note("session", date=date, title=self.part.title, blocks=blocks, started=round(started, 1), facts=self.facts)
        self.say(f"session {self.number}: {blocks} blocks of {took / 2:.1f} s, {started:.0f} s to start")


def run_part(args, tools, results, part, seconds):
    """Runs the sessions of a part that are missing; false when the time was over before the last."""
    wanted = 1 if args.quick else max(1, min(part.sessions, int(seconds / part.least)))
    deadline = time.monotonic() + seconds
    length = seconds / wanted
    print(f"== {part.title} ({part.name}): {results.done.get(part.key, 0)} of {wanted} sessions there", flush=True)
    failures = 0
    while results.done.get(part.key, 0) < wanted and failures < 2:
        left = deadline - time.monotonic()
        if left < length * 0.6:
            return False
        window = part.window * (QUICK_WINDOW if args.quick else 1)
        session = Session(tools, part, results.done.get(part.key, 0) + 1, window)
        try:
            session.run(min(length, left))
        except RuntimeError as why:
            failures += 1
            print(f"   a session broke off: {why}", flush=True)
            continue
        results.add(session.lines)
        results.done[part.key] = results.done.get(part.key, 0) + 1
    return results.done.get(part.key, 0) >= wanted


def environment(tools):
    """What the figures were taken with."""
    smi = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(smi, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    except OSError:
        gpu = []
    version = subprocess.run([tools.warpscope, "version"], capture_output=True, text=True, check=False)
    return {
        "is": "environment",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "gpu": gpu[0] if gpu else None,
        "warpscope": version.stdout.strip().splitlines()[:1],
        "python": sys.version.split()[0],
        "processors": len(os.sched_getaffinity(0)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, required=True, choices=sorted(plan.PARTS))
    parser.add_argument("--results", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--bin", required=True, help="folder with warpscope and overhead/libbare.so")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=int, help="time for the whole part")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    folder = os.path.abspath(args.bin)
    tools = Tools(os.path.join(folder, "warpscope"), os.path.join(folder, "overhead"), os.path.abspath(args.work))
    results = Results(args.results)
    results.add([environment(tools)])
    parts = plan.PARTS[args.part]
    share = args.seconds / sum(p.seconds for p in parts) if args.seconds else 1
    complete = True
    for part in parts:
        seconds = part.seconds * share
        if args.quick and not args.seconds:
            seconds = max(seconds * QUICK_SHARE, part.least)
        complete = run_part(args, tools, results, part, seconds) and complete
    if not complete:
        print("not complete: run the same again, it goes on from here", flush=True)
    return 0 if any(part.key in results.done for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
