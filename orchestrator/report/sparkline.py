"""The distribution of a time in one line of characters."""

from __future__ import annotations

import math

from orchestrator.analyse.people import milliseconds
from orchestrator.report.layout import wrapped
from orchestrator.result import SHAPE_PER_DECADE, Shape

BARS = "▁▂▃▄▅▆▇█"
EDGE = "▏"
# More columns than these show nothing more, and a bucket is not drawn wider than this.
_MOST, _WIDEST = 40, 4


def sparkline(shape: Shape, width: int, what: str) -> list[str]:
    """Return the distribution with its ends labelled, on a logarithmic axis; none without a count.

    what: the time that it is of, after the picture, or below it where it does not fit.
    """
    present = [bucket for bucket, count in shape.items() if count]
    if not present:
        return []
    first, last = min(present), max(present)
    low, high = milliseconds(_edge_us(first)), milliseconds(_edge_us(last + 1))
    room = max(8, min(_MOST, width - len(low) - len(high) - 8))
    heights = rebinned([shape.get(bucket, 0) for bucket in range(first, last + 1)], room)
    picture = f"  {low} {EDGE}{''.join(bar(height) for height in heights)}{EDGE} {high}"
    after = f"{picture}   {what}"
    return [after] if len(after) <= width else [picture, *wrapped(what, width, "  ")]


def _edge_us(bucket: int) -> float:
    return float(10 ** (bucket / SHAPE_PER_DECADE))


def rebinned(counts: list[int], cells: int) -> list[float]:
    """Return counts as heights from 0 to 1 in at most this many cells; neighbours are added up where they do not fit."""
    merge = math.ceil(len(counts) / cells)
    sums = [sum(counts[at : at + merge]) for at in range(0, len(counts), merge)]
    wide = min(_WIDEST, cells // len(sums)) if len(sums) <= cells else 1
    most = max(sums)
    return [value / most for value in sums for _ in range(wide)]


def bar(height: float) -> str:
    """Return the character for a height from 0 to 1; whatever is above 0 can be seen."""
    return " " if height <= 0 else BARS[min(len(BARS) - 1, max(0, math.ceil(height * len(BARS)) - 1))]
