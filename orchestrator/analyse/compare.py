"""Which target is faster, by how much, and is that more than the smallest effect of interest? Pure."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.analyse.statistics import CONFIDENCE, Paired, holm, paired_ratio, pairs_needed
from orchestrator.result import CaseResult, Comparison, Trial, Verdict

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
        found += _family(trials, base, case, smallest_effect)
    return found


def _family(trials: list[Trial], base: CaseResult, case: CaseResult, smallest_effect: float) -> list[Comparison]:
    """Compare two cases in every metric; what is significant is so for all of them together."""

    def result(
        metric: str, conclusion: str, reason: str, found: Paired | None = None, p: float | None = None
    ) -> Comparison:
        ratio, p_flip = (None, None) if found is None else (found.ratio, found.p_flip)
        return Comparison(metric, case.load, base.target, case.target, ratio, p_flip, conclusion, reason, p)

    chosen = [each for each in METRICS if case.response_time_us is not None or not each[0].startswith("response")]
    if broken := [side.case for side in (base, case) if side.verdict is Verdict.INVALID]:
        return [result(metric, "incomparable", f"{' and '.join(broken)} INVALID") for metric, _, _ in chosen]
    found, made = {}, []
    for metric, value, _ in chosen:
        old, new = _pairs(trials, base.case, case.case, value)
        paired = paired_ratio(old, new)
        if paired is not None:
            found[metric] = paired
        else:
            made.append(
                result(
                    metric,
                    "incomparable",
                    f"{len(old)} pairs of trials with a number above zero: at least two are needed",
                )
            )
    adjusted = dict(zip(found, holm([paired.p_t for paired in found.values()]), strict=True))
    for metric, _, more_is_better in chosen:
        if metric in found:
            conclusion = decide(found[metric], adjusted[metric], smallest_effect, more_is_better)
            reason = _reason(conclusion, found[metric], smallest_effect, len(found))
            made.append(result(metric, conclusion, reason, found[metric], adjusted[metric]))
    return made


def _reason(conclusion: str, found: Paired, smallest_effect: float, family: int) -> str:
    reason = f"{found.pairs} pairs; smallest effect of interest {smallest_effect:.0%}"
    if conclusion != "inconclusive":
        return reason
    needed = pairs_needed(found, smallest_effect, family)
    if needed is None:
        return f"{reason}; the difference is about that large: more repetitions will hardly settle it"
    return f"{reason}; run at least {max(1, needed - found.pairs)} more repetitions"


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


def decide(found: Paired, p_adjusted: float, smallest_effect: float, more_is_better: bool) -> str:
    """Decide against the smallest effect of interest.

    'faster' and 'slower': significant over the family of metrics, and the estimate is beyond the smallest effect.
    'equivalent': the whole interval is within it. Everything else is 'inconclusive'.
    """
    above, below = 1 + smallest_effect, 1 / (1 + smallest_effect)
    ratio = found.ratio
    assert ratio.low is not None
    assert ratio.high is not None
    if p_adjusted < 1 - CONFIDENCE and not below < ratio.estimate < above:
        return "faster" if (ratio.estimate > 1) is more_is_better else "slower"
    if below <= ratio.low and ratio.high <= above:
        return "equivalent"
    return "inconclusive"
