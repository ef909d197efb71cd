"""How much do runs of one server differ, although nothing changed? Pure.

A comparison of two runs needs this: the trials of a run share its hour, its neighbours on the hardware and the memory
layout that it happened to get, so their spread says nothing about the next run. docs/adr/0016 has the evidence.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.analyse.changes import change_points
from orchestrator.result import BetweenRuns, ComparedMetric
from orchestrator.slo import Metric

# Fewer other runs of a case say less about its variation than the assumption below.
FEWEST = 5
# The assumption without a history: standard deviations of the logarithm, for errors of the share of all requests.
# Ten pairs of runs of one server on a shared machine differed by 14 % (root mean square), which is 10 % for each run;
# 19 runs there had 12 % from one to the next in throughput and median, and 26 % in p99.
# What lies between the median and p99 is assumed to vary like p99, and what lies beyond it twice as much: neither was
# measured.
_BY_NAME = {
    Metric.THROUGHPUT: 0.10,
    Metric.P50: 0.10,
    Metric.P90: 0.20,
    Metric.P95: 0.20,
    Metric.P99: 0.20,
    Metric.P999: 0.40,
    Metric.MAX: 0.40,
    Metric.ERRORS: 0.001,
}
ASSUMED = {each: _BY_NAME[each.metric] for each in ComparedMetric}
# As many as the pairs that it comes from.
ASSUMED_DEGREES = 10.0
SMALLEST = math.log(1.03)


@dataclass(frozen=True, slots=True)
class Past:
    """A metric of one run, on the scale on which it is compared. error: its standard error over the run's trials."""

    value: float
    error: float


def between(metric: ComparedMetric, past: Sequence[Past], changed: Collection[int] = ()) -> BetweenRuns:
    """Return the deviation from run to run: from the past runs of a case, oldest first, or the assumption.

    changed: the positions at which something about the case is not what it was in the run before, such as the image. A
    step there, if `volley trend` would mark it, is a change of the server and does not count. A step at which nothing
    changed is variation. What the trials' own spread explains does not count: it is in the comparison already.
    """
    if len(past) < FEWEST:
        return BetweenRuns(ASSUMED[metric], ASSUMED_DEGREES, 0)
    values = [run.value for run in past]
    steps = [] if metric is ComparedMetric.ERRORS or not changed else change_points(values, SMALLEST)
    cuts = [step for step in steps if step in changed]
    squares = 0.0
    for start, end in itertools.pairwise([0, *cuts, len(values)]):
        level = math.fsum(values[start:end]) / (end - start)
        squares += math.fsum((value - level) ** 2 for value in values[start:end])
    degrees = len(values) - len(cuts) - 1
    # The median, because one disturbed run whose trials are far apart does not explain the others.
    explained = statistics.median(run.error**2 for run in past)
    deviation = math.sqrt(max(0.0, squares / degrees - explained))
    if metric is ComparedMetric.ERRORS:
        # A history without errors does not mean that the first one is a change.
        deviation = max(deviation, ASSUMED[metric])
    return BetweenRuns(deviation, float(degrees), len(past))
