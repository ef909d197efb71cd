"""Which target is faster, by how much, and is that more than the smallest effect of interest? Pure."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.analyse.statistics import paired_ratio
from orchestrator.result import CaseResult, Comparison, Interval, Trial, Verdict

# (name, value of one trial, whether more is better)
METRICS: list[tuple[str, Callable[[Trial], float | None], bool]] = [
    ("throughput_per_s", lambda t: t.metrics.throughput_per_s if t.metrics else None, True),
    ("service_time_p50_us", lambda t: t.metrics.service_us["p50"] if t.metrics else None, False),
    ("service_time_p99_us", lambda t: t.metrics.service_us["p99"] if t.metrics else None, False),
    (
        "response_time_p99_us",
        lambda t: t.metrics.response_us["p99"] if t.metrics and t.metrics.response_us else None,
        False,
    ),
]


def compare(trials: list[Trial], cases: list[CaseResult], baseline: str, smallest_effect: float) -> list[Comparison]:
    """Compare every other target with the baseline, under each load that both have."""
    by_name = {case.case: case for case in cases}
    found = []
    for case in cases:
        base = by_name.get(f"{baseline}/{case.load}")
        if case.target == baseline or base is None:
            continue
        for metric, value, more_is_better in METRICS:
            if metric.startswith("response") and case.response_time_us is None:
                continue
            old, new = _pairs(trials, base.case, case.case, value)
            found.append(_conclude(metric, base, case, old, new, smallest_effect, more_is_better))
    return found


def _pairs(
    trials: list[Trial], baseline: str, candidate: str, value: Callable[[Trial], float | None]
) -> tuple[list[float], list[float]]:
    """Pair the trials of both cases that share a block and are not INVALID."""
    sides: list[dict[int, float]] = []
    for name in (baseline, candidate):
        side = {}
        for trial in trials:
            number = value(trial)
            if trial.facts.case.name == name and trial.verdict is not Verdict.INVALID and number is not None:
                side[trial.facts.block] = number
        sides.append(side)
    blocks = sorted(set(sides[0]) & set(sides[1]))
    return [sides[0][b] for b in blocks], [sides[1][b] for b in blocks]


def _conclude(
    metric: str,
    base: CaseResult,
    case: CaseResult,
    old: list[float],
    new: list[float],
    smallest_effect: float,
    more_is_better: bool,
) -> Comparison:
    def result(conclusion: str, reason: str, ratio: Interval | None = None, p: float | None = None) -> Comparison:
        return Comparison(metric, case.load, base.target, case.target, ratio, p, conclusion, reason)

    broken = [side.case for side in (base, case) if side.verdict is Verdict.INVALID]
    if broken:
        return result("incomparable", f"{' and '.join(broken)} INVALID")
    found = paired_ratio(old, new)
    if found is None:
        return result("incomparable", f"{len(old)} pairs of trials with a number above zero: at least two are needed")
    ratio, p = found
    conclusion = decide(ratio, smallest_effect, more_is_better)
    reason = f"{len(old)} pairs; smallest effect of interest {smallest_effect:.0%}"
    if conclusion == "inconclusive":
        reason += "; run more repetitions"
    return result(conclusion, reason, ratio, p)


def decide(ratio: Interval, smallest_effect: float, more_is_better: bool) -> str:
    """Decide by where the whole interval lies: beyond the smallest effect, within it, or neither."""
    assert ratio.low is not None
    assert ratio.high is not None
    above, below = 1 + smallest_effect, 1 / (1 + smallest_effect)
    if ratio.low > above:
        return "faster" if more_is_better else "slower"
    if ratio.high < below:
        return "slower" if more_is_better else "faster"
    if below <= ratio.low and ratio.high <= above:
        return "equivalent"
    return "inconclusive"
