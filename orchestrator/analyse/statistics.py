"""Uncertainty over trials: the trial is the unit of replication.

Never an interval from requests inside one trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.result import Interval

CONFIDENCE = 0.95


def t_quantile(level: float, degrees: float) -> float:
    """Return the quantile of Student's t.

    Scipy.stats has the same function, but takes a second longer to import.
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, level))


def two_sided_p(t: float, degrees: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))


def geometric_mean(values: Sequence[float]) -> Interval | None:
    """Return the geometric mean with a t-interval on the logarithms.

    No interval from fewer than two values.

    Return None without values, or if one is not above zero and has no logarithm.
    """
    if not values or min(values) <= 0:
        return None
    logs = [math.log(value) for value in values]
    centre, half = mean_and_half_width(logs)
    if half is None:
        return Interval(math.exp(centre), None, None)
    return Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half))


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of its t-interval; None from fewer than two values."""
    n = len(values)
    centre = math.fsum(values) / n
    if n < 2:
        return centre, None
    deviation = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1))
    return centre, t_quantile((1 + CONFIDENCE) / 2, n - 1) * deviation / math.sqrt(n)
