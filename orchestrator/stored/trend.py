"""Follow one case over the runs of a folder and mark where it changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.analyse.changes import change_points
from orchestrator.analyse.sameness import differences
from orchestrator.errors import StoredRunError, UsageError
from orchestrator.result import Difference, Interval, Point, Verdict
from orchestrator.slo import THROUGHPUT, TIMES
from orchestrator.stored.compare import circumstances_of
from orchestrator.stored.documents import SummaryCase
from orchestrator.stored.layout import runs_in
from orchestrator.stored.reading import read_summary

METRICS = (THROUGHPUT, *TIMES)


@dataclass(frozen=True, slots=True)
class _Entry:
    """The case in one run. value: the metric; None where the case is INVALID, lost a part of its load, or withheld it."""

    run: Path
    case: SummaryCase
    value: Interval | None


def trend(folder: Path, case: str, metric: str, smallest_effect: float) -> list[Point]:
    """Return a metric of a case (per second, or µs) over the finished runs of a folder, the oldest first.

    Raises UsageError when no run has the case, or when the metric is unknown.
    """
    if metric not in METRICS:
        raise UsageError(f"unknown metric {metric!r}", f"the metrics are: {', '.join(m.label for m in METRICS)}")
    entries: list[_Entry] = []
    seen: dict[str, None] = {}
    for run in runs_in(folder):
        try:
            cases = {stored.name: stored for stored in read_summary(run).cases}
        except StoredRunError:
            continue  # unfinished or not readable: `volley runs` lists it
        seen |= dict.fromkeys(cases)
        if case in cases:
            entries.append(_Entry(run, cases[case], _value(cases[case], metric)))
    if not entries:
        known = f"the cases are: {', '.join(seen)}" if seen else f"{folder} has no finished run"
        raise UsageError(f"no run has the case {case!r}", known)
    return _marked(entries, smallest_effect)


def _marked(entries: list[_Entry], smallest_effect: float) -> list[Point]:
    """Return one point per run; those at which the metric changed say by how much, and what else differs."""
    known = [i for i, entry in enumerate(entries) if entry.value is not None]
    logs = [math.log(entry.value.estimate) for entry in entries if entry.value is not None]
    starts = change_points(logs, math.log1p(smallest_effect))
    edges = [0, *starts, len(logs)]
    points = [Point(e.run.name, e.case.verdict, e.value, time=e.case.time, protocol=e.case.protocol) for e in entries]
    for position, start in enumerate(starts, 1):
        before, after = (logs[edges[i] : edges[i + 1]] for i in (position - 1, position))
        change = math.exp(sum(after) / len(after) - sum(before) / len(before)) - 1
        here, previous = known[start], known[start - 1]
        unlike = _differences(entries[previous], entries[here])
        points[here] = replace(points[here], change=change, differences=unlike)
    return points


def _differences(before: _Entry, here: _Entry) -> list[Difference]:
    return differences(circumstances_of(before.run), circumstances_of(here.run), here.case.name)


def _value(case: SummaryCase, metric: str) -> Interval | None:
    if case.verdict is Verdict.INVALID or case.load_lost is not None:
        return None
    return case.throughput_per_s if metric == THROUGHPUT else case.times_us.get(metric)
