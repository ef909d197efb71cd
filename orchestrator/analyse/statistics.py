"""Uncertainty over trials: the trial is the unit of replication. Never an interval from requests inside one trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from orchestrator.result import Interval

CONFIDENCE = 0.95
EXACT_UP_TO = 1 << 16
MONTE_CARLO = 20_000


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


def paired_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> tuple[Interval, float] | None:
    """Candidate over baseline, paired by block: the ratio with a t-interval on log ratios, and a p-value.

    The p-value is the exact sign-flip permutation test on the mean log ratio (Fisher's randomisation test), Monte-Carlo
    with a fixed seed above 16 pairs. None without at least two pairs of values above zero.
    """
    if len(baseline) < 2 or len(baseline) != len(candidate) or min(*baseline, *candidate) <= 0:
        return None
    logs = [math.log(new / old) for old, new in zip(baseline, candidate, strict=True)]
    centre, half = _mean_and_half_width(logs)
    assert half is not None
    ratio = Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))
    return ratio, sign_flip_p(logs)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test on the mean: the share of sign patterns at least as extreme as the observed."""
    observed = abs(sum(differences)) * (1 - 1e-12)
    if 2 ** len(differences) <= EXACT_UP_TO:
        patterns = itertools.product((1, -1), repeat=len(differences))
        sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in patterns]
        return sum(total >= observed for total in sums) / len(sums)
    import numpy as np

    draw = np.random.default_rng(1)
    signs = draw.choice([-1.0, 1.0], size=(MONTE_CARLO, len(differences)))
    extreme = int((np.abs(signs @ np.asarray(differences)) >= observed).sum())
    return (extreme + 1) / (MONTE_CARLO + 1)


def _mean_and_half_width(values: list[float]) -> tuple[float, float | None]:
    n = len(values)
    centre = math.fsum(values) / n
    if n < 2:
        return centre, None
    from scipy.stats import t

    deviation = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1))
    return centre, float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
