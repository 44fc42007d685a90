#!/usr/bin/env python3
"""Checks the benchmark's statistics on invented step times of known effect: overhead.sh --simulate.

Times have what real ones have: noise with heavy tails, drift of the host, processes that differ by 15 %, sessions in
which an effect is a little larger or smaller. An interval of 95 % must hold the truth in about 95 of 100
repetitions; that is asserted with fixed seeds, no clock is read.
"""

import math
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
import plan
import stats
from session import orders

STEP = 0.021  # seconds


class Host:
    """A made-up machine. effects: by (process, state), the factor on a step."""

    def __init__(self, seed, noise=0.02, drift=0.15, process=0.15, session=0.0, tails=0.05):
        self.random = random.Random(seed)
        self.noise, self.drift, self.process, self.session, self.tails = noise, drift, process, session, tails

    def lines(self, effects, sessions, blocks, part="p: w"):
        for session in range(sessions):
            own, extra = {}, {}
            for how, state in effects:
                own.setdefault(how, self.random.gauss(0, self.process))
                extra[how, state] = self.random.gauss(0, self.session)
            slope = self.random.gauss(0, self.drift)
            order = {how: orders([s for h, s in effects if h == how], seed=session) for how in own}
            windows, at = sum(len(list(s)) for s in [effects]) * blocks, 0
            for block in range(blocks):
                for how in list(own) if block % 2 == 0 else list(own)[::-1]:
                    for state in next(order[how]):
                        wide = 6 if self.random.random() < self.tails else 1
                        factor = effects[how, state] + (extra[how, state] if effects[how, state] != 1 else 0)
                        mean = STEP * (1 + own[how]) * (1 + slope * at / windows) * factor
                        mean *= 1 + abs(self.random.gauss(0, self.noise * wide))
                        at += 1
                        yield window(part, session, block, how, state, mean)
            yield {"is": "session", "part": part, "workload": "w", "session": session, "title": "W", "facts": {}}


def window(part, session, block, how, state, mean):
    where = {"is": "window", "part": part, "workload": "w", "session": session, "block": block}
    return {**where, "process": how, "state": state, "mean": mean, "median": mean, "steps": 20}


def simulated(effects, sessions=6, blocks=20, **host):
    return analysis.read(Host(**host).lines(effects, sessions, blocks))[0]["w"]


INSIDE = {("none", "off"): 1.0, ("none", "bare:none"): 1.15, ("none", "warpscope"): 1.15 * 1.03}
TRUTH = 1.03


def inside(seed, **host):
    return simulated(INSIDE, seed=seed, **host).inside(("none", "warpscope"), ("none", "bare:none"))


def share_that_holds(make, truth, runs):
    held = 0
    for seed in range(runs):
        e = make(seed)
        held += e.low is not None and e.low <= truth <= e.high
    return held / runs


class Coverage(unittest.TestCase):
    """How often an interval holds what was put in. 300 runs have a standard error of 1.3 %."""

    def test_pairs_of_one_process(self):
        self.assertGreater(share_that_holds(inside, TRUTH, 300), 0.93)

    def test_pairs_are_not_wide_for_nothing(self):
        self.assertLess(share_that_holds(lambda seed: inside(seed, noise=0.002, tails=0), TRUTH + 0.003, 100), 0.05)

    def test_heavy_tails(self):
        self.assertGreater(share_that_holds(lambda seed: inside(seed, tails=0.3), TRUTH, 300), 0.93)

    def test_sessions_that_disagree(self):
        self.assertGreater(share_that_holds(lambda seed: inside(seed, session=0.02), TRUTH, 300), 0.91)

    def test_two_processes(self):
        effects = {
            ("bare", "off"): 1.0,
            ("bare", "bare:none"): 1.15,
            ("none", "off"): 1.0,
            ("none", "warpscope"): 1.15 * 1.03,
        }

        def make(seed):
            w = simulated(effects, seed=seed)
            return w.double(("none", "warpscope"), ("none", "off"), ("bare", "bare:none"), ("bare", "off"))

        self.assertGreater(share_that_holds(make, TRUTH, 300), 0.93)

    def test_across_processes(self):
        effects = {("never", "off"): 1.0, ("ledger", "off"): 1.03}
        for sessions in (6, 12):
            make = lambda seed, n=sessions: simulated(effects, sessions=n, blocks=6, seed=seed).across(
                ("ledger", "off"), ("never", "off")
            )
            self.assertGreater(share_that_holds(make, TRUTH, 300), 0.93)

    def test_attached_late(self):
        def make(seed):
            host = Host(seed)
            lines = []
            for session in range(6):
                own = {"never": host.random.gauss(1, 0.15), "late:ledger": host.random.gauss(1, 0.15)}
                for block in range(24):
                    drift = 1 + 0.01 * block
                    for how, factor in own.items():
                        state = "off" if block < 12 else "after"
                        effect = TRUTH if how != "never" and state == "after" else 1
                        mean = STEP * factor * drift * effect * (1 + abs(host.random.gauss(0, 0.02)))
                        lines.append(window("p", session, block, how, state, mean))
            return analysis.read(lines)[0]["w"].late("late:ledger")

        self.assertGreater(share_that_holds(make, TRUTH, 300), 0.93)


