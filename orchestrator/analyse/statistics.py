"""Uncertainty over trials: the trial is the unit of replication. Never an interval from requests inside one trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.result import Interval

CONFIDENCE = 0.95
EXACT_UP_TO = 1 << 16
MONTE_CARLO = 20_000
MOST_PAIRS = 200


def t_quantile(level: float, degrees: float) -> float:
    """Give the quantile of Student's t. scipy.stats gives the same numbers, and takes a second longer to import."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


def two_sided_p(t: float, degrees: float) -> float:
    """Give the two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))


def geometric_mean(values: Sequence[float]) -> Interval | None:
    """Geometric mean with a t-interval on the logarithms; no interval from fewer than two values.

    None when there is no value, or one that is not above zero (a logarithm would not exist).
    """
    if not values or min(values) <= 0:
        return None
    logs = [math.log(value) for value in values]
    centre, half = _mean_and_half_width(logs)
    if half is None:
        return Interval(math.exp(centre), None, None)
    return Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


@dataclass(frozen=True, slots=True)
class Paired:
    """Candidate over baseline, paired by block. ratio: with a t-interval on log ratios.

    p_flip: exact sign-flip permutation test on the mean log ratio (Fisher's randomisation test), Monte-Carlo with a fixed
    seed above 16 pairs; with n pairs it cannot be below 2/2^n. p_t: paired t-test on the same, two-sided.
    spread: standard deviation of the log ratios. pairs: how many.
    """

    ratio: Interval
    p_flip: float
    p_t: float
    spread: float
    pairs: int


def paired_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> Paired | None:
    """Compare trials pair by pair, shape (n,) each; None without at least two pairs of values above zero."""
    if len(baseline) < 2 or len(baseline) != len(candidate) or min(*baseline, *candidate) <= 0:
        return None
    logs = [math.log(new / old) for old, new in zip(baseline, candidate, strict=True)]
    n = len(logs)
    centre, half = _mean_and_half_width(logs)
    assert half is not None
    ratio = Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))
    spread = math.sqrt(math.fsum((value - centre) ** 2 for value in logs) / (n - 1))
    error = spread / math.sqrt(n)
    p_t = two_sided_p(centre / error, n - 1) if error else float(centre == 0)
    return Paired(ratio, sign_flip_p(logs), p_t, spread, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for having looked at several things (Holm 1979): below 0.05 means so for the whole family."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def pairs_needed(found: Paired, smallest_effect: float, family: int) -> int | None:
    """How many pairs would settle it, if mean and spread stay what they are; None: more than MOST_PAIRS.

    Enough for the difference to be significant among `family` metrics where it is beyond the smallest effect, else for the
    interval to lie within it.
    """
    centre, border = abs(math.log(found.ratio.estimate)), math.log1p(smallest_effect)
    beyond = centre >= border
    distance = centre if beyond else border - centre
    level = 1 - (1 - CONFIDENCE) / (2 * (family if beyond else 1))
    for n in range(2, MOST_PAIRS + 1):
        if t_quantile(level, n - 1) * found.spread / math.sqrt(n) <= distance:
            return n
    return None


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test on the mean: the share of sign patterns at least as extreme as the observed."""
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    n = values.size
    observed = abs(values.sum()) * (1 - 1e-12)
    if 2**n <= EXACT_UP_TO:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ values) >= observed).mean())
    draw = np.random.default_rng(1)
    signs = draw.choice([-1.0, 1.0], size=(MONTE_CARLO, n))
    extreme = int((np.abs(signs @ values) >= observed).sum())
    return (extreme + 1) / (MONTE_CARLO + 1)


def _mean_and_half_width(values: list[float]) -> tuple[float, float | None]:
    n = len(values)
    centre = math.fsum(values) / n
    if n < 2:
        return centre, None
    deviation = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1))
    return centre, t_quantile((1 + CONFIDENCE) / 2, n - 1) * deviation / math.sqrt(n)
