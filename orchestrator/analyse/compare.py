"""Which is faster, by how much, and is that beyond the smallest effect of interest? Targets of a run, or two runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.analyse.effect import Effect, holm, paired, trials_needed, unpaired
from orchestrator.analyse.statistics import CONFIDENCE
from orchestrator.result import CaseResult, Comparison, Difference, Metrics, Trial, Verdict

# A share of requests that fail: differences below a tenth of a per cent do not interest.
SMALLEST_SHARE = 0.001
ERRORS = "error_share"


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is compared. ratio: on logarithms, else as it is, which is for shares that may be zero."""

    name: str
    value: Callable[[Metrics], float | None]
    more_is_better: bool
    ratio: bool = True


METRICS = [
    Metric("throughput_per_s", lambda m: m.throughput_per_s, True),
    Metric("service_time_p50_us", lambda m: m.service_us["p50"], False),
    Metric("service_time_p99_us", lambda m: m.service_us["p99"], False),
    Metric("response_time_p99_us", lambda m: m.response_us["p99"] if m.response_us else None, False),
    Metric(ERRORS, lambda m: m.requests.error_share, False, ratio=False),
]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: its name, its case, its trials, those that are INVALID left out."""

    name: str
    case: CaseResult
    trials: Sequence[Trial]

    @staticmethod
    def of(name: str, case: CaseResult, trials: Sequence[Trial]) -> Side:
        """Choose a case's trials from those of its run."""
        own = [t for t in trials if t.facts.case.name == case.case and t.verdict is not Verdict.INVALID]
        return Side(name, case, own)

    def values(self, metric: Metric) -> dict[int, float]:
        """Give a metric by block, where it is known; on the scale on which it is compared."""
        found = {}
        for trial in self.trials:
            value = None if trial.metrics is None else metric.value(trial.metrics)
            if value is not None and not (metric.ratio and value <= 0):
                found[trial.facts.block] = math.log(value) if metric.ratio else value
        return found


def compare(trials: list[Trial], cases: list[CaseResult], baseline: str, smallest_effect: float) -> list[Comparison]:
    """Compare every other target with the baseline, under each load that both have; paired by block."""
    by_name = {case.case: case for case in cases}
    found = []
    for case in cases:
        base = by_name.get(f"{baseline}/{case.load}")
        if case.target != baseline and base is not None:
            sides = Side.of(baseline, base, trials), Side.of(case.target, case, trials)
            found += Family(*sides, smallest_effect, _paired).comparisons()
    return found


def compare_runs(base: Side, new: Side, smallest_effect: float, differences: list[Difference]) -> list[Comparison]:
    """Compare one case of two runs, whose trials have no order in common."""
    return Family(base, new, smallest_effect, _unpaired, differences).comparisons()


Measure = Callable[[dict[int, float], dict[int, float]], Effect | None]


def _paired(old: dict[int, float], new: dict[int, float]) -> Effect | None:
    blocks = sorted(set(old) & set(new))
    return paired([old[b] for b in blocks], [new[b] for b in blocks])


def _unpaired(old: dict[int, float], new: dict[int, float]) -> Effect | None:
    return unpaired(list(old.values()), list(new.values()))


@dataclass(frozen=True, slots=True)
class Family:
    """Two cases in every metric; what is significant is so for all of them together."""

    base: Side
    new: Side
    smallest_effect: float
    measure: Measure
    differences: list[Difference] = field(default_factory=list)

    def comparisons(self) -> list[Comparison]:
        """Compare."""
        open_model = self.new.case.response_time_us is not None
        chosen = [metric for metric in METRICS if open_model or not metric.name.startswith("response")]
        if self.differences:
            told = "; ".join(f"{d.key}: {d.baseline} / {d.candidate}" for d in self.differences)
            return [
                replace(self._made(metric, "incomparable", told), differences=self.differences) for metric in chosen
            ]
        broken = [side for side in (self.base, self.new) if side.case.verdict is Verdict.INVALID]
        if broken:
            told = " and ".join(_told(side, self.base.name != self.base.case.target) for side in broken) + " INVALID"
            return [self._made(metric, "incomparable", told) for metric in chosen]
        values = {metric.name: (self.base.values(metric), self.new.values(metric)) for metric in chosen}
        effects = {name: self.measure(*sides) for name, sides in values.items()}
        # Without an error on either side nothing was tested, and nothing is there to adjust for.
        spotless = not any(value for side in values[ERRORS] for value in side.values())
        tested = {name: e for name, e in effects.items() if e is not None and not (name == ERRORS and spotless)}
        adjusted = dict(zip(tested, holm([e.p_t for e in tested.values()]), strict=True))
        made = []
        for metric in chosen:
            effect = tested.get(metric.name)
            if effect is not None:
                made.append(self._decided(metric, effect, adjusted[metric.name], len(tested)))
            elif metric.name == ERRORS and spotless:
                made.append(self._made(metric, "equivalent", "no errors on either side"))
            else:
                counts = " and ".join(str(len(side)) for side in values[metric.name])
                why = f"{counts} trials have a number (others withheld it): at least two are needed on each side"
                made.append(self._made(metric, "incomparable", why))
        return made

    def _made(self, metric: Metric, conclusion: str, reason: str) -> Comparison:
        case = self.new.case
        return Comparison(
            metric.name, case.load, self.base.name, self.new.name, None, None, conclusion, reason, target=case.target
        )

    def _decided(self, metric: Metric, effect: Effect, p: float, family: int) -> Comparison:
        border = math.log1p(self.smallest_effect) if metric.ratio else SMALLEST_SHARE
        conclusion = decide(effect, p, border, metric.more_is_better)
        made = self._made(metric, conclusion, self._reason(metric, conclusion, effect, border, family))
        given = {"ratio": effect.ratio} if metric.ratio else {"difference": effect.interval}
        return replace(made, p_value=effect.p_permutation, p_holm=p, **given)  # type: ignore[arg-type]

    def _reason(self, metric: Metric, conclusion: str, effect: Effect, border: float, family: int) -> str:
        what = "pairs" if effect.paired else "trials a side"
        smallest = f"{self.smallest_effect:.0%}" if metric.ratio else f"{SMALLEST_SHARE:.1%} of the requests"
        reason = f"{effect.trials} {what}; smallest effect of interest {smallest}"
        if conclusion != "inconclusive":
            return reason
        needed = trials_needed(effect, border, family)
        if needed is None:
            return f"{reason}; the difference is about that large: more repetitions will hardly settle it"
        return f"{reason}; run at least {max(1, needed - effect.trials)} more repetitions"


def _told(side: Side, of_a_run: bool) -> str:
    return f"{side.case.case} of {side.name}" if of_a_run else side.case.case


def decide(found: Effect, p_adjusted: float, border: float, more_is_better: bool) -> str:
    """Decide against the smallest effect of interest, on the scale of the effect.

    'faster' and 'slower': significant over the family of metrics, and the estimate is beyond the smallest effect.
    'equivalent': the whole interval is within it. Everything else is 'inconclusive'.
    """
    interval = found.interval
    assert interval.low is not None
    assert interval.high is not None
    if p_adjusted < 1 - CONFIDENCE and abs(interval.estimate) >= border:
        return "faster" if (interval.estimate > 0) is more_is_better else "slower"
    if -border <= interval.low and interval.high <= border:
        return "equivalent"
    return "inconclusive"
