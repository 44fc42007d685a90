#!/usr/bin/env python3
"""Checks the benchmark's statistics on invented step times of known effect: overhead.sh --simulate.

Times have what real ones have: noise with heavy tails, drift of the host, processes that differ by 15 % and that change
by themselves between phases. An interval of 95 % must hold the truth in about 95 of 100 repetitions; that is asserted
with fixed seeds, no clock is read.
"""

import os
import random
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import analysis
import budget
import captures
import claims
import group
import plan
import stats

STEP = 0.03  # seconds
LEDGER, TIMELINE, BARE, RESIDUE = 1.01, 1.33, 1.30, 1.25


class Host:
    """A made-up machine. wander: by how much a process changes by itself from one phase to the next."""

    EFFECTS = {
        "ledger": LEDGER,
        "mute": 1.0,
        "off": RESIDUE,
        "none": TIMELINE,
        "bare": BARE,
        "launch": 1.36,
        "profiler:cuda": 1.5,
        "profiler:both": 1.9,
    }

    def __init__(self, seed, noise=0.04, tails=0.05, process=0.15, wander=0.0):
        self.random = random.Random(seed)
        self.noise, self.tails, self.process, self.wander = noise, tails, process, wander
        self.drift = 0.0

    def step(self, own, effect):
        # A walk that comes back, so that neighbours are alike, and what strikes one step in so many.
        self.drift = 0.97 * self.drift + self.random.gauss(0, 0.02)
        noise = abs(self.random.gauss(0, self.noise * (8 if self.random.random() < self.tails else 1)))
        return STEP * own * effect * (1 + self.drift) * (1 + noise)

    def lines(self, kinds, rounds):
        """Turns as the benchmark makes them. rounds: by phase."""
        who = [(kind, f"{kind}-{i}") for kind, n in kinds.items() for i in range(n)]
        own = {name: self.random.gauss(1, self.process) for _, name in who}
        for phase, count in rounds.items():
            now = {name: own[name] * (1 + self.random.gauss(0, self.wander)) for _, name in who}
            for number in range(count):
                for kind, name in who if number % 2 == 0 else who[::-1]:
                    times = {}
                    for state, lead, steps in group.plan_of(kind, phase, STEP, number):
                        effect = self.EFFECTS.get(state, 1.0) if kind in ("ours", "profiler") else 1.0
                        if phase == "before" or (phase == "ledger" and kind == "profiler"):
                            effect = 1.0
                        taken = [self.step(now[name], effect) for _ in range(lead + steps)][lead:]
                        times.setdefault(state, []).extend(taken)
                    yield turn(phase, number, kind, name, times)


def turn(phase, number, kind, name, times):
    who = {"workload": "w", "title": "W", "run": 1, "process": name, "kind": kind}
    return {"is": "turn", "phase": phase, "round": number, "times": times, **who}


KINDS = {"never": 3, "ours": 3, "profiler": 1}
ROUNDS = {"before": 12, "ledger": 16, "full": 8}


def simulated(seed, kinds=None, rounds=None, **host):
    return analysis.read(Host(seed, **host).lines(kinds or KINDS, rounds or ROUNDS))[0]["w"]


def held(estimates, truth):
    """The share of intervals that hold the truth."""
    return sum(e.low is not None and e.low <= truth <= e.high for e in estimates) / len(estimates)


