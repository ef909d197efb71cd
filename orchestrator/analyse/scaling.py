"""How does throughput grow with the number of clients? Pure.

The Universal Scalability Law over closed loads:

X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))     (Gunther 2007; sigma: contention, kappa: coherency)

Beyond N* = sqrt((1 - sigma) / kappa) more clients make it slower. Where the interval of kappa includes 0 no N* is
reported: the fit always has one, but it means nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.generators.contract import Model
from orchestrator.analyse.findings.measurement import FEWEST_BUSY
from orchestrator.result import FindingCode, Interval, Severity, Trial, Verdict, worst

if TYPE_CHECKING:
    import numpy as np

FEWEST_LOADS = 4
FEWEST_TRIALS = 3
BOOTSTRAPS = 200
CONFIDENCE = 0.95
# Below this a fitted kappa is zero: at a thousand clients it takes away a tenth of a per cent.
NO_KAPPA = 1e-9


@dataclass(frozen=True, slots=True)
class Point:
    """One number of clients: throughput and mean service time over its trials.

    busy: share of clients with a request under way, by Little's law.
    trials: those behind the numbers; invalid: the others. verdict: the worst of the former, with
    their findings.
    """

    clients: int
    trials: int
    invalid: int
    verdict: Verdict
    findings: list[FindingCode]
    throughput_per_s: float
    service_time_us: float
    busy: float | None


@dataclass(frozen=True, slots=True)
class Scaling:
    """A target's fit.

    best_clients: N*, None where kappa may be 0. knee: clients with the most throughput per service
    time.
    fitted_per_s: the law's throughput at each point. reason: why there is no fit.
    """

    target: str
    points: list[Point]
    lambda_per_s: Interval | None
    sigma: Interval | None
    kappa: Interval | None
    best_clients: Interval | None
    knee: int | None
    fitted_per_s: list[float]
    reason: str = ""

    @property
    def idle(self) -> list[int]:
        """Numbers of clients of which some were idle (Little's law).

        The clients are the limit there, not the server.
        """
        return [point.clients for point in self.points if point.busy is not None and point.busy < FEWEST_BUSY]


def scaling(target: str, trials: Sequence[Trial]) -> Scaling:
    """Fit the law to the timed closed loads of a target, by least squares on log X.

    Intervals by bootstrap over trials.

    Trials are resampled within their number of clients. INVALID trials do not count.
    """
    values: dict[int, list[Trial]] = defaultdict(list)
    invalid: Counter[int] = Counter()
    for trial in trials:
        case = trial.facts.case
        if case.target != target or case.model != Model.CLOSED or case.duration_us is None:
            continue
        clients = case.clients * case.streams
        if trial.metrics is None or trial.verdict is Verdict.INVALID or trial.metrics.throughput_per_s <= 0:
            invalid[clients] += 1
        else:
            values[clients].append(trial)
    points = [_point(n, values[n], invalid[n]) for n in sorted(values)]
    knee = max(points, key=lambda p: p.throughput_per_s / p.service_time_us).clients if points else None
    few = [n for n, those in values.items() if len(those) < FEWEST_TRIALS]
    if len(points) < FEWEST_LOADS or few:
        why = (
            f"a fit needs timed closed loads with {FEWEST_LOADS} numbers of clients and {FEWEST_TRIALS} trials of each"
        )
        return Scaling(target, points, None, None, None, None, knee, [], why)
    rates = {n: [t.metrics.throughput_per_s for t in those if t.metrics is not None] for n, those in values.items()}
    return _fitted(target, points, rates, knee)


def _point(clients: int, trials: list[Trial], invalid: int) -> Point:
    metrics = [t.metrics for t in trials if t.metrics is not None]
    count = len(metrics)
    throughput = math.exp(sum(math.log(m.throughput_per_s) for m in metrics) / count)
    service = sum(m.service_time_us["mean"] or 0.0 for m in metrics) / count
    under_way = [m.concurrency for m in metrics if m.concurrency is not None]
    busy = sum(under_way) / len(under_way) / clients if under_way else None
    doubts = {f.code for t in trials for f in t.findings if f.severity is not Severity.INFORMATION}
    verdict = worst([t.verdict for t in trials])
    return Point(clients, count, invalid, verdict, sorted(doubts), throughput, service or 1.0, busy)


def _fitted(target: str, points: list[Point], rates: dict[int, list[float]], knee: int | None) -> Scaling:
    import numpy as np

    clients = sorted(rates)
    logs = {n: np.log(rates[n]) for n in clients}
    best = fit([(n, math.exp(float(logs[n].mean()))) for n in clients])
    drawn = np.array([fit(_resampled(logs, draw), best) for draw in np.random.default_rng(1).spawn(BOOTSTRAPS)])
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    intervals = [Interval(best[i], float(low[i]), float(high[i])) for i in range(3)]
    most: Interval | None = None
    if low[2] > NO_KAPPA:
        ends = np.percentile([peak(*row) for row in drawn], [tail, 100 - tail])
        # An interval without an upper end only means that there may be no optimum.
        if math.isfinite(ends[1]):
            most = Interval(peak(*best), float(ends[0]), float(ends[1]))
    fitted = [law(n, *best) for n in clients]
    return Scaling(target, points, intervals[0], intervals[1], intervals[2], most, knee, fitted)


def _resampled(logs: dict[int, np.ndarray], draw: np.random.Generator) -> list[tuple[int, float]]:
    """Return geometric means over trials drawn with replacement, by number of clients."""
    return [(n, math.exp(float(draw.choice(values, values.size).mean()))) for n, values in sorted(logs.items())]


def law(clients: float, rate: float, sigma: float, kappa: float) -> float:
    """Return X(N), per second."""
    return rate * clients / (1 + sigma * (clients - 1) + kappa * clients * (clients - 1))


def peak(rate: float, sigma: float, kappa: float) -> float:
    """Return N*, the number of clients with the highest throughput; infinite without coherency."""
    return math.sqrt((1 - sigma) / kappa) if kappa > NO_KAPPA else math.inf


def fit(
    points: Sequence[tuple[int, float]], start: tuple[float, float, float] | None = None
) -> tuple[float, float, float]:
    """Return (lambda, sigma, kappa) of the least squares on logarithms.

    Lambda > 0, 0 <= sigma <= 1, kappa >= 0.
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
    if start is not None:
        first = [math.log(start[0]), min(max(start[1], 1e-6), 1 - 1e-6), max(start[2] * largest**2, 1e-6)]
    solution = least_squares(off, first, jac=slopes, bounds=([-np.inf, 0, 0], [np.inf, 1, np.inf]))
    return math.exp(float(solution.x[0])), float(solution.x[1]), float(solution.x[2]) / largest**2
