"""How does a series of measured levels end: does it still rise, has it reached a plateau, does it fall? Pure.

It assumes no law. Levels differ where a t-test with the replicates' pooled variance says so at 1 %, shared among the
levels, and the difference exceeds the smallest effect of interest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.analyse.statistics import geometric_mean, two_sided_p
from orchestrator.result import Interval

LEVEL = 0.01
SMALLEST = math.log(1.03)


class Shape(StrEnum):
    """How throughput ends as clients are added."""

    RISING = "rising"
    PLATEAU = "plateau"
    FALLING = "falling"


@dataclass(frozen=True, slots=True)
class Top:
    """The top of a curve.

    PLATEAU: per_s is the throughput of the plateau, clients where it begins. RISING: at the most clients measured.
    FALLING: where the most was measured; falls_to: what is left at the most clients, as a share of it, else 1.
    """

    shape: Shape
    clients: int
    per_s: Interval
    falls_to: float = 1.0


def top(logs: Mapping[int, Mapping[int, float]]) -> Top:
    """Return how log throughput by clients and block ends; at least two levels, two trials in one of them."""
    levels = sorted(logs)
    means = {n: math.fsum(logs[n].values()) / len(logs[n]) for n in levels}
    degrees = sum(len(logs[n]) - 1 for n in levels)
    squares = math.fsum((value - means[n]) ** 2 for n in levels for value in logs[n].values())
    spread = math.sqrt(squares / degrees)
    threshold = LEVEL / (len(levels) - 1)

    def differ(one: float, other: float, trials: int, others: int) -> bool:
        error = spread * math.sqrt(1 / trials + 1 / others)
        far = abs(one - other)
        return far > SMALLEST and (not error or two_sided_p(far / error, degrees) < threshold)

    flat = [levels[-1]]
    for n in reversed(levels[:-1]):
        others = sum(len(logs[m]) for m in flat)
        level = math.fsum(means[m] * len(logs[m]) for m in flat) / others
        if differ(means[n], level, len(logs[n]), others):
            break
        flat.append(n)
    count = sum(len(logs[m]) for m in flat)
    level = math.fsum(means[m] * len(logs[m]) for m in flat) / count
    highest = max(levels, key=means.__getitem__)
    if highest not in flat and differ(means[highest], level, len(logs[highest]), count):
        found = _interval({highest: logs[highest]})
        return Top(Shape.FALLING, highest, found, math.exp(means[levels[-1]] - means[highest]))
    shape = Shape.PLATEAU if len(flat) > 1 else Shape.RISING
    return Top(shape, min(flat), _interval({n: logs[n] for n in flat}))


def _interval(logs: Mapping[int, Mapping[int, float]]) -> Interval:
    """Return the geometric mean with its interval over blocks, whose trials may have drifted together."""
    blocks: dict[int, list[float]] = {}
    for values in logs.values():
        for block, value in values.items():
            blocks.setdefault(block, []).append(value)
    found = geometric_mean([math.exp(math.fsum(own) / len(own)) for own in blocks.values()])
    assert found is not None  # exponentials are above zero
    return found
