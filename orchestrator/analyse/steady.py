"""Is a series of equal intervals steady? Finds a trend, or a beginning that differs from the rest.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.analyse.autoregression import clipped, each_alone, steps_at

# Fewer intervals cannot show a trend.
FEWEST = 8
# Over the whole window; a drift below this changes a mean by less than half of it.
DRIFT = 0.10
# A beginning is at least two intervals, so that a single outlier is none, and at most three quarters of the window.
BEGINNING = 2
# A warm-up that fades: its time constant as a share of the window.
FADING = (0.05, 0.1, 0.2, 0.4)
# Twice the difference in log likelihood that a drift or a beginning has to gain. Simulated with 10 % of noise
# (tests/unit/test_findings_in_numbers.py): of windows with independent seconds under 2 % are doubted, with a
# correlation of 0.5 from second to second under 5 %.
LIKELIER = 11.5


def doubt(values: Sequence[float], tested: int = 1) -> dict[str, float] | None:
    """Return what speaks against a steady series; None when nothing does, or when it is too short.

    values: above zero, one per interval, shape (n,). tested: series of the same window that are tested.
    'drift': the change over the series as a share. 'settled_after': how many intervals at the beginning have another
    level than the rest, and 'change' by how much the rest differs. Either must change the mean by 5 % or more, and
    describe the series better than an autoregression around one level (autoregression.py).
    """
    n = len(values)
    if n < FEWEST or max(values) == min(values):
        return None
    import numpy as np

    logs = clipped([math.log(value) for value in values])
    when = np.linspace(0, 1, n)
    cuts = range(BEGINNING, n * 3 // 4 + 1)
    fades = [(share, np.exp(-when / share)) for share in FADING]
    # Bonferroni: twice the log likelihood is about chi-squared, whose tail falls by e for every 2.
    needed = LIKELIER + 2 * math.log(tested)
    gains = each_alone(logs, np.vstack([when, *(fade for _, fade in fades), steps_at(cuts, n)])).tolist()
    found: list[tuple[float, dict[str, float]]] = []
    drift = math.expm1(float(np.polyfit(when, logs, 1)[0]))
    if abs(drift) >= DRIFT:
        found.append((gains[0], {"drift": round(drift, 3)}))
    # Three time constants on 5 % are left. It is a beginning of that length.
    ends = [min(n * 3 // 4, max(BEGINNING, round(3 * share * n))) for share in FADING]
    for gain, cut in zip(gains[1:], [*ends, *cuts], strict=True):
        change = math.expm1(float(np.mean(logs[cut:]) - np.mean(logs[:cut])))
        if abs(change) * cut / n >= DRIFT / 2:
            found.append((gain, {"settled_after": float(cut), "change": round(change, 3)}))
    likeliest = max(found, key=lambda each: each[0], default=(0.0, None))
    return likeliest[1] if likeliest[0] >= needed else None
