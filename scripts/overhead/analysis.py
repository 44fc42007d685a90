"""From the lines of overhead.jsonl to estimates: which windows are compared with which.

Comparisons, from the tightest to the loosest:

inside   two states of one process, in windows of the same blocks: the median over pairs
double   two such ratios of processes that took turns: what a process is itself cancels
late     a process against one that is never attached to, after it was attached to and before: what differs between
         the two and what drifts for both cancels; of the n-th pair before with the n-th after
across   two processes that took turns, one median for each session: the median over sessions, because what makes
         processes differ (where memory lies, which processor) is the same for all pairs of a session
"""

import collections
import math
import statistics

import stats

# A trace must hold this share of the kernels that ran while it was recorded, or its windows do not count.
LEAST_RECORDED = 0.98
# Windows shorter than this, seconds, do not hold what happens four times a second (the library's flush): by the mean
# so many of their pairs in a row are one.
SHORT = 0.1
TOGETHER = 8


def together(values):
    """The geometric means of runs of neighbours; too few for one are one."""
    runs = [values[i : i + TOGETHER] for i in range(0, len(values) - TOGETHER + 1, TOGETHER)] or [values]
    return [math.exp(statistics.fmean(math.log(v) for v in run)) for run in runs]


class Workload:
    """All sessions of one workload, whatever part they came from."""

    def __init__(self, key, by):
        self.key = key
        self.by = by
        self.title = key
        self.windows = {}  # (part, session, block) → (process, state) → window
        self.work = {}  # state → what the bare consumer counted in a step
        self.facts = {}
        self.ends = []
        self.memory = {}
        self.refused = collections.Counter()
        self.sessions = 0
        self.units, self.unit = 1, "step"
        self.long = set()  # (part, session) with a window that is not short

    def take(self, line):
        if line["is"] == "window":
            if line["steps"] * line["mean"] >= SHORT:
                self.long.add((line["part"], line["session"]))
            at = (line["part"], line["session"], line["block"])
            self.windows.setdefault(at, {})[line["process"], line["state"]] = line
        elif line["is"] == "work":
            self.work[line["state"]] = line
        elif line["is"] == "end":
            self.ends.append(line)
        elif line["is"] == "memory" and line["free"]:
            self.memory[line["process"], line["state"]] = line["free"]
        elif line["is"] == "refused":
            self.refused[line["process"], line["state"], line["why"]] += 1
        elif line["is"] == "session":
            self.sessions += 1
            self.title = line["title"]
            for facts in line["facts"].values():
                self.facts.update(facts)
            self.units, self.unit = self.facts.get("units", 1), self.facts.get("unit", "step")

    def kernels_per_step(self):
        counts = [line["kernels"] for line in self.work.values() if line["kernels"]]
        return statistics.median(counts) if counts else 0

    def check(self):
        """Takes out the windows of warpscope in sessions whose trace does not hold what ran."""
        each = self.kernels_per_step()
        for end in self.ends:
            switched = "warpscope" in end["steps_in"]
            if "trace_kernels" not in end or end["process"] == "ledger" or each < 1:
                continue
            if end["process"] not in ("none", "launch", "node", "mixed"):
                continue
            graphs = self.work.get("bare:none", {}).get("graphs", 0)
            if graphs >= 1 and end["process"] != "node":
                continue  # whole graphs are recorded, kernels are not
            steps = end["steps_in"]["warpscope"] if switched else sum(end["steps_in"].values())
            wanted = each * (steps + end["warm_steps"])
            if end["trace_kernels"] >= LEAST_RECORDED * wanted:
                continue
            self.refuse(
                end,
                "warpscope" if switched else "on",
                f"{end['trace_kernels']} of about {wanted:.0f} kernels in the trace",
            )

    def refuse(self, end, state, why):
        self.refused[end["process"], state, why] += 1
        for (part, session, _), windows in self.windows.items():
            if (part, session) == (end["part"], end["session"]):
                windows.pop((end["process"], state), None)

    # ---- comparisons: a, b, c, d are (process, state) ----

    def pairs(self, ratio):
        """By session, the ratios of pairs. A pair is a block and its twin, the next one, in which everything comes in
        the reverse order: in the mean of the two (of logarithms) a steady drift cancels."""
        found = collections.defaultdict(list)
        for (part, session, block), windows in sorted(self.windows.items()):
            twin = self.windows.get((part, session, block + 1))
            if block % 2 or twin is None:
                continue
            first, second = ratio(windows), ratio(twin)
            if first is not None and second is not None:
                found[part, session].append(math.sqrt(first * second))
        if self.by == "mean":
            return {at: values if at in self.long else together(values) for at, values in found.items()}
        return found

    def groups(self, ratio):
        return list(self.pairs(ratio).values())

    def inside(self, a, b, level=stats.LEVEL):
        return stats.estimate(self.groups(lambda w: self.quotient(w, a, b)), level)

    def double(self, a, b, c, d, level=stats.LEVEL):
        def ratio(windows):
            first, second = self.quotient(windows, a, b), self.quotient(windows, c, d)
            return None if first is None or second is None else first / second

        return stats.estimate(self.groups(ratio), level)

    def late(self, how, level=stats.LEVEL):
        before = self.pairs(lambda w: self.quotient(w, (how, "off"), ("never", "off")))
        after = self.pairs(lambda w: self.quotient(w, (how, "after"), ("never", "after")))
        groups = [[a / b for b, a in zip(before[at], after[at], strict=False)] for at in before if at in after]
        return stats.estimate(groups, level)

    def wake(self, how, on):
        """Windows with everything off right after that capture was on, against others, each by those of the process
        that was never attached: what is left behind for a second would make "on / off" look better than it is.
        """
        found = collections.defaultdict(list)
        for (part, session, block), windows in sorted(self.windows.items()):
            twin = self.windows.get((part, session, block + 1))
            if block % 2 or twin is None:
                continue
            sides = {True: [], False: []}
            for both in (windows, twin):
                value = self.quotient(both, (how, "off"), ("never", "off"))
                if value is not None:
                    sides[both[how, "off"].get("previous") == on].append(value)
            if sides[True] and sides[False]:
                found[part, session].append(sides[True][0] / sides[False][0])
        return stats.estimate(list(found.values()))

    def across(self, a, b, level=stats.LEVEL):
        groups = self.groups(lambda w: self.quotient(w, a, b))
        return stats.estimate([[statistics.median(g)] for g in groups], level)

    def quotient(self, windows, a, b):
        if a not in windows or b not in windows or windows[b][self.by] <= 0:
            return None
        return windows[a][self.by] / windows[b][self.by]

    def has(self, process, state):
        return any((process, state) in w for w in self.windows.values())

    def seconds(self, process, state):
        """The median step of a process and state, None if it did not run."""
        values = [w[process, state]["mean"] for w in self.windows.values() if (process, state) in w]
        return statistics.median(values) if values else None

    def memory_taken(self):
        """Device memory in bytes that a process has less than one with nothing attached; of the bare consumer, than the
        same process before."""
        for (process, state), free in sorted(self.memory.items()):
            before = self.memory.get(("bare" if process == "bare" else "never", "off"))
            if before and (process, state) not in (("never", "off"), ("bare", "off")):
                yield f"{process}, {state}", before - free

    def agent_share(self):
        """Share of a processor that the agent took, by process, while its program was recorded."""
        sums = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
        for (part, _, _), windows in self.windows.items():
            for (process, state), w in windows.items():
                if "agent" in w and state in ("on", "warpscope") and "alone" in part:
                    total = sums[process]
                    total[0] += w["agent"]
                    total[1] += w["wall"]
                    total[2] += w["steps"]
        return {p: (cpu / wall, steps / wall) for p, (cpu, wall, steps) in sums.items() if wall}


def read(lines, by="mean"):
    """Workloads by key, in the order in which they appear, and the newest environment. by: what stands for a window,
    "mean" or "median" of its steps."""
    workloads, environment = {}, {}
    for line in lines:
        if line["is"] == "environment":
            environment = line
            continue
        workloads.setdefault(line["workload"], Workload(line["workload"], by)).take(line)
    for workload in workloads.values():
        workload.check()
    return workloads, environment
