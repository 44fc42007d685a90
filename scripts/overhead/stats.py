"""Statistics of paired measurements, in the standard library alone.

The estimate is the median of per-pair ratios. Its interval is that of the sign test: the order statistics between
which the median lies with at least the level's probability, whatever the distribution of the noise. Drift has
cancelled inside the pairs (analysis.py). Pairs of one process resemble each other more than those
of another; where the sessions' medians scatter more than chance allows, pairs count as correspondingly fewer (the
design effect of cluster samples), which widens the interval.
"""

import math
import statistics
from dataclasses import dataclass

LEVEL = 0.95


@dataclass
class Estimate:
    """A median with its interval; low and high are None where there are too few pairs for one."""

    mid: float
    low: float | None
    high: float | None
    pairs: int
    effective: float  # pairs after the design effect

    def text(self, digits=3):
        if self.low is None:
            return f"{self.mid:.{digits}f} (n {self.pairs}, too few for an interval)"
        return f"{self.mid:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}] n {self.pairs}"

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
            self.pairs,
            self.effective,
        )


def sign_rank(n, level=LEVEL):
    """The largest k such that the k-th smallest and the k-th largest of n values hold the median between them with
    at least that probability; 0 if there is none."""
    rest = (1 - level) / 2
    total, k = 0.0, 0
    for i in range(n):
        # Logarithms: 2^-n is nothing from n = 1075.
        total += math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2))
        if total > rest:
            break
        k = i + 1
    return k


def by_chance(k, share=0.9):
    """What the scatter between k groups alike exceeds that within them by in all but 1 - share of cases: the
    quantile of F(k - 1, ∞), by Wilson and Hilferty's approximation of chi-square."""
    d = k - 1
    z = statistics.NormalDist().inv_cdf(share)
    return (1 - 2 / (9 * d) + z * math.sqrt(2 / (9 * d))) ** 3


def design_effect(groups):
    """How many pairs count as one, from the scatter between groups (sessions) against that within them; 1 where the
    groups do not differ by more than chance."""
    groups = [g for g in groups if len(g) > 1]
    n = sum(len(g) for g in groups)
    k = len(groups)
    if k < 2:
        return 1.0
    # Ranks, so that a few wild pairs do not decide.
    order = sorted((value, i) for i, g in enumerate(groups) for value in g)
    ranks = [[] for _ in groups]
    for rank, (_, i) in enumerate(order):
        ranks[i].append(rank)
    grand = (n - 1) / 2
    between = sum(len(r) * (statistics.fmean(r) - grand) ** 2 for r in ranks) / (k - 1)
    within = sum((x - statistics.fmean(r)) ** 2 for r in ranks for x in r) / (n - k)
    size = (n - sum(len(g) ** 2 for g in groups) / n) / (k - 1)
    if within <= 0 or between <= within * by_chance(k):
        return 1.0
    alike = (between - within) / (between + (size - 1) * within)  # intraclass correlation
    return 1 + (size - 1) * alike


def estimate(groups, level=LEVEL):
    """The median over all values of the groups, with its interval."""
    values = sorted(v for g in groups for v in g)
    n = len(values)
    if n == 0:
        return None
    mid = statistics.median(values)
    effective = n / design_effect(groups)
    whole = max(1, int(effective))
    k = sign_rank(whole, level)
    if k == 0:
        return Estimate(mid, None, None, n, effective)
    # With fewer effective pairs: the same share of the ranks on either side of the middle.
    away = ((whole + 1) / 2 - k) * n / whole
    low = max(1, math.floor((n + 1) / 2 - away)) if whole < n else k
    return Estimate(mid, values[low - 1], values[n - low], n, effective)
