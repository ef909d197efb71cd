"""How often are intervals and claims right? Simulated sweeps, comparisons of two runs, trends and windows.

python -m benchmarks.coverage [sweep | runs | trend | steady]...: all by default. Two minutes on one core; seeds are
fixed. docs/adr/0016 and 0017 quote it.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.analyse.changes import change_points
from orchestrator.analyse.compare import decide
from orchestrator.analyse.effect import between_runs, holm, unpaired
from orchestrator.analyse.history import Past, between
from orchestrator.analyse.levels import SMALLEST, Shape, top
from orchestrator.analyse.scaling import optimum
from orchestrator.analyse.steady import doubt
from orchestrator.analyse.usl import fitted, law, peak
from orchestrator.result import ComparedMetric, Conclusion, Interval

CLIENTS = (1, 2, 4, 8, 16, 32)
TIMES = 200
WORKER_PER_S = 250.0
LAW = (1000.0, 0.05, 0.005)
NAMES = (ComparedMetric.THROUGHPUT, ComparedMetric.SERVICE_P50, ComparedMetric.SERVICE_P99)

Draw = np.random.Generator
Logs = dict[int, dict[int, float]]


def swept(draw: Draw, curve: Callable[[int], float], each: int, noise: float, shared: float) -> Logs:
    """Return log throughput by clients and block. shared: the share of the variance that a block has in common."""
    drift = draw.normal(0, noise * math.sqrt(shared), each)
    own = noise * math.sqrt(1 - shared)
    return {n: {b: math.log(curve(n)) + drift[b] + draw.normal(0, own) for b in range(each)} for n in CLIENTS}


def wandering(draw: Draw, count: int, correlation: float, heavy: bool = False) -> list[float]:
    """Return a first-order autoregression of standard deviation 1. heavy: Student's t with 4 degrees of freedom."""
    fresh = draw.standard_t(4, count) * math.sqrt(0.5) if heavy else draw.normal(0, 1, count)
    values = [float(fresh[0])]
    for each in fresh[1:]:
        values.append(correlation * values[-1] + math.sqrt(1 - correlation**2) * float(each))
    return values


def holds(interval: Interval, truth: float) -> bool:
    """Return whether a two-sided interval contains the truth."""
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def sweep(draw: Draw) -> None:
    """Servers with k workers; a server with contention and coherency."""
    print("sweep: trials  noise  shared  workers  plateau  begins at k  its interval covers")
    for each in (3, 5):
        for noise in (0.01, 0.03, 0.05):
            for shared in (0.0, 0.5):
                for workers in (2, 4, 8):
                    _plateaus(draw, workers, each, noise, shared)
    print("sweep: trials  noise  shared  lambda  sigma  kappa  optimum cover  optimum reported  covers")
    for each in (3, 5):
        for noise in (0.01, 0.03, 0.05):
            for shared in (0.0, 0.5):
                _laws(draw, each, noise, shared)


def _plateaus(draw: Draw, workers: int, each: int, noise: float, shared: float) -> None:
    ends = [top(swept(draw, lambda n: min(n, workers) * WORKER_PER_S, each, noise, shared)) for _ in range(TIMES)]
    flat = [end for end in ends if end.shape is Shape.PLATEAU]
    begin = sum(end.clients == workers for end in flat)
    covers = sum(holds(end.per_s, workers * WORKER_PER_S) for end in flat)
    print(
        f"{each:13}{noise:7.0%}{shared:8.1f}{workers:9}{len(flat) / TIMES:9.1%}{begin / len(flat):13.1%}"
        f"{covers / len(flat):21.1%}",
        flush=True,
    )


def _laws(draw: Draw, each: int, noise: float, shared: float) -> None:
    covered, reported, right = Counter[int](), 0, 0
    for _ in range(TIMES):
        logs = swept(draw, lambda n: law(n, *LAW), each, noise, shared)
        found, end = fitted(logs), top(logs)
        intervals = (found.lambda_per_s, found.sigma, found.kappa, found.peak)
        truths = (*LAW, peak(*LAW))
        covered.update(i for i, (own, truth) in enumerate(zip(intervals, truths, strict=True)) if holds(own, truth))
        best = optimum(found, end)
        reported += best is not None
        right += best is not None and holds(best, truths[3])
    shares = "".join(f"{covered[i] / TIMES:8.1%}" for i in range(4))
    print(
        f"{each:13}{noise:7.0%}{shared:8.1f}{shares}{reported / TIMES:18.1%}{right / max(1, reported):10.1%}",
        flush=True,
    )