class Coverage(unittest.TestCase):
    """How often an interval holds what was put in. 150 runs have a standard error of 1.8 %."""

    def test_two_states_of_one_process(self):
        rounds = {"full": 8}
        found = [simulated(seed, {"ours": 3}, rounds).inside("ours", "none", "bare") for seed in range(150)]
        self.assertGreater(held(found, TIMELINE / BARE), 0.92)
        self.assertLess(held(found, TIMELINE / BARE + 0.03), 0.05, "wide for nothing")

    def test_against_never_attached(self):
        rounds = {"before": 10, "ledger": 12}
        found = [simulated(seed, rounds=rounds).change("ours", "ledger", "ledger") for seed in range(150)]
        self.assertGreater(held(found, LEDGER), 0.92)
        self.assertLess(held(found, LEDGER + 0.1), 0.05, "wide for nothing")

    def test_processes_that_change_by_themselves(self):
        rounds = {"before": 10, "ledger": 12}
        found = [simulated(seed, rounds=rounds, wander=0.03).change("ours", "ledger", "ledger") for seed in range(150)]
        # A little less than promised: six processes hardly tell how processes scatter.
        self.assertGreater(held(found, LEDGER), 0.89)

    def test_what_is_left_behind(self):
        rounds = {"before": 10, "full": 8}
        found = [simulated(seed, rounds=rounds).change("ours", "off") for seed in range(100)]
        self.assertGreater(held(found, RESIDUE), 0.92)

    def test_processes_that_cannot_be_switched(self):
        kinds = {"never": 3, "whole": 3, "barewhole": 3}
        for process in (0.0, 0.02):
            found = [simulated(s, kinds, {"before": 8}, process=process).across("whole", "barewhole") for s in range(150)]
            self.assertGreater(held(found, 1.0), 0.91)


class Estimates(unittest.TestCase):
    """Single properties."""

    def test_student(self):
        # From tables.
        for df, level, t in ((1, 0.95, 12.706), (2, 0.95, 4.303), (5, 0.95, 2.571), (30, 0.975, 2.360), (300, 0.95, 1.960)):
            self.assertAlmostEqual(stats.student(df, level), t, delta=0.002)

    def test_too_few(self):
        e = stats.paired([[0.1, 0.2, 0.1]])
        self.assertIsNone(e.low)
        self.assertEqual(e.verdict(2.0), "undecided")
        self.assertIsNone(stats.paired([[]]))
        self.assertIsNone(stats.changes([], [], ("before", "full")))

    def test_verdicts(self):
        e = stats.Estimate(1.01, 1.005, 1.015, 50, 3)
        self.assertEqual([e.verdict(limit) for limit in (1.02, 1.01, 1.001)], ["met", "undecided", "not met"])

    def test_shares_are_of_added_time(self):
        mine, peer = stats.Estimate(1.1, 1.08, 1.12, 9, 3), stats.Estimate(1.8, 1.7, 1.9, 9, 1)
        mid, low, high = claims.share(mine, peer)
        self.assertAlmostEqual(mid, 0.125)
        self.assertTrue(low < mid < high)
        self.assertIsNone(claims.share(mine, stats.Estimate(1.1, 0.9, 1.2, 9, 1)))

    def test_processes_that_differ_widen_the_interval(self):
        source = random.Random(3)
        alike = [[source.gauss(0, 0.02) for _ in range(20)] for _ in range(3)]
        apart = [[v + shift for v in values] for values, shift in zip(alike, (-0.05, 0, 0.05), strict=True)]
        first, second = stats.paired(alike), stats.paired(apart)
        self.assertGreater(second.high - second.low, 3 * (first.high - first.low))

    def test_budget(self):
        stamps = [(i * 0.02, 0.03 if i in range(500, 510) or i in range(900, 920) else 0.02) for i in range(2000)]
        more, span = budget.excess(stamps, [(10.0, 10.195), (18.0, 18.395)])
        self.assertAlmostEqual(sum(more), 0.3, places=6)
        self.assertEqual(len(more), 2)
        mid, bound = budget.share(more, span)
        self.assertAlmostEqual(mid, 0.3 / span)
        self.assertGreater(bound, mid)
        self.assertIsNone(budget.share([], 1.0))

    def test_a_budgets_windows_are_not_blamed_for_what_is_rare(self):
        """One step in twenty takes five times as long, in windows and elsewhere: by medians windows would cost it."""
        source = random.Random(1)
        stamps, at = [], 0.0
        for _ in range(20000):
            stamps.append((at, 0.1 if source.random() < 0.05 else 0.02))
            at += stamps[-1][1]
        windows = [(t, t + 0.2) for t in range(5, int(at) - 5, 5)]
        more, span = budget.excess(stamps, windows)
        self.assertLess(abs(sum(more)) / span, 0.002)


