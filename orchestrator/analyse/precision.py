"""Are the numbers precise enough to stop repeating? Pure.

docs/adr/0009 explains what stopping early does to the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.analyse.statistics import geometric_mean
from orchestrator.result import Interval, Metrics, Trial
from orchestrator.slo import THROUGHPUT, Metric

# Without two numbers there is no interval.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Precision:
    """What an adaptive campaign asks for.

    narrower_than: width of the whole interval, as a share of the estimate.
    at_least, at_most: number of blocks. budget_us: for all trials; None: no limit.
    """

    metric: Metric
    narrower_than: float
    at_least: int
    at_most: int
    budget_us: int | None = None


def value_of(metrics: Metrics, metric: Metric) -> float | None:
    """Return a metric of one trial by the name that objectives use.

    Response time in the open loop.
    """
    if metric == THROUGHPUT:
        return metrics.throughput_per_s
    return (metrics.response_time_us or metrics.service_time_us).get(metric)


def width(interval: Interval | None) -> float | None:
    """Return the width of an interval as a share of its estimate.

    None where there is no interval.
    """
    if interval is None or interval.low is None or interval.high is None:
        return None
    return (interval.high - interval.low) / interval.estimate


@dataclass(slots=True)
class Progress:
    """Progress of an adaptive campaign, trial by trial."""

    wanted: Precision
    cases: Sequence[str]
    cool_down_us: int = 0
    spent_us: int = 0
    trials: int = 0
    _values: dict[str, list[float]] = field(default_factory=dict)
    _withheld: set[str] = field(default_factory=set)

    def add(self, trial: Trial) -> None:
        """Count a finished trial. An INVALID one, or one that lost a part of its load, counts only for its time."""
        self.trials += 1
        self.spent_us += sum(trial.facts.stages_us.values()) + self.cool_down_us
        if trial.metrics is None or not trial.is_whole:
            return
        value = value_of(trial.metrics, self.wanted.metric)
        if value is None:
            self._withheld.add(trial.facts.case.name)
        else:
            self._values.setdefault(trial.facts.case.name, []).append(value)

    def too_wide(self) -> dict[str, float]:
        """Return the cases that more trials can make precise enough, and how wide each still is.

        Cases whose metric is withheld, or that lack two valid trials after at_least blocks, are
        left out.
        """
        widths = {case: width(geometric_mean(self._values.get(case, []))) for case in self._hopeful()}
        return {case: w for case, w in widths.items() if w is not None and w >= self.wanted.narrower_than}

    def _hopeful(self) -> list[str]:
        return [c for c in self.cases if c not in self._withheld and len(self._values.get(c, [])) >= FEWEST]

    def enough(self, blocks: int) -> str | None:
        """Return why the campaign ends after this many whole blocks; None: it continues."""
        wanted = self.wanted
        goal = f"interval of {wanted.metric.label} narrower than {wanted.narrower_than:.3g}"
        if blocks < wanted.at_least:
            return None
        wide = self.too_wide()
        still = ", ".join(f"{case} {share:.1%}" for case, share in wide.items())
        if not wide:
            return f"precise enough after {blocks} repetitions: {goal} wherever more repetitions could help"
        if blocks >= wanted.at_most:
            return f"stopped at the limit of {blocks} repetitions, not precise enough ({goal}): {still}"
        if wanted.budget_us is not None and self.spent_us * (blocks + 1) / blocks > wanted.budget_us:
            return f"stopped at the time budget, not precise enough ({goal}): {still}"
        return None