def runs(draw: Draw) -> None:
    """Two runs of one server with four trials of 3 % each, and two of which one is a fifth faster."""
    print("runs: from run to run  past runs  A/A claimed  a fifth claimed")
    for deviation in (0.02, 0.05, 0.10, 0.12, 0.18):
        for past in (0, 5, 12, 30):
            shares = [
                sum(_claimed(draw, deviation, past, effect) for _ in range(TIMES)) / TIMES
                for effect in (0.0, math.log(1.2))
            ]
            print(f"{deviation:22.0%}{past:11}{shares[0]:13.1%}{shares[1]:17.1%}", flush=True)


def _claimed(draw: Draw, deviation: float, past: int, effect: float) -> bool:
    """Return whether any metric is claimed to differ. The metrics of a run share its level."""

    def run(faster: float = 0.0) -> list[Sequence[float]]:
        level = draw.normal(faster, deviation)
        return [(sign * level + draw.normal(0, 0.03, 4)).tolist() for sign in (1, -1, -1)]

    history, old, new = [run() for _ in range(past)], run(), run(effect)
    judged = []
    for i, name in enumerate(NAMES):
        known = between(name, [Past(float(np.mean(h[i])), float(np.std(h[i], ddof=1)) / 2) for h in history])
        found = unpaired(old[i], new[i])
        assert found is not None
        judged.append(between_runs(found, known.deviation, known.degrees))
    adjusted = holm([each.p_t for each in judged])
    claims = {decide(each, p, SMALLEST, True) for each, p in zip(judged, adjusted, strict=True)}
    return bool(claims & {Conclusion.FASTER, Conclusion.SLOWER})


def trend(draw: Draw) -> None:
    """Steady series of runs, and series with a step in the middle."""
    print("trend: runs  correlation  tails  spread  cut although steady  step of 10 % found  of 20 %")
    for count in (10, 14, 30, 60, 100):
        for correlation, heavy, spread in ((0.0, True, 0.03), (0.8, False, 0.03), (0.8, False, 0.1), (0.8, True, 0.1)):
            shares = [0.0, 0.0, 0.0]
            for i, step in enumerate((0.0, 0.1, 0.2)):
                for _ in range(TIMES):
                    values = 7 + spread * np.array(wandering(draw, count, correlation, heavy))
                    values[count // 2 :] -= math.log1p(step)
                    found = change_points(values.tolist(), SMALLEST)
                    hit = any(abs(at - count // 2) <= 1 for at in found) if step else bool(found)
                    shares[i] += hit / TIMES
            tails = "heavy" if heavy else "normal"
            print(
                f"{count:11}{correlation:13}{tails:>7}{spread:8.0%}{shares[0]:21.1%}{shares[1]:20.1%}{shares[2]:9.1%}",
                flush=True,
            )


def steady(draw: Draw) -> None:
    """Windows of a closed loop, throughput alone, with noise from second to second."""
    print("steady: seconds  noise  correlation  doubted  with a drift of 20 %  of 50 %  first fifth at half the rate")
    for count in (8, 10, 20, 30, 60):
        for noise, correlation in ((0.05, 0.0), (0.1, 0.0), (0.1, 0.5), (0.1, 0.8)):
            at = np.linspace(0, 1, count)
            shapes = (0 * at, at * math.log(1.2), at * math.log(1.5), np.where(at < 0.2, math.log(0.5), 0.0))
            shares = [
                sum(
                    doubt(np.exp(shape + noise * np.array(wandering(draw, count, correlation))).tolist(), 2) is not None
                    for _ in range(TIMES)
                )
                / TIMES
                for shape in shapes
            ]
            print(
                f"{count:15}{noise:7.0%}{correlation:13}{shares[0]:9.1%}{shares[1]:22.1%}{shares[2]:9.1%}"
                f"{shares[3]:31.1%}",
                flush=True,
            )


STUDIES = {study.__name__: study for study in (sweep, runs, trend, steady)}


def main() -> None:
    """Run the studies that are named on the command line."""
    for name in sys.argv[1:] or STUDIES:
        STUDIES[name](np.random.default_rng(20))


if __name__ == "__main__":
    main()
