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


class Levels:
    """One level plus steps that describe a series, while steps are removed one after the other.

    misfit: -2 log likelihood with the correlation that suits it best. saved: the squared error that each remaining step
    saves, shape (k,). Removing a step updates the inverse of the normal equations (the sweep operator, Goodnight 1979) in
    O(k^2), where fitting again would take O(k^2 n).
    """

    def __init__(self, values: Sequence[float], positions: Sequence[int]) -> None:
        """Fit all steps. values: shape (n,). positions: where a step begins, ascending, shape (k,), from 1 to n - 1."""
        import numpy as np

        self._n = len(values)
        start = np.array([0, *positions])
        r = np.asarray(CORRELATIONS)[:, None]
        y = np.asarray(values, dtype=np.float64)
        # The level is fitted anyway; around 0 the sums of squares lose no digits.
        y = y - y.mean()
        white = np.hstack([np.sqrt(1 - r**2) * y[0], y[1:] - r * y[:-1]])
        # A whitened step is 0 before its position, 1 there and 1 - r from then on; the level begins with sqrt(1 - r^2).
        first = np.where(start == 0, np.sqrt(1 - r**2), 1.0)
        after = white.sum(axis=1, keepdims=True) - white.cumsum(axis=1)
        product = first * white[:, start] + (1 - r) * after[:, start]
        later = np.maximum.outer(start, start)
        gram = (1 - r[..., None]) + (1 - r[..., None]) ** 2 * (self._n - 1 - later)
        diagonal = np.arange(start.size)
        gram[:, diagonal, diagonal] += first**2 - (1 - r)
        self._inverse = np.linalg.inv(gram)
        self._weights = np.einsum("cij,cj->ci", self._inverse, product)
        self._squares = (white**2).sum(axis=1) - (self._weights * product).sum(axis=1)
        self._fixed = -np.log1p(-(r[:, 0] ** 2))
        self._choose()

    def remove(self, step: int) -> None:
        """Remove one step, by its place among those that remain."""
        import numpy as np

        at = step + 1
        column, pivot = self._inverse[:, :, at], self._inverse[:, at, at]
        weight = self._weights[:, at]
        self._squares = self._squares + weight**2 / pivot
        self._weights = np.delete(self._weights - column * (weight / pivot)[:, None], at, axis=1)
        inverse = self._inverse - column[:, :, None] * (column / pivot[:, None])[:, None, :]
        self._inverse = np.delete(np.delete(inverse, at, axis=1), at, axis=2)
        self._choose()

    def _choose(self) -> None:
        import numpy as np

        misfits = self._n * np.log(np.maximum(self._squares, LEAST)) + self._fixed
        best = int(misfits.argmin())
        self.misfit = float(misfits[best])
        self.saved: np.ndarray = (self._weights[best] ** 2 / self._inverse[best].diagonal())[1:]


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
