"""Times in which a whole load host stood still: a paused virtual machine, a frozen group of processes.

The follower of a log notices that it was woken late. That alone can be a busy host. If the generator sent nothing in that
time either, although it had sent before, the host stood still. A server that stalls wakes nobody late.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# Shorter delays are those of a busy host.
LATE_S = 2.0
# A request may have been sent just as the pause began or ended.
EDGE_US = 200_000
# With fewer requests to be expected in a pause, their absence says nothing.
FEWEST_EXPECTED = 20


@dataclass(slots=True)
class _Pause:
    begin_us: int
    end_us: int
    expected: float
    starts: int = 0


@dataclass(slots=True)
class Pauses:
    """The times in which a follower was not woken, on the host's wall clock, and how many requests were sent in each."""

    _found: list[_Pause] = field(default_factory=list)

    def note(self, begin_us: int, end_us: int, rate_per_s: float) -> None:
        """Note that the follower was not woken from begin to end. rate_per_s: of the requests sent before."""
        inner_us = end_us - begin_us - 2 * EDGE_US
        if end_us - begin_us >= LATE_S * 1e6:
            self._found.append(_Pause(begin_us + EDGE_US, end_us - EDGE_US, rate_per_s * inner_us / 1e6))

    def add(self, start_us: npt.NDArray[np.int64]) -> None:
        """Take in when requests were sent, in any order; shape (n,)."""
        for pause in self._found:
            pause.starts += int(((start_us >= pause.begin_us) & (start_us < pause.end_us)).sum())

    def stopped_s(self, over_us: int) -> float:
        """Return how long the host stood still. over_us: when the load was over, on the host's wall clock.

        Nothing is sent after that, so that a follower that is held up then says nothing about the host.
        """
        still = [p for p in self._found if p.expected >= FEWEST_EXPECTED and not p.starts]
        still = [p for p in still if p.begin_us - EDGE_US < over_us]
        return sum(p.end_us - p.begin_us + 2 * EDGE_US for p in still) / 1e6
