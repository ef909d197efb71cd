"""How does throughput grow with the number of clients, and where does it stop? Pure.

The universal scalability law (usl.py) is fitted to closed loads, and the fit is tested. An optimum is reported only where
the law fits and throughput measurably falls beyond it. Otherwise the answer is what levels.py sees without a law: a
plateau, throughput that still rises, or one that falls.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.generators.contract import Model, Protocol
from orchestrator.analyse.findings.measurement import FEWEST_BUSY
from orchestrator.analyse.levels import SMALLEST, Shape, Top, top
from orchestrator.analyse.people import p_value, percent
from orchestrator.analyse.usl import NO_KAPPA, Law, fitted
from orchestrator.analyse.verdict import failed_by_the_server, of_case
from orchestrator.result import FindingCode, Interval, Severity, Trial, Verdict

FEWEST_LOADS = 4
FEWEST_TRIALS = 3
# The lack-of-fit test: below this p the law does not describe the loads, if it is also off by more than the smallest
# effect of interest somewhere.
MISFIT = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """One number of clients: throughput and mean service time over its trials.

    busy: share of clients with a request under way, by Little's law.
    trials: those behind the numbers; invalid: the others. verdict: the worst of the former, with
    their findings, and at most SUSPECT when the server failed in one of the others.
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
    """A target's curve and its fit.

    top: how throughput ends as clients are added. best_clients: N*, None unless the law fits and throughput falls beyond
    it. knee: clients with the most throughput per service time. fitted_per_s: the law's throughput at each point.
    misfit_p: p-value of the lack-of-fit test. reason: why the law was not fitted, or is not used. protocol: of the loads.
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
    top: Top | None = None
    misfit_p: float | None = None
    protocol: Protocol | None = None

    @property
    def idle(self) -> list[int]:
        """Numbers of clients of which some were idle (Little's law).

        The clients are the limit there, not the server.
        """
        return [point.clients for point in self.points if point.busy is not None and point.busy < FEWEST_BUSY]


def scaling(target: str, trials: Sequence[Trial]) -> Scaling:
    """Fit the law to the timed closed loads of a target, and find the top of its curve.

    INVALID trials, and those that lost a part of their load, do not count.
    """
    values: dict[int, list[Trial]] = defaultdict(list)
    invalid: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        case = trial.facts.case
        if (
            trial.facts.degraded is not None
            or case.target != target
            or case.model != Model.CLOSED
            or case.duration_us is None
        ):
            continue
        clients = case.clients * case.streams
        if trial.metrics is None or trial.verdict is Verdict.INVALID or trial.metrics.throughput_per_s <= 0:
            invalid[clients].append(trial)
        else:
            values[clients].append(trial)
    points = [_point(n, values[n], invalid[n]) for n in sorted(values)]
    knee = max(points, key=lambda p: p.throughput_per_s / p.service_time_us).clients if points else None
    protocol = next((trial.facts.case.protocol for those in values.values() for trial in those), None)
    few = [n for n, those in values.items() if len(those) < FEWEST_TRIALS]
    if len(points) < FEWEST_LOADS or few:
        why = (
            f"a fit needs timed closed loads with {FEWEST_LOADS} numbers of clients and {FEWEST_TRIALS} trials of each"
        )
        return Scaling(target, points, None, None, None, None, knee, [], why, protocol=protocol)
    return replace(_fitted(target, points, {n: _logs(those) for n, those in values.items()}, knee), protocol=protocol)


def _logs(trials: Sequence[Trial]) -> dict[int, float]:
    """Return log throughput by block, or by position where blocks do not tell the trials apart."""
    logs = [math.log(t.metrics.throughput_per_s) for t in trials if t.metrics is not None]
    blocks = [t.facts.block for t in trials if t.metrics is not None]
    return dict(zip(blocks if len(set(blocks)) == len(blocks) else range(len(logs)), logs, strict=True))


def _point(clients: int, trials: list[Trial], invalid: list[Trial]) -> Point:
    metrics = [t.metrics for t in trials if t.metrics is not None]
    count = len(metrics)
    throughput = math.exp(sum(math.log(m.throughput_per_s) for m in metrics) / count)
    service = sum(m.service_time_us["mean"] or 0.0 for m in metrics) / count
    under_way = [m.concurrency for m in metrics if m.concurrency is not None]
    busy = sum(under_way) / len(under_way) / clients if under_way else None
    # Trials in which the server failed are in no number, but in the verdict.
    judged = [*trials, *(trial for trial in invalid if failed_by_the_server(trial))]
    doubts = {f.code for t in judged for f in t.findings if f.severity is not Severity.INFORMATION}
    verdict = of_case(judged, required=1)
    return Point(clients, count, len(invalid), verdict, sorted(doubts), throughput, service or 1.0, busy)


def describes(law: Law) -> bool:
    """Return whether the lack-of-fit test, and the distance of the means from the law, allow it."""
    return law.misfit_p >= MISFIT or law.misfit <= SMALLEST


def optimum(law: Law, end: Top) -> Interval | None:
    """Return the number of clients with the most throughput; None unless the law fits and throughput falls beyond it."""
    falls = end.shape is Shape.FALLING and (law.kappa.low or 0.0) > NO_KAPPA
    bounded = law.peak.high is not None and math.isfinite(law.peak.high)
    return law.peak if describes(law) and falls and bounded else None


def _fitted(target: str, points: list[Point], logs: dict[int, dict[int, float]], knee: int | None) -> Scaling:
    law, end = fitted(logs), top(logs)
    if not describes(law):
        why = (
            f"the universal scalability law does not fit: it is off by up to {percent(math.expm1(law.misfit))}, which "
            f"the spread of the trials does not explain (lack-of-fit {p_value(law.misfit_p)})"
        )
        return Scaling(target, points, None, None, None, None, knee, [], why, end, law.misfit_p)
    best, curve = optimum(law, end), [law.at(point.clients) for point in points]
    return Scaling(target, points, law.lambda_per_s, law.sigma, law.kappa, best, knee, curve, "", end, law.misfit_p)
