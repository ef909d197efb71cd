"""Which is faster, by how much, and does that exceed the smallest effect of interest?

Compares targets of a run, or two runs. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.analyse.effect import Effect, between_runs, holm, paired, trials_needed, unpaired
from orchestrator.analyse.statistics import CONFIDENCE
from orchestrator.counted import counted
from orchestrator.result import (
    BetweenRuns,
    CaseResult,
    ComparedMetric,
    Comparison,
    Conclusion,
    Difference,
    FindingCode,
    Metrics,
    Severity,
    Time,
    Trial,
    Verdict,
)

# Doubts about the machine. One that only one of two runs has says what differed beside the server. What both have is in
# the variation from run to run where that was measured; the assumption is for machines without such doubts.
OF_THE_MACHINE = {
    FindingCode.SHARED_HOST,
    FindingCode.OTHER_RUN,
    FindingCode.HOST_STEAL,
    FindingCode.GENERATOR_CPU,
    FindingCode.NETWORK_SATURATED,
    FindingCode.HOST_CHANGED,
}
# Smallest effect of interest of the share of requests that did not succeed.
SMALLEST_SHARE = 0.001


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is compared.

    ratio: on logarithms; otherwise as it is, for shares that may be zero.
    """

    name: ComparedMetric
    value: Callable[[Metrics], float | None]
    more_is_better: bool
    ratio: bool = True


def _metric(name: ComparedMetric) -> Metric:
    if name is ComparedMetric.THROUGHPUT:
        return Metric(name, lambda m: m.throughput_per_s, True)
    if name is ComparedMetric.ERRORS:
        return Metric(name, lambda m: m.requests.error_share, False, ratio=False)
    if name.time is Time.SERVICE:
        return Metric(name, lambda m: m.service_time_us.get(name.metric), False)
    return Metric(name, lambda m: (m.response_time_us or {}).get(name.metric), False)


