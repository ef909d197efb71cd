"""Does a series change, or does it only wander? Pure.

Neighbours in time are alike: a slow second follows a slow second, a run on a busy evening follows another. Tests that
treat them as independent see trends and steps in such wandering. Here a trend or a step has to explain more than a
first-order autoregression around one level does, by the exact Gaussian likelihood (docs/adr/0016 has its error rates).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Correlations between neighbours that are tried.
CORRELATIONS = tuple(i / 10 for i in range(10))
# An outlier further than this many standard deviations from its neighbours' median is moved to that
# distance.
CLIPPED = 3.0
# The standard deviation of normal noise over the median of its absolute values.
OF_THE_MEDIAN = 1.4826
# A squared error of 0 (made-up data) has no logarithm.
LEAST = 1e-300


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise, from the differences between neighbours.

    Their median, so that neither steps nor outliers count. Two values or more.
    """
    # The difference of two values has twice the variance of one.
    steps = [abs(new - old) for old, new in itertools.pairwise(values)]
    return float(OF_THE_MEDIAN * statistics.median(steps) / 2**0.5)


def clipped(values: Sequence[float]) -> list[float]:
    """Return the values with outliers moved towards the median of five neighbours. Steps stay in place."""
    most = CLIPPED * deviation(values)
    medians = [statistics.median(values[max(0, i - 2) : i + 3]) for i in range(len(values))]
    return [m + max(-most, min(most, v - m)) for v, m in zip(values, medians, strict=True)]


def steps_at(positions: Sequence[int], length: int) -> np.ndarray:
    """Return one row per position: 0 before it, 1 from it on, shape (positions, length)."""
    import numpy as np

    return (np.arange(length) >= np.asarray(positions, dtype=int).reshape(-1, 1)).astype(np.float64)


def each_alone(values: Sequence[float], regressors: np.ndarray) -> np.ndarray:
    """Return how much better one level plus each regressor describes the values than one level does.

    Twice the difference in log likelihood, each with the correlation that suits it best. values: shape (n,).
    regressors: shape (k, n). Returns shape (k,).
    """
    import numpy as np

    n = len(values)
    alone, together = np.inf, np.full(regressors.shape[0], np.inf)
    for y, one, extra, fixed in _whitened(values, regressors):
        left = y - one * (one @ y) / (one @ one)
        added = extra - np.outer(extra @ one, one) / (one @ one)
        squares = float(left @ left)
        explained = (added @ left) ** 2 / np.maximum((added**2).sum(axis=1), LEAST)
        alone = min(alone, n * np.log(max(squares, LEAST)) + fixed)
        together = np.minimum(together, n * np.log(np.maximum(squares - explained, LEAST)) + fixed)
    return np.asarray(alone - together)


def together(values: Sequence[float], regressors: np.ndarray) -> tuple[float, np.ndarray]:
    """Return -2 log likelihood of one level plus all regressors, and the squared error that each one saves, shape (k,).

    With the correlation that suits them best. values: shape (n,). regressors: shape (k, n), linearly independent.
    """
    import numpy as np

    best, saved = np.inf, np.zeros(regressors.shape[0])
    for y, one, extra, fixed in _whitened(values, regressors):
        x = np.vstack([one, extra])
        inverse = np.linalg.inv(x @ x.T)
        weights = inverse @ (x @ y)
        squares = max(float(y @ y - weights @ (x @ y)), LEAST)
        if (found := len(values) * np.log(squares) + fixed) < best:
            best, saved = found, weights[1:] ** 2 / np.diag(inverse)[1:]
    return float(best), saved


def _whitened(
    values: Sequence[float], regressors: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    """Yield for each correlation: values, level and regressors, and the likelihood's constant.

    Whitened: what each has beyond its share of the one before it (Prais and Winsten 1954).
    """
    import numpy as np

    y = np.asarray(values, dtype=np.float64)
    # The level is fitted anyway; around 0 the sums of squares lose no digits.
    rows = np.vstack([y - y.mean(), np.ones(y.size), regressors])
    for correlation in CORRELATIONS:
        left = rows.copy()
        left[:, 1:] -= correlation * rows[:, :-1]
        left[:, 0] *= np.sqrt(1 - correlation**2)
        yield left[0], left[1], left[2:], float(-np.log1p(-(correlation**2)))
