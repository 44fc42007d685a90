"""Statistics of turns, in the standard library alone.

What is known of a process is one figure a turn: a difference of logarithms of times. Its location is the mean without
the tenth at either end, since a turn that the host disturbed tells nothing. The error has two levels, as the data
have: turns of a process (a bootstrap over turns, those of one round together), and processes of a kind, which differ
by more than their turns do (where memory lies). The second is what the scatter between processes exceeds that of the
bootstrap by; with few processes its quantile is Student's. Both together are the interval.
"""

import math
import random
import statistics
from dataclasses import dataclass

LEVEL = 0.95
TRIM = 0.1
DRAWS = 400
# Fewer turns tell nothing of how they scatter.
LEAST_TURNS = 4


@dataclass
class Estimate:
    """A ratio with its interval; low and high are None where there is too little for one."""

    mid: float
    low: float | None
    high: float | None
    turns: int
    processes: int

    def text(self, digits=3):
        size = f"n {self.turns}/{self.processes}"
        if self.low is None:
            return f"{self.mid:.{digits}f} ({size}, too few for an interval)"
        return f"{self.mid:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}] {size}"

    def verdict(self, limit):
        """Whether the figure is at most the limit: "met", "not met" or "undecided"."""
        if self.low is None:
            return "undecided"
        if self.high <= limit:
            return "met"
        return "not met" if self.low > limit else "undecided"

    def map(self, function):
        """The estimate of an increasing function of the figure."""
        both = self.low is not None
        return Estimate(
            function(self.mid),
            function(self.low) if both else None,
            function(self.high) if both else None,
            self.turns,
            self.processes,
        )


def location(values):
    """The mean without the tenth at either end."""
    cut = int(len(values) * TRIM)
    return statistics.fmean(sorted(values)[cut : len(values) - cut] if cut else values)


def student(df, level=LEVEL):
    """The two-sided quantile of Student's t: by bisection of its distribution function, which for whole degrees of
    freedom is a finite sum."""
    low, high = 0.0, 1e4
    for _ in range(200):
        mid = (low + high) / 2
        if within(mid, df) < level:
            low = mid
        else:
            high = mid
    return (low + high) / 2


def within(t, df):
    """P(|T| ≤ t)."""
    if df > 200:
        return math.erf(t / math.sqrt(2))
    theta = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    term = total = cosine if df % 2 else 1.0
    for k in range(2 if df % 2 else 1, df - 1, 2):
        term *= cosine * cosine * k / (k + 1)
        total += term
    if df % 2 == 0:
        return sine * total
    return 2 / math.pi * (theta + (sine * total if df > 1 else 0))


def estimate(mid, draws, independent, turns, scatters, processes, level=LEVEL):
    """The ratio exp(mid). draws: mid again, in bootstraps over so many things that are independent. scatters: for each kind of processes in the
    figure, (figures of its processes, standard errors of these); processes: how many there are of the first kind."""
    if independent < LEAST_TURNS:
        return Estimate(math.exp(mid), None, None, turns, processes)
    # A bootstrap knows the scatter around its own mean.
    own = statistics.pstdev(draws) * math.sqrt(independent / (independent - 1))
    wide = (student(independent - 1, level) * own) ** 2
    over, freedom, share = 0.0, 0, 0.0
    for figures, errors in scatters:
        share += 1 / len(figures)
        if len(figures) > 1:
            freedom += len(figures) - 1
            noise = statistics.fmean(e * e for e in errors)
            over += (len(figures) - 1) * (statistics.variance(figures) - noise)
    if freedom:
        wide += student(freedom, level) ** 2 * max(0.0, over / freedom) * share
    wide = math.sqrt(wide)
    return Estimate(math.exp(mid), math.exp(mid - wide), math.exp(mid + wide), turns, processes)


def draws_of(items, seed=1):
    """Bootstrap samples of the indices of so many items."""
    source = random.Random(seed)
    return [source.choices(range(items), k=items) for _ in range(DRAWS)]


def paired(by_process, level=LEVEL):
    """by_process: for each process the differences of its turns."""
    by_process = [v for v in by_process if v]
    if not by_process:
        return None
    figures = [location(v) for v in by_process]
    samples = [[location([v[i] for i in s]) for s in draws_of(len(v), at)] for at, v in enumerate(by_process)]
    weights = [len(v) for v in by_process]
    mid = weighted(figures, weights)
    draws = [weighted(d, weights) for d in zip(*samples, strict=True)]
    errors = [statistics.pstdev(s) for s in samples]
    return estimate(mid, draws, sum(weights), sum(weights), [(figures, errors)], len(figures), level)


def weighted(values, weights):
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def changes(treated, controls, phases, level=LEVEL):
    """By how much the treated changed from one phase to the other, against the controls, which took turns with them.
    treated, controls: for each process {phase: {round: log time}}; phases: (before, after), or (only,) for a plain
    comparison of the two kinds."""
    for phase in phases:
        treated = [p for p in treated if p.get(phase)]
        controls = [p for p in controls if p.get(phase)]
    if not treated or not controls:
        return None
    rounds = [sorted(set().union(*(p[phase] for p in treated + controls))) for phase in phases]
    levels = [drift(controls, phase, numbers) for phase, numbers in zip(phases, rounds, strict=True)]

    def figure(process, picks):
        """How much it changed against what the controls were in the same rounds."""
        found = []
        for phase, numbers, level_, pick in zip(phases, rounds, levels, picks, strict=True):
            own = process[phase]
            values = [own[numbers[i]] - level_[i] for i in pick if numbers[i] in own and level_[i] is not None]
            if not values:
                return None
            found.append(location(values))
        return found[-1] - found[0] if len(found) > 1 else found[0]

    whole = [range(len(numbers)) for numbers in rounds]
    picks = list(zip(*(draws_of(len(numbers), at) for at, numbers in enumerate(rounds)), strict=True))

    def all_of(processes):
        figures = [figure(p, whole) for p in processes]
        drawn = [[f for f in (figure(p, pick) for pick in picks) if f is not None] for p in processes]
        return figures, drawn

    own, own_drawn = all_of(treated)
    other, other_drawn = all_of(controls)
    if None in own or None in other or any(len(d) < DRAWS / 2 for d in own_drawn + other_drawn):
        return None
    mid = statistics.fmean(own) - statistics.fmean(other)
    draws = [
        statistics.fmean(a) - statistics.fmean(b)
        for a, b in zip(zip(*own_drawn, strict=False), zip(*other_drawn, strict=False), strict=False)
    ]
    scatters = [
        (figures, [statistics.pstdev(d) for d in drawn]) for figures, drawn in ((own, own_drawn), (other, other_drawn))
    ]
    independent = min(len(numbers) for numbers in rounds)
    return estimate(mid, draws, independent, independent * len(treated), scatters, len(treated), level)


def drift(controls, phase, numbers):
    """By how much the controls were slower than usually, by round: each by what it is itself usually, so that one that
    is missing does not shift it. None where none of them was there."""
    usual = [location(list(p[phase].values())) for p in controls]
    found = []
    for number in numbers:
        there = [p[phase][number] - u for p, u in zip(controls, usual, strict=True) if number in p[phase]]
        found.append(statistics.fmean(there) if there else None)
    return found
