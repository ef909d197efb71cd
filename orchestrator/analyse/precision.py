"""Are the numbers precise enough to stop repeating? Pure; docs/adr/0009 says what that does to the interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.analyse.statistics import geometric_mean
from orchestrator.result import Interval, Metrics, Trial, Verdict
from orchestrator.slo import THROUGHPUT

# Without two numbers there is no interval.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Precision:
    """What an adaptive campaign asks for. narrower_than: of the whole interval, as a share of the estimate.

    Blocks: at_least and at_most so many. budget_us: for all trials; None: no limit.
    """

    metric: str
    narrower_than: float
    at_least: int
    at_most: int
    budget_us: int | None = None


def value_of(metrics: Metrics, metric: str) -> float | None:
    """Give a metric of one trial by the name that objectives have: response time where there is one, else service time."""
    if metric == THROUGHPUT:
        return metrics.throughput_per_s
    return (metrics.response_us or metrics.service_us).get(metric)


def width(interval: Interval | None) -> float | None:
    """Give the width of an interval as a share of its estimate; None where there is no interval."""
    if interval is None or interval.low is None or interval.high is None:
        return None
    return (interval.high - interval.low) / interval.estimate


@dataclass(slots=True)
class Progress:
    """What an adaptive campaign has come to, trial by trial."""

    wanted: Precision
    cases: Sequence[str]
    cool_down_us: int = 0
    spent_us: int = 0
    trials: int = 0
    _values: dict[str, list[float]] = field(default_factory=dict)
    _withheld: set[str] = field(default_factory=set)

    def add(self, trial: Trial) -> None:
        """Count a finished trial. An INVALID one has taken time, and says nothing."""
        self.trials += 1
        self.spent_us += sum(trial.facts.stages_us.values()) + self.cool_down_us
        if trial.metrics is None or trial.verdict is Verdict.INVALID:
            return
        value = value_of(trial.metrics, self.wanted.metric)
        if value is None:
            self._withheld.add(trial.facts.case.name)
        else:
            self._values.setdefault(trial.facts.case.name, []).append(value)

    def too_wide(self) -> dict[str, float]:
        """Give the cases that more trials can make precise enough, and how wide each still is.

        A case whose metric is withheld, or that has no two valid trials after at_least blocks, is not waited for.
        """
        widths = {case: width(geometric_mean(self._values.get(case, []))) for case in self._hopeful()}
        return {case: w for case, w in widths.items() if w is not None and w >= self.wanted.narrower_than}

    def _hopeful(self) -> list[str]:
        return [c for c in self.cases if c not in self._withheld and len(self._values.get(c, [])) >= FEWEST]

    def enough(self, blocks: int) -> str | None:
        """Say why it ends after so many whole blocks; None: it goes on."""
        wanted = self.wanted
        asked = f"{wanted.metric} narrower than {wanted.narrower_than:.3g}"
        if blocks < wanted.at_least:
            return None
        wide = self.too_wide()
        still = ", ".join(f"{case} {share:.1%}" for case, share in wide.items())
        if not wide:
            return f"precise enough after {blocks} repetitions: {asked} wherever more of them could help"
        if blocks >= wanted.at_most:
            return f"{blocks} repetitions are the most, and not precise enough ({asked}): {still}"
        if wanted.budget_us is not None and self.spent_us * (blocks + 1) / blocks > wanted.budget_us:
            return f"the time is used up, and it is not precise enough ({asked}): {still}"
        return None
