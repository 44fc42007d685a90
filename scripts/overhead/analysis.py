"""From the lines of overhead.jsonl to estimates: which turns are compared with which.

inside   two states of one process, in the same turn: what a process is and how fast the host was cancel
change   a process against those that nothing was ever attached to, after something was attached to it and before: the
         only way to "never attached" in which what a process is itself cancels
across   two kinds of processes that took turns: for what cannot be switched; processes differ, and the interval says so
"""

import collections
import functools
import math
import statistics

import stats

# A trace must hold this share of the kernels that ran while it was recorded, or its turns do not count.
LEAST_RECORDED = 0.98


def once(method):
    """Estimates are asked for by the table, the claims and the README's table; a bootstrap takes its time."""

    @functools.wraps(method)
    def remembered(self, *args, **named):
        key = (method.__name__, args, tuple(named.items()))
        if key not in self.memory:
            self.memory[key] = method(self, *args, **named)
        return self.memory[key]

    return remembered


class Workload:
    """All that was measured of one program. by: what stands for the steps of a state in a turn, "mean" or "median"."""

    def __init__(self, key, by):
        self.key = key
        self.by = by
        self.title = key
        self.turns = []
        self.work = []
        self.facts = {}
        self.ends = []
        self.agents = []
        self.calls = {}  # of the ledger's callbacks, how often a step calls them
        self.refused = collections.Counter()
        self.seconds_taken = 0.0
        self.memory = {}
        self.means = None  # the same by means, where that was asked for

    def take(self, line):
        self.title = line["title"]
        if line["is"] == "turn":
            self.turns.append(line)
        elif line["is"] == "work":
            self.work.append(line)
        elif line["is"] == "end":
            self.ends.append(line)
        elif line["is"] == "calls":
            self.calls = line["calls"]
        elif line["is"] == "agent":
            self.agents.append(line)
        elif line["is"] == "refused":
            self.refused[line["kind"], line["why"]] += 1
        elif line["is"] == "done":
            self.facts.update(line["facts"])
            self.seconds_taken += line["seconds"]

    @property
    def units(self):
        return self.facts.get("units", 1)

    @property
    def unit(self):
        return self.facts.get("unit", "step")

    def kernels_per_step(self):
        counts = [line["kernels"] for line in self.work if line["kernels"]]
        return statistics.median(counts) if counts else 0

    def check(self):
        """Takes out processes whose trace does not hold what ran."""
        each = self.kernels_per_step()
        for end in self.ends:
            steps = sum(end.get("steps_in", {}).get(state, 0) for state in ("none", "launch"))
            if end["kind"] != "ours" or not each or not steps:
                continue
            wanted, found = each * steps, end.get("trace_kernels", 0)
            if found >= LEAST_RECORDED * wanted:
                continue
            self.refused["ours", f"{found} of about {wanted:.0f} kernels in the trace"] += 1
            self.turns = [t for t in self.turns if (t["process"], t["run"]) != (end["process"], end["run"])]

    # ---- figures ----

    def value(self, times):
        return math.log(statistics.fmean(times) if self.by == "mean" else statistics.median(times))

    @once
    def inside(self, kind, a, b, level=stats.LEVEL):
        """How much longer a step takes in state a than in b."""
        found = collections.defaultdict(list)
        for t in self.turns:
            if t["kind"] == kind and a in t["times"] and b in t["times"]:
                found[t["process"], t["run"]].append(self.value(t["times"][a]) - self.value(t["times"][b]))
        return stats.paired(list(found.values()), level)

    def series(self, kind, state):
        """Of each process of a kind: {phase: {round: log time}}. state: "level" is the only one of a turn."""
        found = collections.defaultdict(lambda: collections.defaultdict(dict))
        for t in self.turns:
            if t["kind"] != kind:
                continue
            for name, times in t["times"].items():
                if name == state or len(t["times"]) == 1:
                    found[t["process"], t["run"]][t["phase"]][t["run"], t["round"]] = self.value(times)
        return list(found.values())

    @once
    def change(self, kind, state, phase="full", level=stats.LEVEL):
        """How much longer a step takes in a state than in a process that was never attached to."""
        controls = self.series("never", "off")
        if phase == "ledger":
            controls += self.series("profiler", "off")  # nothing has been done to it yet
        return stats.changes(self.series(kind, state), controls, ("before", phase), level)

    @once
    def control(self, phase):
        """The same of what was never attached to, against the others of its kind: must include 1."""
        controls = self.series("never", "off")
        if len(controls) < 2:
            return None
        return stats.changes(controls[:1], controls[1:], ("before", phase))

    @once
    def across(self, a, b, level=stats.LEVEL):
        """Two kinds of processes, in all rounds."""
        return stats.changes(self.flat(a), self.flat(b), ("all",), level)

    def flat(self, kind):
        found = []
        for process in self.series(kind, "on" if kind != "never" else "off"):
            found.append({"all": {(phase, *at): v for phase, rounds in process.items() for at, v in rounds.items()}})
        return found

    def seconds(self):
        """The median step of processes that nothing was attached to, None if there is none."""
        values = [statistics.median(t["times"]["off"]) for t in self.turns if t["kind"] == "never"]
        return statistics.median(values) if values else None

    def has(self, kind):
        return any(t["kind"] == kind for t in self.turns)


def read(lines, by="median"):
    """Workloads by key, in the order in which they appear, and the newest environment."""
    workloads, environment = {}, {}
    for line in lines:
        if line["is"] == "environment":
            environment = line
            continue
        workloads.setdefault(line["workload"], Workload(line["workload"], by)).take(line)
    for workload in workloads.values():
        # The cases of a program are workloads of their own, and share its facts.
        parent = workloads.get(workload.key.partition(" ")[0])
        if parent:
            workload.facts = parent.facts
        workload.check()
    return {key: w for key, w in workloads.items() if w.turns or w.ends}, environment
