"""Where did a series of runs change? Change points, pure and deterministic.

Optimal partitioning (Jackson et al. 2005, what PELT speeds up) proposes them: of all ways to cut the series into
stretches of one level each, the one with the least squared error plus a penalty per cut. Unlike cutting in two again and
again it sees a level that comes back. The noise is taken from the differences between neighbours. A single outlier is
not a change: a stretch has at least two runs.

Runs that follow each other are alike, and a series that wanders is cut again and again by this. So the proposals are
removed one by one, and the set is kept that describes the series best, among all of these and none: by the likelihood of
an autoregression around the levels, less a penalty per cut.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from orchestrator.analyse.autoregression import Levels, clipped, deviation

FEWEST = 2
# The penalty is the noise's variance times FIXED + GROWING log n; chosen by simulation
# (tests/unit/test_trend.py): a steady series of 6 to 100 runs with heavy tails is cut in under 5 %.
FIXED, GROWING = 6.0, 3.0
# The same for a cut's gain in twice the log likelihood: with a correlation of 0.8 between neighbours a steady series is
# cut in under 10 %.
LIKELIER_FIXED, LIKELIER_GROWING = 6.0, 2.6


def change_points(values: Sequence[float], smallest: float) -> list[int]:
    """Return the positions at which a new level begins, ascending.

    values: shape (n,), in order of time, on a scale on which differences matter (logarithms).
    smallest: smaller differences between neighbouring levels are ignored.
    """
    if len(values) < 2 * FEWEST or max(values) == min(values):
        return []
    calm = clipped(values)
    proposed = _cuts(calm, deviation(values) ** 2 * (FIXED + GROWING * math.log(len(calm))))
    return _likeliest(calm, _large_enough(calm, proposed, smallest))


def _cuts(values: list[float], penalty: float) -> list[int]:
    """Return the cuts of the cheapest partition."""
    import numpy as np

    series, n = np.asarray(values), len(values)
    sums = np.concatenate([[0.0], series.cumsum()])
    squares = np.concatenate([[0.0], (series**2).cumsum()])
    cheapest, last_cut = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=int)
    cheapest[0] = -penalty
    for end in range(FEWEST, n + 1):
        start = np.arange(end - FEWEST + 1)
        error = squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start)
        total = cheapest[start] + np.maximum(error, 0.0) + penalty
        last_cut[end] = int(total.argmin())
        cheapest[end] = total[last_cut[end]]
    cuts, end = [], int(last_cut[n])
    while end > 0:
        cuts.append(end)
        end = int(last_cut[end])
    return sorted(cuts)


def _large_enough(values: list[float], cuts: list[int], smallest: float) -> list[int]:
    """Return the cuts whose steps are at least `smallest`.

    The smallest step is removed until all are.
    """
    edges = [0, *cuts, len(values)]
    levels = [_mean(values, a, b) for a, b in itertools.pairwise(edges)]
    steps = [abs(new - old) for old, new in itertools.pairwise(levels)]
    while steps and min(steps) < smallest:
        least = steps.index(min(steps))
        # Two stretches become one: only its level and the steps beside it are new.
        del edges[least + 1], levels[least + 1], steps[least]
        levels[least] = _mean(values, edges[least], edges[least + 1])
        for k in range(max(0, least - 1), min(least + 1, len(steps))):
            steps[k] = abs(levels[k + 1] - levels[k])
    return edges[1:-1]


def _mean(values: list[float], start: int, end: int) -> float:
    return sum(values[start:end]) / (end - start)


def _likeliest(values: list[float], cuts: list[int]) -> list[int]:
    """Return the best of the sets that remain when the cut that explains the least is removed again and again."""
    penalty = LIKELIER_FIXED + LIKELIER_GROWING * math.log(len(values))
    best, kept = math.inf, cuts
    levels = Levels(values, cuts)
    while True:
        if levels.misfit + penalty * len(cuts) < best:
            best, kept = levels.misfit + penalty * len(cuts), cuts
        if not cuts:
            return kept
        least = int(levels.saved.argmin())
        levels.remove(least)
        cuts = [*cuts[:least], *cuts[least + 1 :]]
