"""Numbers of trials as numbers of a case: intervals by name, counts added up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from orchestrator.analyse.statistics import geometric_mean, mean_and_half_width
from orchestrator.result import CaseTimes, Interval, Metrics, RequestFigures, Times
from orchestrator.slo import TIMES

# The key of a count: a status as text, or a bucket.
K = TypeVar("K", str, int)


def intervals(trials: Sequence[Times]) -> CaseTimes:
    """Return an interval per time.

    None if one trial withheld it, because the others may differ from it.
    """
    found: CaseTimes = {}
    for name in TIMES:
        values = [times.get(name) for times in trials]
        present = [value for value in values if value is not None]
        found[str(name)] = geometric_mean(present) if present and len(present) == len(values) else None
    return found


def added(counts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """Add up counts by key, the keys in order."""
    total: Counter[K] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def slower_shares(trials: Sequence[Metrics | RequestFigures]) -> dict[int, Interval]:
    """Return the share of the requests that did not meet each time limit, by limit in µs, with its interval over trials.

    A request without a successful answer meets none. Trials without requests have no share.
    """
    ran = [each for each in trials if each.requests.ok + each.requests.unsuccessful]
    limits_us = sorted({limit_us for each in ran for limit_us in each.slower})
    return {limit_us: _share(ran, limit_us) for limit_us in limits_us}


def _share(trials: Sequence[Metrics | RequestFigures], limit_us: int) -> Interval:
    shares = [
        (each.slower.get(limit_us, 0) + each.requests.unsuccessful) / (each.requests.ok + each.requests.unsuccessful)
        for each in trials
    ]
    centre, half = mean_and_half_width(shares)
    if half is None:
        return Interval(centre, None, None)
    return Interval(centre, max(0.0, centre - half), min(1.0, centre + half))