METRICS = [_metric(name) for name in ComparedMetric]
# What is always compared. Others are where a gate asks for them, because every further metric makes it harder to prove
# that one of them differs.
USUAL = frozenset(
    {
        ComparedMetric.THROUGHPUT,
        ComparedMetric.SERVICE_P50,
        ComparedMetric.SERVICE_P99,
        ComparedMetric.RESPONSE_P99,
        ComparedMetric.ERRORS,
    }
)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides of a comparison.

    Its name, its case, and its trials without those that are INVALID or lost a part of their load.
    """

    name: str
    case: CaseResult
    trials: Sequence[Trial]

    @staticmethod
    def of(name: str, case: CaseResult, trials: Sequence[Trial]) -> Side:
        """Return the side of a case, with its trials chosen from those of its run."""
        own = [t for t in trials if t.facts.case.name == case.case and t.is_whole]
        return Side(name, case, own)

    def values(self, metric: Metric) -> dict[int, float]:
        """Return a metric by block, where it is known, on the scale on which it is compared."""
        values = {}
        for trial in self.trials:
            value = None if trial.metrics is None else metric.value(trial.metrics)
            if value is not None and not (metric.ratio and value <= 0):
                values[trial.facts.block] = math.log(value) if metric.ratio else value
        return values

    def mean(self, metric: Metric) -> float | None:
        """Return the geometric mean of a metric over the trials, of shares the mean; None without any."""
        values = list(self.values(metric).values())
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        return math.exp(mean) if metric.ratio else mean


def compare(
    trials: list[Trial],
    cases: list[CaseResult],
    baseline: str,
    smallest_effect: float,
    wanted: Collection[ComparedMetric] = (),
) -> list[Comparison]:
    """Compare every other target with the baseline, under each load that both have.

    Paired by block. wanted: metrics beside those that are always compared.
    """
    by_name = {case.case: case for case in cases}
    comparisons: list[Comparison] = []
    for case in cases:
        base = by_name.get(f"{baseline}/{case.load}")
        if case.target != baseline and base is not None:
            sides = Side.of(baseline, base, trials), Side.of(case.target, case, trials)
            comparisons += Family(*sides, smallest_effect, _paired, wanted=wanted).comparisons()
    return comparisons


def compare_runs(
    base: Side,
    new: Side,
    smallest_effect: float,
    differences: list[Difference],
    variation: Mapping[ComparedMetric, BetweenRuns],
    wanted: Collection[ComparedMetric] = (),
) -> list[Comparison]:
    """Compare one case of two runs, whose trials are not paired. variation: from run to run, of every metric.

    wanted: metrics beside those that are always compared.
    """
    return Family(base, new, smallest_effect, _unpaired, differences, variation, wanted).comparisons()


Measure = Callable[[dict[int, float], dict[int, float]], Effect | None]


def _paired(old: dict[int, float], new: dict[int, float]) -> Effect | None:
    blocks = sorted(set(old) & set(new))
    return paired([old[b] for b in blocks], [new[b] for b in blocks])


def _unpaired(old: dict[int, float], new: dict[int, float]) -> Effect | None:
    return unpaired(list(old.values()), list(new.values()))


@dataclass(frozen=True, slots=True)
class Family:
    """Two cases compared in every metric; p-values are adjusted for all of them together.

    variation: from run to run, for cases of two runs. wanted: metrics beside the usual ones.
    """

    base: Side
    new: Side
    smallest_effect: float
    measure: Measure
    differences: list[Difference] = field(default_factory=list)
    variation: Mapping[ComparedMetric, BetweenRuns] | None = None
    wanted: Collection[ComparedMetric] = ()

    def comparisons(self) -> list[Comparison]:
        """Return one comparison for each metric."""
        open_loop = self.new.case.response_time_us is not None
        compared = {*USUAL, *self.wanted}
        chosen = [m for m in METRICS if m.name in compared and (open_loop or m.name.time is not Time.RESPONSE)]
        if self.differences:
            reason = "; ".join(f"{d.key}: {d.baseline} / {d.candidate}" for d in self.differences)
            return [replace(self._incomparable(metric, reason), differences=self.differences) for metric in chosen]
        broken = [side for side in (self.base, self.new) if side.case.verdict is Verdict.INVALID]
        if broken:
            names = " and ".join(_described(side, self.base.name != self.base.case.target) for side in broken)
            reason = f"{names} {'is' if len(broken) == 1 else 'are'} INVALID"
            return [self._incomparable(metric, reason) for metric in chosen]
        return self._compared(chosen)

    def _compared(self, chosen: list[Metric]) -> list[Comparison]:
        values = {metric.name: (self.base.values(metric), self.new.values(metric)) for metric in chosen}
        effects = {name: self.measure(*sides) for name, sides in values.items()}
        # Without an error on either side there is no test, and nothing to adjust for.
        errors = ComparedMetric.ERRORS
        spotless = not any(value for side in values[errors] for value in side.values())
        tested = {name: e for name, e in effects.items() if e is not None and not (name == errors and spotless)}
        within = dict(zip(tested, holm([e.p_t for e in tested.values()]), strict=True))
        judged = {name: self._between(name, effect) for name, effect in tested.items()}
        adjusted = dict(zip(judged, holm([e.p_t for e in judged.values()]), strict=True))
        made = []
        for metric in chosen:
            if metric.name in tested:
                p_values = within[metric.name], adjusted[metric.name]
                made.append(self._decided(metric, (tested[metric.name], judged[metric.name]), p_values, len(tested)))
            elif metric.name == errors and spotless:
                made.append(self._made(metric, Conclusion.EQUIVALENT, "no errors on either side"))
            else:
                counts = [len(side) for side in values[metric.name]]
                known = " and ".join(map(str, counts)) if any(counts) else "none"
                why = f"{metric.name.label} is known in {known} of their trials, and each side needs two"
                made.append(self._incomparable(metric, why))
        return made

    def _incomparable(self, metric: Metric, reason: str) -> Comparison:
        return self._made(metric, Conclusion.INCOMPARABLE, reason)

    def _made(self, metric: Metric, conclusion: Conclusion, reason: str) -> Comparison:
        case = self.new.case
        return Comparison(
            metric.name,
            case.load,
            self.base.name,
            self.new.name,
            None,
            None,
            conclusion,
            reason,
            target=case.target,
            protocol=None if case.planned is None else case.planned.protocol,
            baseline_value=self.base.mean(metric),
            candidate_value=self.new.mean(metric),
        )

    def _between(self, name: ComparedMetric, effect: Effect) -> Effect:
        """Return the effect with the variation from run to run in it, for cases of two runs."""
        if self.variation is None:
            return effect
        return between_runs(effect, self.variation[name].deviation, self.variation[name].degrees)

    def _decided(
        self, metric: Metric, effects: tuple[Effect, Effect], p_values: tuple[float, float], family: int
    ) -> Comparison:
        """Return the comparison. effects, p_values: of these trials alone, and with the variation from run to run."""
        (sample, effect), (p_sample, p) = effects, p_values
        border = math.log1p(self.smallest_effect) if metric.ratio else SMALLEST_SHARE
        conclusion = decide(effect, p, border, metric.more_is_better)
        alone = decide(sample, p_sample, border, metric.more_is_better)
        claims = (Conclusion.FASTER, Conclusion.SLOWER)
        if (conclusion is Conclusion.INCONCLUSIVE and alone in claims) or (
            conclusion in claims and self._disturbed(metric)
        ):
            conclusion = Conclusion.DIFFERS_HERE
        needed = trials_needed(sample, border, family) if conclusion is Conclusion.INCONCLUSIVE else None
        made = replace(
            self._made(metric, conclusion, self._reason(metric, conclusion, sample, needed)),
            p_value=effect.p_permutation,
            p_holm=p,
            trials=sample.trials,
            smallest_effect=self.smallest_effect if metric.ratio else SMALLEST_SHARE,
            needed=needed,
        )
        if self.variation is not None:
            made = replace(made, between_runs=self.variation[metric.name])
        return replace(made, ratio=effect.ratio) if metric.ratio else replace(made, difference=effect.interval)

    def _disturbed(self, metric: Metric) -> list[FindingCode]:
        """Return the doubts about the machine that allow no claim between two runs; none within a run.

        Those that only one run has; without a history of the metric, those that any of them has.
        """
        if self.variation is None:
            return []
        old, new = (
            {f.code for f in side.case.findings if f.severity is not Severity.INFORMATION and f.code in OF_THE_MACHINE}
            for side in (self.base, self.new)
        )
        return sorted(old ^ new if self.variation[metric.name].runs else old | new)

    @property
    def _sent(self) -> str:
        return counted([None if self.new.case.planned is None else self.new.case.planned.protocol]).many

    def _reason(self, metric: Metric, conclusion: Conclusion, effect: Effect, needed: int | None) -> str:
        what = "pairs" if effect.paired else "trials on each side"
        smallest = f"{self.smallest_effect:.0%}" if metric.ratio else f"{SMALLEST_SHARE:.1%} of the {self._sent}"
        reason = f"{effect.trials} {what}; smallest effect of interest {smallest}"
        if conclusion is Conclusion.DIFFERS_HERE:
            if disturbed := self._disturbed(metric):
                return f"{reason}; the machine was disturbed [{', '.join(disturbed)}]: repeat both runs on a quiet one"
            return f"{reason}; two runs of one server can differ as much: interleave both in one campaign to claim it"
        if conclusion is not Conclusion.INCONCLUSIVE:
            return reason
        if needed is None:
            return f"{reason}; the difference is about as large, so more repetitions will hardly settle it"
        if not effect.paired:
            return f"{reason}; about {needed} repetitions of both, interleaved in one campaign, would settle it"
        more = max(1, needed - effect.trials)
        return f"{reason}; about {more} more repetition{'' if more == 1 else 's'} would settle it"


def _described(side: Side, of_a_run: bool) -> str:
    return f"{side.case.case} of {side.name}" if of_a_run else side.case.case


def decide(effect: Effect, p_adjusted: float, border: float, more_is_better: bool) -> Conclusion:
    """Return the conclusion against the smallest effect of interest.

    border: the smallest effect, on the scale of the effect.

    FASTER and SLOWER: significant over the family of metrics, and the estimate exceeds the smallest effect.
    EQUIVALENT: the whole interval is within it. Everything else is INCONCLUSIVE.
    """
    interval = effect.interval
    assert interval.low is not None
    assert interval.high is not None
    if p_adjusted < 1 - CONFIDENCE and abs(interval.estimate) >= border:
        return Conclusion.FASTER if (interval.estimate > 0) is more_is_better else Conclusion.SLOWER
    if -border <= interval.low and interval.high <= border:
        return Conclusion.EQUIVALENT
    return Conclusion.INCONCLUSIVE
