"""How likely a share of violations is in a probe, for a capacity above or below its rate. Pure.

The capacity is the rate at which, in the long run, as many requests violate the objective as it
allows. Pass or fail does not show that of short windows: violations come in bursts, so that most
windows have fewer than the average and a few have many. The shares themselves show it. Near the
capacity c their mean over windows grows by a power of the rate r, allowed * (r / c)^power. Between
windows they vary like a Poisson number of bursts of random sizes: Tweedie's distribution, whose
variance is dispersion * mean^1.5 (Jorgensen, The Theory of Dispersion Models, 1997).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.search.records import Evidence

if TYPE_CHECKING:
    import numpy as np

# The power and the dispersion are unknown; these are equally likely in advance. The weakest power is
# of a server whose service times differ a lot, the strongest of one that is at its end all at once.
POWERS = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0, 500.0)
DISPERSIONS = (0.1, 0.4, 1.5, 5.0, 15.0, 45.0, 150.0)
SHAPES = len(POWERS) * len(DISPERSIONS)
# A power of the rate holds near the capacity only: a share above this only says that it was high.
HIGH = 0.2
# The logarithm of the root of the smallest share that differs from none.
LEAST = -20.0
# A probe that had nothing to do with the rate: any share is as likely, over this much of its logarithm.
LAPSE, LAPSE_LENGTH = 0.05, 6.0


def likelihood(above: np.ndarray, evidence: Evidence, length: float = 1.0) -> np.ndarray:
    """Return how likely a share is, shape (SHAPES, points).

    above: the logarithm of capacity / rate, shape (points,). length: of the window, as a multiple
    of that of a probe; bursts average out in a longer one.
    """
    import numpy as np

    power = np.repeat(POWERS, len(DISPERSIONS))[:, None]
    dispersion = np.tile(DISPERSIONS, len(POWERS))[:, None] / length
    share, high = _relative(evidence)
    root = np.exp(np.clip(-power * above[None, :] / 2, LEAST, math.log(high) / 2))
    # Half the unit deviance of Tweedie's distribution with the exponent 1.5, over the dispersion;
    # the root is that of the mean.
    density = np.exp(-2 * (math.sqrt(share) - root) ** 2 / root / dispersion)
    if 0.0 < share < high:
        # The saddlepoint approximation. Without a violation it is a probability, and exact.
        density /= np.sqrt(2 * math.pi * dispersion * share**1.5)
    return np.asarray(LAPSE * unrelated(evidence) + (1 - LAPSE) * density)


def unrelated(evidence: Evidence) -> float:
    """Return how likely a share is that has nothing to do with the rate."""
    share, high = _relative(evidence)
    return 1 / (LAPSE_LENGTH * share) if 0.0 < share < high else 0.5


def _relative(evidence: Evidence) -> tuple[float, float]:
    """Return the share and its upper end as multiples of the share that is allowed."""
    high = max(2.0, HIGH / evidence.allowed)
    return min(high, evidence.violations / (evidence.requests * evidence.allowed)), high
