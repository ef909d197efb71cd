"""Is a series of equal intervals steady? Finds a trend, or a beginning that differs from the rest.

Pure.
"""

from __future__ import annotations

import math

# Fewer intervals cannot show a trend.
FEWEST = 8
# Over the whole window; a drift below this changes a mean by less than half of it.
DRIFT = 0.10


def doubt(values: list[float]) -> dict[str, float] | None:
    """Return what speaks against a steady series; None when nothing does, or when it is too short.

    values: above zero, one per interval, shape (n,). 'drift': the change over the series as a
    share, by the Theil-Sen slope of the logarithms (Sen 1968), when its 95 % interval excludes 0.
    'settled_after': how many intervals at the beginning White's MSER (1997) would cut off, when
    that is half of them or more.
    """
    if len(values) < FEWEST:
        return None
    from scipy.stats import theilslopes  # takes half a second to import

    n = len(values)
    slope, _, low, high = theilslopes([math.log(value) for value in values], alpha=0.95)
    drift = math.expm1(float(slope) * (n - 1))
    if abs(drift) >= DRIFT and (low > 0 or high < 0):
        return {"drift": round(drift, 3)}
    cut = mser(values)
    if cut >= n / 2:
        before, after = sum(values[:cut]) / cut, sum(values[cut:]) / (n - cut)
        if abs(after / before - 1) >= DRIFT:
            return {"settled_after": float(cut), "change": round(after / before - 1, 3)}
    return None


def mser(values: list[float]) -> int:
    """Return how many values to cut off so that the mean of the rest is known best.

    argmin of sum((x - mean)^2) / (n - d)^2 over the number d of values that are cut off (MSER,
    White 1997).

    At least a quarter of the values stays.
    """
    n = len(values)
    best, cut = math.inf, 0
    for d in range(n - max(2, n // 4) + 1):
        rest = values[d:]
        mean = sum(rest) / len(rest)
        score = sum((value - mean) ** 2 for value in rest) / len(rest) ** 2
        if score < best:
            best, cut = score, d
    return cut
