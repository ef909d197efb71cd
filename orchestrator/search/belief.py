"""The posterior of a capacity after probes that may be wrong, and the rate to probe next. Pure.

Near the capacity chance decides whether a probe passes, and now and then an answer is wrong without
a reason. The search therefore uses the threshold method of psychophysics. The probability of
passing falls from (1 - LAPSE_FAIL) to LAPSE_PASS around the capacity, over an unknown width, and
every answer updates the posterior of both (QUEST, Watson and Pelli 1983). The next rate is the one
whose answer is expected to be most informative (the psi method, Kontsevich and Tyler 1999). This
also reopens the bracket when an answer contradicts earlier ones, repeats near the edge, and probes
up and down. Where probes also tell how many requests violated the objective, shares.py says what
that implies. docs/adr/0011 has the measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.search import shares
from orchestrator.search.records import Answer

if TYPE_CHECKING:
    import numpy as np

# A probe below the capacity that fails (a hiccup), one above it that passes.
LAPSE_FAIL, LAPSE_PASS = 0.05, 0.005
# How soft the edge may be: the standard deviation of the logarithm of the rate at which a probe
# fails, and how much that is believed before any answer. Up to 20 %: probes of a noisy machine, or a
# percentile that a few bursts decide.
WIDTHS = {0.003: 0.2, 0.01: 0.24, 0.02: 0.2, 0.04: 0.16, 0.08: 0.1, 0.14: 0.06, 0.2: 0.04}
# Where on a soft edge the capacity lies, in standard deviations below its middle. Where probes
# differ by chance, half of them pass at the capacity. Where the window is short for its percentile
# it flatters: most probes pass there, three of four on a queue and p99, nearly all with p99.9.
# Pass and fail cannot tell these apart, so without shares the interval covers all.
PLACES = {0.0: 0.2, 0.7: 0.25, 1.4: 0.2, 2.2: 0.2, 3.0: 0.15}
# On an edge as hard as this, the place does not matter.
HARD = 0.005
# A server that is still warming up is not yet the server that is measured, so its first answers may
# be worthless: the probability that some are, spread evenly over up to this many. Those that are
# this unlikely after a few more answers are left out of the computation.
COLD, COLD_AT_MOST, NOT_COLD = 0.1, 6, 0.002
# An answer counts for less than the model says, since the search stops when it looks certain, and
# pass or fail and the share are two views of the same requests. Measured: see docs/adr/0011.
TRUST = 0.65
# What each answer leaves of those before it: a server drifts.
REMEMBERED = 0.99
# A little more than 95 %, because the width and the lapses are guesses.
CONFIDENCE = 0.96
# The grid of capacities extends the bracket by this factor, where the prior falls by e over this
# much of the logarithm. POINTS: grid points per wanted precision.
BEYOND, FADES = 4.0, 0.5
POINTS = 8
CANDIDATES = 41
# Grid points with less of the posterior than this are left out of the computation.
NEGLIGIBLE = 1e-7


@dataclass(frozen=True, slots=True)
class Edge:
    """One shape of the edge: how wide it is, where the capacity lies on it, and the prior of both."""

    width: float
    place: float
    prior: float


def _edges() -> list[Edge]:
    """Return every shape of the edge."""
    edges = []
    for width, prior in WIDTHS.items():
        places = {0.7: 1.0} if width <= HARD else PLACES
        edges += [Edge(width, place, prior * share) for place, share in places.items()]
    return edges


class Belief:
    """The posterior of the capacity, the edge, the spread of shares and the worthless first answers, on a grid."""

    def __init__(self, low: float, high: float, precision: float, cold_at_most: int = COLD_AT_MOST) -> None:
        """Believe in a capacity around low to high, per second. cold_at_most: worthless first answers."""
        import numpy as np

        step = math.log1p(precision) / POINTS
        self._grid: np.ndarray = np.arange(math.log(low / BEYOND), math.log(high * BEYOND) + step, step)
        edges = _edges()
        self._widths = np.array([edge.width for edge in edges])[:, None]
        self._places = np.array([edge.place for edge in edges])[:, None]
        # Whether a probe at one grid point passes depends only on its distance to the capacity.
        apart = np.arange(1 - self._grid.size, self._grid.size) * step
        self._passing: np.ndarray = self._passes(apart)
        cold = np.log([1 - COLD, *[COLD / cold_at_most] * cold_at_most] if cold_at_most else [1.0])
        # One layer for each number of worthless first answers. Shape (layers, shapes of the edge, grid).
        self._cold: np.ndarray = np.arange(cold.size)
        self._log: np.ndarray = np.zeros((cold.size, len(edges), self._grid.size)) + cold[:, None, None]
        self._log += np.log([edge.prior for edge in edges])[None, :, None]
        outside = np.maximum(math.log(low) - self._grid, self._grid - math.log(high))
        self._log -= np.maximum(0.0, outside) / FADES
        self._prior = self._log.copy()
        # The same for the shapes of the shares, shape (layers, shapes of the shares, grid).
        self._by_share: np.ndarray = np.zeros((cold.size, shares.SHAPES, self._grid.size))
        self._answers = self._shares = 0
        self._seconds = 0.0
        self._weights: np.ndarray | None = None

    def update(self, rate: float, answer: Answer, weight: float = 1.0) -> None:
        """Update the posterior with the answer of a probe. weight: below 1 for one that may be out of date."""
        import numpy as np

        weight *= TRUST
        self._log += (1 - REMEMBERED) * (self._prior - self._log)
        self._by_share *= REMEMBERED
        p = self._passes(self._grid - math.log(rate))
        # If this is one of the worthless answers, both outcomes were equally likely.
        counts = self._cold <= self._answers
        self._log[counts] += weight * np.log(p if answer.passed else 1 - p)
        self._log[~counts] += weight * math.log(0.5)
        if (evidence := answer.evidence) is not None and evidence.requests > 0 and evidence.allowed > 0:
            seconds = evidence.requests / rate
            self._seconds = self._seconds or seconds
            likely = shares.likelihood(self._grid - math.log(rate), evidence, seconds / self._seconds)
            self._by_share[counts] += weight * np.log(likely)
            self._by_share[~counts] += weight * math.log(shares.unrelated(evidence))
            self._shares += 1
        self._answers += 1
        self._log -= self._log.max()
        self._by_share -= self._by_share.max()
        self._weights = None

    def weights(self) -> np.ndarray:
        """Return the posterior, shape (shapes of the edge, grid)."""
        import numpy as np

        if self._weights is None:
            layers = np.exp(self._log) * np.exp(self._by_share).mean(axis=1)[:, None, :]
            if self._answers > COLD_AT_MOST:
                mass = layers.sum(axis=(1, 2))
                believed = mass > NOT_COLD * mass.sum()
                layers, self._cold = layers[believed], self._cold[believed]
                self._prior = self._prior[believed]
                self._log, self._by_share = self._log[believed], self._by_share[believed]
            self._weights = np_array(layers.sum(axis=0) / layers.sum())
        return self._weights

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

    def chance(self, rate: float, answer: Answer) -> float:
        """Return how likely a probe at a rate is to pass or fail like this one."""
        passing = float((self.weights() * self._passes(self._grid - math.log(rate))).sum())
        return passing if answer.passed else 1 - passing

    def next_rate(self, highest: float) -> float:
        """Return the rate to probe next.

        Where shares are known, every other one is the median: there they say most about the
        capacity, while the rate that tells most of pass and fail lies above it.
        """
        if self._shares and self._answers % 2:
            return min(highest, self.interval()[1])
        return self.most_telling(highest)

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

    def _passes(self, above: np.ndarray) -> np.ndarray:
        """Return the chance that a probe passes, shape (shapes of the edge, points).

        above: the logarithm of capacity / rate, shape (points,).
        """
        from scipy.special import ndtr

        below = ndtr(above[None, :] / self._widths + self._places)
        return np_array(LAPSE_PASS + (1 - LAPSE_FAIL - LAPSE_PASS) * below)


def _entropy(joint: np.ndarray) -> np.ndarray:
    """Return each row's posterior entropy times the probability of its answer, shape (rows,)."""
    import numpy as np

    shares_of = joint.sum(axis=1)
    # sum q log q = (sum j log j) / s - log s for q = j / s
    logs = np.log(np.maximum(joint, 1e-300))
    return np_array(shares_of * np.log(np.maximum(shares_of, 1e-300)) - (joint * logs).sum(axis=1))


def np_array(value: object) -> np.ndarray:
    """Return an array with its type, which scipy's functions lose."""
    import numpy as np

    return np.asarray(value)