class Turns(unittest.TestCase):
    """What is done in a turn, and which turns are compared."""

    def test_orders_cancel_drift(self):
        """In two turns, every pair of states that is compared has the same mean place."""
        for make, pairs in (
            (group.timeline_turn, (("none", "bare"),)),
            (group.ledger_turn, (("ledger", "mute"),)),
            (group.profiler_turn, (("profiler:cuda", "profiler:both"), ("profiler:cuda", "off"))),
        ):
            places, at = {}, 0
            for number in (0, 1):
                at = 0
                for state, lead, count in make(STEP, number):
                    at += lead
                    places.setdefault(state, []).extend(range(at, at + count))
                    at += count
            for a, b in pairs:
                mean = [sum(places[s]) / len(places[s]) for s in (a, b)]
                self.assertAlmostEqual(*mean, msg=f"{a} and {b}", delta=0.01)

    def test_steps_that_are_short_and_long(self):
        for step in (1e-5, 0.002, 0.03, 2.0):
            for phase in ("before", "ledger", "full"):
                for kind in ("never", "ours", "profiler", "whole", "barewhole"):
                    for _, lead, count in group.plan_of(kind, phase, step, 0):
                        self.assertTrue(0 <= lead <= group.MOST and 0 < count <= 3 * group.MOST)

    def test_only_what_was_in_a_turn_is_compared(self):
        lines = [turn("full", 0, "ours", "a", {"off": [1.0]}), turn("full", 1, "ours", "a", {"none": [9.0]})]
        self.assertIsNone(analysis.read(lines)[0]["w"].inside("ours", "none", "off"))

    def test_rare_costs_count_in_means_alone(self):
        lines = [turn("full", i, "ours", "a", {"off": [1.0] * 8, "none": [1.0] * 7 + [1.8]}) for i in range(8)]
        median, mean = (analysis.read(lines, by)[0]["w"].inside("ours", "none", "off") for by in ("median", "mean"))
        self.assertAlmostEqual(median.mid, 1.0)
        self.assertAlmostEqual(mean.mid, 1.1)

    def test_a_trace_without_the_kernels_is_refused(self):
        lines = list(Host(1).lines({"ours": 2}, {"full": 5}))
        who = {"workload": "w", "title": "W", "run": 1}
        lines.append({"is": "work", "kernels": 100, **who})
        for name, kernels in (("ours-0", 9990), ("ours-1", 5000)):
            end = {"is": "end", "process": name, "kind": "ours", "steps_in": {"none": 60, "launch": 40, "bare": 60}}
            lines.append({**end, "trace_kernels": kernels, **who})
        w = analysis.read(lines)[0]["w"]
        self.assertEqual({t["process"] for t in w.turns}, {"ours-0"})
        self.assertEqual(len(w.refused), 1)

    def test_content_is_equal(self):
        """What the bare consumer enables is what the capture library enables."""
        core = os.path.join(HERE, "..", "..", "cupti")
        if not os.path.isdir(core):
            self.skipTest("a bundle has no sources of the library")
        with open(os.path.join(core, "include", "ws_cupti.h"), encoding="utf-8") as file:
            numbers = dict(re.findall(r"(CUPTI_KIND_\w+) = (\d+)", file.read()))
        with open(os.path.join(core, "ws_timeline.c"), encoding="utf-8") as file:
            lists = re.findall(r"(?:kinds|extra_kinds)\[\] = \{([^}]*)\}", file.read())
        self.assertEqual(len(lists), 2)
        enabled = {numbers[name] for text in lists for name in re.findall(r"CUPTI_KIND_\w+", text)}
        self.assertEqual(enabled, set(captures.CONTENT["node"].split(",")))
        self.assertEqual(enabled | {numbers["CUPTI_KIND_GRAPH_TRACE"]}, set(captures.CONTENT["none"].split(",")))

    def test_workloads_are_told_apart(self):
        self.assertEqual(len({w.key for w in plan.WORKLOADS}), len(plan.WORKLOADS))


if __name__ == "__main__":
    unittest.main()
