"""The posterior of a capacity after probes that may be wrong, and the rate to probe next. Pure.

Near the capacity chance decides whether a probe passes, and now and then an answer is wrong without
a reason. The search therefore uses the threshold method of psychophysics. The probability of
passing falls from (1 - LAPSE_FAIL) to LAPSE_PASS around the capacity, over an unknown width, and
every answer updates the posterior of both (QUEST, Watson and Pelli 1983). The next rate is the one
whose answer is expected to be most informative (the psi method, Kontsevich and Tyler 1999). This
also reopens the bracket when an answer contradicts earlier ones, repeats near the edge, and probes
up and down. docs/adr/0011 has the measurements.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# A probe below the capacity that fails (a hiccup), one above it that passes.
LAPSE_FAIL, LAPSE_PASS = 0.05, 0.005
# Capacity is where three of four probes pass: short probes are optimistic (the p99 of a few seconds
# is usually below the true one), and the edge is softer where they are. In standard deviations of
# the edge.
AT_CAPACITY = 0.674
# A server that is still warming up is not yet the server that is measured, so its first answers may
# be worthless: the probability that some are, spread evenly over up to this many.
COLD, COLD_AT_MOST = 0.1, 6
# How soft the edge may be: standard deviation of the logarithm of the rate at which a probe fails.
WIDTHS = (0.003, 0.01, 0.03)
# A little more than 95 %, because the width and the lapses are guesses.
CONFIDENCE = 0.96
# The grid of capacities extends the bracket by this factor, where the prior falls by e over this
# much of the logarithm. POINTS: grid points per wanted precision.
BEYOND, FADES = 4.0, 0.5
POINTS = 8
CANDIDATES = 41
# Grid points with less of the posterior than this are left out of the computation.
NEGLIGIBLE = 1e-7


class Belief:
    """The posterior of the capacity, its edge's width and the worthless first answers, on a grid."""

    def __init__(self, low: float, high: float, precision: float) -> None:
        import numpy as np

        step = math.log1p(precision) / POINTS
        self._grid: np.ndarray = np.arange(math.log(low / BEYOND), math.log(high * BEYOND) + step, step)
        self._widths = np.asarray(WIDTHS)
        # Whether a probe at one grid point passes depends only on its distance to the capacity.
        apart = np.arange(1 - self._grid.size, self._grid.size) * step
        self._passing: np.ndarray = _passing(apart, 0.0, self._widths[:, None])
        cold = np.log(np.array([1 - COLD, *[COLD / COLD_AT_MOST] * COLD_AT_MOST]))
        self._log: np.ndarray = np.zeros((cold.size, self._widths.size, self._grid.size)) + cold[:, None, None]
        outside = np.maximum(math.log(low) - self._grid, self._grid - math.log(high))
        self._log -= np.maximum(0.0, outside) / FADES
        self._answers = 0

    def update(self, rate: float, passed: bool) -> None:
        """Update the posterior with the answer of a probe."""
        import numpy as np

        p = _passing(self._grid[None, :], math.log(rate), self._widths[:, None])
        # If this is one of the worthless answers, both outcomes were equally likely.
        first = self._answers + 1
        self._log[:first] += np.log(p if passed else 1 - p)
        self._log[first:] += math.log(0.5)
        self._answers += 1
        self._log -= self._log.max()

    def weights(self) -> np.ndarray:
        """Return the posterior, shape (widths, grid)."""
        import numpy as np

        weights = np.exp(self._log).sum(axis=0)
        return np_array(weights / weights.sum())

    def interval(self) -> tuple[float, float, float]:
        """Return (low, median, high) of the capacity, per second.

        The shortest interval with CONFIDENCE of the posterior.
        """
        import numpy as np

        mass = np.concatenate([[0.0], self.weights().sum(axis=0).cumsum()])
        # For each point as the start of an interval: the first end that makes it hold enough.
        ends = np.searchsorted(mass, mass[:-1] + CONFIDENCE)
        lengths = np.where(ends < mass.size, ends - np.arange(ends.size), mass.size)
        first = int(np.argmin(lengths))
        # Half a step out, because a grid point stands for its surroundings.
        half = (self._grid[1] - self._grid[0]) / 2
        places = self._grid[first] - half, np.interp(0.5, mass[1:], self._grid), self._grid[ends[first] - 1] + half
        low, middle, high = (math.exp(float(x)) for x in places)
        return low, min(max(low, middle), high), high

    def beyond(self) -> int | None:
        """Return the end of the grid, lower (-1) or upper (1), with much of the posterior.

        None if neither.
        """
        mass = self.weights().sum(axis=0)
        edge = max(1, mass.size // 50)
        if mass[:edge].sum() > 0.1:
            return -1
        return 1 if mass[-edge:].sum() > 0.1 else None

    def most_telling(self, highest: float) -> float:
        """Return the rate whose answer is expected to leave the least entropy (the psi method)."""
        import numpy as np

        weights = self.weights()
        # Late in a search most of the grid has almost none of the posterior.
        believed = np.flatnonzero(weights.sum(axis=0) > NEGLIGIBLE)
        begin, end = int(believed[0]), int(believed[-1]) + 1
        weights = weights[:, begin:end]
        # Only rates whose answer is uncertain are candidates.
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
    """Return the probability that a probe passes; capacity and rate as logarithms."""
    from scipy.special import ndtr

    below = ndtr((capacity - rate) / width + AT_CAPACITY)
    return np_array(LAPSE_PASS + (1 - LAPSE_FAIL - LAPSE_PASS) * below)


def _entropy(joint: np.ndarray) -> np.ndarray:
    """Return each row's posterior entropy times the probability of its answer, shape (rows,)."""
    import numpy as np

    shares = joint.sum(axis=1)
    # sum q log q = (sum j log j) / s - log s for q = j / s
    logs = np.log(np.maximum(joint, 1e-300))
    return np_array(shares * np.log(np.maximum(shares, 1e-300)) - (joint * logs).sum(axis=1))


def np_array(value: object) -> np.ndarray:
    """Return an array with its type, which scipy's functions lose."""
    import numpy as np

    return np.asarray(value)
