"""What is believed of a capacity after probes that may be wrong, and which rate to probe next. Pure.

Near the capacity it is a matter of luck whether a probe passes, and now and then one is wrong for no reason at all. So the
search is that of psychophysics for a threshold: the probability of passing falls from (1 - LAPSE_FAIL) to LAPSE_PASS around
the capacity, over a width that is not known either, and every answer updates what is believed of both (QUEST, Watson and
Pelli 1983). The next rate is the one whose answer is expected to tell the most (the psi method, Kontsevich and Tyler 1999).
That alone brackets anew where an answer contradicts the ones before, repeats near the edge, and probes up and down.
docs/adr/0011 has what was measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# A probe below the capacity that fails (a hiccup), one above it that passes.
LAPSE_FAIL, LAPSE_PASS = 0.05, 0.005
# Capacity is where three of four probes pass: short probes flatter (the p99 of a few seconds is below the true one more
# often than not), and the edge is softer where they do. In standard deviations of the edge.
AT_CAPACITY = 0.674
# A server that is still warming up answers for itself and not for what it will be: so many of the first answers may be
# worth nothing. How likely it is that some are, spread evenly over how many.
COLD, COLD_AT_MOST = 0.1, 6
# How soft the edge may be: standard deviation of the logarithm of the rate at which a probe fails.
WIDTHS = (0.003, 0.01, 0.03)
# More than is claimed, because the width and the lapses are guesses.
CONFIDENCE = 0.96
# The grid of capacities: as many times beyond the bracket, where it is the less likely the further out (by e in so much of
# the logarithm), and so many points in each asked precision.
BEYOND, FADES = 4.0, 0.5
POINTS = 8
CANDIDATES = 41
# Of the belief: a point of the grid with less is left out of what is reckoned.
NEGLIGIBLE = 1e-7


class Belief:
    """What is believed of the capacity, the width of its edge, and how many first answers are worth nothing; on a grid."""

    def __init__(self, low: float, high: float, precision: float) -> None:
        import numpy as np

        step = math.log1p(precision) / POINTS
        self._grid: np.ndarray = np.arange(math.log(low / BEYOND), math.log(high * BEYOND) + step, step)
        self._widths = np.asarray(WIDTHS)
        # How a probe ends on one point of the grid while the capacity is on another: a matter of how far they are apart.
        apart = np.arange(1 - self._grid.size, self._grid.size) * step
        self._passing: np.ndarray = _passing(apart, 0.0, self._widths[:, None])
        cold = np.log(np.array([1 - COLD, *[COLD / COLD_AT_MOST] * COLD_AT_MOST]))
        self._log: np.ndarray = np.zeros((cold.size, self._widths.size, self._grid.size)) + cold[:, None, None]
        outside = np.maximum(math.log(low) - self._grid, self._grid - math.log(high))
        self._log -= np.maximum(0.0, outside) / FADES
        self._answers = 0

    def update(self, rate: float, passed: bool) -> None:
        """Learn from a probe."""
        import numpy as np

        p = _passing(self._grid[None, :], math.log(rate), self._widths[:, None])
        # Where this answer is one of those that are worth nothing, it was as likely as the other.
        first = self._answers + 1
        self._log[:first] += np.log(p if passed else 1 - p)
        self._log[first:] += math.log(0.5)
        self._answers += 1
        self._log -= self._log.max()

    def weights(self) -> np.ndarray:
        """The posterior, shape (widths, grid)."""
        import numpy as np

        weights = np.exp(self._log).sum(axis=0)
        return np_array(weights / weights.sum())

    def interval(self) -> tuple[float, float, float]:
        """Give (low, median, high) of the capacity, per second: the shortest interval with CONFIDENCE of the belief."""
        import numpy as np

        mass = np.concatenate([[0.0], self.weights().sum(axis=0).cumsum()])
        # Of each point, as the first of an interval: the first one behind it that makes it hold enough.
        ends = np.searchsorted(mass, mass[:-1] + CONFIDENCE)
        lengths = np.where(ends < mass.size, ends - np.arange(ends.size), mass.size)
        first = int(np.argmin(lengths))
        # Half a step out: a point of the grid stands for what is around it.
        half = (self._grid[1] - self._grid[0]) / 2
        places = self._grid[first] - half, np.interp(0.5, mass[1:], self._grid), self._grid[ends[first] - 1] + half
        low, middle, high = (math.exp(float(x)) for x in places)
        return low, min(max(low, middle), high), high

    def beyond(self) -> int | None:
        """Say whether much of the belief lies at the lower (-1) or upper (1) end of the grid."""
        mass = self.weights().sum(axis=0)
        edge = max(1, mass.size // 50)
        if mass[:edge].sum() > 0.1:
            return -1
        return 1 if mass[-edge:].sum() > 0.1 else None

    def most_telling(self, highest: float) -> float:
        """Give the rate whose answer is expected to leave the least entropy in the capacity (the psi method)."""
        import numpy as np

        weights = self.weights()
        # Late in a search next to nothing is believed of most of the grid.
        believed = np.flatnonzero(weights.sum(axis=0) > NEGLIGIBLE)
        begin, end = int(believed[0]), int(believed[-1]) + 1
        weights = weights[:, begin:end]
        # Where the answer is open: what is believed certain tells nothing.
        ends = begin + np.searchsorted(weights.sum(axis=0).cumsum(), [0.01, 0.99])
        last = int(np.searchsorted(self._grid, math.log(highest), side="right")) - 1
        rates = np.linspace(float(ends[0]), float(ends[1]), CANDIDATES).round().astype(int)
        rates = np.unique(np.clip(rates, 0, max(0, last)))
        passing, failing = (np.zeros((rates.size, end - begin)) for _ in range(2))
        for steep, weight in zip(self._passing, weights, strict=True):
            rows = np.lib.stride_tricks.sliding_window_view(steep, end - begin)
            p = rows[self._grid.size - 1 + begin - rates]
            passing += weight * p
            failing += weight * (1 - p)
        left = _entropy(passing) + _entropy(failing)
        return math.exp(float(self._grid[rates[int(np.argmin(left))]]))


def _passing(capacity: np.ndarray, rate: np.ndarray | float, width: np.ndarray | float) -> np.ndarray:
    """Probability that a probe passes; capacity and rate as logarithms."""
    from scipy.special import ndtr

    below = ndtr((capacity - rate) / width + AT_CAPACITY)
    return np_array(LAPSE_PASS + (1 - LAPSE_FAIL - LAPSE_PASS) * below)


def _entropy(joint: np.ndarray) -> np.ndarray:
    """Entropy of each row's posterior times the probability of its answer, shape (rows,)."""
    import numpy as np

    shares = joint.sum(axis=1)
    # sum q log q = (sum j log j) / s - log s for q = j / s
    logs = np.log(np.maximum(joint, 1e-300))
    return np_array(shares * np.log(np.maximum(shares, 1e-300)) - (joint * logs).sum(axis=1))


def np_array(value: object) -> np.ndarray:
    """Give an array its type back: scipy's functions lose it."""
    import numpy as np

    return np.asarray(value)
