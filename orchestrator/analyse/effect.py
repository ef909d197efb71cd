"""How different are two sides, and how certain is that? Pure.

On the scale of logarithms for ratios, as it is for shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.analyse.statistics import CONFIDENCE, mean_and_half_width, t_quantile, two_sided_p
from orchestrator.result import Interval

EXACT_UP_TO = 1 << 16
MONTE_CARLO = 5_000
MOST_TRIALS = 200
# Arrangements of a permutation test that are in memory at once hold about this many numbers (1 MB).
AT_ONCE = 1 << 17
# A standard error that is only the rounding of floating-point numbers.
IDENTICAL = 1e-12


@dataclass(frozen=True, slots=True)
class Effect:
    """Candidate minus baseline, on the scale of the values.

    Differences of logarithms are log ratios.

    interval: 95 %, by Student's t, Welch's where the sides are not paired. p_permutation: exact, Monte-Carlo with a fixed
    seed above 65 536 arrangements; no assumption, but few trials cannot make it small. p_t: two-sided, of the same t; of
    identical values, whose spread nothing is known about, it is p_permutation.
    spread: standard deviation such that spread / sqrt(trials) is the standard error. trials: pairs, or the smaller side.
    degrees: of freedom, of the standard error.
    """

    interval: Interval
    p_permutation: float
    p_t: float
    spread: float
    trials: int
    paired: bool
    degrees: float = math.inf

    @property
    def ratio(self) -> Interval:
        """Return the interval as a ratio, of an effect on logarithms."""
        low, high = self.interval.low, self.interval.high
        assert low is not None
        assert high is not None
        return Interval(math.exp(self.interval.estimate), math.exp(low), math.exp(high))


def paired(baseline: Sequence[float], candidate: Sequence[float]) -> Effect | None:
    """Return the effect over pairs of trials, shape (n,) each; None without at least two pairs."""
    n = len(baseline)
    if n < 2 or n != len(candidate):
        return None
    differences = [new - old for old, new in zip(baseline, candidate, strict=True)]
    centre, half = mean_and_half_width(differences)
    assert half is not None
    spread = math.sqrt(math.fsum((value - centre) ** 2 for value in differences) / (n - 1))
    p_flip = sign_flip_p(differences)
    p_t = _p(centre, spread / math.sqrt(n), n - 1, p_flip)
    return Effect(Interval(centre, centre - half, centre + half), p_flip, p_t, spread, n, True, n - 1)


def unpaired(baseline: Sequence[float], candidate: Sequence[float]) -> Effect | None:
    """Return the effect over unpaired trials, shapes (n,) and (m,).

    None without at least two on each side.

    Welch 1947: the sides may vary differently.
    """
    n, m = len(baseline), len(candidate)
    if min(n, m) < 2:
        return None
    means = math.fsum(baseline) / n, math.fsum(candidate) / m
    variances = [
        math.fsum((value - mean) ** 2 for value in side) / (len(side) - 1)
        for side, mean in zip((baseline, candidate), means, strict=True)
    ]
    parts = variances[0] / n, variances[1] / m
    error, centre = math.sqrt(sum(parts)), means[1] - means[0]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)) if error else n + m - 2.0
    half = t_quantile((1 + CONFIDENCE) / 2, degrees) * error
    few = min(n, m)
    interval, p_split = Interval(centre, centre - half, centre + half), split_p(baseline, candidate)
    p_t = _p(centre, error, degrees, p_split)
    return Effect(interval, p_split, p_t, error * math.sqrt(few), few, False, degrees)


def between_runs(effect: Effect, deviation: float, degrees: float) -> Effect:
    """Return the effect of two runs, with the variation from run to run in its interval and p_t.

    deviation: standard deviation from run to run, on the scale of the values, known with these degrees of freedom.
    Each run has one deviation of its own, which more trials do not average out: 2 deviation^2 is added to the variance
    (Welch-Satterthwaite for the degrees).
    """
    runs, trials = 2 * deviation**2, effect.spread**2 / effect.trials
    error, centre = math.sqrt(runs + trials), effect.interval.estimate
    together = (runs + trials) ** 2 / (runs**2 / degrees + trials**2 / effect.degrees) if error else degrees
    half = t_quantile((1 + CONFIDENCE) / 2, together) * error
    return replace(
        effect,
        interval=Interval(centre, centre - half, centre + half),
        p_t=_p(centre, error, together, effect.p_permutation),
        spread=error * math.sqrt(effect.trials),
        degrees=together,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple comparisons (Holm 1979).

    Below 0.05 holds for the whole family.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def trials_needed(effect: Effect, border: float, family: int) -> int | None:
    """Return how many pairs, or trials on each side, would settle it at this mean and spread.

    None: more than MOST_TRIALS.

    Enough for the difference to be significant among `family` metrics where it is beyond the
    border, else for the interval to lie within it.
    """
    centre = abs(effect.interval.estimate)
    beyond = centre >= border
    distance = centre if beyond else border - centre
    level = 1 - (1 - CONFIDENCE) / (2 * (family if beyond else 1))
    for n in range(2, MOST_TRIALS + 1):
        degrees = n - 1 if effect.paired else 2 * n - 2
        # Identical values are judged by their permutations: 2 of 2^n signs, or of the splits.
        fewest_p = 2 / (2**n if effect.paired else math.comb(2 * n, n))
        if beyond and not effect.spread > IDENTICAL * max(1.0, centre) and fewest_p >= 2 * (1 - level):
            continue
        if t_quantile(level, degrees) * effect.spread / math.sqrt(n) <= distance:
            return n
    return None


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test on the mean.

    The share of sign patterns at least as extreme as the observed one.
    Fisher's randomisation test for pairs; with n pairs it cannot be below 2/2^n.
    """
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    n = values.size
    observed = abs(values.sum()) * (1 - 1e-12)
    if 2**n <= EXACT_UP_TO:
        extreme = sum(
            int((np.abs((1.0 - 2.0 * ((pattern[:, None] >> np.arange(n)) & 1)) @ values) >= observed).sum())
            for pattern in np.array_split(np.arange(2**n), -(-(2**n) * n // AT_ONCE))
        )
        return float(extreme / 2**n)
    draw, extreme = np.random.default_rng(1), 0
    for drawn in _blocks(n):
        extreme += int((np.abs(draw.choice([-1.0, 1.0], size=(drawn, n)) @ values) >= observed).sum())
    return (extreme + 1) / (MONTE_CARLO + 1)


def split_p(baseline: Sequence[float], candidate: Sequence[float]) -> float:
    """Return the two-sided permutation p on the difference of means.

    The share of splits at least as extreme as the observed one.
    5 against 5: 252 splits, so never below 2/252.
    """
    import itertools

    import numpy as np

    values = np.asarray([*baseline, *candidate], dtype=np.float64)
    n, m = len(baseline), len(candidate)
    # With the total fixed, the sum of one side determines the difference.
    expected = values.sum() * m / (n + m)
    observed = abs(values[n:].sum() - expected) * (1 - 1e-12)
    if math.comb(n + m, m) <= EXACT_UP_TO:
        chosen = np.array(list(itertools.combinations(range(n + m), m)))
        return float((np.abs(values[chosen].sum(axis=1) - expected) >= observed).mean())
    draw, extreme = np.random.default_rng(1), 0
    for drawn in _blocks(n + m):
        order = draw.random((drawn, n + m)).argsort(axis=1)[:, :m]
        extreme += int((np.abs(values[order].sum(axis=1) - expected) >= observed).sum())
    return (extreme + 1) / (MONTE_CARLO + 1)


def _blocks(width: int) -> Iterator[int]:
    """Yield how many arrangements of this many numbers to draw at once, MONTE_CARLO in all.

    The numbers drawn are the same as in one piece.
    """
    left, most = MONTE_CARLO, max(1, AT_ONCE // width)
    while left:
        yield min(left, most)
        left -= min(left, most)


def _p(centre: float, error: float, degrees: float, p_permutation: float) -> float:
    """Return the p-value of t = centre / error; of the permutation test where all values are the same but for rounding."""
    if error > IDENTICAL * max(1.0, abs(centre)):
        return two_sided_p(centre / error, degrees)
    return p_permutation if centre else 1.0
