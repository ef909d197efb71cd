"""What the plots of a page need of a run's counters: read trial by trial, added up, and never kept.

Percentiles of a case are the geometric mean of those of its trials, as in its table. Those over time are computed from
the counters of all its trials, added up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from agents.histogram import HdrCounts, rank_of
from agents.recorder import CLASSES, OK
from agents.series import Series
from orchestrator.analyse.cases import behind
from orchestrator.analyse.people import digits
from orchestrator.counted import REQUESTS, Counted
from orchestrator.merge import Merged
from orchestrator.report.conditions import counted_by
from orchestrator.result import QUANTILES, Probe, Saturation, Time, Trial, Verdict
from orchestrator.search.records import Kind

Floats = npt.NDArray[np.float64]

# Above this number of trials only some are read for the plots, evenly spread; the tables have all of them.
MOST_TRIALS = 300
# As in the table: fewer requests than this above a percentile, and it is not shown.
_BEHIND = 10 - 1e-9
_NINES = [1 - 10 ** -(step / 20) for step in range(81)]
LEVELS: tuple[float, ...] = tuple(sorted({*(round(q, 9) for q in _NINES), *QUANTILES.values()}))


@dataclass(slots=True)
class Spectrum:
    """Percentiles of one time over the trials of a case: their geometric mean, the lowest and the highest trial, in µs.

    Arrays of shape (len(LEVELS),), NaN where a trial has too few requests for the percentile.
    """

    trials: int = 0
    _logs: Floats = field(default_factory=lambda: np.zeros(len(LEVELS)))
    lowest: Floats = field(default_factory=lambda: np.full(len(LEVELS), np.inf))
    highest: Floats = field(default_factory=lambda: np.full(len(LEVELS), -np.inf))

    def add(self, counts: HdrCounts) -> None:
        """Add one trial."""
        values = quantiles_us(counts)
        self.trials += 1
        self._logs += np.log(values)
        self.lowest = np.minimum(self.lowest, values)
        self.highest = np.maximum(self.highest, values)

    @property
    def mean(self) -> Floats:
        """The geometric mean over the trials."""
        return np.exp(self._logs / max(1, self.trials))


def quantiles_us(counts: HdrCounts) -> Floats:
    """Return the percentiles of LEVELS in µs, NaN where fewer than ten requests are above."""
    n = counts.n
    shown = [n > 0 and n * (1 - q) >= _BEHIND for q in LEVELS]
    values = (counts.value_at(max(1, rank_of(q, n))) if ok else math.nan for q, ok in zip(LEVELS, shown, strict=True))
    return np.maximum(1.0, np.fromiter(values, np.float64, len(LEVELS)))


@dataclass(slots=True)
class Drawn:
    """What is drawn under one name, mostly a case. number: trials behind it; of: those that there were to draw from.

    invalid: there was no other trial, so that INVALID ones are drawn. sent: what its rates are of.
    """

    name: str
    of: int
    invalid: bool
    number: int = 0
    times: dict[Time, Spectrum] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=lambda: {name: Series() for name in CLASSES})
    windows_s: list[float] = field(default_factory=list)
    sent: Counted = REQUESTS

    def add(self, merged: Merged, window_s: float) -> None:
        """Add the counters of one trial."""
        self.number += 1
        self.windows_s.append(window_s)
        self.times.setdefault(Time.SERVICE, Spectrum()).add(merged.service[OK])
        if merged.response is not None:
            self.times.setdefault(Time.RESPONSE, Spectrum()).add(merged.response)
        for name in CLASSES:
            self.series[name] += merged.series[name]

    def measured_s(self, start_s: float, length_s: float) -> float:
        """Return how long this stretch was measured, over all trials."""
        return sum(max(0.0, min(start_s + length_s, window_s) - start_s) for window_s in self.windows_s)


@dataclass(frozen=True, slots=True)
class Group:
    """The trials to draw under one name. of: how many there were to choose from."""

    name: str
    numbers: list[int]
    of: int
    invalid: bool = False


def by_case(trials: Sequence[Trial], names: Sequence[str], most: int = MOST_TRIALS) -> list[Group]:
    """Return a group for each of these cases: the trials behind its numbers, or evenly spread ones where they are many."""
    ran = [trial for trial in trials if trial.metrics is not None]
    groups = []
    for name in names:
        own = [trial for trial in ran if trial.facts.case.name == name]
        if own:
            shown = behind(own)
            invalid = all(trial.verdict == Verdict.INVALID for trial in own)
            groups.append(Group(name, [trial.facts.number for trial in shown], len(shown), invalid))
    step = max(1, math.ceil(sum(group.of for group in groups) / most))
    return [replace(group, numbers=group.numbers[::step]) for group in groups]


def by_probe(searches: Sequence[Saturation]) -> list[Group]:
    """Return two probes of each search: the one that held the highest rate, and the lowest one that did not."""
    groups = []
    for search in searches:
        counted = [probe for probe in search.curve if probe.kind != Kind.REFERENCE and probe.limited_by is None]
        held = [probe for probe in counted if probe.passed]
        soaks = [probe for probe in held if probe.kind == Kind.SOAK]
        for mark, probe in (
            ("held", max(soaks or held, key=_rate, default=None)),
            ("not held", min((probe for probe in counted if not probe.passed), key=_rate, default=None)),
        ):
            if probe is not None:
                name = f"{search.target}: {digits(probe.rate_per_s)}/s, {mark}"
                groups.append(Group(name, [probe.trial], 1, probe.verdict == Verdict.INVALID))
    return groups


def _rate(probe: Probe) -> float:
    return probe.rate_per_s


def collect(groups: Sequence[Group], trials: Sequence[Trial], read: Callable[[int], Merged]) -> list[Drawn]:
    """Return what is drawn of each group. read: returns a trial's counters, which are needed only until the next."""
    by_number = {trial.facts.number: trial for trial in trials}
    drawn = []
    for group in groups:
        sent = counted_by(by_number[number] for number in group.numbers if number in by_number)
        own = Drawn(group.name, group.of, group.invalid, sent=sent)
        for number in group.numbers:
            trial = by_number.get(number)
            if trial is not None and trial.metrics is not None:
                own.add(read(number), trial.metrics.window_s)
        if own.number:
            drawn.append(own)
    return drawn
