"""The universal scalability law: fit it, test the fit, and say how well its coefficients are known. Pure.

X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))     (Gunther 2007; sigma: contention, kappa: coherency)

Least squares on log X over trials. Intervals are profile-likelihood intervals with Student's t: the range of a
coefficient over all laws whose squared error exceeds the least one by at most t^2 s^2 (Bates and Watts 1988, 6.1). They
need no bootstrap, which covers too little from three trials, and they respect sigma, kappa >= 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.analyse.statistics import CONFIDENCE, t_quantile
from orchestrator.result import Interval

if TYPE_CHECKING:
    import numpy as np

# Below this a fitted kappa is zero: at a thousand clients it takes away a tenth of a per cent.
NO_KAPPA = 1e-9
RAYS = 180
RADII = 25
# In units of the radius that the region would have if the law were linear.
FARTHEST = 40.0


@dataclass(frozen=True, slots=True)
class Law:
    """A fitted law with 95 % intervals.

    peak: N*, the number of clients with the most throughput; infinite where kappa may be 0.
    misfit: the largest distance of a mean from the law, on logarithms. misfit_p: p-value of the lack-of-fit test.
    """

    lambda_per_s: Interval
    sigma: Interval
    kappa: Interval
    peak: Interval
    misfit: float
    misfit_p: float

    def at(self, clients: float) -> float:
        """Return the throughput at a number of clients, per second."""
        return law(clients, self.lambda_per_s.estimate, self.sigma.estimate, self.kappa.estimate)


def law(clients: float, rate: float, sigma: float, kappa: float) -> float:
    """Return X(N), per second."""
    return rate * clients / (1 + sigma * (clients - 1) + kappa * clients * (clients - 1))


def peak(rate: float, sigma: float, kappa: float) -> float:
    """Return N*, the number of clients with the highest throughput; infinite without coherency."""
    return math.sqrt((1 - sigma) / kappa) if kappa > NO_KAPPA else math.inf


def fit(points: Sequence[tuple[int, float]]) -> tuple[float, float, float]:
    """Return (lambda, sigma, kappa) of the least squares on logarithms.

    points: clients and throughput, one each per trial. Lambda > 0, 0 <= sigma <= 1, kappa >= 0.
    """
    import numpy as np
    from scipy.optimize import least_squares

    n = np.array([clients for clients, _ in points], dtype=np.float64)
    logs = np.log([x for _, x in points])
    # Fitted: the logarithm of lambda, and kappa in units of 1/N^2, so that all three have the same
    # scale.
    largest = float(n.max())

    def off(p: np.ndarray) -> np.ndarray:
        return np.asarray(p[0] + np.log(n) - np.log1p(p[1] * (n - 1) + p[2] / largest**2 * n * (n - 1)) - logs)

    def slopes(p: np.ndarray) -> np.ndarray:
        below = 1 + p[1] * (n - 1) + p[2] / largest**2 * n * (n - 1)
        return np.asarray(np.stack([np.ones_like(n), -(n - 1) / below, -n * (n - 1) / largest**2 / below], axis=1))

    first = [float(np.max(logs - np.log(n))), 0.05, 0.05]
    solution = least_squares(off, first, jac=slopes, bounds=([-np.inf, 0, 0], [np.inf, 1, np.inf]))
    return math.exp(float(solution.x[0])), float(solution.x[1]), float(solution.x[2]) / largest**2


def fitted(logs: Mapping[int, Mapping[int, float]]) -> Law:
    """Fit the law to log throughput by clients and trial, at least four numbers of clients and five trials.

    The inner keys are the blocks of the trials, of which each block has one per number of clients.
    """
    import numpy as np
    from scipy.special import fdtrc

    rows = [(n, block, value) for n, values in sorted(logs.items()) for block, value in values.items()]
    n, y = np.array([r[0] for r in rows], dtype=np.float64), np.array([r[2] for r in rows])
    blocks = np.array([r[1] for r in rows])
    best = fit([(int(clients), math.exp(value)) for clients, value in zip(n, y, strict=True)])
    off = y - np.log([law(clients, *best) for clients in n])
    least, degrees = float((off**2).sum()), n.size - 3
    pure, means = 0.0, []
    for clients in logs:
        own = off[n == clients]
        means.append(float(own.mean()))
        pure += float(((own - own.mean()) ** 2).sum())
    between, within = len(logs) - 3, n.size - len(logs)
    # Noise that is nil (made-up data) leaves nothing to compare a misfit with but rounding.
    ratio = max(0.0, least - pure) / between / max(pure / within, 1e-12)
    region = _Region(n, y, best, least + t_quantile((1 + CONFIDENCE) / 2, degrees) ** 2 * least / degrees)
    sigma, kappa, low, high = region.explored()
    peaks = np.sqrt((1 - sigma) / np.maximum(kappa, 1e-300))
    peaks[kappa <= NO_KAPPA] = np.inf
    shared = _of_the_blocks(off, blocks)
    rate = Interval(
        best[0],
        math.exp(math.log(best[0]) - math.hypot(math.log(best[0]) - float(low.min()), shared)),
        math.exp(math.log(best[0]) + math.hypot(float(high.max()) - math.log(best[0]), shared)),
    )
    return Law(
        rate,
        Interval(best[1], float(sigma.min()), float(sigma.max())),
        Interval(best[2], float(kappa.min()), float(kappa.max())),
        Interval(peak(*best), float(peaks.min()), float(peaks.max())),
        max(abs(mean) for mean in means),
        float(fdtrc(between, within, ratio)),
    )


def _of_the_blocks(off: np.ndarray, blocks: np.ndarray) -> float:
    """Return by how much more lambda may be off because the trials of one block drifted together, on logarithms.

    Half the width of a t-interval, of the part of the variance between blocks that the trials' own does not explain.
    """
    means = [off[blocks == block].mean() for block in sorted(set(blocks.tolist()))]
    count = len(means)
    if count < 2:
        return 0.0
    centre = sum(means) / count
    between = sum((mean - centre) ** 2 for mean in means) / (count - 1)
    own = sum(float(((off[blocks == b] - off[blocks == b].mean()) ** 2).sum()) for b in set(blocks.tolist()))
    expected = own / max(1, off.size - count) / (off.size / count)
    spread = math.sqrt(max(0.0, between - expected) / count)
    return t_quantile((1 + CONFIDENCE) / 2, count - 1) * spread


@dataclass(frozen=True, slots=True)
class _Region:
    """All (sigma, kappa) whose squared error, with the best lambda, is at most `most`.

    n, y: clients and log throughput of the trials, shape (trials,).
    """

    n: np.ndarray
    y: np.ndarray
    best: tuple[float, float, float]
    most: float

    def explored(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return points of the region: sigma, kappa, and the lowest and highest log lambda at each.

        They lie on rays from the best law to the region's edge, evenly in the coordinates in which the region would be a
        circle if the law were linear.
        """
        import numpy as np

        _, sigma, kappa = self.best
        below = 1 + sigma * (self.n - 1) + kappa * self.n * (self.n - 1)
        slopes = np.stack([(self.n - 1) / below, self.n * (self.n - 1) / below], axis=1)
        slopes -= slopes.mean(axis=0)
        room = max(self.most - self._error(np.array([sigma]), np.array([kappa]))[0][0], 1e-16)
        axes = np.linalg.inv(np.linalg.cholesky(slopes.T @ slopes)) * math.sqrt(room)
        angles = np.linspace(0, 2 * math.pi, RAYS, endpoint=False)
        ways = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ axes
        near, far = np.zeros(RAYS), np.full(RAYS, FARTHEST)
        for _ in range(40):
            middle = (near + far) / 2
            s, k = sigma + middle * ways[:, 0], kappa + middle * ways[:, 1]
            inside = (s >= 0) & (s <= 1) & (k >= 0)
            inside &= self._error(np.where(inside, s, sigma), np.where(inside, k, kappa))[0] <= self.most
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        reach = np.linspace(0, 1, RADII)[:, None] * near
        s, k = (sigma + reach * ways[:, 0]).ravel(), (kappa + reach * ways[:, 1]).ravel()
        error, centre = self._error(s, k)
        half = np.sqrt(np.maximum(0.0, self.most - error) / self.n.size)
        return s, k, centre - half, centre + half

    def _error(self, sigma: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the squared error of each law with its best log lambda, and that log lambda."""
        import numpy as np

        n = self.n[:, None]
        off = self.y[:, None] - np.log(n) + np.log1p(sigma * (n - 1) + kappa * n * (n - 1))
        centre = off.mean(axis=0)
        return ((off - centre) ** 2).sum(axis=0), centre