class Estimates(unittest.TestCase):
    """Single properties."""

    def test_ranks_of_the_sign_test(self):
        # From tables of the binomial distribution.
        self.assertEqual([stats.sign_rank(n) for n in (5, 6, 8, 9, 20, 50, 100)], [0, 1, 1, 2, 6, 18, 40])
        self.assertGreater(stats.sign_rank(5000), 2400)

    def test_too_few(self):
        e = stats.estimate([[1.0, 1.1, 1.2]])
        self.assertIsNone(e.low)
        self.assertEqual(e.verdict(2.0), "undecided")
        self.assertIsNone(stats.estimate([]))

    def test_verdicts(self):
        e = stats.Estimate(1.01, 1.005, 1.015, 50, 50)
        self.assertEqual([e.verdict(limit) for limit in (1.02, 1.01, 1.001)], ["met", "undecided", "not met"])

    def test_shares_are_of_added_time(self):
        mine, peer = stats.Estimate(1.1, 1.08, 1.12, 9, 9), stats.Estimate(1.8, 1.7, 1.9, 9, 9)
        mid, low, high = claims.share(mine, peer)
        self.assertAlmostEqual(mid, 0.125)
        self.assertTrue(low < mid < high)
        self.assertIsNone(claims.share(mine, stats.Estimate(1.1, 0.9, 1.2, 9, 9)))

    def test_budget(self):
        stamps = [(i * 0.02, 0.03 if i in range(500, 510) or i in range(900, 920) else 0.02) for i in range(2000)]
        more, span = budget.excess(stamps, [(10.0, 10.195), (18.0, 18.395)])
        self.assertAlmostEqual(sum(more), 0.3, places=6)
        self.assertEqual(len(more), 2)
        mid, bound = budget.share(more, span)
        self.assertAlmostEqual(mid, 0.3 / span)
        self.assertGreater(bound, mid)
        self.assertIsNone(budget.share([], 1.0))

    def test_steady_sessions_cost_nothing(self):
        r = random.Random(1)
        self.assertEqual(stats.design_effect([[r.gauss(1, 0.01) for _ in range(20)] for _ in range(6)]), 1.0)
        self.assertGreater(stats.design_effect([[r.gauss(i, 0.01) for _ in range(20)] for i in range(6)]), 10)


class Windows(unittest.TestCase):
    """Which windows are compared."""

    def test_orders_turn_round(self):
        source = orders(["a", "b", "c"], seed=3)
        seen = [next(source) for _ in range(24)]
        self.assertTrue(all(seen[i] == seen[i + 1][::-1] for i in range(0, 24, 2)))
        for place in range(3):
            self.assertEqual(sorted(order[place] for order in seen), sorted("abc" * 8))

    def test_only_windows_of_one_block_are_pairs(self):
        lines = [window("p", 1, 0, "none", "off", 1.0), window("p", 1, 1, "none", "warpscope", 9.0)]
        self.assertIsNone(analysis.read(lines)[0]["w"].inside(("none", "warpscope"), ("none", "off")))

    def test_steady_drift_cancels(self):
        w = simulated(INSIDE, seed=5, noise=0, tails=0, drift=0.5)
        e = w.inside(("none", "warpscope"), ("none", "off"))
        self.assertAlmostEqual(e.low, 1.15 * 1.03, places=3)
        self.assertAlmostEqual(e.high, 1.15 * 1.03, places=3)

    def test_rare_costs_of_short_windows_count_in_the_mean_alone(self):
        lines = []
        for block in range(160):
            for state, mean in (("off", STEP), ("warpscope", STEP * (1.1 if block % 8 == 3 else 1))):
                lines.append({**window("p", 1, block, "none", state, mean), "steps": 1})
        lines.append({**window("alone", 1, 0, "none", "on", STEP), "steps": 1000})  # another part's are long
        mean, median = (analysis.read(lines, by)[0]["w"].inside(("none", "warpscope"), ("none", "off")) for by in ("mean", "median"))
        self.assertAlmostEqual(math.log(mean.mid), math.log(1.1) / 8, places=6)
        self.assertEqual((median.mid, mean.pairs, median.pairs), (1.0, 10, 80))

    def test_a_trace_without_the_kernels_is_refused(self):
        lines = list(Host(1).lines(INSIDE, sessions=2, blocks=6))
        ran = {
            "is": "work",
            "part": "p: w",
            "workload": "w",
            "session": 0,
            "process": "none",
            "state": "bare:none",
            "kernels": 100,
            "graphs": 0,
        }
        end = {
            "is": "end",
            "part": "p: w",
            "workload": "w",
            "process": "none",
            "steps_in": {"warpscope": 50},
            "warm_steps": 10,
        }
        good, bad = {**end, "session": 0, "trace_kernels": 6000}, {**end, "session": 1, "trace_kernels": 1000}
        w = analysis.read([*lines, ran, good, bad])[0]["w"]
        self.assertEqual(w.inside(("none", "warpscope"), ("none", "off")).pairs, 3)
        self.assertEqual(w.inside(("none", "bare:none"), ("none", "off")).pairs, 6)
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

    def test_parts_are_told_apart(self):
        every = [p for parts in plan.PARTS.values() for p in parts]
        self.assertEqual(len({p.key for p in every}), len(every))
        for number, parts in plan.PARTS.items():
            self.assertLessEqual(sum(p.seconds for p in parts), 470, f"part {number} takes more than 8 minutes")


if __name__ == "__main__":
    unittest.main()
